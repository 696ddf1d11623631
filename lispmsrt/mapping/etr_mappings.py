"""What an ETR has mappings for, to be looked up when it is asked (RFC 9301 §5.5).

It holds what the application registered, whatever the Map-Servers make of it: an ETR is the
authority for its own mappings.
"""

from __future__ import annotations

from lispmsrt.mapping.database import Database, Lease, Registration, Xtr
from lispmsrt.mapping.lookup import Found, Lookup
from lispmsrt.mapping.sites import Sites, eid_key
from lispmsrt.wire.addresses import EidPrefix
from lispmsrt.wire.record_walk import walk_records

__all__ = ["EtrMappings"]


class EtrMappings:
    """An ETR's own mappings by EID-prefix."""

    def __init__(self) -> None:
        self._database = Database()
        no_sites = Sites()
        self._lookup = Lookup(self._database, lambda: no_sites)
        # The tables are those of a Map-Server, where each registration is somebody's.
        self._own = Lease(Xtr("", b"", b""), "", "", is_live=True)

    def __len__(self) -> int:
        return len(self._database)

    def put(self, record: bytes) -> None:
        """Enter or replace a mapping, as a record in wire form."""
        _start, _ttl, instance_id, afi, length, key, *_ = walk_records(record, 0, len(record), 1)[0]
        table = self._database.table(instance_id, afi)
        mapping = Registration(record, self._own, 0, 0.0, None)
        if key in table.entries:
            table.entries[key] = mapping
        else:
            table.put(length, key, mapping)

    def remove(self, eid: EidPrefix) -> None:
        """Take out the mapping of exactly this EID-prefix, if there is one."""
        instance_id, afi, length, key = eid_key(eid)
        if self._database.exact(instance_id, afi, key) is not None:
            self._database.table(instance_id, afi).remove(length, key)

    def find(self, eid: EidPrefix) -> Found:
        """Find the mapping that covers an EID, and those inside of it."""
        return self._lookup.find(eid)
