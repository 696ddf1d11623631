"""The compiled twin of a dict of EID-prefixes and of their order, beside the Python and beside a
dict.
"""

from __future__ import annotations

import gc
import sys
from unittest import SkipTest

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.compiled import twin
from lispmsrt.mapping import eid_entries
from lispmsrt.mapping.eid_index import WIDTHS, EidIndex
from lispmsrt.wire.afi import Afi
from lispmsrt.wire.record_walk import prefix_key

_compiled = twin("lispmsrt.mapping._eid_entries")

Prefix = tuple[int, int]
"""Network, length."""


class CompiledTestCase(SynchronousTestCase):
    """Tests of what was compiled."""

    def setUp(self) -> None:
        """Skip where it was not."""
        if _compiled is None:
            raise SkipTest("nothing was compiled")


def _prefixes(width: int) -> st.SearchStrategy[Prefix]:
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


class _Tried:
    """The twins beside a dict and an index over it."""

    def __init__(self, case: SynchronousTestCase, width: int, most: int) -> None:
        assert _compiled is not None
        self._case = case
        self._width = width
        self.kept: dict[int, object] = {}
        self._index = EidIndex(width, self.kept)
        self._entries = _compiled.EidEntries(width, most)
        self._order = _compiled.EidIndex(width, self.kept, most)

    def turn(self, prefix: Prefix) -> None:
        """Put it, or remove it if it is there."""
        network, length = prefix
        key = prefix_key(network, self._width, length)
        if key in self.kept:
            self._case.assertIs(self._entries.pop(key), self.kept.pop(key))
        else:
            self.kept[key] = self._entries[key] = object()
        self._index.note(key)
        self._order.note(key)

    def replace(self, key: int) -> None:
        """Keep something else of it."""
        self.kept[key] = self._entries[key] = object()

    def ask(self, query: Prefix, limit: int) -> None:
        """Compare all questions."""
        network, length = query
        key = prefix_key(network, self._width, length)
        equal = self._case.assertEqual
        equal(self._entries.get(key), self.kept.get(key))
        for one in (self._entries, self._order):
            equal(key in one, key in self.kept)
            equal(one.neighbours(*query), self._index.neighbours(*query))
            equal(one.inside(*query, limit), self._index.inside(*query, limit))
            equal(one.following(key, limit), self._index.following(key, limit))

    def compare(self) -> None:
        """Compare everything that there is."""
        equal = self._case.assertEqual
        equal(len(self._entries), len(self.kept))
        equal(len(self._order), len(self.kept))
        in_order = self._index.following(0, len(self.kept) + 1)
        equal(list(self._entries), in_order)
        equal(self._order.following(0, len(self.kept) + 1), in_order)
        equal(list(self._entries.keys()), in_order)
        equal(list(self._entries.values()), [self.kept[key] for key in in_order])
        equal(dict(self._entries.items()), self.kept)


class ParityTests(CompiledTestCase):
    """What is compiled says what Python says."""

    @given(st.data())
    def test_random_changes_and_questions(self, data: st.DataObject) -> None:
        """All families; leaves so small that they are cut and joined all the time."""
        width = data.draw(st.sampled_from(sorted(WIDTHS.values())))
        tried = _Tried(self, width, data.draw(st.sampled_from((4, 5, 16, 256))))
        shapes = _prefixes(width)
        for _step in range(data.draw(st.integers(1, 5))):
            for prefix in data.draw(st.lists(shapes, max_size=40)):
                tried.turn(prefix)
            present = sorted(tried.kept)
            share = data.draw(st.sampled_from((0, 0, 2, 1)))
            for key in present[::share] if share else ():
                length = key.bit_length() - 1
                tried.turn(((key ^ 1 << length) << width - length, length))
            for key in list(tried.kept)[:3]:
                tried.replace(key)
            for query in data.draw(st.lists(shapes, max_size=4)):
                tried.ask(query, data.draw(st.sampled_from((0, 1, 5, 1000))))
            tried.compare()

    def test_thousands_in_order_and_back(self) -> None:
        """They come as an ETR lists them, and go in another order."""
        for width in sorted(WIDTHS.values()):
            tried = _Tried(self, width, 16)
            prefixes = [(number << width - 24, 24) for number in range(3000)]
            for prefix in prefixes:
                tried.turn(prefix)
            tried.ask((0, 0), 5000)
            for prefix in prefixes[::2] + prefixes[-1::-2]:
                tried.turn(prefix)
            tried.compare()
            self.assertEqual(tried.kept, {})


class EntriesTests(CompiledTestCase):
    """The twin of a dict."""

    def setUp(self) -> None:
        """Networks of IPv4."""
        super().setUp()
        assert _compiled is not None
        self.entries = _compiled.EidEntries(32)

    def test_what_is_no_key_of_the_family(self) -> None:
        """It is not there, and can't be."""
        for key in (0, -1, 1 << 33, 1 << 64, 1 << 200, -(1 << 80)):
            self.assertNotIn(key, self.entries)
            self.assertIsNone(self.entries.get(key))
            with self.assertRaises(ValueError):
                self.entries[key] = None
            for take in (self.entries.pop, self.entries.__getitem__, self.entries.__delitem__):
                self.assertRaises(KeyError, take, key)
        with self.assertRaises(TypeError):
            self.entries.get("10.0.0.0/8")
        self.assertEqual(len(self.entries), 0)

    def test_a_family_that_has_no_order(self) -> None:
        """Numbers are for addresses of known sizes."""
        assert _compiled is not None
        for width in (0, 49, 64, 129):
            self.assertRaises(ValueError, _compiled.EidEntries, width)

    def test_changes_while_it_is_read(self) -> None:
        """What was there all the time is read once."""
        for number in range(1000):
            self.entries[1 << 24 | number << 2] = number
        found = []
        for key in self.entries:
            found.append(key)
            self.entries[key | 1] = 0
            if len(found) == 1:
                del self.entries[1 << 24 | 999 << 2]
        kept = [1 << 24 | number << 2 for number in range(999)]
        self.assertEqual([key for key in found if key & 3 == 0], kept)
        self.assertEqual(found, sorted(set(found)))

    def test_nothing_is_kept_too_long_or_too_short(self) -> None:
        """As many references as places."""
        one = object()
        before = sys.getrefcount(one)
        self.entries[1 << 24] = one
        self.entries[1 << 24] = one
        self.entries[1 << 24 | 7] = one
        self.assertEqual(sys.getrefcount(one), before + 2)
        self.entries[1 << 24] = None
        self.assertEqual(sys.getrefcount(one), before + 1)
        del self.entries[1 << 24 | 7]
        self.assertEqual(sys.getrefcount(one), before)
        self.entries[1 << 24] = one
        del self.entries
        gc.collect()
        self.assertEqual(sys.getrefcount(one), before)


class ChoiceTests(SynchronousTestCase):
    """Which of the two it is."""

    def _works(self, afi: Afi) -> None:
        entries, index = eid_entries.eid_entries(afi, str)
        entries[1 << 24] = "one"
        if index is not None:
            index.enter_all([1 << 24])
            self.assertEqual(index.following(0, 2), [1 << 24])
        self.assertEqual(list(entries.items()), [(1 << 24, "one")])
        self.assertEqual(index is None, afi == Afi.NAME)

    def test_each_family_with_and_without_what_is_compiled(self) -> None:
        """Both do."""
        for afi in (Afi.IPV4, Afi.IPV6, Afi.MAC, Afi.NAME):
            self._works(afi)
        self.patch(eid_entries, "_compiled", None)
        for afi in (Afi.IPV4, Afi.IPV6, Afi.MAC, Afi.NAME):
            self._works(afi)
        self.assertIsInstance(eid_entries.eid_order(Afi.IPV4, {}), EidIndex)
