"""Map-Referral of the delegated database tree (RFC 8111 §6.4). Signatures are not verified."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from struct import Struct

from lispmsrt.wire.addresses import EidPrefix, decode_eid, encode_eid
from lispmsrt.wire.messages import ControlType, decode_header, encode_header
from lispmsrt.wire.packing import check_bits, check_octets, pack
from lispmsrt.wire.reader import Reader
from lispmsrt.wire.records import RECORD_LAYOUT, Locator, decode_locators, encode_locators

__all__ = [
    "MapReferral",
    "ReferralAction",
    "ReferralRecord",
    "decode_map_referral",
    "encode_map_referral",
]

_AUTHORITATIVE = 0x1000
_INCOMPLETE = 0x0800

# TTL, expiration, inception, key tag, octets of the signature, algorithm, reserved
_SIGNATURE = Struct("!IIIHHBBH")


class ReferralAction(enum.IntEnum):
    """What the referral means."""

    NODE_REFERRAL = 0
    MS_REFERRAL = 1
    MS_ACK = 2
    MS_NOT_REGISTERED = 3
    DELEGATION_HOLE = 4
    NOT_AUTHORITATIVE = 5


@dataclass(slots=True, unsafe_hash=True)
class ReferralRecord:
    """An EID-prefix and who knows more about it."""

    eid: EidPrefix
    ttl: int
    """Minutes."""

    locators: tuple[Locator, ...]
    action: int = ReferralAction.NODE_REFERRAL
    authoritative: bool = False
    incomplete: bool = False
    """The sender does not know every peer of the set."""

    map_version: int = 0
    signatures: tuple[bytes, ...] = ()
    """At most 15 whole signature sections, fixed part included."""


@dataclass(slots=True, unsafe_hash=True)
class MapReferral:
    """The referrals that answer the Map-Request of the same nonce."""

    nonce: int
    records: tuple[ReferralRecord, ...]


def encode_map_referral(referral: MapReferral) -> bytes:
    """Return the message."""
    count = check_bits(len(referral.records), 8, "record count")
    header = encode_header(ControlType.MAP_REFERRAL, count, referral.nonce)
    return header + b"".join(map(_encode_record, referral.records))


def decode_map_referral(data: bytes) -> MapReferral:
    """Read one whole datagram."""
    reader = Reader(data)
    bits, nonce = decode_header(reader, ControlType.MAP_REFERRAL)
    records = tuple(_decode_record(reader) for _ in range(bits & 0xFF))
    reader.finish()
    return MapReferral(nonce, records)


def _encode_record(record: ReferralRecord) -> bytes:
    bits = (
        check_bits(record.action, 3, "action") << 13
        | (_AUTHORITATIVE if record.authoritative else 0)
        | (_INCOMPLETE if record.incomplete else 0)
    )
    version = check_bits(record.map_version, 12, "map version")
    version |= check_bits(len(record.signatures), 4, "signature count") << 12
    fixed = (record.ttl, len(record.locators), record.eid.length, bits, version)
    body = pack(RECORD_LAYOUT, *fixed) + encode_eid(record.eid) + encode_locators(record.locators)
    return body + b"".join(map(_checked_signature, record.signatures))


def _decode_record(reader: Reader) -> ReferralRecord:
    ttl, count, length, bits, version = reader.unpack(RECORD_LAYOUT)
    eid = decode_eid(reader, length)
    locators = decode_locators(reader, count)
    signatures = tuple(_decode_signature(reader) for _ in range(version >> 12))
    authoritative, incomplete = bool(bits & _AUTHORITATIVE), bool(bits & _INCOMPLETE)
    return ReferralRecord(
        eid, ttl, locators, bits >> 13, authoritative, incomplete, version & 0xFFF, signatures
    )


def _checked_signature(section: bytes) -> bytes:
    if len(section) < _SIGNATURE.size:
        raise ValueError(f"a signature section has at least {_SIGNATURE.size} octets")
    return check_octets(section, _signature_octets(section), "signature section")


def _decode_signature(reader: Reader) -> bytes:
    return reader.read(_signature_octets(reader.peek(_SIGNATURE.size)))


def _signature_octets(section: bytes) -> int:
    signature: int = _SIGNATURE.unpack_from(section)[4]
    return _SIGNATURE.size + signature
