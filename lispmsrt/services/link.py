"""Everything an ETR has towards one Map-Server: its UDP side, a connector and a session.

Twisted rim: it joins the sans-IO parts with sockets, Deferreds and the listener.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import Any, Protocol

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from lispmsrt.clock import Alarm
from lispmsrt.config import EtrConfig, EtrMapServerConfig, membership_families
from lispmsrt.control.etr import EtrControl
from lispmsrt.identity import EtrIdentity
from lispmsrt.mapping.credentials import Credentials
from lispmsrt.mapping.etr_registrations import EtrRegistrations
from lispmsrt.mapping.learnt_members import LearntMembers
from lispmsrt.protocols import SessionProtocol
from lispmsrt.services.backoff import Backoff
from lispmsrt.services.connector import Connector, Transport
from lispmsrt.services.sparse_lines import SparseLines, more_text
from lispmsrt.session.base import CloseReason, SessionState
from lispmsrt.session.etr import EtrSession
from lispmsrt.sockets import apply_tcp_options, end_text
from lispmsrt.transports.interfaces import ISpeaksFirst
from lispmsrt.wire.addresses import EidPrefix
from lispmsrt.wire.authentication import Key
from lispmsrt.wire.records import MappingRecord
from lispmsrt.wire.reliable_transport import (
    MappingNotification,
    decode_eid_wire_form,
    reason_text,
)

__all__ = ["EtrListener", "MapServerLink", "NullListener", "RegistrationRejected"]

_LINE_DELAY = 1.0
"""Seconds over which EID-prefixes that were taken over go into one line of the log."""


class RegistrationRejected(Exception):  # noqa: N818
    """The Map-Server refused a registration. ``reason`` is the Rejection's (RejectReason, or an
    unknown number).
    """

    def __init__(self, eid: EidPrefix, reason: int) -> None:
        super().__init__(f"{eid}: {reason_text(reason)}")
        self.eid = eid
        self.reason = reason


class EtrListener(Protocol):
    """Who hears of an ETR's sessions. ``map_server`` is the address from the configuration."""

    def leave_given(self, map_server: str) -> None:
        """A Map-Notify answers over UDP: the Map-Server knows this ETR and lets it connect."""

    def session_up(self, map_server: str, transport: str) -> None:
        """A session is established: the Map-Server has asked for everything."""

    def session_down(self, map_server: str, reason: CloseReason) -> None:
        """The session is over."""

    def mapping_notified(self, map_server: str, notification: MappingNotification) -> None:
        """The Map-Server's view of a mapping has changed."""

    def rejected(self, map_server: str, eid: EidPrefix, reason: int) -> None:
        """The Map-Server refuses, or has withdrawn, a registration."""

    def rloc_members_changed(self, map_server: str, instance_id: int, afi: int) -> None:
        """The RLOCs of the xTRs of a family have changed: ask the link's ``members``."""


class NullListener:
    """Hears nothing: derive from it to hear only what matters."""

    def leave_given(self, map_server: str) -> None:
        """Do nothing."""

    def session_up(self, map_server: str, transport: str) -> None:
        """Do nothing."""

    def session_down(self, map_server: str, reason: CloseReason) -> None:
        """Do nothing."""

    def mapping_notified(self, map_server: str, notification: MappingNotification) -> None:
        """Do nothing."""

    def rejected(self, map_server: str, eid: EidPrefix, reason: int) -> None:
        """Do nothing."""

    def rloc_members_changed(self, map_server: str, instance_id: int, afi: int) -> None:
        """Do nothing."""


class MapServerLink:
    """Everything an ETR has towards one Map-Server."""

    _log = Logger()

    def __init__(
        self,
        config: EtrMapServerConfig,
        *,
        identity: EtrIdentity,
        listener: EtrListener,
        transports: Sequence[Transport],
        etr: EtrConfig,
        clock: IReactorTime,
        random: Random,
        wake: Callable[[], None],
        next_session_id: Callable[[], int],
    ) -> None:
        self.name = str(config.address)
        self.config = config
        self.registrations = EtrRegistrations(self)
        self.session: EtrSession | None = None
        self.protocol: SessionProtocol | None = None
        "that of the session"
        self.last_end: tuple[float, str] | None = None
        "when a session that was established ended last, in monotonic seconds, and why"
        self.ended: Counter[str] = Counter()
        "what sessions counted that have ended"
        self._listener = listener
        self.members = self._make_members()
        "the RLOC membership that this Map-Server tells; None where none is asked for"
        self._clock = clock
        self._wake = wake
        self._next_session_id = next_session_id
        self._limits = etr.session_limits()
        self._tcp = etr.tcp.options()
        self._registering: dict[bytes, list[Deferred[None]]] = {}
        self._withdrawing: dict[bytes, list[Deferred[None]]] = {}
        self._rejections = SparseLines()
        self._taken_over: list[bytes] = []
        self._say_taken_over = Alarm(clock, self._log_taken_over)
        self._closed: Deferred[None] | None = None
        self._credentials = Credentials(
            config.key.to_key(), identity.ids, config.register_flags(), identity.next_nonce
        )
        self.control = self._make_control(etr, random)
        self.connector = self._make_connector(etr, random, transports)

    @property
    def key(self) -> Key:
        """What is shared with the Map-Server now."""
        return self._credentials.key

    def _make_members(self) -> LearntMembers | None:
        families = membership_families(self.config.rloc_membership)
        return LearntMembers(families, on_change=self._members_changed) if families else None

    def _make_control(self, etr: EtrConfig, random: Random) -> EtrControl:
        return EtrControl(
            self.registrations,
            self._credentials,
            mode=self.config.session,
            random=random,
            timers=etr.timers(),
            on_leave_to_connect=self._leave_given,
            on_mapping_notified=self._tell,
            yields=etr.yield_to_newer,
        )

    def _make_connector(
        self, etr: EtrConfig, random: Random, transports: Sequence[Transport]
    ) -> Connector:
        return Connector(
            transports=transports,
            make_protocol=self._make_protocol,
            control=self.control,
            clock=self._clock,
            backoff=Backoff(random, etr.backoff_initial, etr.backoff_maximum),
            attempt_timeout=etr.transport_timeout,
            peer=self.name,
            wake=self._wake,
        )

    # What the ETR means

    def register(self, record: MappingRecord, *, awaited: bool) -> Deferred[None]:
        """Register at this Map-Server; if ``awaited``, the Deferred fires on its answer."""
        eid = self.registrations.register(record, awaited=awaited)
        if self._withdrawing:
            _give_up(self._withdrawing.pop(eid, ()))
        return self._wait_for(eid, self._registering, awaited)

    def withdraw(self, eid_prefix: EidPrefix, *, awaited: bool) -> Deferred[None]:
        """Withdraw at this Map-Server. KeyError when it is not registered."""
        eid = self.registrations.withdraw(eid_prefix, awaited=awaited)
        _give_up(self._registering.pop(eid, ()))
        if eid not in self.registrations.entries:
            return succeed(None)
        return self._wait_for(eid, self._withdrawing, awaited)

    def _wait_for(
        self, eid: bytes, waiting: dict[bytes, list[Deferred[None]]], awaited: bool
    ) -> Deferred[None]:
        forget = (lambda answer: _forget(answer, eid, waiting)) if awaited else None
        answer: Deferred[None] = Deferred(forget)
        if awaited:
            waiting.setdefault(eid, []).append(answer)
        if self.protocol is not None:
            self.protocol.wake()
        return answer

    # What the Map-Server says

    def acknowledged(self, eid: bytes) -> None:
        """An awaited registration or withdrawal holds."""
        for waiting in (self._registering, self._withdrawing):
            for answer in waiting.pop(eid, ()):
                answer.callback(None)

    def rejected(self, eid: bytes, reason: int) -> None:
        """A registration is refused."""
        eid_prefix = decode_eid_wire_form(eid)
        unsaid = self._rejections.due(reason, self._clock.seconds())
        if unsaid is not None:
            self._log.info(
                "Map-Server {peer} rejects {eid}: {reason}{more}",
                peer=self.name,
                eid=eid_prefix,
                reason=reason_text(reason),
                more=more_text(unsaid),
            )
        for answer in self._registering.pop(eid, ()):
            answer.errback(RegistrationRejected(eid_prefix, reason))
        with self._listening():
            self._listener.rejected(self.name, eid_prefix, reason)

    def taken_over(self, eid: bytes) -> None:
        """Another xTR registers an EID-prefix of ours now."""
        if not self._taken_over:
            self._say_taken_over.set(self._clock.seconds() + _LINE_DELAY)
        self._taken_over.append(eid)

    def mapping_notified(self, notification: MappingNotification) -> None:
        """The Map-Server's view of a mapping has changed, says its session."""
        self.control.notified_on_session(notification)
        self._tell(notification)

    def _tell(self, notification: MappingNotification) -> None:
        with self._listening():
            self._listener.mapping_notified(self.name, notification)

    def _members_changed(self, instance_id: int, afi: int) -> None:
        with self._listening():
            self._listener.rloc_members_changed(self.name, instance_id, afi)

    def _listening(self) -> Any:
        """What a listener does wrong is logged, and costs nobody a session."""
        return self._log.failuresHandled("listener of Map-Server {peer}", peer=self.name)

    def _log_taken_over(self) -> None:
        """Write one line, however many went together."""
        eids, self._taken_over = self._taken_over, []
        self._log.info(
            "left to other xTRs, says Map-Server {peer}: {count} EID-prefixes, the first {eid}",
            peer=self.name,
            count=len(eids),
            eid=decode_eid_wire_form(eids[0]),
        )

    # The session

    def _leave_given(self) -> None:
        with self._listening():
            self._listener.leave_given(self.name)
        self.connector.leave_given()

    def _make_protocol(self, transport: Transport) -> SessionProtocol:
        return SessionProtocol(
            lambda protocol: self._make_session(protocol, transport),
            self._clock,
            on_up=lambda protocol: self._session_began(protocol, transport),
            on_closed=self._session_closed,
            # An ETR's output does not grow with what it reads; a Map-Server's does.
            reads_when_full=True,
        )

    def _make_session(self, protocol: SessionProtocol, transport: Transport) -> EtrSession:
        stream: Any = protocol.transport
        apply_tcp_options(stream, self._tcp)
        return EtrSession(
            registrations=self.registrations,
            credentials=self._credentials,
            listener=self,
            limits=self._limits,
            wake=protocol.wake,
            now=self._clock.seconds(),
            speaks_first=ISpeaksFirst.providedBy(stream),
            on_established=self._session_established,
            on_no_refresh=self._no_refresh,
            members=self.members,
            id=self._next_session_id(),
            transport=transport.name,
            peer=end_text(stream.getPeer()),
            local=end_text(stream.getHost()),
        )

    def _session_began(self, protocol: SessionProtocol, transport: Transport) -> None:
        assert isinstance(protocol.session, EtrSession)
        self.protocol = protocol
        self.session = protocol.session
        self.connector.session_up(transport)

    def _session_established(self) -> None:
        self.connector.session_established()
        transport = self.connector.transport
        name = transport.name if transport is not None else ""
        self._log.info(
            "session with Map-Server {peer} is up over {transport}", peer=self.name, transport=name
        )
        with self._listening():
            self._listener.session_up(self.name, name)

    def _no_refresh(self) -> None:
        self._log.warn(
            "Map-Server {peer} has sent no Refresh: registering everything unasked", peer=self.name
        )

    def _session_closed(self, protocol: SessionProtocol) -> None:
        session = self.session
        if session is None or protocol is not self.protocol:
            return
        self.protocol = self.session = None
        self.ended.update(session.counters)
        reason = session.close_reason or CloseReason.CONNECTION_LOST
        had_refresh = session.was_established
        why = reason.value
        if reason is CloseReason.CONNECTION_LOST and protocol.why_lost:
            why = protocol.why_lost
        self._log.info("session with Map-Server {peer} ended: {reason}", peer=self.name, reason=why)
        by_peer = reason is CloseReason.PEER_CLOSED
        self.connector.session_closed(why, has_served=session.has_served, by_map_server=by_peer)
        self._wake()
        if had_refresh:
            self.last_end = (self._clock.seconds(), why)
            with self._listening():
                self._listener.session_down(self.name, reason)
        if self._closed is not None:
            closed, self._closed = self._closed, None
            closed.callback(None)

    def clear(self) -> bool:
        """Close the session at an operator's wish, and look for another one; tell whether there
        was any.
        """
        if self.session is None or self.session.state is SessionState.CLOSED:
            return False
        self.session.close(CloseReason.CLEARED, self._clock.seconds())
        return True

    def start(self) -> None:
        """Look for a session from now on."""
        self.connector.start()
        if not self.registrations.prompt:
            # After a stop: what is registered is due within the period only.
            self.control.rearm(self._clock.seconds())

    def stop(self) -> Deferred[None]:
        """Close the session; fires when its transport is gone."""
        self.connector.stop()
        self._say_taken_over.set(None)
        self._taken_over.clear()
        waiting = [*self._registering.values(), *self._withdrawing.values()]
        self._registering, self._withdrawing = {}, {}
        for answers in waiting:
            _give_up(answers)
        if self.session is None:
            return succeed(None)
        closed: Deferred[None] = Deferred()
        if self._closed is None:
            self._closed = Deferred()
        self._closed.addCallback(lambda _: closed.callback(None))
        self.session.close(CloseReason.SHUTDOWN, self._clock.seconds())
        return closed


def _give_up(answers: Iterable[Deferred[None]]) -> None:
    """Somebody means something else by now: CancelledError tells whoever waited."""
    for answer in list(answers):
        answer.cancel()


def _forget(answer: Deferred[None], eid: bytes, waiting: dict[bytes, list[Deferred[None]]]) -> None:
    """Who waited waits no longer. The Map-Server may be away for days: nothing must pile up."""
    answers = waiting.get(eid, [])
    if answer in answers:
        answers.remove(answer)
        if not answers:
            del waiting[eid]
