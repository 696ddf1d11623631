"""TCP connections in memory: in order, delayed, half-open, with keepalive and a finite buffer."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.python.failure import Failure

if TYPE_CHECKING:
    from tests.simulate.machine import Machine
    from tests.simulate.network import Network

__all__ = ["KEEPALIVE", "End", "Stream"]

KEEPALIVE = 30.0
"""Seconds without delivery after which an end gives its connection up (docs/draft.rst)."""

PROBE = 10.0
"""Seconds between two keepalive probes."""

_RETRY = 1.0
"""Seconds between two attempts to deliver where the path is closed."""

_RECEIVE_WINDOW = 4096
"""Octets that wait for an application which does not read."""


class Stream:
    """One connection between two machines."""

    def __init__(self, network: Network, client: End, server: End, random: Random) -> None:
        self.network = network
        self.client, self.server = client, server
        self.random = random
        self.blocked: set[End] = set()
        "ends whose segments are lost on the way, whatever the path does"
        client.stream = server.stream = self
        client.other, server.other = server, client

    def is_open(self, source: End) -> bool:
        """Whether what this end sends arrives."""
        if source in self.blocked or not source.other.machine.is_up:
            return False
        return self.network.is_open(source.machine.name, source.other.machine.name)

    def check(self) -> None:
        """Something about the path has changed: whoever hears nothing will find out."""
        for end in (self.client, self.server):
            end.probe_later()


class End:
    """One end, as Twisted's TCP transports behave."""

    stream: Stream
    other: End

    def __init__(self, machine: Machine, host: tuple[str, int], peer: tuple[str, int]) -> None:
        self.machine, self.host, self.peer = machine, host, peer
        self.protocol: Any = None
        self.connected = True
        "whether the socket is there at all"
        self.is_reading = True
        self.is_deaf = False
        "its application has stopped to read, by a fault"
        self.disconnecting = False
        self.unsent = bytearray()
        self.unread = bytearray()
        self._is_aborting = False
        self._is_underway = False
        self._has_ended = False
        self._stuck_since: float | None = None
        self._quiet_since: float | None = None
        self._arrives_at = 0.0
        self._producer: Any = None
        self._is_producer_paused = False

    # What protocols call

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", *self.host)

    def getPeer(self) -> IPv4Address:
        return IPv4Address("TCP", *self.peer)

    def round_trip_time(self) -> float:
        """Return seconds, as a transport does that measures by itself."""
        return 0.02

    def write(self, data: bytes) -> None:
        assert type(data) is bytes
        if not self.connected or self.disconnecting:
            return
        self.unsent += data
        self.stream.network.stream_written(self, data)
        self._send()
        if (
            self._producer is not None
            and not self._is_producer_paused
            and len(self.unsent) > self.stream.network.high_water
        ):
            self._is_producer_paused = True
            self._producer.pauseProducing()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        assert self._producer is None and streaming
        self._producer = producer

    def unregisterProducer(self) -> None:
        self._producer = None

    def pauseProducing(self) -> None:
        self.is_reading = False

    def resumeProducing(self) -> None:
        self.is_reading = self.connected and not self.disconnecting
        self._later(0.0, self.read)

    def loseConnection(self) -> None:
        self.disconnecting = True
        self.is_reading = False
        self._send()

    def abortConnection(self) -> None:
        if self.connected and not self._is_aborting:
            self._is_aborting = True
            self.is_reading = False
            self._later(0.0, self.lose, ConnectionAborted())

    # What happens to it

    def lose(self, reason: Exception) -> None:
        """The connection is over for this end: it tells its protocol, and the peer if it can."""
        if not self.connected:
            return
        self.forget(is_silent=False, is_done=isinstance(reason, ConnectionDone))
        if self._producer is not None:
            self._producer.stopProducing()
        if self.protocol is not None:
            self.protocol.connectionLost(Failure(reason))

    def forget(self, *, is_silent: bool, is_done: bool = False) -> None:
        """The socket is gone."""
        self.connected = False
        self.unsent.clear()
        self.unread.clear()
        network = self.stream.network
        network.stream_ended(self)
        if not self.other.connected:
            return
        if not is_silent and not is_done and self.stream.is_open(self):
            network.timeline.after(network.latency(self.stream.random), self.other.reset)
        else:
            self.other.probe_later()

    def reset(self) -> None:
        """The peer has no such connection."""
        if self.connected:
            self._later(0.0, self.lose, ConnectionLost())

    def reset_reading(self) -> None:
        """Its application goes on to read."""
        if self.connected:
            self._later(0.0, self.read)

    def probe_later(self) -> None:
        """Hear whether the peer is there, with the next keepalive probe."""
        if self.connected and self._quiet_since is None:
            timeline = self.stream.network.timeline
            self._quiet_since = timeline.now
            timeline.after(self.stream.random.uniform(0.0, PROBE), self._probe)

    def _probe(self) -> None:
        if not self.connected or self._quiet_since is None:
            return
        is_answered = self.stream.is_open(self) and self.stream.is_open(self.other)
        now = self.stream.network.timeline.now
        if is_answered:
            self._quiet_since = None
            if not self.other.connected:
                self.reset()
        elif now - self._quiet_since >= KEEPALIVE:
            self._give_up()
        else:
            self.stream.network.timeline.after(PROBE / 2, self._probe)

    def _give_up(self) -> None:
        self._later(0.0, self.lose, ConnectionLost("timed out"))

    # Octets

    def _send(self) -> None:
        if self._is_underway or not self.connected:
            return
        if not self.unsent and not (self.disconnecting and not self._has_ended):
            return
        self._is_underway = True
        network = self.stream.network
        self._arrives_at = network.timeline.now + network.latency(self.stream.random)
        network.timeline.at(self._arrives_at, self._arrive)

    def _arrive(self) -> None:
        """Deliver a segment, and have it acknowledged; or try again."""
        self._is_underway = False
        if not self.connected:
            return
        now = self.stream.network.timeline.now
        is_open = self.stream.is_open(self)
        if is_open and not self.other.connected:
            self.reset()
            return
        if not is_open or not self.stream.is_open(self.other):
            if is_open:
                self._deliver()
            self._stuck_since = now if self._stuck_since is None else self._stuck_since
            if now - self._stuck_since >= KEEPALIVE:
                self._give_up()
                return
            self._is_underway = True
            self.stream.network.timeline.after(_RETRY, self._arrive)
            return
        self._stuck_since = None
        moved = self._deliver()
        if moved or not self.unsent:
            self._send()
        elif self.unsent:
            # The peer's window is closed: it is asked now and then.
            self._is_underway = True
            self.stream.network.timeline.after(_RETRY, self._arrive)

    def _deliver(self) -> bool:
        """Move octets to the other machine; tell whether any went."""
        other = self.other
        if not other.connected:
            return False
        room = _RECEIVE_WINDOW - len(other.unread)
        size = self.stream.network.segment_size(self.stream.random, min(len(self.unsent), room))
        if size > 0:
            other.unread += self.unsent[:size]
            del self.unsent[:size]
            other._later(0.0, other.read)
        if not self.unsent:
            if self._is_producer_paused and self._producer is not None:
                self._is_producer_paused = False
                self._later(0.0, self._resume)
            if self.disconnecting and not self._has_ended:
                self._has_ended = True
                other._later(0.0, other.read_end)
                self._later(0.0, self.lose, ConnectionDone())
        return size > 0

    def _resume(self) -> None:
        if self._producer is not None and self.connected:
            self._producer.resumeProducing()

    def read(self) -> None:
        """Give the protocol what has come."""
        if self.unread and self.is_reading and not self.is_deaf and self.connected:
            data = bytes(self.unread)
            self.unread.clear()
            self.stream.network.stream_read(self, data)
            self.protocol.dataReceived(data)
            self.stream.network.stream_was_read(self)

    def read_end(self) -> None:
        """The peer has closed."""
        if self.unread and self.is_deaf:
            self._later(_RETRY, self.read_end)
        elif self.connected:
            self.read()
            self.lose(ConnectionDone())

    def _later(self, delay: float, function: Any, *args: Any) -> None:
        machine = self.machine
        timeline = machine.timeline
        timeline.at(timeline.now + delay, function, *args, machine=machine, life=machine.life)
