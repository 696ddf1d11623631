"""What is registered, by whom, until when: what Registrations and Map-Registers that are authentic
and allowed do to the mapping database, and who must hear of it.

Times are monotonic seconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from lispmsrt.mapping.admittance import admitted
from lispmsrt.mapping.database import Database, EidTable, Lease, Registration, Xtr
from lispmsrt.mapping.holdings import Holdings, note_entered
from lispmsrt.mapping.kept_flags import kept_flags
from lispmsrt.mapping.merging import merging_work, part_of, parts_of
from lispmsrt.mapping.new_mappings import Stretch
from lispmsrt.mapping.refusals import Refusal
from lispmsrt.mapping.soft_state import SoftState
from lispmsrt.mapping.verdicts import Change, End
from lispmsrt.wire.map_register import RegisterFlag
from lispmsrt.wire.record_walk import RecordSpan, walk_records

__all__ = ["Registrations"]

_USE_TTL = RegisterFlag.USE_TTL


class Registrations:
    """Keep what is registered, and end it when its time is over."""

    def __init__(
        self,
        *,
        on_changes: Callable[[Sequence[Change]], None] | None,
        timeout: float,
        limit: int,
        recall: Callable[[EidTable, int], None],
    ) -> None:
        self.database = Database()
        self.counters: Counter[str] = Counter()
        self.count = 0
        "registrations, each part of a merged one"
        self._on_changes = on_changes
        self._limit = limit
        self._recall = recall
        self._over_udp: dict[Xtr, Lease] = {}
        self._soft_state = SoftState(timeout)
        self._holdings = Holdings(self._over_udp, self._soft_state.forget)
        self.leases = self._holdings.leases
        "all that hold something: of live sessions, of lost ones, of xTRs over UDP"

    @property
    def room(self) -> int:
        """How many more registrations there may be."""
        return self._limit - self.count

    def registered_record(self, instance_id: int, afi: int, key: int) -> bytes | None:
        """Return what everybody is told of an EID-prefix, merged where it is; None when nobody has
        registered it.
        """
        registration = self.database.exact(instance_id, afi, key)
        return registration.record if registration is not None else None

    # From a session or UDP

    def _enter(
        self,
        lease: Lease,
        data: bytes,
        span: RecordSpan,
        word: int,
        now: float,
        deadline: float | None,
    ) -> Refusal | None:
        """Register or withdraw one record; return why not, where it is refused. ``deadline`` is
        None on a live session.
        """
        start, ttl, instance_id, afi, length, key, _locators, end = span
        table = self.database.table(instance_id, afi)
        if not ttl:
            self._withdraw(lease, table, key)
            return None
        record = data[start:end]
        flags = kept_flags(word)
        current = table.entries.get(key)
        own = part_of(current, lease)
        if own is not None:
            if own.record == record and own.flags == flags:
                self._confirm(table, key, own, lease, now, deadline)
                return None
            if own.lease.is_live and not lease.is_live:
                # docs/draft.rst, Arming 8: over UDP nobody demotes what the same xTR's live
                # session holds.
                return None
        part = Registration(record, lease, flags, now, deadline)
        after = admitted(current, part, count=self.count, limit=self._limit)
        if isinstance(after, Refusal):
            self.counters[f"refused, {after.rule}"] += 1
            return after
        if deadline is not None:
            self._soft_state.add(part, deadline, now)
        elif flags & _USE_TTL:
            lease.uses_ttl = True
        self._tell(self._holdings.put(table, length, key, part, after))
        return None

    def _confirm(
        self,
        table: EidTable,
        key: int,
        own: Registration,
        lease: Lease,
        now: float,
        deadline: float | None,
    ) -> None:
        """The same mapping again: at most its lease and its time change."""
        holder = own.lease
        if deadline is None:
            self._soft_state.forget(own)
            own.deadline = None
        elif holder.is_live:
            return
        else:
            if own.deadline is None:
                self._soft_state.add(own, deadline, now)
            own.deadline = deadline
        if holder is not lease:
            self._holdings.hand_over(table, key, own, lease)
            if own.flags & _USE_TTL:
                lease.uses_ttl = True

    def _withdraw(self, lease: Lease, table: EidTable, key: int) -> None:
        self._recall(table, key)
        own = part_of(table.entries.get(key), lease)
        if own is None or (own.lease.is_live and not lease.is_live):
            return
        self.counters["withdrawn"] += 1
        self._end(table, key, own, End.WITHDRAWN, lease)

    def entered(self, stretches: Sequence[Stretch]) -> None:
        """Take note of new registrations of one lease, which stand among the entries already."""
        new = note_entered(stretches)
        self.count += len(new)
        if self._on_changes is not None:
            self._on_changes(new)

    # From before the process began

    def restore_run(self, lease: Lease, stretches: Sequence[Stretch]) -> None:
        """Take note of registrations of a lease that are not new, where there were none; they stand
        among the entries already, and the lease holds them.
        """
        self.leases[lease] = None
        self.entered(stretches)

    def restore(self, table: EidTable, part: Registration, key: int, now: float) -> bool:
        """Enter a registration that is not new; tell whether there is room, and it can be merged
        with what is there.
        """
        current = table.entries.get(key)
        after = admitted(current, part, count=self.count, limit=self._limit)
        if isinstance(after, Refusal):
            return False
        if part.deadline is not None:
            self._soft_state.add(part, part.deadline, now)
        self._tell(self._holdings.put(table, key.bit_length() - 1, key, part, after))
        return True

    def _tell(self, change: Change) -> None:
        """Count what a change has added or taken, and let everybody hear of it."""
        self.count += len(parts_of(change.after)) - len(parts_of(change.before))
        if self._on_changes is not None:
            self._on_changes([change])

    # When time is over

    def lose(self, lease: Lease, now: float) -> None:
        """Start the clock of everything that a lease holds."""
        self._soft_state.lose(lease, now)

    def next_expiry(self) -> float | None:
        """When :meth:`expire` may have something to do."""
        return self._soft_state.next_due()

    def expire(self, now: float) -> bool:
        """End what nobody confirmed in time; tell whether there is more to end at once."""
        return self._soft_state.end(now, self._expire_part)

    def _expire_part(self, part: Registration) -> int:
        record = part.record
        _start, _ttl, instance_id, afi, _, key, _, _ = walk_records(record, 0, len(record), 1)[0]
        table = self.database.table(instance_id, afi)
        work = merging_work(table.entries[key])
        self.counters["expired"] += 1
        self._end(table, key, part, End.EXPIRED)
        return work

    def _end(
        self, table: EidTable, key: int, part: Registration, why: End, by: Lease | None = None
    ) -> None:
        self._tell(self._holdings.remove(table, key, part, why, by))
