"""Plain addresses behind an address family identifier: IPv4, IPv6, MAC, names (RFC 9735) and none.

Knows nothing of LCAF, which nests addresses and lives above in :mod:`lispmsrt.wire.lcaf`.
Addresses stay packed; `ipaddress` serves the text forms only.
"""

from __future__ import annotations

import enum
import ipaddress
import re
from dataclasses import dataclass
from struct import Struct

from lispmsrt.wire.errors import WireError
from lispmsrt.wire.packing import pack
from lispmsrt.wire.reader import Reader

__all__ = [
    "AFI_LAYOUT",
    "MAX_NAME_OCTETS",
    "NO_ADDRESS",
    "Address",
    "Afi",
    "decode_plain_address",
    "encode_plain_address",
]

AFI_LAYOUT = Struct("!H")
"""The address family identifier that precedes every address."""

MAX_NAME_OCTETS = 255
"""Longest name accepted, without its NUL."""

_MAC_TEXT = re.compile(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}")
_NAME_PREFIX = "name:"


class Afi(enum.IntEnum):
    """Address families of the IANA registry that LISP uses."""

    NONE = 0
    IPV4 = 1
    IPV6 = 2
    MAC = 6
    NAME = 17
    LCAF = 16387


_OCTETS: dict[int, int] = {Afi.NONE: 0, Afi.IPV4: 4, Afi.IPV6: 16, Afi.MAC: 6}


@dataclass(slots=True, unsafe_hash=True)
class Address:
    """One address that is not an LCAF."""

    afi: int
    packed: bytes
    """Network order; a name is kept without its NUL."""

    @classmethod
    def from_text(cls, text: str) -> Address:
        """Parse an IPv4, IPv6 or MAC address, or ``name:`` and a name."""
        if text.startswith(_NAME_PREFIX):
            return cls(Afi.NAME, _name_from_text(text))
        if _MAC_TEXT.fullmatch(text):
            return cls(Afi.MAC, bytes.fromhex(text.replace(":", "")))
        try:
            # A zone index means nothing to another host.
            ip = ipaddress.ip_address(text if "%" not in text else "")
        except ValueError:
            raise ValueError(f"{text!r} is no IPv4, IPv6 or MAC address and no name:...") from None
        return cls(Afi.IPV4 if ip.version == 4 else Afi.IPV6, ip.packed)

    def __str__(self) -> str:
        if self.afi in (Afi.IPV4, Afi.IPV6):
            return str(ipaddress.ip_address(self.packed))
        if self.afi == Afi.MAC:
            return self.packed.hex(":")
        if self.afi == Afi.NAME:
            return _NAME_PREFIX + _printable(self.packed)
        return "none" if self.afi == Afi.NONE else f"afi-{self.afi}:{self.packed.hex()}"

    @property
    def width(self) -> int:
        """Bits of the address: the greatest prefix length, which has only one octet on the wire."""
        return min(8 * len(self.packed), 255)

    def encode(self) -> bytes:
        """Return AFI and address."""
        return encode_plain_address(self)


NO_ADDRESS = Address(Afi.NONE, b"")
"""AFI 0: no address at all."""


def encode_plain_address(address: Address) -> bytes:
    """Return AFI and address; raise ValueError when the octets do not suit the family."""
    packed = address.packed
    if address.afi == Afi.NAME:
        _check_name(packed)
        return AFI_LAYOUT.pack(Afi.NAME) + packed + b"\0"
    if len(packed) != _OCTETS.get(address.afi):
        raise ValueError(f"{len(packed)} octets are no address of family {address.afi}")
    return pack(AFI_LAYOUT, address.afi) + packed


def decode_plain_address(reader: Reader, afi: int) -> Address:
    """Read the address that follows ``afi``; its size is known for known families only."""
    if afi == Afi.NAME:
        return Address(afi, _decode_name(reader))
    octets = _OCTETS.get(afi)
    if octets is None:
        # RFC 9301 §5: an unknown AFI hides where the next field begins, so the message is lost.
        raise WireError(f"unknown address family {afi}")
    return Address(afi, reader.read(octets)) if octets else NO_ADDRESS


def _decode_name(reader: Reader) -> bytes:
    length = reader.peek(min(reader.remaining, MAX_NAME_OCTETS + 1)).find(0)
    if length < 0:
        raise WireError(f"a name has no NUL within {MAX_NAME_OCTETS} octets")
    return reader.read(length + 1)[:-1]


def _check_name(packed: bytes) -> None:
    if len(packed) > MAX_NAME_OCTETS or 0 in packed:
        raise ValueError(f"a name has at most {MAX_NAME_OCTETS} octets and no NUL")


def _name_from_text(text: str) -> bytes:
    packed = text.removeprefix(_NAME_PREFIX).encode("utf-8")
    if not packed:
        raise ValueError("a name must have at least one character")
    _check_name(packed)
    return packed


def _printable(name: bytes) -> str:
    """Return the name, escaped when it could upset a terminal or forge a log line."""
    try:
        text = name.decode("utf-8")
    except UnicodeDecodeError:
        text = ""
    return text if text.isprintable() and text else repr(name)[2:-1]
