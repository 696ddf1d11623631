"""What an observer reads off the wire, with a decoder of its own: the product's may be wrong."""

from __future__ import annotations

import struct
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import NamedTuple

__all__ = [
    "Eid",
    "MapReply",
    "Record",
    "Register",
    "StreamMessage",
    "eid_of_wire",
    "locators_of",
    "network_of",
    "read_map_reply",
    "read_record",
    "read_register",
    "split_stream",
]

Eid = IPv4Network | IPv6Network

MAP_REPLY, MAP_REGISTER, MAP_NOTIFY = 2, 3, 4
R_BIT, I_BIT = 1 << 13, 1 << 25
_WIDTHS = {1: 4, 2: 16}


class Record(NamedTuple):
    """A mapping record."""

    eid: Eid
    ttl: int
    action: int
    locators: int
    octets: bytes


class Register(NamedTuple):
    """A Map-Register or Map-Notify."""

    kind: int
    r_bit: bool
    nonce: int
    key_id: int
    records: tuple[Record, ...]
    ids: bytes


class MapReply(NamedTuple):
    """A Map-Reply."""

    nonce: int
    records: tuple[Record, ...]


class StreamMessage(NamedTuple):
    """A message of a session."""

    kind: int
    data: bytes


def read_register(data: bytes) -> Register | None:
    """Read a Map-Register or Map-Notify; None where it is none."""
    if len(data) < 16 or data[0] >> 4 not in (MAP_REGISTER, MAP_NOTIFY):
        return None
    word, nonce, key_id, _algorithm, length = struct.unpack_from("!IQBBH", data)
    try:
        records, end = _read_records(data, 16 + length, word & 0xFF)
    except (struct.error, ValueError, KeyError):
        return None
    # In a Map-Notify the I bit is bit 4, one to the left of where a Map-Register has it.
    return Register(word >> 28, bool(word & R_BIT), nonce, key_id, records, data[end:])


def read_map_reply(data: bytes) -> MapReply | None:
    """Read a Map-Reply; None where it is none."""
    if len(data) < 12 or data[0] >> 4 != MAP_REPLY:
        return None
    word, nonce = struct.unpack_from("!IQ", data)
    records, _end = _read_records(data, 12, word & 0xFF)
    return MapReply(nonce, records)


def read_record(data: bytes) -> Record:
    """Read one mapping record."""
    return _read_records(data, 0, 1)[0][0]


def locators_of(octets: bytes) -> list[bytes]:
    """Return what a mapping record says of its RLOCs, but for the flags, which are rewritten where
    somebody else answers.
    """
    at = 12 + _WIDTHS[int.from_bytes(octets[10:12], "big")]
    found = []
    for _ in range(octets[4]):
        width = _WIDTHS[int.from_bytes(octets[at + 6 : at + 8], "big")]
        found.append(octets[at : at + 4] + octets[at + 6 : at + 8 + width])
        at += 8 + width
    return found


def _read_records(data: bytes, at: int, number: int) -> tuple[tuple[Record, ...], int]:
    records = []
    for _ in range(number):
        start = at
        ttl, count, length, act, _version, afi = struct.unpack_from("!IBBHHH", data, at)
        at += 12
        width = _WIDTHS[afi]
        eid = _network(data[at : at + width], length)
        at += width
        for _locator in range(count):
            (rloc_afi,) = struct.unpack_from("!H", data, at + 6)
            at += 8 + _WIDTHS[rloc_afi]
        records.append(Record(eid, ttl, act >> 13, count, data[start:at]))
    return tuple(records), at


def _network(packed: bytes, length: int) -> Eid:
    address = int.from_bytes(packed, "big")
    kind = IPv4Network if len(packed) == 4 else IPv6Network
    return kind((address, length), strict=False)


_eids: dict[bytes, Eid] = {}


def eid_of_wire(wire: bytes) -> Eid:
    """Read an EID in the form of an ACK: prefix length, AFI, address."""
    eid = _eids.get(wire)
    if eid is None:
        (afi,) = struct.unpack_from("!H", wire, 1)
        eid = _eids[wire] = _network(wire[3 : 3 + _WIDTHS[afi]], wire[0])
    return eid


def split_stream(buffer: bytearray) -> list[StreamMessage]:
    """Take whole messages off what one end of a session has said."""
    found = []
    while len(buffer) >= 4:
        kind, length = struct.unpack_from("!HH", buffer)
        if len(buffer) < length or length < 12:
            break
        found.append(StreamMessage(kind, bytes(buffer[8 : length - 4])))
        del buffer[:length]
    return found


def network_of(text: str) -> Eid:
    """Return an EID-prefix as it is typed."""
    return ip_network(text)
