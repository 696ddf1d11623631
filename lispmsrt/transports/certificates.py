"""X.509 certificates: making them, and knowing a peer's public key by its pin.

A pin is the SHA-256 of the SubjectPublicKeyInfo (as in RFC 7469 §2.4), in hexadecimal digits.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lispmsrt.sockets import pack_address

__all__ = [
    "CertifiedKey",
    "has_pin",
    "make_authority",
    "make_certificate",
    "parse_name",
    "parse_pin",
    "pin_of",
]

_PIN = re.compile(r"[0-9a-f]{64}")
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_DNS_NAME = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*")
_MAX_COMMON_NAME = 64
"""RFC 5280 appendix A, ub-common-name."""


@dataclass(frozen=True, slots=True)
class CertifiedKey:
    """A private key and the certificate of its public half."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def certificate_pem(self) -> bytes:
        """The certificate as a file has it."""
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """The private key as a file has it, unencrypted (PKCS #8)."""
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


# Pins


def pin_of(certificate: x509.Certificate) -> str:
    """Return the pin of a certificate's public key: 64 hexadecimal digits."""
    key = certificate.public_key()
    octets = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(octets).hexdigest()


def parse_pin(text: str, name: str = "pin") -> str:
    """Return a pin as :func:`pin_of` has it; ValueError for anything else."""
    pin = text.strip().lower()
    if _PIN.fullmatch(pin) is None:
        raise ValueError(f"{name}={text}: a pin has 64 hexadecimal digits")
    return pin


def has_pin(certificate: x509.Certificate, pin: str) -> bool:
    """Whether the public key is the one that was pinned."""
    return hmac.compare_digest(pin_of(certificate), pin)


# Certificates


def parse_name(text: str, option: str) -> str:
    """Return a DNS name in lower case or an IP address, as a certificate has it; ValueError for
    anything else.
    """
    if pack_address(text) is not None and "%" not in text:
        return str(ipaddress.ip_address(text))
    name = text.lower()
    # All digits and dots would be read as a mistyped address by some and as a name by others.
    if _DNS_NAME.fullmatch(name) is None or name.rpartition(".")[2].isdigit():
        raise ValueError(
            f"{option}={text}: neither an IP address nor a DNS name in ASCII"
            " (an international one begins with xn--)"
        )
    return name


def make_certificate(
    names: Sequence[str],
    *,
    valid_from: datetime,
    valid_until: datetime,
    authority: CertifiedKey | None = None,
) -> CertifiedKey:
    """Return a new ECDSA P-256 key, certified for servers and clients of these names by an
    authority or by itself.

    A self-signed one is no CA: as somebody's CA file it vouches for itself and nothing else.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    builder = (
        _builder(names[0], key, authority)
        .not_valid_before(valid_from)
        .not_valid_after(valid_until)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(is_authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        .add_extension(x509.SubjectAlternativeName(map(_general_name, names)), critical=False)
    )
    return _signed(builder, key, authority)


def make_authority(name: str, *, valid_from: datetime, valid_until: datetime) -> CertifiedKey:
    """Return a new CA that signs certificates, but no other CAs."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        _builder(name, key, None)
        .not_valid_before(valid_from)
        .not_valid_after(valid_until)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(is_authority=True), critical=True)
    )
    return _signed(builder, key, None)


def _builder(
    subject: str, key: ec.EllipticCurvePrivateKey, authority: CertifiedKey | None
) -> x509.CertificateBuilder:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject[:_MAX_COMMON_NAME])])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name if authority is None else authority.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if authority is None:
        return builder
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    return builder.add_extension(issuer, critical=False)


def _signed(
    builder: x509.CertificateBuilder,
    key: ec.EllipticCurvePrivateKey,
    authority: CertifiedKey | None,
) -> CertifiedKey:
    signer = key if authority is None else authority.key
    return CertifiedKey(builder.sign(signer, hashes.SHA256()), key)


def _general_name(name: str) -> x509.GeneralName:
    if pack_address(name) is None:
        return x509.DNSName(name)
    return x509.IPAddress(ipaddress.ip_address(name))


def _key_usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        encipher_only=False,
        decipher_only=False,
    )
