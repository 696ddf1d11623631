"""LCAF types that say something about one address (RFC 8060 §4): 2, 3, 4, 5, 8, 11, 14 and 16.

Each class has its body's codec pair; the address inside is read by the ``nested`` function the
decoder passes in. Reserved fields are kept: what was decoded encodes to the same octets. What the
types mean is not known here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from struct import Struct
from typing import Self

from lispmsrt.wire.afi import Address
from lispmsrt.wire.lcaf_base import Lcaf, Nested
from lispmsrt.wire.packing import check_bits, pack
from lispmsrt.wire.reader import Reader

__all__ = [
    "ApplicationData",
    "AsNumber",
    "Encapsulation",
    "Geo",
    "InstanceId",
    "Json",
    "NonceLocator",
    "SecurityKey",
]

_U16 = Struct("!H")
_U32 = Struct("!I")
_APPLICATION = Struct("!IHHHH")  # traffic 24 bits | protocol 8, local ports, remote ports
_GEO = Struct("!HBBHBBi")  # N|latitude, longitude likewise, altitude
_SECURITY = Struct("!BBBB")  # key count, reserved, algorithm, reserved|R


@dataclass(slots=True, unsafe_hash=True)
class InstanceId(Lcaf):
    """Type 2: an address within an instance. ``reserved2``: mask length of the instance ID."""

    TYPE = 2

    instance_id: int
    address: Address | Lcaf

    def encode_body(self) -> bytes:
        return pack(_U32, self.instance_id) + self.address.encode()

    @classmethod
    def decode_body(cls, reader: Reader, nested: Nested) -> Self:
        (instance_id,) = reader.unpack(_U32)
        return cls(instance_id, nested(reader))

    def destinations(self) -> tuple[Address | Lcaf, ...]:
        return (self.address,)


@dataclass(slots=True, unsafe_hash=True)
class AsNumber(Lcaf):
    """Type 3: an address and the autonomous system it belongs to."""

    TYPE = 3

    as_number: int
    address: Address | Lcaf

    def encode_body(self) -> bytes:
        return pack(_U32, self.as_number) + self.address.encode()

    @classmethod
    def decode_body(cls, reader: Reader, nested: Nested) -> Self:
        (as_number,) = reader.unpack(_U32)
        return cls(as_number, nested(reader))

    def destinations(self) -> tuple[Address | Lcaf, ...]:
        return (self.address,)


@dataclass(slots=True, unsafe_hash=True)
class ApplicationData(Lcaf):
    """Type 4: an address for some flows only."""

    TYPE = 4

    traffic: int
    """IPv4 TOS, or IPv6 traffic class and flow label: 24 bits."""

    protocol: int
    local_ports: tuple[int, int]
    remote_ports: tuple[int, int]
    address: Address | Lcaf

    def encode_body(self) -> bytes:
        traffic = check_bits(self.traffic, 24, "traffic")
        flow = traffic << 8 | check_bits(self.protocol, 8, "protocol")
        fixed = pack(_APPLICATION, flow, *self.local_ports, *self.remote_ports)
        return fixed + self.address.encode()

    @classmethod
    def decode_body(cls, reader: Reader, nested: Nested) -> Self:
        flow, *ports = reader.unpack(_APPLICATION)
        local, remote = (ports[0], ports[1]), (ports[2], ports[3])
        return cls(flow >> 8, flow & 0xFF, local, remote, nested(reader))

    def destinations(self) -> tuple[Address | Lcaf, ...]:
        return (self.address,)


@dataclass(slots=True, unsafe_hash=True)
class Geo(Lcaf):
    """Type 5: an address and where on Earth it is."""

    TYPE = 5

    north: bool
    latitude: tuple[int, int, int]
    """Degrees, minutes, seconds."""

    east: bool
    longitude: tuple[int, int, int]
    altitude: int
    """0x7fffffff: not known."""

    address: Address | Lcaf

    def encode_body(self) -> bytes:
        fixed = (
            self.north << 15 | check_bits(self.latitude[0], 15, "latitude"),
            *self.latitude[1:],
            self.east << 15 | check_bits(self.longitude[0], 15, "longitude"),
            *self.longitude[1:],
            self.altitude,
        )
        return pack(_GEO, *fixed) + self.address.encode()

    @classmethod
    def decode_body(cls, reader: Reader, nested: Nested) -> Self:
        north, lat_min, lat_sec, east, lon_min, lon_sec, altitude = reader.unpack(_GEO)
        latitude = (north & 0x7FFF, lat_min, lat_sec)
        longitude = (east & 0x7FFF, lon_min, lon_sec)
        return cls(north > 0x7FFF, latitude, east > 0x7FFF, longitude, altitude, nested(reader))

    def destinations(self) -> tuple[Address | Lcaf, ...]:
        return (self.address,)


@dataclass(slots=True, unsafe_hash=True)
class NonceLocator(Lcaf):
    """Type 8: a locator and the nonce to use with it."""

    TYPE = 8

    nonce: int
    """24 bits."""

    address: Address | Lcaf
    reserved: int = field(default=0, kw_only=True)

    def encode_body(self) -> bytes:
        word = check_bits(self.reserved, 8, "reserved") << 24 | check_bits(self.nonce, 24, "nonce")
        return _U32.pack(word) + self.address.encode()

    @classmethod
    def decode_body(cls, reader: Reader, nested: Nested) -> Self:
        (word,) = reader.unpack(_U32)
        return cls(word & 0xFFFFFF, nested(reader), reserved=word >> 24)

    def destinations(self) -> tuple[Address | Lcaf, ...]:
        return (self.address,)


@dataclass(slots=True, unsafe_hash=True)
class SecurityKey(Lcaf):
    """Type 11: an address and key material for it."""

    TYPE = 11

    algorithm: int
    keys: tuple[bytes, ...]
    address: Address | Lcaf
    key_flags: int = field(default=0, kw_only=True)
    """Lowest bit: R, the key is revoked."""

    reserved: int = field(default=0, kw_only=True)

    def encode_body(self) -> bytes:
        fixed = pack(_SECURITY, len(self.keys), self.reserved, self.algorithm, self.key_flags)
        keys = b"".join(pack(_U16, len(key)) + key for key in self.keys)
        return fixed + keys + self.address.encode()

    @classmethod
    def decode_body(cls, reader: Reader, nested: Nested) -> Self:
        count, reserved, algorithm, key_flags = reader.unpack(_SECURITY)
        keys = tuple(reader.read(reader.unpack(_U16)[0]) for _ in range(count))
        return cls(algorithm, keys, nested(reader), key_flags=key_flags, reserved=reserved)

    def destinations(self) -> tuple[Address | Lcaf, ...]:
        return (self.address,)


@dataclass(slots=True, unsafe_hash=True)
class Json(Lcaf):
    """Type 14: an address and a JSON text about it, not parsed."""

    TYPE = 14

    text: bytes
    address: Address | Lcaf

    def encode_body(self) -> bytes:
        return pack(_U16, len(self.text)) + self.text + self.address.encode()

    @classmethod
    def decode_body(cls, reader: Reader, nested: Nested) -> Self:
        return cls(reader.read(reader.unpack(_U16)[0]), nested(reader))

    def destinations(self) -> tuple[Address | Lcaf, ...]:
        return (self.address,)


@dataclass(slots=True, unsafe_hash=True)
class Encapsulation(Lcaf):
    """Type 16: an address and the encapsulations it understands."""

    TYPE = 16

    formats: int
    """The whole word: 25 reserved bits, then U G N v V l L."""

    address: Address | Lcaf

    def encode_body(self) -> bytes:
        return pack(_U32, self.formats) + self.address.encode()

    @classmethod
    def decode_body(cls, reader: Reader, nested: Nested) -> Self:
        (formats,) = reader.unpack(_U32)
        return cls(formats, nested(reader))

    def destinations(self) -> tuple[Address | Lcaf, ...]:
        return (self.address,)
