"""The UDP sockets of a control plane: an answer leaves by the socket that its question came to, or
where that can't reach the destination by the first that can. Where the kernel sorts, each address
has a second socket for Map-Requests, which a flood of anything else does not fill.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Protocol

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IListeningPort, IReactorTime
from twisted.logger import Logger

from lispmsrt.clock import Alarm
from lispmsrt.config import SocketAddress
from lispmsrt.histogram import Latency
from lispmsrt.protocols import ControlProtocol
from lispmsrt.services.listening import listen_control, listen_questions, stop_listening
from lispmsrt.transports.turns import Turns
from lispmsrt.transports.udp import BatchPort
from lispmsrt.wire.addresses import Afi

__all__ = ["ControlSockets"]

Datagram = tuple[bytes, tuple[bytes, int]]

_LONGEST_WAIT = 0.005
"""Seconds that datagrams wait at most while sessions keep the reactor busy."""

_ANY = ((int(Afi.IPV4), bytes(4)), (int(Afi.IPV6), bytes(16)))
"""A packed address of each family."""


class Plane(Protocol):
    """The sans-IO side of all sockets together."""

    def receive_datagram(self, data: bytes, source: tuple[bytes, int], now: float) -> None:
        """Take one datagram."""

    def receive_datagrams(self, batch: list[Datagram], now: float) -> None:
        """Take datagrams off the batch, as many as are no long work."""

    def datagrams_to_send(self, now: float) -> list[Datagram]:
        """Return what is to be sent now."""

    def next_timeout(self) -> float | None:
        """When there will be something to send."""


class _Side:
    """What one socket sees of the control plane."""

    def __init__(self, sockets: ControlSockets, plane: Plane) -> None:
        self._sockets = sockets
        self.receive_datagram = plane.receive_datagram
        self.receive_datagrams = plane.receive_datagrams

    def datagrams_to_send(self, now: float) -> list[Datagram]:
        """Return what this socket is to send; what it can't reach goes by another."""
        return self._sockets.collect(self, now)


class ControlSockets:
    """UDP sockets that share one control plane."""

    _log = Logger()

    def __init__(
        self, plane: Plane, reactor: Any, clock: IReactorTime, latency: Latency | None = None
    ) -> None:
        """``latency`` measures what was received until it is answered."""
        self.granted: dict[str, int] = {}
        "UDP socket to octets of receive buffer granted by the kernel"
        self.turns = Turns(clock.seconds)
        "of all that is done for who has no session yet, and so of listening ports too"
        self._plane = plane
        self._reactor = reactor
        self._clock = clock
        self._latency = latency
        self._ports: list[IListeningPort] = []
        self._protocols: dict[_Side, ControlProtocol] = {}
        self._beside: dict[IListeningPort, ControlProtocol] = {}
        "those for Map-Requests"
        self._families: set[int] = set()
        self._alarm = Alarm(clock, self.flush)
        self._looked_at = clock.seconds()

    @property
    def addresses(self) -> list[Any]:
        """What is listened on, in the order of opening."""
        return [port.getHost() for port in self._ports]

    @property
    def ports(self) -> list[IListeningPort]:
        """Every socket, those for Map-Requests first."""
        return [*self._beside, *self._ports]

    @property
    def counters(self) -> Counter[str]:
        """What the sockets have counted, together, as long as they are open; and their turns."""
        protocols = (*self._protocols.values(), *self._beside.values())
        of_sockets = (protocol.counters for protocol in protocols)
        return sum(of_sockets, self.turns.counters.copy())

    def can_reach(self, afi: int) -> bool:
        """Whether one of the sockets can send to addresses of this family (Afi)."""
        return afi in self._families

    def open(self, addresses: Iterable[SocketAddress], receive_buffer: int) -> None:
        """Open a socket for each address; ListenError says which one could not be opened."""
        for address in addresses:
            side = _Side(self, self._plane)
            protocol = ControlProtocol(side, self._clock, self._latency)
            port, granted = listen_control(
                self._reactor, address, protocol, receive_buffer, self.turns
            )
            self._ports.append(port)
            self._protocols[side] = protocol
            self._open_beside(side, port, receive_buffer)
            self._families |= {afi for afi, any_one in _ANY if protocol.reaches(any_one)}
            self.granted[str(address)] = granted
            self._log.info(
                "LISP control on UDP {address}, receive buffer {granted} octets",
                address=address,
                granted=granted,
            )

    def _open_beside(self, side: _Side, port: IListeningPort, receive_buffer: int) -> None:
        # It is the same side to the control plane: what one of the two can reach the other can.
        protocol = ControlProtocol(side, self._clock, self._latency)
        beside = listen_questions(port, protocol, receive_buffer, self.turns)
        if beside is not None:
            self._beside[beside] = protocol
        elif isinstance(port, BatchPort):
            self._log.warn("Map-Requests have no UDP socket of their own: the kernel does not sort")

    def look(self) -> None:
        """Take the datagrams that wait, if nobody looked for some time. Sessions call it between
        chunks: when a thousand of them have something to read, one turn of the reactor takes half a
        second, and who asks for a mapping would wait for all of it. On the other hand it is by
        these calls that sessions are known to have work, and have most of the time.
        """
        self.turns.others_worked()
        now = self._clock.seconds()
        if now - self._looked_at < _LONGEST_WAIT:
            return
        self._looked_at = now
        for port in self.ports:
            read = getattr(port, "doRead", None)
            if read is not None:
                # What is wrong with a UDP socket is nothing to the session that has called: the
                # reactor meets it again.
                with suppress(OSError):
                    read()

    def close(self) -> Deferred[Any]:
        """Close every socket; fires when they are closed."""
        self._alarm.set(None)
        ports = self.ports
        self._ports.clear()
        self._beside.clear()
        self._protocols.clear()
        self._families.clear()
        self.turns.forget_all()
        return gatherResults(map(stop_listening, ports))

    def flush(self) -> None:
        """Send what is due, each datagram by the first socket that reaches its destination."""
        self._send_by_any(self._plane.datagrams_to_send(self._clock.seconds()))
        self.rearm()

    def rearm(self) -> None:
        """Ring again when the control plane wants."""
        if self._ports:
            self._alarm.set(self._plane.next_timeout())

    def collect(self, side: _Side, now: float) -> list[Datagram]:
        """Return what is due for one socket, and send what it can't reach by another."""
        due = self._plane.datagrams_to_send(now)
        self.rearm()
        protocol = self._protocols.get(side)
        if protocol is None:
            return []
        if len(self._protocols) == 1:
            return due  # this one or none
        reached = protocol.reached
        mine = [datagram for datagram in due if len(datagram[1][0]) in reached]
        if len(mine) < len(due):
            self._send_by_any([each for each in due if len(each[1][0]) not in reached])
        return mine

    def _send_by_any(self, datagrams: list[Datagram]) -> None:
        for protocol in self._protocols.values():
            if not datagrams:
                break
            reached = protocol.reached
            protocol.send_all([each for each in datagrams if len(each[1][0]) in reached])
            datagrams = [each for each in datagrams if len(each[1][0]) not in reached]
