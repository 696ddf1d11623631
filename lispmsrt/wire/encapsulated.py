"""Encapsulated Control Message (RFC 9301 §5.8): a control message in UDP in IP, in a datagram.

Inner lengths and checksums are computed and verified. LISP-SEC data (RFC 9303 §6.1) is carried, not
read; the inner message stays as it came, for whoever forwards it. Two ways to read one:
:func:`decode_encapsulated` builds a value; :func:`walk_encapsulated` finds offsets only, for those
who handle tens of thousands a second.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct

from lispmsrt.wire.addresses import Address, Afi
from lispmsrt.wire.errors import WireError
from lispmsrt.wire.messages import ControlType
from lispmsrt.wire.packing import pack
from lispmsrt.wire.reader import Reader

__all__ = [
    "DEFAULT_HOP_LIMIT",
    "EncapsulatedControlMessage",
    "EncapsulatedFlag",
    "EncapsulatedSpan",
    "decode_encapsulated",
    "encode_encapsulated",
    "reflagged",
    "walk_encapsulated",
]

DEFAULT_HOP_LIMIT = 64

_WORD = Struct("!I")


class EncapsulatedFlag:
    """Bits of the first word (RFC 9301 §5.8)."""

    SECURITY = 1 << 27
    DDT = 1 << 26
    TO_ETR = 1 << 25
    TO_MAP_SERVER = 1 << 24


_SECURITY = EncapsulatedFlag.SECURITY
_DDT = EncapsulatedFlag.DDT
_TO_ETR = EncapsulatedFlag.TO_ETR
_TO_MAP_SERVER = EncapsulatedFlag.TO_MAP_SERVER

_AUTHENTICATION = Struct("!BBHHBB")  # AD type, V, HMAC ID, octets of the OTK, key ID, wrapping ID
_LISP_SEC = 1
_EID_AUTHENTICATION = Struct("!HH")  # octets with this field, KDF ID

# version|header words, TOS, total length, ID, fragment, TTL, protocol, checksum, addresses
_IPV4 = Struct("!BBHHHBBH4s4s")
# version|class|flow, payload length, next header, hop limit, addresses
_IPV6 = Struct("!IHBB16s16s")
_UDP = Struct("!HHHH")  # ports, length, checksum
_DONT_FRAGMENT = 0x4000
_FRAGMENT = 0x3FFF  # more fragments, or an offset
_UDP_PROTOCOL = 17
_ENCAPSULATED = int(ControlType.ENCAPSULATED)

EncapsulatedSpan = tuple[int, int, bytes, bytes, int, int, int, int]
"""First word, start of the inner packet, inner source and destination (packed), their ports, hop
limit, start of the inner control message, which goes on to the end.
"""


@dataclass(slots=True, unsafe_hash=True)
class EncapsulatedControlMessage:
    """An inner datagram and what the outer header says of it."""

    source: Address
    """Inner addresses: both IPv4 or both IPv6."""

    destination: Address
    source_port: int
    destination_port: int
    payload: bytes
    """The inner control message."""

    ddt: bool = False
    to_etr: bool = False
    to_map_server: bool = False
    security: bytes = b""
    """LISP-SEC data from the AD type on. The S bit says whether there is any."""

    hop_limit: int = DEFAULT_HOP_LIMIT


def encode_encapsulated(message: EncapsulatedControlMessage) -> bytes:
    """Return the message."""
    word = (
        ControlType.ENCAPSULATED << 28
        | (_SECURITY if message.security else 0)
        | (_DDT if message.ddt else 0)
        | (_TO_ETR if message.to_etr else 0)
        | (_TO_MAP_SERVER if message.to_map_server else 0)
    )
    families = (message.source.afi, message.destination.afi)
    if families == (Afi.IPV4, Afi.IPV4):
        inner = _encode_ipv4(message, _encode_udp(message))
    elif families == (Afi.IPV6, Afi.IPV6):
        inner = _encode_ipv6(message, _encode_udp(message))
    else:
        raise ValueError("inner addresses must be both IPv4 or both IPv6")
    return _WORD.pack(word) + message.security + inner


def decode_encapsulated(data: bytes) -> EncapsulatedControlMessage:
    """Read one whole datagram."""
    span = walk_encapsulated(data)
    word, inner, source, destination, source_port, destination_port, hop_limit, payload = span
    afi = Afi.IPV4 if len(source) == 4 else Afi.IPV6
    return EncapsulatedControlMessage(
        Address(afi, source),
        Address(afi, destination),
        source_port,
        destination_port,
        data[payload:],
        ddt=bool(word & _DDT),
        to_etr=bool(word & _TO_ETR),
        to_map_server=bool(word & _TO_MAP_SERVER),
        security=data[_WORD.size : inner],
        hop_limit=hop_limit,
    )


def walk_encapsulated(data: bytes) -> EncapsulatedSpan:
    """Check one whole datagram and find its parts."""
    size = len(data)
    if size <= _WORD.size:
        raise WireError("message is cut short")
    (word,) = _WORD.unpack_from(data)
    if word >> 28 != _ENCAPSULATED:
        raise WireError(f"message of type {word >> 28} is no ENCAPSULATED")
    inner = _after_security(data) if word & _SECURITY else _WORD.size
    version = data[inner] >> 4 if inner < size else 0
    if version == 4:
        source, destination, hop_limit, udp = _walk_ipv4(data, inner)
    elif version == 6:
        source, destination, hop_limit, udp = _walk_ipv6(data, inner)
    else:
        raise WireError(f"inner packet has IP version {version}")
    if udp + _UDP.size > size:
        raise WireError("inner UDP header is cut short")
    source_port, destination_port, octets, checksum = _UDP.unpack_from(data, udp)
    if octets != size - udp:
        raise WireError("inner UDP length does not match the IP packet")
    # RFC 8200 §8.1: IPv6 always has a checksum; over IPv4 zero says that there is none.
    if checksum or version == 6:
        # The fields of the two pseudo-headers differ in size, but their sum does not.
        datagram = int.from_bytes(data[udp:], "big") << (8 if octets & 1 else 0)
        addresses = int.from_bytes(source, "big") + int.from_bytes(destination, "big")
        if not checksum or (datagram + addresses + octets + _UDP_PROTOCOL) % 0xFFFF:
            raise WireError("inner UDP datagram has a wrong checksum")
    payload = udp + _UDP.size
    return word, inner, source, destination, source_port, destination_port, hop_limit, payload


def reflagged(data: bytes, flags: int, security: bytes | None = None) -> bytes:
    """Return a whole message with just these of the flags D, E and M, and the inner packet octet
    for octet; ``security`` stands in place of the LISP-SEC data that it has.
    """
    (word,) = _WORD.unpack_from(data)
    word = word & ~(_DDT | _TO_ETR | _TO_MAP_SERVER) | flags
    if security is None:
        return _WORD.pack(word) + data[_WORD.size :]
    inner = _after_security(data) if word & _SECURITY else _WORD.size
    word = word | _SECURITY if security else word & ~_SECURITY
    return _WORD.pack(word) + security + data[inner:]


def _after_security(data: bytes) -> int:
    """Return where the authentication data ends, whose size follows from two of its lengths."""
    reader = Reader(data, _WORD.size)
    ad_type, _, _, otk_octets, _, _ = reader.unpack(_AUTHENTICATION)
    if ad_type != _LISP_SEC:
        raise WireError(f"unknown type {ad_type} of authentication data")
    reader.read(otk_octets)
    eid_octets, _ = reader.unpack(_EID_AUTHENTICATION)
    if eid_octets < _EID_AUTHENTICATION.size:
        raise WireError("EID authentication data is shorter than its length field")
    reader.read(eid_octets - _EID_AUTHENTICATION.size)
    return reader.offset


def _encode_ipv4(message: EncapsulatedControlMessage, udp: bytes) -> bytes:
    source, destination = message.source.packed, message.destination.packed
    total, limit = _IPV4.size + len(udp), message.hop_limit

    def header(checksum: int) -> bytes:
        fixed = (0x45, 0, total, 0, _DONT_FRAGMENT, limit, _UDP_PROTOCOL, checksum)
        return pack(_IPV4, *fixed, source, destination)

    return header(_checksum(header(0))) + udp


def _walk_ipv4(data: bytes, at: int) -> tuple[bytes, bytes, int, int]:
    """Return source, destination, hop limit and where the UDP header begins."""
    octets = (data[at] & 0xF) * 4
    if octets < _IPV4.size:
        raise WireError("inner IPv4 header is too short")
    udp = at + octets
    if udp > len(data):
        raise WireError("inner IPv4 header is cut short")
    _, _, total, _, fragment, ttl, protocol, _, source, destination = _IPV4.unpack_from(data, at)
    if int.from_bytes(data[at:udp], "big") % 0xFFFF:
        raise WireError("inner IPv4 header has a wrong checksum")
    if total != len(data) - at:
        raise WireError("inner IPv4 packet does not end with the message")
    if fragment & _FRAGMENT or protocol != _UDP_PROTOCOL:
        raise WireError("inner IPv4 packet is not one whole UDP datagram")
    return source, destination, ttl, udp


def _encode_ipv6(message: EncapsulatedControlMessage, udp: bytes) -> bytes:
    fixed = (6 << 28, len(udp), _UDP_PROTOCOL, message.hop_limit)
    return pack(_IPV6, *fixed, message.source.packed, message.destination.packed) + udp


def _walk_ipv6(data: bytes, at: int) -> tuple[bytes, bytes, int, int]:
    """Return source, destination, hop limit and where the UDP header begins."""
    udp = at + _IPV6.size
    if udp > len(data):
        raise WireError("inner IPv6 header is cut short")
    _, octets, protocol, hop_limit, source, destination = _IPV6.unpack_from(data, at)
    if octets != len(data) - udp:
        raise WireError("inner IPv6 packet does not end with the message")
    if protocol != _UDP_PROTOCOL:
        raise WireError("inner IPv6 packet is not one whole UDP datagram")
    return source, destination, hop_limit, udp


def _encode_udp(message: EncapsulatedControlMessage) -> bytes:
    source, destination = message.source_port, message.destination_port
    octets = _UDP.size + len(message.payload)
    datagram = pack(_UDP, source, destination, octets, 0) + message.payload
    pseudo = _pseudo_header(message.source, message.destination, octets)
    # RFC 768: zero would mean "no checksum", which RFC 9301 §5.8 forbids: all ones are sent.
    checksum = _checksum(pseudo + datagram) or 0xFFFF
    return _UDP.pack(source, destination, octets, checksum) + message.payload


def _pseudo_header(source: Address, destination: Address, octets: int) -> bytes:
    # The fields of IPv4 and IPv6 differ in size, but their sum does not.
    addresses = source.encode()[2:] + destination.encode()[2:]
    return addresses + pack(_WORD, octets) + _WORD.pack(_UDP_PROTOCOL)


def _checksum(data: bytes) -> int:
    """Return the Internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    # One's complement addition of 16-bit words is arithmetic modulo 65535; only no words sum to 0.
    return 0xFFFF - (int.from_bytes(data, "big") % 0xFFFF or 0xFFFF)
