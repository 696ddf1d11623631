"""What both ends of a reliable-transport session share: framing, the error ladder, timers, output.

draft-kouvelas-lisp-map-server-reliable-transport-07 §3 to 5. Knows no LISP semantics: subclasses
bring a table of what is allowed in which state. No sockets and no clock: time is a parameter, in
monotonic seconds.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

from lispmsrt.session.limits import SessionLimits
from lispmsrt.session.patience import SessionPatience
from lispmsrt.wire.errors import ErrorScope, WireError
from lispmsrt.wire.framing import Frame, FrameBuffer
from lispmsrt.wire.reliable_transport import (
    ErrorCode,
    ErrorNotification,
    decode_error_notification,
    encode_error_notification,
)

__all__ = ["CloseReason", "Session", "SessionState", "SessionTimer"]

Take = Callable[[bytes, int, int, float], None]
"""Takes the data of one message: chunk, where it begins and ends in there, and the time."""

_QUOTED_OCTETS = 64  # of an offending message, in an Error Notification


class SessionState(enum.Enum):
    """Where a session is in its life."""

    STARTING = "starting"
    "connected; the Map-Server waits for the first valid Registration, the ETR for a Refresh"
    ESTABLISHED = "established"
    CLOSED = "closed"


class CloseReason(enum.Enum):
    """Why a session ended."""

    PEER_CLOSED = "the peer closed the connection"
    CONNECTION_LOST = "the connection was lost"
    UNREADABLE_STREAM = "the peer's stream can't be read on"
    NO_REGISTRATION = "no valid Registration came in time"
    MESSAGE_TIMEOUT = "a message was begun and not finished in time"
    NOT_READING = "the peer does not read"
    NO_ANSWERS = "Registrations are not answered"
    REPLACED = "a newer session of the same xTR replaced it"
    SHUTDOWN = "we are stopping"
    SITE_REMOVED = "its site is no longer configured"
    CERTIFICATE = "its xTR must show another certificate now"
    CLEARED = "an operator closed it"
    REFUSED = "too much of what it sent was refused"


class SessionTimer(enum.Enum):
    """What a session may be waiting for."""

    MESSAGE = "the rest of a message"
    UNREAD = "the peer to read"
    BEGINNING = "the first Registration or Refresh"
    ANSWER = "answers to Registrations"
    SUBSCRIBE = "the time to subscribe again"
    TURN = "patience with what has come to nothing"


class Session(ABC):
    """One end of a session. Every method that takes ``now`` may queue output and move
    :meth:`next_timeout`.
    """

    ALLOWED: ClassVar[dict[SessionState, dict[int, str]]]
    "per state, message type to the method that takes it; anything absent is answered with an error"

    def __init__(
        self,
        limits: SessionLimits,
        wake: Callable[[], None],
        now: float,
        *,
        applications: Mapping[int, str] | None = None,
        patience: SessionPatience | None = None,
    ) -> None:
        """``applications`` adds to ALLOWED, in every state, the message types of what is switched
        on beside registration. Without ``patience`` everything is taken as it comes; with it see
        :attr:`goes_on_at`.
        """
        self.close_reason: CloseReason | None = None
        self.counters: Counter[str] = Counter()
        self.began = now
        self.was_established = False
        self._limits = limits
        self._wake = wake
        self._applications = applications or {}
        self._frames = FrameBuffer()
        self._frame: Frame = (0, 0, 0, 0)
        "the message that is being taken"
        self._patience = patience
        self._came_to_nothing = True
        "whether the message that is being taken costs patience: not where a subclass accepts it"
        self._rest: tuple[bytes, Sequence[Frame], int] | None = None
        "a chunk, its frames, and which is the next, when there is no more time for it"
        self._later: deque[bytes] = deque()
        "chunks that came behind that; who is not read from sends a window full at most"
        self._goes_on_at = now
        self._is_ending = False
        self._output: list[bytes] = []
        self._next_id = 1
        self._timers: dict[SessionTimer, float] = {}
        self._error_tokens = float(limits.error_burst)
        self._error_tokens_at = now
        self._is_paused = False
        self._enter(SessionState.STARTING)

    # Input

    def receive_data(self, data: bytes, now: float) -> None:
        """Take what the peer sent, or as much as there is time for. Queues output."""
        if self.state is SessionState.CLOSED or self._is_ending:
            return
        self.counters["octets in"] += len(data)
        if self._rest is None:
            self._take_chunk(data, now)
        else:
            self._later.append(data)

    @property
    def goes_on_at(self) -> float | None:
        """When :meth:`go_on` wants to be called: not before the next turn of the reactor. Until
        then nothing should be read. None where nothing waits.
        """
        return None if self._rest is None else self._goes_on_at

    def go_on(self, now: float) -> None:
        """Take more of what has been received. Queues output."""
        if self._rest is not None:
            rest, self._rest = self._rest, None
            self._take_frames(*rest, now, is_run=False)
        while self._later and self._rest is None and self.state is not SessionState.CLOSED:
            self._take_chunk(self._later.popleft(), now)

    def take_no_more(self) -> None:
        """Drop what comes from now on, and what was not taken yet: nothing of it is acknowledged.
        The session is about to be closed.
        """
        self._is_ending = True
        self._rest = None
        self._later.clear()

    def connection_lost(self, now: float, *, cleanly: bool = False) -> None:
        """The transport is gone."""
        if cleanly:
            # It ended behind what it has said: that counts, withdrawals perhaps.
            while self._rest is not None and self._goes_on_at <= now:
                self.go_on(now)
        self.close(CloseReason.PEER_CLOSED if cleanly else CloseReason.CONNECTION_LOST, now)

    def close(self, reason: CloseReason, now: float) -> None:
        """End the session; what is queued may still be sent. Only the first reason counts."""
        if self.state is SessionState.CLOSED:
            return
        self._enter(SessionState.CLOSED)
        self.close_reason = reason
        self._rest = None
        self._later.clear()
        self._timers.clear()
        self._on_close(now)
        self._wake()
        # Whom it wakes holds the session: they would be freed by a collector of cycles only.
        self._wake = lambda: None

    # Output

    def data_to_send(self, now: float) -> bytes:
        """Return what is to be written now, and forget it."""
        if self.state is not SessionState.CLOSED and not self._is_paused:
            self._pull(now)
        data = b"".join(self._output)
        self._output.clear()
        self.counters["octets out"] += len(data)
        return data

    def output_paused(self, now: float) -> None:
        """The transport's buffer is full: only answers to what was read already may follow."""
        self._is_paused = True
        self._set_timer(SessionTimer.UNREAD, now + self._limits.unread_timeout)

    def output_resumed(self) -> None:
        """The transport takes more."""
        self._is_paused = False
        self._stop_timer(SessionTimer.UNREAD)

    @property
    def is_paused(self) -> bool:
        """Whether the transport's buffer is full: the peer does not read."""
        return self._is_paused

    # Time

    def next_timeout(self) -> float | None:
        """When :meth:`handle_timeout` wants to be called."""
        return min(self._timers.values()) if self._timers else None

    def handle_timeout(self, now: float) -> None:
        """Do what is due. Calling early does no harm. Queues output."""
        for timer, deadline in list(self._timers.items()):
            if deadline > now or self._timers.get(timer) != deadline:
                continue
            del self._timers[timer]
            if timer is SessionTimer.MESSAGE:
                self.close(CloseReason.MESSAGE_TIMEOUT, now)
            elif timer is SessionTimer.UNREAD:
                self.close(CloseReason.NOT_READING, now)
            elif timer is SessionTimer.TURN:
                self.close(CloseReason.REFUSED, now)
            else:
                self._on_timeout(timer, now)

    # For subclasses

    @abstractmethod
    def start(self, now: float) -> None:
        """The connection is up. Queues output."""

    def _take_run(self, chunk: bytes, frames: Sequence[Frame], first: int, now: float) -> int:
        """Take as many messages from ``frames[first]`` on as go together; return how many.

        Queues output.
        """
        return 0

    @abstractmethod
    def _pull(self, now: float) -> None:
        """Queue what waits for room, up to the output limit."""

    @abstractmethod
    def _on_timeout(self, timer: SessionTimer, now: float) -> None:
        """One of the role's own timers fired."""

    @abstractmethod
    def _on_close(self, now: float) -> None:
        """The session is over."""

    def _set_timer(self, timer: SessionTimer, deadline: float) -> None:
        self._timers[timer] = deadline

    def _stop_timer(self, timer: SessionTimer) -> None:
        self._timers.pop(timer, None)

    def _send(self, message: bytes) -> None:
        """Queues output."""
        self._output.append(message)
        self._count_sent(1)

    def _count_sent(self, messages: int) -> None:
        self._next_id = self._next_id + messages & 0xFFFFFFFF
        self.counters["messages out"] += messages

    def _on_error_notification(self, chunk: bytes, start: int, end: int, now: float) -> None:
        # K07 §5: an Error Notification never answers another one, however broken.
        self.counters["errors in"] += 1
        try:
            self._on_error(decode_error_notification(chunk[start:end]), now)
        except WireError:
            self.counters["malformed errors in"] += 1

    def _on_error(self, error: ErrorNotification, now: float) -> None:  # noqa: B027
        """The peer could not make sense of a message of ours; of registration that is not
        specified.
        """

    def _enter(self, state: SessionState) -> None:
        self.state = state
        if state is SessionState.ESTABLISHED:
            self.was_established = True
        allowed = dict(self.ALLOWED.get(state, {}))
        if state is not SessionState.CLOSED:
            allowed.update(self._applications)
        self._takes: dict[int, Take] = {kind: getattr(self, name) for kind, name in allowed.items()}

    # Inside

    def _take_chunk(self, data: bytes, now: float) -> None:
        chunk, frames = self._frames.receive(data)
        self.counters["messages in"] += len(frames)
        self._take_frames(chunk, frames, 0, now)

    def _take_frames(
        self, chunk: bytes, frames: Sequence[Frame], at: int, now: float, is_run: bool = True
    ) -> None:
        """Take messages from this one on, which may begin a run: runs, and so many others."""
        left, patience = self._limits.turn_messages, self._patience
        while at < len(frames):
            taken = self._take_run(chunk, frames, at, now) if is_run else 0
            is_run = True
            if taken:
                at += taken
                continue
            if patience is not None:
                if not left or not patience.is_left(now):
                    self._wait((chunk, frames, at), patience, now)
                    return
                left -= 1
            self._take_one(chunk, frames[at], now)
            at += 1
            if self.close_reason is not None:
                return
        self._stop_timer(SessionTimer.TURN)
        self._after_chunk(bool(frames), now)

    def _take_one(self, chunk: bytes, frame: Frame, now: float) -> None:
        self._frame = kind, message_id, start, end = frame
        self._came_to_nothing = True
        take = self._takes.get(kind)
        try:
            if take is None:
                self._on_unexpected(kind, message_id, chunk, start, end, now)
            else:
                take(chunk, start, end, now)
        except WireError as error:
            self._on_malformed(error, kind, message_id, chunk, start, end, now)
        if self._came_to_nothing and self._patience is not None:
            self._patience.spend(end - start, now)

    def _wait(
        self, rest: tuple[bytes, Sequence[Frame], int], patience: SessionPatience, now: float
    ) -> None:
        """Leave the rest of a chunk for the next turn, or until there is patience again."""
        self._rest = rest
        self._goes_on_at = patience.ready_at(now)
        # Nothing is read meanwhile: the peer can't finish a message that it has begun.
        self._stop_timer(SessionTimer.MESSAGE)
        if self._goes_on_at <= now:
            return
        self.counters["input held back"] += 1
        if SessionTimer.TURN not in self._timers:
            self._set_timer(SessionTimer.TURN, now + self._limits.turn_timeout)

    def _after_chunk(self, any_message: bool, now: float) -> None:
        error = self._frames.error
        if error is not None:
            self.counters["framing errors in"] += 1
            if self._may_send_error(now):
                self._send_error(ErrorCode.FORMAT_ERROR, *error.offending, b"")
            self.close(CloseReason.UNREADABLE_STREAM, now)
        elif not self._frames.has_partial_message:
            self._stop_timer(SessionTimer.MESSAGE)
        elif any_message or SessionTimer.MESSAGE not in self._timers:
            self._set_timer(SessionTimer.MESSAGE, now + self._limits.message_timeout)

    def _on_unexpected(
        self, kind: int, message_id: int, chunk: bytes, start: int, end: int, now: float
    ) -> None:
        self.counters["unsupported in"] += 1
        if self._may_send_error(now):
            quoted = chunk[start : min(end, start + _QUOTED_OCTETS)]
            self._send_error(
                ErrorCode.UNRECOGNISED_TYPE, kind, end - start + 12, message_id, quoted
            )

    def _on_malformed(
        self,
        error: WireError,
        kind: int,
        message_id: int,
        chunk: bytes,
        start: int,
        end: int,
        now: float,
    ) -> None:
        self.counters["malformed in"] += 1
        if self._may_send_error(now):
            quoted = chunk[start : min(end, start + _QUOTED_OCTETS)]
            self._send_error(ErrorCode.FORMAT_ERROR, kind, end - start + 12, message_id, quoted)
        if error.scope is ErrorScope.SESSION:
            self.close(CloseReason.UNREADABLE_STREAM, now)

    def _may_send_error(self, now: float) -> bool:
        burst = self._limits.error_burst
        self._error_tokens = min(burst, self._error_tokens + now - self._error_tokens_at)
        self._error_tokens_at = now
        if self._error_tokens < 1:
            self.counters["errors suppressed"] += 1
            return False
        self._error_tokens -= 1
        return True

    def _send_error(
        self, code: ErrorCode, kind: int, length: int, message_id: int, quoted: bytes
    ) -> None:
        """Queues output."""
        self.counters["errors out"] += 1
        notification = ErrorNotification(code, kind, length, message_id, quoted)
        self._send(encode_error_notification(notification, self._next_id))
