"""The ETR's end of a session (draft-kouvelas-lisp-map-server-reliable-transport-07 §6).

Refreshes, ACKs and Rejections in, Registrations out, at most a window of them unanswered. What is
to be registered, and how far each EID-prefix has come, is
:mod:`lispmsrt.mapping.etr_registrations`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import ClassVar, Protocol

from lispmsrt.compiled import twin
from lispmsrt.mapping.credentials import Credentials
from lispmsrt.mapping.etr_registrations import EtrRegistrations
from lispmsrt.mapping.etr_states import EtrState
from lispmsrt.mapping.learnt_members import LearntMembers
from lispmsrt.mapping.refresh_scopes import Refreshes
from lispmsrt.session.base import CloseReason, Session, SessionState, SessionTimer
from lispmsrt.session.limits import SessionLimits
from lispmsrt.session.membership_subscriber import MembershipSubscriber
from lispmsrt.wire.framing import Frame, encode_frame
from lispmsrt.wire.membership import encode_membership
from lispmsrt.wire.reliable_transport import (
    ErrorNotification,
    MappingNotification,
    MessageType,
    RefreshScope,
    RegistrationRefresh,
    decode_mapping_notification,
    decode_registration_ack,
    decode_registration_refresh,
    decode_registration_reject,
    eid_wire_form,
)

__all__ = ["Credentials", "EtrSession", "EtrSessionListener"]

_WHOLE = RegistrationRefresh(RefreshScope.EVERYTHING)
_REGISTRATION = int(MessageType.REGISTRATION)
_ACK = int(MessageType.REGISTRATION_ACK)

_compiled = twin("lispmsrt.session._etr")

_TAKES: dict[int, str] = {
    MessageType.REGISTRATION_ACK: "_on_ack",
    MessageType.REGISTRATION_REJECT: "_on_reject",
    MessageType.REGISTRATION_REFRESH: "_on_refresh",
    MessageType.MAPPING_NOTIFICATION: "_on_mapping_notification",
    MessageType.ERROR_NOTIFICATION: "_on_error_notification",
}

_MEMBERSHIP: dict[int, str] = dict.fromkeys(
    (
        MessageType.MEMBERSHIP_SUBSCRIBE_ACK,
        MessageType.MEMBERSHIP_SUBSCRIBE_NACK,
        MessageType.MEMBERSHIP_ELEMENT_ADD,
        MessageType.MEMBERSHIP_ELEMENT_DELETE,
        MessageType.MEMBERSHIP_REFRESH_BEGIN,
        MessageType.MEMBERSHIP_REFRESH_END,
    ),
    "_on_membership",
)


class EtrSessionListener(Protocol):
    """Who hears what a session says besides answers."""

    def mapping_notified(self, notification: MappingNotification) -> None:
        """The Map-Server's view of a mapping has changed."""


class EtrSession(Session):
    """One session on the ETR."""

    # An ETR may hear an answer before the Refresh: where it speaks first, or a key has changed.
    ALLOWED: ClassVar[dict[SessionState, dict[int, str]]] = {
        SessionState.STARTING: _TAKES,
        SessionState.ESTABLISHED: _TAKES,
    }

    def __init__(
        self,
        *,
        registrations: EtrRegistrations,
        credentials: Credentials,
        listener: EtrSessionListener,
        limits: SessionLimits,
        wake: Callable[[], None],
        now: float,
        speaks_first: bool = False,
        on_established: Callable[[], None] = lambda: None,
        on_no_refresh: Callable[[], None] = lambda: None,
        members: LearntMembers | None = None,
        id: int = 0,
        transport: str = "",
        peer: str = "",
        local: str = "",
        compiled: ModuleType | None = _compiled,
    ) -> None:
        """Without ``members`` no RLOC membership is asked for. ``id``, ``transport``, ``peer``
        and ``local`` are for people: a number that no other session of the ETR has, and what it
        runs over and between. ``compiled`` is the compiled twin, None for none.
        """
        super().__init__(
            limits, wake, now, applications=_MEMBERSHIP if members is not None else None
        )
        self.id = id
        self.transport = transport
        self.peer = peer
        self.local = local
        self._registrations = registrations
        # It reaches into entries: compiled ones.
        self._compiled = compiled if registrations.compiled is not None else None
        self._credentials = credentials
        self._listener = listener
        self._speaks_first = speaks_first
        self._on_established = on_established
        self._on_no_refresh = on_no_refresh
        self._has_sent_again = False
        self._was_acknowledged = False
        # A chunk may have thousands. One walk over all that is registered answers them; before an
        # answer about one EID-prefix they are applied to that one, for it came after them.
        self._refreshes: Refreshes | None = None
        self.membership = (
            MembershipSubscriber(members, counters=self.counters, limits=limits)
            if members is not None
            else None
        )

    @property
    def has_served(self) -> bool:
        """Whether it came up, and acknowledged something if there was anything to acknowledge.

        A Refresh alone proves one direction, and nothing of what the Map-Server thinks of us.
        """
        return self.was_established and (
            self._was_acknowledged or not self.counters["messages out"]
        )

    def start(self, now: float) -> None:
        """Wait for the Refresh; where the Map-Server can't speak first (QUIC), register at once.

        Queues output.
        """
        self._registrations.session_up()
        self._set_timer(SessionTimer.BEGINNING, now + self._limits.refresh_timeout)
        if self._speaks_first:
            self._register_everything()

    def _take_run(self, chunk: bytes, frames: Sequence[Frame], first: int, now: float) -> int:
        """Take as many ACKs as the compiled twin does. A Refresh that came before them, and
        membership that waits for one of them, are for :meth:`_on_ack`.
        """
        registrations = self._registrations
        kind, _message_id, start, _end = frames[first]
        if kind != _ACK or self._compiled is None or not registrations.session_is_up:
            return 0
        awaits = self.membership is not None and self.membership.awaits_registration
        if awaits or self._refreshes is not None:
            return 0
        taken: int = self._compiled.take_acks(
            registrations.entries, registrations.prompt, chunk, start, len(frames) - first
        )
        if taken:
            registrations.count_acknowledged(taken)
            self._was_acknowledged = True
            self._on_progress(now)
        return taken

    def _on_ack(self, chunk: bytes, start: int, end: int, now: float) -> None:
        eid = chunk[start:end]
        entries = self._registrations.entries
        if eid not in entries:
            decode_registration_ack(eid)
        if self._refreshes is not None:
            self._registrations.refresh_one(eid, self._refreshes)
        self._registrations.acknowledged(eid)
        self._was_acknowledged = True
        self._on_progress(now)
        membership = self.membership
        if membership is not None and membership.awaits_registration:
            entry = entries.get(eid)
            # A withdrawal is acknowledged too.
            if entry is not None and entry.state is not EtrState.NO_STATE:
                membership.acknowledged(eid)

    def _on_reject(self, chunk: bytes, start: int, end: int, now: float) -> None:
        reject = decode_registration_reject(chunk[start:end])
        self.counters["rejections in"] += 1
        if self._refreshes is not None:
            self._registrations.refresh_one(reject.eid, self._refreshes)
        self._registrations.rejected(reject.eid, reject.reason)
        self._on_progress(now)

    def _on_refresh(self, chunk: bytes, start: int, end: int, now: float) -> None:
        refresh = decode_registration_refresh(chunk[start:end])
        self.counters["refreshes in"] += 1
        if self.membership is not None:
            self.membership.refreshed()
        if self.state is SessionState.STARTING:
            # Everything has been on its way since the start: to the Refresh with which a Map-Server
            # begins that is the answer.
            is_answered = (
                self._speaks_first and SessionTimer.BEGINNING in self._timers and refresh == _WHOLE
            )
            self._stop_timer(SessionTimer.BEGINNING)
            self._enter(SessionState.ESTABLISHED)
            self._on_established()
            if is_answered:
                return
        if self._refreshes is None:
            self._refreshes = Refreshes()
        self._refreshes.add(refresh)

    def _on_mapping_notification(self, chunk: bytes, start: int, end: int, now: float) -> None:
        self.counters["notifications in"] += 1
        notification = decode_mapping_notification(chunk[start:end])
        if self._refreshes is not None:
            eid = eid_wire_form(notification.record.eid)
            self._registrations.refresh_one(eid, self._refreshes)
        self._listener.mapping_notified(notification)

    def _on_membership(self, chunk: bytes, start: int, end: int, now: float) -> None:
        assert self.membership is not None
        self.membership.take(self._frame[0], chunk[start:end], now)
        self._time_membership(self.membership)

    def _on_error(self, error: ErrorNotification, now: float) -> None:
        # Whatever the code: the draft names the errors and numbers them not.
        if self.membership is not None:
            self.membership.not_understood(error.offending_type, error.offending_id)

    def _time_membership(self, membership: MembershipSubscriber) -> None:
        due = membership.next_timeout()
        if due is None:
            self._stop_timer(SessionTimer.SUBSCRIBE)
        else:
            self._set_timer(SessionTimer.SUBSCRIBE, due)

    def _after_chunk(self, any_message: bool, now: float) -> None:
        super()._after_chunk(any_message, now)
        if self._refreshes is not None and self.state is not SessionState.CLOSED:
            self._registrations.refresh_all(self._refreshes)
            self._refreshes = None
        if self.membership is not None:
            self.membership.tell()

    def _on_progress(self, now: float) -> None:
        self._has_sent_again = False
        if self._registrations.unanswered:
            self._set_timer(SessionTimer.ANSWER, now + self._limits.answer_timeout)
        else:
            self._stop_timer(SessionTimer.ANSWER)

    def _pull(self, now: float) -> None:
        if self.membership is not None:
            self._pull_membership(self.membership)
        self._pull_registrations(now)

    def _pull_membership(self, membership: MembershipSubscriber) -> None:
        while (request := membership.next_request(self._next_id)) is not None:
            self._send(encode_membership(request, self._next_id))

    def _pull_registrations(self, now: float) -> None:
        registrations = self._registrations
        was_waiting = bool(registrations.outstanding)
        map_register = self._credentials.map_register
        room = self._limits.max_output
        # What is sent again comes on top: nothing may leave the window before it.
        window = self._limits.window << self._has_sent_again
        while room > 0 and registrations.outstanding < window:
            if size := self._write_run(room, window - registrations.outstanding):
                room -= size
                continue
            due = registrations.next_due()
            if due is None:
                break
            frame = encode_frame(_REGISTRATION, self._next_id, map_register([due[1]])[1])
            self._send(frame)
            room -= len(frame)
        if registrations.outstanding:
            must_start = not was_waiting
        else:
            must_start = bool(registrations.unanswered) and SessionTimer.ANSWER not in self._timers
        if must_start:
            self._has_sent_again = False
            self._set_timer(SessionTimer.ANSWER, now + self._limits.answer_timeout)
        if room <= 0 and registrations.due:
            self._wake()

    def _write_run(self, room: int, most: int) -> int:
        """Write as many Registrations as the compiled twin does; return their octets.

        Queues output.
        """
        registrations = self._registrations
        if self._compiled is None or not registrations.due:
            return 0
        messages, written = self._compiled.write_registrations(
            registrations.due, self._credentials, self._next_id, room, most
        )
        if written:
            registrations.count_written(written)
            self._output.append(messages)
            self._count_sent(written)
        return len(messages)

    def _on_timeout(self, timer: SessionTimer, now: float) -> None:
        if timer is SessionTimer.BEGINNING:
            self.counters["no refresh in time"] += 1
            self._on_no_refresh()
            if not self._speaks_first:
                self._register_everything()
        elif timer is SessionTimer.SUBSCRIBE and self.membership is not None:
            self.membership.handle_timeout(now)
            self._time_membership(self.membership)
        elif self._has_sent_again and self._registrations.outstanding:
            self.close(CloseReason.NO_ANSWERS, now)
        elif self._registrations.send_again():
            self._has_sent_again = True
            self.counters["sent again"] += 1
            self._set_timer(SessionTimer.ANSWER, now + self._limits.answer_timeout)

    def _on_close(self, now: float) -> None:
        self._registrations.session_down()
        if self.membership is not None:
            self.membership.end()

    def _register_everything(self) -> None:
        self._registrations.refresh(_WHOLE)
        self._wake()
