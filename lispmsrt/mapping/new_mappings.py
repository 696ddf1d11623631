"""The changes that a run of new registrations makes, without a value for each.

A Map-Server's life is made of them, and hardly anybody asks for any one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, overload

from lispmsrt.mapping.database import EidTable, Registration
from lispmsrt.mapping.verdicts import Change

__all__ = ["NewMappings", "Stretch"]


class Stretch(NamedTuple):
    """New registrations of one table with the same flags, one behind the other."""

    table: EidTable
    keys: list[int]
    "prefix key of each"
    registrations: list[Registration]
    lengths: dict[int, int]
    "prefix length to how many have it"

    def change(self, at: int) -> Change:
        """Return what one of them changed."""
        key = self.keys[at]
        return Change(self.table, key.bit_length() - 1, key, None, self.registrations[at])


class NewMappings(Sequence[Change]):
    """New registrations of one lease, in the order in which they came; none of a name."""

    __slots__ = ("_count", "stretches")

    def __init__(self, stretches: Sequence[Stretch]) -> None:
        """There is at least one, and none is empty."""
        self.stretches = stretches
        self._count = sum(len(one.keys) for one in stretches)

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> Change: ...

    @overload
    def __getitem__(self, index: slice) -> list[Change]: ...

    def __getitem__(self, index: int | slice) -> Change | list[Change]:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(self._count))]
        at = index + self._count if index < 0 else index
        if at >= 0:
            for one in self.stretches:
                if at < len(one.keys):
                    return one.change(at)
                at -= len(one.keys)
        raise IndexError(index)

    def __iter__(self) -> Iterator[Change]:
        for one in self.stretches:
            yield from map(one.change, range(len(one.keys)))
