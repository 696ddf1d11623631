"""Where in the journal each EID-prefix stands that is still to be restored."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import NamedTuple, Protocol

from lispmsrt.compiled import twin
from lispmsrt.storage.segments import name_octets, read_names, read_sizes

__all__ = ["Index", "Place", "Rows"]

_compiled = twin("lispmsrt.storage._index")


class Place(NamedTuple):
    """A segment of the journal."""

    number: int
    first: int
    "number of its first row, counted over all segments of its family"


class TakesRows(Protocol):
    """The newest row of each name of a family, until somebody takes it."""

    def __len__(self) -> int:
        """Return how many are to be taken."""

    def add(self, count: int, names: bytes, sizes: bytes) -> None:
        """Take in the next rows; one without octets says that nothing is registered. Raises
        struct.error where there are not so many.
        """

    def take(self, key: int) -> int:
        """Return the row of a prefix key and forget it; -1 where there is none."""

    def take_all(self, first: int, keys: Sequence[int]) -> list[tuple[int, int]]:
        """Return prefix keys, and their place from ``first`` on, of those rows that are the newest
        and that nobody has taken; forget these.
        """


class Rows:
    """See :class:`TakesRows`."""

    def __init__(self, afi: int) -> None:
        self._afi = afi
        self._rows: dict[int, int] = {}
        self._count = 0

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, count: int, names: bytes, sizes: bytes) -> None:
        keys, octets = read_names(self._afi, count, names), read_sizes(count, sizes)
        rows, first = self._rows, self._count
        self._count += count
        rows.update(zip(keys, range(first, self._count), strict=True))
        if 0 in octets:
            for at, (key, size) in enumerate(zip(keys, octets, strict=True)):
                if not size and rows.get(key) == first + at:
                    del rows[key]

    def take(self, key: int) -> int:
        return self._rows.pop(key, -1)

    def take_all(self, first: int, keys: Sequence[int]) -> list[tuple[int, int]]:
        get = self._rows.get
        found = [(key, at) for at, key in enumerate(keys) if get(key) == first + at]
        for key, _at in found:
            del self._rows[key]
        return found


def _make_rows(afi: int) -> TakesRows:
    """Return what is compiled, where it can have the names of this family."""
    octets = name_octets(afi)
    if _compiled is None or octets is None:
        return Rows(afi)
    compiled: TakesRows = _compiled.Rows(octets)
    return compiled


class _Family:
    """What is known of one instance ID and family."""

    def __init__(self, rows: TakesRows) -> None:
        self.rows = rows
        self.places: list[Place] = []
        self.count = 0


class Index:
    """The newest row of each EID-prefix. A row leaves it when somebody takes it."""

    def __init__(self, make_rows: Callable[[int], TakesRows] = _make_rows) -> None:
        """``make_rows`` returns what keeps the rows of a family (Afi)."""
        self.places: list[Place] = []
        self._make_rows = make_rows
        self._families: dict[int, _Family] = {}

    def __len__(self) -> int:
        return sum(len(one.rows) for one in self._families.values())

    def add(self, number: int, family: int, count: int, names: bytes, sizes: bytes) -> None:
        """Take in the next segment: so many names, and the octets of what is registered there.
        Raises struct.error where they do not fit each other; then nothing has changed.
        """
        known = self._families.get(family)
        if known is None:
            known = self._families[family] = _Family(self._make_rows(family & 0xFFFF))
        known.rows.add(count, names, sizes)
        place = Place(number, known.count)
        self.places.append(place)
        known.places.append(place)
        known.count += count

    def take(self, family: int, key: int) -> tuple[Place, int] | None:
        """Return where an EID-prefix stands: its segment, and the row there."""
        known = self._families.get(family)
        row = known.rows.take(key) if known is not None else -1
        if known is None or row < 0:
            return None
        place = known.places[bisect_right(known.places, row, key=attrgetter("first")) - 1]
        return place, row - place.first

    def take_all(self, place: Place, family: int, keys: Sequence[int]) -> list[tuple[int, int]]:
        """Return prefix key and row of what of a segment nobody has taken."""
        known = self._families.get(family)
        return known.rows.take_all(place.first, keys) if known is not None else []
