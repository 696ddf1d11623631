"""What has changed and is not written yet.

The hot path hands over what it has made anyway, and no more: a reference to a batch of changes.
Which EID-prefixes these were is found out later, and what is registered there when it is written.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import islice, repeat

from lispmsrt.mapping.database import EidTable
from lispmsrt.mapping.names import name_of
from lispmsrt.mapping.new_mappings import NewMappings
from lispmsrt.mapping.verdicts import Change
from lispmsrt.wire.afi import Afi

__all__ = ["Name", "Unwritten"]

Name = tuple[EidTable, int]
"""An EID-prefix: its table and prefix key."""

_Key = tuple[EidTable, int | bytes]
"""The same; by octets where a peer could choose numbers of one hash (``mapping.names``)."""


class Unwritten:
    """Names of EID-prefixes, each once, in the order in which they changed first."""

    def __init__(self) -> None:
        self._waiting: deque[Sequence[Change]] = deque()
        self._names: dict[_Key, None] = {}
        self._taken: dict[_Key, None] = {}
        self._count = 0

    def __len__(self) -> int:
        """Return how many changes wait; two of one EID-prefix may count twice."""
        return self._count + len(self._names) + len(self._taken)

    def changed(self, changes: Sequence[Change]) -> None:
        """Take in changes of the mapping database."""
        self._waiting.append(changes)
        self._count += len(changes)

    def add(self, name: Name) -> None:
        """Have an EID-prefix written that has not changed."""
        self._names[_key(*name)] = None

    def has(self, name: Name) -> bool:
        """Whether what the file says of an EID-prefix is out of date."""
        while self._waiting:
            self._settle()
        key = _key(*name)
        return key in self._names or key in self._taken

    def take(self, most: int) -> Sequence[Name]:
        """Return names to be written, about so many; until :meth:`done` they count as unwritten."""
        while self._waiting and len(self._names) < most:
            self._settle()
        names = self._names
        if len(names) <= most:
            self._taken, self._names = names, {}
        else:
            self._taken = dict.fromkeys(islice(names, most))
            for name in self._taken:
                del names[name]
        return [_name(key) for key in self._taken]

    def forget(self) -> None:
        """Forget all of it, but for what was taken."""
        self._waiting.clear()
        self._names = {}
        self._count = 0

    def done(self) -> None:
        """What was taken is written."""
        self._taken = {}

    def failed(self) -> None:
        """What was taken could not be written."""
        self._names = self._taken | self._names
        self._taken = {}

    def _settle(self) -> None:
        changes = self._waiting.popleft()
        self._count -= len(changes)
        if isinstance(changes, NewMappings):
            for one in changes.stretches:
                self._names.update(_keyed(one.table, one.keys))
        else:
            self._names.update([(_key(change[0], change[2]), None) for change in changes])


def _key(table: EidTable, number: int) -> _Key:
    return (table, number) if table.afi == Afi.IPV4 else name_of(table, number)


def _keyed(table: EidTable, numbers: list[int]) -> Iterable[tuple[_Key, None]]:
    if table.afi == Afi.IPV4:
        return zip(zip(repeat(table), numbers), repeat(None))
    return [(name_of(table, number), None) for number in numbers]


def _name(key: _Key) -> Name:
    table, number = key
    return table, number if isinstance(number, int) else int.from_bytes(number, "big")
