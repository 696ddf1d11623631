"""What another configuration takes back of what is registered
(draft-kouvelas-lisp-map-server-reliable-transport-07 §6.1.3).

Who writes the database is told; nothing else is changed here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from lispmsrt.mapping.database import Database, EidTable, Registration
from lispmsrt.mapping.merging import merging_work, parts_of
from lispmsrt.mapping.sites import Sites
from lispmsrt.mapping.verdicts import Verdict, Withdrawal
from lispmsrt.wire.record_walk import walk_records

__all__ = ["reexamined"]


def reexamined(
    database: Database,
    sites: Callable[[], Sites],
    end: Callable[[EidTable, int, Registration], None],
    batch: int,
) -> Iterator[list[Withdrawal]]:
    """Have ``end`` take out what the sites in force would refuse; yield after each ``batch`` looked
    at. The database may change between batches.
    """
    for table in list(database.tables.values()):
        withdrawals: list[Withdrawal] = []
        looked = 0
        for key in list(table.entries):
            looked += merging_work(table.entries.get(key))
            for part, reason in _no_longer_allowed(sites(), table, key):
                end(table, key, part)
                withdrawals.append(Withdrawal(part.lease, part.record, reason))
            if looked >= batch:
                yield withdrawals
                withdrawals, looked = [], 0
        if looked:
            yield withdrawals


def _no_longer_allowed(
    sites: Sites, table: EidTable, key: int
) -> Iterator[tuple[Registration, Verdict]]:
    """Yield what is registered for an EID-prefix and would be refused now, and why."""
    prefix = sites.match(table.instance_id, table.afi, key.bit_length() - 1, key)
    for part in parts_of(table.entries.get(key)):
        if prefix is None or prefix.site.name != part.lease.xtr.site:
            yield part, Verdict.NOT_A_VALID_SITE_EID_PREFIX
            continue
        record = part.record
        locators = walk_records(record, 0, len(record), 1)[0][6]
        if not prefix.site.allows_locators(record[locators:]):
            yield part, Verdict.LOCATOR_SET_NOT_ALLOWED
