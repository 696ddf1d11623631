"""The record that is merged of several (RFC 9301 §5.6), each of them read once and kept in the
form that merging wants.

One xTR may change its part all day, and then everything is merged anew: that part alone is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter

from lispmsrt.wire.addresses import EidPrefix
from lispmsrt.wire.records import (
    Action,
    Locator,
    MappingRecord,
    encode_locators,
    encode_record,
    locator_order,
)

__all__ = ["LegibleRecord", "merged_eid", "merged_record", "merged_rlocs"]

_Rloc = tuple[bytes, int, bytes]
"""Place in the order of locators, how early it is used (less is earlier), the RLOC-record."""

_COUNT_AT = 4
_FLAGS_AT, _ADDRESS_AT = 5, 6  # in an RLOC-record; the second octet of its flags
_REACHABLE = 0x1


class LegibleRecord:
    """A record that has been read to be merged. Treated as immutable."""

    __slots__ = ("action", "authoritative", "eid", "map_version", "rlocs", "ttl")

    def __init__(self, record: MappingRecord) -> None:
        self.eid = record.eid
        self.ttl = record.ttl
        self.action = record.action
        self.authoritative = record.authoritative
        self.map_version = record.map_version
        self.rlocs: dict[bytes, _Rloc] = {}
        "by AFI and address"
        for locator in record.locators:
            wire = encode_locators((locator,))
            _add(self.rlocs, wire[_ADDRESS_AT:], (_order(locator), _rank(locator), wire))


def merged_rlocs(records: Sequence[LegibleRecord]) -> dict[bytes, _Rloc]:
    """Return one RLOC-record for each RLOC: that which is used first, and of equals the first."""
    merged: dict[bytes, _Rloc] = {}
    for record in records:
        rlocs = record.rlocs
        if merged.keys().isdisjoint(rlocs):
            merged.update(rlocs)
        else:
            for address, rloc in rlocs.items():
                _add(merged, address, rloc)
    return merged


def merged_eid(records: Sequence[LegibleRecord]) -> EidPrefix:
    """Write the EID as an LCAF only where everybody does: not every ETR reads instance ID 0."""
    return next((one.eid for one in records if not one.eid.explicit_instance), records[0].eid)


def merged_record(records: Sequence[LegibleRecord], rlocs: dict[bytes, _Rloc]) -> bytes:
    """Return the record of all; ``rlocs`` are those of :func:`merged_rlocs`, 255 at most."""
    versions = {record.map_version for record in records}
    head = encode_record(
        MappingRecord(
            merged_eid(records),
            min([record.ttl for record in records]),
            (),
            # Of packets to an EID with locators nothing else is to be said.
            min([record.action for record in records]) if not rlocs else Action.NO_ACTION,
            all([record.authoritative for record in records]),
            versions.pop() if len(versions) == 1 else 0,
        )
    )
    # RFC 9301 §5.4: every xTR must number them alike.
    locators = [wire for _, _, wire in sorted(rlocs.values(), key=itemgetter(0))]
    count = bytes((len(locators),))
    return b"".join((head[:_COUNT_AT], count, head[_COUNT_AT + 1 :], *locators))


def _add(rlocs: dict[bytes, _Rloc], address: bytes, rloc: _Rloc) -> None:
    other = rlocs.get(address)
    if other is not None:
        order, rank, wire = rloc if rloc[1] < other[1] else other
        # R says that somebody reaches it.
        reachable = (rloc[2][_FLAGS_AT] | other[2][_FLAGS_AT]) & _REACHABLE
        flags = wire[_FLAGS_AT] | reachable
        rloc = order, rank, wire[:_FLAGS_AT] + bytes((flags,)) + wire[_ADDRESS_AT:]
    rlocs[address] = rloc


def _rank(locator: Locator) -> int:
    return locator.priority << 8 | 0xFF - locator.weight


def _order(locator: Locator) -> bytes:
    afi, lcaf_type, rest = locator_order(locator)
    return b"".join((afi.to_bytes(2, "big"), bytes((lcaf_type,)), rest))
