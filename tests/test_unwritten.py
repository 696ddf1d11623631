"""Tests for lispmsrt.storage.unwritten."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.mapping.database import EidTable
from lispmsrt.storage.unwritten import Unwritten
from lispmsrt.wire.afi import Afi

_PRIME = (1 << 61) - 1
"""Numbers have their remainder by it for hash."""


class Counted(int):
    """A prefix key that counts how often it is compared."""

    comparisons = 0

    __hash__ = int.__hash__

    def __eq__(self, other: object) -> bool:
        Counted.comparisons += 1
        return int(self) == other


class UnwrittenTests(SynchronousTestCase):
    """Names that wait."""

    def test_names_come_in_the_order_in_which_they_changed_first(self) -> None:
        """Each once, and as they were given, of every family."""
        tables = [EidTable(0, afi) for afi in (Afi.IPV4, Afi.IPV6, Afi.MAC, Afi.NAME)]
        names = [(table, key) for key in (1 << 32, 3 << 30) for table in tables]
        unwritten = Unwritten()
        for name in [*names, *reversed(names)]:
            unwritten.add(name)
        self.assertEqual(list(unwritten.take(3)), names[:3])
        self.assertTrue(all(unwritten.has(name) for name in names))
        unwritten.done()
        self.assertEqual([unwritten.has(name) for name in names[:4]], [False] * 3 + [True])
        self.assertEqual(list(unwritten.take(100)), names[3:])

    def test_what_could_not_be_written_comes_first_next_time(self) -> None:
        """And only once, though it has changed again."""
        table, unwritten = EidTable(0, Afi.IPV6), Unwritten()
        for key in (5, 6, 7):
            unwritten.add((table, key))
        unwritten.take(2)
        unwritten.add((table, 6))
        unwritten.failed()
        self.assertEqual([key for _table, key in unwritten.take(100)], [5, 6, 7])

    def test_numbers_of_one_hash_are_not_compared(self) -> None:
        """A peer may choose them."""
        table, unwritten, before = EidTable(0, Afi.IPV6), Unwritten(), Counted.comparisons
        for number in range(500):
            unwritten.add((table, Counted((1 << 128) + number * _PRIME)))
        self.assertEqual(len(unwritten), 500)
        self.assertEqual(Counted.comparisons, before)
