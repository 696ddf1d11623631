"""What another configuration takes back of what is registered
(draft-kouvelas-lisp-map-server-reliable-transport-07 §6.1.3).

Questions only, like :mod:`lispmsrt.mapping.policy`, but asked of the database.
"""

from __future__ import annotations

from collections.abc import Iterator

from lispmsrt.mapping.database import EidTable, Registration
from lispmsrt.mapping.merging import parts_of
from lispmsrt.mapping.sites import Sites
from lispmsrt.mapping.verdicts import Verdict
from lispmsrt.wire.record_walk import walk_records

__all__ = ["no_longer_allowed"]


def no_longer_allowed(
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
