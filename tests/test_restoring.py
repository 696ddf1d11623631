"""Remembered registrations, taken back into a database: which, until when, and beside whom."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase

from lispmsrt import parse_config
from lispmsrt.config import make_sites
from lispmsrt.mapping.database import EidTable, Lease, Xtr
from lispmsrt.mapping.lookup import FoundKind
from lispmsrt.mapping.merging import parts_of
from lispmsrt.mapping.refusals import not_enterable
from lispmsrt.mapping.registrar import Registrar
from lispmsrt.mapping.restored import RestoredLease
from lispmsrt.mapping.restoring import RecallingLookup, Remembered, RememberedXtr, Restoring
from lispmsrt.mapping.sites import eid_key
from lispmsrt.mapping.verdicts import Change, Verdict
from lispmsrt.wire.addresses import Address, EidPrefix
from lispmsrt.wire.map_register import RegisterFlag
from lispmsrt.wire.record_walk import walk_records
from lispmsrt.wire.records import Locator, MappingRecord, encode_record
from tests.builders import site
from tests.rim import map_server_text

_MERGE = int(RegisterFlag.MERGE)
_USE_TTL = int(RegisterFlag.USE_TTL)
_EID = "10.1.1.0/24"
_NOW = 1000.0


def _record(eid: str = _EID, rloc: str = "127.0.0.2", ttl: int = 1440) -> bytes:
    locators = (Locator(Address.from_text(rloc)),)
    return encode_record(MappingRecord(EidPrefix.from_text(eid), ttl, locators))


def _xtr(number: int = 1, transport: str = "TCP", heard: float = _NOW) -> RememberedXtr:
    xtr = Xtr("campus", bytes((number,)) * 24, b"")
    return RememberedXtr(RestoredLease(xtr, transport, "198.51.100.1:9", is_live=False), heard)


class RestoringTests(SynchronousTestCase):
    """A registrar that has just been made."""

    def setUp(self) -> None:
        """One site, 10.1.0.0/16."""
        self.changes: list[Change] = []
        config = parse_config(map_server_text())
        self.registrar = Registrar(
            make_sites(config.site), on_changes=self._changed, timeout=180.0, limit=100
        )
        self.restoring = Restoring(self.registrar, 180.0)

    def _changed(self, changes: Sequence[Change]) -> None:
        self.changes += changes

    def _restore(self, *parts: Remembered, eid: str = _EID, now: float = _NOW) -> bool:
        instance_id, afi, _length, key = eid_key(EidPrefix.from_text(eid))
        return self.restoring.restore(instance_id, afi, key, parts, now)

    def _live(self, number: int = 2, record: bytes = b"", flags: int = 0) -> Lease:
        """Have a live session register."""
        data = record or _record()
        lease = Lease(Xtr("campus", bytes((number,)) * 24, b""), "TCP", "there", is_live=True)
        (span,) = walk_records(data, 0, len(data), 1)
        self.assertIsNone(self.registrar._enter(lease, data, span, flags, _NOW, None))
        return lease

    def _expires(self, eid: str = _EID) -> float | None:
        instance_id, afi, _length, key = eid_key(EidPrefix.from_text(eid))
        found = self.registrar.database.exact(instance_id, afi, key)
        assert found is not None
        return found.expires

    def test_what_a_session_held_lasts_as_after_its_loss(self) -> None:
        """However long it had been there."""
        self.assertTrue(self._restore(Remembered(_xtr(), _record(), 0, -5000.0)))
        self.assertEqual(self._expires(), _NOW + 180.0)
        (change,) = self.changes
        self.assertIsNone(change.before)
        self.registrar.expire(_NOW + 179.0)
        self.assertEqual(self.registrar.count, 1)
        self.registrar.expire(_NOW + 182.0)
        self.assertEqual((self.registrar.count, dict(self.registrar.leases)), (0, {}))

    def test_what_a_session_held_with_a_shorter_ttl(self) -> None:
        """T bit: the TTL counts, if it is less."""
        for ttl, lasts in ((1, 60.0), (2, 120.0), (10, 180.0)):
            eid = f"10.1.{ttl}.0/24"
            self._restore(Remembered(_xtr(ttl), _record(eid, ttl=ttl), _USE_TTL, 0.0), eid=eid)
            self.assertEqual(self._expires(eid), _NOW + lasts)

    def test_what_came_over_udp_has_the_rest_of_its_time(self) -> None:
        """Since the latest Map-Register of its xTR, or since it was registered itself."""
        for number, heard, since, flags, ttl, expires in (
            (1, 900.0, 800.0, 0, 1440, 1080.0),
            (2, 900.0, 950.0, 0, 1440, 1130.0),
            (3, 900.0, 800.0, _USE_TTL, 5, 1200.0),
            (4, 820.1, 820.0, 0, 1440, 1000.1),
        ):
            eid = f"10.1.{number}.0/24"
            xtr = _xtr(number, "UDP", heard)
            self.assertTrue(
                self._restore(Remembered(xtr, _record(eid, ttl=ttl), flags, since), eid=eid)
            )
            self.assertAlmostEqual(self._expires(eid) or 0.0, expires)

    def test_what_is_over_is_not_restored(self) -> None:
        """At the very second."""
        xtr = _xtr(1, "UDP", 820.0)
        self.assertFalse(self._restore(Remembered(xtr, _record(), 0, 0.0)))
        self.assertEqual(self.restoring.counters["not restored, expired meanwhile"], 1)
        self.assertFalse(self._restore(Remembered(_xtr(2, "TCP", 820.0), _record(), 0, 0.0)))
        self.assertEqual((self.registrar.count, self.changes), (0, []))

    def test_what_a_row_says_must_be_its_own(self) -> None:
        """A record about something else, one that withdraws, and none at all."""
        for record in (_record("10.1.2.0/24"), _record(ttl=0), b"", _record()[:-1], bytes(40)):
            self.assertFalse(self._restore(Remembered(_xtr(), record, 0, 0.0)))
        self.assertEqual(self.restoring.counters["not restored, damaged"], 5)

    def test_what_the_sites_refuse_is_not_restored(self) -> None:
        """EID-prefix, RLOC, and another site's xTR."""
        other = RememberedXtr(
            RestoredLease(Xtr("branch", bytes(24), b""), "TCP", "", is_live=False), _NOW
        )
        for eid, part in (
            ("10.2.1.0/24", Remembered(_xtr(), _record("10.2.1.0/24"), 0, 0.0)),
            (_EID, Remembered(_xtr(), _record(rloc="203.0.113.1"), 0, 0.0)),
            (_EID, Remembered(other, _record(), 0, 0.0)),
        ):
            self.assertFalse(self._restore(part, eid=eid))
        self.assertEqual(self.restoring.counters["not restored, no longer allowed"], 3)

    def test_what_is_registered_anew_counts_more(self) -> None:
        """By another xTR, or by the same with another record."""
        self._live(2)
        self.assertFalse(self._restore(Remembered(_xtr(1), _record(), 0, 0.0)))
        self.assertTrue(self._restore(Remembered(_xtr(2), _record(rloc="127.0.0.9"), 0, 0.0)))
        (lease,) = self.registrar.leases
        self.assertTrue(lease.is_live)
        self.assertEqual(self.restoring.counters["restored"], 0)

    def test_parts_are_merged_with_what_came_meanwhile(self) -> None:
        """Of other xTRs, whose part is not there yet."""
        self._live(2, _record(rloc="127.0.0.2"), _MERGE)
        parts = [
            Remembered(_xtr(number), _record(rloc=f"127.0.0.{number}"), _MERGE, 0.0)
            for number in (1, 2, 3)
        ]
        self.assertTrue(self._restore(*parts))
        (found,) = self.registrar.database.registrations()
        rlocs = sorted(str(one.rloc) for one in found.decode().locators)
        self.assertEqual(rlocs, ["127.0.0.1", "127.0.0.2", "127.0.0.3"])
        self.assertEqual(
            sorted(part.lease.is_live for part in parts_of(found)), [False, False, True]
        )
        self.assertEqual(self.registrar.count, 3)

    def test_there_is_a_limit(self) -> None:
        """That of all registrations."""
        for number in range(101):
            eid = f"10.1.{number}.0/24"
            self._restore(Remembered(_xtr(), _record(eid), 0, 0.0), eid=eid)
        self.assertEqual(self.registrar.count, 100)
        counters = self.restoring.counters
        self.assertEqual(counters["not restored, no room or not to be merged"], 1)

    def test_a_lookup_asks_for_what_is_not_there_yet(self) -> None:
        """And is an ordinary one as soon as all is restored."""
        recalled: list[int] = []
        is_partial = True

        def recall(table: EidTable, key: int) -> None:
            recalled.append(key)
            self._restore(Remembered(_xtr(), _record(), 0, 0.0))

        lookup = RecallingLookup(
            self.registrar.database, lambda: self.registrar.sites, recall, lambda: is_partial
        )
        found = lookup.find(EidPrefix.from_text("10.1.1.7/32"))
        self.assertEqual((found.kind, str(found.eid)), (FoundKind.MAPPED, "10.1.1.7/32"))
        found = lookup.find(EidPrefix.from_text("10.1.2.0/24"))
        self.assertEqual((found.kind, str(found.eid)), (FoundKind.NOT_REGISTERED, "10.1.2.0/32"))
        found = lookup.find(EidPrefix.from_text("10.2.0.0/24"))
        self.assertIs(found.kind, FoundKind.NO_SITE)
        self.assertEqual(len(recalled), 2)
        is_partial = False
        found = lookup.find(EidPrefix.from_text("10.1.1.7/32"))
        self.assertEqual((found.kind, str(found.eid)), (FoundKind.MAPPED, "10.1.1.0/24"))
        self.assertEqual(len(recalled), 2)

    def test_what_a_session_is_refused_does_not_come_back_later(self) -> None:
        """It is asked for, to be ended; but only where a site may have it."""
        recalled: list[int] = []

        def recall(table: EidTable, key: int) -> None:
            recalled.append(key)
            self._restore(Remembered(_xtr(), _record(), 0, 0.0))

        registrar = self.registrar
        registrar._recall = recall
        lease = Lease(_xtr().lease.xtr, "TCP", "there", is_live=True)
        for eid, number in ((_EID, 1), ("10.2.1.0/24", 1)):
            data = _record(eid)
            (span,) = walk_records(data, 0, len(data), 1)
            refusal = not_enterable(
                registrar.sites, site(), data, span, Verdict.LOCATOR_SET_NOT_ALLOWED
            )
            registrar._refuse(lease, span, refusal, _NOW)
            self.assertEqual(len(recalled), number)
        self.assertEqual(self.restoring.counters["restored"], 1)
        self.assertEqual((registrar.count, len(registrar.database)), (0, 0))
        over_udp = Lease(_xtr().lease.xtr, "UDP", "there", is_live=False)
        registrar._refuse(over_udp, span, refusal, _NOW)
        self.assertEqual(len(recalled), 1)
