"""A Map-Server and its ETRs in memory: lossy datagrams, streams that break, virtual time.

Sans-IO, as the roles are. :class:`EtrHost` follows the policy of lispmsrt/services (connector,
back-off), :class:`ServerHost` that of the Map-Server's service; :class:`Network` carries what they
say, and misbehaves on request. Every delivery checks what must always hold.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from itertools import count
from random import Random

from lispmsrt.control.arming import Armory, Claim
from lispmsrt.control.etr import EtrControl, EtrTimers, SessionMode
from lispmsrt.control.map_server import MapServerControl
from lispmsrt.mapping.credentials import Credentials
from lispmsrt.mapping.database import Registration
from lispmsrt.mapping.etr_registrations import EtrRegistrations
from lispmsrt.mapping.etr_states import EtrState
from lispmsrt.mapping.publisher import Publisher
from lispmsrt.mapping.registrar import Registrar
from lispmsrt.mapping.sites import Sites, eid_key
from lispmsrt.services.backoff import Backoff
from lispmsrt.session.base import CloseReason, Session, SessionState
from lispmsrt.session.etr import EtrSession
from lispmsrt.session.limits import SessionLimits
from lispmsrt.session.map_server import MapServerSession
from lispmsrt.wire.addresses import EidPrefix
from lispmsrt.wire.authentication import Key
from lispmsrt.wire.map_register import RegisterFlag
from lispmsrt.wire.records import MappingRecord, encode_record
from lispmsrt.wire.reliable_transport import (
    MappingNotification,
    MessageType,
    RefreshScope,
    RegistrationRefresh,
    eid_wire_form,
)
from tests.builders import messages

__all__ = ["KEEPALIVE", "PORT", "EtrHost", "Network", "ServerHost", "Stream"]

PORT = 4342

KEEPALIVE = 40.0
"""Seconds after which an idle transport notices that its peer is gone (docs/draft.rst)."""

_LONG_ENOUGH = 60.0
_MAX_TURNS = 20_000
_REJECTED_ONLY = RegistrationRefresh(RefreshScope.EVERYTHING, rejected_only=True)

Table = dict[tuple[int, int, int], bytes]
"""(instance ID, family, prefix key) to a record in wire form."""


class _Phase(enum.Enum):
    IDLE = enum.auto()
    CONNECTING = enum.auto()
    WAITING = enum.auto()
    UP = enum.auto()


class EtrHost:
    """An ETR with one Map-Server: what it means to register, its UDP side, connector, session."""

    def __init__(
        self,
        address: bytes,
        key: Key,
        ids: bytes,
        *,
        seed: int = 0,
        mode: SessionMode = SessionMode.AUTO,
        flags: int = RegisterFlag.WANT_MAP_NOTIFY,
        timers: EtrTimers | None = None,
        limits: SessionLimits | None = None,
    ) -> None:
        self.address = address
        self.key = key
        self.meaning: dict[EidPrefix, MappingRecord] = {}
        self.acknowledgements = 0
        self.rejections = 0
        self.notifications = 0
        self.limits = limits or SessionLimits()
        self.timers = timers or EtrTimers()
        self._ids = ids
        self._flags = flags
        self._mode = mode
        self._random = Random(seed)
        self._nonces = count(1)  # kept over a restart, as the state directory does
        self._begin()

    def _begin(self) -> None:
        self.stream: Stream | None = None
        self.phase = _Phase.IDLE
        self.retry_at: float | None = None
        self.backoff = Backoff(self._random)
        self.registrations = EtrRegistrations(self)
        self.credentials = Credentials(self.key, self._ids, self._flags, self._nonces.__next__)
        self.control = EtrControl(
            self.registrations,
            self.credentials,
            mode=self._mode,
            random=self._random,
            timers=self.timers,
            on_leave_to_connect=self._leave_given,
        )
        for record in self.meaning.values():
            self.registrations.register(record)

    # What it means

    def register(self, record: MappingRecord) -> None:
        """Mean to register this from now on."""
        self.meaning[record.eid] = record
        self.registrations.register(record, awaited=True)

    def withdraw(self, eid: EidPrefix) -> None:
        """Mean to register it no longer."""
        if self.meaning.pop(eid, None) is not None:
            self.registrations.withdraw(eid, awaited=True)

    def rekey(self, key: Key) -> None:
        """Sign with another key from now on."""
        self.key = self.credentials.key = key
        self.registrations.key_changed()

    def restart(self) -> None:
        """Come up anew with the mappings of the configuration and nothing else."""
        self._begin()

    def expected(self) -> Table:
        """Return what should stand in the database if nothing of it is refused."""
        table = {}
        for record in self.meaning.values():
            instance_id, afi, _length, key = eid_key(record.eid)
            table[instance_id, afi, key] = encode_record(record)
        return table

    # What it hears

    def acknowledged(self, eid: bytes) -> None:
        """Count: :class:`Stream` checks that it is true."""
        self.acknowledgements += 1

    def rejected(self, eid: bytes, reason: int) -> None:
        """Count."""
        self.rejections += 1

    def taken_over(self, eid: bytes) -> None:
        """Nobody asks here."""

    def mapping_notified(self, notification: MappingNotification) -> None:
        """Count."""
        self.notifications += 1

    # The policy of services/connector.py

    def _leave_given(self) -> None:
        if self.phase is _Phase.IDLE:
            self.phase = _Phase.CONNECTING

    def wants_to_connect(self) -> bool:
        """Whether an attempt is to be made now."""
        return self.phase is _Phase.CONNECTING

    def retry(self, now: float) -> None:
        """The wait between two attempts is over, if it is."""
        if self.retry_at is not None and now >= self.retry_at:
            self.retry_at = None
            self.phase = _Phase.IDLE
            if self.control.may_connect(now):
                self._leave_given()

    def connect_failed(self, now: float) -> None:
        """Every transport was tried."""
        self.phase = _Phase.WAITING
        self.retry_at = now + self.backoff.next_delay()

    def connected(self, stream: Stream) -> None:
        """A connection has come up: its session begins."""
        self.phase = _Phase.UP
        self.stream = stream
        self.control.connected()

    def session_over(self, stream: Stream, now: float) -> None:
        """The session has ended."""
        if self.stream is not stream:
            return  # it belongs to an earlier life
        self.stream = None
        has_served = stream.etr.has_served
        if has_served and now - stream.etr.began >= _LONG_ENOUGH:
            self.backoff.reset()
        if has_served:
            self.phase = _Phase.IDLE
            self.control.session_lost(now)
        else:
            self.connect_failed(now)
            assert self.retry_at is not None
            self.control.rearm(self.retry_at)

    def next_timeout(self) -> float | None:
        """When something is due besides the session's timers."""
        return _earliest((self.control.next_timeout(), self.retry_at))


class ServerHost:
    """A Map-Server, put together as lispmsrt/services/map_server.py does."""

    def __init__(self, sites: Sites, limits: SessionLimits | None = None) -> None:
        self.limits = limits or SessionLimits()
        self.sites = sites
        self.restart()

    def restart(self) -> None:
        """Come up with an empty state."""
        self.publisher = Publisher()
        self.registrar = Registrar(self.sites, on_changes=self.publisher.changed)
        self.armory = Armory()
        self.control = MapServerControl(self.registrar, self.armory)
        self.sessions: dict[MapServerSession, None] = {}

    def begin_session(self, claim: Claim, now: float) -> MapServerSession:
        """Make the session of an accepted connection."""
        session = MapServerSession(
            registrar=self.registrar,
            arming=self.armory,
            news=self.publisher,
            claim=claim,
            transport="TCP",
            peer="there",
            limits=self.limits,
            wake=lambda: None,
            now=now,
        )
        self.sessions[session] = None
        return session

    def reload(self, sites: Sites, rekeyed: Iterable[str], now: float) -> None:
        """Decide by other sites from now on, and tell sessions what that means for them."""
        rekeyed = set(rekeyed)
        self.sites = sites
        self.registrar.reconfigure(sites)
        for session in list(self.sessions):
            if session.lease is not None and session.lease.xtr.site in rekeyed:
                session.demand_confirmation(now)
            else:
                session.refresh(_REJECTED_ONLY)
        by_lease = {session.lease: session for session in self.sessions if session.lease}
        for withdrawals in self.registrar.reexamine():
            for withdrawal in withdrawals:
                session_of = by_lease.get(withdrawal.lease)
                if session_of is not None and session_of.close_reason is None:
                    session_of.withdraw(withdrawal.record, withdrawal.reason)

    def contents(self) -> Table:
        """Return what the database holds."""
        return {
            (table.instance_id, table.afi, key): registration.record
            for table in self.registrar.database.tables.values()
            for key, registration in table.entries.items()
        }


class Stream:
    """One connection. Octets wait at either end until they are delivered, or lost by a cut."""

    def __init__(self, etr: EtrSession, server: MapServerSession, host: EtrHost) -> None:
        self.etr = etr
        self.server = server
        self.host = host
        self.to_etr = bytearray()
        self.to_server = bytearray()
        self.etr_notices_at: float | None = None
        self.server_notices_at: float | None = None
        self.is_cut = False
        self.acknowledged: dict[bytes, bytes] = {}
        "EID wire form to the record that the Map-Server acknowledged last"
        self._unread = bytearray()
        "of a message that the Map-Server has the beginning of"
        self._registrations: list[tuple[bytes, bytes]] = []

    def ends(self) -> tuple[Session, Session]:
        """Return both sessions."""
        return self.etr, self.server

    def collect(self, now: float) -> bool:
        """Put what both ends have to say on the wire; return whether there was anything."""
        to_etr, to_server = self.server.data_to_send(now), self.etr.data_to_send(now)
        if not self.is_cut:
            self.to_etr += to_etr
            self.to_server += to_server
        return bool(to_etr or to_server)

    def cut(self, now: float, *, etr_notices: bool, server_notices: bool) -> None:
        """Break: what is on the wire is lost. Who does not notice has its keepalive."""
        self.is_cut = True
        self.to_etr.clear()
        self.to_server.clear()
        self.etr_notices_at = now + (0.0 if etr_notices else KEEPALIVE)
        self.server_notices_at = now + (0.0 if server_notices else KEEPALIVE)

    def deliver_to_server(self, octets: int, now: float) -> None:
        """Hand over so many octets, and hold the answers against the database."""
        chunk, self.to_server[:octets] = bytes(self.to_server[:octets]), b""
        self.server.receive_data(chunk, now)
        self._note_registrations(chunk)
        output = self.server.data_to_send(now)
        self._check_answers(output)
        if not self.is_cut:
            self.to_etr += output

    def deliver_to_etr(self, octets: int, now: float) -> None:
        """Hand over so many octets, and hold what the ETR believes against what was said."""
        chunk, self.to_etr[:octets] = bytes(self.to_etr[:octets]), b""
        waiting = self._awaiting()
        self.etr.receive_data(chunk, now)
        for eid in waiting - self._awaiting():
            entry = self.host.registrations.entries.get(eid)
            if entry is not None and entry.state is EtrState.STABLE:
                assert self.acknowledged.get(eid) == entry.record, "believed and never said"

    def _awaiting(self) -> set[bytes]:
        if self.host.stream is not self:
            return set()
        entries = self.host.registrations.entries
        return {eid for eid, entry in entries.items() if entry.state is EtrState.ACK_WAIT}

    def _note_registrations(self, chunk: bytes) -> None:
        self._unread += chunk
        whole = _whole_messages(self._unread)
        for _kind, _message_id, data in messages(bytes(self._unread[:whole])):
            record_at = 16 + int.from_bytes(data[14:16], "big")
            record = data[record_at : len(data) - 24]
            self._registrations.append((_eid_of(record), record))
        del self._unread[:whole]

    def _check_answers(self, output: bytes) -> None:
        """Every Registration is answered, in order; what was said last of an EID holds now."""
        if self.server.close_reason is not None:
            return
        said: dict[bytes, bytes | None] = {}
        for kind, _message_id, data in messages(output):
            if kind in (MessageType.REGISTRATION_ACK, MessageType.REGISTRATION_REJECT):
                eid, record = self._registrations.pop(0)
                is_ack = kind == MessageType.REGISTRATION_ACK
                assert eid == (data if is_ack else data[3:]), "answered out of order"
                said[eid] = record if is_ack else None
                self.acknowledged[eid] = record if is_ack else b""
        assert not self._registrations, "a Registration was not answered"
        for eid, expected in said.items():
            held = self._held(eid)
            if expected is not None and expected[:4] != bytes(4):
                assert held is not None and held.record == expected, "acknowledged and not held"
            elif held is not None:
                assert held.lease is not self.server.lease, "withdrawn or refused, and still held"

    def _held(self, eid: bytes) -> Registration | None:
        found = [
            registration
            for registration in self.server._registrar.database.registrations()  # type: ignore[attr-defined]
            if _eid_of(registration.record) == eid
        ]
        return found[0] if found else None


class Network:
    """Everything that is under way between one Map-Server and its ETRs, and the time."""

    def __init__(self, server: ServerHost, etrs: Iterable[EtrHost]) -> None:
        self.now = 1000.0
        self.server = server
        self.etrs = {etr.address: etr for etr in etrs}
        self.datagrams: list[tuple[bytes, EtrHost, bool]] = []
        "data, whose, and whether it goes to the Map-Server"
        self.late: list[tuple[bytes, EtrHost, bool]] = []
        self.streams: list[Stream] = []
        self.loses_to_server = self.loses_to_etr = False
        self.is_reachable = True
        "whether connections come up at all"
        self.chunk = 1 << 20
        "octets that a stream delivers at a time"

    # What goes wrong

    def lose(self, index: int) -> None:
        """Lose one datagram."""
        if self.datagrams:
            del self.datagrams[index % len(self.datagrams)]

    def duplicate(self, index: int) -> None:
        """Deliver one datagram twice."""
        if self.datagrams:
            self.datagrams.append(self.datagrams[index % len(self.datagrams)])

    def delay(self, index: int) -> None:
        """Keep one datagram back until :meth:`release`."""
        if self.datagrams:
            self.late.append(self.datagrams.pop(index % len(self.datagrams)))

    def release(self) -> None:
        """Let go what was kept back: it arrives before everything younger."""
        self.datagrams[:0] = self.late
        self.late.clear()

    def cut(self, index: int, octets: int, *, etr_notices: bool, server_notices: bool) -> None:
        """Break one stream after so many octets more in either direction."""
        if not self.streams:
            return
        stream = self.streams[index % len(self.streams)]
        if not stream.is_cut:
            stream.deliver_to_server(octets, self.now)
            stream.deliver_to_etr(octets, self.now)
            stream.cut(self.now, etr_notices=etr_notices, server_notices=server_notices)

    def restart_server(self, *, etrs_notice: bool) -> None:
        """The Map-Server loses all state, and its connections with it."""
        for stream in self.streams:
            stream.cut(self.now, etr_notices=etrs_notice, server_notices=True)
        self.server.restart()

    def restart_etr(self, etr: EtrHost, *, server_notices: bool) -> None:
        """An ETR loses all state, and its connection with it."""
        for stream in self.streams:
            if stream.host is etr:
                stream.cut(self.now, etr_notices=True, server_notices=server_notices)
        etr.restart()

    def mend(self) -> None:
        """Nothing goes wrong from now on."""
        self.loses_to_server = self.loses_to_etr = False
        self.is_reachable = True
        self.chunk = 1 << 20
        self.release()

    # What happens by itself

    def collect(self) -> bool:
        """Put on the wire what everyone has to say now; return whether there was anything."""
        moved = False
        for etr in self.etrs.values():
            for data in etr.control.datagrams_to_send(self.now):
                assert len(data) <= etr.timers.max_datagram, "the datagram does not fit"
                moved = True
                if not self.loses_to_server:
                    self.datagrams.append((data, etr, True))
        for stream in self.streams:
            moved |= stream.collect(self.now)
        return moved

    def deliver_datagram(self, index: int = 0) -> None:
        """Deliver one datagram."""
        if not self.datagrams:
            return
        data, etr, is_to_server = self.datagrams.pop(index % len(self.datagrams))
        if not is_to_server:
            etr.control.receive_datagram(data, self.now)
            return
        self.server.control.receive_datagram(data, (etr.address, PORT), self.now)
        for answer, (address, _port) in self.server.control.datagrams_to_send(self.now):
            if not self.loses_to_etr:
                self.datagrams.append((answer, self.etrs[address], False))

    def settle(self) -> None:
        """Deliver everything until nobody has anything to say."""
        for _ in range(_MAX_TURNS):
            moved = self.collect()
            if self.datagrams:
                self.deliver_datagram()
                moved = True
            for stream in list(self.streams):
                moved |= self._deliver(stream)
            moved |= self._connect()
            moved |= self._end_streams()
            if not moved:
                return
        raise AssertionError("they never come to rest")

    def run(self, seconds: float, check: Callable[[], None] = lambda: None) -> None:
        """Let time pass, from one timer to the next; ``check`` is called at each."""
        end = self.now + seconds
        for _ in range(_MAX_TURNS):
            self.settle()
            check()
            due = self.next_timeout()
            if due is None or due > end:
                self.now = end
                self._fire()
                self.settle()
                return
            self.now = max(self.now, due)
            self._fire()
        raise AssertionError("time stands still")

    def next_timeout(self) -> float | None:
        """When the next timer of anybody fires."""
        times = [etr.next_timeout() for etr in self.etrs.values()]
        times.append(self.server.registrar.next_expiry())
        for stream in self.streams:
            times += (end.next_timeout() for end in stream.ends())
            times += (stream.etr_notices_at, stream.server_notices_at)
        return _earliest(times)

    # Inside

    def _fire(self) -> None:
        for etr in self.etrs.values():
            etr.retry(self.now)
        for stream in self.streams:
            for end in stream.ends():
                end.handle_timeout(self.now)
        self.server.registrar.expire(self.now)

    def _deliver(self, stream: Stream) -> bool:
        moved = bool(stream.to_server or stream.to_etr)
        if stream.to_server:
            stream.deliver_to_server(self.chunk, self.now)
        if stream.to_etr:
            stream.deliver_to_etr(self.chunk, self.now)
        return moved

    def _connect(self) -> bool:
        moved = False
        for etr in self.etrs.values():
            if etr.wants_to_connect():
                moved = True
                self._connect_one(etr)
        return moved

    def _connect_one(self, etr: EtrHost) -> None:
        claim = self.server.armory.accept(etr.address, self.now) if self.is_reachable else None
        if claim is None:
            etr.connect_failed(self.now)
            return
        session = EtrSession(
            registrations=etr.registrations,
            credentials=etr.credentials,
            listener=etr,
            limits=etr.limits,
            wake=lambda: None,
            now=self.now,
        )
        stream = Stream(session, self.server.begin_session(claim, self.now), etr)
        self.streams.append(stream)
        etr.connected(stream)
        for end in stream.ends():
            end.start(self.now)

    def _end_streams(self) -> bool:
        moved = False
        for stream in list(self.streams):
            moved |= self._notice(stream)
            if all(end.state is SessionState.CLOSED for end in stream.ends()):
                self.streams.remove(stream)
                self.server.sessions.pop(stream.server, None)
                stream.host.session_over(stream, self.now)
                moved = True
        return moved

    def _notice(self, stream: Stream) -> bool:
        """Tell an end that the other one is gone, once it can know."""
        before = [end.state for end in stream.ends()]
        if _is_past(stream.etr_notices_at, self.now):
            stream.etr.connection_lost(self.now)
        if _is_past(stream.server_notices_at, self.now):
            stream.server.connection_lost(self.now)
        if not stream.is_cut:
            if stream.server.state is SessionState.CLOSED and not stream.to_etr:
                stream.etr.connection_lost(self.now, cleanly=True)
            if stream.etr.state is SessionState.CLOSED and not stream.to_server:
                stream.server.connection_lost(self.now, cleanly=True)
        if stream.etr.state is SessionState.CLOSED and stream.host.stream is stream:
            stream.host.session_over(stream, self.now)
        if stream.etr.state is SessionState.CLOSED:
            stream.etr_notices_at = None
        if stream.server.state is SessionState.CLOSED:
            stream.server_notices_at = None
        return before != [end.state for end in stream.ends()]

    def close(self, etr: EtrHost) -> None:
        """Have an operator close the session of an ETR, if it has one."""
        if etr.stream is not None:
            etr.stream.etr.close(CloseReason.CLEARED, self.now)


def record_of(eid: str, *locators: object, ttl: int = 1440) -> MappingRecord:
    """Return a mapping record."""
    return MappingRecord(EidPrefix.from_text(eid), ttl, tuple(locators))  # type: ignore[arg-type]


def eid_form(eid: str) -> bytes:
    """Return the EID wire form of a prefix."""
    return eid_wire_form(EidPrefix.from_text(eid))


def _earliest(times: Iterable[float | None]) -> float | None:
    return min((at for at in times if at is not None), default=None)


def _is_past(at: float | None, now: float) -> bool:
    return at is not None and at <= now


def _eid_of(record: bytes) -> bytes:
    return record[5:6] + record[10:16]  # IPv4 EIDs without an instance ID only


def _whole_messages(data: bytearray) -> int:
    """Return how many octets of the stream are whole messages."""
    end = 0
    while len(data) - end >= 4:
        length = int.from_bytes(data[end + 2 : end + 4], "big")
        if end + length > len(data):
            break
        end += length
    return end
