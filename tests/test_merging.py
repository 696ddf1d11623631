"""One mapping of several xTRs: what is in it, and that order does not matter."""

from __future__ import annotations

from itertools import permutations
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.mapping import merging
from lispmsrt.mapping.database import Lease, Registration, Xtr
from lispmsrt.mapping.merged_record import LegibleRecord
from lispmsrt.mapping.merging import (
    MAX_LOCATORS,
    MAX_OCTETS,
    MAX_PARTS,
    MergedRegistration,
    MergeError,
    merging_work,
    part_of,
    parts_of,
    with_part,
    without_part,
)
from lispmsrt.mapping.policy import MAX_RECORD
from lispmsrt.wire.addresses import Address, EidPrefix, Lcaf
from lispmsrt.wire.map_register import RegisterFlag
from lispmsrt.wire.records import Locator, MappingRecord, encode_record, sorted_locators
from tests.builders import MERGE, M, P, T, lcaf, locator, record
from tests.strategies import rlocs

_EID = "10.1.0.0/16"
_A, _B, _C = "192.0.2.1", "192.0.2.2", "198.51.100.3"


def lease(number: int, *, site: str = "office", is_live: bool = True) -> Lease:
    """Return a lease of another xTR for each number."""
    xtr = Xtr(site, bytes(15) + bytes((number,)) + bytes(8), b"")
    return Lease(xtr, "TCP", "there", is_live=is_live)


def part(number: int, one: bytes, flags: int = MERGE, *, site: str = "office") -> Registration:
    """Return what an xTR registers with the a bit."""
    return Registration(one, lease(number, site=site), flags, float(number), None)


def together(*parts: Registration) -> Registration:
    """Register one after the other."""
    current: Registration | None = None
    for one in parts:
        current = with_part(current, one)
    assert current is not None
    return current


def plain(
    *locators: Locator,
    ttl: int = 1440,
    action: int = 0,
    authoritative: bool = False,
    version: int = 0,
) -> bytes:
    """Return a record with what the builders' leave at zero."""
    eid = EidPrefix.from_text(_EID)
    return encode_record(MappingRecord(eid, ttl, locators, action, authoritative, version))


def rloc(text: str, priority: int = 1, weight: int = 100, *, reachable: bool = True) -> Locator:
    """Return an RLOC-record."""
    return Locator(Address.from_text(text), priority, weight, reachable=reachable)


class MergedRecordTests(SynchronousTestCase):
    """What everybody is told."""

    def merged(self, *records: bytes) -> MappingRecord:
        """Merge records, whatever the order."""
        parts = [part(number, one) for number, one in enumerate(records)]
        (wire,) = {together(*some).record for some in permutations(parts)}
        return Registration(wire, lease(0), 0, 0.0, None).decode()

    def test_every_rloc_in_the_order_of_the_rfc(self) -> None:
        """IPv4 ascending, then IPv6."""
        found = together(
            part(1, record(_EID, locator("2001:db8::1"), locator(_C))),
            part(2, record(_EID, locator(_A))),
        )
        expected = record(_EID, locator(_A), locator(_C), locator("2001:db8::1"))
        self.assertEqual(found.record, expected)

    def test_an_rloc_of_two_is_there_once_as_it_is_used_first(self) -> None:
        """Lowest priority value, then highest weight; R if anybody says so."""
        for one, other, expected in (
            (rloc(_A, 1), rloc(_A, 2), rloc(_A, 1)),
            (rloc(_A, 255), rloc(_A, 9), rloc(_A, 9)),
            (rloc(_A, 1, 10), rloc(_A, 1, 20), rloc(_A, 1, 20)),
            (rloc(_A, 1, reachable=False), rloc(_A, 2), rloc(_A, 1)),
            (
                rloc(_A, 1, reachable=False),
                rloc(_A, 2, reachable=False),
                rloc(_A, 1, reachable=False),
            ),
        ):
            self.assertEqual(self.merged(plain(one), plain(other)).locators, (expected,))

    def test_of_equal_ones_the_xtr_decides(self) -> None:
        """Not the order of arrival."""
        first, second = rloc(_A), rloc(_A)
        second.local = False
        self.assertEqual(self.merged(plain(first), plain(second)).locators, (first,))

    def test_the_shortest_ttl(self) -> None:
        """Of those that have one."""
        found = self.merged(plain(rloc(_A), ttl=5), plain(rloc(_B), ttl=9))
        self.assertEqual(found.ttl, 5)
        found = self.merged(plain(rloc(_A), ttl=0xFFFFFFFF), plain(rloc(_B), ttl=9))
        self.assertEqual(found.ttl, 9)

    def test_authoritative_if_all_are(self) -> None:
        """The A bit."""
        for bits in ((True, True), (True, False), (False, False)):
            found = self.merged(*(plain(rloc(_A), authoritative=bit) for bit in bits))
            self.assertEqual(found.authoritative, all(bits))

    def test_the_map_version_if_all_agree(self) -> None:
        """Else none."""
        for versions, expected in (((7, 7), 7), ((7, 8), 0), ((7, 0), 0)):
            found = self.merged(*(plain(rloc(_A), version=version) for version in versions))
            self.assertEqual(found.map_version, expected)

    def test_an_action_only_without_locators(self) -> None:
        """And then a certain one."""
        found = self.merged(plain(action=3), plain(action=1))
        self.assertEqual((found.action, found.locators), (1, ()))
        found = self.merged(plain(action=3), plain(rloc(_A), action=1))
        self.assertEqual((found.action, found.locators), (0, (rloc(_A),)))

    def test_the_eid_is_plain_if_anybody_wrote_it_so(self) -> None:
        """Host bits are gone; an LCAF stays where all had one."""
        in_lcaf = record("10.1.9.9/16", locator(_A), instance_id=0)
        found = together(part(1, in_lcaf), part(2, record("10.1.7.7/16", locator(_B))))
        self.assertEqual(found.record, record(_EID, locator(_A), locator(_B)))
        found = together(part(1, in_lcaf), part(2, record(_EID, locator(_B), instance_id=0)))
        self.assertEqual(found.record, record(_EID, locator(_A), locator(_B), instance_id=0))

    def test_rlocs_of_every_kind(self) -> None:
        """One that does not parse is kept as it is."""
        broken = locator(lcaf(1, b"\0\1"))
        traffic = locator(lcaf(4, bytes(12) + b"\0\1\xc0\0\2\1"))
        found = together(part(1, record(_EID, broken)), part(2, record(_EID, traffic)))
        self.assertEqual(found.record, record(_EID, broken, traffic))

    @given(
        st.lists(
            st.lists(st.tuples(rlocs, st.integers(0, 2), st.booleans()), max_size=4),
            min_size=2,
            max_size=4,
        ),
        st.randoms(use_true_random=False),
    )
    def test_only_the_set_of_parts_counts(
        self, drawn: list[list[tuple[Address | Lcaf, int, bool]]], random: Random
    ) -> None:
        """Any order; parts that came and went; each RLOC once, and all of them."""
        parts = [
            part(
                number,
                plain(
                    *(Locator(where, priority, reachable=bit) for where, priority, bit in locators)
                ),
            )
            for number, locators in enumerate(drawn)
        ]
        found = together(*parts).decode()
        known = [one for some in parts for one in some.decode().locators]
        self.assertEqual({one.rloc for one in found.locators}, {one.rloc for one in known})
        self.assertEqual(len(found.locators), len({one.rloc for one in known}))
        self.assertEqual(found.locators, sorted_locators(found.locators))
        for one in found.locators:
            same = [other for other in known if other.rloc == one.rloc]
            self.assertEqual(one.priority, min(other.priority for other in same))
            self.assertEqual(one.reachable, any(other.reachable for other in same))
        passer_by = part(77, record(_EID))
        shuffled = [*parts, passer_by]
        random.shuffle(shuffled)
        left = without_part(together(*shuffled), passer_by)
        assert left is not None
        self.assertEqual(left.record, together(*parts).record)


class PartTests(SynchronousTestCase):
    """Who merges with whom."""

    def setUp(self) -> None:
        """Two xTRs."""
        self.one = part(1, record(_EID, locator(_A)))
        self.other = part(2, record(_EID, locator(_B)))

    def test_nothing_to_merge_with(self) -> None:
        """It stands alone."""
        self.assertIs(with_part(None, self.one), self.one)
        self.assertEqual((parts_of(None), parts_of(self.one)), ((), (self.one,)))

    def test_both_must_ask(self) -> None:
        """Else the newest replaces."""
        for before, after in ((0, MERGE), (MERGE, 0), (0, 0)):
            one = part(1, record(_EID), before)
            other = part(2, record(_EID, locator(_B)), after)
            self.assertIs(with_part(one, other), other)
        without = part(3, record(_EID), 0)
        self.assertIs(with_part(with_part(self.one, self.other), without), without)

    def test_the_same_xtr_replaces_its_own_part(self) -> None:
        """Alone and among others, and is the newest then."""
        newer = part(1, record(_EID, locator(_C)))
        self.assertIs(with_part(self.one, newer), newer)
        merged = with_part(together(self.one, self.other), newer)
        self.assertEqual(parts_of(merged), (self.other, newer))
        self.assertEqual(merged.record, record(_EID, locator(_B), locator(_C)))

    def test_sites_do_not_mix(self) -> None:
        """An EID-prefix that another site has now."""
        foreign = part(2, record(_EID), site="shop")
        self.assertIs(with_part(self.one, foreign), foreign)

    def test_parts_go_one_by_one(self) -> None:
        """The last one stands as it came."""
        third = part(3, record(_EID, locator(_C)))
        merged = together(self.one, self.other, third)
        left = without_part(merged, self.other)
        assert left is not None
        self.assertEqual(left.record, record(_EID, locator(_A), locator(_C)))
        self.assertIs(without_part(left, third), self.one)
        self.assertIsNone(without_part(self.one, self.one))
        self.assertEqual(parts_of(merged), (self.one, self.other, third))

    def test_a_part_is_found_by_its_xtr(self) -> None:
        """By whatever lease."""
        merged = together(self.one, self.other)
        self.assertIs(part_of(merged, lease(1)), self.one)
        self.assertIs(part_of(self.one, lease(1, is_live=False)), self.one)
        for where in (None, merged, self.one):
            self.assertIsNone(part_of(where, lease(3)))

    def test_flags(self) -> None:
        """Any may ask for proxy replies and notifications; LISP-SEC takes all; T is each one's."""
        secure = RegisterFlag.SECURITY
        for one, other, expected in (
            (P, M, P | M),
            (secure, secure | T, secure),
            (secure, 0, 0),
            (T, RegisterFlag.EID_NOTIFY, 0),
        ):
            found = together(
                part(1, record(_EID), one | MERGE), part(2, record(_EID), other | MERGE)
            )
            self.assertEqual(found.flags, expected | MERGE)
            self.assertEqual(found.wants_notification, bool(expected & M))

    def test_the_newest_part_names_the_lease(self) -> None:
        """And the time."""
        merged = together(self.one, self.other)
        self.assertIs(merged.lease, self.other.lease)
        self.assertEqual(merged.since, self.other.since)

    def test_it_ends_with_its_last_part(self) -> None:
        """Not while a session holds one."""
        merged = together(self.one, self.other)
        self.assertIsNone(merged.expires)
        self.one.deadline = 7.0
        self.assertIsNone(merged.expires)
        self.other.lease.deadline = 5.0
        self.assertEqual(merged.expires, 7.0)

    def test_work(self) -> None:
        """What merges costs more than what does not."""
        two = together(self.one, self.other)
        three = with_part(two, part(3, record(_EID)))
        self.assertEqual([merging_work(one) for one in (None, self.one, two)], [1, 1, 1])
        self.assertGreater(merging_work(three), 2)


class CarriedOverTests(SynchronousTestCase):
    """What was read of a part serves the next merge too."""

    def setUp(self) -> None:
        """Note what is read."""
        self.read: list[bytes] = []
        case = self

        class Noting(LegibleRecord):
            """Notes which EID-record it is."""

            __slots__ = ()

            def __init__(self, record: MappingRecord) -> None:
                case.read.append(encode_record(record))
                super().__init__(record)

        self.patch(merging, "LegibleRecord", Noting)

    def many(self, number: int, *, ttl: int = 1440) -> Registration:
        """Return a part with five RLOCs of its own and one that all share."""
        rlocs = [locator(f"192.0.{number}.{rloc}") for rloc in range(1, 6)]
        return part(number, record(_EID, *rlocs, locator("198.51.100.1"), ttl=ttl))

    def test_only_what_changed_is_read(self) -> None:
        """Of many parts, one at a time."""
        current = together(*(self.many(number) for number in range(1, 9)))
        self.read.clear()
        changed = self.many(3, ttl=5)
        after = with_part(current, changed)
        self.assertEqual(self.read, [changed.record])
        left = without_part(after, parts_of(after)[0])
        self.assertEqual(self.read, [changed.record])
        self.assertIsInstance(left, MergedRegistration)

    def test_of_few_locators_nothing_is_kept(self) -> None:
        """Reading them is cheap, and nearly all that is merged is as small."""
        current = together(part(1, record(_EID, locator(_A))), part(2, record(_EID, locator(_B))))
        self.read.clear()
        with_part(current, part(3, record(_EID, locator(_C))))
        self.assertEqual(len(self.read), 3)

    @given(st.lists(st.tuples(st.integers(1, 6), st.integers(1, 3)), min_size=2, max_size=12))
    def test_it_is_as_if_all_had_been_read_anew(self, changes: list[tuple[int, int]]) -> None:
        """After any changes."""
        current: Registration | None = None
        for number, ttl in changes:
            current = with_part(current, self.many(number, ttl=ttl))
            parts = {one.lease.xtr: one for one in parts_of(current)}
            if len(parts) > 1:
                self.assertEqual(current.record, MergedRegistration(parts).record)


class LimitTests(SynchronousTestCase):
    """Beyond them one registration is refused, and nothing else happens."""

    def refused(self, current: Registration | None, one: Registration) -> str:
        """Return why."""
        before = parts_of(current)
        text = str(self.assertRaises(MergeError, with_part, current, one))
        self.assertEqual(parts_of(current), before)
        return text

    def test_so_many_parts(self) -> None:
        """Who is there may still change its own."""
        merged = together(*(part(number, record(_EID)) for number in range(MAX_PARTS)))
        one_more = part(MAX_PARTS, record(_EID))
        self.assertEqual(self.refused(merged, one_more), "too many to merge")
        changed = with_part(merged, part(0, record(_EID, locator(_C))))
        self.assertEqual(len(parts_of(changed)), MAX_PARTS)

    def test_so_many_octets_to_look_at(self) -> None:
        """Though the merged record would be small."""
        same = record(_EID, locator(lcaf(200, bytes(MAX_OCTETS // 4 - 30))))
        self.assertEqual(len(same), MAX_OCTETS // 4)
        merged = together(*(part(number, same) for number in range(4)))
        self.assertEqual(self.refused(merged, part(9, record(_EID))), "too much to merge")
        changed = with_part(merged, part(3, record(_EID)))
        self.assertIsInstance(with_part(changed, part(9, record(_EID))), MergedRegistration)

    def test_so_many_locators(self) -> None:
        """As the octet can count; an RLOC of two counts once."""
        many = [locator(f"192.0.2.{number}") for number in range(MAX_LOCATORS)]
        one = part(1, record(_EID, *many))
        self.assertEqual(len(with_part(one, part(2, record(_EID, many[7]))).decode().locators), 255)
        more = part(2, record(_EID, locator(_C)))
        self.assertEqual(self.refused(one, more), "too many locators to merge")

    def test_so_large_a_record(self) -> None:
        """One octet less fits."""
        head = len(record(_EID, locator(lcaf(200, b"")), locator(lcaf(201, b""))))
        for spare, fits in ((12, True), (11, False)):
            one = part(1, record(_EID, locator(lcaf(200, bytes(4000)))))
            other = part(
                2, record(_EID, locator(lcaf(201, bytes(MAX_RECORD - head - 4000 - spare))))
            )
            if fits:
                self.assertIsInstance(with_part(one, other), MergedRegistration)
            else:
                self.assertEqual(self.refused(one, other), "merged record too large")

    def test_what_is_left_always_fits(self) -> None:
        """Though its EID becomes an LCAF when the only plain one goes."""
        parts = [part(n, record(_EID, locator(f"192.0.2.{n}"), instance_id=0)) for n in (1, 2)]
        only_plain = part(3, record(_EID, locator(_A)))
        merged = together(only_plain, *parts)
        left = without_part(merged, only_plain)
        assert left is not None
        self.assertEqual((len(merged.record), len(left.record)), (40, 52))
        self.patch(merging, "MAX_RECORD", 52)
        left = without_part(together(only_plain, *parts), only_plain)
        self.assertIsInstance(left, MergedRegistration)
        self.patch(merging, "MAX_RECORD", 51)
        self.refused(only_plain, parts[1])

    def test_rlocs_that_cannot_be_read(self) -> None:
        """A name without an end within reach is no part from the start."""
        endless = record(_EID, locator(b"\0\x11" + b"n" * 300 + b"\0"))
        text = "RLOCs that can't be read to merge them"
        self.assertEqual(self.refused(None, part(1, endless)), text)
        self.assertEqual(self.refused(part(2, record(_EID)), part(1, endless)), text)
        without = part(1, endless, 0)
        self.assertIs(with_part(None, without), without)
