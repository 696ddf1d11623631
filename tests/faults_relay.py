"""Relays for UDP and TCP that take their time: what is sent to them arrives later, if at all.

They speak to the Map-Server from the ETR's address, which is what it knows the ETR by. Over TCP
nothing is lost and nothing overtaken: what came stays a stream.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.protocol import ClientFactory, DatagramProtocol, Factory, Protocol
from twisted.python.failure import Failure

from lispmsrt.clock import MonotonicClock

__all__ = ["Path", "TcpRelay", "UdpRelay"]

Address = tuple[str, int]


@dataclass(frozen=True)
class Path:
    """What a relay does to what it carries, in either direction. Times in seconds."""

    delay: float = 0.02
    jitter: float = 0.02
    "so much more, at random: datagrams overtake each other"
    loss: float = 0.0
    duplication: float = 0.0


class _Delays:
    """What is on its way."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._calls: set[Any] = set()
        self._is_closed = False

    def later(self, delay: float, do: Callable[[], object]) -> None:
        """Do it after so many seconds, unless all is closed before."""
        if self._is_closed:
            return

        def due() -> None:
            self._calls.discard(call)
            do()

        call = self._reactor.callLater(delay, due)
        self._calls.add(call)

    def close(self) -> None:
        """Lose it."""
        self._is_closed = True
        for call in self._calls:
            call.cancel()
        self._calls.clear()


class UdpRelay(DatagramProtocol):
    """One that senders send to; it has a socket of its own for each of them."""

    noisy = False

    def __init__(self, reactor: Any, path: Path, near: Address, source: str, to: Address) -> None:
        """Listen at ``near``; speak to ``to`` from the address ``source``."""
        self.counters: Counter[str] = Counter()
        self._reactor = reactor
        self._path = path
        self._random = Random(1)
        self._source = source
        self._to = to
        self._far: dict[Address, _FarEnd] = {}
        self._delays = _Delays(reactor)
        self._port = reactor.listenUDP(near[1], self, interface=near[0])

    def datagramReceived(self, datagram: bytes, addr: Address) -> None:
        far = self._far.get(addr)
        if far is None:
            far = self._far[addr] = _FarEnd(self, addr)
            self._reactor.listenUDP(0, far, interface=self._source)
        self._carry(far.write, datagram, self._to)

    def answered(self, datagram: bytes, sender: Address) -> None:
        """Bring an answer to who sent the question."""
        self._carry(self._port.write, datagram, sender)

    def _carry(
        self, write: Callable[[bytes, Address], object], datagram: bytes, to: Address
    ) -> None:
        path, random = self._path, self._random.random
        if random() < path.loss:
            self.counters["lost"] += 1
            return
        for _copy in range(1 + (random() < path.duplication)):
            self.counters["carried"] += 1
            self._delays.later(path.delay + random() * path.jitter, lambda: write(datagram, to))

    def close(self) -> None:
        """Lose what is on its way, and everything from now on."""
        self._delays.close()
        for port in (self._port, *(far.transport for far in self._far.values())):
            port.stopListening()


class _FarEnd(DatagramProtocol):
    """Poses as one sender."""

    noisy = False

    def __init__(self, relay: UdpRelay, sender: Address) -> None:
        self._relay = relay
        self._sender = sender

    def datagramReceived(self, datagram: bytes, addr: Address) -> None:
        self._relay.answered(datagram, self._sender)

    def write(self, datagram: bytes, to: Address) -> None:
        """Send it on."""
        assert self.transport is not None
        self.transport.write(datagram, to)


class TcpRelay(Factory):
    """One that connections are made to; it makes another for each of them."""

    noisy = False

    def __init__(self, reactor: Any, path: Path, near: Address, source: str, to: Address) -> None:
        """Listen at ``near``; connect to ``to`` from the address ``source``."""
        self.counters: Counter[str] = Counter()
        self._reactor = reactor
        self._path = path
        self._random = Random(1)
        self._source = source
        self._to = to
        self._clock = MonotonicClock(reactor)
        self._ends: list[_TcpEnd] = []
        self._delays = _Delays(reactor)
        self._port = reactor.listenTCP(near[1], self, interface=near[0])

    def buildProtocol(self, addr: object) -> Protocol:
        near, far = _TcpEnd(self), _TcpEnd(self)
        near.other, far.other = far, near
        self._ends += [near, far]
        self._reactor.connectTCP(*self._to, _Way(far), bindAddress=(self._source, 0))
        return near

    def carry(self, earliest: float, do: Callable[[], object]) -> float:
        """Do it after the delay and not before a time; return when."""
        self.counters["carried"] += 1
        now = self._clock.seconds()
        delay = self._path.delay + self._random.random() * self._path.jitter
        at = max(earliest, now + delay)
        self._delays.later(at - now, do)
        return at

    def close(self) -> None:
        """Reset what there is, and listen no more."""
        self._delays.close()
        for end in self._ends:
            end.part(Failure(ConnectionAborted()))
        self._port.stopListening()


class _Way(ClientFactory):
    noisy = False

    def __init__(self, end: _TcpEnd) -> None:
        self._end = end

    def buildProtocol(self, addr: object) -> Protocol:
        return self._end

    def clientConnectionFailed(self, connector: object, reason: Failure) -> None:
        self._end.other.part(reason)


class _TcpEnd(Protocol):
    """One of the two connections: what it reads the other one writes, later and in order."""

    other: _TcpEnd

    def __init__(self, relay: TcpRelay) -> None:
        self._relay = relay
        self._last_at = 0.0
        self._under_way: deque[Callable[[], object]] = deque()
        self._early: list[Callable[[], object]] = []
        "what is to be done once it is connected"

    def connectionMade(self) -> None:
        early, self._early = self._early, []
        for do in early:
            do()

    def dataReceived(self, data: bytes) -> None:
        self._carry(lambda: self.other.write(data))

    def connectionLost(self, reason: Failure | None = None) -> None:
        assert reason is not None
        self._carry(lambda: self.other.part(reason))

    def _carry(self, do: Callable[[], object]) -> None:
        # Calls that are due at about one time may come in any order; what is under way does not.
        self._under_way.append(do)
        self._last_at = self._relay.carry(self._last_at, lambda: self._under_way.popleft()())

    def write(self, data: bytes) -> None:
        """Write it, at the earliest once it is connected."""
        if self.transport is None:
            self._early.append(lambda: self.write(data))
        else:
            self.transport.write(data)

    def part(self, reason: Failure) -> None:
        """End as the other one did, at the earliest once it is connected."""
        if self.transport is None:
            self._early.append(lambda: self.part(reason))
        elif reason.check(ConnectionDone):
            self.transport.loseConnection()
        else:
            self.transport.abortConnection()  # type: ignore[attr-defined]
