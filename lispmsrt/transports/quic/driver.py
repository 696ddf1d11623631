"""Drive one QUIC connection: datagrams, time and the application's octets in; datagrams, octets and
the end of it out. Everything that happened in a turn of the reactor is answered once, after it.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Protocol

from aioquic.quic.events import (
    ConnectionIdIssued,
    ConnectionIdRetired,
    HandshakeCompleted,
    QuicEvent,
    StopSendingReceived,
    StreamDataReceived,
    StreamReset,
)
from aioquic.quic.packet import QuicErrorCode, QuicFrameType
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from lispmsrt.clock import Alarm
from lispmsrt.transports.quic.connection import STREAM_ID, CloseCode, StreamConnection
from lispmsrt.transports.quic.reasons import explain

__all__ = ["Address", "Driver", "Side"]

Address = tuple[str, int]

DELIVERY_TIMEOUT = 5.0
"""Seconds that the last octets may take to be acknowledged before the connection is dropped."""

_GRANULARITY = 0.0001
"""Seconds until aioquic's timer may ring again."""

FAREWELL_TIMEOUT = 1.0
"""Seconds for the same after the peer has ended the stream: it may well not listen any more."""

DOUBT_TIMEOUT = 3.0
"""Seconds to answer a PING in for a peer that is said to be gone."""

_CLOSE_COPIES = 2
"""Datagrams that say that it is over. Nobody acknowledges them, and a peer that hears none of it
waits for its idle timeout.
"""


_MAX_FAREWELL = 2.0
"""Seconds for which a connection that is over says so to who asks. RFC 9000 §10.2 wants three times
the probe timeout, which a slow path may make long.
"""


class Side(Protocol):
    """Whose connection it is: the listening port's or a client's."""

    def send(self, data: bytes, address: Address) -> None:
        """Send a datagram; what can't be sent is lost."""

    def handshake_completed(self, event: HandshakeCompleted) -> None:
        """The peer is known."""

    def received(self, data: bytes, *, is_end: bool) -> None:
        """Octets of the stream, and whether the peer says that they were its last."""

    def turn_over(self) -> None:
        """Events are dealt with: the last chance to write before datagrams leave."""

    def issued(self, connection_id: bytes) -> None:
        """The peer may use another connection ID from now on."""

    def retired(self, connection_id: bytes) -> None:
        """The peer won't use that connection ID any more."""

    def ended(self, reason: Failure) -> None:
        """The connection is over for whoever used it."""

    def gone(self) -> None:
        """Nothing more needs to be said to the peer either."""

    def worked(self, seconds: float) -> None:
        """So much time has gone to this connection."""


class Driver:
    """The one way to a :class:`StreamConnection` and its one timer."""

    _log = Logger()

    def __init__(
        self, quic: StreamConnection, clock: IReactorTime, side: Side, *, keepalive: float
    ) -> None:
        """``keepalive`` is in seconds of silence until a PING."""
        self.quic = quic
        self.is_over = False
        self._clock = clock
        self._side = side
        self._keepalive = keepalive
        self._alarm = Alarm(clock, self._ring)
        self._soon: IDelayedCall | None = None
        self._is_in_turn = False
        self._unsent: list[bytes] = []
        self._unsent_octets = 0
        self._quic_timer: float | None = None
        self._ping_at: float | None = None
        self._deadline: float | None = None
        self._verdict: Failure | None = None
        "why this end ended it"
        self._too_late = ""
        "what to say when the deadline is missed"
        self._is_in_doubt = False
        self._is_finishing = False
        self._is_end_written = False
        self._has_peer_ended = False
        self._last_words: list[tuple[bytes, Address]] = []
        self._knocks = 0

    # Datagrams

    def connect(self, address: Address) -> None:
        """Begin the handshake (client)."""
        self.quic.connect(address, now=self._clock.seconds())
        self.wake()

    def receive(self, data: bytes, address: Address) -> None:
        """Take a datagram that was meant for this connection."""
        if self.is_over:
            self._repeat_last_words()
            return
        if self.quic.termination is not None:
            return  # it ends with this turn
        side, now = self._side, self._clock.seconds()
        silent_at = self.quic.silent_at
        try:
            self.quic.receive_datagram(data, address, now)
        except Exception:
            self._broken()
            side.worked(self._clock.seconds() - now)
            return
        # Who sees the traffic can send junk in the peer's name, which is no sign of life: two idle
        # ends that took it for one would send no PINGs until both gave up.
        if self.quic.silent_at != silent_at:
            self._heard(now)
        side.worked(self._clock.seconds() - now)
        self.wake()

    def _heard(self, now: float) -> None:
        if self._ping_at is not None:
            self._ping_at = now + self._keepalive
        if self._is_in_doubt:
            self._is_in_doubt = False
            self.limit(None)

    # What the transport asks for

    @property
    def unacknowledged(self) -> int:
        """Octets that were written and that the peer has not acknowledged."""
        return 0 if self.is_over else self._unsent_octets + self.quic.unacknowledged

    @property
    def round_trip_time(self) -> float | None:
        """Smoothed, in seconds; None before the first was measured, and when it is over."""
        return None if self.is_over else self.quic.round_trip_time

    def write(self, data: bytes) -> None:
        """Queue octets."""
        self._unsent.append(data)
        self._unsent_octets += len(data)
        self.wake()

    def consumed(self, octets: int) -> None:
        """The application took them: the peer may send as many more."""
        self.quic.consumed += octets
        if self.quic.owes_credit:
            self.wake()

    def finish(self, timeout: float = DELIVERY_TIMEOUT) -> None:
        """Deliver what was written and the end of the stream, then close."""
        self._is_finishing = True
        self._is_in_doubt = False
        self.limit(timeout, f"what was written last was not delivered within {timeout:g} s")
        self.wake()

    def close(
        self, code: int, reason: str, failure: Failure, frame_type: int | None = None
    ) -> None:
        """Close at once, with a word to the peer; the end follows in a later turn of the reactor.

        With a frame type, ``code`` is one of QUIC's own instead of the application's.
        """
        if self._verdict is None and not self.is_over:
            self._verdict = failure
            self.quic.close(code, frame_type, reason)
            self.wake()

    def limit(self, seconds: float | None, too_late: str = "") -> None:
        """Close unless this is called again within so many seconds."""
        self._deadline = None if seconds is None else self._clock.seconds() + seconds
        self._too_late = too_late
        if not self._is_in_turn and not self.is_over:
            self._rearm()

    def doubt(self, why: str) -> None:
        """Ask the peer whether it is there; close if it does not answer soon."""
        if self._deadline is None:
            self._is_in_doubt = True
            self.limit(DOUBT_TIMEOUT, why)
            self.quic.send_ping(0)
            self.wake()

    def forget(self) -> None:
        """Drop everything without a word."""
        self.is_over = True
        self._alarm.set(None)
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None

    def dissolve(self) -> None:
        """Nothing comes any more, and nothing is said: let go of all that holds this, so that it is
        freed without a collector of cycles. Once more does no harm.
        """
        self.forget()
        self._alarm.retire()
        self._last_words.clear()
        self._unsent.clear()
        vars(self).pop("_side", None)
        self.quic.dissolve()

    def wake(self) -> None:
        """Do what there is to do when this turn of the reactor is over."""
        if self._soon is None and not self._is_in_turn and not self.is_over:
            self._soon = self._clock.callLater(0, self._turn)

    # Turns

    def _turn(self, pass_time: bool = False) -> None:
        if self._soon is not None and self._soon.active():
            self._soon.cancel()
        self._soon = None
        self._is_in_turn = True  # what is asked for meanwhile is part of this turn
        side, began = self._side, self._clock.seconds()
        try:
            if pass_time:
                self._pass_time(began)
            self._handle_events()
            self._side.turn_over()
            self._hand_over()
            self._flush()
        except Exception:
            self._broken()
        self._is_in_turn = False
        side.worked(self._clock.seconds() - began)
        if self.is_over:
            return
        self._rearm()
        if self.quic.termination is not None:
            self.wake()  # sending brought a refusal

    def _pass_time(self, now: float) -> None:
        if self._quic_timer is not None and now >= self._quic_timer:
            self.quic.handle_timer(now)
        if self._ping_at is not None and now >= self._ping_at:
            self.quic.send_ping(0)
            self._ping_at = now + self._keepalive
        if self._deadline is not None and now >= self._deadline:
            self._deadline = None
            error = ConnectionDone() if self._has_peer_ended else ConnectionLost(self._too_late)
            self.close(CloseCode.TOO_SLOW, self._too_late, Failure(error))

    def _handle_events(self) -> None:
        chunks: list[bytes] = []
        is_end = False
        while (event := self.quic.next_event()) is not None:
            if isinstance(event, StreamDataReceived):
                chunks.append(event.data)
                is_end = is_end or event.end_stream
            elif self._verdict is None:
                self._handle_event(event)
        if (chunks or is_end) and self._verdict is None:
            self._has_peer_ended = is_end
            self._side.received(b"".join(chunks), is_end=is_end)

    def _handle_event(self, event: QuicEvent) -> None:
        if isinstance(event, HandshakeCompleted):
            # Long before the idle timeout of who has the shorter one.
            self._keepalive = min(self._keepalive, self.quic.idle_timeout / 3)
            self._ping_at = self._clock.seconds() + self._keepalive
            self._side.handshake_completed(event)
        elif isinstance(event, ConnectionIdIssued):
            self._side.issued(event.connection_id)
        elif isinstance(event, ConnectionIdRetired):
            self._side.retired(event.connection_id)
        elif isinstance(event, StreamReset | StopSendingReceived):
            error = ConnectionLost(f"the peer reset the stream (error {event.error_code})")
            self.close(CloseCode.ABORTED, "the stream was reset", Failure(error))

    def _hand_over(self) -> None:
        """Give aioquic what was written, and close when the last of it was delivered."""
        if self._verdict is not None or self.quic.termination is not None:
            return
        data, self._unsent, self._unsent_octets = b"".join(self._unsent), [], 0
        if self._is_finishing and not self._is_end_written:
            self._is_end_written = True
            self.quic.send_stream_data(STREAM_ID, data, end_stream=True)
        elif data:
            self.quic.send_stream_data(STREAM_ID, data)
        if self._is_end_written and self.quic.is_delivered:
            self.close(CloseCode.NO_ERROR, "", Failure(ConnectionDone()))

    def _flush(self) -> None:
        datagrams = self.quic.datagrams_to_send(self._clock.seconds())
        event = self.quic.termination
        if event is None:
            for data, address in datagrams:
                self._side.send(data, address)
            return
        self._last_words = datagrams
        for _copy in range(_CLOSE_COPIES):
            self._send_last_words()
        is_clean = self._has_peer_ended or (self._is_end_written and self.quic.is_delivered)
        self._over(self._verdict or Failure(explain(self.quic, event, is_clean=is_clean)))

    def _rearm(self) -> None:
        self._quic_timer = self.quic.get_timer() if self.quic.has_timer else None
        if self._quic_timer is not None:
            # What is due and could not be done (by rounding, pacing may want a moment more) can't
            # be done at this very moment either: on a clock that stands still that had no end.
            self._quic_timer = max(self._quic_timer, self._clock.seconds() + _GRANULARITY)
        times = (self._quic_timer, self._ping_at, self._deadline)
        self._alarm.set(min((time for time in times if time is not None), default=None))

    def _ring(self) -> None:
        if self.is_over:
            self._side.gone()
        else:
            self._turn(pass_time=True)

    # The end

    def _broken(self) -> None:
        """End a connection whose octets, or whose application, led to an exception."""
        self._log.failure("a QUIC connection ends because of an error in this program")
        with suppress(Exception):  # it may be aioquic's state that is broken
            self.quic.close(QuicErrorCode.INTERNAL_ERROR, QuicFrameType.PADDING)
            self._last_words = self.quic.datagrams_to_send(self._clock.seconds())
            self._send_last_words()
        self._over(Failure(ConnectionLost("an error in this program, which its log shows")))

    def _over(self, reason: Failure) -> None:
        self.forget()
        timer = self.quic.get_timer() if self._last_words else None
        if timer is not None:
            timer = min(timer, self._clock.seconds() + _MAX_FAREWELL)
        self._alarm.set(timer)
        side = self._side  # which may dissolve this
        with self._log.failuresHandled("while a QUIC connection ended"):
            side.ended(reason)
        if timer is None:
            side.gone()

    def _repeat_last_words(self) -> None:
        """Answer a peer that has not heard that it is over, ever less often (RFC 9000 §10.2.1)."""
        self._knocks += 1
        if self._knocks & (self._knocks - 1) == 0:
            self._send_last_words()

    def _send_last_words(self) -> None:
        for data, address in self._last_words:
            self._side.send(data, address)
