"""A UDP relay that notes down what passes: captures without privileges."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.protocol import DatagramProtocol

__all__ = ["Relay"]


class _Side(DatagramProtocol):
    noisy = False

    def __init__(self, relay: Relay, *, is_client_side: bool) -> None:
        self._relay = relay
        self._is_client_side = is_client_side

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        self._relay.passed(datagram, addr, from_client=self._is_client_side)


class Relay:
    """Between one client and one server."""

    def __init__(self, reactor: Any, host: str, source: str, server: tuple[str, int]) -> None:
        """``host`` is where the client sends to, ``source`` where the server hears it from."""
        self.datagrams: list[tuple[bool, bytes]] = []
        "whether it came from the client, and its octets"
        self._server = server
        self._client: tuple[str, int] | None = None
        self._near = reactor.listenUDP(0, _Side(self, is_client_side=True), host, 65_535)
        self._far = reactor.listenUDP(0, _Side(self, is_client_side=False), source, 65_535)

    @property
    def port(self) -> int:
        """Where the client sends to."""
        return int(self._near.getHost().port)

    def passed(self, datagram: bytes, addr: tuple[str, int], *, from_client: bool) -> None:
        """Note a datagram down and pass it on."""
        self.datagrams.append((from_client, datagram))
        if from_client:
            self._client = addr
            self._far.write(datagram, self._server)
        elif self._client is not None:
            self._near.write(datagram, self._client)

    def stop(self) -> Deferred[Any]:
        """Close both sockets."""
        return gatherResults([self._near.stopListening(), self._far.stopListening()])
