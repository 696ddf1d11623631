"""From the journal into the mapping database: portion by portion, and at once what is asked for."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from itertools import accumulate
from types import UnionType

from lispmsrt.control.nonces import NonceMemory
from lispmsrt.mapping.database import EidTable, Xtr
from lispmsrt.mapping.registrar import Registrar
from lispmsrt.mapping.restored import RestoredLease
from lispmsrt.mapping.restoring import Remembered, RememberedXtr, Restoring
from lispmsrt.mapping.sites import Site, Sites
from lispmsrt.storage.earlier_nonces import EarlierNonces
from lispmsrt.storage.file import StateFile
from lispmsrt.storage.index import Index, Place
from lispmsrt.storage.nonces import Who
from lispmsrt.storage.saving import Saving
from lispmsrt.storage.seconds import Seconds
from lispmsrt.storage.segments import Part, Segment, parts_between, read_names, read_sizes
from lispmsrt.storage.unwritten import Name
from lispmsrt.storage.xtrs import XtrRow
from lispmsrt.wire.afi import Afi
from lispmsrt.wire.map_register import RegisterFlag

__all__ = ["Loading"]

_NUMBERS = 5000
"""Numbers of xTRs that are looked at in a turn, for those that nobody has."""

_XTR_TYPES = (int, str, bytes, bytes, str, str, bytes, float | None)
_SEGMENT_TYPES = (int, int, bytes, bytes, bytes, int)
_FAMILIES = frozenset({int(Afi.IPV4), int(Afi.IPV6), int(Afi.MAC), int(Afi.NAME)})
_MOST_FAMILY = 1 << 48
_MERGE = int(RegisterFlag.MERGE)

Row = tuple[object, ...]


class Loading:
    """Restores what the file has, in its order."""

    def __init__(
        self,
        file: StateFile,
        restoring: Restoring,
        registrar: Registrar,
        saving: Saving,
        seconds: Seconds,
        nonces: NonceMemory,
    ) -> None:
        """Read which EID-prefixes there are. Raises sqlite3.Error."""
        self._file = file
        self._restoring = restoring
        self._registrar = registrar
        self._saving = saving
        self._seconds = seconds
        self._started = seconds.started
        self._xtrs: dict[int, RememberedXtr | None] = {}
        self._checked = 0
        self._sites_of: Sites | None = None
        self._sites: dict[str, Site] = {}
        self._has_nonces = True
        "whether some are left to be restored"
        self._nonces = EarlierNonces(file, nonces, saving.nonces)
        self._note_damage(self._nonces.restore_origins())
        self._index = Index()
        self._next = 0
        "segment that is restored next"
        for row in file.rows("SELECT number, family, count, names, sizes FROM segment ORDER BY 1"):
            self._read_names(row)

    def load(self, now: float) -> bool:
        """Restore some nonces, or a segment when all of these are there; tell whether there is
        more. Raises sqlite3.Error.
        """
        if self._restore_nonces():
            return True
        if self._next == len(self._index.places):
            return self._forget_numbers()
        place = self._index.places[self._next]
        self._next += 1
        segment = self._read_segment(place)
        if segment is None:
            self._note_damage(1)
        else:
            keys = read_names(segment.family & 0xFFFF, segment.rows, segment.names)
            self._restore(segment, self._index.take_all(place, segment.family, keys), now)
        return True

    def recall(self, table: EidTable, key: int, now: float) -> None:
        """Restore whatever covers a prefix. Raises sqlite3.Error."""
        family = table.instance_id << 16 | table.afi
        keys = [key]
        if table.afi != Afi.NAME:
            keys = [key >> shorter for shorter in range(key.bit_length())]
        for one in keys:
            found = self._index.take(family, one)
            if found is not None:
                segment = self._read_segment(found[0])
                if segment is not None:
                    self._restore(segment, [(one, found[1])], now)

    def settle(self, names: Iterable[Name], now: float) -> None:
        """Let nothing that the file says of EID-prefixes be restored any more, for it is about to
        be out of date; but what others merged there is restored now. Raises sqlite3.Error.
        """
        for table, key in names:
            found = self._index.take(table.instance_id << 16 | table.afi, key)
            standing = table.entries.get(key) if found is not None else None
            if found is None or standing is None or not standing.flags & _MERGE:
                continue
            segment = self._read_segment(found[0])
            if segment is not None:
                self._restore(segment, [(key, found[1])], now)

    def recall_nonces(self, who: Who) -> None:
        """Restore what was seen of an xTR with a key. Raises sqlite3.Error."""
        if self._has_nonces:
            self._note_damage(self._nonces.recall(who))

    def _restore_nonces(self) -> bool:
        """Restore some; tell whether there were any."""
        if not self._has_nonces:
            return False
        self._has_nonces, unreadable = self._nonces.restore_some()
        self._note_damage(unreadable)
        return True

    def _note_damage(self, number: int) -> None:
        if number:
            self._restoring.counters["not restored, damaged"] += number

    # Segments

    def _read_names(self, row: Row) -> None:
        number, family, count, names, sizes = row
        if not (
            isinstance(number, int)
            and isinstance(family, int)
            and isinstance(count, int)
            and isinstance(names, bytes)
            and isinstance(sizes, bytes)
        ):
            self._note_damage(1)
            return
        self._saving.renewal.found(number, count)
        try:
            if not 0 <= family < _MOST_FAMILY or family & 0xFFFF not in _FAMILIES:
                raise struct.error
            self._index.add(number, family, count, names, sizes)
        except struct.error:
            self._note_damage(1)

    def _read_segment(self, place: Place) -> Segment | None:
        """Return a segment; None where it is damaged."""
        for row in self._file.read(
            "SELECT family, count, names, sizes, parts, sum FROM segment WHERE number = ?",
            (place.number,),
        ):
            if _fits(row, _SEGMENT_TYPES):
                segment = Segment(*row)  # type: ignore[arg-type]
                if segment.is_sound():
                    return segment
        return None

    def _restore(self, segment: Segment, rows: Sequence[tuple[int, int]], now: float) -> None:
        """Restore some EID-prefixes of a segment: prefix keys, and the rows there."""
        sizes = read_sizes(segment.rows, segment.sizes)
        ends = list(accumulate(sizes))
        found = [
            (key, parts_between(segment.parts, ends[at] - sizes[at], ends[at])) for key, at in rows
        ]
        self._read_xtrs({part.xtr for _key, parts in found if parts for part in parts})
        table = self._registrar.database.table(segment.family >> 16, segment.family & 0xFFFF)
        single: list[tuple[int, Remembered]] = []
        for key, parts in found:
            if parts is None:
                self._note_damage(1)
            elif self._saving.unwritten.has((table, key)):
                # It has changed since the start, and what the file says is out of date; but what
                # others merged there is still theirs.
                standing = table.entries.get(key)
                if standing is not None and standing.flags & _MERGE:
                    self._restore_row(table, key, parts, now)
            elif len(parts) == 1 and (xtr := self._xtrs.get(parts[0].xtr)) is not None:
                (part,) = parts
                single.append((key, Remembered(xtr, part.record, part.flags, self._since(part))))
            else:
                self._restore_row(table, key, parts, now)
        for key, one in self._restoring.restore_run(table, single, now):
            self._restore_remembered(table, key, [one], now, is_all=True)

    def _restore_row(self, table: EidTable, key: int, parts: list[Part], now: float) -> None:
        remembered = [
            Remembered(xtr, part.record, part.flags, self._since(part))
            for part in parts
            if (xtr := self._xtrs.get(part.xtr)) is not None
        ]
        self._note_damage(len(parts) - len(remembered))
        is_all = len(remembered) == len(parts)
        self._restore_remembered(table, key, remembered, now, is_all=is_all)

    def _restore_remembered(
        self,
        table: EidTable,
        key: int,
        remembered: Sequence[Remembered],
        now: float,
        *,
        is_all: bool,
    ) -> None:
        if not self._restoring.restore(table.instance_id, table.afi, key, remembered, now):
            is_all = False
        if not is_all:
            # What is not restored is not remembered any longer.
            self._saving.unwritten.add((table, key))

    def _since(self, part: Part) -> float:
        return min(self._seconds.monotonic(part.since), self._started)

    # xTRs

    def _forget_numbers(self) -> bool:
        """Remove some xTRs that no row names; tell whether there is more to look at."""
        numbers = self._file.read(
            "SELECT number FROM xtr WHERE number > ? AND number < ? ORDER BY number LIMIT ?",
            (self._checked, self._saving.first_number, _NUMBERS),
        )
        for (number,) in numbers:
            assert isinstance(number, int)  # SQLite: a primary key
            self._checked = number
            if number not in self._xtrs:
                self._saving.xtrs.forget(number)
        return len(numbers) == _NUMBERS

    def _read_xtrs(self, numbers: set[int]) -> None:
        missing = sorted(numbers - self._xtrs.keys())
        for first in range(0, len(missing), 500):
            some = missing[first : first + 500]
            self._xtrs.update(dict.fromkeys(some))
            places = ", ".join("?" * len(some))
            for row in self._file.read(f"SELECT * FROM xtr WHERE number IN ({places})", some):
                if _fits(row, _XTR_TYPES):
                    self._read_xtr(XtrRow(*row))  # type: ignore[arg-type]

    def _read_xtr(self, row: XtrRow) -> None:
        if self._sites_of is not self._registrar.sites:
            self._sites_of = self._registrar.sites
            self._sites = self._sites_of.by_name()
        xtr = Xtr(row.site, row.ids, row.address)
        lease = RestoredLease(xtr, row.transport, row.source, is_live=False)
        site = self._sites.get(row.site)
        if site is not None:
            lease.key = next((key for key in site.keys if key.fingerprint == row.key), None)
        # None: it has a session again, and this is what is left of an earlier one.
        heard = self._started if row.heard is None else self._seconds.monotonic(row.heard)
        self._xtrs[row.number] = RememberedXtr(lease, min(heard, self._started))
        self._saving.xtrs.restore(row, xtr)


def _fits(row: Row, types: Sequence[type | UnionType]) -> bool:
    """Whether each column has its type: SQLite itself does not care."""
    return all(isinstance(value, kind) for value, kind in zip(row, types, strict=True))
