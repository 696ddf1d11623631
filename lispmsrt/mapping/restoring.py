"""What a Map-Server knew before it was started anew, back into its mapping database.

Policy in force now decides again. What anybody has registered since the start counts more than what
is remembered, and nothing is restored that was withdrawn. What is restored has no live session: it
ends in time unless its ETR confirms it. Times are monotonic seconds; those before the start of the
process may be negative.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from lispmsrt.mapping.database import Database, EidTable, Lease, Registration
from lispmsrt.mapping.lookup import Found, FoundKind, Hit, Lookup
from lispmsrt.mapping.merging import part_of
from lispmsrt.mapping.new_mappings import Stretch
from lispmsrt.mapping.registrar import Registrar
from lispmsrt.mapping.restored import RestoredLease
from lispmsrt.mapping.sites import Sites, eid_key
from lispmsrt.wire.addresses import Address, EidPrefix
from lispmsrt.wire.errors import WireError
from lispmsrt.wire.map_register import RegisterFlag
from lispmsrt.wire.record_walk import RecordSpan, walk_records
from lispmsrt.wire.records import NO_EXPIRY

__all__ = ["RecallingLookup", "Remembered", "RememberedXtr", "Restoring"]

_USE_TTL = int(RegisterFlag.USE_TTL)
_MERGE = int(RegisterFlag.MERGE)
_UDP = "UDP"


class RememberedXtr(NamedTuple):
    """An xTR that had something registered."""

    lease: RestoredLease
    heard: float
    "when it was heard last, or its session lost: when it began to be forgotten"


class Remembered(NamedTuple):
    """What one xTR had registered for an EID-prefix."""

    xtr: RememberedXtr
    record: bytes
    flags: int
    since: float


class Restoring:
    """Take back what is remembered, EID-prefix by EID-prefix."""

    def __init__(self, registrar: Registrar, timeout: float) -> None:
        """``timeout``: seconds that a registration lasts without its ETR being heard."""
        self.counters: Counter[str] = Counter()
        self._registrar = registrar
        self._timeout = timeout

    def restore(
        self, instance_id: int, afi: int, key: int, parts: Sequence[Remembered], now: float
    ) -> bool:
        """Take back one EID-prefix; tell whether all that was remembered of it is registered
        now. What is not, is not remembered any longer.
        """
        is_whole = True
        current = self._registrar.database.exact(instance_id, afi, key)
        for part in parts:
            if part_of(current, part.xtr.lease) is not None:
                # By who asked for it just now; or the xTR itself was faster.
                continue
            if self._restore_part((instance_id, afi, key), part, now):
                self.counters["restored"] += 1
            else:
                is_whole = False
        return is_whole

    def restore_run(
        self, table: EidTable, rows: Sequence[tuple[int, Remembered]], now: float
    ) -> list[tuple[int, Remembered]]:
        """Take back many EID-prefixes of one xTR each, by prefix key; return those that are not
        ordinary, with which nothing was done: they are for :meth:`restore`.
        """
        left: list[tuple[int, Remembered]] = []
        runs: dict[tuple[RestoredLease, int], list[tuple[int, Remembered]]] = {}
        room = self._registrar.room
        for row in rows:
            if room > 0 and self._is_ordinary(table, *row, now):
                part = row[1]
                runs.setdefault((part.xtr.lease, part.flags), []).append(row)
                room -= 1
            else:
                left.append(row)
        for (lease, flags), run in runs.items():
            self._enter_run(table, lease, flags, run)
        self.counters["restored"] += len(rows) - len(left)
        return left

    def _is_ordinary(self, table: EidTable, key: int, part: Remembered, now: float) -> bool:
        """Whether a session held it alone, and it is to be restored."""
        span = _span(part.record)
        return (
            span is not None
            and table.index is not None
            and (span[2], span[3], span[5]) == (table.instance_id, table.afi, key)
            and span[1] != 0
            and not part.flags & _MERGE
            and key not in table.entries
            and self._own_deadline(part, span[1]) is None
            and part.xtr.heard + self._timeout > now
            and self._is_allowed(span, part)
        )

    def _enter_run(
        self,
        table: EidTable,
        lease: RestoredLease,
        flags: int,
        run: Sequence[tuple[int, Remembered]],
    ) -> None:
        is_first = not lease.held
        keys = [key for key, _part in run]
        registrations = [
            Registration(part.record, lease, flags, part.since, None) for _key, part in run
        ]
        lengths: Counter[int] = Counter()
        entries = table.entries
        for key, registration in zip(keys, registrations, strict=True):
            entries[key] = registration
            lease.held[registration] = None
            lengths[key.bit_length() - 1] += 1
        self._registrar.restore_run(lease, [Stretch(table, keys, registrations, lengths)])
        if is_first:
            self._registrar.lose(lease, run[0][1].xtr.heard)

    def _restore_part(self, name: tuple[int, int, int], part: Remembered, now: float) -> bool:
        """Take back what one xTR registered; tell whether it is registered now."""
        span = _span(part.record)
        if span is None or (span[2], span[3], span[5]) != name or not span[1]:
            self.counters["not restored, damaged"] += 1
            return False
        if not self._is_allowed(span, part):
            self.counters["not restored, no longer allowed"] += 1
            return False
        lease, heard = part.xtr
        own = self._own_deadline(part, span[1])
        deadline = heard + self._timeout if own is None else own
        if deadline <= now:
            self.counters["not restored, expired meanwhile"] += 1
            return False
        table = self._registrar.database.table(*name[:2])
        if not _may_join(table.entries.get(name[2]), lease, part.flags):
            self.counters["not restored, registered anew"] += 1
            return False
        registration = Registration(part.record, lease, part.flags, part.since, own)
        is_first = not lease.held
        if not self._registrar.restore(table, registration, name[2], now):
            self.counters["not restored, no room or not to be merged"] += 1
            return False
        if is_first and lease.transport != _UDP:
            self._registrar.lose(lease, heard)
        return True

    def _is_allowed(self, span: RecordSpan, part: Remembered) -> bool:
        _start, _ttl, instance_id, afi, length, key, locators, _end = span
        prefix = self._registrar.sites.match(instance_id, afi, length, key)
        return (
            prefix is not None
            and prefix.site.name == part.xtr.lease.xtr.site
            and prefix.site.allows_locators(part.record[locators:])
        )

    def _own_deadline(self, part: Remembered, ttl: int) -> float | None:
        """When the registration ends unless it is confirmed; None where its lease decides."""
        lease, heard = part.xtr
        has_own = part.flags & _USE_TTL and ttl != NO_EXPIRY
        if lease.transport == _UDP:
            lasts = 60.0 * ttl if has_own else self._timeout
            return max(heard, part.since) + lasts
        return heard + 60.0 * ttl if has_own and 60.0 * ttl < self._timeout else None


def _span(record: bytes) -> RecordSpan | None:
    try:
        return walk_records(record, 0, len(record), 1)[0]
    except WireError:
        return None


def _may_join(current: Registration | None, lease: Lease, flags: int) -> bool:
    """Whether what is remembered has its place beside what is there, which is newer."""
    if current is None:
        return True
    return bool(flags & current.flags & _MERGE) and current.lease.xtr.site == lease.xtr.site


Recalls = Callable[[EidTable, int], None]
"""Takes back at once, if that was not done yet, all that covers a prefix: the table and the prefix
key.
"""


class RecallingLookup(Lookup):
    """Lookups while not all is restored: whatever covers an EID is taken back before it is
    answered.

    The answer is for that EID alone: what else there will be around it is not known yet.
    """

    def __init__(
        self,
        database: Database,
        sites: Callable[[], Sites],
        recall: Recalls,
        is_partial: Callable[[], bool],
    ) -> None:
        """``is_partial``: whether something is left to be restored."""
        super().__init__(database, sites)
        self._database = database
        self._recall = recall
        self.is_partial = is_partial

    def find(self, eid: EidPrefix) -> Found:
        """Find what is right for every packet to ``Found.eid``."""
        address = eid.address
        if not self.is_partial() or not isinstance(address, Address):
            return super().find(eid)
        width = 8 * len(address.packed)
        host = EidPrefix(eid.instance_id, address, width, eid.explicit_instance)
        instance_id, afi, length, key = eid_key(host)
        # Only what a site has can have been registered: nobody makes tables by asking.
        prefix = self._sites().covering(instance_id, afi, length, key)
        if prefix is None:
            return super().find(eid)
        table = self._database.table(instance_id, afi)
        self._recall(table, key)
        for found, registration in table.covering(length, key):
            hit = Hit(table, found.bit_length() - 1, found, registration)
            return Found(FoundKind.MAPPED, host, hit, (), prefix)
        return Found(FoundKind.NOT_REGISTERED, host, None, (), prefix)
