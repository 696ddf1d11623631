"""A UDP port that hands over what has come as one batch, and sends many datagrams at once.

Where the compiled module is missing, or the reactor is one in memory, it is Twisted's own port.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Any, Protocol

from twisted.internet.interfaces import (
    IDelayedCall,
    IListeningPort,
    IReactorFDSet,
    IReactorUDP,
)
from twisted.internet.udp import Port
from twisted.logger import Logger
from twisted.python.failure import Failure

from lispmsrt.compiled import twin
from lispmsrt.transports.turns import Turn

__all__ = ["BatchPort", "TakesBatches", "listen_udp"]

Datagram = tuple[bytes, tuple[bytes, int]]
"""Octets, and the packed address and port of who sent them or is to have them."""

_datagrams = twin("lispmsrt.transports.udp._datagrams")

_DATAGRAMS_A_TURN = 256
"""Sessions and timers have their turn after so many, or some more where the kernel has merged them:
1 ms of what is ordinary. Of what costs more a :class:`Turn` ends earlier, and the rest waits.
Twisted's own port takes 256 KiB, or 2,000 Map-Registers.
"""

_SEND_BUFFER = 4 << 20
"""Octets. The answers to a batch leave at once: the usual 200 kB would hold 90 of full size, and on
a slow line the others would be lost.
"""


class TakesBatches(Protocol):
    """What a :class:`BatchPort` needs of its datagram protocol, besides being one."""

    def datagrams_received(self, batch: list[Datagram]) -> None:
        """Take datagrams off the batch, the first one first; at least one, and all where nothing
        speaks against it.
        """


class BatchPort(Port):
    """Twisted's UDP port, a batch at a time; for a protocol that :class:`TakesBatches`."""

    _log = Logger()

    def __init__(
        self,
        port: int,
        protocol: Any,
        interface: str,
        max_octets: int,
        reactor: Any,
        turn: Turn | None = None,
    ) -> None:
        """``turn`` says when it may read, and for how long; without one that is always."""
        super().__init__(port, protocol, interface, max_octets, reactor)
        self._turn = turn
        self._waiting: list[Datagram] = []
        "what was read, and no time was left for"
        self._soon: IDelayedCall | None = None

    def _bindSocket(self) -> None:
        super()._bindSocket()
        assert _datagrams is not None
        _widen(self.socket)
        self._batches = _datagrams.Batches(self.socket.fileno(), self.maxPacketSize)

    def doRead(self) -> None:
        """Hand over what has come, as much as there is time for."""
        turn = self._turn
        if turn is None:
            self._hand_over(self._batches.receive(_DATAGRAMS_A_TURN, self.maxThroughput))
            return
        if turn.begin():
            try:
                self._take_turn(turn)
            finally:
                turn.end()
        if self._waiting and self._soon is None:
            # Perhaps there is nothing more to read, and the reactor would not come back.
            clock: Any = self.reactor
            self._soon = clock.callLater(0.0, self._go_on)

    def _take_turn(self, turn: Turn) -> None:
        batch, self._waiting = self._waiting, []
        if not batch:
            batch = self._batches.receive(_DATAGRAMS_A_TURN, self.maxThroughput)
        self._hand_over(batch, turn)
        if self.connected:
            self._waiting = batch

    def _hand_over(self, batch: list[Datagram], turn: Turn | None = None) -> None:
        """Where one datagram fails, go on behind it: whoever sent it must not take the others'
        along. What there is no time for stays in the batch.
        """
        left = len(batch) + 1
        while batch and len(batch) < left:
            left = len(batch)
            with self._log.failuresHandled("while taking datagrams"):
                self.protocol.datagrams_received(batch)
            if turn is not None and turn.is_over():
                return
        batch.clear()

    def _go_on(self) -> None:
        self._soon = None
        if self._waiting:
            self.doRead()

    def send_batch(self, datagrams: list[Datagram]) -> int:
        """Send datagrams; return how many the network has refused."""
        refused: int = self._batches.send(datagrams)
        return refused

    def stopListening(self) -> Any:
        self._forget_waiting()
        return super().stopListening()

    def _forget_waiting(self) -> None:
        self._waiting = []
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None

    def connectionLost(self, reason: Failure | None = None) -> None:
        self._batches.close()
        self._forget_waiting()
        super().connectionLost(reason)


def listen_udp(
    reactor: Any,
    port: int,
    protocol: Any,
    interface: str,
    max_octets: int,
    turn: Turn | None = None,
) -> IListeningPort:
    """Open a UDP socket for a protocol that :class:`TakesBatches` and takes single datagrams too;
    CannotListenError says why it could not be opened. ``turn`` is observed where there are batches.
    """
    is_real = IReactorFDSet.providedBy(reactor) and IReactorUDP.providedBy(reactor)
    if _datagrams is None or not is_real:
        opened: IListeningPort = reactor.listenUDP(
            port, protocol, interface=interface, maxPacketSize=max_octets
        )
        return opened
    listening = BatchPort(port, protocol, interface, max_octets, reactor, turn)
    listening.startListening()
    return listening


def _widen(handle: socket.socket) -> None:
    """Have room for all the answers to a batch, or as much as the kernel grants."""
    handle.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
    # Beyond net.core.wmem_max only the privileged may go.
    with suppress(PermissionError):
        handle.setsockopt(socket.SOL_SOCKET, getattr(socket, "SO_SNDBUFFORCE", 32), _SEND_BUFFER)
