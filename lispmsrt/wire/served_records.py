"""Mapping records in wire form, as a Map-Server puts them into its Map-Replies (RFC 9301 §5.4,
§5.5, §8.3).

Registered records are made over by their offsets, never decoded: a Map-Server that replies for its
ETRs does nothing else all day. One of the few files that look fast rather than plain.
"""

from __future__ import annotations

from struct import Struct

from lispmsrt.wire.addresses import Address, Afi, EidPrefix, encode_eid, plain_addresses
from lispmsrt.wire.errors import WireError
from lispmsrt.wire.lcaf import decode_locator_address
from lispmsrt.wire.packing import pack
from lispmsrt.wire.reader import Reader
from lispmsrt.wire.record_walk import EID_OFFSET
from lispmsrt.wire.records import RECORD_LAYOUT, UNUSABLE_PRIORITY

__all__ = [
    "local_rlocs",
    "locator_count",
    "negative_record",
    "record_ttl",
    "served_record",
    "with_fewer_locators",
    "with_ttl",
]

_TTL = Struct("!I")
_AFI = Struct("!H")
_COUNT_AT = 4
_AUTHORITATIVE = 0x1000
_LOCAL, _REACHABLE = 0x4, 0x1
_FLAGS_AT, _LOCATOR_AFI_AT = 5, 6  # in an RLOC-record; its flags' second octet
_LCAF_LENGTH_AT, _LCAF_BODY_AT = 6, 8  # from the AFI
_MOST_LOOKED_INTO = 256
"""Octets of an LCAF that addresses are looked for in: for each Map-Request that is passed on, so
that who registered it must not make that expensive.
"""
_OCTETS = {int(Afi.NONE): 0, int(Afi.IPV4): 4, int(Afi.IPV6): 16, int(Afi.MAC): 6}


def negative_record(eid: EidPrefix, ttl: int, action: int) -> bytes:
    """Return a record without locators; ``ttl`` in minutes."""
    return pack(RECORD_LAYOUT, ttl, 0, eid.length, action << 13, 0) + _eid_wire(eid)


def served_record(record: bytes, eid: EidPrefix) -> bytes:
    """Return a registered record as one that does not come from its ETR: A cleared, L cleared in
    all locators. ``eid`` stands in place of its EID-prefix: the same one, or a part of it.
    """
    ttl, count, _length, bits, version = RECORD_LAYOUT.unpack_from(record)
    locators = bytearray(record[_after_address(record, EID_OFFSET) :])
    at = 0
    for left in range(count, 0, -1):
        locators[at + _FLAGS_AT] &= ~_LOCAL
        if left > 1:
            at = _after_address(locators, at + _LOCATOR_AFI_AT)
    fixed = RECORD_LAYOUT.pack(ttl, count, eid.length, bits & ~_AUTHORITATIVE, version)
    return b"".join((fixed, _eid_wire(eid), locators))


def locator_count(record: bytes) -> int:
    """Return how many locators the record has."""
    return record[_COUNT_AT]


def record_ttl(record: bytes) -> int:
    """Return the record TTL in minutes."""
    ttl: int = _TTL.unpack_from(record)[0]
    return ttl


def with_ttl(record: bytes, ttl: int) -> bytes:
    """Return the record with another TTL, in minutes."""
    return _TTL.pack(ttl) + record[_TTL.size :]


def with_fewer_locators(record: bytes, octets: int) -> bytes | None:
    """Return the record with as many of its locators as fit, the best priorities first and in their
    order; None where not even one does.
    """
    locators_at = _after_address(record, EID_OFFSET)
    spans = _locator_spans(record, locators_at)
    room = octets - locators_at
    kept: set[tuple[int, int]] = set()
    # Locators of the priority that says "don't use" would make a mapping that leads nowhere.
    usable = [span for span in spans if record[span[0]] != UNUSABLE_PRIORITY]
    for start, end in sorted(usable, key=lambda span: record[span[0]]):
        if end - start > room:
            break
        room -= end - start
        kept.add((start, end))
    if not kept:
        return None
    head = record[:_COUNT_AT] + bytes((len(kept),)) + record[_COUNT_AT + 1 : locators_at]
    return head + b"".join(record[start:end] for start, end in spans if (start, end) in kept)


def local_rlocs(record: bytes) -> list[tuple[int, bytes]]:
    """Return priority and packed address of every IPv4 and IPv6 RLOC that belongs to who registered
    the record (L) and is reachable (R); those of priority 255 must not be used and are left out.
    """
    found = []
    for start, _end in _locator_spans(record, _after_address(record, EID_OFFSET)):
        priority, flags = record[start], record[start + _FLAGS_AT]
        if flags & _LOCAL and flags & _REACHABLE and priority != UNUSABLE_PRIORITY:
            at = start + _LOCATOR_AFI_AT
            found += [(priority, packed) for packed in _ip_addresses(record, at)]
    return found


def _ip_addresses(record: bytes, at: int) -> list[bytes]:
    afi = _AFI.unpack_from(record, at)[0]
    if afi in (Afi.IPV4, Afi.IPV6):
        return [record[at + 2 : at + 2 + _OCTETS[afi]]]
    if _after_address(record, at) - at > _MOST_LOOKED_INTO:
        return []
    addresses = plain_addresses(decode_locator_address(Reader(record, at))) or []
    return [address.packed for address in addresses if address.afi in (Afi.IPV4, Afi.IPV6)]


def _locator_spans(record: bytes, at: int) -> list[tuple[int, int]]:
    """Return start and end of each RLOC-record; ``at`` is where the first begins."""
    spans = []
    for _ in range(record[_COUNT_AT]):
        end = _after_address(record, at + _LOCATOR_AFI_AT)
        spans.append((at, end))
        at = end
    return spans


def _eid_wire(eid: EidPrefix) -> bytes:
    address = eid.address
    if eid.instance_id or eid.explicit_instance or not isinstance(address, Address):
        return encode_eid(eid)
    if address.afi in _OCTETS:
        # It was asked for or registered, so its octets suit the family.
        return _AFI.pack(address.afi) + address.packed
    return encode_eid(eid)


def _after_address(data: bytes | bytearray, at: int) -> int:
    """Return where the address ends whose AFI stands at ``at``, in a record that was accepted."""
    afi = _AFI.unpack_from(data, at)[0]
    octets = _OCTETS.get(afi)
    if octets is not None:
        return at + 2 + octets
    if afi == Afi.LCAF:
        length: int = _AFI.unpack_from(data, at + _LCAF_LENGTH_AT)[0]
        return at + _LCAF_BODY_AT + length
    if afi != Afi.NAME:
        raise WireError(f"AFI {afi} is not known")
    return data.index(0, at + 2) + 1
