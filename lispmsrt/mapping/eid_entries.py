"""What is kept by EID-prefix, and the prefixes in order: a dict with an
:class:`lispmsrt.mapping.eid_index.EidIndex` over it, or the compiled twin of both
(:mod:`lispmsrt.mapping._eid_entries`).

Iterating over the twin of a dict yields the prefixes in order, over a dict as they came.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping
from typing import Protocol, TypeVar

from lispmsrt.compiled import twin
from lispmsrt.mapping.eid_index import WIDTHS, EidIndex

__all__ = ["Ordered", "eid_entries", "eid_order"]

_Kept = TypeVar("_Kept")

_compiled = twin("lispmsrt.mapping._eid_entries")


class Ordered(Protocol):
    """Prefixes in order; see :class:`lispmsrt.mapping.eid_index.EidIndex`."""

    def enter(self, key: int) -> None:
        """Take a prefix that is new."""

    def enter_all(self, keys: Iterable[int]) -> None:
        """Take prefixes that are new."""

    def discard(self, key: int) -> None:
        """Take a prefix that is there no more."""

    def note(self, key: int) -> None:
        """Take a prefix that was put or removed."""

    def neighbours(self, network: int, length: int) -> tuple[int, int, int]:
        """Return what covers a query, and how near what stands beside it is."""

    def inside(self, network: int, length: int, limit: int) -> list[int] | None:
        """Return the keys of every longer prefix inside this one; None for more than so many."""

    def following(self, key: int, limit: int) -> list[int]:
        """Return the keys of the next prefixes in order."""


def eid_order(afi: int, entries: Mapping[int, object]) -> Ordered | None:
    """Return the prefixes of these entries in order, which has to be told of each change of them;
    None for names, which have no order.
    """
    width = WIDTHS.get(afi)
    if width is None:
        return None
    if _compiled is not None:
        compiled: Ordered = _compiled.EidIndex(width, entries)
        return compiled
    return EidIndex(width, entries)


def eid_entries(afi: int, kept: type[_Kept]) -> tuple[MutableMapping[int, _Kept], Ordered | None]:
    """Return an empty mapping of prefix keys to what is ``kept``, and its prefixes in order, which
    has to be told of each change.
    """
    if _compiled is not None and afi in WIDTHS:
        both = _compiled.EidEntries(WIDTHS[afi])
        return both, both
    entries: dict[int, _Kept] = {}
    return entries, eid_order(afi, entries)
