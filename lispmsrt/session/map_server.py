"""The Map-Server's end of a session (draft-kouvelas-lisp-map-server-reliable-transport-07 §6.1).

Registrations in, ACKs and Rejections out; Refreshes and Mapping Notifications when there is
reason. Which xTR the session belongs to is settled by its first valid Registration.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from lispmsrt.mapping.database import Lease
from lispmsrt.mapping.interfaces import Arming, News, Registers
from lispmsrt.mapping.refusals import Refusal, certificate_missing, not_armed
from lispmsrt.mapping.rloc_members import RlocMembers
from lispmsrt.mapping.runs import Run
from lispmsrt.mapping.verdicts import Verdict
from lispmsrt.session.base import CloseReason, Session, SessionState, SessionTimer
from lispmsrt.session.limits import SessionLimits
from lispmsrt.session.membership_publisher import MembershipPublisher
from lispmsrt.session.patience import SessionPatience
from lispmsrt.wire.errors import WireError
from lispmsrt.wire.framing import Frame
from lispmsrt.wire.map_register import MapRegisterSpan, walk_map_register
from lispmsrt.wire.membership import encode_membership
from lispmsrt.wire.record_walk import EID_OFFSET, walk_records
from lispmsrt.wire.reliable_transport import (
    MessageType,
    RefreshScope,
    RegistrationRefresh,
    encode_mapping_notification,
    encode_registration_ack,
    encode_registration_refresh,
    encode_registration_reject,
)

__all__ = ["MapServerSession"]

_ACCEPTED = Verdict.ACCEPTED
_STARTING = SessionState.STARTING
_NEWS_AT_ONCE = 64
_VACANT_AT_ONCE = 256
"""EID-prefixes in a turn: some 9 KB of Refreshes, and as many Registrations that answer."""
_MEMBERSHIP_ROOM = 4096
"""Octets of membership that are said even when news take all the room, or they would starve it."""

_MEMBERSHIP: dict[int, str] = dict.fromkeys(
    (
        MessageType.MEMBERSHIP_SUBSCRIBE,
        MessageType.MEMBERSHIP_UNSUBSCRIBE,
        MessageType.MEMBERSHIP_REFRESH_REQUEST,
    ),
    "_on_membership",
)


class MapServerSession(Session):
    """One session on the Map-Server."""

    ALLOWED: ClassVar[dict[SessionState, dict[int, str]]] = {
        SessionState.STARTING: {
            MessageType.REGISTRATION: "_on_first_registration",
            MessageType.ERROR_NOTIFICATION: "_on_error_notification",
        },
        SessionState.ESTABLISHED: {
            MessageType.REGISTRATION: "_on_registration",
            MessageType.ERROR_NOTIFICATION: "_on_error_notification",
        },
    }

    def __init__(
        self,
        *,
        registrar: Registers,
        arming: Arming,
        news: News,
        claim: object,
        transport: str,
        peer: str,
        limits: SessionLimits,
        wake: Callable[[], None],
        now: float,
        proven: frozenset[str] = frozenset(),
        members: RlocMembers | None = None,
        patience: SessionPatience | None = None,
        id: int = 0,
        local: str = "",
    ) -> None:
        """``proven`` is what the peer's certificate says of it: names and ``sha256:`` pins;
        without ``members`` no RLOC membership is distributed. ``id`` and ``local`` are for people:
        a number that no other session of the process has, and our address and port.
        """
        super().__init__(
            limits,
            wake,
            now,
            applications=_MEMBERSHIP if members is not None else None,
            patience=patience,
        )
        self.id = id
        self.transport = transport
        self.peer = peer
        self.local = local
        self.proven = proven
        self.lease: Lease | None = None
        self._registrar = registrar
        self._arming = arming
        self._news = news
        self._claim = claim
        self._refreshes: list[RegistrationRefresh] = []
        self._membership = (
            MembershipPublisher(
                members,
                counters=self.counters,
                limit=limits.max_subscriptions,
                wake=wake,
                is_slow=self._is_slow,
            )
            if members is not None
            else None
        )

    def start(self, now: float) -> None:
        """Ask for everything: that is also the sign that this Map-Server does reliable
        registration (§6.1.4).

        Queues output.
        """
        self._set_timer(SessionTimer.BEGINNING, now + self._limits.probation)
        self.refresh(RegistrationRefresh(RefreshScope.EVERYTHING))

    def refresh(self, refresh: RegistrationRefresh) -> None:
        """Ask the ETR to register again. Queues output."""
        if self.state is SessionState.CLOSED:
            return
        if any(_absorbs(waiting, refresh) for waiting in self._refreshes):
            return
        waiting = [earlier for earlier in self._refreshes if not _absorbs(refresh, earlier)]
        if len(waiting) >= self._limits.max_refreshes:
            waiting, refresh = [], RegistrationRefresh(RefreshScope.EVERYTHING)
        self._refreshes = [*waiting, refresh]
        self._wake()

    def withdraw(self, record: bytes, reason: Verdict) -> None:
        """Tell the ETR that a registration which was accepted holds no longer (§6.1.3). Queues
        output.
        """
        if self.state is SessionState.CLOSED:
            return
        self.counters["withdrawals out"] += 1
        eid = _eid_of_record(record)
        self._send(encode_registration_reject(self._next_id, reason, eid))
        self._wake()

    def replaced(self, now: float) -> None:
        """Close: a newer session of the same xTR has taken over."""
        self.close(CloseReason.REPLACED, now)

    def demand_confirmation(self, now: float) -> None:
        """Have everything registered again, and let end in time what is not: a key has changed.
        Queues output.
        """
        if self.lease is not None and self.state is not SessionState.CLOSED:
            self.lease = self._registrar.renew(self.lease, now)
        self.refresh(RegistrationRefresh(RefreshScope.EVERYTHING))

    def _on_first_registration(self, chunk: bytes, start: int, end: int, now: float) -> None:
        """Settle whose session this is; the ladder is the same as for any Registration."""
        register = self._walk(chunk, start, end)
        identity = self._registrar.identify(chunk, start, end, register)
        if isinstance(identity, Refusal):
            self._refuse(identity, chunk, end, register, now)
            return
        site = identity.site.name
        if not identity.site.allows_session(identity.ids, self.proven):
            self.counters["certificate not of the xTR"] += 1
            self._refuse(certificate_missing(site), chunk, end, register, now)
            # What this connection has shown stays: its ETR shall try another one at once.
            self.close(CloseReason.CERTIFICATE, now)
            return
        xtr = self._arming.bind(self._claim, self, site, identity.ids, now)
        if xtr is None:
            self.counters["not armed"] += 1
            self._refuse(not_armed(site), chunk, end, register, now)
            return
        self.lease = Lease(xtr, self.transport, self.peer, is_live=True)
        verdict = self._registrar.register(self.lease, chunk, start, end, register, now)
        self._answer(verdict, chunk, register)
        self._news.attach(self.lease, self._wake, self._is_slow)
        self._stop_timer(SessionTimer.BEGINNING)
        self._enter(SessionState.ESTABLISHED)

    def _take_run(self, chunk: bytes, frames: Sequence[Frame], first: int, now: float) -> int:
        if self.lease is None:
            return 0
        run = Run(self.lease, chunk, frames, first, now, self._next_id)
        number, acks = self._registrar.register_run(run)
        if number:
            self._output.append(acks)
            self._count_sent(number)
        return number

    def _on_registration(self, chunk: bytes, start: int, end: int, now: float) -> None:
        assert self.lease is not None
        register = self._walk(chunk, start, end)
        verdict = self._registrar.register(self.lease, chunk, start, end, register, now)
        self._answer(verdict, chunk, register)

    def _walk(self, chunk: bytes, start: int, end: int) -> MapRegisterSpan:
        if end - start > self._limits.max_registration:
            raise WireError("Registration is too large")
        register = walk_map_register(chunk, start, end)
        if len(register[5]) != 1:
            # K07 §6.1.1: more than one record is discarded.
            raise WireError("a Registration has exactly one record")
        return register

    def _refuse(
        self, refusal: Refusal, chunk: bytes, end: int, register: MapRegisterSpan, now: float
    ) -> None:
        """Reject a Registration before the session is any xTR's."""
        ids = chunk[register[6] : end]
        self._registrar.rejections.note(
            refusal, register[5][0], ids, self.transport, self.peer, now
        )
        self._answer(refusal.verdict, chunk, register)

    def _answer(self, verdict: Verdict, chunk: bytes, register: MapRegisterSpan) -> None:
        record = register[5][0]
        at = record[0]
        eid = chunk[at + 5 : at + 6] + chunk[at + EID_OFFSET : record[6]]
        if verdict is _ACCEPTED:
            self._came_to_nothing = False
            self._send(encode_registration_ack(self._next_id, eid))
        else:
            self.counters["rejections out"] += 1
            self._send(encode_registration_reject(self._next_id, verdict, eid))

    def _pull(self, now: float) -> None:
        for refresh in self._refreshes:
            self._send(encode_registration_refresh(refresh, self._next_id))
        self._refreshes = []
        if self.lease is None:
            return
        self._pull_vacant(self.lease)
        room = self._pull_news(self.lease, now)
        if self._membership is not None and self._membership.has_more:
            self._pull_membership(self._membership, max(room, _MEMBERSHIP_ROOM), now)

    def _pull_vacant(self, lease: Lease) -> None:
        """Ask for what the xTR had before another one took it over, and nobody has now (§6.1.4: a
        Refresh of exactly these).
        """
        eids = self._news.take_vacant(lease, _VACANT_AT_ONCE)
        for eid in eids:
            self.counters["refreshes of vacant EID-prefixes out"] += 1
            refresh = RegistrationRefresh(RefreshScope.EXACT, eid=eid)
            self._send(encode_registration_refresh(refresh, self._next_id))
        if len(eids) == _VACANT_AT_ONCE:
            self._wake()

    def _pull_news(self, lease: Lease, now: float) -> int:
        """Queue Mapping Notifications; return the room that is left, in octets."""
        room = self._limits.max_output
        while room > 0:
            news = self._news.take(lease, _NEWS_AT_ONCE)
            if news is None:
                self.close(CloseReason.NOT_READING, now)
                return room
            if not news:
                return room
            for data in news:
                self.counters["notifications out"] += 1
                self._send(encode_mapping_notification(self._next_id, data))
                room -= len(data)
        if self._news.has_news(lease):
            self._wake()
        return room

    def _pull_membership(self, membership: MembershipPublisher, room: int, now: float) -> None:
        """Queue what the xTR follows."""
        output = membership.pull(room, self._next_id)
        if membership.is_lost:
            self.close(CloseReason.NOT_READING, now)
            return
        self._output.append(output.data)
        self._count_sent(output.messages)
        if membership.has_more:
            self._wake()

    def _on_membership(self, chunk: bytes, start: int, end: int, now: float) -> None:
        assert self._membership is not None
        kind, message_id, *_ = self._frame
        xtr = self.lease.xtr if self.lease is not None else None
        reply = self._membership.take(kind, message_id, chunk[start:end], xtr)
        if reply is not None:
            self._send(encode_membership(reply, self._next_id))

    def _is_slow(self) -> bool:
        return self._is_paused

    def _on_timeout(self, timer: SessionTimer, now: float) -> None:
        self.close(CloseReason.NO_REGISTRATION, now)

    def _on_close(self, now: float) -> None:
        self._arming.release(self._claim, self)
        if self._membership is not None:
            self._membership.end()
            self._membership = None  # which asks the session whether its peer is slow
        if self.lease is not None:
            self._news.detach(self.lease)
            self._registrar.lose(self.lease, now)


def _eid_of_record(record: bytes) -> bytes:
    locators_at = walk_records(record, 0, len(record), 1)[0][6]
    return record[5:6] + record[EID_OFFSET:locators_at]


def _absorbs(wider: RegistrationRefresh, narrower: RegistrationRefresh) -> bool:
    """Whether the second Refresh asks for nothing that the first one does not."""
    if wider == narrower:
        return True
    return wider.scope == RefreshScope.EVERYTHING and not wider.rejected_only
