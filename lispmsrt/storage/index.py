"""Where in the journal each EID-prefix stands that is still to be restored."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Index", "Place"]


class Place(NamedTuple):
    """A segment of the journal."""

    number: int
    first: int
    "number of its first row, counted over all segments"


class Index:
    """The newest row of each EID-prefix. A row leaves it when somebody takes it."""

    def __init__(self) -> None:
        self.places: list[Place] = []
        self._firsts: list[int] = []
        self._rows: dict[int, dict[int, int]] = {}
        "family to prefix key to row"
        self._count = 0

    def __len__(self) -> int:
        return sum(map(len, self._rows.values()))

    def add(self, number: int, family: int, keys: Sequence[int], sizes: Sequence[int]) -> None:
        """Take in the next segment; a row without octets says that nothing is registered."""
        rows = self._rows.setdefault(family, {})
        first = self._count
        self.places.append(Place(number, first))
        self._firsts.append(first)
        self._count += len(keys)
        rows.update(zip(keys, range(first, self._count), strict=True))
        if 0 in sizes:
            for at, (key, size) in enumerate(zip(keys, sizes, strict=True)):
                if not size and rows.get(key) == first + at:
                    del rows[key]

    def take(self, family: int, key: int) -> tuple[Place, int] | None:
        """Return where an EID-prefix stands: its segment, and the row there."""
        rows = self._rows.get(family)
        row = rows.pop(key, None) if rows is not None else None
        if row is None:
            return None
        place = self.places[bisect_right(self._firsts, row) - 1]
        return place, row - place.first

    def take_all(self, place: Place, family: int, keys: Sequence[int]) -> list[tuple[int, int]]:
        """Return prefix key and row of what of a segment nobody has taken."""
        rows = self._rows.get(family)
        if rows is None:
            return []
        get = rows.get
        found = [(key, at) for at, key in enumerate(keys) if get(key) == place.first + at]
        for key, _at in found:
            del rows[key]
        return found
