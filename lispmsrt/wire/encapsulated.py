"""Encapsulated Control Message (RFC 9301 §5.8): a control message in UDP in IP, in a datagram.

Inner lengths and checksums are computed and verified. LISP-SEC data (RFC 9303 §6.1) is carried, not
read; the inner message stays as it came, for whoever forwards it.
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
    "decode_encapsulated",
    "encode_encapsulated",
]

DEFAULT_HOP_LIMIT = 64

_WORD = Struct("!I")
_SECURITY = 1 << 27
_DDT = 1 << 26
_TO_ETR = 1 << 25
_TO_MAP_SERVER = 1 << 24

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
    reader = Reader(data)
    (word,) = reader.unpack(_WORD)
    if word >> 28 != ControlType.ENCAPSULATED:
        raise WireError(f"message of type {word >> 28} is no ENCAPSULATED")
    security = _decode_security(reader) if word & _SECURITY else b""
    version = reader.peek(1)[0] >> 4
    if version not in (4, 6):
        raise WireError(f"inner packet has IP version {version}")
    source, destination, hop_limit = (_decode_ipv4 if version == 4 else _decode_ipv6)(reader)
    source_port, destination_port, payload = _decode_udp(reader, source, destination)
    return EncapsulatedControlMessage(
        source,
        destination,
        source_port,
        destination_port,
        payload,
        ddt=bool(word & _DDT),
        to_etr=bool(word & _TO_ETR),
        to_map_server=bool(word & _TO_MAP_SERVER),
        security=security,
        hop_limit=hop_limit,
    )


def _decode_security(reader: Reader) -> bytes:
    """Read over the authentication data, whose size follows from two of its lengths."""
    start = reader.offset
    ad_type, _, _, otk_octets, _, _ = reader.unpack(_AUTHENTICATION)
    if ad_type != _LISP_SEC:
        raise WireError(f"unknown type {ad_type} of authentication data")
    reader.read(otk_octets)
    eid_octets, _ = reader.unpack(_EID_AUTHENTICATION)
    if eid_octets < _EID_AUTHENTICATION.size:
        raise WireError("EID authentication data is shorter than its length field")
    reader.read(eid_octets - _EID_AUTHENTICATION.size)
    return reader.since(start)


def _encode_ipv4(message: EncapsulatedControlMessage, udp: bytes) -> bytes:
    source, destination = message.source.packed, message.destination.packed
    total, limit = _IPV4.size + len(udp), message.hop_limit

    def header(checksum: int) -> bytes:
        fixed = (0x45, 0, total, 0, _DONT_FRAGMENT, limit, _UDP_PROTOCOL, checksum)
        return pack(_IPV4, *fixed, source, destination)

    return header(_checksum(header(0))) + udp


def _decode_ipv4(reader: Reader) -> tuple[Address, Address, int]:
    words = reader.peek(1)[0] & 0xF
    header = reader.peek(max(4 * words, _IPV4.size))
    _, _, total, _, fragment, ttl, protocol, _, source, destination = reader.unpack(_IPV4)
    if 4 * words < _IPV4.size:
        raise WireError("inner IPv4 header is too short")
    reader.read(4 * words - _IPV4.size)
    if _checksum(header):
        raise WireError("inner IPv4 header has a wrong checksum")
    if total != len(header) + reader.remaining:
        raise WireError("inner IPv4 packet does not end with the message")
    if fragment & _FRAGMENT or protocol != _UDP_PROTOCOL:
        raise WireError("inner IPv4 packet is not one whole UDP datagram")
    return Address(Afi.IPV4, source), Address(Afi.IPV4, destination), ttl


def _encode_ipv6(message: EncapsulatedControlMessage, udp: bytes) -> bytes:
    fixed = (6 << 28, len(udp), _UDP_PROTOCOL, message.hop_limit)
    return pack(_IPV6, *fixed, message.source.packed, message.destination.packed) + udp


def _decode_ipv6(reader: Reader) -> tuple[Address, Address, int]:
    _, octets, protocol, hop_limit, source, destination = reader.unpack(_IPV6)
    if octets != reader.remaining:
        raise WireError("inner IPv6 packet does not end with the message")
    if protocol != _UDP_PROTOCOL:
        raise WireError("inner IPv6 packet is not one whole UDP datagram")
    return Address(Afi.IPV6, source), Address(Afi.IPV6, destination), hop_limit


def _encode_udp(message: EncapsulatedControlMessage) -> bytes:
    source, destination = message.source_port, message.destination_port
    octets = _UDP.size + len(message.payload)
    datagram = pack(_UDP, source, destination, octets, 0) + message.payload
    pseudo = _pseudo_header(message.source, message.destination, octets)
    # RFC 768: zero would mean "no checksum", which RFC 9301 §5.8 forbids: all ones are sent.
    checksum = _checksum(pseudo + datagram) or 0xFFFF
    return _UDP.pack(source, destination, octets, checksum) + message.payload


def _decode_udp(reader: Reader, source: Address, destination: Address) -> tuple[int, int, bytes]:
    datagram = reader.peek(reader.remaining)
    source_port, destination_port, octets, checksum = reader.unpack(_UDP)
    if octets != len(datagram):
        raise WireError("inner UDP length does not match the IP packet")
    # RFC 8200 §8.1: IPv6 always has a checksum; over IPv4 zero says that there is none.
    if checksum or source.afi == Afi.IPV6:
        pseudo = _pseudo_header(source, destination, octets)
        if not checksum or _checksum(pseudo + datagram):
            raise WireError("inner UDP datagram has a wrong checksum")
    return source_port, destination_port, reader.read_remaining()


def _pseudo_header(source: Address, destination: Address, octets: int) -> bytes:
    # The fields of IPv4 and IPv6 differ in size, but their sum does not.
    addresses = source.encode()[2:] + destination.encode()[2:]
    return addresses + pack(_WORD, octets) + _WORD.pack(_UDP_PROTOCOL)


def _checksum(data: bytes) -> int:
    """Return the Internet checksum (RFC 1071); 0 for data that holds its own correct one."""
    if len(data) % 2:
        data += b"\0"
    # One's complement addition of 16-bit words is arithmetic modulo 65535; only no words sum to 0.
    return 0xFFFF - (int.from_bytes(data, "big") % 0xFFFF or 0xFFFF)
