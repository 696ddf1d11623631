"""Why a TLS connection did not come about or ended: one sentence, not OpenSSL's error queue."""

from __future__ import annotations

import re

from OpenSSL import SSL
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure

__all__ = ["TlsFailed", "explained", "verification_problem"]

_ALERT = re.compile(r"alert (.+)$")

_REASONS = {
    "certificate verify failed": "the peer's certificate was not accepted",
    "http request": "the peer does not speak TLS but HTTP",
    "no shared cipher": "the peer offers no cipher of TLS 1.3",
    "no suitable signature algorithm": "the peer knows no signature algorithm of our certificate",
    "packet length too long": "the peer does not speak TLS",
    "peer did not return a certificate": "the peer showed no certificate",
    "record layer failure": "the peer does not speak TLS",
    "unexpected message": "the peer does not keep to TLS",
    "unsupported protocol": "the peer does not offer TLS 1.3",
    "wrong version number": "the peer does not speak TLS",
}
"""OpenSSL's words to ours, for what an operator may well meet."""

_ALERTS = {
    "bad certificate": "the peer does not accept our certificate",
    "certificate expired": "the peer finds our certificate expired",
    "certificate required": "the peer demands a certificate and we showed none",
    "certificate unknown": "the peer does not accept our certificate",
    "decrypt error": "the peer could not verify a signature or a Finished of ours",
    "protocol version": "the peer has no TLS 1.3",
    "unknown ca": "the peer does not know the CA of our certificate",
    "unsupported certificate": "the peer finds our certificate of the wrong kind",
}

_VERIFICATION = {
    9: "is not valid yet",
    10: "has expired",
    18: "is self-signed and not trusted here",
    19: "comes with a CA that is not trusted here",
    20: "is not signed by a CA that is trusted here",
    21: "is not signed by a CA that is trusted here",
    23: "was revoked",
    24: "is signed by something that is no CA",
    26: "is not meant for this use",
    79: "is signed by something that is no CA",
}
"""X509_V_ERR_...: what is wrong with a certificate."""


class TlsFailed(ConnectionLost):
    """A TLS connection is refused, or lost by an error of TLS. The text is one sentence."""

    def __str__(self) -> str:
        return str(self.args[0])


def verification_problem(number: int, depth: int) -> str:
    """Return a sentence for OpenSSL's verification error at some depth of the chain."""
    whose = "the peer's certificate" if depth == 0 else "a CA above the peer's certificate"
    return (
        f"{whose} {_VERIFICATION.get(number, f'was refused (X.509 verification error {number})')}"
    )


def explained(reason: Failure) -> Failure:
    """Return the reason with our words for an error of OpenSSL; others as they are."""
    if not isinstance(reason.value, SSL.Error):
        return reason
    return Failure(TlsFailed(_sentence(reason.value)))


def _sentence(error: SSL.Error) -> str:
    # A list of (library, function, reason), or for a SysCallError (number, text).
    queue = error.args[0] if error.args and isinstance(error.args[0], list) else []
    words = str(queue[-1][-1]) if queue else ""
    alert = _ALERT.search(words)
    if alert is not None:
        return _ALERTS.get(alert[1], f"the peer refused us with the TLS alert {alert[1]!r}")
    return _REASONS.get(words, f"TLS failed: {words or 'OpenSSL gives no reason'}")
