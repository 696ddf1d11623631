"""Nonces in the file: a Map-Register that was caught is no good after a restart either
(:mod:`lispmsrt.control.nonces`).

Nobody tells what has changed, for that would cost something with every Map-Register. Who was heard
of last stands last in memory: there it is looked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from struct import Struct, pack, unpack_from

from lispmsrt.control.nonces import (
    MAX_NONCES,
    MAX_ORIGINS,
    MAX_XTRS,
    REMEMBERED,
    History,
    NonceMemory,
    SiteMemory,
)
from lispmsrt.mapping.database import Xtr
from lispmsrt.storage.file import StateFile, Statement

__all__ = ["Nonces"]

_HEAD = Struct("!QI")  # highest nonce, increases in a row
_PIECES = 32
"""Rows of one xTR, or site, until they are made one again."""

_UNCHANGED = 64
"""Histories without a change, from the end of a site's, behind which no change is looked for."""

_AT_ONCE = 2000
"""Histories that are looked at in a turn, some 2 ms; and as many more in turn, wherever they
stand.
"""

_Who = tuple[Xtr, bytes]


class _Saved:
    """What the file has of one history."""

    __slots__ = ("newest", "serial", "state")

    def __init__(self) -> None:
        self.serial = -1
        self.newest: int | None = None
        self.state: tuple[int, int, int] | None = None


class Nonces:
    """Keep nonces, and give them back."""

    def __init__(self, memory: NonceMemory) -> None:
        self._memory = memory
        self._saved: dict[_Who, _Saved] = {}
        self._origins: dict[str, tuple[int, bytes]] = {}
        "site to the serial number of its newest row, and the newest MAC there"
        self._forgotten = 0
        self._turn: Iterator[tuple[_Who, History]] = iter(())

    # Into the file

    def take(self) -> list[Statement]:
        """Return what writes whatever has changed; until :meth:`failed` it counts as written."""
        rows: list[tuple[object, ...]] = []
        gone: list[tuple[object, ...]] = []
        for memory in self._memory.sites.values():
            self._take_newest(memory, rows, gone)
        some = list(islice(self._turn, _AT_ONCE))
        for who, history in some:
            if not history.is_forgotten:
                self._take(who, history, rows, gone)
        if len(some) < _AT_ONCE:
            self._turn = iter(self._everybody())
        statements: list[Statement] = []
        if gone or self._memory.counters["xTRs forgotten"] != self._forgotten:
            gone += self._take_forgotten()
            statements.append(
                ("DELETE FROM nonce WHERE site = ? AND ids = ? AND address = ? AND key = ?", gone)
            )
        statements.append(("INSERT OR REPLACE INTO nonce VALUES (?, ?, ?, ?, ?, ?)", rows))
        return [*statements, *self._take_origins()]

    def failed(self) -> None:
        """Nobody knows what the file has: all of it is to be written anew."""
        self._saved = {}
        self._origins = {}
        self._turn = iter(self._everybody())

    def _everybody(self) -> list[tuple[_Who, History]]:
        return [
            (who, history)  # type: ignore[misc]
            for memory in self._memory.sites.values()
            for who, history in memory.histories.items()
        ]

    def _take_newest(
        self,
        memory: SiteMemory,
        rows: list[tuple[object, ...]],
        gone: list[tuple[object, ...]],
    ) -> None:
        unchanged = 0
        for who in islice(reversed(memory.histories), _AT_ONCE):
            if self._take(who, memory.histories[who], rows, gone):  # type: ignore[arg-type]
                unchanged = 0
                continue
            unchanged += 1
            if unchanged >= _UNCHANGED:
                return

    def _take(
        self,
        who: _Who,
        history: History,
        rows: list[tuple[object, ...]],
        gone: list[tuple[object, ...]],
    ) -> bool:
        """Take what one history has that the file has not; tell whether that is anything."""
        saved = self._saved.get(who)
        seen = history.seen
        newest = next(reversed(seen), None)
        state = (history.highest, history.increases, -1 if newest is None else newest)
        if saved is not None and saved.state == state:
            return False
        if history.highest < 0:
            return False
        name = _columns(who)
        if saved is None or not seen or saved.serial + 1 >= _PIECES:
            # One row in the place of all.
            gone.append(name)
            saved = self._saved[who] = _Saved()
        nonces: list[int] = []
        for nonce in reversed(seen):
            if nonce == saved.newest:
                break
            nonces.append(nonce)
        nonces.reverse()
        saved.serial += 1
        saved.newest, saved.state = newest, state
        head = _HEAD.pack(history.highest, min(history.increases, 0xFFFFFFFF))
        rows.append((*name, saved.serial, head + pack(f"!{len(nonces)}Q", *nonces)))
        return True

    def _take_forgotten(self) -> list[tuple[object, ...]]:
        """Return who is no longer remembered, and forget what was written of these."""
        self._forgotten = self._memory.counters["xTRs forgotten"]
        sites = self._memory.sites
        forgotten = [
            who
            for who in self._saved
            if (memory := sites.get(who[0].site)) is None or who not in memory.histories
        ]
        for who in forgotten:
            del self._saved[who]
        return [_columns(who) for who in forgotten]

    def _take_origins(self) -> list[Statement]:
        rows: list[tuple[object, ...]] = []
        gone: list[tuple[object, ...]] = []
        for site, memory in self._memory.sites.items():
            newest = next(reversed(memory.origins), None)
            serial, known = self._origins.get(site, (-1, b""))
            if newest is None or newest == known:
                continue
            if serial < 0 or serial + 1 >= _PIECES * (1 + len(memory.origins) // 1000):
                gone.append((site,))
                serial, known = -1, b""
            pieces: list[bytes] = []
            for mac in reversed(memory.origins):
                if mac == known:
                    break
                address = memory.origins[mac]
                pieces.append(bytes((len(mac), len(address))) + mac + address)
            rows.append((site, serial + 1, b"".join(reversed(pieces))))
            self._origins[site] = serial + 1, newest
        return [
            ("DELETE FROM origin WHERE site = ?", gone),
            ("INSERT INTO origin VALUES (?, ?, ?)", rows),
        ]

    # Out of the file

    def restore(self, file: StateFile) -> int:
        """Remember what the file has; return how many of its rows can't be read. Raises
        sqlite3.Error.
        """
        unreadable = 0
        for site, ids, address, key, serial, data in file.read(
            "SELECT * FROM nonce ORDER BY site, ids, address, key, serial"
        ):
            name = (site, ids, address, key)
            if not (_are_columns(name) and isinstance(data, bytes) and isinstance(serial, int)):
                unreadable += 1
                continue
            unreadable += not self._restore((Xtr(*name[:3]), name[3]), serial, data)  # type: ignore[arg-type]
        for site, _serial, data in file.read("SELECT * FROM origin ORDER BY site, serial"):
            if isinstance(site, str) and isinstance(data, bytes):
                unreadable += not self._restore_origins(site, data)
        return unreadable

    def _restore(self, who: _Who, serial: int, data: bytes) -> bool:
        if len(data) < _HEAD.size or (len(data) - _HEAD.size) % 8:
            return False
        memory = self._memory.memory(who[0].site)
        if who not in memory.histories and len(memory.histories) >= MAX_XTRS:
            return True
        history = memory.histories.setdefault(who, History())
        memory.latest = None
        history.highest, history.increases = _HEAD.unpack_from(data)
        memory.nonces -= len(history.seen)
        for nonce in unpack_from(f"!{(len(data) - _HEAD.size) // 8}Q", data, _HEAD.size):
            history.seen[nonce] = None
        while len(history.seen) > min(REMEMBERED, max(0, MAX_NONCES - memory.nonces)):
            history.seen.popitem(last=False)
        memory.nonces += len(history.seen)
        saved = self._saved.setdefault(who, _Saved())
        saved.serial = serial
        saved.newest = next(reversed(history.seen), None)
        newest = -1 if saved.newest is None else saved.newest
        saved.state = (history.highest, history.increases, newest)
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


def _columns(who: _Who) -> tuple[object, ...]:
    xtr, key = who
    return xtr.site, xtr.ids, xtr.address, key


def _are_columns(name: tuple[object, ...]) -> bool:
    return isinstance(name[0], str) and all(isinstance(one, bytes) for one in name[1:])
