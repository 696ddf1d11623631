"""What it costs to be watched: Registrations a second over TCP while Prometheus scrapes, somebody
looks at the sessions again and again, and a browser has the page open; beside without.

The management endpoint is there either way, as in every daemon. Who watches are processes of their
own, on the load generator's core.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import Agent, readBody
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from benchmarks.figures import Measured, Row
from benchmarks.ground import Bench, cpu_between
from benchmarks.load import LoadError, Session
from benchmarks.messages import host_records, registrations
from benchmarks.processes import Child, Role
from benchmarks.roles import MapServerRole
from lispmsrt.config.management import ManagementConfig
from lispmsrt.services.operations import Operations
from lispmsrt.views.map_server import MapServerViews
from lispmsrt.views.node import NodeViews
from lispmsrt.web.management import Management

__all__ = ["LEFT", "ROWS", "Observed", "ObservedRole", "ObserverRole", "measure"]

ALONE = Row(0, "Registrations over TCP, nobody watching", "/CPU s")
WATCHED = Row(0, "Registrations, a scrape, a watch and a browser", "/CPU s")
LEFT = Row(0, "what is left of the rate when watched", "%")
ROWS = (ALONE, WATCHED, LEFT)

_INTERVAL = 1.0
"""Seconds between two looks: more often than Prometheus by default, as often as ``--watch``."""

_TURNS = 8
"""How often the Registrations are sent in a round once they are registered, as after a Refresh: in
turns with and without observers, so that a neighbour who disturbs disturbs both.
"""

_OBSERVERS = {
    "a scrape": b"/metrics",
    "show sessions": b"/api/v1/sessions",
    "a browser": b"/api/v1/stream",
}
_STREAMS = frozenset({"a browser"})


class Observed(NamedTuple):
    """One round: Registrations for each second of the server's CPU, and of real time."""

    alone: float
    alone_by_the_clock: float
    watched: float
    watched_by_the_clock: float
    looks: int
    "answers that the observers had"

    @property
    def ratio(self) -> float:
        """What is left of the rate when somebody watches."""
        return self.watched / self.alone

    def as_measured(self) -> Iterator[Measured]:
        """Yield its rows."""
        yield Measured(ALONE, self.alone, self.alone_by_the_clock)
        yield Measured(WATCHED, self.watched, self.watched_by_the_clock)
        # Of each round: a machine that is slow for a round is slow for both.
        yield Measured(LEFT, 100 * self.ratio, details={"looks": self.looks})


class ObservedRole(MapServerRole):
    """A Map-Server with its management endpoint on a Unix socket."""

    def __init__(self, reactor: Any, path: str) -> None:
        super().__init__(reactor)
        self._management = Management(
            ManagementConfig(listen=(f"unix:{path}",)),
            NodeViews(MapServerViews(self._server), None, None),
            Operations(self._server, None),
            reactor,
        )
        self._management.startService()

    def stop(self) -> Deferred[None]:
        """Stop both."""
        stopping = [self._management.stopService(), super().stop()]
        return gatherResults(stopping).addCallback(lambda _: None)


@implementer(IAgentEndpointFactory)
class _OverUnixSocket:
    def __init__(self, reactor: Any, path: str) -> None:
        self._endpoint = UNIXClientEndpoint(reactor, path)

    def endpointForURI(self, uri: object) -> UNIXClientEndpoint:
        return self._endpoint


class _Lines(Protocol):
    """Counts the lines of a stream."""

    def __init__(self, looked: Callable[[int], None]) -> None:
        self._looked = looked

    def dataReceived(self, data: bytes) -> None:
        self._looked(data.count(b"\n"))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        pass


class ObserverRole(Role):
    """Looks at one thing: once a second, or as a stream that stays open."""

    def __init__(self, reactor: Any, socket: str, path: bytes, is_stream: bool) -> None:
        self._reactor = reactor
        self._agent = Agent.usingEndpointFactory(reactor, _OverUnixSocket(reactor, socket))
        self._uri = b"http://localhost" + path
        self._is_stream = is_stream
        self._looks = 0
        self._call: IDelayedCall | None = None
        self._stream: _Lines | None = None
        self._turn = 0
        "counts what begins and ends, so that an answer that comes late begins nothing"
        self.commands = {"look": self._look, "rest": self._rest, "looks": lambda: self._looks}

    def stop(self) -> Deferred[None]:
        """Look no more."""
        self._rest()
        return succeed(None)

    def _rest(self) -> None:
        self._turn += 1
        if self._call is not None and self._call.active():
            self._call.cancel()
        stream, self._stream = self._stream, None
        if stream is not None and stream.transport is not None:
            stream.transport.loseConnection()

    def _look(self) -> Deferred[None]:
        """Look, and from then on again and again; fires with the first answer."""
        self._turn += 1
        return self._look_again(self._turn)

    def _look_again(self, turn: int) -> Deferred[None]:
        return Deferred.fromCoroutine(self._look_once(turn))

    async def _look_once(self, turn: int) -> None:
        response: Any = await self._agent.request(b"GET", self._uri)
        if response.code != 200:
            raise LoadError(f"{self._uri.decode()} was answered with status {response.code}")
        if self._is_stream:
            self._stream = _Lines(self._looked)
            response.deliverBody(self._stream)
            return
        await readBody(response)
        self._looked(1)
        if turn == self._turn:
            self._call = self._reactor.callLater(_INTERVAL, self._look_again, turn)

    def _looked(self, times: int) -> None:
        self._looks += times


def measure(bench: Bench, rounds: int) -> Iterator[Measured]:
    """Measure both in each round."""
    stream = registrations(host_records(bench.sizes.registrations))
    with tempfile.TemporaryDirectory(prefix="lispmsrt-bench-") as directory:
        socket = str(Path(directory) / "management.sock")
        with _running_observers(socket) as observers:
            for number in range(rounds):
                one = _round(bench, stream, socket, observers, watched_first=bool(number % 2))
                yield from one.as_measured()


class _Sums:
    """Registrations, and what they took."""

    def __init__(self) -> None:
        self.count = 0
        self.cpu = 0.0
        self.seconds = 0.0

    def take(self, stream: list[bytes], count: int, server: Child, etr: Session) -> None:
        """Send all Registrations once."""
        before = server.ask("usage")
        self.seconds += etr.register(stream, count)
        self.cpu += cpu_between(before, server.ask("usage"))
        self.count += count


def _round(
    bench: Bench,
    stream: list[bytes],
    socket: str,
    observers: Sequence[Child],
    *,
    watched_first: bool,
) -> Observed:
    alone, watched = _Sums(), _Sums()
    count = bench.sizes.registrations
    with (
        bench.server(ObservedRole, socket) as server,
        Session(*server.ask("ports")) as etr,
    ):
        etr.register(stream, count)
        earlier = _looks(observers)
        for turn in range(_TURNS):
            is_watched = bool(turn % 2) is not watched_first
            for observer in observers:
                observer.ask("look" if is_watched else "rest")
            (watched if is_watched else alone).take(stream, count, server, etr)
        for observer in observers:
            observer.ask("rest")
        looks = _looks(observers) - earlier
    return Observed(
        alone.count / alone.cpu,
        alone.count / alone.seconds,
        watched.count / watched.cpu,
        watched.count / watched.seconds,
        looks,
    )


def _looks(observers: Sequence[Child]) -> int:
    return sum(observer.ask("looks") for observer in observers)


@contextmanager
def _running_observers(socket: str) -> Iterator[Sequence[Child]]:
    children = [
        Child(name, ObserverRole, socket, path, name in _STREAMS)
        for name, path in _OBSERVERS.items()
    ]
    try:
        for child in children:
            child.receive()
        yield children
    finally:
        for child in children:
            child.stop()
