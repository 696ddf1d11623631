"""Registered EID-prefixes in order of (instance ID, family, prefix), from any position on, a
bounded number of them at a time: nobody may walk a million at one go.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from lispmsrt.mapping.database import Database, EidTable, Registration
from lispmsrt.mapping.eid_index import WIDTHS
from lispmsrt.views.cursors import Position
from lispmsrt.views.name_order import NameOrder
from lispmsrt.wire.addresses import Afi

__all__ = ["MAX_LOOKED_AT", "Entry", "Range", "Walk", "is_inside", "merged_ranges", "place"]

MAX_LOOKED_AT = 5_000
"""Registrations, and empty tables, that are looked at for one page: some 5 ms where a filter leaves
few of them.
"""

_LENGTHS_LIKE_ONE = 8
"""Prefix lengths of which it takes as long to look for what covers an EID as for one registration
to be looked at.
"""

_AT_ONCE = 256
"""Prefixes that are asked of the index at once."""


class Entry(NamedTuple):
    """A registration and where it is found."""

    position: Position
    table: EidTable
    key: int
    registration: Registration


class Range(NamedTuple):
    """The EID-prefixes inside one of them, itself too; those that cover it where asked for."""

    instance_id: int
    afi: int
    length: int
    key: int
    with_covering: bool = False


class Walk:
    """One way through the database. After it was gone, :attr:`position` says where to go on, None
    at the end.
    """

    def __init__(
        self, database: Database, names: NameOrder, ranges: Sequence[Range], after: Position
    ) -> None:
        """``ranges`` are in order, and none lies inside another."""
        self.position: Position | None = after
        self.left = MAX_LOOKED_AT
        "how many more may be looked at"
        self._tables = database.tables
        self._names = names
        self._ranges = ranges

    def entries(self) -> Iterator[Entry]:
        """Yield what follows; the database must not change meanwhile. Whoever stops early knows
        the position of the last one that counts.
        """
        after = self.position
        assert after is not None
        first = max(0, bisect_right(self._ranges, place(*after[:3]), key=_place_of) - 1)
        for at in range(first, len(self._ranges)):
            one = self._ranges[at]
            if one[:2] < after[:2] or _is_behind(one, after):
                continue
            table = self._tables.get(one[:2])
            start = after if after[:2] == one[:2] else Position(*one[:2], 0)
            for position, key in self._keys(table, one, start) if table is not None else ():
                assert table is not None
                self.position = position
                self.left -= 1
                registration = table.entries.get(key)
                if registration is not None:
                    yield Entry(position, table, key, registration)
                if self.left <= 0:
                    return
            self.left -= 1 + (one.length // _LENGTHS_LIKE_ONE if one.with_covering else 0)
            if self.left <= 0 and at + 1 < len(self._ranges):
                self.position = _between(one, self._ranges[at + 1])
                return
        self.position = None

    def _keys(self, table: EidTable, one: Range, after: Position) -> Iterator[tuple[Position, int]]:
        if table.afi == Afi.NAME:
            return self._names_of(table, one, after)
        return self._prefixes_of(table, one, after)

    def _names_of(
        self, table: EidTable, one: Range, after: Position
    ) -> Iterator[tuple[Position, int]]:
        """Some of them may be there no more."""
        if one.length:  # a single name: they match whole
            if one.key in table.entries and one.key > after.key:
                yield Position(*one[:2], one.key), one.key
            return
        # As many as may be looked at: few are put in order anew for each call.
        while names := self._names.following(table, after, max(1, self.left + 1)):
            yield from names
            after = names[-1][0]

    def _prefixes_of(
        self, table: EidTable, one: Range, after: Position
    ) -> Iterator[tuple[Position, int]]:
        entries, index, length = table.entries, table.index, one.length
        assert index is not None
        last = _number(table.afi, after.key)
        lengths = range(length + 1) if one.with_covering else (length,)
        for shorter in lengths:
            key = one.key >> length - shorter
            if key in entries and _number(table.afi, key) > last:
                yield Position(*one[:2], key), key
        key = max(after.key, one.key, key=lambda key: _number(table.afi, key))
        while keys := index.following(key, min(_AT_ONCE, max(1, self.left + 1))):
            for key in keys:
                if not is_inside(key, one.key):
                    return
                yield Position(*one[:2], key), key


def is_inside(key: int, outer: int) -> bool:
    """Whether one prefix key is that of a prefix inside another's, or the same."""
    above = key.bit_length() - outer.bit_length()
    return above >= 0 and key >> above == outer


def place(instance_id: int, afi: int, key: int) -> tuple[int, int, int, int]:
    """Return what EID-prefixes are in order by."""
    return instance_id, afi, *_pair(afi, key)


def merged_ranges(ranges: Sequence[Range]) -> list[Range]:
    """Return ranges in order, without those that lie inside another."""
    found: list[Range] = []
    for one in sorted(ranges, key=_place_of):
        is_known = bool(found) and found[-1][:2] == one[:2] and one.afi in WIDTHS
        if not (is_known and is_inside(one.key, found[-1].key)):
            found.append(one)
    return found


def _place_of(one: Range) -> tuple[int, int, int, int]:
    # What covers it comes before.
    return place(one.instance_id, one.afi, 0 if one.with_covering else one.key)


def _pair(afi: int, key: int) -> tuple[int, int]:
    """Return network and prefix length as they are in order; of a name its key."""
    width = WIDTHS.get(afi)
    if width is None or not key:
        return key, 0
    length = key.bit_length() - 1
    return key << width - length, length


def _number(afi: int, key: int) -> int:
    """Return the same as one number, below which is what comes before; 0 is before all."""
    place, length = _pair(afi, key)
    return place << 8 | length


def _is_behind(one: Range, after: Position) -> bool:
    """Whether a position is after all of a range."""
    if one[:2] != after[:2] or (one.afi == Afi.NAME and not one.length):
        return False
    return _number(one.afi, after.key) >= _number(one.afi, _last_key(one))


def _between(one: Range, following: Range) -> Position:
    """Return a position after all of a range and before all of the next."""
    if one[:2] != following[:2]:
        return Position(*following[:2], 0)
    return Position(*one[:2], _last_key(one))


def _last_key(one: Range) -> int:
    """Return the key of the last prefix that there can be in a range; a name has nothing inside."""
    width = WIDTHS.get(one.afi)
    return one.key if width is None else (one.key + 1 << width - one.length) - 1
