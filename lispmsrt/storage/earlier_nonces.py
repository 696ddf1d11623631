"""Nonces out of the file, for a Map-Server that begins: of each xTR when it is heard of, and of
everybody else by and by.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from struct import unpack_from

from lispmsrt.control.nonces import (
    MAX_NONCES,
    MAX_ORIGINS,
    MAX_XTRS,
    REMEMBERED,
    History,
    NonceMemory,
)
from lispmsrt.mapping.database import Xtr
from lispmsrt.storage.file import StateFile
from lispmsrt.storage.nonces import HEAD, Nonces, Who, columns

__all__ = ["EarlierNonces"]

_PORTION = 40_000
"""Octets of rows that are read in a turn, some 3 ms."""

_ROW = 80
"""What a row costs besides, in octets."""

_OF_ONE = (
    "SELECT * FROM nonce WHERE site = ? AND ids = ? AND address = ? AND key = ? ORDER BY serial"
)
_OF_MANY = (
    "SELECT * FROM nonce WHERE (site, ids, address, key) > (?, ?, ?, ?)"
    " ORDER BY site, ids, address, key, serial"
)


class EarlierNonces:
    """Gives back what was seen before the process began."""

    def __init__(self, file: StateFile, memory: NonceMemory, nonces: Nonces) -> None:
        self._file = file
        self._memory = memory
        self._nonces = nonces
        "hears of what the file has"
        self._restored_to: tuple[object, ...] = ("", b"", b"", b"")

    def restore_origins(self) -> int:
        """Remember from where messages came of xTRs that are known by nothing else; return how many
        rows can't be read. Raises sqlite3.Error.
        """
        unreadable = 0
        for site, _serial, data in self._file.rows("SELECT * FROM origin ORDER BY site, serial"):
            if isinstance(site, str) and isinstance(data, bytes):
                unreadable += not self._restore_origins(site, data)
        return unreadable

    def recall(self, who: Who) -> int:
        """Give back what was seen of one xTR with one key, who is not remembered; return how many
        rows can't be read. Raises sqlite3.Error.
        """
        return self._restore_all(who, self._file.read(_OF_ONE, columns(who)))

    def restore_some(self) -> tuple[bool, int]:
        """Give back what was seen of the next xTRs; tell whether there are more, and how many rows
        can't be read. Raises sqlite3.Error.
        """
        rows, is_more = self._next_rows()
        unreadable = 0
        for name, some in groupby(rows, key=itemgetter(0, 1, 2, 3)):
            self._restored_to = name
            if not _are_columns(name):
                unreadable += 1
                continue
            xtr = Xtr(*name[:3])
            memory = self._memory.memory(xtr.site)
            who = (xtr, name[3])
            if who in memory.histories:
                # It was heard meanwhile, and asked for then.
                continue
            if len(memory.histories) >= MAX_XTRS or memory.nonces >= MAX_NONCES:
                self._nonces.found_too_many(who)
                continue
            found = list(some)
            # The last may have more rows than were read.
            is_last = is_more and found[-1] is rows[-1]
            unreadable += self.recall(who) if is_last else self._restore_all(who, found)
        return is_more, unreadable

    def _next_rows(self) -> tuple[list[tuple[object, ...]], bool]:
        rows: list[tuple[object, ...]] = []
        room = _PORTION
        for row in self._file.rows(_OF_MANY, self._restored_to):
            rows.append(row)
            room -= _ROW + (len(row[5]) if isinstance(row[5], bytes) else 0)
            if room <= 0:
                return rows, True
        return rows, False

    def _restore_all(self, who: Who, rows: Sequence[tuple[object, ...]]) -> int:
        """Remember what these rows say of one xTR with one key; return how many can't be read."""
        unreadable = 0
        for *_name, serial, data in rows:
            if not isinstance(serial, int) or not isinstance(data, bytes):
                unreadable += 1
            else:
                unreadable += not self._restore(who, serial, data)
        return unreadable

    def _restore(self, who: Who, serial: int, data: bytes) -> bool:
        count, odd = divmod(len(data) - HEAD.size, 8)
        if not 0 <= count <= REMEMBERED or odd:
            return False
        memory = self._memory.memory(who[0].site)
        history = memory.histories.get(who)
        if history is None:
            history = memory.histories[who] = History()
            # Whoever was heard since the start stands behind it.
            memory.histories.move_to_end(who, last=False)
        history.highest, history.increases = HEAD.unpack_from(data)
        memory.nonces -= len(history.seen)
        seen = history.seen
        seen.update(dict.fromkeys(unpack_from(f"!{count}Q", data, HEAD.size)))
        while len(seen) > REMEMBERED:
            seen.popitem(last=False)
        memory.nonces += len(seen)
        self._nonces.found(who, history, serial)
        return True

    def _restore_origins(self, site: str, data: bytes) -> bool:
        origins = self._memory.memory(site).origins
        at = 0
        while at + 2 <= len(data):
            mac_size, size = data[at : at + 2]
            after = at + 2 + mac_size
            if after + size > len(data) or not mac_size:
                return False
            origins[data[at + 2 : after]] = data[after : after + size]
            at = after + size
        while len(origins) > MAX_ORIGINS:
            origins.popitem(last=False)
        return at == len(data)


def _are_columns(name: tuple[object, ...]) -> bool:
    return isinstance(name[0], str) and all(isinstance(one, bytes) for one in name[1:])
