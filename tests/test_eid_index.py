"""The ordered index of one table's EID-prefixes."""

from __future__ import annotations

import random
from bisect import bisect_left, bisect_right, insort

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.mapping import eid_index, eid_range
from lispmsrt.mapping.database import Database, Lease, Registration, Xtr
from lispmsrt.mapping.eid_index import WIDTHS, EidIndex
from lispmsrt.mapping.eid_range import EidRange
from lispmsrt.mapping.sites import eid_key
from lispmsrt.wire.addresses import Afi, EidPrefix
from lispmsrt.wire.record_walk import prefix_key

_LEASE = Lease(Xtr("office", b"", b""), "UDP", "here", is_live=False)


def _key(text: str) -> int:
    return eid_key(EidPrefix.from_text(text))[3]


def _make_small(case: SynchronousTestCase, *, full: int) -> None:
    """Have ranges and leaves be full, cut and put together with a handful of prefixes."""
    for module, name, value in (
        (eid_index, "FULL", full),
        (eid_range, "FULL", full),
        (eid_index, "_BATCH", 4),
        (eid_index, "_FEW", 1),
        (eid_range, "_ROW", 4),
        (eid_range, "_SMALL", 4),
        (eid_range, "_FEW", 2),
    ):
        case.patch(module, name, value)


def _network(text: str) -> tuple[int, int]:
    """Return network and length."""
    _instance_id, afi, length, key = eid_key(EidPrefix.from_text(text))
    return (key ^ 1 << length) << WIDTHS[afi] - length, length


class NeighboursTests(SynchronousTestCase):
    """What stands beside a prefix."""

    def _neighbours(self, query: str, *texts: str) -> tuple[int, int, int]:
        _instance_id, afi, *_ = eid_key(EidPrefix.from_text(query))
        index = EidIndex(WIDTHS[afi], dict.fromkeys(map(_key, texts)))
        return index.neighbours(*_network(query))

    def test_nothing_has_no_neighbours(self) -> None:
        """And shares -1 bits, not even none."""
        self.assertEqual(self._neighbours("10.0.0.1/32"), (-1, -1, -1))
        self.assertEqual(self._neighbours("::/0"), (-1, -1, -1))

    def test_shared_bits_of_both_sides(self) -> None:
        """Those of the nearest only."""
        texts = ("10.0.0.0/24", "10.0.1.0/24", "10.0.8.0/24", "11.0.0.0/8")
        self.assertEqual(self._neighbours("10.0.2.0/32", *texts), (-1, 22, 20))
        self.assertEqual(self._neighbours("9.0.0.0/32", *texts), (-1, -1, 6))
        self.assertEqual(self._neighbours("128.0.0.0/1", *texts), (-1, 0, -1))

    def test_a_neighbour_that_covers_is_told_by_its_length(self) -> None:
        """Itself too; those around it are not neighbours. One inside shares all bits, or more."""
        texts = ("10.0.0.0/8", "10.1.0.0/16", "10.1.1.0/24")
        self.assertEqual(self._neighbours("10.1.0.9/32", *texts), (16, -1, 23))
        self.assertEqual(self._neighbours("10.1.0.0/16", *texts), (16, -1, 23))
        self.assertEqual(self._neighbours("10.1.2.0/32", *texts), (-1, 22, -1))
        self.assertEqual(self._neighbours("10.0.0.0/7", *texts), (-1, -1, 32))

    def test_every_family_that_has_prefixes(self) -> None:
        """Their widths differ, and how they are kept."""
        self.assertEqual(self._neighbours("2001:db8::1/128", "2001:db8::2/128"), (-1, -1, 126))
        self.assertEqual(self._neighbours("2001:db8::1/128", "::/0"), (0, -1, -1))
        mac, other = "02:00:00:00:00:ff/48", "02:00:00:00:00:fe/48"
        self.assertEqual(self._neighbours(mac, other), (-1, 47, -1))
        self.assertEqual(self._neighbours("ff:ff:ff:ff:ff:ff/48", "ff:ff:ff:ff:ff:ff/48")[0], 48)


class InsideTests(SynchronousTestCase):
    """What lies below a prefix."""

    def setUp(self) -> None:
        """Two networks side by side, one with others inside."""
        self.texts = ["10.0.0.0/8", "10.0.0.0/16", "10.0.0.0/24", "10.255.255.255/32", "11.0.0.0/9"]
        self.index = EidIndex(32, dict.fromkeys(map(_key, reversed(self.texts))))

    def _inside(self, text: str, limit: int) -> list[int] | None:
        return self.index.inside(*_network(text), limit)

    def test_longer_prefixes_in_order(self) -> None:
        """Not itself, not the next."""
        self.assertEqual(self._inside("10.0.0.0/8", 3), list(map(_key, self.texts[1:4])))
        self.assertEqual(self._inside("10.0.0.0/16", 3), [_key("10.0.0.0/24")])
        self.assertEqual(self._inside("10.0.0.0/24", 3), [])
        self.assertEqual(self._inside("10.255.255.255/32", 3), [])
        self.assertEqual(self._inside("0.0.0.0/0", 5), list(map(_key, self.texts)))

    def test_more_than_the_limit_are_not_listed(self) -> None:
        """Exactly as many are."""
        self.assertIsNone(self._inside("10.0.0.0/8", 2))
        self.assertIsNone(self._inside("0.0.0.0/0", 4))
        self.assertEqual(self._inside("10.0.0.0/24", 0), [])

    def test_over_the_edges_of_leaves_and_ranges(self) -> None:
        """They begin and end anywhere."""
        for networks in ("10.0.{}.0/24", "{}.0.0.0/16"):
            for all_in_one in (True, False):
                _make_small(self, full=100 if all_in_one else 2)
                keys = [_key(networks.format(number)) for number in range(9)]
                index = EidIndex(32, dict.fromkeys(reversed(keys)))
                around = _network(networks.format(0))[0]
                step = (keys[1] - keys[0]) << 33 - keys[0].bit_length()
                self.assertEqual(index.inside(0, 0, 9), keys)
                self.assertIsNone(index.inside(0, 0, 8))
                length = 32 - (8 * step - 1).bit_length()
                self.assertEqual(index.inside(around, length, 8), keys[:8])
                self.assertEqual(index.inside(around + 4 * step, length + 1, 8), keys[4:8])


class PagingTests(SynchronousTestCase):
    """All prefixes in order, a few at a time."""

    def setUp(self) -> None:
        """Networks in two ranges, one with others inside."""
        self.texts = ["0.0.0.0/0", "10.0.0.0/8", "10.0.0.0/16", "10.0.0.0/24", "11.0.0.0/9"]
        self.index = EidIndex(32, dict.fromkeys(map(_key, reversed(self.texts))))

    def _following(self, text: str, limit: int) -> list[int]:
        return self.index.following(_key(text), limit)

    def test_the_beginning_is_before_all(self) -> None:
        """The default route too."""
        self.assertEqual(self.index.following(0, 2), list(map(_key, self.texts[:2])))
        self.assertEqual(self.index.following(0, 9), list(map(_key, self.texts)))

    def test_those_after_a_prefix_that_is_there(self) -> None:
        """Not itself; what lies inside it comes first."""
        self.assertEqual(self._following("10.0.0.0/8", 2), list(map(_key, self.texts[2:4])))
        self.assertEqual(self._following("11.0.0.0/9", 2), [])

    def test_those_after_a_prefix_that_is_gone(self) -> None:
        """Its place in the order is still known."""
        self.assertEqual(self._following("10.0.0.0/12", 2), list(map(_key, self.texts[2:4])))
        self.assertEqual(self._following("10.9.0.0/16", 2), [_key("11.0.0.0/9")])
        self.assertEqual(self._following("255.0.0.0/8", 2), [])

    def test_never_more_than_the_limit(self) -> None:
        """Over the edges of leaves and ranges."""
        for networks in ("10.0.{}.0/24", "{}.0.0.0/16"):
            _make_small(self, full=2)
            keys = [_key(networks.format(number)) for number in range(50)]
            index = EidIndex(32, dict.fromkeys(reversed(keys)))
            for limit in (1, 3, 7, 100):
                found: list[int] = []
                while page := index.following(found[-1] if found else 0, limit):
                    self.assertLessEqual(len(page), limit)
                    found += page
                self.assertEqual(found, keys)

    def test_nothing_follows_in_an_empty_index(self) -> None:
        """Nor does asking for nothing find anything."""
        self.assertEqual(EidIndex(32, {}).following(0, 5), [])
        self.assertEqual(self.index.following(0, 0), [])


class FollowingTests(SynchronousTestCase):
    """The index of a table that changes."""

    def setUp(self) -> None:
        """A table, its index, and leaves and batches that are small enough to be passed."""
        _make_small(self, full=16)
        self.table = Database().table(0, Afi.IPV4)

    def _put(self, text: str) -> None:
        registration = Registration(b"", _LEASE, 0, 0.0, None)
        self.table.put(_network(text)[1], _key(text), registration)

    def _remove(self, text: str) -> None:
        self.table.remove(_network(text)[1], _key(text))

    def _all(self) -> list[int] | None:
        assert self.table.index is not None
        return self.table.index.inside(0, 0, 100_000)

    def _neighbours(self, network: int, length: int) -> tuple[int, int, int]:
        assert self.table.index is not None
        return self.table.index.neighbours(network, length)

    def test_puts_and_removals_are_seen(self) -> None:
        """Whatever is asked."""
        self._put("10.0.0.0/8")
        self.assertEqual(self._neighbours(*_network("10.0.0.0/8")), (8, -1, -1))
        self._put("10.0.0.0/9")
        self.assertEqual(self._all(), [_key("10.0.0.0/8"), _key("10.0.0.0/9")])
        self._remove("10.0.0.0/8")
        self.assertEqual(self._all(), [_key("10.0.0.0/9")])
        self._remove("10.0.0.0/9")
        self.assertEqual(self._neighbours(0, 0), (-1, -1, -1))

    def test_back_and_forth_between_two_questions(self) -> None:
        """What counts is how it is at the question."""
        self._put("10.0.0.0/8")
        self._remove("10.0.0.0/8")
        self.assertEqual(self._all(), [])
        self._put("10.0.0.0/8")
        self._remove("10.0.0.0/8")
        self._put("10.0.0.0/8")
        self.assertEqual(self._all(), [_key("10.0.0.0/8")])
        self._remove("10.0.0.0/8")
        self._put("10.0.0.0/8")
        self.assertEqual(self._all(), [_key("10.0.0.0/8")])

    def test_changes_told_without_their_kind(self) -> None:
        """Whoever has entries of its own need not say whether it was put or removed."""
        entries = dict.fromkeys([_key("10.0.0.0/8")])
        index = EidIndex(32, entries)
        del entries[_key("10.0.0.0/8")]
        index.note(_key("10.0.0.0/8"))
        entries[_key("11.0.0.0/8")] = None
        index.note(_key("11.0.0.0/8"))
        self.assertEqual(index.inside(0, 0, 9), [_key("11.0.0.0/8")])

    def test_one_question_after_each_change(self) -> None:
        """Leaves are cut and vanish, in any order."""
        texts = [f"10.0.{number}.0/24" for number in range(40)]
        chosen = random.Random(7)
        present: set[str] = set()
        for text in chosen.sample(texts, 40) + chosen.sample(texts, 40):
            if text in present:
                self._remove(text)
            else:
                self._put(text)
            present ^= {text}
            self.assertEqual(self._all(), sorted(map(_key, present)))
        self.assertEqual(self._all(), [])

    def test_the_neighbour_of_what_was_the_first_of_a_leaf(self) -> None:
        """It stands in the leaf before: what covers the query is not lost."""
        self._put("0.0.0.0/0")
        texts = [f"10.0.{number}.0/24" for number in range(20)]
        for text in texts:
            self._put(text)
        self._all()
        for text in texts:
            self._remove(text)
            covering, below, _above = self._neighbours(*_network(text))
            self.assertEqual((covering, below), (0, -1))

    def test_what_comes_before_all(self) -> None:
        """It has a leaf too, once the first one was emptied."""
        texts = [f"10.0.{number}.0/24" for number in range(20)]
        for text in texts:
            self._put(text)
            self._all()
        for text in texts[:10]:
            self._remove(text)
        self.assertEqual(self._all(), list(map(_key, texts[10:])))
        self.assertEqual(self._neighbours(0, 32), (-1, -1, 4))
        self._put("10.0.0.0/24")
        self.assertEqual(self._all(), [_key("10.0.0.0/24"), *map(_key, texts[10:])])

    def test_prefixes_that_are_shorter_than_what_tells_ranges_apart(self) -> None:
        """They are in the range of their network."""
        for number in range(30):
            self._put(f"{number}.0.0.0/8")
        for text in ("0.0.0.0/0", "0.0.0.0/1", "128.0.0.0/1", "16.0.0.0/4"):
            self._put(text)
        self.assertEqual(self._neighbours(*_network("200.0.0.0/32")), (1, -1, -1))
        self.assertEqual(self._neighbours(*_network("33.0.0.0/32")), (-1, 2, 0))
        self._remove("128.0.0.0/1")
        self.assertEqual(self._neighbours(*_network("200.0.0.0/32")), (-1, 0, -1))


Prefix = tuple[int, int]
"""Network, length."""


class Tried:
    """An index beside a sorted list."""

    def __init__(self, case: SynchronousTestCase, width: int) -> None:
        self._case = case
        self._width = width
        self._entries: dict[int, None] = {}
        self._index = EidIndex(width, self._entries)
        self.present: list[Prefix] = []

    def turn(self, prefix: Prefix) -> None:
        """Put it, or remove it if it is there."""
        network, length = prefix
        key = prefix_key(network, self._width, length)
        if key in self._entries:
            del self._entries[key]
            self._index.discard(key)
            self.present.remove(prefix)
        else:
            self._entries[key] = None
            self._index.enter(key)
            insort(self.present, prefix)

    def ask(self, query: Prefix, limit: int) -> None:
        """Compare both kinds of questions."""
        network, length = query
        at = bisect_right(self.present, query)
        above = self._shared(network, self.present[at][0]) if at < len(self.present) else -1
        covering = below = -1
        if at:
            other, shorter = self.present[at - 1]
            shared = self._shared(network, other)
            covering, below = (shorter, -1) if shared >= shorter else (-1, shared)
        found = self._index.neighbours(network, length)
        self._case.assertEqual(found, (covering, below, above), query)
        end = network + (1 << self._width - length)
        inside = self.present[at : bisect_left(self.present, (end, 0))]
        keys = [prefix_key(network, self._width, length) for network, length in inside]
        found_inside = self._index.inside(network, length, limit)
        self._case.assertEqual(found_inside, keys if len(keys) <= limit else None, query)
        after = [prefix_key(one, self._width, shorter) for one, shorter in self.present[at:]]
        key = prefix_key(network, self._width, length)
        self._case.assertEqual(self._index.following(key, limit), after[:limit], query)

    def _shared(self, one: int, other: int) -> int:
        return self._width - (one ^ other).bit_length()


def _shapes(width: int) -> st.SearchStrategy[Prefix]:
    """Anywhere, nested around one address, in one corner, or many lengths of one network."""
    lengths = st.integers(0, width)
    networks = st.one_of(
        st.integers(0, (1 << width) - 1),
        lengths.map(lambda bits: (1 << bits) - 1),
        st.integers(0, 200).map(lambda host: 10 << width - 8 | host),
    )

    def cut(network: int, length: int) -> Prefix:
        return network >> width - length << width - length, length

    return st.builds(cut, networks, st.one_of(lengths, st.just(width), st.just(width)))


class ModelTests(SynchronousTestCase):
    """Random changes in bulk, and questions between them, beside a sorted list."""

    @given(st.data())
    def test_finds_what_stands_in_a_sorted_list(self, data: st.DataObject) -> None:
        """All families; everything so small that it is full, cut and put together all the time."""
        width = data.draw(st.sampled_from(sorted(WIDTHS.values())))
        _make_small(self, full=data.draw(st.sampled_from((2, 8, 100))))
        tried = Tried(self, width)
        shapes = _shapes(width)
        for _step in range(data.draw(st.integers(1, 6))):
            for prefix in data.draw(st.lists(shapes, max_size=40)):
                tried.turn(prefix)
            share = data.draw(st.sampled_from((0, 0, 2, 1)))
            for prefix in tried.present[::share] if share else ():
                tried.turn(prefix)
            for query in data.draw(st.lists(shapes, max_size=4)) + tried.present[:2]:
                tried.ask(query, data.draw(st.sampled_from((0, 1, 5, 1000))))


class WorkTests(SynchronousTestCase):
    """Nobody waits long for an answer, whatever was registered before."""

    def setUp(self) -> None:
        """A leaf is full with 64 changes, and 32 Registrations are dealt together."""
        self.patch(eid_range, "FULL", 64)
        self.patch(eid_index, "FULL", 64)
        self.patch(eid_index, "_BATCH", 32)
        self.patch(eid_index, "_FEW", 2)
        self.patch(eid_range, "_ROW", 16)
        self.patch(eid_range, "_SMALL", 8)
        self.patch(eid_range, "_FEW", 2)
        self.sorted = 0
        settle, spread = EidRange._settle, EidRange.spread

        def settle_counting(one: EidRange, at: int, row: int) -> None:
            self.sorted += len(one.leaves[at])
            settle(one, at, row)

        def spread_counting(one: EidRange) -> None:
            self.sorted += len(one.entered)
            spread(one)

        self.patch(EidRange, "_settle", settle_counting)
        self.patch(EidRange, "spread", spread_counting)

    def _shape(self, name: str, count: int) -> list[Prefix]:
        chosen = random.Random(name)
        if name == "anywhere":
            return [(chosen.getrandbits(128), 128) for _number in range(count)]
        if name == "in order":
            return [(number << 64, 64) for number in range(count)]
        if name == "one network":
            return [(0x20010DB8 << 96 | host, 128) for host in chosen.sample(range(1 << 20), count)]
        clusters = [(1 << bits) - 1 for bits in range(24, 128)]
        return [(chosen.choice(clusters) ^ number, 128) for number in range(count)]

    def test_a_question_sorts_few_of_many(self) -> None:
        """However they are spread: it looks at some leaves, none of them much larger than full."""
        for name in ("anywhere", "in order", "one network", "nested"):
            entries: dict[int, None] = {}
            index = EidIndex(128, entries)
            prefixes = self._shape(name, 6000)
            for network, length in prefixes:
                key = prefix_key(network, 128, length)
                if key not in entries:
                    entries[key] = None
                    index.enter(key)
            for network, length in random.Random(1).sample(prefixes, 300):
                self.sorted = 0
                index.neighbours(network, length)
                index.inside(network >> 32 << 32, 96, 3)
                index.following(prefix_key(network >> 32 << 32, 128, 96), 3)
                self.assertLess(self.sorted, 8 * 64, name)

    def test_a_question_meets_few_leaves_of_what_is_gone(self) -> None:
        """All were removed without a question: the next one has not to find that out."""
        entries: dict[int, None] = {}
        index = EidIndex(128, entries)
        keys = [prefix_key(*self._widened(prefix)) for prefix in self._shape("anywhere", 6000)]
        for key in keys:
            entries[key] = None
            index.enter(key)
        for key in keys[1:]:
            del entries[key]
            index.discard(key)
        self.sorted = 0
        self.assertEqual(index.neighbours(0, 0)[:2], (-1, -1))
        self.assertEqual(index.inside(0, 0, 5), keys[:1])
        self.assertLess(self.sorted, 8 * 64)

    def _widened(self, prefix: Prefix) -> tuple[int, int, int]:
        network, length = prefix
        return network, 128, length

    def test_a_leaf_that_nobody_asks_about_is_sorted_in_time(self) -> None:
        """Although a question elsewhere follows every change of it."""
        entries = dict.fromkeys(prefix_key(0xFF << 24 | host, 32, 32) for host in range(500))
        index = EidIndex(32, entries)
        index.inside(0, 0, 1000)
        for host in range(1000, 2000):
            key = prefix_key(0xFF << 24 | host, 32, 32)
            entries[key] = None
            index.enter(key)
            self.sorted = 0
            if host >= 1030:
                index.neighbours(0xFF << 24, 32)
            self.assertLess(self.sorted, 8 * 64)
        self.sorted = 0
        index.neighbours(0xFF << 24 | 1999, 32)
        self.assertLess(self.sorted, 8 * 64)
