"""From the mapping database into rows of the file."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from lispmsrt.control.nonces import NonceMemory
from lispmsrt.mapping.database import EidTable, Lease
from lispmsrt.mapping.registrar import Registrar
from lispmsrt.storage.file import StateFile, Statement
from lispmsrt.storage.nonces import Nonces
from lispmsrt.storage.renewal import Renewal
from lispmsrt.storage.seconds import Moment, Seconds
from lispmsrt.storage.segments import Segment, write_segment
from lispmsrt.storage.unwritten import Name, Unwritten
from lispmsrt.storage.xtrs import XtrRow, Xtrs

__all__ = ["Saving"]

_SIGN_OF_LIFE = 5.0
"""Seconds after which the file is told that the process lives, if there is nothing else to tell."""

_SYNC = 10.0
"""Seconds between two times at which what was written is made safe against a power cut."""

_PUT = "INSERT INTO segment VALUES (?, ?, ?, ?, ?, ?, ?)"
_REMOVE = "DELETE FROM segment WHERE number < ?"
_PUT_XTR = "INSERT OR REPLACE INTO xtr VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_REMOVE_XTR = "DELETE FROM xtr WHERE number = ?"
_SEGMENT = 256
"""EID-prefixes in a segment: who asks for one of them before it is restored has all of them read,
and restoring them takes some 3 ms of a turn of the reactor.
"""

_PUT_MOMENT = "INSERT OR REPLACE INTO moment VALUES ('written', ?, ?, ?, ?)"


class Saving:
    """Makes portions of what has changed; one is written at a time."""

    def __init__(
        self,
        file: StateFile,
        registrar: Registrar,
        nonces: NonceMemory,
        timeout: float,
        seconds: Seconds,
    ) -> None:
        self.file = file
        self.unwritten = Unwritten()
        self.is_writing = False
        ((greatest,),) = file.read("SELECT max(number) FROM xtr")
        self.first_number = 1 + greatest if isinstance(greatest, int) else 1
        "of an xTR that the file has not"
        self.xtrs = Xtrs(registrar.leases, timeout, self.first_number)
        self.renewal = Renewal(registrar.database, self.unwritten)
        self.nonces = Nonces(nonces)
        self._offset = seconds.offset
        self._taken: tuple[list[XtrRow], list[int]] = ([], [])
        self._statements: list[Statement] = []
        self._written_at = self._synced_at = self._looked_at = float("-inf")
        self._is_unsynced = False

    def begin(self, now: float, moment: Moment) -> None:
        """Begin to forget whoever had a session: it is lost now. Raises sqlite3.Error."""
        stamp = now + self._offset
        self.file.write(
            [
                ("UPDATE xtr SET heard = ? WHERE heard IS NULL", [(stamp,)]),
                (_PUT_MOMENT, [(stamp, *moment)]),
            ]
        )

    def end(self, now: float) -> None:
        """The process is about to end: sessions that it ends itself count as live."""
        self.xtrs.look_at_all(now, self._offset)
        self._statements = self.nonces.take()

    @property
    def has_more(self) -> bool:
        """Whether something is to be written, apart from a sign of life."""
        return bool(len(self.unwritten) or self.xtrs.has_changed or _is_any(self._statements))

    def begin_again(self) -> None:
        """Forget what has changed, and have all that is registered written anew."""
        self.unwritten.forget()
        self.renewal.begin_again()

    def look(self, now: float, *, is_partial: bool) -> None:
        """Look at what nobody tells, a part of it, twice a second; ``is_partial``: while not all
        is restored.
        """
        if now - self._looked_at < 0.5:
            return
        self._looked_at = now
        self.xtrs.look(now, self._offset, is_partial=is_partial)
        self._statements += self.nonces.take()
        if not is_partial:
            self.renewal.look()

    def is_due(self, now: float) -> bool:
        """Whether to write something now."""
        return self.has_more or now - self._written_at >= _SIGN_OF_LIFE

    def take(self, most: int) -> Iterable[Name]:
        """Return what is to be written next, about so many EID-prefixes: for :meth:`job`."""
        return self.unwritten.take(most)

    def job(self, names: Iterable[Name], now: float, moment: Moment) -> Callable[[], None]:
        """Return what writes a portion. :meth:`done` must hear of it before the next."""
        self.is_writing = True
        self._written_at = now
        self._is_unsynced = self._is_unsynced or self.has_more
        offset, file = self._offset, self.file
        segments = self._segments(names, now)
        # Behind the segments, for these name new ones; before them in the file: these need them.
        self._taken = self.xtrs.take()
        changed, unused = self._taken
        first, self.renewal.next = self.renewal.next, self.renewal.next + len(segments)
        needed = self.renewal.written(len(segments), sum([one.rows for one in segments]))
        statements: list[Statement] = [
            (_PUT_XTR, changed),
            (_PUT, [(first + at, *one) for at, one in enumerate(segments)]),
            (_REMOVE, [] if needed is None else [(needed,)]),
            (_REMOVE_XTR, [(number,) for number in unused]),
            *self._statements,
            (_PUT_MOMENT, [(now + offset, *moment)]),
        ]
        self._statements = []
        is_sync_due = self._is_unsynced and now - self._synced_at >= _SYNC
        if is_sync_due:
            self._synced_at, self._is_unsynced = now, False

        def write() -> None:
            file.write(statements)
            if is_sync_due:
                file.sync()

        return write

    def done(self, is_written: bool) -> None:
        """The portion is in the file, or none of it is."""
        self.is_writing = False
        if is_written:
            self.unwritten.done()
            return
        self.unwritten.failed()
        # It may have been what makes others unnecessary.
        self.renewal.begin_again()
        self.xtrs.put_back(*self._taken)
        self.nonces.failed()

    def _segments(self, portion: Iterable[Name], now: float) -> list[Segment]:
        offset, number = self._offset, self.xtrs.number

        def number_of(lease: Lease) -> int:
            return number(lease, now, offset)

        names: dict[EidTable, list[int]] = {}
        for table, key in portion:
            keys = names.get(table)
            if keys is None:
                keys = names[table] = []
            keys.append(key)
        return [
            write_segment(table, keys[first : first + _SEGMENT], number_of, offset)
            for table, keys in names.items()
            for first in range(0, len(keys), _SEGMENT)
        ]


def _is_any(statements: list[Statement]) -> bool:
    return any(values for _sql, values in statements)
