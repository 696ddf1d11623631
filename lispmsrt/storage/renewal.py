"""The journal's length: what it says of long ago is said again, and then forgotten.

Every EID-prefix that is registered is written once more, a few at a time. When the last of them is
in the file, what was written before the first is not needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from lispmsrt.mapping.database import Database
from lispmsrt.storage.unwritten import Name, Unwritten

__all__ = ["Renewal"]

_SEGMENT_WEIGHT = 20
"""What reading a segment costs, in EID-prefixes."""

_SLACK = 20_000
"""What a journal may have beside twice what it needs, in EID-prefixes."""

_AT_ONCE = 5_000
"""EID-prefixes that are written again in a turn: some 8 ms of the reactor's, and of the disk's."""


class Renewal:
    """Counts what is in the journal, and says what of it is to be removed."""

    def __init__(self, database: Database, unwritten: Unwritten) -> None:
        self.next = 1
        "the number of the next segment"
        self._database = database
        self._unwritten = unwritten
        self._weight = 0
        self._walk: Iterator[Name] | None = None
        self._left: int | None = None
        "how many are to be written before what is old is removed"
        self._first = 0
        self._earlier = 0
        "the weight of what is to be removed"

    def found(self, number: int, count: int) -> None:
        """Count a segment that is there from before."""
        self.next = max(self.next, number + 1)
        self._weight += count + _SEGMENT_WEIGHT

    def written(self, segments: int, count: int) -> int | None:
        """Count new segments, with so many EID-prefixes; return the number of the first segment
        that is needed, when others are to be removed.
        """
        self._weight += count + segments * _SEGMENT_WEIGHT
        if self._left is None:
            return None
        self._left -= count
        if self._left > 0:
            return None
        self._weight -= self._earlier
        self._left = None
        return self._first

    def begin_again(self) -> None:
        """Have everything written anew: nobody knows what the file has."""
        self._left = None
        self._begin()

    def look(self) -> None:
        """Have some EID-prefixes written again, if it is time for that and nothing else waits."""
        if len(self._unwritten) > _AT_ONCE:
            return
        if self._walk is None:
            if self._left is None and self._weight > 2 * len(self._database) + _SLACK:
                self._begin()
            return
        some = list(islice(self._walk, _AT_ONCE))
        for name in some:
            self._unwritten.add(name)
        if len(some) < _AT_ONCE:
            self._walk = None
            self._left = len(self._unwritten)

    def _begin(self) -> None:
        self._first, self._earlier = self.next, self._weight
        self._walk = self._names()

    def _names(self) -> Iterator[Name]:
        # A function of its own, so that nothing is looked at before the first is wanted: by then
        # everything is restored.
        for table in list(self._database.tables.values()):
            for key in list(table.entries):
                yield table, key
