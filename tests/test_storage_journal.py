"""Segments of the journal, where each EID-prefix stands in it, and how it is kept short."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import product
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.mapping.database import Database, EidTable, Lease, Registration, Xtr
from lispmsrt.storage.index import Index, Rows
from lispmsrt.storage.renewal import Renewal
from lispmsrt.storage.segments import parts_between, read_names, read_sizes, write_segment
from lispmsrt.storage.unwritten import Unwritten
from lispmsrt.wire.afi import Afi

_LEASE = Lease(Xtr("campus", b"", b"1234"), "UDP", "", is_live=False)


def _registration(record: bytes = b"record", since: float = 5.0) -> Registration:
    return Registration(record, _LEASE, 9, since, None)


def _key(length: int) -> st.SearchStrategy[int]:
    return st.integers(0, length).flatmap(lambda bits: st.integers(1 << bits, (2 << bits) - 1))


class SegmentTests(SynchronousTestCase):
    """Rows, there and back."""

    def test_what_is_registered_and_what_is_not(self) -> None:
        """One without a registration has no octets."""
        table = EidTable(7, Afi.IPV4)
        table.entries[5] = _registration(b"five")
        segment = write_segment(table, [5, 6], lambda lease: 3, 100.0)
        self.assertEqual((segment.family >> 16, segment.family & 0xFFFF), (7, Afi.IPV4))
        self.assertTrue(segment.is_sound())
        sizes = read_sizes(segment.rows, segment.sizes)
        self.assertEqual(sizes[1], 0)
        self.assertEqual(parts_between(segment.parts, 0, sizes[0]), [(3, 9, 105.0, b"five")])
        self.assertEqual(list(read_names(Afi.IPV4, 2, segment.names)), [5, 6])

    @given(st.lists(_key(32)), st.lists(_key(128)), st.lists(_key(48)), st.lists(_key(8 * 255)))
    def test_names_of_every_family(
        self, ipv4: list[int], ipv6: list[int], mac: list[int], name: list[int]
    ) -> None:
        """With as many bits as there are."""
        for afi, keys in (
            (Afi.IPV4, ipv4),
            (Afi.IPV6, ipv6),
            (Afi.MAC, mac),
            (Afi.NAME, name),
        ):
            segment = write_segment(EidTable(0, afi), keys, lambda lease: 1, 0.0)
            self.assertEqual(list(read_names(afi, segment.rows, segment.names)), keys)

    def test_an_octet_that_was_changed_is_found(self) -> None:
        """Wherever it is."""
        table = EidTable(0, Afi.IPV4)
        table.entries[5] = _registration()
        segment = write_segment(table, [5], lambda lease: 3, 0.0)
        for column in ("names", "sizes", "parts"):
            data = bytearray(getattr(segment, column))
            data[0] ^= 1
            self.assertFalse(segment._replace(**{column: bytes(data)}).is_sound())

    def test_columns_that_do_not_fit_each_other(self) -> None:
        """An error that who reads them expects."""
        for afi in (Afi.IPV4, Afi.IPV6, Afi.NAME):
            self.assertRaises(struct.error, read_names, afi, 2, bytes(3))
        self.assertRaises(struct.error, read_sizes, 2, bytes(7))
        self.assertIsNone(parts_between(bytes(100), 0, 20))
        self.assertIsNone(parts_between(bytes(5), 0, 5))


class IndexTests(SynchronousTestCase):
    """Where the newest row of an EID-prefix is."""

    @given(
        st.sampled_from((Afi.IPV4, Afi.IPV6, Afi.NAME)),
        st.lists(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 1)))),
        st.integers(1, 9),
        st.booleans(),
    )
    def test_the_newest_row_counts(
        self, afi: Afi, segments: list[list[tuple[int, int]]], asked: int, is_pure: bool
    ) -> None:
        """And it is found once, by whoever asks first."""
        index = _index(is_pure)
        newest: dict[int, tuple[int, int]] = {}
        for number, rows in enumerate(segments):
            index.add(number, afi, *_columns(afi, rows))
            for at, (key, size) in enumerate(rows):
                newest[key] = number, at
                if not size:
                    del newest[key]
        found = index.take(afi, asked)
        expected = newest.pop(asked, None)
        self.assertEqual(found and (found[0].number, found[1]), expected)
        self.assertIsNone(index.take(afi, asked))
        self.assertIsNone(index.take(7 << 16 | afi, asked))
        rest: dict[int, tuple[int, int]] = {}
        for place in index.places:
            keys = [key for key, _ in segments[place.number]]
            rest |= {key: (place.number, at) for key, at in index.take_all(place, afi, keys)}
        self.assertEqual(rest, newest)
        self.assertEqual(len(index), 0)

    def test_of_many(self) -> None:
        """As the table grows, and names are outdated, gone and back."""
        random = Random(5)
        kinds = ((Afi.IPV4, 32), (Afi.MAC, 48), (Afi.IPV6, 128))
        for (afi, length), is_pure in product(kinds, (False, True)):
            index = _index(is_pure)
            newest: dict[int, tuple[int, int]] = {}
            segments: list[list[int]] = []
            # Half of them differ in the first bits only, half in the last.
            networks = [1 << length | n << random.choice((0, length - 12)) for n in range(4096)]
            for number in range(40):
                rows = [(random.choice(networks), random.randrange(4)) for _ in range(500)]
                index.add(number, afi, *_columns(afi, rows))
                segments.append([key for key, _size in rows])
                for at, (key, size) in enumerate(rows):
                    newest[key] = number, at
                    if not size:
                        del newest[key]
            self.assertEqual(len(index), len(newest))
            for place in index.places[::2]:
                found = index.take_all(place, afi, segments[place.number])
                here = {key: at for key, (number, at) in newest.items() if number == place.number}
                self.assertEqual(dict(found), here)
                for key in here:
                    del newest[key]
            for key in networks:
                found = index.take(afi, key)
                self.assertEqual(found and (found[0].number, found[1]), newest.get(key))
                newest.pop(key, None)

    def test_columns_that_do_not_fit_each_other(self) -> None:
        """An error, and nothing has changed."""
        for afi, is_pure in product((Afi.IPV4, Afi.IPV6, Afi.NAME), (False, True)):
            index = _index(is_pure)
            count, names, sizes = _columns(afi, [(5, 1), (6, 1)])
            index.add(1, afi, count, names, sizes)
            for wrong in ((3, names, sizes), (1, names[:7], sizes), (count, names, sizes[1:])):
                self.assertRaises(struct.error, index.add, 2, afi, *wrong)
            self.assertEqual([place.number for place in index.places], [1])
            self.assertEqual(index.take(afi, 6), (index.places[0], 1))
            self.assertEqual(len(index), 1)


def _index(is_pure: bool) -> Index:
    """Return one that makes its tables compiled, if that is possible and it is not to be pure."""
    return Index(Rows) if is_pure else Index()


def _columns(afi: Afi, rows: Sequence[tuple[int, int]]) -> tuple[int, bytes, bytes]:
    """Return how many rows there are, their names and their sizes as a segment has them."""
    table = EidTable(0, afi)
    segment = write_segment(table, [key for key, _ in rows], lambda lease: 1, 0.0)
    sizes = struct.pack(f"!{len(rows)}I", *[size for _, size in rows])
    return len(rows), segment.names, sizes


class RenewalTests(SynchronousTestCase):
    """A journal does not grow for ever."""

    def test_what_is_old_goes_when_all_of_it_was_written_again(self) -> None:
        """And not before: whenever the process is killed, everything is in the file."""
        database, unwritten = Database(), Unwritten()
        table = database.table(0, Afi.IPV4)
        for number in range(12_000):
            table.entries[1 << 32 | number] = _registration()
        renewal = Renewal(database, unwritten)
        file: dict[int, Sequence[int]] = {}
        removed = 0
        for turn in range(300):
            # One EID-prefix changes all the time.
            unwritten.add((table, 1 << 32 | turn % 7))
            if not turn:
                for key in table.entries:
                    unwritten.add((table, key))
            keys = [key for _table, key in unwritten.take(5000)]
            file[renewal.next] = keys
            renewal.next += 1
            first = renewal.written(1, len(keys))
            unwritten.done()
            if first is not None:
                removed += 1
                for number in [number for number in file if number < first]:
                    del file[number]
            if turn > 3:
                self.assertEqual(
                    {key for keys in file.values() for key in keys}, set(table.entries)
                )
            for _rows in range(40):
                renewal.written(1, 0)
            renewal.look()
        self.assertGreater(removed, 1)
        self.assertLess(len(file), 300)

    def test_what_comes_before_the_first_look_is_written_again_too(self) -> None:
        """Tables are restored after it was said that everything is to be written anew."""
        database, unwritten = Database(), Unwritten()
        renewal = Renewal(database, unwritten)
        renewal.found(1, 1)
        renewal.begin_again()
        table = database.table(0, Afi.IPV6)
        table.entries[1 << 128 | 7] = _registration()
        renewal.look()
        self.assertEqual(list(unwritten.take(10)), [(table, 1 << 128 | 7)])
        self.assertEqual(renewal.written(1, 1), 2)
