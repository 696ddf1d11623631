"""Nonces into the file: a Map-Register that was caught is no good after a restart either
(:mod:`lispmsrt.control.nonces`; :mod:`lispmsrt.storage.earlier_nonces` gives them back).

Nobody tells what has changed, for that would cost something with every Map-Register. Who was heard
of last stands last in memory: there it is looked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from struct import Struct, pack

from lispmsrt.control.nonces import (
    History,
    NonceMemory,
    SiteMemory,
)
from lispmsrt.mapping.database import Xtr
from lispmsrt.storage.file import Statement

__all__ = ["HEAD", "Nonces", "Who", "columns"]

HEAD = Struct("!QI")  # highest nonce, increases in a row
"""Of a row: in front of nonces of 8 octets each."""

_PIECES = 32
"""Rows of one xTR, or site, until they are made one again."""

_UNCHANGED = 64
"""Histories without a change, from the end of a site's, behind which no change is looked for."""

_AT_ONCE = 2000
"""Histories that are looked at in a turn, some 2 ms; and as many more in turn, wherever they
stand.
"""

Who = tuple[Xtr, bytes]
"""An xTR, and the fingerprint of a key."""


class _Saved:
    """What the file has of one history."""

    __slots__ = ("newest", "serial", "state")

    def __init__(self) -> None:
        self.serial = -1
        self.newest: int | None = None
        self.state: tuple[int, int, int] | None = None


class Nonces:
    """Knows what of the nonces the file has, and makes rows of the rest."""

    def __init__(self, memory: NonceMemory) -> None:
        self._memory = memory
        self._saved: dict[Who, _Saved] = {}
        self._origins: dict[str, tuple[int, bytes]] = {}
        "site to the serial number of its newest row, and the newest MAC there"
        self._forgotten = 0
        self._turn: Iterator[tuple[Who, History]] = iter(())

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

    def _everybody(self) -> list[tuple[Who, History]]:
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
        who: Who,
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
        name = columns(who)
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
        head = HEAD.pack(history.highest, min(history.increases, 0xFFFFFFFF))
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
        return [columns(who) for who in forgotten]

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

    def found(self, who: Who, history: History, serial: int) -> None:
        """The file has what was seen of an xTR, in rows up to this serial number."""
        saved = self._saved.setdefault(who, _Saved())
        saved.serial = serial
        saved.newest = next(reversed(history.seen), None)
        newest = -1 if saved.newest is None else saved.newest
        saved.state = (history.highest, history.increases, newest)

    def found_too_many(self, who: Who) -> None:
        """The file has what was seen of an xTR that nobody remembers."""
        # Whatever is written of it next takes the place of all rows.
        self._saved.setdefault(who, _Saved()).serial = _PIECES


def columns(who: Who) -> tuple[object, ...]:
    """Return what a row begins with."""
    xtr, key = who
    return xtr.site, xtr.ids, xtr.address, key
