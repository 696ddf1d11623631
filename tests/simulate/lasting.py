"""Promises about time: what ends, what lasts, what stays small."""

from __future__ import annotations

from dataclasses import dataclass

from lispmsrt.control.etr import MAX_NONCES
from tests.simulate.book import SURELY_WRITTEN, Book, Conversation, Name, Sent
from tests.simulate.hosts import MapServerHost
from tests.simulate.invariants import TIMEOUT, Fail, Invariant, registered
from tests.simulate.machine import Machine
from tests.simulate.network import Packet
from tests.simulate.streams import End
from tests.simulate.wire_reading import Eid, eid_of_wire, network_of, read_map_reply, read_register

__all__ = ["NothingOutlivesItsTime", "RegisteredIsAnswered", "WithinLimits"]

_SLACK = 3.0
"""Seconds by which the end of a registration may be late: it is looked for once a second."""


class NothingOutlivesItsTime(Invariant):
    """(d) A registration ends 180 s after its ETR was heard of it last, or its session ended."""

    def __init__(self, book: Book, fail: Fail) -> None:
        super().__init__(book, fail)
        self._until: dict[tuple[str, Eid, bytes], float] = {}
        self._live: dict[tuple[str, Eid, bytes], set[Conversation]] = {}

    def datagram_arrives(self, packet: Packet, machine: Machine) -> None:
        cause = self.book.taking
        if isinstance(cause, Sent) and not self.book.is_repeat:
            for record in cause.register.records:
                self._heard(machine.name, record.eid, cause.etr.ids)

    def stream_read(self, end: End, data: bytes) -> None:
        cause = self.book.taking
        if isinstance(cause, Conversation):
            for _register, record in cause.latest:
                name = cause.server, record.eid, cause.ids
                self._live.setdefault(name, set()).add(cause)

    def stream_ended(self, end: End) -> None:
        conversation = self.book.conversations.get(end.stream)
        if conversation is None or end is not end.stream.server:
            return
        for eid in conversation.registered:
            name = conversation.server, eid, conversation.ids
            self._live.get(name, set()).discard(conversation)
            self._heard(*name)

    def started(self, server: MapServerHost) -> None:
        # What a session held when the process died has 180 s from the start; docs/reliability.rst.
        for name in self._until:
            if name[0] == server.name:
                self._heard(*name)

    def _heard(self, server: str, eid: Eid, ids: bytes) -> None:
        self._until[server, eid, ids] = self.book.now() + TIMEOUT

    def look(self) -> None:
        now = self.book.now()
        for server in self.book.servers.values():
            if (
                not server.is_running
                or server.service is None
                or server.machine.was_late(now - _SLACK)
            ):
                continue
            for eid, part in registered(server.service):
                name = server.name, eid, part.lease.xtr.ids
                if not self._live.get(name) and now > self._until.get(name, 0.0) + _SLACK:
                    self.fail(f"{server.name} still has {eid} of xTR {name[2][0]}")


@dataclass(slots=True)
class _Hold:
    """Why an EID-prefix is registered, as far as the wire tells."""

    ids: bytes
    since: float
    conversation: Conversation | None
    until: float


class RegisteredIsAnswered(Invariant):
    """(e) What was acknowledged, and has not ended by right, is never answered negatively."""

    def __init__(self, book: Book, fail: Fail) -> None:
        super().__init__(book, fail)
        self._holds: dict[Name, _Hold] = {}
        self.answers = 0

    def datagram_arrives(self, packet: Packet, machine: Machine) -> None:
        cause = self.book.taking
        if isinstance(cause, Sent) and not self.book.is_repeat:
            for record in cause.register.records:
                hold = self._holds.get((machine.name, record.eid))
                if hold is not None and (hold.ids != cause.etr.ids or not record.ttl):
                    del self._holds[machine.name, record.eid]

    def datagram_sent(self, packet: Packet) -> None:
        if packet.sender is None or packet.sender.name not in self.book.servers:
            return
        if packet.data[0] >> 4 == 2:
            self._check(packet.sender.name, packet.data)
        cause = self.book.taking
        if packet.data[0] >> 4 == 4 and isinstance(cause, Sent) and not self.book.is_repeat:
            notify = read_register(packet.data)
            if notify is not None and notify.nonce == cause.register.nonce:
                for record in notify.records:
                    if record.ttl:
                        self._hold((packet.sender.name, record.eid), cause.etr.ids, None)

    def stream_read(self, end: End, data: bytes) -> None:
        cause = self.book.taking
        if not isinstance(cause, Conversation):
            return
        for _register, record in cause.latest:
            hold = self._holds.get((cause.server, record.eid))
            if hold is not None and (hold.ids != cause.ids or not record.ttl):
                del self._holds[cause.server, record.eid]

    def stream_written(self, end: End, data: bytes) -> None:
        told = self.book.told
        if told is None or told[0].etr is None:
            return
        conversation = told[0]
        for message in told[1]:
            if message.kind == 19:
                self._holds.pop((conversation.server, eid_of_wire(message.data[3:])), None)
            elif message.kind == 18 and conversation.etr is not None:
                # Its TTL-0 Registration has been read, or it holds.
                name = conversation.server, eid_of_wire(message.data)
                if name[1] in conversation.meant:
                    self._hold(name, conversation.etr.ids, conversation)

    def _hold(self, name: Name, ids: bytes, conversation: Conversation | None) -> None:
        now = self.book.now()
        hold = self._holds.get(name)
        if hold is None:
            self._holds[name] = _Hold(ids, now, conversation, now + TIMEOUT)
        elif conversation is not None or hold.conversation is None:
            hold.ids, hold.conversation, hold.until = ids, conversation, now + TIMEOUT

    def stream_ended(self, end: End) -> None:
        conversation = self.book.conversations.get(end.stream)
        if conversation is None or end is not end.stream.server:
            return
        for hold in self._holds.values():
            if hold.conversation is conversation:
                hold.conversation, hold.until = None, self.book.now() + TIMEOUT

    def reconfigured(self, server: MapServerHost) -> None:
        now = self.book.now()
        allowed = [network_of(text) for texts in server.prefixes.values() for text in texts]
        for name, hold in list(self._holds.items()):
            if name[0] != server.name:
                continue
            if not any(_covers(prefix, name[1]) for prefix in allowed):
                del self._holds[name]
            elif hold.conversation is not None:
                # A key may have changed: then it must be confirmed.
                hold.conversation, hold.until = None, now + TIMEOUT

    def crashed(self, server: MapServerHost) -> None:
        written = self.book.now() - SURELY_WRITTEN * (not server.has_stopped)
        for name, hold in list(self._holds.items()):
            if name[0] == server.name and (server.state is None or hold.since > written):
                del self._holds[name]

    def _check(self, server: str, data: bytes) -> None:
        reply = read_map_reply(data)
        assert reply is not None
        now = self.book.now()
        # RFC 9301 §5.5: who asks for more than an address is told what lies inside, too.
        told = {record.eid for record in reply.records if record.locators}
        for record in reply.records:
            self.answers += 1
            if record.locators:
                continue
            for (name, eid), hold in self._holds.items():
                if name != server or (eid in told and _covers(record.eid, eid)):
                    continue
                is_meant = _covers(eid, record.eid) or _covers(record.eid, eid)
                if is_meant and (hold.conversation is not None or now < hold.until - 0.1):
                    self.fail(f"{server} answers negatively for {record.eid}: {eid} is registered")


def _covers(wider: Eid, narrower: Eid) -> bool:
    return wider.version == narrower.version and narrower.subnet_of(wider)  # type: ignore[arg-type]


class WithinLimits(Invariant):
    """(f) Tables and queues keep to their named limits, and a machine to a few timers."""

    TIMERS = 100
    "that a machine of these worlds may wait for: a few per session and per EID-prefix at most"

    EVERY = 60.0
    "seconds between two looks"

    def __init__(self, book: Book, fail: Fail) -> None:
        super().__init__(book, fail)
        self._looked_at = 0.0

    def look(self) -> None:
        if self.book.now() - self._looked_at < self.EVERY:
            return
        self._looked_at = self.book.now()
        for server in self.book.servers.values():
            service = server.service
            if service is None:
                continue
            sessions = len(service.sessions)
            if sessions > 4 * len(self.book.etrs) + 8:
                self.fail(f"{server.name} has {sessions} sessions")
            tokens = len(service.armory._tokens)
            if tokens > 2 * len(self.book.etrs):
                self.fail(f"{server.name} has {tokens} tokens")
            self._check_timers(server.machine)
        self._look_at_etrs()

    def _look_at_etrs(self) -> None:
        for etr in self.book.etrs.values():
            if etr.service is None:
                continue
            self._check_timers(etr.machine)
            for link in etr.service.links:
                if len(link.control._nonces) > MAX_NONCES:
                    self.fail(f"{etr.name} remembers {len(link.control._nonces)} nonces")
                if len(link.control._unanswered) > 64 + len(link.registrations.entries):
                    self.fail(f"{etr.name} waits for {len(link.control._unanswered)} Map-Notifies")

    def _check_timers(self, machine: Machine) -> None:
        pending = machine.timeline.pending(machine)
        if pending > self.TIMERS:
            self.fail(f"{machine.name} waits for {pending} timers")
