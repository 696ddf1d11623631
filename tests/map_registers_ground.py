"""Two Map-Servers that hear the same, one that takes ordinary Map-Registers compiled and one that
takes every one in Python; and a fleet of ETRs that send them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from random import Random
from typing import Any
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.control import map_registers
from lispmsrt.control.nonces import NonceCheck
from lispmsrt.mapping.database import Lease, Registration
from lispmsrt.mapping.history import History
from lispmsrt.mapping.merging import parts_of
from lispmsrt.mapping.sites import SitePrefix, Sites
from lispmsrt.mapping.verdicts import Change
from lispmsrt.wire.addresses import EidPrefix
from tests.builders import (
    KEY,
    MERGE,
    OTHER_KEY,
    SHA1_KEY,
    Etr,
    M,
    MapServer,
    P,
    Peer,
    R,
    Secret,
    T,
    eid,
    ip,
    locator,
    record,
    site,
)

__all__ = ["Fleet", "Side", "TwinCase"]

Datagram = tuple[bytes, tuple[bytes, int]]

_HKDF = Secret(5, 3, b"derived")


def _sites(which: int) -> Sites:
    """Return one of several configurations."""
    office = site("office", KEY, SHA1_KEY, _HKDF)
    strict = site("strict", OTHER_KEY, allowed=("192.0.2.0/24",))
    eager = site("eager", KEY, require_r=False)
    prefixes = [
        (office, "10.1.0.0/16", 0, True),
        (office, "10.1.128.0/17", 0, True),
        (strict, "10.2.0.0/16", 0, which != 1),
        (eager, "10.3.0.0/16", 0, True),
        (office, "10.1.0.0/16", 7, True),
        (office, "2001:db8::/32", 0, True),
        (office, "::/0" if which == 2 else "2001:db9::/32", 0, True),
        (office, "02:00:00:00:00:00/8", 0, True),
        (office, "192.0.2.1/32", 0, False),
        (office, "10.4.0.0/16", 0, False),
        (office, "10.5.0.0/16", 0, False),
    ]
    if which == 1:
        prefixes[1] = (strict, "10.1.128.0/17", 0, True)
        del prefixes[4]
    return Sites(
        SitePrefix.of(owner, EidPrefix.from_text(text, instance_id), more)
        for owner, text, instance_id, more in prefixes
    )


class Side:
    """One of the two Map-Servers, and all that can be seen of it."""

    def __init__(self, first: Sites, check: NonceCheck, limit: int, to_control_port: bool) -> None:
        self.now = 0.0
        self.server = MapServer(
            first,
            nonce_check=check,
            max_registrations=limit,
            notify_to_control_port=to_control_port,
        )
        self.history = History(lambda: self.now)
        self.server.registrar._on_changes = self._changed
        self.changes: list[object] = []
        self.peers: dict[int, Peer] = {}

    def _changed(self, changes: Sequence[Change]) -> None:
        self.server.news.changed(changes)
        self.history.changed(changes)
        for table, length, key, before, after, by, why in changes:
            self.changes.append(
                (
                    (table.instance_id, table.afi, length, key),
                    [_said(part) for part in parts_of(before)],
                    [_said(part) for part in parts_of(after)],
                    by and by.xtr,
                    why,
                )
            )

    def hear(self, batch: Sequence[Datagram]) -> int:
        """Take a batch as the control plane does; return how many were ordinary."""
        control, now = self.server.control, self.now
        at = ordinary = 0
        datagrams = list(batch)
        while at < len(datagrams):
            taken = control.receive_run(datagrams, at, now)
            ordinary += taken
            if not taken:
                control.receive_datagram(*datagrams[at], now)
            at += taken or 1
        return ordinary

    def visible(self) -> dict[str, Any]:
        """Return what is said, kept and counted."""
        registrar, control = self.server.registrar, self.server.control
        return {
            "output": control.datagrams_to_send(self.now),
            "database": {
                (place, key): [_kept(part) for part in (entry, *parts_of(entry))]
                for place, table in registrar.database.tables.items()
                for key, entry in table.entries.items()
            },
            "lengths": {
                place: (table.lengths, table.watching, table._longest_first)
                for place, table in registrar.database.tables.items()
            },
            "leases": [_lease(lease) for lease in registrar.leases],
            "over UDP": {xtr: _lease(one) for xtr, one in registrar._over_udp.items()},
            "clocks": _clocks(registrar._soft_state._wheel._buckets),
            "counters": [control.counters, registrar.counters, control.nonces.counters],
            "numbers": (registrar.count, registrar.accepted, self.history.number),
            "changes": self.changes,
            "history": [
                (line.number, line.at, line.event, line.key, line.lease.xtr, line.record,
                 line.source, line.remaining)
                for line in islice(self.history.newest_first(), 40)
            ],
            "rejections": list(islice(registrar.rejections.newest_first(), 40)),
            "nonces": _nonces(control.nonces._sites),
            "armed": self.server.armory.counters,
        }  # fmt: skip


def _said(part: Registration) -> object:
    return part.record, part.lease.xtr, part.flags


def _kept(part: Registration) -> object:
    return (_said(part), part.since, part.deadline, part.expires, part.lease.is_live)


def _lease(lease: Lease) -> object:
    held = [(part.record, part.flags) for part in lease.held]
    return (lease.xtr, lease.source, lease.path, lease.key, lease.is_live, lease.deadline, held)


def _clocks(buckets: dict[int, dict[Any, None]]) -> object:
    return {
        second: [item.xtr if isinstance(item, Lease) else _said(item) for item in bucket]
        for second, bucket in buckets.items()
    }


def _nonces(memories: dict[str, Any]) -> object:
    return {
        name: (
            memory.nonces,
            list(memory.origins.items()),
            [
                (who, list(one.seen), one.highest, one.increases, one.answers)
                for who, one in memory.histories.items()
            ],
        )
        for name, memory in memories.items()
    }


class TwinCase(SynchronousTestCase):
    """Two sides."""

    def setUp(self) -> None:
        """Nothing to compare where nothing is compiled."""
        if map_registers._compiled is None:
            raise SkipTest("nothing is compiled")
        self.ordinary = 0

    def start(
        self,
        check: NonceCheck = NonceCheck.LENIENT,
        limit: int = 4_000_000,
        *,
        to_control_port: bool = False,
    ) -> None:
        """Begin with two empty Map-Servers."""
        self.configurations = [_sites(which) for which in range(3)]
        self.compiled = Side(self.configurations[0], check, limit, to_control_port)
        patch = self.patch(map_registers, "_compiled", None)
        self.pure = Side(self.configurations[0], check, limit, to_control_port)
        patch.restore()
        self.sides = (self.compiled, self.pure)

    def hear(self, *batch: Datagram) -> int:
        """Give both a batch; return how many of it were ordinary, and compare."""
        ordinary = self.compiled.hear(batch)
        self.assertEqual(self.pure.hear(batch), 0)
        self.ordinary += ordinary
        self.compare()
        return ordinary

    def compare(self) -> None:
        """Whatever can be seen is equal."""
        one, other = (side.visible() for side in self.sides)
        for name, seen in one.items():
            self.assertEqual(seen, other[name], name)
        for side in self.sides:
            side.changes.clear()

    def wait_until(self, now: float) -> None:
        """Let time pass, and end what is over."""
        for side in self.sides:
            side.now = now
            for _ in range(100):
                if not side.server.registrar.expire(now):
                    break
        self.compare()

    def configure(self, which: int) -> None:
        """Put other sites in force."""
        for side in self.sides:
            side.server.registrar.reconfigure(self.configurations[which])
            for _ in side.server.registrar.reexamine():
                pass
        self.compare()

    def connect(self, etr: Etr, number: int, *records: bytes) -> None:
        """Have an ETR come up with a session and register there, if it is armed."""
        registrations = [etr.registration(one) for one in records]
        for side in self.sides:
            if not side.server.armory.admits(etr.source[0], side.now):
                continue
            claim = side.server.armory.accept(etr.source[0], side.now)
            assert claim is not None
            peer = Peer(side.server, claim, "there", side.now, frozenset())
            side.changes.append(peer.send(*registrations, now=side.now))
            side.peers[number] = peer
        self.compare()

    def disconnect(self, number: int) -> None:
        """Lose the session."""
        for side in self.sides:
            peer = side.peers.pop(number, None)
            if peer is not None:
                peer.session.connection_lost(side.now)
        self.compare()


class Fleet:
    """ETRs of all kinds, and what they send."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.etrs = [
            Etr(xtr_id=1),
            Etr(xtr_id=2, port=5000),
            Etr("192.0.2.2", xtr_id=None),
            Etr("2001:db8::7", xtr_id=3, key=SHA1_KEY),
            Etr("192.0.2.3", xtr_id=4, key=OTHER_KEY),
            Etr("192.0.2.4", xtr_id=5, key=_HKDF),
            Etr("192.0.2.5", xtr_id=None, key=SHA1_KEY),
        ]
        self.draws = [random.random() < 0.3 for _ in self.etrs]
        "who draws its nonces at random"
        self.sent: list[Datagram] = []

    def batch(self) -> list[Datagram]:
        """Return a few messages, most of them of one ETR and alike."""
        random = self.random
        etr = random.randrange(len(self.etrs))
        flags = random.choice([M, M, M, M | P, 0, P, R | M, T | M, MERGE | M])
        shape = random.randrange(6)
        return [
            self.message(
                etr if random.random() < 0.9 else random.randrange(len(self.etrs)),
                flags if random.random() < 0.95 else M,
                shape if random.random() < 0.95 else random.randrange(6),
            )
            for _ in range(random.randrange(1, 12))
        ]

    def message(self, number: int, flags: int, shape: int) -> Datagram:
        """Return one message, fresh, repeated or broken."""
        random = self.random
        chance = random.random()
        if self.sent and chance < 0.06:
            data, source = random.choice(self.sent[-40:])
            return data, source if random.random() < 0.6 else (ip("192.0.2.9"), 9)
        if self.sent and chance < 0.10:
            data, source = random.choice(self.sent[-40:])
            at = random.randrange(len(data))
            return data[:at] + bytes((random.randrange(256),)) + data[at + 1 :], source
        etr = self.etrs[number]
        ttl = 1440 if random.random() < 0.95 else random.choice([0, 3])
        records = list(self.records(shape, ttl))
        nonce = random.getrandbits(64) if self.draws[number] or chance > 0.98 else None
        length = 16 if chance > 0.97 and etr.key.algorithm_id == 2 else None
        covers_ids = etr.key is not _HKDF and random.random() < 0.98
        data = etr.map_register(
            *records, flags=flags, nonce=nonce, length=length, covers_ids=covers_ids
        )
        source = etr.source
        if random.random() < 0.02:
            source = (source[0], 6000)
        self.sent.append((data, source))
        return data, source

    def records(self, shape: int, ttl: int) -> Iterator[bytes]:
        """Yield the records of a message; those of one shape are alike."""
        random = self.random
        count = 1 if shape % 2 else random.choice([1, 3])
        rloc = locator("192.0.2.1" if random.random() < 0.95 else "198.51.100.1")
        for _ in range(count):
            one, two = random.randrange(4), random.randrange(3)
            host = 1 if random.random() < 0.03 else 0
            wire = (
                eid(f"10.1.{64 * one}.{host}/{random.choice([18, 24, 24, 32])}"),
                eid(f"10.{1 + two}.{64 * one}.0/24"),
                eid(f"10.1.{64 * one}.0/24", 7),
                eid(f"2001:db{8 + (two > 1)}::{one}/128"),
                eid(f"02:00:00:00:0{one}:00/40"),
                eid(random.choice(["192.0.2.1/32", "10.3.1.0/24", "0.0.0.0/0"])),
            )[shape]
            yield record(wire, *[rloc] * bool(ttl), ttl=ttl)
