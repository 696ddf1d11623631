"""Mapping records by their offsets, without building values (RFC 9301 §5.4, RFC 8060).

The hot path of a Map-Server: it keeps records in wire form, so all it needs of one is where its
parts lie and what its EID-prefix is called in the database. One of the few files that look fast
rather than plain.
"""

from __future__ import annotations

from struct import Struct

from lispmsrt.wire.afi import MAX_NAME_OCTETS, Afi
from lispmsrt.wire.errors import WireError

__all__ = ["EID_OFFSET", "UNSUPPORTED_EID", "RecordSpan", "prefix_key", "walk_records"]

RecordSpan = tuple[int, int, int, int, int, int, int, int]
"""Start, record TTL, instance ID, family, prefix length, prefix key, start of the locators, end.

The family is an :class:`Afi`; ``UNSUPPORTED_EID`` for an EID that can't be a lookup key here: an
LCAF, or no address (the prefix key is 0 then). Offsets are in octets from the start of the bytes.
"""

EID_OFFSET = 10
"""From the start of a record to its EID-prefix AFI. The mask length stands at octet 5."""

UNSUPPORTED_EID = int(Afi.LCAF)

_FIXED = Struct("!IBBHHH")  # TTL, locator count, mask length, ACT|A, map version, EID-AFI
_FIXED_IPV4 = Struct("!IBBHHHI")
_LCAF = Struct("!BBBBH")  # reserved, flags, type, reserved, length
_INSTANCE = Struct("!BBBBHIH")  # the same, instance ID, AFI
_INSTANCE_TYPE = 2
_IPV4_LOCATOR_SIZE = 12
_WIDTHS = {int(Afi.IPV4): 4, int(Afi.IPV6): 16, int(Afi.MAC): 6}
_FIXED_SIZES = {int(Afi.NONE): 0, **_WIDTHS}


def prefix_key(network: int, width: int, length: int) -> int:
    """Name a prefix by one number: its leading bits behind a set bit; no two lengths share a key.

    The key of the covering prefix of length ``m`` is ``key >> (length - m)``.
    """
    return network >> width - length | 1 << length


def walk_records(data: bytes, offset: int, end: int, count: int) -> list[RecordSpan]:
    """Find ``count`` records that fill ``data[offset:end]`` exactly."""
    spans: list[RecordSpan] = []
    limit = len(data)
    if end > limit:
        raise WireError("message is cut short")
    for _ in range(count):
        if offset + 16 <= end:
            ttl, locators, length, _, _, afi, network = _FIXED_IPV4.unpack_from(data, offset)
        elif offset + 12 <= end:
            ttl, locators, length, _, _, afi = _FIXED.unpack_from(data, offset)
        else:
            raise WireError("record is cut short")
        instance_id = 0
        if afi == 1 and offset + 16 <= end:
            at = offset + 16
            if length > 32:
                raise WireError("prefix length exceeds the address")
            key = network >> 32 - length | 1 << length
        else:
            afi, instance_id, length, key, at = _walk_eid(data, offset + 12, end, afi, length)
        locators_at = at
        for _ in range(locators):
            if data[at + 6 : at + 8] == b"\0\1":
                at += _IPV4_LOCATOR_SIZE
            else:
                at = _walk_rloc(data, at + 6, end)
        if at > end:
            raise WireError("record is cut short")
        spans.append((offset, ttl, instance_id, afi, length, key, locators_at, at))
        offset = at
    if offset != end:
        raise WireError(f"{end - offset} octets left over after the last record")
    return spans


def _walk_eid(
    data: bytes, at: int, end: int, afi: int, length: int
) -> tuple[int, int, int, int, int]:
    """Return family, instance ID, prefix length, prefix key and end of the EID.

    ``at`` is where its address begins, behind the AFI.
    """
    instance_id = 0
    if afi == Afi.LCAF:
        after = _walk_address(data, at - 2, end)
        if data[at + 2] != _INSTANCE_TYPE or after < at + _INSTANCE.size:
            return UNSUPPORTED_EID, 0, length, 0, after
        *_, instance_id, afi = _INSTANCE.unpack_from(data, at)
        if afi not in _WIDTHS and afi != Afi.NAME:
            return UNSUPPORTED_EID, instance_id, length, 0, after
        at += _INSTANCE.size
        if _walk_address(data, at - 2, after) != after:
            raise WireError("LCAF length does not fit the address inside")
    else:
        after = _walk_address(data, at - 2, end)
        if afi == Afi.NONE:
            return UNSUPPORTED_EID, 0, length, 0, after
    if afi == Afi.NAME:
        # RFC 9735: a name matches whole, so its mask length is all its bits, as far as an octet can
        # say so.
        address = data[at : after - 1]
        octets = len(address)
        if octets > MAX_NAME_OCTETS or length != min(8 * octets, 255):
            return UNSUPPORTED_EID, instance_id, length, 0, after
        length = 8 * octets
    else:
        address = data[at:after]
    width = 8 * len(address)
    if length > width:
        raise WireError("prefix length exceeds the address")
    key = prefix_key(int.from_bytes(address, "big"), width, length)
    return afi, instance_id, length, key, after


def _walk_rloc(data: bytes, at: int, end: int) -> int:
    """Return where the RLOC ends whose AFI stands at ``at``."""
    after = _walk_address(data, at, end)
    # What is kept must be readable as a value later.
    if data[at + 1] == Afi.NAME and not data[at] and after - at > MAX_NAME_OCTETS + 3:
        raise WireError("distinguished name is too long")
    return after


def _walk_address(data: bytes, at: int, end: int) -> int:
    """Return where the address ends whose AFI stands at ``at``."""
    afi = int.from_bytes(data[at : at + 2], "big")
    after = at + 2
    size = _FIXED_SIZES.get(afi)
    if size is not None:
        after += size
    elif afi == Afi.LCAF:
        if after + _LCAF.size > end:
            raise WireError("LCAF is cut short")
        after += _LCAF.size + _LCAF.unpack_from(data, after)[4]
    elif afi == Afi.NAME:
        after = data.find(b"\0", after, end) + 1
        if not after:
            raise WireError("distinguished name without its terminating NUL")
    else:
        raise WireError(f"AFI {afi} is not known")
    if after > end:
        raise WireError("address is cut short")
    return after
