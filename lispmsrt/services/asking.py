"""What all who ask have: a UDP socket of their own, bound to where the answers are to come."""

from __future__ import annotations

import ipaddress
import socket
from abc import ABC, abstractmethod
from contextlib import closing
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IReactorTime

from lispmsrt.clock import Alarm, MonotonicClock
from lispmsrt.config import SocketAddress
from lispmsrt.mapping.database import Endpoint
from lispmsrt.protocols import ControlProtocol
from lispmsrt.services.listening import ListenError, stop_listening
from lispmsrt.sockets import pack_address
from lispmsrt.transports.udp.port import listen_udp

__all__ = ["AskingService", "source_towards"]

_MAX_DATAGRAM = 65_535


class AskingService(Service, ABC):
    """Asks a Map-Resolver from one socket.

    ``source`` is the address that answers are to come to (the ITR-RLOC), and the socket is bound to
    it; without one it is what the kernel uses towards the Map-Resolver. ``clock`` defaults to
    monotonic time on the reactor.
    """

    def __init__(
        self,
        reactor: Any,
        resolver: SocketAddress,
        *,
        source: str | None,
        port: int,
        clock: IReactorTime | None,
    ) -> None:
        self.resolver = resolver
        self._source = source
        self._source_port = port
        self._reactor = reactor
        self._clock = clock or MonotonicClock(reactor)
        self._port: IListeningPort | None = None
        self._udp = ControlProtocol(self, self._clock)
        self._alarm = Alarm(self._clock, self._udp.flush)

    @property
    def address(self) -> Any:
        """The UDP address that it asks from."""
        return self._port.getHost() if self._port is not None else None

    def startService(self) -> None:
        """Open the UDP socket; ListenError says why it could not be opened."""
        source = self._source or source_towards(self.resolver)
        packed = pack_address(source)
        if packed is None or len(packed) != len(self.resolver.packed):
            raise ListenError(f"{source} is no address to ask {self.resolver} from")
        try:
            self._port = listen_udp(
                self._reactor, self._source_port, self._udp, source, _MAX_DATAGRAM
            )
        except CannotListenError as failure:
            raise ListenError(f"can't ask from {source}: {failure.socketError}") from None
        self._opened((packed, self.address.port))
        super().startService()

    def stopService(self) -> Deferred[None]:
        """Close the socket; fires when it is closed."""
        super().stopService()
        self._alarm.set(None)
        if self._port is None:
            return succeed(None)
        port, self._port = self._port, None
        return stop_listening(port)

    @abstractmethod
    def _opened(self, source: Endpoint) -> None:
        """Begin to ask from this endpoint."""

    @abstractmethod
    def receive_datagram(self, data: bytes, source: Endpoint, now: float) -> None:
        """Look for an answer in a datagram."""

    @abstractmethod
    def datagrams_to_send(self, now: float) -> list[tuple[bytes, Endpoint]]:
        """Collect what is due."""


def source_towards(resolver: SocketAddress) -> str:
    """Return the address that the kernel uses towards another; ListenError when it knows no way."""
    family = socket.AF_INET if len(resolver.packed) == 4 else socket.AF_INET6
    with closing(socket.socket(family, socket.SOCK_DGRAM)) as probe:
        try:
            # Nothing is sent by this.
            probe.connect((resolver.host, resolver.port or 1))
        except OSError as failure:
            raise ListenError(f"no way to {resolver}: {failure.strerror}") from None
        return str(ipaddress.ip_address(probe.getsockname()[0].partition("%")[0]))
