"""Who the peer of a TLS connection has proven to be, and whether that is who was wanted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from OpenSSL import SSL
from service_identity import CertificateError, VerificationError
from service_identity.cryptography import (
    verify_certificate_hostname,
    verify_certificate_ip_address,
)

from lispmsrt.sockets import pack_address
from lispmsrt.transports.certificates import has_pin, pin_of
from lispmsrt.transports.tls.failures import TlsFailed

__all__ = ["ServerIdentity", "certificate_names"]

_PIN = "sha256:"
"""What stands before a pin among names."""

_MAX_NAMES_TOLD = 5
"""A certificate may have thousands, and a log line must stay one."""

_UNREADABLE = (
    UnsupportedAlgorithm,
    ValueError,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""What OpenSSL let pass and our X.509 library does not understand."""


@dataclass(frozen=True, slots=True)
class ServerIdentity:
    """What a client demands of a server's certificate beyond its chain."""

    name: str
    "DNS name or IP address, for the Server Name Indication and the check"
    checks_name: bool
    pin: str | None

    def check(self, certificate: x509.Certificate | None) -> None:
        """TlsFailed if the certificate is another's."""
        if certificate is None:
            raise TlsFailed("the server showed no certificate")
        try:
            if self.pin is not None and not has_pin(certificate, self.pin):
                found = pin_of(certificate)
                raise TlsFailed(f"the server's key is not the pinned one: its pin is {found}")
            if self.checks_name:
                self._check_name(certificate)
        except _UNREADABLE as failure:
            raise TlsFailed(f"the server's certificate can't be read: {failure}") from None

    def _check_name(self, certificate: x509.Certificate) -> None:
        try:
            if pack_address(self.name) is None:
                verify_certificate_hostname(certificate, self.name)
            else:
                verify_certificate_ip_address(certificate, self.name)
        # CertificateError (no subjectAltName at all) is no VerificationError.
        except (VerificationError, CertificateError):
            names = [ascii(name)[1:-1] for name in _names(certificate)]
            told = ", ".join(names[:_MAX_NAMES_TOLD]) or "nobody (it has no subjectAltName)"
            raise TlsFailed(f"the server's certificate is for {told}, not {self.name}") from None


def certificate_names(transport: object) -> frozenset[str]:
    """Return what the certificate of a transport's peer proves: in lower case its DNS names,
    IP addresses and URIs, and ``sha256:`` with its pin; nothing where there is no certificate.

    Names that nobody vouches for (the chain was not verified: a pin alone) are left out.
    """
    handle = getattr(transport, "getHandle", lambda: None)()
    if not isinstance(handle, SSL.Connection):
        return frozenset()
    found: set[str] = set()
    with suppress(*_UNREADABLE):
        certificate = handle.get_peer_certificate(as_cryptography=True)
        if certificate is None:
            return frozenset()
        found.add(f"{_PIN}{pin_of(certificate)}")
        if handle.get_verify_mode() & SSL.VERIFY_PEER:
            # A URI may look like a pin, and be anybody's.
            found.update(name for name in _names(certificate) if not name.startswith(_PIN))
    return frozenset(found)


def _names(certificate: x509.Certificate) -> Iterator[str]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return
    for name in extension.value:
        if isinstance(name, x509.DNSName):
            yield name.value.lower()
        elif isinstance(name, x509.IPAddress | x509.UniformResourceIdentifier):
            yield str(name.value).lower()
