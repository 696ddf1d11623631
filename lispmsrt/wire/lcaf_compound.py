"""LCAF types of several addresses or none (RFC 8060 §4, RFC 9306): 0, 1, 6, 7, 9, 10, 12, 13, 15
and 255.

Each class has its body's codec pair; addresses inside are read by the ``nested`` function the
decoder passes in. Reserved fields are kept: what was decoded encodes to the same octets. What the
types mean is not known here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from struct import Struct
from typing import Self

from lispmsrt.wire.afi import Address
from lispmsrt.wire.lcaf_base import Lcaf, Nested, decode_all, encode_all
from lispmsrt.wire.packing import check_bits, pack
from lispmsrt.wire.reader import Reader

__all__ = [
    "AfiList",
    "ExplicitPath",
    "Hop",
    "KeyValue",
    "MulticastInfo",
    "NatTraversal",
    "NullBody",
    "OpaqueKey",
    "ReplicationEntry",
    "ReplicationList",
    "SourceDestination",
    "VendorSpecific",
]

_U16 = Struct("!H")
_U32 = Struct("!I")
_OPAQUE_KEY = Struct("!BH")  # key field number, wildcard fields
_NAT_PORTS = Struct("!HH")  # Map-Server's, ETR's
_MULTICAST = Struct("!IHBB")  # instance ID, reserved, source and group mask length
_SOURCE_DESTINATION = Struct("!HBB")  # reserved, source and destination mask length


@dataclass(slots=True, unsafe_hash=True)
class NullBody(Lcaf):
    """Type 0: nothing."""

    TYPE = 0

    def encode_body(self) -> bytes:
        return b""

    @classmethod
    def decode_body(cls, reader: Reader, nested: Nested) -> Self:
        return cls()

    def destinations(self) -> tuple[Address | Lcaf, ...]:
        return ()


@dataclass(slots=True, unsafe_hash=True)
class AfiList(Lcaf):
    """Type 1: several addresses of one thing."""

    TYPE = 1

    items: tuple[Address | Lcaf, ...]

    def encode_body(self) -> bytes:
        return encode_all(self.items)

    @classmethod
    def decode_body(cls, reader: Reader, nested: Nested) -> Self:
        return cls(decode_all(reader, nested))

    def destinations(self) -> tuple[Address | Lcaf, ...]:
        return self.items


@dataclass(slots=True, unsafe_hash=True)
class OpaqueKey(Lcaf):
    """Type 6: a lookup key only its users understand."""

    TYPE = 6

    field_number: int
    wildcard_fields: int
    key: bytes

    def encode_body(self) -> bytes:
        return pack(_OPAQUE_KEY, self.field_number, self.wildcard_fields) + self.key

    @classmethod
    def decode_body(cls, reader: Reader, nested: Nested) -> Self:
        field_number, wildcard_fields = reader.unpack(_OPAQUE_KEY)
        return cls(field_number, wildcard_fields, reader.read_remaining())

    def destinations(self) -> None:
        return None


@dataclass(slots=True, unsafe_hash=True)
class NatTraversal(Lcaf):
    """Type 7: how to reach an xTR behind a NAT."""

    TYPE = 7

    map_server_port: int
    etr_port: int
    global_rloc: Address | Lcaf
    map_server_rloc: Address | Lcaf
    private_rloc: Address | Lcaf
    rtrs: tuple[Address | Lcaf, ...]

    def encode_body(self) -> bytes:
        rlocs = (self.global_rloc, self.map_server_rloc, self.private_rloc, *self.rtrs)
        return pack(_NAT_PORTS, self.map_server_port, self.etr_port) + encode_all(rlocs)

    @classmethod
    def decode_body(cls, reader: Reader, nested: Nested) -> Self:
        map_server, etr = reader.unpack(_NAT_PORTS)
        seen, server, private = nested(reader), nested(reader), nested(reader)
        return cls(map_server, etr, seen, server, private, decode_all(reader, nested))

    def destinations(self) -> tuple[Address | Lcaf, ...]:
        # The Map-Server's address is for control messages only.
        return (self.global_rloc, self.private_rloc, *self.rtrs)


@dataclass(slots=True, unsafe_hash=True)
class MulticastInfo(Lcaf):
    """Type 9: a multicast source and group; the header flags hold R, L and J (RFC 8060 §4.9)."""

    TYPE = 9

    instance_id: int
    source_length: int
    group_length: int
    source: Address | Lcaf
    group: Address | Lcaf
    reserved: int = field(default=0, kw_only=True)

    def encode_body(self) -> bytes:
        fixed = (self.instance_id, self.reserved, self.source_length, self.group_length)
        return pack(_MULTICAST, *fixed) + self.source.encode() + self.group.encode()

    @classmethod
    def decode_body(cls, reader: Reader, nested: Nested) -> Self:
        iid, reserved, source, group = reader.unpack(_MULTICAST)
        return cls(iid, source, group, nested(reader), nested(reader), reserved=reserved)

    def destinations(self) -> tuple[Address | Lcaf, ...]:
        return (self.source, self.group)


@dataclass(slots=True, unsafe_hash=True)
class Hop:
    """One re-encapsulating router of an explicit locator path."""

    address: Address | Lcaf
    flags: int = 0
    """Lowest bits: L (4) look the next hop up, P (2) probe, S (1) strict."""


@dataclass(slots=True, unsafe_hash=True)
class ExplicitPath(Lcaf):
    """Type 10: the routers to pass, in order."""

    TYPE = 10

    hops: tuple[Hop, ...]

    def encode_body(self) -> bytes:
        return b"".join(pack(_U16, hop.flags) + hop.address.encode() for hop in self.hops)

    @classmethod
    def decode_body(cls, reader: Reader, nested: Nested) -> Self:
        hops = []
        while reader.remaining:
            (flags,) = reader.unpack(_U16)
            hops.append(Hop(nested(reader), flags))
        return cls(tuple(hops))

    def destinations(self) -> tuple[Address | Lcaf, ...]:
        return tuple(hop.address for hop in self.hops)


@dataclass(slots=True, unsafe_hash=True)
class SourceDestination(Lcaf):
    """Type 12: a lookup key of source and destination prefix."""

    TYPE = 12

    source_length: int
    destination_length: int
    source: Address | Lcaf
    destination: Address | Lcaf
    reserved: int = field(default=0, kw_only=True)

    def encode_body(self) -> bytes:
        fixed = (self.reserved, self.source_length, self.destination_length)
        return pack(_SOURCE_DESTINATION, *fixed) + encode_all((self.source, self.destination))

    @classmethod
    def decode_body(cls, reader: Reader, nested: Nested) -> Self:
        reserved, source, destination = reader.unpack(_SOURCE_DESTINATION)
        return cls(source, destination, nested(reader), nested(reader), reserved=reserved)

    def destinations(self) -> tuple[Address | Lcaf, ...]:
        return (self.source, self.destination)


@dataclass(slots=True, unsafe_hash=True)
class ReplicationEntry:
    """One replicator and its level in the tree."""

    address: Address | Lcaf
    level: int
    reserved: int = 0


@dataclass(slots=True, unsafe_hash=True)
class ReplicationList(Lcaf):
    """Type 13: who replicates a multicast packet."""

    TYPE = 13

    entries: tuple[ReplicationEntry, ...]

    def encode_body(self) -> bytes:
        body = b""
        for entry in self.entries:
            reserved = check_bits(entry.reserved, 24, "reserved")
            word = reserved << 8 | check_bits(entry.level, 8, "level")
            body += _U32.pack(word) + entry.address.encode()
        return body

    @classmethod
    def decode_body(cls, reader: Reader, nested: Nested) -> Self:
        entries = []
        while reader.remaining:
            (word,) = reader.unpack(_U32)
            entries.append(ReplicationEntry(nested(reader), word & 0xFF, word >> 8))
        return cls(tuple(entries))

    def destinations(self) -> tuple[Address | Lcaf, ...]:
        return tuple(entry.address for entry in self.entries)


@dataclass(slots=True, unsafe_hash=True)
class KeyValue(Lcaf):
    """Type 15: a pair of addresses."""

    TYPE = 15

    key: Address | Lcaf
    value: Address | Lcaf

    def encode_body(self) -> bytes:
        return self.key.encode() + self.value.encode()

    @classmethod
    def decode_body(cls, reader: Reader, nested: Nested) -> Self:
        return cls(nested(reader), nested(reader))

    def destinations(self) -> tuple[Address | Lcaf, ...]:
        return (self.key, self.value)


@dataclass(slots=True, unsafe_hash=True)
class VendorSpecific(Lcaf):
    """Type 255 (RFC 9306): data of the vendor with this OUI."""

    TYPE = 255

    oui: int
    data: bytes
    reserved: int = field(default=0, kw_only=True)

    def encode_body(self) -> bytes:
        word = check_bits(self.reserved, 8, "reserved") << 24 | check_bits(self.oui, 24, "OUI")
        return _U32.pack(word) + self.data

    @classmethod
    def decode_body(cls, reader: Reader, nested: Nested) -> Self:
        (word,) = reader.unpack(_U32)
        return cls(word & 0xFFFFFF, reader.read_remaining(), reserved=word >> 24)

    def destinations(self) -> None:
        return None
