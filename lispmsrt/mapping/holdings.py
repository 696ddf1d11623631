"""Who holds what: the only lines, besides those of a run, that write the mapping database.

Every registration, part of a merged one or not, is held by exactly one lease. Whether something may
be registered is the registrar's business, what is merged of it
:mod:`lispmsrt.mapping.merging`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lispmsrt.mapping.database import EidTable, Lease, Registration, Xtr
from lispmsrt.mapping.merging import MergedRegistration, parts_of, without_part
from lispmsrt.mapping.new_mappings import NewMappings, Stretch
from lispmsrt.mapping.verdicts import Change, End

__all__ = ["Holdings", "is_held", "note_entered"]


class Holdings:
    """Write the database and the leases together. ``over_udp`` has the lease of each xTR over UDP,
    and no empty one; ``forget`` hears of each registration that is no more.
    """

    def __init__(self, over_udp: dict[Xtr, Lease], forget: Callable[[Registration], None]) -> None:
        self.leases: dict[Lease, None] = {}
        "all that hold something: of live sessions, of lost ones, of xTRs over UDP"
        self._over_udp = over_udp
        self._forget = forget

    def put(
        self, table: EidTable, length: int, key: int, part: Registration, after: Registration
    ) -> Change:
        """Enter ``part``, with which ``after`` stands at the EID-prefix: itself, or merged."""
        before = table.entries.get(key)
        if before is None:
            table.put(length, key, after)
        else:
            table.replace(length, key, after)
            kept = set(parts_of(after))
            for one in parts_of(before):
                if one not in kept:
                    self._let_go(one)
                    self._forget(one)
        self._take(part.lease, part)
        return Change(table, length, key, before, after)

    def remove(
        self, table: EidTable, key: int, part: Registration, why: End, by: Lease | None
    ) -> Change:
        """Take out ``part``; of a merged registration the others stay."""
        length = key.bit_length() - 1
        before = table.entries[key]
        after = without_part(before, part)
        if after is None:
            table.remove(length, key)
        else:
            table.replace(length, key, after)
        self._let_go(part)
        self._forget(part)
        return Change(table, length, key, before, after, by, why)

    def hand_over(self, table: EidTable, key: int, part: Registration, lease: Lease) -> None:
        """Have another lease of the same xTR hold ``part``."""
        self._let_go(part)
        self._take(lease, part)
        part.lease = lease
        entry = table.entries[key]
        if isinstance(entry, MergedRegistration):
            entry.lease = entry.newest.lease

    def _take(self, lease: Lease, part: Registration) -> None:
        lease.held[part] = None
        self.leases[lease] = None

    def _let_go(self, part: Registration) -> None:
        """Take a registration from its lease; of xTRs over UDP no empty lease is kept."""
        lease = part.lease
        del lease.held[part]
        if lease.held:
            return
        # It gives back the room that a million took: the history may keep the lease.
        lease.held.clear()
        del self.leases[lease]
        if self._over_udp.get(lease.xtr) is lease:
            del self._over_udp[lease.xtr]


def is_held(current: Registration, lease: Lease, record: bytes, flags: int) -> bool:
    """Whether a live session holds exactly this already, and not as a part of something else."""
    return (
        current.lease is lease
        and current.record == record
        and current.flags == flags
        and current.__class__ is Registration
    )


def note_entered(stretches: Sequence[Stretch]) -> NewMappings:
    """Let the tables count and put in order what a run has put into their entries."""
    new: dict[EidTable, list[int]] = {}
    for table, keys, registrations, lengths in stretches:
        # All of a table together: its index must not see in the entries what it is told later.
        new.setdefault(table, []).extend(keys)
        is_watched = registrations[0].wants_notification
        for length, count in lengths.items():
            table.count(length, count, is_watched=is_watched)
    for table, keys in new.items():
        table.entered(keys)
    return NewMappings(stretches)
