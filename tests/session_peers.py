"""Peers of a session that are neither an ETR nor a Map-Server, whatever stream carries them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from lispmsrt.clock import Alarm, MonotonicClock

__all__ = ["Pouring", "RawPeer", "raw_peers"]

_CRAWL = 0.002
"""Seconds that a slow reader rests after each chunk."""


class RawPeer(Protocol):
    """Writes what it is told, keeps what it hears, and notes how it ended."""

    def __init__(self, reactor: Any) -> None:
        self.received = bytearray()
        self.ended: Deferred[str] = Deferred()
        "fires with the name of the exception that says why"
        self.is_connected = False
        self._is_slow = False
        self._clock = MonotonicClock(reactor)
        self._wake = Alarm(self._clock, self._read_on)

    def connectionMade(self) -> None:
        self.is_connected = True

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        if self._is_slow:
            self.stream.pauseProducing()
            self._wake.set(self._clock.seconds() + _CRAWL)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.is_connected = False
        self._wake.set(None)
        self.ended.callback(reason.type.__name__)

    @property
    def stream(self) -> Any:
        """The transport."""
        return self.transport

    def stop_reading(self) -> None:
        """Leave everything unread from now on."""
        self.stream.pauseProducing()

    def read_slowly(self) -> None:
        """Read a chunk at a time, and rest after each."""
        self._is_slow = True
        self.stream.resumeProducing()

    def _read_on(self) -> None:
        if self.is_connected:
            self.stream.resumeProducing()


def raw_peers(reactor: Any, made: Callable[[RawPeer], object]) -> Factory:
    """Return a factory of such peers, and show each to somebody."""

    def build() -> RawPeer:
        peer = RawPeer(reactor)
        made(peer)
        return peer

    factory = Factory.forProtocol(build)  # type: ignore[arg-type]
    factory.noisy = False
    return factory


@implementer(IPushProducer)
class Pouring:
    """Write chunk after chunk, one a turn of the reactor, as long as the transport takes them."""

    def __init__(self, reactor: Any, peer: RawPeer, make_chunk: Callable[[], bytes]) -> None:
        self.chunks = 0
        "written so far"
        self.was_paused = False
        self._peer = peer
        self._make_chunk = make_chunk
        self._clock = MonotonicClock(reactor)
        self._next = Alarm(self._clock, self._write)
        peer.stream.registerProducer(self, True)
        self.resumeProducing()

    def resumeProducing(self) -> None:
        self._next.set(self._clock.seconds())

    def pauseProducing(self) -> None:
        self.was_paused = True
        self._next.set(None)

    def stopProducing(self) -> None:
        self._next.set(None)

    def stop(self) -> None:
        """Write no more."""
        self._next.set(None)
        self._peer.stream.unregisterProducer()

    def _write(self) -> None:
        self._next.set(self._clock.seconds())
        self.chunks += 1
        self._peer.stream.write(self._make_chunk())
