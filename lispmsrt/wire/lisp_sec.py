"""LISP-SEC authentication data of Encapsulated Control Messages and Map-Replies (RFC 9303 §6.1 and
§6.2).

Layouts only: nothing is wrapped, signed or verified here. EID authentication data (EID-AD) also
stays as it came, because an ETR copies it and an ITR verifies it octet by octet.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from struct import Struct

from lispmsrt.wire.addresses import EidPrefix, decode_eid, encode_eid
from lispmsrt.wire.errors import WireError
from lispmsrt.wire.packing import check_bits, check_octets, pack
from lispmsrt.wire.reader import Reader

__all__ = [
    "ONE_TIME_KEY_OCTETS",
    "WRAPPED_KEY_OCTETS",
    "EidAuthentication",
    "HmacId",
    "KdfId",
    "ReplySecurity",
    "RequestSecurity",
    "WrappingId",
    "decode_eid_authentication",
    "decode_reply_security",
    "decode_request_security",
    "encode_eid_authentication",
    "encode_kdf_only",
    "encode_reply_security",
    "encode_request_security",
    "read_kdf_id",
    "with_security",
]

ONE_TIME_KEY_OCTETS = 16
WRAPPED_KEY_OCTETS = 24
"""One-Time Key Preamble (8) and One-Time Key (16): just what AES key wrap makes of 128 bits."""

_LISP_SEC = 1
_KEY_VERSION = 0x80
_MAP_REPLY_SECURITY = 0x02  # S in the first octet of a Map-Reply (RFC 9301 §5.4)
_ETR_CANT_SIGN = 0x80

# AD type, V|unassigned, requested HMAC ID, OTK length, key ID, OTK wrapping ID
_REQUEST = Struct("!BBHHBB")
_REPLY = Struct("!B3s")  # AD type, unassigned
_EID_AD = Struct("!HH")  # octets with this field, KDF ID
_EID_COUNT = Struct("!BBH")  # record count, E|unassigned, EID HMAC ID
_EID_RECORD = Struct("!BB")  # unassigned, mask length; AFI and EID-prefix follow
_PKT_AD = Struct("!HH")  # octets with this field, PKT HMAC ID


class HmacId(enum.IntEnum):
    """What signs EID-AD and PKT-AD (RFC 9303 §8.3)."""

    NO_PREFERENCE = 0
    HMAC_SHA_1_96 = 1
    HMAC_SHA_256_128 = 2


class WrappingId(enum.IntEnum):
    """How a One-Time Key is wrapped (RFC 9303 §8.4)."""

    NULL_KEY_WRAP_128 = 1
    AES_KEY_WRAP_128_HKDF_SHA256 = 2


class KdfId(enum.IntEnum):
    """How the MS-OTK is derived from the ITR-OTK (RFC 9303 §8.5)."""

    NO_PREFERENCE = 0
    HKDF_SHA1_128 = 1
    HKDF_SHA256 = 2


@dataclass(slots=True, unsafe_hash=True)
class RequestSecurity:
    """What an Encapsulated Control Message carries in front of its inner packet."""

    requested_hmac_id: int
    key_id: int
    """Of the pre-shared secret that the One-Time Key is wrapped with."""

    wrapping_id: int
    wrapped_key: bytes
    """Preamble and One-Time Key, 24 octets."""

    eid_data: bytes
    """The EID-AD as it came, from its length field on."""

    key_version: bool = False
    """V: toggled by some senders when they change keys; says nothing that the key ID does not."""


@dataclass(slots=True, unsafe_hash=True)
class EidAuthentication:
    """An EID-AD that a Map-Server completed: which EID-prefixes the ITR may believe."""

    kdf_id: int
    hmac_id: int
    eids: tuple[EidPrefix, ...]
    mac: bytes
    """It covers the whole EID-AD, with itself as zeros; nothing follows it."""

    etr_cannot_sign: bool = False
    """E: some ETR of these EID-prefixes does without LISP-SEC."""


@dataclass(slots=True, unsafe_hash=True)
class ReplySecurity:
    """What a Map-Reply carries behind its records."""

    eid_data: bytes
    """The EID-AD as it came, from its length field on."""

    hmac_id: int
    mac: bytes
    """It covers the whole Map-Reply, with itself as zeros; nothing follows it."""


def encode_request_security(security: RequestSecurity) -> bytes:
    """Return the octets from the AD type on."""
    wrapped = check_octets(security.wrapped_key, WRAPPED_KEY_OCTETS, "wrapped One-Time Key")
    version = _KEY_VERSION if security.key_version else 0
    key = (len(wrapped), security.key_id, security.wrapping_id)
    fixed = pack(_REQUEST, _LISP_SEC, version, security.requested_hmac_id, *key)
    return fixed + wrapped + security.eid_data


def decode_request_security(data: bytes) -> RequestSecurity:
    """Read what :class:`lispmsrt.wire.encapsulated.EncapsulatedControlMessage` carries."""
    reader = Reader(data)
    ad_type, version, hmac_id, octets, key_id, wrapping_id = reader.unpack(_REQUEST)
    _check_type(ad_type)
    if octets != WRAPPED_KEY_OCTETS:
        raise WireError(f"One-Time Key authentication data has {octets} octets")
    wrapped = reader.read(octets)
    eid_data = _read_eid_data(reader)
    reader.finish()
    version_bit = bool(version & _KEY_VERSION)
    return RequestSecurity(hmac_id, key_id, wrapping_id, wrapped, eid_data, version_bit)


def encode_kdf_only(kdf_id: int) -> bytes:
    """Return an ITR's EID-AD, which names a key derivation function and nothing else."""
    return pack(_EID_AD, _EID_AD.size, kdf_id)


def read_kdf_id(eid_data: bytes) -> int:
    """Return the KDF ID of an EID-AD, an ITR's or a completed one."""
    kdf_id: int = Reader(eid_data).unpack(_EID_AD)[1]
    return kdf_id


def encode_eid_authentication(eids: EidAuthentication) -> bytes:
    """Return the completed EID-AD."""
    count = check_bits(len(eids.eids), 8, "record count")
    flags = _ETR_CANT_SIGN if eids.etr_cannot_sign else 0
    body = pack(_EID_COUNT, count, flags, eids.hmac_id)
    body += b"".join(map(_encode_eid, eids.eids)) + eids.mac
    return pack(_EID_AD, _EID_AD.size + len(body), eids.kdf_id) + body


def decode_eid_authentication(eid_data: bytes) -> EidAuthentication:
    """Read a completed EID-AD; what follows its EID-records is the MAC."""
    reader = Reader(eid_data)
    octets, kdf_id = reader.unpack(_EID_AD)
    with reader.restrict_to(octets - _EID_AD.size):
        count, flags, hmac_id = reader.unpack(_EID_COUNT)
        eids = tuple(_decode_eid(reader) for _ in range(count))
        mac = reader.read_remaining()
    reader.finish()
    return EidAuthentication(kdf_id, hmac_id, eids, mac, bool(flags & _ETR_CANT_SIGN))


def encode_reply_security(security: ReplySecurity) -> bytes:
    """Return the octets from the AD type on."""
    fixed = pack(_REPLY, _LISP_SEC, bytes(3))
    packet = pack(_PKT_AD, _PKT_AD.size + len(security.mac), security.hmac_id)
    return fixed + security.eid_data + packet + security.mac


def decode_reply_security(data: bytes) -> ReplySecurity:
    """Read what :class:`lispmsrt.wire.map_reply.MapReply` carries behind its records."""
    reader = Reader(data)
    ad_type, _ = reader.unpack(_REPLY)
    _check_type(ad_type)
    eid_data = _read_eid_data(reader)
    octets, hmac_id = reader.unpack(_PKT_AD)
    if octets != _PKT_AD.size + reader.remaining:
        raise WireError("packet authentication data does not end with the Map-Reply")
    return ReplySecurity(eid_data, hmac_id, reader.read_remaining())


def with_security(reply: bytes, security: bytes) -> bytes:
    """Return a Map-Reply in wire form, which has none yet, with authentication data."""
    return bytes((reply[0] | _MAP_REPLY_SECURITY,)) + reply[1:] + security


def _check_type(ad_type: int) -> None:
    if ad_type != _LISP_SEC:
        raise WireError(f"unknown type {ad_type} of authentication data")


def _read_eid_data(reader: Reader) -> bytes:
    """Read over an EID-AD, an ITR's or a completed one."""
    start = reader.offset
    octets, _ = reader.unpack(_EID_AD)
    if octets < _EID_AD.size:
        raise WireError("EID authentication data is shorter than its length field")
    reader.read(octets - _EID_AD.size)
    return reader.since(start)


def _encode_eid(eid: EidPrefix) -> bytes:
    return pack(_EID_RECORD, 0, eid.length) + encode_eid(eid)


def _decode_eid(reader: Reader) -> EidPrefix:
    _, length = reader.unpack(_EID_RECORD)
    return decode_eid(reader, length)
