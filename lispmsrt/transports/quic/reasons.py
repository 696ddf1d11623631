"""Why a QUIC connection ended, in words for an operator."""

from __future__ import annotations

from aioquic.quic.events import ConnectionTerminated
from aioquic.quic.packet import QuicErrorCode
from aioquic.tls import AlertDescription
from twisted.internet.error import ConnectionDone, ConnectionLost

from lispmsrt.transports.quic.connection import MAX_REASON, CloseCode, StreamConnection

__all__ = ["explain"]

_MAX_FULL_REASON = 300
"""Characters of a reason of aioquic's: it names all names of a certificate that is another's."""


def explain(
    quic: StreamConnection, event: ConnectionTerminated, *, is_clean: bool
) -> ConnectionDone | ConnectionLost:
    """Return the end as Twisted names it. ``is_clean``: the stream had come to its end before."""
    if quic.is_closed_by_peer:
        if event.error_code == 0 and is_clean:
            return ConnectionDone()
        what = "the peer closed the connection"
        return ConnectionLost(_sentence(what, _code(event), printable(event.reason_phrase)))
    if event.reason_phrase == "Idle timeout":
        return ConnectionLost(f"nothing heard from the peer for {quic.idle_timeout:g} s")
    # Names in a certificate are a peer's words too.
    full_reason = printable(quic.full_reason or event.reason_phrase, _MAX_FULL_REASON)
    if _is_tls_alert(event):
        return ConnectionLost(_sentence("the TLS handshake failed", "", full_reason))
    what = "the peer did not keep to QUIC"
    return ConnectionLost(_sentence(what, _code(event), full_reason))


def printable(text: str, limit: int = MAX_REASON) -> str:
    """Return a peer's words, cut, and without what could pass for a line of a log."""
    cut = text if len(text) <= limit else f"{text[:limit]}..."
    return "".join(char if char.isprintable() else "?" for char in cut)


def _sentence(what: str, code: str, why: str) -> str:
    return what + (f" with {code}" if code else "") + (f": {why}" if why else "")


def _is_tls_alert(event: ConnectionTerminated) -> bool:
    # RFC 9000 §20.1: the alert is in the last octet.
    first = QuicErrorCode.CRYPTO_ERROR
    return event.frame_type is not None and first <= event.error_code < first + 256


def _code(event: ConnectionTerminated) -> str:
    code = event.error_code
    if event.frame_type is None:
        named = {int(known): known.name for known in CloseCode}
        return f"application error {named.get(code, code)}"
    if _is_tls_alert(event):
        alert = code - QuicErrorCode.CRYPTO_ERROR
        alerts = {int(known): known.name for known in AlertDescription}
        return f"TLS alert {alerts.get(alert, alert)}"
    errors = {int(known): known.name for known in QuicErrorCode}
    return f"QUIC error {errors.get(code, code)}"
