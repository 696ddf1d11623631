"""EID-prefixes of one (instance ID, family) in order: what stands beside a query decides how large
the hole around it is, and whether anything lies below a prefix.

The order is that of the network addresses, of equal ones the shorter prefix first: everything
inside a prefix follows it at once. Of names nothing is kept here: they match whole.

No question waits until all prefixes are sorted, which takes more than a second for a million: as
they come they are told apart by their leading bits, and the few are sorted that a question is
about (:mod:`lispmsrt.mapping.eid_range`). One of the few files that look fast rather than plain.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Mapping

from lispmsrt.mapping.eid_range import FULL, LENGTH_BITS, EidRange, keys_of
from lispmsrt.wire.afi import Afi

__all__ = ["WIDTHS", "EidIndex"]

WIDTHS: dict[int, int] = {Afi.IPV4: 32, Afi.IPV6: 128, Afi.MAC: 48}
"""Bits of an address, of the families whose prefixes have an order."""

_LENGTH_MASK = (1 << LENGTH_BITS) - 1

_LEADING_BITS = 8
"""So many leading bits tell prefixes apart, once there are many. How they are spread makes little
difference: a range with many more than others has more leaves.
"""

_BATCH = 4096
"""New prefixes that are given to their ranges together, in some 0.5 ms: this takes half as long as
one by one.
"""

_FEW = 32
"""This many are put in order at once: they came since the last question, and the next is near."""

_NOTHING = EidRange(0, {})
"A range that stays empty."


class EidIndex:
    """The prefixes of a table.

    ``entries`` has the prefix keys (:func:`lispmsrt.wire.record_walk.prefix_key`). It may change if
    each change is told: by :meth:`enter` and :meth:`discard`, or by :meth:`note` where it is
    either. Its compiled twin is had from :func:`lispmsrt.mapping.eid_entries.eid_order`.
    """

    __slots__ = (
        "_entered",
        "_entries",
        "_leading",
        "_order",
        "_ranges",
        "_shift",
        "_takes",
        "_width",
    )

    def __init__(self, width: int, entries: Mapping[int, object]) -> None:
        self._width = width
        self._entries = entries
        self._leading = 0
        "how many leading bits tell ranges apart; none as long as prefixes are few"
        self._shift = width + LENGTH_BITS
        "by how much a number is shifted to get them, and the set bit"
        self._ranges: dict[int, EidRange] = {}
        "by their leading bits, behind a set one"
        self._order: list[int] = []
        "the same leading bits, in order"
        self._takes: dict[int, Callable[[int], None]] = {}
        "what each range takes new numbers by"
        self._entered = list(entries)
        "new ones that no range has yet"

    def enter(self, key: int) -> None:
        """Take a prefix that is new in ``entries``: every Registration passes here."""
        self._entered.append(key)
        if len(self._entered) >= _BATCH:
            self._deal_batch()

    def enter_all(self, keys: Iterable[int]) -> None:
        """Take prefixes that are new in ``entries``: all that it has now and had not before."""
        self._entered += keys
        if len(self._entered) >= _BATCH:
            self._deal_batch()

    def discard(self, key: int) -> None:
        """Take a prefix that is in ``entries`` no more."""
        if self._entered:
            self._deal()
        self._range_of(key).discard(key)

    def note(self, key: int) -> None:
        """Take a prefix that was put or removed."""
        if key in self._entries:
            self.enter(key)
        else:
            self.discard(key)

    def neighbours(self, network: int, length: int) -> tuple[int, int, int]:
        """Return three numbers of bits, -1 for none: the length of the prefix below or at the query
        where that covers it; else how many bits the query shares with it; how many with the prefix
        above.

        The prefix above lies inside the query if it shares at least all its bits; otherwise none
        does.
        """
        if self._entered:
            self._deal()
        width = self._width
        place = network | 1 << width
        number = place << LENGTH_BITS | length
        one = self._ranges.get(number >> self._shift, _NOTHING)
        leaf = one.leaves[bisect_right(one.starts, number) - 1]
        ordered = leaf.ordered
        at = bisect_right(ordered, number)
        if leaf.news or one.entered or not 0 < at < len(ordered):
            below, above = self._around(number)
        else:
            below, above = ordered[at - 1], ordered[at]
        # 0 is none: it lacks the set bit, and so shares -1 bits with every address.
        shared_above = width - (above >> LENGTH_BITS ^ place).bit_length()
        shared_below = width - (below >> LENGTH_BITS ^ place).bit_length()
        below_length = below & _LENGTH_MASK
        if shared_below >= below_length:
            return below_length, -1, shared_above
        return -1, shared_below, shared_above

    def inside(self, network: int, length: int, limit: int) -> list[int] | None:
        """Return the keys of every longer prefix inside this one, in order; None for more than
        ``limit`` of them.
        """
        if self._entered:
            self._deal()
        place = network | 1 << self._width
        number = place << LENGTH_BITS | length
        end = place + (1 << self._width - length) << LENGTH_BITS
        order, shift = self._order, self._shift
        found: list[int] = []
        first = bisect_left(order, number >> shift)
        for leading in order[first : bisect_right(order, end - 1 >> shift)]:
            found += self._ranges[leading].between(number, end, limit - len(found))
            if len(found) > limit:
                return None
        return keys_of(found, self._width + LENGTH_BITS)

    def following(self, key: int, limit: int) -> list[int]:
        """Return the keys of the next ``limit`` prefixes in order, after that of this key, which
        need not be there; 0 stands before all.
        """
        if self._entered:
            self._deal()
        top = self._width + LENGTH_BITS
        length = key.bit_length() - 1
        number = key << top - length | length if key else 0
        order, end = self._order, 2 << top
        found: list[int] = []
        at = bisect_left(order, number >> self._shift)
        while at < len(order) and len(found) < limit:
            found += self._ranges[order[at]].between(number, end, limit - len(found) - 1)
            at += 1
        return keys_of(found[:limit], top)

    def _around(self, number: int) -> tuple[int, int]:
        """Return the last number up to this one and the first above it, 0 for none."""
        order, leading = self._order, number >> self._shift
        below = above = 0
        first = bisect_right(order, leading)
        for at in range(first - 1, -1, -1):
            below, next_one = self._ranges[order[at]].around(number)
            above = above or next_one
            if below:
                break
        while not above and first < len(order):
            above = self._ranges[order[first]].around(number)[1]
            first += 1
        return below, above

    def _deal_batch(self) -> None:
        self._deal()
        # One: so none grows much larger, and nobody waits for all even if many are full.
        fullest = max(self._ranges.values(), key=_count_entered)
        if len(fullest.entered) >= FULL:
            fullest.spread()

    def _deal(self) -> None:
        """Give the ranges what was entered."""
        if not self._leading and len(self._entries) > FULL:
            self._leading = _LEADING_BITS
            self._shift -= _LEADING_BITS
            self._ranges, self._order, self._takes = {}, [], {}
            self._entered = list(self._entries)
        if len(self._entered) <= _FEW:
            for key in self._entered:
                self._range_of(key).put(key)
            self._entered.clear()
            return
        takes, drop = self._takes, self._leading + 1
        for key in self._entered:
            try:
                takes[key >> key.bit_length() - drop](key)
            except (KeyError, ValueError):  # the first in a range, or a very short prefix
                self._range_of(key).entered.append(key)
        self._entered.clear()

    def _range_of(self, key: int) -> EidRange:
        drop = key.bit_length() - 1 - self._leading
        leading = key >> drop if drop >= 0 else key << -drop
        found = self._ranges.get(leading)
        if found is None:
            found = self._ranges[leading] = EidRange(self._width, self._entries)
            self._takes[leading] = found.entered.append
            insort(self._order, leading)
        return found


def _count_entered(one: EidRange) -> int:
    return len(one.entered)
