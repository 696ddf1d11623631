"""Twisted's TLS transport, without what it leaves behind when a connection fails."""

from __future__ import annotations

from twisted.protocols.tls import BufferingTLSTransport, TLSMemoryBIOFactory
from twisted.python.failure import Failure

__all__ = ["TlsFactory"]


class _Transport(BufferingTLSTransport):
    def _tlsShutdownFinished(self, reason: Failure | None) -> None:
        super()._tlsShutdownFinished(reason)
        if reason is not None:
            # It holds the frames that it arose in, one of which holds it: only a collector of
            # cycles would free it, with this transport and OpenSSL's part of the connection.
            reason.cleanFailure()


class TlsFactory(TLSMemoryBIOFactory):
    """Adds TLS to connections."""

    protocol = _Transport
