"""Names in the order in which they changed last, for readers that remember nothing but a place.

Any number of readers may be anywhere in it, at no cost: a name is there once, at its newest change,
so what a slow reader finds is what holds now. It knows neither what a name stands for nor who
reads.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right

__all__ = ["Journal"]

_SLACK = 64
"""Entries that may be out of date, besides as many as are not: so compaction is linear."""


class Journal:
    """An ordered set of names; a change moves its name to the end."""

    __slots__ = ("_changed_at", "_names", "_serials", "newest")

    def __init__(self) -> None:
        self.newest = 0
        "the serial number of the last change"
        self._changed_at: dict[bytes, int] = {}
        # Two parallel lists, sorted by serial; entries that moved on stay until compaction.
        self._serials = array("Q")
        self._names: list[bytes] = []

    def __len__(self) -> int:
        return len(self._changed_at)

    def note(self, name: bytes) -> int:
        """Put a name at the end; return its serial number."""
        self.newest += 1
        self._changed_at[name] = self.newest
        self._serials.append(self.newest)
        self._names.append(name)
        if len(self._names) > 2 * len(self._changed_at) + _SLACK:
            self._compact()
        return self.newest

    def forget(self, name: bytes) -> None:
        """Take a name out: no reader needs it any more."""
        del self._changed_at[name]

    def read(self, after: int, limit: int) -> tuple[list[tuple[int, bytes]], int]:
        """Return serial number and name of what changed after a serial number, oldest first, and
        the serial number that has been reached.

        Looks at no more than ``limit`` entries, so the list may be empty before the end.
        """
        first = bisect_right(self._serials, after)
        serials = self._serials[first : first + limit]
        if not serials:
            return [], self.newest
        changed_at = self._changed_at
        found = [
            (serial, name)
            for serial, name in zip(serials, self._names[first : first + limit], strict=True)
            if changed_at.get(name) == serial
        ]
        is_end = first + len(serials) == len(self._serials)
        return found, self.newest if is_end else serials[-1]

    def _compact(self) -> None:
        # In the order of the lists, which is that of the serials; the dict keeps another one.
        kept = [
            (serial, name)
            for serial, name in zip(self._serials, self._names, strict=True)
            if self._changed_at.get(name) == serial
        ]
        self._serials = array("Q", (serial for serial, _name in kept))
        self._names = [name for _serial, name in kept]
