"""Map-Reply (RFC 9301 §5.4). Authentication data of LISP-SEC (RFC 9303) is carried, not read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lispmsrt.wire.errors import WireError
from lispmsrt.wire.messages import ControlType, decode_header, encode_header
from lispmsrt.wire.packing import check_bits
from lispmsrt.wire.reader import Reader
from lispmsrt.wire.records import MappingRecord, decode_records, encode_record

__all__ = [
    "MAX_RECORDS",
    "MapReply",
    "decode_map_reply",
    "encode_map_reply",
    "write_map_reply",
]

MAX_RECORDS = 255
"""What the record count, one octet, can say."""

_MAP_REPLY = ControlType.MAP_REPLY
_PROBE = 1 << 27
_ECHO_NONCE = 1 << 26
_SECURITY = 1 << 25


@dataclass(slots=True, unsafe_hash=True)
class MapReply:
    """The mappings that answer the Map-Request of the same nonce."""

    nonce: int
    records: tuple[MappingRecord, ...]
    probe: bool = False
    echo_nonce: bool = False
    security: bytes = b""
    """What follows the records: from the AD type on. The S bit says whether there is any."""


def encode_map_reply(reply: MapReply) -> bytes:
    """Return the message."""
    bits = (
        (_PROBE if reply.probe else 0)
        | (_ECHO_NONCE if reply.echo_nonce else 0)
        | (_SECURITY if reply.security else 0)
        | check_bits(len(reply.records), 8, "record count")
    )
    header = encode_header(ControlType.MAP_REPLY, bits, reply.nonce)
    return header + b"".join(map(encode_record, reply.records)) + reply.security


def write_map_reply(nonce: int, records: Sequence[bytes]) -> bytes:
    """Return a message with records in wire form."""
    count = check_bits(len(records), 8, "record count")
    return encode_header(_MAP_REPLY, count, nonce) + b"".join(records)


def decode_map_reply(data: bytes) -> MapReply:
    """Read one whole datagram."""
    reader = Reader(data)
    bits, nonce = decode_header(reader, ControlType.MAP_REPLY)
    records = decode_records(reader, bits & 0xFF)
    security = b""
    if bits & _SECURITY:
        security = reader.read_remaining()
        if not security:
            raise WireError("Map-Reply announces security data and has none")
    reader.finish()
    return MapReply(nonce, records, bool(bits & _PROBE), bool(bits & _ECHO_NONCE), security)
