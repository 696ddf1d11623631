"""Twisted <-> sans-IO: one stream protocol for sessions of both roles, one datagram protocol for
the control plane.
"""

from __future__ import annotations

import ipaddress
import socket
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from typing import Any
from typing import Protocol as TypingProtocol

from twisted.internet.error import ConnectionDone, InvalidAddressError, MessageLengthError
from twisted.internet.interfaces import IPushProducer, IReactorTime, ITransport
from twisted.internet.protocol import DatagramProtocol, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from lispmsrt.clock import Alarm
from lispmsrt.control.arming import normalised
from lispmsrt.histogram import Latency
from lispmsrt.session.base import CloseReason, Session, SessionState
from lispmsrt.sockets import pack_address, queued_octets, tcp_round_trip_time

__all__ = ["ControlProtocol", "Datagram", "RefusalProtocol", "SessionProtocol"]

Datagram = tuple[bytes, tuple[bytes, int]]
"""Octets, and the packed address and port of who sent them or is to have them."""

_CLOSE_TIMEOUT = 5.0
"""Seconds that a closed session's last octets may take to leave before the connection is reset."""

_WRITE_EVERY = 0.01
"""Seconds that answers may wait for more of them, where a chunk takes many turns of the reactor: to
write costs as much as to take a message.
"""

_IPV4, _IPV6, _BOTH = frozenset({4}), frozenset({16}), frozenset({4, 16})
"""Octets of an address."""

_RESET_AT_ONCE = frozenset(
    {
        CloseReason.NOT_READING,
        CloseReason.NO_ANSWERS,
        CloseReason.MESSAGE_TIMEOUT,
        CloseReason.REFUSED,
    }
)
"""The peer has shown that it does not listen: there is nobody to take leave of."""


@implementer(IPushProducer)
class SessionProtocol(Protocol):
    """Move bytes and time between a transport and a session; write once per chunk."""

    def __init__(
        self,
        make_session: Callable[[SessionProtocol], Session],
        clock: IReactorTime,
        *,
        on_up: Callable[[SessionProtocol], None] = lambda protocol: None,
        on_closed: Callable[[SessionProtocol], None] = lambda protocol: None,
        reads_when_full: bool = False,
        latency: Latency | None = None,
        after_chunk: Callable[[], None] = lambda: None,
    ) -> None:
        """``reads_when_full`` is for the end whose output does not grow with what it reads: if both
        ends stopped reading, each would wait for the other. ``latency`` measures what was read
        until it is answered. ``after_chunk`` is called when a chunk has been taken and answered.
        """
        self.clock = clock
        self.session: Session | None = None
        self.why_lost = ""
        "what the transport knows of the end of the connection; empty where that is nothing"
        self._stream: Any = None
        "the transport: whatever connects streams in Twisted's way"
        self._make_session = make_session
        self._on_up = on_up
        self._on_closed = on_closed
        self._reads_when_full = reads_when_full
        self._latency = latency
        self._after_chunk = after_chunk
        self._is_connected = False
        self._has_left = False
        self._is_held_back = False
        "whether the session has something of what was read still to take"
        self._written_at = 0.0
        self._alarm = Alarm(clock, self._on_alarm)
        self._soon = Alarm(clock, self.flush)
        self._abort = Alarm(clock, self._abort_connection)
        self._turn = Alarm(clock, self._go_on)

    # Transport -> session

    def connectionMade(self) -> None:
        self._stream = self.transport
        self._is_connected = True
        self._stream.registerProducer(self, True)
        self.session = self._make_session(self)
        self._on_up(self)
        self.session.start(self.clock.seconds())
        self.flush()

    def dataReceived(self, data: bytes) -> None:
        assert self.session is not None
        latency = self._latency
        if latency is not None:
            latency.begin()
        self.session.receive_data(data, self.clock.seconds())
        if self.session.goes_on_at is not None:
            self._hold_back()
        self.flush()
        if latency is not None:
            latency.end()
        self._after_chunk()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._is_connected = False
        for alarm in (self._alarm, self._soon, self._abort, self._turn):
            # Closing asks for a flush, and there is nothing left to write to.
            alarm.retire()
        # Twisted's own sentence around it says nothing.
        self.why_lost = " ".join(map(str, getattr(reason.value, "args", ())))
        if self.session is not None:
            cleanly = reason.check(ConnectionDone) is not None
            self.session.connection_lost(self.clock.seconds(), cleanly=cleanly)
        self._on_closed(self)
        # A transport may keep its producer: two that hold each other are not freed before somebody
        # collects cycles.
        self._stream = self.transport = None

    # What is known of the connection

    def rtt(self) -> float | None:
        """Return the round-trip time that the transport has measured, in seconds; None where it has
        measured none, or the connection is gone.
        """
        if not self._is_connected:
            return None
        measured = getattr(self._stream, "round_trip_time", None)
        if measured is None:
            return tcp_round_trip_time(self._stream)
        seconds: float | None = measured()
        return seconds

    @property
    def queued_octets(self) -> int:
        """What was written and the transport has not passed on yet."""
        return queued_octets(self._stream) if self._is_connected else 0

    # The transport's buffer

    def pauseProducing(self) -> None:
        """Stop reading too: every Registration read would add an ACK to what the peer does not
        read.
        """
        assert self.session is not None
        if not self._reads_when_full:
            self._stream.pauseProducing()
        self.session.output_paused(self.clock.seconds())
        self._rearm()

    def resumeProducing(self) -> None:
        assert self.session is not None
        self.session.output_resumed()
        if self.session.state is not SessionState.CLOSED:
            if self._is_held_back:
                self._turn.set(self.session.goes_on_at)
            elif not self._reads_when_full:
                self._stream.resumeProducing()
            self.wake()
        self._rearm()

    def stopProducing(self) -> None:
        """The transport is going: connectionLost follows."""

    # More than the session takes in one turn of the reactor

    def _hold_back(self) -> None:
        """Read no more before the session has taken what it has."""
        assert self.session is not None
        if not self._is_held_back:
            self._is_held_back = True
            self._stream.pauseProducing()
        self._written_at = self.clock.seconds()
        self._turn.set(self.session.goes_on_at)

    def _go_on(self) -> None:
        session = self.session
        assert session is not None
        if session.is_paused and not self._reads_when_full:
            return  # its answers would be left unread: resumeProducing comes back to it
        latency, now = self._latency, self.clock.seconds()
        if latency is not None:
            latency.begin()
        session.go_on(now)
        goes_on_at = session.goes_on_at
        if goes_on_at is not None:
            self._turn.set(goes_on_at)
        elif session.state is not SessionState.CLOSED:
            self._is_held_back = False
            self._stream.resumeProducing()
        if goes_on_at is None or goes_on_at > now or now - self._written_at >= _WRITE_EVERY:
            self._written_at = now
            self.flush()
        if latency is not None:
            latency.end()
        self._after_chunk()

    # Session -> transport

    def wake(self) -> None:
        """Collect the session's output in the next turn of the reactor."""
        self._soon.set(self.clock.seconds())

    def flush(self) -> None:
        """Write what the session has to say, and ring again when it wants."""
        session = self.session
        if session is None:
            return
        data = session.data_to_send(self.clock.seconds())
        if data:
            self._stream.write(data)
        if session.state is not SessionState.CLOSED:
            self._rearm()
        elif not self._has_left:
            # Once: a peer that goes on sending must not move the moment of the reset.
            self._has_left = True
            self._leave(session)

    def _leave(self, session: Session) -> None:
        self._alarm.set(None)
        self._turn.set(None)
        if session.close_reason in _RESET_AT_ONCE:
            self._abort_connection()
        else:
            self._stream.unregisterProducer()
            self._stream.loseConnection()
            self._abort.set(self.clock.seconds() + _CLOSE_TIMEOUT)

    def _rearm(self) -> None:
        assert self.session is not None
        self._alarm.set(self.session.next_timeout())

    def _on_alarm(self) -> None:
        assert self.session is not None
        self.session.handle_timeout(self.clock.seconds())
        self.flush()

    def reset(self) -> None:
        """Reset the connection, unread; connectionLost follows in a later turn of the reactor."""
        if self._is_connected:
            self._abort_connection()

    def _abort_connection(self) -> None:
        self._stream.abortConnection()


class RefusalProtocol(Protocol):
    """Reset a connection that nobody is armed for, unread."""

    def makeConnection(self, transport: ITransport) -> None:
        transport.abortConnection()  # type: ignore[attr-defined]


class Control(TypingProtocol):
    """The sans-IO side of a UDP socket; it may be a :class:`BatchControl`."""

    def receive_datagram(self, data: bytes, source: tuple[bytes, int], now: float) -> None:
        """Take one datagram."""

    def datagrams_to_send(self, now: float) -> list[Datagram]:
        """Return what is to be sent now."""


class BatchControl(Control, TypingProtocol):
    """The same, where it takes at once what has come at once."""

    def receive_datagrams(self, batch: list[Datagram], now: float) -> None:
        """Take datagrams off the batch, the first one first; where one fails, and where it is much
        work, what is behind it is left there.
        """


class ControlProtocol(DatagramProtocol):
    """Move datagrams between a UDP port and the control plane: one by one, or in batches where the
    port has them.
    """

    noisy = False

    def __init__(
        self, control: Control, clock: IReactorTime, latency: Latency | None = None
    ) -> None:
        """``latency`` measures what was received until it is answered."""
        self.counters: Counter[str] = Counter()
        self._control = control
        self._receive: Callable[[list[Datagram], float], None] = (
            getattr(control, "receive_datagrams", None) or self._receive_each
        )
        self._clock = clock
        self._latency = latency
        self._is_ipv6 = False
        self._reached: frozenset[int] | None = None

    def startProtocol(self) -> None:
        family = getattr(self.transport, "addressFamily", None)
        self._is_ipv6 = family == socket.AF_INET6
        self._reached = None

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        address = pack_address(addr[0])
        if address is None:
            self.counters["datagrams from no IP address"] += 1
            return
        self.datagrams_received([(datagram, (normalised(address), addr[1]))])

    def datagrams_received(self, batch: list[Datagram]) -> None:
        """Take datagrams off the batch, and answer all of them at once; where one fails, and where
        it is much work, what is behind it is left there.
        """
        latency = self._latency
        if latency is not None:
            latency.begin()
        try:
            self._receive(batch, self._clock.seconds())
        finally:
            # Whatever one has broken: those before it are answered.
            self.flush()
        if latency is not None:
            latency.end()

    def flush(self) -> None:
        """Send what the control plane has to say."""
        due = self._control.datagrams_to_send(self._clock.seconds())
        if due:
            self.send_all(due)

    def reaches(self, address: bytes) -> bool:
        """Whether this socket can send to an address of this family: one of IPv6 reaches IPv4 where
        it is bound to any address.
        """
        return len(address) in self.reached

    @property
    def reached(self) -> frozenset[int]:
        """How many octets the addresses have that this socket can send to."""
        if self._reached is None:
            if not self._is_ipv6:
                self._reached = _IPV4
            elif self.transport is not None and self.transport.getHost().host == "::":
                self._reached = _BOTH
            else:
                self._reached = _IPV6
        return self._reached

    def send_all(self, datagrams: list[Datagram]) -> None:
        """Send datagrams; what the network refuses is lost, as anything over UDP may be."""
        send_batch = getattr(self.transport, "send_batch", None)
        if send_batch is None:
            for data, (address, port) in datagrams:
                self.send(data, address, port)
            return
        refused = send_batch(datagrams)
        if refused:
            self.counters["datagrams that could not be sent"] += refused

    def send(self, data: bytes, address: bytes, port: int) -> None:
        """Send one datagram; what the network refuses is lost."""
        if self.transport is None:
            return
        host = _host(address)
        if len(address) == 4 and self._is_ipv6:
            host = f"::ffff:{host}"
        try:
            self.transport.write(data, (host, port))
        except (OSError, InvalidAddressError, MessageLengthError):
            self.counters["datagrams that could not be sent"] += 1

    def _receive_each(self, batch: list[Datagram], now: float) -> None:
        while batch:
            data, source = batch.pop(0)
            self._control.receive_datagram(data, source, now)


@lru_cache(maxsize=4096)
def _host(address: bytes) -> str:
    """Return a packed address as the reactor wants it: those who ask do so again and again."""
    return str(ipaddress.ip_address(address))
