"""Twisted's TLS transport, without what it leaves behind when a connection fails, and with an
account of what handshakes take.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.protocol import connectionDone
from twisted.protocols.tls import BufferingTLSTransport, TLSMemoryBIOFactory
from twisted.python.failure import Failure

from lispmsrt.transports.turns import Turn

__all__ = ["TlsFactory"]


class _Transport(BufferingTLSTransport):
    factory: TlsFactory

    _is_let_in = False
    "until then it is part of a turn, which is paid for"

    def makeConnection(self, transport: Any) -> None:
        super().makeConnection(transport)
        self._is_let_in = True

    def _checkHandshakeStatus(self) -> None:
        # And not what came behind it at once: that is the application's.
        turn = self.factory.turn
        if turn is None or not self._is_let_in:
            super()._checkHandshakeStatus()
        else:
            with turn.metered():
                super()._checkHandshakeStatus()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        turn = self.factory.turn
        if turn is None or self._handshakeDone:
            super().connectionLost(reason)
        else:
            with turn.metered():
                super().connectionLost(reason)

    def _tlsShutdownFinished(self, reason: Failure | None) -> None:
        super()._tlsShutdownFinished(reason)
        if reason is not None:
            # It holds the frames that it arose in, one of which holds it: only a collector of
            # cycles would free it, with this transport and OpenSSL's part of the connection.
            reason.cleanFailure()


class TlsFactory(TLSMemoryBIOFactory):
    """Adds TLS to connections."""

    protocol = _Transport
    turn: Turn | None = None
    "which pays for handshakes"
