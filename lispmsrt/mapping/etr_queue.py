"""EID-prefixes of an ETR that wait to be sent: in order, each once.

Whether one is in there and taking it out of the middle cost no more than adding it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lispmsrt.mapping.etr_registration import EtrRegistration

__all__ = ["DUE", "PROMPT", "EtrQueue"]

DUE, PROMPT = 0, 1
"""Which queue it is. In the compiled twin an entry knows its place in each of them."""


class EtrQueue:
    """Entries in the order in which they were added. While somebody iterates nothing may change."""

    __slots__ = ("_entries",)

    def __init__(self, which: int) -> None:
        # OrderedDict: a plain dict walks over all that it has lost to find its first.
        self._entries: OrderedDict[EtrRegistration, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, entry: object) -> bool:
        return entry in self._entries

    def __iter__(self) -> Iterator[EtrRegistration]:
        return iter(self._entries)

    def add(self, entry: EtrRegistration) -> None:
        """Put one at the end; one that is in there keeps its place."""
        self._entries[entry] = None

    def discard(self, entry: EtrRegistration) -> None:
        """Take one out, if it is in there."""
        self._entries.pop(entry, None)

    def take(self) -> EtrRegistration:
        """Take out the first. KeyError when there is none."""
        return self._entries.popitem(last=False)[0]

    def put_first(self, entries: Iterable[EtrRegistration]) -> None:
        """Put these before all others, also those of them that are in there."""
        self._entries = OrderedDict.fromkeys(entries) | self._entries

    def clear(self) -> None:
        """Take out all."""
        self._entries.clear()
