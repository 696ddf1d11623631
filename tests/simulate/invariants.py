"""What must hold, whatever goes wrong. Each class watches one promise from outside.

They read the wire through the :class:`tests.simulate.book.Book`, and the database as a view does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING

from lispmsrt.mapping.database import Registration
from lispmsrt.mapping.merging import parts_of
from tests.simulate.book import SURELY_WRITTEN, Book, Conversation, Sent
from tests.simulate.hosts import MapServerHost
from tests.simulate.machine import Machine
from tests.simulate.network import Packet, Taps
from tests.simulate.streams import End
from tests.simulate.wire_reading import Eid, Record, eid_of_wire, network_of, read_register

if TYPE_CHECKING:
    from lispmsrt import MapServer

__all__ = [
    "AcknowledgedIsHeld",
    "Invariant",
    "NothingUnauthenticated",
    "OnlyArmedConnect",
    "RepeatsChangeNothing",
    "registered",
]

TIMEOUT = 180.0
"""Seconds that a registration lasts without its ETR being heard, and a token without being used."""

Fail = Callable[[str, str], None]


class Invariant(Taps):
    """A promise; ``fail`` is told the name of the class and what was seen."""

    def __init__(self, book: Book, fail: Fail) -> None:
        self.book = book
        self._fail = fail

    def fail(self, text: str) -> None:
        """The promise is broken."""
        self._fail(type(self).__name__, text)

    def crashed(self, server: MapServerHost) -> None:
        """A Map-Server is about to end, or has just vanished."""

    def started(self, server: MapServerHost) -> None:
        """A Map-Server has been started."""

    def reconfigured(self, server: MapServerHost) -> None:
        """A Map-Server has read another configuration."""

    def look(self) -> None:
        """Some time has passed."""


@lru_cache(maxsize=4096)
def _eid(afi: int, key: int) -> Eid:
    width = 32 if afi == 1 else 128
    length = key.bit_length() - 1
    address = (key - (1 << length)) << width - length
    return (IPv4Network if afi == 1 else IPv6Network)((address, length))


def registered(service: MapServer) -> Iterator[tuple[Eid, Registration]]:
    """Yield every registration of a Map-Server, each part of a merged one."""
    for table in service.database.tables.values():
        for key, registration in table.entries.items():
            for part in parts_of(registration):
                yield _eid(table.afi, key), part


class NothingUnauthenticated(Invariant):
    """(b) What gets into the database was in a message that an honest ETR has just sent with a key
    of its site, about a configured EID-prefix, and that had not arrived before. What somebody has
    caught is new to a Map-Server that has forgotten everything, or that it was not made for.
    """

    def __init__(self, book: Book, fail: Fail) -> None:
        super().__init__(book, fail)
        self._known: dict[str, dict[tuple[Eid, bytes], tuple[Registration, bytes]]] = {}
        self._restorable: dict[str, set[tuple[Eid, bytes, bytes]]] = {}
        self._gone: dict[str, list[tuple[float, tuple[Eid, bytes, bytes]]]] = {}
        "what has ended or was changed, and when: that may not be in the file yet"

    def datagram_taken(self, packet: Packet, machine: Machine) -> None:
        server = self.book.servers.get(machine.name)
        if server is not None:
            self._judge(server)

    def stream_was_read(self, end: End) -> None:
        server = self.book.servers.get(end.machine.name)
        if server is not None:
            self._judge(server)

    def crashed(self, server: MapServerHost) -> None:
        known = self._known.pop(server.name, {})
        gone = self._gone.pop(server.name, [])
        restorable = self._restorable.setdefault(server.name, set())
        if server.state is not None:
            restorable.update((eid, ids, octets) for (eid, ids), (_, octets) in known.items())
            written = self.book.now() - SURELY_WRITTEN * (not server.has_stopped)
            restorable.update(name for at, name in gone if at > written)

    def _judge(self, server: MapServerHost) -> None:
        if server.service is None:
            return
        before = self._known.get(server.name, {})
        now: dict[tuple[Eid, bytes], tuple[Registration, bytes]] = {}
        for eid, part in registered(server.service):
            ids = part.lease.xtr.ids
            known = before.get((eid, ids))
            if known is not None and known[0] is part:
                now[eid, ids] = known
                continue
            record = part.record
            now[eid, ids] = part, record
            if (known is None or known[1] != record) and not self._may_be(server, eid, ids, record):
                self.fail(f"{server.name} has registered {eid} of xTR {ids[0]} without reason")
        self._known[server.name] = now
        gone = self._gone.setdefault(server.name, [])
        for (eid, ids), (_, record) in before.items():
            known = now.get((eid, ids))
            if known is None or known[1] != record:
                gone.append((self.book.now(), (eid, ids, record)))

    def _may_be(self, server: MapServerHost, eid: Eid, ids: bytes, octets: bytes) -> bool:
        if (eid, ids, octets) in self._restorable.get(server.name, ()):
            return True
        cause = self.book.taking
        if cause is None or self.book.is_repeat:
            return False
        causes: list[Sent | Conversation] = [cause]
        if isinstance(cause, Conversation) and cause.etr is None:
            causes = list(self.book.news_of_stranger(cause))
        return any(_permits(one, server, eid, ids, octets) for one in causes)


def _permits(
    cause: Sent | Conversation, server: MapServerHost, eid: Eid, ids: bytes, octets: bytes
) -> bool:
    etr = cause.etr
    if etr is None or etr.ids != ids or cause.key not in server.keys[etr.site]:
        return False
    if not any(eid.subnet_of(network_of(text)) for text in _family(server, etr.site, eid)):  # type: ignore[arg-type]
        return False
    return any(record.octets == octets for record in _records(cause))


def _family(server: MapServerHost, site: str, eid: Eid) -> list[str]:
    return [text for text in server.prefixes[site] if (":" in text) == (eid.version == 6)]


def _records(cause: Sent | Conversation) -> Iterator[Record]:
    if isinstance(cause, Sent):
        yield from cause.register.records
    else:
        for _register, record in cause.latest:
            yield record


class RepeatsChangeNothing(Invariant):
    """(b) A Map-Register that comes once more, from whomever, registers nothing, prolongs nothing
    and arms nobody.
    """

    def __init__(self, book: Book, fail: Fail) -> None:
        super().__init__(book, fail)
        self._before: object = None

    def datagram_arrives(self, packet: Packet, machine: Machine) -> None:
        self._before = None
        if self.book.is_repeat:
            self._before = _state(self.book.servers[machine.name])

    def datagram_taken(self, packet: Packet, machine: Machine) -> None:
        if self._before is not None:
            if self._before != _state(self.book.servers[machine.name]):
                self.fail(f"a Map-Register that {machine.name} had before has changed something")
            self._before = None


def _state(server: MapServerHost) -> object:
    service = server.service
    if service is None:
        return None
    held = {
        (eid, part.lease.xtr, part.record, part.deadline, part.lease.is_live, part.lease.deadline)
        for eid, part in registered(service)
    }
    return held, service.armory.counters["tokens"]


class OnlyArmedConnect(Invariant):
    """(b) A Map-Server talks on a connection only where an authentic Map-Register with the r bit
    came from its address in the last 180 s, once for each.
    """

    def __init__(self, book: Book, fail: Fail) -> None:
        super().__init__(book, fail)
        self._armed: dict[tuple[str, str], list[float]] = {}

    def datagram_arrives(self, packet: Packet, machine: Machine) -> None:
        cause = self.book.taking
        if isinstance(cause, Sent) and not self.book.is_repeat and cause.register.r_bit:
            self._armed.setdefault((machine.name, packet.source[0]), []).append(self.book.now())

    def stream_written(self, end: End, data: bytes) -> None:
        conversation = self.book.conversations.get(end.stream)
        if conversation is None or end is not end.stream.server or conversation.has_spoken:
            return
        conversation.has_spoken = True
        arrivals = self._armed.get((conversation.server, end.peer[0]), [])
        while arrivals and arrivals[0] < conversation.opened - TIMEOUT - 0.1:
            arrivals.pop(0)
        if arrivals:
            arrivals.pop(0)
        else:
            self.fail(f"{conversation.server} talks to {end.peer[0]}, which has not armed itself")

    def crashed(self, server: MapServerHost) -> None:
        for name in [name for name in self._armed if name[0] == server.name]:
            del self._armed[name]


class AcknowledgedIsHeld(Invariant):
    """(c) When a Map-Server acknowledges a mapping, on a session or over UDP, its database has it;
    and every Registration is answered in turn.
    """

    def stream_written(self, end: End, data: bytes) -> None:
        told = self.book.told
        if told is None or not told[1]:
            return
        conversation, messages = told
        final: dict[Eid, Record | None] = {}
        for message in messages:
            if message.kind not in (18, 19):
                continue
            eid = eid_of_wire(message.data if message.kind == 18 else message.data[3:])
            if not conversation.unanswered or conversation.unanswered[0].eid != eid:
                if message.kind == 18:
                    self.fail(f"{conversation.server} acknowledges {eid}, which was not due")
                final[eid] = None  # withdrawn by the Map-Server
                continue
            record = conversation.unanswered.popleft()
            final[eid] = record if message.kind == 18 else None
        if conversation.etr is not None:
            for eid, told_record in final.items():
                if told_record is not None and told_record.ttl:
                    self._check(conversation.server, eid, conversation.etr.ids, told_record.octets)

    def datagram_sent(self, packet: Packet) -> None:
        cause = self.book.taking
        if not isinstance(cause, Sent) or self.book.is_repeat or packet.sender is None:
            return
        if packet.data[0] >> 4 != 4 or packet.sender.name not in self.book.servers:
            return
        notify = read_register(packet.data)
        if notify is None or notify.nonce != cause.register.nonce:
            return
        for record in notify.records:
            if record.ttl:
                self._check(packet.sender.name, record.eid, cause.etr.ids, None)

    def _check(self, name: str, eid: Eid, ids: bytes, octets: bytes | None) -> None:
        service = self.book.servers[name].service
        assert service is not None
        for held, part in registered(service):
            if held == eid and part.lease.xtr.ids == ids and octets in (None, part.record):
                return
        self.fail(f"{name} acknowledges {eid} to xTR {ids[0]}, and does not hold it")
