"""The prefixes of one range of addresses: put in order leaf by leaf, where somebody asks.

Numbers stand for prefixes: a set bit, the network, then 8 bits of prefix length; so everything
inside a prefix follows it at once. Nothing here ever works on all prefixes, for whoever asks must
not wait for that. One of the few files that look fast rather than plain.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Mapping, MutableSequence

__all__ = ["FULL", "LENGTH_BITS", "EidRange", "Leaf", "keys_of"]

LENGTH_BITS = 8
"""Bits of a number behind the network."""

_LENGTH_MASK = (1 << LENGTH_BITS) - 1

FULL = 8192
"""New prefixes of a range, and changes of each of its leaves, that wait until somebody asks; more
are sorted anyway. That takes some 2 ms. The fewer they are, the more Registrations pay for it.
"""

_SMALL = 256
"""Prefixes of a leaf that is made of one with too many changes, so that each can take many more."""

_ROW = 1024
"""Prefixes of a leaf that is made for a question; it is cut when it has more than twice as many."""

_FEW = 32
"""This many changes of a leaf are entered one by one; more are sorted with what is there."""

_GONE = 2, 5
"""Most removals, as a share of what is in a leaf, before it is put in order: almost all in it may
be gone then, and a question must not meet many such leaves.
"""


def keys_of(numbers: Iterable[int], top: int) -> list[int]:
    """Return the keys of prefixes; ``top`` is what a number is shifted to leave its set bit."""
    return [number >> top - (number & _LENGTH_MASK) for number in numbers]


def _row(numbers: Collection[int], top: int) -> MutableSequence[int]:
    # 8 octets a prefix instead of 40, where they fit.
    return array("Q", numbers) if top < 64 else list(numbers)


class Leaf:
    """The prefixes from one number on."""

    __slots__ = ("_top", "gone", "news", "ordered")

    def __init__(self, ordered: Collection[int], top: int) -> None:
        self.ordered = _row(ordered, top)
        "in order; not up to date as long as there are news"
        self.news = _row((), top)
        "what was put or removed since"
        self.gone = 0
        "how many of the news are removals"
        self._top = top

    def __len__(self) -> int:
        return len(self.ordered) + len(self.news)

    def settle(self, entries: Mapping[int, object]) -> None:
        """Enter the news."""
        if len(self.news) > _FEW:
            if self.gone:
                self._sift(entries)
            merged = [*self.ordered, *self.news]
            merged.sort()
            self.ordered = _row(merged, self._top)
        else:
            for number, key in zip(self.news, keys_of(self.news, self._top), strict=True):
                self.change(number, key in entries)
        del self.news[:]
        self.gone = 0

    def change(self, number: int, is_put: bool) -> None:
        """Enter one change, where there are no news that are older."""
        ordered = self.ordered
        at = bisect_left(ordered, number)
        is_there = at < len(ordered) and ordered[at] == number
        if is_put and not is_there:
            ordered.insert(at, number)
        elif is_there and not is_put:
            del ordered[at]

    def _sift(self, entries: Mapping[int, object]) -> None:
        """Forget what is gone; the news are all there then, each once and not in order already."""
        news = dict(zip(self.news, keys_of(self.news, self._top), strict=True))
        self.ordered = _row([number for number in self.ordered if number not in news], self._top)
        self.news = _row([number for number, key in news.items() if key in entries], self._top)


class EidRange:
    """The prefixes of one range.

    ``entries`` has the keys of all prefixes that there are. A leaf without news is not empty,
    unless it is the only one.
    """

    __slots__ = ("_entries", "_top", "entered", "leaves", "starts")

    def __init__(self, width: int, entries: Mapping[int, object]) -> None:
        self._entries = entries
        self._top = width + LENGTH_BITS
        self.entered: list[int] = []
        "keys that no leaf has yet; whoever adds to it has them spread at FULL"
        self.starts = [0]
        "from which number on each leaf has them"
        self.leaves = [Leaf((), self._top)]

    def spread(self) -> None:
        """Give the leaves what was entered; put one in order that has too many changes."""
        top = self._top + 1
        numbers = [key << top - (bits := key.bit_length()) | bits - 1 for key in self.entered]
        self.entered.clear()
        numbers.sort()
        row, starts = _row(numbers, self._top), self.starts
        first, full = 0, []
        while first < len(numbers):
            at = bisect_right(starts, numbers[first])
            end = bisect_left(numbers, starts[at], first) if at < len(starts) else len(numbers)
            news = self.leaves[at - 1].news
            news.extend(row[first:end])
            if len(news) > FULL:
                full.append((len(news), starts[at - 1]))
            first = end
        # The fullest only: so none grows much larger, and nobody waits for all if many are full.
        if full:
            self._settle(bisect_right(starts, max(full)[1]) - 1, _SMALL)

    def put(self, key: int) -> None:
        """Take a new prefix at once."""
        number, at = self._place(key)
        leaf = self.leaves[at]
        if not leaf.news:
            leaf.change(number, True)
            if len(leaf.ordered) > 2 * _ROW:
                self._fit(at, _ROW)
            return
        leaf.news.append(number)
        if len(leaf.news) > FULL:
            self._settle(at, _SMALL)

    def discard(self, key: int) -> None:
        """Take a removal at once."""
        number, at = self._place(key)
        leaf = self.leaves[at]
        if not leaf.news:
            leaf.change(number, False)
            if len(leaf.ordered) <= _SMALL // 4:
                self._fit(at, _ROW)
            return
        leaf.news.append(number)
        leaf.gone += 1
        most, of = _GONE
        if leaf.gone * of > len(leaf) * most:
            self._settle(at, _ROW)

    def _place(self, key: int) -> tuple[int, int]:
        """Return the number of a prefix and that of its leaf, which has all that is older."""
        if self.entered:
            self.spread()
        length = key.bit_length() - 1
        number = key << self._top - length | length
        return number, bisect_right(self.starts, number) - 1

    def around(self, number: int) -> tuple[int, int]:
        """Return the last number up to this one and the first above it, 0 for none."""
        if self.entered:
            self.spread()
        while True:
            at_leaf = bisect_right(self.starts, number) - 1
            leaf = self.leaves[at_leaf]
            if leaf.news:
                self._settle(at_leaf, _ROW)
                continue
            ordered = leaf.ordered
            at = bisect_right(ordered, number)
            if 0 < at < len(ordered):
                return ordered[at - 1], ordered[at]
            below = ordered[at - 1] if at else self._edge(at_leaf - 1, -1)
            above = ordered[at] if at < len(ordered) else self._edge(at_leaf + 1, 0)
            if below is not None and above is not None:
                return below, above

    def between(self, number: int, end: int, limit: int) -> list[int]:
        """Return the numbers above one and below another, in order; not many more than ``limit``
        of them.
        """
        if self.entered:
            self.spread()
        starts = self.starts
        found: list[int] = []
        at_leaf = bisect_right(starts, number) - 1
        while at_leaf < len(starts) and starts[at_leaf] < end and len(found) <= limit:
            leaf = self.leaves[at_leaf]
            if leaf.news:
                start = max(starts[at_leaf], number)
                self._settle(at_leaf, _ROW)
                at_leaf = bisect_right(starts, start) - 1
                continue
            ordered = leaf.ordered
            at = bisect_right(ordered, number)
            most = min(at + limit + 1, len(ordered))
            found += ordered[at : bisect_left(ordered, end, at, most)]
            number = found[-1] if found else number
            at_leaf += 1
        return found

    def _edge(self, at: int, side: int) -> int | None:
        """Return the first (0) or last (-1) number of a leaf, 0 where no leaf is; None if the
        leaves have changed.
        """
        if not 0 <= at < len(self.leaves):
            return 0
        leaf = self.leaves[at]
        if leaf.news:
            self._settle(at, _ROW)
            return None
        return leaf.ordered[side]

    def _settle(self, at: int, row: int) -> None:
        """Enter the news of a leaf; look again which leaf it is now."""
        self.leaves[at].settle(self._entries)
        self._fit(at, row)

    def _fit(self, at: int, row: int) -> None:
        """Cut a leaf that is large; put one that is small together with a neighbour."""
        ordered = self.leaves[at].ordered
        if len(ordered) > 2 * _ROW:
            rows = [ordered[first : first + row] for first in range(0, len(ordered), row)]
            self.starts[at + 1 : at + 1] = [each[0] for each in rows[1:]]
            self.leaves[at : at + 1] = [Leaf(each, self._top) for each in rows]
        elif len(ordered) <= _SMALL // 4 and len(self.leaves) > 1:
            other = at - 1 if at else 1
            if not ordered or len(self.leaves[other]) < _ROW:
                self._join(min(at, other))

    def _join(self, at: int) -> None:
        """Make one of a leaf and the next."""
        leaf, taken = self.leaves[at : at + 2]
        leaf.ordered = _row([*leaf.ordered, *taken.ordered], self._top)
        leaf.news.extend(taken.news)
        leaf.gone += taken.gone
        del self.starts[at + 1], self.leaves[at + 1]
