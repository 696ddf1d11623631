"""Certificates and private keys in the files that an endpoint string names."""

from __future__ import annotations

from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from lispmsrt.transports.options import readable_file, secret_octets

__all__ = ["certificates_in", "private_key_in"]


def certificates_in(path: str, name: str) -> list[x509.Certificate]:
    """Return the certificates of a PEM file, at least one; ``name`` is the option's."""
    with open(readable_file(path, name), "rb") as file:
        octets = file.read()
    try:
        return x509.load_pem_x509_certificates(octets)
    except ValueError:
        raise ValueError(f"{name}={path}: has no certificates in PEM") from None


def private_key_in(path: str, name: str, certificate: x509.Certificate) -> Any:
    """Return the private key of a PEM file that others can't read; it must be the certificate's."""
    octets, exposed = secret_octets(path, name)
    try:
        key: Any = load_pem_private_key(octets, password=None)
    except TypeError:
        raise ValueError(f"{name}={path}: the private key is encrypted") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError(f"{name}={path}: has no private key in PEM") from None
    if exposed:
        raise ValueError(exposed)
    if key.public_key() != certificate.public_key():
        raise ValueError(f"{name}={path}: the private key is not the certificate's")
    if not _is_usable(key):
        raise ValueError(
            f"{name}={path}: the key must be RSA, ECDSA on P-256 or P-384, Ed25519 or Ed448"
        )
    return key


def _is_usable(key: object) -> bool:
    """Whether both TLS 1.3 over TCP and QUIC can sign with it."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1)
    return isinstance(key, rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey)
