"""What became of mappings: the latest lines, bounded, with nothing of them made before somebody
reads.

Fed with the changes of the mapping database. A million registrations go through here: a batch of
changes is kept as it comes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from lispmsrt.mapping.database import EidTable, Lease, Registration
from lispmsrt.mapping.event_numbers import EventNumbers
from lispmsrt.mapping.merging import parts_of
from lispmsrt.mapping.restored import RestoredLease
from lispmsrt.mapping.verdicts import Change

__all__ = ["MAX_LINES", "History", "HistoryLine"]

MAX_LINES = 10_000
"""Lines that are kept. With their records, which may be long gone from the database: some 4 MB;
80 MB if somebody registers nothing but records of the greatest size.
"""


_new = tuple.__new__


class HistoryLine(NamedTuple):
    """What became of one xTR's part of a mapping."""

    number: int
    "counts up from 1, together with the rejections; gaps are theirs"
    at: float
    "monotonic seconds"
    event: str
    "registered, changed, restored, withdrawn, expired, deconfigured, rejected"
    table: EidTable
    key: int
    lease: Lease
    "by which it came, or was ended; where nobody ended it, by which it was held"
    record: bytes | None
    "of the part that came; None where one ended"
    source: str
    "address and port then: over UDP they may change"
    remaining: bytes | None = None
    "where a part ended: what the EID-prefix still has of others, None where it is gone"


class _Run(NamedTuple):
    """New registrations that one session made together."""

    first: int
    "number of the first"
    at: float
    changes: Sequence[Change]
    lease: Lease
    source: str

    def skipped(self, before: int | None) -> int:
        """Return how many lines do not have a smaller number than ``before``."""
        if before is None:
            return 0
        return min(len(self.changes), max(0, self.first + len(self.changes) - before))

    def newest_first(self, before: int | None) -> Iterator[HistoryLine]:
        """Yield the lines, or those with a smaller number than ``before``."""
        first, at, changes, lease, source = self
        event = "registered"
        if isinstance(lease, RestoredLease):
            event = "restored"
        for index in range(len(changes) - 1 - self.skipped(before), -1, -1):
            table, _length, key, _before, after, *_ = changes[index]
            record = after.record if after is not None else None
            yield HistoryLine(first + index, at, event, table, key, lease, record, source)


class History:
    """The latest changes."""

    def __init__(
        self,
        clock: Callable[[], float],
        limit: int = MAX_LINES,
        *,
        numbers: EventNumbers | None = None,
    ) -> None:
        """``clock`` returns monotonic seconds; ``numbers`` are those that rejections have too."""
        self.numbers = EventNumbers() if numbers is None else numbers
        self._clock = clock
        self._limit = limit
        self._kept = 0
        self._entries: deque[HistoryLine | _Run] = deque()

    @property
    def number(self) -> int:
        """The number of the newest line, or rejection if there is a newer one."""
        return self.numbers.newest

    def changed(self, changes: Sequence[Change]) -> None:
        """Take in changes of the mapping database: one, or new registrations of one session."""
        number, change, numbers = len(changes), changes[0], self.numbers
        first = numbers.newest + 1
        numbers.newest += number
        after = change[4]
        if change[3] is None and after is not None:
            # Its lease by now: another session of the xTR may hold all of it later.
            lease = after.lease
            # Half of what _Run(...) costs, and of asking the clock what the registration knows.
            at = after.since if lease.__class__ is Lease else self._clock()
            self._entries.append(_new(_Run, (first, at, changes, lease, lease.source)))
        else:
            self._entries.append(self._line(first, change))
        self._kept += number
        if self._kept > self._limit:
            self._drop()

    def newest_first(
        self, after: int | None = None, before: int | None = None
    ) -> Iterator[HistoryLine]:
        """Yield what is kept of the lines, or of those with a greater number than ``after`` and a
        smaller one than ``before``; nothing may change meanwhile.
        """
        last, left = after or 0, self._limit
        for entry in reversed(self._entries):
            left -= entry.skipped(before) if isinstance(entry, _Run) else 0
            for line in entry.newest_first(before) if isinstance(entry, _Run) else (entry,):
                if line.number <= last or left <= 0:
                    return
                left -= 1
                if before is None or line.number < before:
                    yield line

    def _line(self, number: int, change: Change) -> HistoryLine:
        # Taken apart at once: what is merged of many would keep all of them in memory.
        table, _length, key, before, after, by, why = change
        if why is None:
            parts = parts_of(after)
            part = parts[-1]
            is_new = len(parts) > len(parts_of(before))
            event, lease = "registered" if is_new else "changed", part.lease
            if isinstance(lease, RestoredLease):
                event = "restored"
            record, remaining = part.record, None
        else:
            # Not the record that went, too: a line keeps one at most.
            event, lease = why.value, by or _gone(before, after).lease
            record, remaining = None, after.record if after is not None else None
        return HistoryLine(
            number, self._clock(), event, table, key, lease, record, lease.source, remaining
        )

    def _drop(self) -> None:
        entries = self._entries
        while True:
            oldest = entries[0]
            size = len(oldest.changes) if isinstance(oldest, _Run) else 1
            if self._kept - size < self._limit:
                return
            self._kept -= size
            entries.popleft()


def _gone(before: Registration | None, after: Registration | None) -> Registration:
    left = parts_of(after)
    return next(part for part in parts_of(before) if part not in left)
