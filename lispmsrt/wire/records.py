"""EID-records and RLOC-records (RFC 9301 §5.4): the mapping as every control message carries it.

Registrations on the hot path are walked in place elsewhere; this is the plain pair for everything
else.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from struct import Struct

from lispmsrt.wire.addresses import (
    Address,
    Afi,
    EidPrefix,
    Lcaf,
    decode_eid,
    decode_locator_address,
    encode_address,
    encode_eid,
)
from lispmsrt.wire.packing import check_bits, pack
from lispmsrt.wire.reader import Reader

__all__ = [
    "NO_EXPIRY",
    "RECORD_LAYOUT",
    "UNUSABLE_PRIORITY",
    "Action",
    "Locator",
    "MappingRecord",
    "decode_locators",
    "decode_record",
    "decode_records",
    "encode_locators",
    "encode_record",
    "locator_order",
    "sorted_locators",
]

RECORD_LAYOUT = Struct("!IBBHH")  # TTL, locators, mask length, ACT|A|reserved, reserved|version
_LOCATOR = Struct("!BBBBH")  # priority, weight, multicast priority and weight, unused|L|p|R

NO_EXPIRY = 0xFFFFFFFF
"""TTL that leaves it to the receiver how long to keep the record."""

UNUSABLE_PRIORITY = 255
"""A locator of this priority must not be used."""

_AUTHORITATIVE = 0x1000
_LOCAL, _PROBE, _REACHABLE = 0x4, 0x2, 0x1


class Action(enum.IntEnum):
    """What to do with packets to an EID that has no locators."""

    NO_ACTION = 0
    NATIVELY_FORWARD = 1
    SEND_MAP_REQUEST = 2
    DROP = 3
    DROP_POLICY_DENIED = 4
    DROP_AUTH_FAILURE = 5


@dataclass(slots=True, unsafe_hash=True)
class Locator:
    """One RLOC-record."""

    rloc: Address | Lcaf
    priority: int = 1
    weight: int = 100
    multicast_priority: int = UNUSABLE_PRIORITY
    multicast_weight: int = 0
    local: bool = True
    """L: the RLOC belongs to who sent the record."""

    probe: bool = False
    """p: this RLOC is being probed, or answers a probe."""

    reachable: bool = True
    """R."""


@dataclass(slots=True, unsafe_hash=True)
class MappingRecord:
    """One EID-record with its RLOC-records."""

    eid: EidPrefix
    ttl: int
    """Minutes."""

    locators: tuple[Locator, ...]
    action: int = Action.NO_ACTION
    authoritative: bool = False
    map_version: int = 0
    """12 bits (RFC 9302); 0: none."""


def encode_record(record: MappingRecord) -> bytes:
    """Return the record with its locators in the order of RFC 9301."""
    action = check_bits(record.action, 3, "action") << 13
    bits = action | (_AUTHORITATIVE if record.authoritative else 0)
    version = check_bits(record.map_version, 12, "map version")
    fixed = (record.ttl, len(record.locators), record.eid.length, bits, version)
    return pack(RECORD_LAYOUT, *fixed) + encode_eid(record.eid) + encode_locators(record.locators)


def decode_record(reader: Reader) -> MappingRecord:
    """Read one record."""
    ttl, count, length, bits, version = reader.unpack(RECORD_LAYOUT)
    eid = decode_eid(reader, length)
    locators = decode_locators(reader, count)
    authoritative = bool(bits & _AUTHORITATIVE)
    return MappingRecord(eid, ttl, locators, bits >> 13, authoritative, version & 0xFFF)


def decode_records(reader: Reader, count: int) -> tuple[MappingRecord, ...]:
    """Read ``count`` records."""
    return tuple(decode_record(reader) for _ in range(count))


def encode_locators(locators: tuple[Locator, ...]) -> bytes:
    """Return the RLOC-records, sorted."""
    return b"".join(map(_encode_locator, sorted_locators(locators)))


def decode_locators(reader: Reader, count: int) -> tuple[Locator, ...]:
    """Read ``count`` RLOC-records."""
    return tuple(_decode_locator(reader) for _ in range(count))


def sorted_locators(locators: tuple[Locator, ...]) -> tuple[Locator, ...]:
    """Return the locators in the order every xTR must number them in."""
    # RFC 9301 §5.4: ascending, IPv4 before IPv6; RFC 8060 §3: LCAFs by AFI, then by type.
    return tuple(sorted(locators, key=locator_order))


def locator_order(locator: Locator) -> tuple[int, int, bytes]:
    """Return what the locators of a record are sorted by."""
    rloc = locator.rloc
    if isinstance(rloc, Address):
        return rloc.afi, 0, rloc.packed
    return Afi.LCAF, rloc.lcaf_type, rloc.encode_body()


def _encode_locator(locator: Locator) -> bytes:
    flags = (
        (_LOCAL if locator.local else 0)
        | (_PROBE if locator.probe else 0)
        | (_REACHABLE if locator.reachable else 0)
    )
    usage = (locator.priority, locator.weight, locator.multicast_priority, locator.multicast_weight)
    return pack(_LOCATOR, *usage, flags) + encode_address(locator.rloc)


def _decode_locator(reader: Reader) -> Locator:
    priority, weight, multicast_priority, multicast_weight, flags = reader.unpack(_LOCATOR)
    return Locator(
        decode_locator_address(reader),
        priority,
        weight,
        multicast_priority,
        multicast_weight,
        bool(flags & _LOCAL),
        bool(flags & _PROBE),
        bool(flags & _REACHABLE),
    )
