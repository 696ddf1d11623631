"""The UDP sockets of a swarm: one for each address that its ETRs speak from."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import DatagramProtocol

from lispmsrt.config import SocketAddress
from lispmsrt.services.listening import ListenError, stop_listening
from lispmsrt.sockets import set_receive_buffer
from lispmsrt.transports.udp import BatchPort, listen_udp

__all__ = ["SwarmSocket", "SwarmSockets"]

_MAX_DATAGRAM = 65_535
_REFUSED = "datagrams that could not be sent"
_RECEIVE_BUFFER = 4 << 20
"""Octets, if the kernel grants them: answers come in bursts."""


class SwarmSocket(DatagramProtocol):
    """One socket towards the Map-Server."""

    noisy = False

    def __init__(
        self, host: str, server: SocketAddress, receive: Callable[[list[bytes]], None]
    ) -> None:
        """``receive`` takes what has come, as many datagrams as there are."""
        self.counters: Counter[str] = Counter()
        self._host = host
        self._server = server
        self._receive = receive
        self._port: Any = None

    @property
    def number(self) -> int:
        """The UDP port."""
        number: int = self._port.getHost().port
        return number

    def open(self, reactor: Any) -> None:
        """Bind it; ListenError says why not."""
        try:
            self._port = listen_udp(reactor, 0, self, self._host, _MAX_DATAGRAM)
        except CannotListenError as failure:
            raise ListenError(
                f"can't send from {self._host}: {failure.socketError}; name addresses of this host"
                " with --source-addresses"
            ) from None
        handle = getattr(self._port, "socket", None)
        if isinstance(handle, socket.socket):
            set_receive_buffer(handle, _RECEIVE_BUFFER)

    def send(self, datagrams: Sequence[bytes]) -> None:
        """Send datagrams; what the kernel refuses is lost."""
        if isinstance(self._port, BatchPort):
            to = (self._server.packed, self._server.port)
            refused = self._port.send_batch([(data, to) for data in datagrams])
            if refused:
                self.counters[_REFUSED] += refused
            return
        for data in datagrams:
            try:
                self._port.write(data, (self._server.host, self._server.port))
            except OSError:
                self.counters[_REFUSED] += 1

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self._receive([datagram])

    def datagrams_received(self, batch: list[tuple[bytes, tuple[bytes, int]]]) -> None:
        """Take many at once."""
        datagrams = [data for data, _source in batch]
        batch.clear()
        self._receive(datagrams)

    def close(self) -> Deferred[None]:
        """Close it; fires when that is done."""
        port, self._port = self._port, None
        return stop_listening(port)


class SwarmSockets:
    """Those of all addresses."""

    def __init__(self, server: SocketAddress, receive: Callable[[list[bytes]], None]) -> None:
        self._server = server
        self._receive = receive
        self._sockets: dict[str, SwarmSocket] = {}

    @property
    def counters(self) -> Counter[str]:
        """What all have counted."""
        found: Counter[str] = Counter()
        for each in self._sockets.values():
            found += each.counters
        return found

    def open(self, reactor: Any, host: str) -> None:
        """Bind one; ListenError says why not."""
        opened = SwarmSocket(host, self._server, self._receive)
        opened.open(reactor)
        self._sockets[host] = opened

    def send(self, datagrams: Sequence[tuple[str, bytes]]) -> None:
        """Send datagrams, each from its address."""
        by_host: dict[str, list[bytes]] = {}
        for host, data in datagrams:
            by_host.setdefault(host, []).append(data)
        for host, some in by_host.items():
            self._sockets[host].send(some)

    def close(self) -> Deferred[None]:
        """Close all; fires when that is done."""
        closing: Deferred[Any] = gatherResults([each.close() for each in self._sockets.values()])
        return closing.addCallback(lambda _: None)
