"""Map-Request (RFC 9301 §5.2), with the subscriptions of RFC 9437."""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct

from lispmsrt.wire.addresses import (
    NO_ADDRESS,
    Address,
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
    "RequestedEid",
    "decode_map_request",
    "encode_map_request",
]

MAX_ITR_RLOCS = 32
"""What IRC, five bits that mean one more than they say, can count."""

_RECORD = Struct("!BB")  # N|reserved, mask length
_XTR_ID_OCTETS, _SITE_ID_OCTETS = 16, 8

_AUTHORITATIVE = 1 << 27
_MAP_DATA = 1 << 26
_PROBE = 1 << 25
_SMR = 1 << 24
_PITR = 1 << 23
_SMR_INVOKED = 1 << 22
_XTR_ID = 1 << 20
_LOCAL_XTR = 1 << 14
_DONT_MAP_REPLY = 1 << 13
_IRC_SHIFT = 8
_SUBSCRIBE = 0x80


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
