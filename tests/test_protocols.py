"""Between Twisted's transports and the sans-IO sessions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.error import (
    ConnectionAborted,
    ConnectionDone,
    ConnectionLost,
)
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from lispmsrt.protocols import RefusalProtocol, SessionProtocol
from lispmsrt.session.base import CloseReason, Session, SessionState, SessionTimer
from lispmsrt.session.limits import SessionLimits
from tests.builders import answers, frame

_ECHOED = 100


class _EchoSession(Session):
    """Answers every message of type 100 with its data, and type 101 by closing."""

    ALLOWED = {  # noqa: RUF012
        state: {_ECHOED: "_on_echo", 101: "_on_close_wish"}
        for state in (SessionState.STARTING, SessionState.ESTABLISHED)
    }

    def __init__(self, wake: Callable[[], None], now: float) -> None:
        super().__init__(SessionLimits(), wake, now)
        self.timeouts: list[float] = []
        self.greeting = b"hello"
        self.closed_at: list[float] = []

    def start(self, now: float) -> None:
        self._send(frame(20, bytes(3), 1))
        self._set_timer(SessionTimer.BEGINNING, now + 30)

    def say(self, data: bytes) -> None:
        """Queue something unasked."""
        self._send(data)
        self._wake()

    def _on_echo(self, chunk: bytes, start: int, end: int, now: float) -> None:
        self._send(chunk[start:end])

    def _on_close_wish(self, chunk: bytes, start: int, end: int, now: float) -> None:
        self._send(b"farewell")
        self.close(CloseReason.CLEARED, now)

    def _pull(self, now: float) -> None:
        pass

    def _on_timeout(self, timer: SessionTimer, now: float) -> None:
        self.timeouts.append(now)
        self._send(b"late")

    def _on_close(self, now: float) -> None:
        self.closed_at.append(now)


class _Transport(StringTransport):
    """Notes single writes, and pauses its producer when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.lost = 0
        self.aborting = False

    def write(self, data: bytes) -> None:
        super().write(data)
        self.writes.append(data)

    def abortConnection(self) -> None:
        self.aborting = True

    def loseConnection(self) -> None:
        self.lost += 1
        super().loseConnection()


class SessionProtocolTests(SynchronousTestCase):
    """One connection."""

    reads_when_full = False

    def setUp(self) -> None:
        """Connect."""
        self.clock = Clock()
        self.events: list[str] = []
        self.protocol = SessionProtocol(
            lambda protocol: _EchoSession(protocol.wake, self.clock.seconds()),
            self.clock,
            on_up=lambda protocol: self.events.append("up"),
            on_closed=lambda protocol: self.events.append("closed"),
            reads_when_full=self.reads_when_full,
        )
        self.transport = _Transport()
        self.protocol.makeConnection(self.transport)
        session = self.protocol.session
        assert isinstance(session, _EchoSession)
        self.session = session

    def _lose(self, reason: Exception | None = None) -> None:
        self.protocol.connectionLost(Failure(reason or ConnectionDone()))

    def test_what_the_transport_knows_of_the_end_is_kept(self) -> None:
        """Its own words, without Twisted's around them."""
        for error, words in (
            (ConnectionLost("the peer demands a certificate"), "the peer demands a certificate"),
            (ConnectionLost(), ""),
            (ConnectionDone(), ""),
        ):
            self.setUp()
            self._lose(error)
            self.assertEqual(self.protocol.why_lost, words)

    def test_it_is_a_producer(self) -> None:
        """The transport can hold it back."""
        self.assertTrue(verifyObject(IPushProducer, self.protocol))
        self.assertIs(self.transport.producer, self.protocol)

    def test_what_the_session_begins_with_is_written_when_the_connection_is_made(self) -> None:
        """In one write, after on_up."""
        self.assertEqual(len(self.transport.writes), 1)
        self.assertEqual(answers(self.transport.writes[0])[0][0], "refresh")
        self.assertEqual(self.events, ["up"])

    def test_a_chunk_is_answered_by_one_write(self) -> None:
        """However many messages it has."""
        self.transport.writes.clear()
        self.protocol.dataReceived(b"".join(frame(_ECHOED, b"%d" % n) for n in range(5)))
        self.assertEqual(self.transport.writes, [b"01234"])

    def test_others_may_look_after_each_chunk(self) -> None:
        """When it is answered."""
        seen: list[bytes] = []
        transport = _Transport()
        protocol = SessionProtocol(
            lambda protocol: _EchoSession(protocol.wake, self.clock.seconds()),
            self.clock,
            after_chunk=lambda: seen.append(transport.writes[-1]),
        )
        protocol.makeConnection(transport)
        self.assertEqual(seen, [])
        protocol.dataReceived(frame(_ECHOED, b"x"))
        self.assertEqual(seen, [b"x"])

    def test_a_chunk_without_an_answer_is_no_write(self) -> None:
        """Not even an empty one."""
        self.transport.writes.clear()
        self.protocol.dataReceived(frame(_ECHOED, b""))
        self.protocol.dataReceived(b"\0")
        self.assertEqual(self.transport.writes, [])

    def test_what_is_queued_unasked_leaves_together_in_the_next_turn(self) -> None:
        """Not in the middle of whoever queued it."""
        self.transport.writes.clear()
        self.session.say(b"one")
        self.session.say(b"two")
        self.assertEqual(self.transport.writes, [])
        self.clock.advance(0)
        self.assertEqual(self.transport.writes, [b"onetwo"])

    def test_the_sessions_timer_rings(self) -> None:
        """And what it says then is written."""
        self.transport.writes.clear()
        self.clock.advance(29.9)
        self.assertEqual(self.session.timeouts, [])
        self.clock.advance(0.1)
        self.assertEqual(self.session.timeouts, [30.0])
        self.assertEqual(self.transport.writes, [b"late"])

    def test_a_message_begun_and_not_finished_closes(self) -> None:
        """The peer does not listen: it is reset, not waited for."""
        self.protocol.dataReceived(frame(_ECHOED, b"12345678")[:-1])
        self.clock.pump([10.0] * 7)
        self.assertIs(self.session.close_reason, CloseReason.MESSAGE_TIMEOUT)
        self.assertTrue(self.transport.aborting)

    # Back-pressure

    def test_a_full_transport_stops_reading_too(self) -> None:
        """Else every message read would add to what is not read."""
        self.protocol.pauseProducing()
        self.assertEqual(self.transport.producerState, "paused")

    def test_reading_goes_on_when_the_transport_is_empty(self) -> None:
        """And what has waited meanwhile leaves."""
        self.protocol.pauseProducing()
        self.session.say(b"waiting")
        self.protocol.resumeProducing()
        self.assertEqual(self.transport.producerState, "producing")
        self.transport.writes.clear()
        self.clock.advance(0)
        self.assertNotIn(b"", self.transport.writes)
        self.clock.advance(120)
        self.assertIsNone(self.session.close_reason)

    def test_a_peer_that_never_reads_is_dropped(self) -> None:
        """By a reset, after a minute."""
        self.protocol.pauseProducing()
        self.clock.advance(59)
        self.assertFalse(self.transport.aborting)
        self.clock.advance(1)
        self.assertIs(self.session.close_reason, CloseReason.NOT_READING)
        self.assertTrue(self.transport.aborting)

    def test_resuming_a_closed_session_does_not_read_again(self) -> None:
        """The transport drains while it closes."""
        self.protocol.pauseProducing()
        self.session.close(CloseReason.SHUTDOWN, 0.0)
        self.protocol.resumeProducing()
        self.assertEqual(self.transport.producerState, "paused")

    # The end

    def test_a_session_that_closes_takes_leave(self) -> None:
        """Its last words are written, then the connection is closed."""
        self.protocol.dataReceived(frame(101, b""))
        self.assertEqual(self.transport.writes[-1], b"farewell")
        self.assertEqual(self.transport.lost, 1)
        self.assertIsNone(self.transport.producer)
        self.assertFalse(self.transport.aborting)

    def test_a_peer_that_does_not_let_go_is_reset(self) -> None:
        """Five seconds after the session closed."""
        self.protocol.dataReceived(frame(101, b""))
        self.clock.pump([0, 4.9])
        self.assertFalse(self.transport.aborting)
        self.clock.advance(0.1)
        self.assertTrue(self.transport.aborting)

    def test_a_peer_that_goes_on_sending_does_not_postpone_the_reset(self) -> None:
        """What comes after the close is swallowed."""
        self.protocol.dataReceived(frame(101, b""))
        for _second in range(5):
            self.protocol.dataReceived(frame(_ECHOED, b"more"))
            self.clock.advance(1)
        self.assertTrue(self.transport.aborting)
        self.assertEqual(self.transport.lost, 1)
        self.assertEqual(self.transport.writes[-1], b"farewell")

    def test_connection_lost_leaves_no_delayed_call(self) -> None:
        """Whatever was armed."""
        self.session.say(b"never sent")
        self._lose()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.events, ["up", "closed"])

    def test_connection_lost_after_the_close_leaves_no_delayed_call(self) -> None:
        """Nor does the reset that is not needed any more."""
        self.protocol.dataReceived(frame(101, b""))
        self._lose()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.session.closed_at, [0.0])

    def test_the_session_learns_how_the_connection_ended(self) -> None:
        """Closed by the peer or lost."""
        self._lose()
        self.assertIs(self.session.close_reason, CloseReason.PEER_CLOSED)
        for error in (ConnectionLost(), ConnectionAborted()):
            self.setUp()
            self._lose(error)
            self.assertIs(self.session.close_reason, CloseReason.CONNECTION_LOST)

    def test_a_transport_that_goes_away_stops_the_producer(self) -> None:
        """Twisted says so before connectionLost, and nothing follows from it."""
        self.protocol.stopProducing()
        self.assertIsNone(self.session.close_reason)

    def test_a_connection_that_never_became_a_session_ends_quietly(self) -> None:
        """Its owner hears of the end all the same."""
        events: list[str] = []
        protocol = SessionProtocol(
            lambda protocol: _EchoSession(protocol.wake, 0.0),
            self.clock,
            on_closed=lambda protocol: events.append("closed"),
        )
        protocol.flush()
        protocol.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(events, ["closed"])


class ConnectionTests(SynchronousTestCase):
    """What is known of the connection."""

    def setUp(self) -> None:
        """Connect something."""
        clock = Clock()
        self.protocol = SessionProtocol(
            lambda protocol: _EchoSession(protocol.wake, clock.seconds()), clock
        )

    def test_before_there_is_a_transport_nothing_is_known(self) -> None:
        """It may be asked nevertheless."""
        self.assertIsNone(self.protocol.rtt())
        self.assertEqual(self.protocol.queued_octets, 0)

    def test_a_transport_that_measures_is_asked(self) -> None:
        """And one that counts what it has not sent."""
        transport: Any = _Transport()
        transport.round_trip_time = lambda: 0.25
        transport.queued_octets = 77
        self.protocol.makeConnection(transport)
        self.assertEqual((self.protocol.rtt(), self.protocol.queued_octets), (0.25, 77))

    def test_when_it_is_gone_nothing_is_known(self) -> None:
        """Whatever the transport would say."""
        transport: Any = _Transport()
        transport.round_trip_time = lambda: 0.25
        self.protocol.makeConnection(transport)
        self.protocol.connectionLost()
        self.assertEqual((self.protocol.rtt(), self.protocol.queued_octets), (None, 0))

    def test_whether_the_peer_reads_is_known(self) -> None:
        """As far as the transport's buffer tells."""
        self.protocol.makeConnection(_Transport())
        assert self.protocol.session is not None
        found = [self.protocol.session.is_paused]
        for change in (self.protocol.pauseProducing, self.protocol.resumeProducing):
            change()
            found.append(self.protocol.session.is_paused)
        self.assertEqual(found, [False, True, False])
        self.protocol.connectionLost()

    def test_one_that_does_neither_says_nothing(self) -> None:
        """No time, and no octets."""
        self.protocol.makeConnection(_Transport())
        self.assertEqual((self.protocol.rtt(), self.protocol.queued_octets), (None, 0))


class ReadingWhenFullTests(SessionProtocolTests):
    """The end whose output does not grow with its input: the other end may need it to read."""

    reads_when_full = True

    def test_a_full_transport_stops_reading_too(self) -> None:
        """It does not, here."""
        self.protocol.pauseProducing()
        self.assertEqual(self.transport.producerState, "producing")

    def test_resuming_a_closed_session_does_not_read_again(self) -> None:
        """It never stopped."""
        self.protocol.pauseProducing()
        self.session.close(CloseReason.SHUTDOWN, 0.0)
        self.protocol.resumeProducing()
        self.assertEqual(self.transport.producerState, "producing")


class RefusalProtocolTests(SynchronousTestCase):
    """Whoever nobody is armed for."""

    def test_the_connection_is_reset_unread(self) -> None:
        """No protocol ever sees a byte, and none is written."""
        transport = _Transport()
        RefusalProtocol().makeConnection(transport)
        self.assertTrue(transport.aborting)
        self.assertEqual(transport.writes, [])
