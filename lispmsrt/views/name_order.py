"""Distinguished names in an order to list them by: they match whole, and nothing keeps them in
order.

Few are put in order for each page. Of many, which would hold up everybody, a list is kept as they
stood when somebody began to read them, for as long as few others begin: cursors name that list.
"""

from __future__ import annotations

from collections import OrderedDict
from secrets import randbelow

from lispmsrt.mapping.database import EidTable
from lispmsrt.views.cursors import CursorError, Position

__all__ = ["MAX_LISTS", "MAX_SORTED", "NameOrder"]

MAX_SORTED = 10_000
"""Names that are put in order at once: some 2 ms."""

MAX_LISTS = 8
"""Lists of more names that are kept, each of 8 MB for a million: so many readers at a time are
served, and who began first has to begin anew.
"""

_FIRST_ID = 1 << 32
"""Cursors of an earlier process must not fit the lists of this one."""


class NameOrder:
    """The names of tables, a few at a time."""

    def __init__(self) -> None:
        self._lists: OrderedDict[int, tuple[EidTable, list[int]]] = OrderedDict()
        self._next_id = 1 + randbelow(_FIRST_ID)

    def following(self, table: EidTable, after: Position, limit: int) -> list[tuple[Position, int]]:
        """Return at most ``limit`` names that follow, each with its position. What is there from
        the first page to the last is found once; what has gone meanwhile may be found too.

        Raises CursorError where the list was dropped that is read on.
        """
        if after.reading:
            return self._read_on(table, after, limit)
        entries = table.entries
        keys = [key for key in entries if key > after.key] if after.key else list(entries)
        if len(keys) <= MAX_SORTED:
            keys.sort()
            return [(after._replace(key=key), key) for key in keys[:limit]]
        self._lists[self._next_id] = table, keys
        self._next_id += 1
        if len(self._lists) > MAX_LISTS:
            self._lists.popitem(last=False)
        return self._read_on(table, after._replace(key=0, reading=self._next_id - 1), limit)

    def _read_on(self, table: EidTable, after: Position, limit: int) -> list[tuple[Position, int]]:
        # There the position counts how many of the list were read.
        of_table, keys = self._lists.get(after.reading, (None, []))
        if of_table is not table:
            raise CursorError("the list was begun too long ago; ask without a cursor to begin anew")
        names = keys[after.key : after.key + limit]
        return [(after._replace(key=at), key) for at, key in enumerate(names, start=after.key + 1)]
