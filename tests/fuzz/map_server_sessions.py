"""Two xTRs' sessions with one Map-Server, and its UDP port, compiled and in Python: both say and
keep the same.
"""

from __future__ import annotations

from collections.abc import Callable

from lispmsrt.mapping.merging import parts_of
from lispmsrt.mapping.sites import SitePrefix, Sites
from lispmsrt.session.base import SessionState
from lispmsrt.wire.addresses import EidPrefix
from tests.builders import (
    KEY,
    MERGE,
    Etr,
    M,
    MapServer,
    P,
    Peer,
    R,
    T,
    frame,
    locator,
    record,
    site,
)
from tests.fuzz.invariants import Watched
from tests.fuzz.programs import Step, read
from tests.fuzz.twins import plain

__all__ = ["run"]

_LIMIT = 60
"""Registrations: so that it is reached."""

_FLAGS = (M, M | P, M | T, M | MERGE, 0, M, M, M)
_WIDTHS = {1: 4, 2: 16, 6: 6}
_HEADS = {1: bytes((10,)), 2: bytes.fromhex("20010db8"), 6: b"\x02\0\0"}


def _sites(which: int) -> Sites:
    office, shop = site("office"), site("shop", KEY)
    prefixes = [
        (office, "10.0.0.0/8", 0, True),
        (office, ("2001:db8::/32", "2001:db8::/31", "::/0")[which], 0, True),
        (office, ("2001:dba::/40", "2001:dba::/64", "2001:dba::1/128")[which], 0, True),
        (office, "02:00:00:00:00:00/8", 0, which != 1),
        (office, "10.0.0.0/8", 7, True),
        (shop, "10.128.0.0/9", 0, True),
    ]
    return Sites(
        SitePrefix.of(owner, EidPrefix.from_text(text, instance_id), more)
        for owner, text, instance_id, more in prefixes
    )


_SITES = [_sites(which) for which in range(3)]


def _records(octets: bytes, ttl: int) -> list[bytes]:
    """Return a record for every four octets: family, prefix length and two of the address."""
    found = []
    for at in range(0, len(octets) - 3, 4):
        kind, length, *middle = octets[at : at + 4]
        afi = (1, 1, 2, 6)[kind & 3]
        width = _WIDTHS[afi]
        head = bytes.fromhex("20010dba") if kind & 128 and afi == 2 else _HEADS[afi]
        address = (head + bytes(middle)).ljust(width, b"\0")
        if kind & 16:
            address = address[:-1] + b"\1"
        wire = bytes((length % (8 * width + 2),)) + afi.to_bytes(2, "big") + address
        if kind & 32:
            inner = (7).to_bytes(4, "big") + wire[1:]
            wire = wire[:1] + bytes.fromhex("400300000200") + len(inner).to_bytes(2, "big") + inner
        rloc = locator("198.51.100.1" if kind & 64 else "192.0.2.1")
        found.append(record(wire, *[rloc] * bool(ttl), ttl=ttl))
    return found


class _Ground:
    """A Map-Server and two xTRs with a session each."""

    def __init__(self) -> None:
        self.now = 0.0
        self.said: list[object] = []
        self.server = MapServer(_SITES[0], max_registrations=_LIMIT)
        self.etrs = [Etr(f"192.0.2.{number}", xtr_id=number) for number in (1, 2)]
        self.sessions = [self._connect(number) for number in range(2)]
        self._steps: tuple[Callable[[int, bytes], None], ...] = (
            self._say,
            self._frame,
            self._register,
            self._register_octets,
            self._map_register,
            self._datagram,
            self._wait,
            self._pull,
            self._reconfigure,
            self._withdraw,
            self._connect_again,
            self._pause,
        )

    def do(self, step: Step) -> None:
        self._steps[step.what % len(self._steps)](step.who, step.octets)

    def _connect(self, number: int) -> Watched:
        etr = self.etrs[number]
        self.server.hear(
            etr, etr.map_register(record(f"10.{number}.0.0/16"), flags=R | M), self.now
        )
        claim = self.server.armory.accept(etr.source[0], self.now)
        assert claim is not None, "armed by a Map-Register that was accepted"
        return Watched(Peer(self.server, claim, "there", self.now, frozenset()).session)

    def _say(self, who: int, octets: bytes) -> None:
        self.sessions[who & 1].say(octets, self.now)

    def _frame(self, who: int, octets: bytes) -> None:
        kind = octets[0] if octets else 0
        self._say(who, frame(kind, octets[1:]))

    def _register(self, who: int, octets: bytes) -> None:
        """A run of Registrations in one chunk, perhaps with one octet changed."""
        etr, flags = self.etrs[who & 1], _FLAGS[who >> 1]
        stream = bytearray()
        for one in _records(octets, 1440):
            stream += etr.registration(one, flags=flags)
        if len(octets) & 3 and stream:
            stream[int.from_bytes(octets[-(len(octets) & 3) :], "big") % len(stream)] ^= 1 + who
        self._say(who, bytes(stream))

    def _register_octets(self, who: int, octets: bytes) -> None:
        """Anything, authentic."""
        etr = self.etrs[who & 1]
        self._say(who, etr.registration(octets, flags=_FLAGS[who >> 1]))

    def _withdraw(self, who: int, octets: bytes) -> None:
        etr = self.etrs[who & 1]
        self._say(who, b"".join(etr.registration(one) for one in _records(octets, 0)))

    def _map_register(self, who: int, octets: bytes) -> None:
        """A batch of Map-Registers, with one record each and then with all."""
        etr, flags = self.etrs[who & 1], _FLAGS[who >> 1]
        records = _records(octets, 1440)
        batch = [etr.map_register(one, flags=flags) for one in records]
        if records:
            batch.append(etr.map_register(*records[:20], flags=flags))
        self._hear(batch, who)

    def _datagram(self, who: int, octets: bytes) -> None:
        etr = self.etrs[who & 1]
        self._hear([octets, etr.map_register(octets, flags=_FLAGS[who >> 1])], who)

    def _hear(self, datagrams: list[bytes], who: int) -> None:
        control = self.server.control
        batch = [(data, self.etrs[who & 1].source) for data in datagrams]
        at = 0
        while at < len(batch):
            taken = control.receive_run(batch, at, self.now)
            if not taken:
                control.receive_datagram(*batch[at], self.now)
            at += taken or 1
        self.said.append(control.datagrams_to_send(self.now))

    def _wait(self, who: int, octets: bytes) -> None:
        self.now += sum(octets[:2]) + who
        for one in self.sessions:
            one.session.handle_timeout(self.now)
        for _ in range(_LIMIT):
            if not self.server.registrar.expire(self.now):
                break

    def _pull(self, who: int, octets: bytes) -> None:
        self.check()

    def _pause(self, who: int, octets: bytes) -> None:
        session = self.sessions[who & 1].session
        if session.state is not SessionState.CLOSED:
            session.output_resumed() if who & 2 else session.output_paused(self.now)

    def _reconfigure(self, who: int, octets: bytes) -> None:
        self.server.registrar.reconfigure(_SITES[who % 3])
        for _ in self.server.registrar.reexamine():
            pass

    def _connect_again(self, who: int, octets: bytes) -> None:
        self.sessions[who & 1].session.connection_lost(self.now)
        self.check()
        etr = self.etrs[who & 1]
        if self.server.armory.admits(etr.source[0], self.now):
            self.sessions[who & 1] = self._connect(who & 1)

    def check(self) -> None:
        """Whatever happened, this holds."""
        for one in self.sessions:
            self.said.append(one.pull(self.now))
        registrar = self.server.registrar
        entries = [
            one for table in registrar.database.tables.values() for one in table.entries.values()
        ]
        parts = [part for entry in entries for part in parts_of(entry)]
        assert registrar.count == len(parts) <= _LIMIT
        for part in parts:
            assert part in part.lease.held, "a registration that its lease knows nothing of"
            assert part.lease in registrar.leases

    def state(self) -> object:
        """Return everything that can be told of it."""
        registrar = self.server.registrar
        return (
            self.said,
            [(one.output, dict(one.session.counters)) for one in self.sessions],
            [(one.session.close_reason, one.session.next_timeout()) for one in self.sessions],
            {
                (place, key): [
                    (part.record, part.flags, part.since, part.deadline, part.lease.xtr)
                    for part in parts_of(entry)
                ]
                for place, table in registrar.database.tables.items()
                for key, entry in table.entries.items()
            },
            (registrar.accepted, registrar.counters, registrar.next_expiry()),
            [change[1:3] + change[6:] for change in self.server.changes],
            self.server.control.counters,
        )

    def end(self) -> None:
        """Take everything out: the collector of cycles does not see a compiled database."""
        for one in self.sessions:
            one.session.connection_lost(self.now)
        for table in self.server.registrar.database.tables.values():
            for key in list(table.entries):
                for part in parts_of(table.entries[key]):
                    part.lease.held.clear()
                del table.entries[key]


def _played(data: bytes) -> object:
    ground = _Ground()
    for step in read(data):
        ground.do(step)
    ground.check()
    state = ground.state()
    ground.end()
    return state


def run(data: bytes) -> None:
    """Play a program on both."""
    compiled = _played(data)
    with plain():
        assert _played(data) == compiled, "compiled it is otherwise"
