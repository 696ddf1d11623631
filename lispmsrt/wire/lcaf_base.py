"""What all LISP canonical addresses (RFC 8060 §3) share, and the opaque one for the unknown."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from struct import Struct
from typing import ClassVar, Self

from lispmsrt.wire.afi import Address, Afi
from lispmsrt.wire.packing import pack
from lispmsrt.wire.reader import Reader

__all__ = ["LCAF_HEADER", "Lcaf", "Nested", "UnknownLcaf", "decode_all", "encode_all"]

LCAF_HEADER = Struct("!BBBBH")  # Rsvd1, flags, type, Rsvd2, octets that follow

_AFI_AND_HEADER = Struct("!HBBBBH")

Nested = Callable[[Reader], "Address | Lcaf"]
"""Reads one AFI and address, one level deeper."""


@dataclass(slots=True, unsafe_hash=True)
class Lcaf(ABC):
    """An address of AFI 16387, and the header octets that no type but 2 and 14 uses."""

    TYPE: ClassVar[int]

    reserved1: int = field(default=0, kw_only=True)
    flags: int = field(default=0, kw_only=True)
    reserved2: int = field(default=0, kw_only=True)

    @property
    def lcaf_type(self) -> int:
        """The type number on the wire."""
        return self.TYPE

    def encode(self) -> bytes:
        """Return AFI, LCAF header and body."""
        body, kind = self.encode_body(), self.lcaf_type
        header = (Afi.LCAF, self.reserved1, self.flags, kind, self.reserved2, len(body))
        return pack(_AFI_AND_HEADER, *header) + body

    def with_header(self, reserved1: int, flags: int, reserved2: int) -> Self:
        """Return the same address behind these header octets."""
        if reserved1 == self.reserved1 and flags == self.flags and reserved2 == self.reserved2:
            return self
        return dataclasses.replace(self, reserved1=reserved1, flags=flags, reserved2=reserved2)

    def __str__(self) -> str:
        inside = ", ".join(map(str, self.destinations() or ()))
        return f"{type(self).__name__}({inside})"

    @abstractmethod
    def encode_body(self) -> bytes:
        """Return what the length field counts."""

    @classmethod
    @abstractmethod
    def decode_body(cls, reader: Reader, nested: Nested) -> Self:
        """Read the body up to the end of the reader's restriction."""

    @abstractmethod
    def destinations(self) -> tuple[Address | Lcaf, ...] | None:
        """Return where traffic may go when this is an RLOC; None when that cannot be known."""


@dataclass(slots=True, unsafe_hash=True)
class UnknownLcaf(Lcaf):
    """A type we do not know, or an RLOC's body that does not parse."""

    number: int
    body: bytes

    @property
    def lcaf_type(self) -> int:
        """The type number on the wire."""
        return self.number

    def __str__(self) -> str:
        return f"lcaf-{self.number}:{self.body.hex()}"

    def encode_body(self) -> bytes:
        return self.body

    @classmethod
    def decode_body(cls, reader: Reader, nested: Nested) -> Self:
        raise TypeError("an unknown LCAF is built from its number and octets")

    def destinations(self) -> None:
        return None


def encode_all(addresses: Iterable[Address | Lcaf]) -> bytes:
    """Return the addresses one after the other."""
    return b"".join(address.encode() for address in addresses)


def decode_all(reader: Reader, nested: Nested) -> tuple[Address | Lcaf, ...]:
    """Read addresses up to the end of the reader's restriction."""
    addresses = []
    while reader.remaining:
        addresses.append(nested(reader))
    return tuple(addresses)
