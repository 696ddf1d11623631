"""Map-Request (RFC 9301 §5.2), with the subscriptions of RFC 9437.

Two ways to read one: :func:`decode_map_request` builds a value of any; :func:`walk_map_request`
reads the form that nearly all have, for those who answer tens of thousands a second.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from struct import Struct

from lispmsrt.wire.addresses import (
    NO_ADDRESS,
    Address,
    Afi,
    EidPrefix,
    Lcaf,
    decode_address,
    decode_eid,
    decode_locator_address,
    encode_address,
    encode_eid,
)
from lispmsrt.wire.errors import WireError
from lispmsrt.wire.messages import ControlType, decode_header, encode_header
from lispmsrt.wire.packing import check_bits, check_octets, pack
from lispmsrt.wire.reader import Reader
from lispmsrt.wire.records import MappingRecord, decode_record, encode_record

__all__ = [
    "MAX_ITR_RLOCS",
    "MapRequest",
    "MapRequestSpan",
    "RequestFlag",
    "RequestedEid",
    "decode_map_request",
    "encode_map_request",
    "walk_map_request",
]

MAX_ITR_RLOCS = 32
"""What IRC, five bits that mean one more than they say, can count."""

_RECORD = Struct("!BB")  # N|reserved, mask length
_XTR_ID_OCTETS, _SITE_ID_OCTETS = 16, 8


class RequestFlag:
    """Bits of the first word (RFC 9301 §5.2, RFC 9437 §4)."""

    AUTHORITATIVE = 1 << 27
    MAP_DATA = 1 << 26
    PROBE = 1 << 25
    SMR = 1 << 24
    PITR = 1 << 23
    SMR_INVOKED = 1 << 22
    XTR_ID = 1 << 20
    LOCAL_XTR = 1 << 14
    DONT_MAP_REPLY = 1 << 13


_AUTHORITATIVE = RequestFlag.AUTHORITATIVE
_MAP_DATA = RequestFlag.MAP_DATA
_PROBE = RequestFlag.PROBE
_SMR = RequestFlag.SMR
_PITR = RequestFlag.PITR
_SMR_INVOKED = RequestFlag.SMR_INVOKED
_XTR_ID = RequestFlag.XTR_ID
_LOCAL_XTR = RequestFlag.LOCAL_XTR
_DONT_MAP_REPLY = RequestFlag.DONT_MAP_REPLY
_IRC_SHIFT = 8
_SUBSCRIBE = 0x80

_HEAD = Struct("!IQH")  # first word, nonce, source EID's AFI
_AFI = Struct("!H")
_COMMON_RECORD = Struct("!BBH")  # N|reserved, mask length, AFI
_INSTANCE = Struct("!BBBBHIH")  # reserved, flags, type, reserved, length, instance ID, AFI
_INSTANCE_TYPE = 2
_LAYOUT = 0xF << 28 | _MAP_DATA | _XTR_ID | 0xFF  # what decides which fields there are
_COMMON_LAYOUT = int(ControlType.MAP_REQUEST) << 28 | 1
# Looking a member up in its enum costs more than the comparison.
_LCAF = int(Afi.LCAF)
_IP_OCTETS = {int(Afi.IPV4): 4, int(Afi.IPV6): 16}
_SOURCE_OCTETS = {int(Afi.NONE): 0, **_IP_OCTETS}

MapRequestSpan = tuple[int, int, list[bytes], EidPrefix]
"""First word, nonce, ITR-RLOCs (packed), the EID asked for."""


@dataclass(slots=True, unsafe_hash=True)
class RequestedEid:
    """One EID asked for."""

    eid: EidPrefix
    subscribe: bool = False
    """N (RFC 9437 §4): notify the requester of changes."""


@dataclass(slots=True, unsafe_hash=True)
class MapRequest:
    """A question for mappings; flags are named as in RFC 9301."""

    nonce: int
    itr_rlocs: tuple[Address | Lcaf, ...]
    """Where to answer; one to 32. A single `NO_ADDRESS` cancels a subscription."""

    records: tuple[RequestedEid, ...]
    source_eid: Address | Lcaf = NO_ADDRESS
    authoritative: bool = False
    probe: bool = False
    smr: bool = False
    pitr: bool = False
    smr_invoked: bool = False
    local_xtr: bool = False
    dont_map_reply: bool = False
    reply_record: MappingRecord | None = None
    """The requester's own mapping; the M bit says whether there is one."""

    xtr_id: bytes | None = None
    """16 octets; the I bit (RFC 9437 §4) says whether there are xTR-ID and Site-ID."""

    site_id: bytes | None = None
    """8 octets, given together with the xTR-ID."""


def encode_map_request(request: MapRequest) -> bytes:
    """Return the message; raise ValueError without ITR-RLOC or record."""
    if not 0 < len(request.itr_rlocs) <= MAX_ITR_RLOCS:
        raise ValueError(f"a Map-Request has 1 to {MAX_ITR_RLOCS} ITR-RLOCs")
    if not request.records:
        raise ValueError("a Map-Request asks for at least one EID")
    bits = _flags(request) | (len(request.itr_rlocs) - 1) << _IRC_SHIFT
    bits |= check_bits(len(request.records), 8, "record count")
    parts = [
        encode_header(ControlType.MAP_REQUEST, bits, request.nonce),
        encode_address(request.source_eid),
        *map(encode_address, request.itr_rlocs),
        *map(_encode_requested, request.records),
    ]
    if request.reply_record is not None:
        parts.append(encode_record(request.reply_record))
    return b"".join(parts) + _encode_identity(request)


def decode_map_request(data: bytes) -> MapRequest:
    """Read one whole datagram."""
    reader = Reader(data)
    bits, nonce = decode_header(reader, ControlType.MAP_REQUEST)
    count = bits & 0xFF
    if not count:
        raise WireError("Map-Request asks for no EID")
    source_eid = decode_address(reader)
    itr_count = (bits >> _IRC_SHIFT) % MAX_ITR_RLOCS + 1
    itr_rlocs = tuple(decode_locator_address(reader) for _ in range(itr_count))
    records = tuple(_decode_requested(reader) for _ in range(count))
    reply_record = decode_record(reader) if bits & _MAP_DATA else None
    xtr_id, site_id = _decode_identity(reader) if bits & _XTR_ID else (None, None)
    reader.finish()
    return MapRequest(
        nonce,
        itr_rlocs,
        records,
        source_eid,
        authoritative=bool(bits & _AUTHORITATIVE),
        probe=bool(bits & _PROBE),
        smr=bool(bits & _SMR),
        pitr=bool(bits & _PITR),
        smr_invoked=bool(bits & _SMR_INVOKED),
        local_xtr=bool(bits & _LOCAL_XTR),
        dont_map_reply=bool(bits & _DONT_MAP_REPLY),
        reply_record=reply_record,
        xtr_id=xtr_id,
        site_id=site_id,
    )


def walk_map_request(data: bytes, at: int = 0) -> MapRequestSpan | None:
    """Read the Map-Request from ``at`` to the end, if it asks for one IPv4 or IPv6 EID and has only
    such ITR-RLOCs.

    None for any other, right or wrong: :func:`decode_map_request` tells.
    """
    try:
        word, nonce, afi = _HEAD.unpack_from(data, at)
        octets = _SOURCE_OCTETS.get(afi)
        if octets is None or word & _LAYOUT != _COMMON_LAYOUT:
            return None
        at += _HEAD.size + octets
        itr_rlocs = []
        for _ in range((word >> _IRC_SHIFT) % MAX_ITR_RLOCS + 1):
            octets = _IP_OCTETS.get(_AFI.unpack_from(data, at)[0])
            if octets is None:
                return None
            itr_rlocs.append(data[at + 2 : at + 2 + octets])
            at += 2 + octets
        eid = _walk_common_eid(data, at)
    except struct.error:
        return None
    return (word, nonce, itr_rlocs, eid) if eid is not None else None


def _walk_common_eid(data: bytes, at: int) -> EidPrefix | None:
    """Read the record from ``at`` to the end; `struct.error` for one that is cut short."""
    bits, length, afi = _COMMON_RECORD.unpack_from(data, at)
    at += _COMMON_RECORD.size
    instance_id = 0
    has_instance = afi == _LCAF
    if has_instance:
        _, _, lcaf_type, _, lcaf_octets, instance_id, afi = _INSTANCE.unpack_from(data, at)
        if lcaf_type != _INSTANCE_TYPE or lcaf_octets != 6 + _IP_OCTETS.get(afi, -1):
            return None
        at += _INSTANCE.size
    octets = _IP_OCTETS.get(afi)
    if octets is None or at + octets != len(data) or length > 8 * octets or bits & _SUBSCRIBE:
        return None
    packed = data[at:]
    host_bits = 8 * octets - length
    if host_bits:
        # As everywhere, bits beyond the mask are ignored.
        network = int.from_bytes(packed, "big") >> host_bits << host_bits
        packed = network.to_bytes(octets, "big")
    return EidPrefix(instance_id, Address(afi, packed), length, has_instance)


def _flags(request: MapRequest) -> int:
    flags = (
        (request.authoritative, _AUTHORITATIVE),
        (request.reply_record is not None, _MAP_DATA),
        (request.probe, _PROBE),
        (request.smr, _SMR),
        (request.pitr, _PITR),
        (request.smr_invoked, _SMR_INVOKED),
        (request.xtr_id is not None, _XTR_ID),
        (request.local_xtr, _LOCAL_XTR),
        (request.dont_map_reply, _DONT_MAP_REPLY),
    )
    return sum(bit for is_set, bit in flags if is_set)


def _encode_requested(requested: RequestedEid) -> bytes:
    bits = _SUBSCRIBE if requested.subscribe else 0
    return pack(_RECORD, bits, requested.eid.length) + encode_eid(requested.eid)


def _decode_requested(reader: Reader) -> RequestedEid:
    bits, length = reader.unpack(_RECORD)
    return RequestedEid(decode_eid(reader, length), bool(bits & _SUBSCRIBE))


def _encode_identity(request: MapRequest) -> bytes:
    if request.xtr_id is None and request.site_id is None:
        return b""
    if request.xtr_id is None or request.site_id is None:
        raise ValueError("xTR-ID and Site-ID are given together or not at all")
    xtr_id = check_octets(request.xtr_id, _XTR_ID_OCTETS, "xTR-ID")
    return xtr_id + check_octets(request.site_id, _SITE_ID_OCTETS, "Site-ID")


def _decode_identity(reader: Reader) -> tuple[bytes, bytes]:
    return reader.read(_XTR_ID_OCTETS), reader.read(_SITE_ID_OCTETS)
