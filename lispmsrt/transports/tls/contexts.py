"""From the files that an endpoint string names to TLS contexts.

TLS 1.3 only, with OpenSSL's own choice of its cipher suites, all of which are sound: AES-256-GCM,
ChaCha20-Poly1305, AES-128-GCM. No compression. No resumption: each connection shows its
certificates anew, and what is asked of a client can't be bypassed by a ticket.
"""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL, crypto
from twisted.internet.ssl import (
    Certificate,
    CertificateOptions,
    TLSVersion,
    platformTrust,
    trustRootFromCertificates,
)

from lispmsrt.transports.key_log import KeyLog
from lispmsrt.transports.pem import certificates_in, private_key_in

__all__ = ["context_options", "own_certificate", "trust"]


def own_certificate(certificate: str, privateKey: str) -> dict[str, Any]:
    """Return what CertificateOptions calls a certificate with its chain and key. Without
    ``privateKey`` the key is in the same file.
    """
    leaf, *chain = certificates_in(certificate, "certificate")
    path, name = (privateKey, "privateKey") if privateKey else (certificate, "certificate")
    key = private_key_in(path, name, leaf)
    return {
        "certificate": crypto.X509.from_cryptography(leaf),
        "privateKey": crypto.PKey.from_cryptography_key(key),
        "extraCertChain": [crypto.X509.from_cryptography(one) for one in chain],
    }


def trust(text: str, name: str) -> Any:
    """Return whom to trust: the CAs of a PEM file, or the machine's own (the word ``system``)."""
    if text == "system":
        return platformTrust()
    return trustRootFromCertificates(
        [Certificate(crypto.X509.from_cryptography(one)) for one in certificates_in(text, name)]
    )


def context_options(key_log: KeyLog | None, **options: Any) -> CertificateOptions:
    """Return what makes TLS 1.3 connections; ``options`` are those of CertificateOptions."""
    made = CertificateOptions(raiseMinimumTo=TLSVersion.TLSv1_3, **options)
    try:
        context = made.getContext()  # which else is made, and fails, with each connection
    except SSL.Error as failure:
        words = ", ".join(str(error[-1]) for error in failure.args[0])
        raise ValueError(f"tls13: OpenSSL refuses a certificate or key: {words}") from None
    if key_log is not None:
        # OpenSSL's lines have no end.
        context.set_keylog_callback(lambda _, line: key_log.add(line + b"\n"))
    return made
