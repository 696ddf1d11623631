"""Map-Register, Map-Notify and Map-Notify-Ack (RFC 9301 §5.6 to 5.8): three types of one layout.

Two ways to read one: :func:`decode_map_register` builds values; :func:`walk_map_register` finds
offsets only, for those who handle hundreds of thousands a second. Authentication data is checked
elsewhere (:mod:`lispmsrt.wire.authentication`), over the received bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from struct import Struct

from lispmsrt.wire.authentication import AUTHENTICATION_OFFSET, Coverage, Key, Purpose
from lispmsrt.wire.errors import WireError
from lispmsrt.wire.messages import ControlType
from lispmsrt.wire.packing import pack
from lispmsrt.wire.reader import Reader
from lispmsrt.wire.record_walk import RecordSpan, walk_records
from lispmsrt.wire.records import MappingRecord, decode_records, encode_record

__all__ = [
    "MapNotify",
    "MapNotifyAck",
    "MapRegister",
    "MapRegisterSpan",
    "RegisterFlag",
    "decode_map_notify",
    "decode_map_notify_ack",
    "decode_map_register",
    "encode_map_notify",
    "encode_map_notify_ack",
    "encode_map_register",
    "sign",
    "walk_map_notify",
    "walk_map_notify_ack",
    "walk_map_register",
    "write_map_notify",
    "write_map_notify_ack",
    "write_map_register",
]

_FIXED = Struct("!IQBBH")  # first word, nonce, key ID, algorithm ID, authentication data length
_ID_LENGTH = 24  # xTR-ID and Site-ID
MAX_RECORDS = 255


class RegisterFlag:
    """Bits of a Map-Register's first word (RFC 9301 §5.6)."""

    PROXY_REPLY = 1 << 27
    SECURITY = 1 << 26
    XTR_ID = 1 << 25
    RELIABLE_TRANSPORT = 1 << (31 - 18)
    "r, draft-ietf-lisp-map-server-reliable-transport-00; E comes after it at bit 19"
    EID_NOTIFY = 1 << 12
    USE_TTL = 1 << 11
    MERGE = 1 << 10
    WANT_MAP_NOTIFY = 1 << 8


class NotifyFlag:
    """Bits of a Map-Notify's first word: RFC 9301 reserves them, deployed code uses them."""

    XTR_ID = 1 << 27
    RELIABLE_TRANSPORT = RegisterFlag.RELIABLE_TRANSPORT
    "where the r bit of a Map-Notify stands is not published: the one place that says so"


# Looking a member up in its enum costs more than the lines that need it.
_XTR_ID = RegisterFlag.XTR_ID
_RECORDS = Coverage.RECORDS
_MAP_REGISTER = Purpose.MAP_REGISTER


@dataclass(slots=True)
class _SignedMessage:
    records: tuple[MappingRecord, ...]
    nonce: int = 0
    xtr_id: bytes | None = None
    "16 octets; given together with site_id"
    site_id: bytes | None = None
    "8 octets"
    key_id: int = 0
    algorithm_id: int = 0
    authentication_data: bytes = b""
    "empty until the message is signed"


@dataclass(slots=True)
class MapRegister(_SignedMessage):
    """A Map-Register as values."""

    proxy_reply: bool = False
    security: bool = False
    reliable_transport: bool = False
    eid_notify: bool = False
    use_ttl: bool = False
    merge: bool = False
    want_map_notify: bool = False


@dataclass(slots=True)
class MapNotify(_SignedMessage):
    """A Map-Notify as values."""

    reliable_transport: bool = False


@dataclass(slots=True)
class MapNotifyAck(_SignedMessage):
    """A Map-Notify-Ack as values."""

    reliable_transport: bool = False


# In the order of the fields of MapRegister.
_REGISTER_BITS = {
    "proxy_reply": RegisterFlag.PROXY_REPLY,
    "security": RegisterFlag.SECURITY,
    "reliable_transport": RegisterFlag.RELIABLE_TRANSPORT,
    "eid_notify": RegisterFlag.EID_NOTIFY,
    "use_ttl": RegisterFlag.USE_TTL,
    "merge": RegisterFlag.MERGE,
    "want_map_notify": RegisterFlag.WANT_MAP_NOTIFY,
}


def register_flags(register: MapRegister) -> int:
    """Return the first word's flags of a Map-Register, without type and record count."""
    flags = sum(bit for name, bit in _REGISTER_BITS.items() if getattr(register, name))
    return flags | (RegisterFlag.XTR_ID if register.xtr_id is not None else 0)


def encode_map_register(register: MapRegister) -> bytes:
    """Build a whole Map-Register with the authentication data that it holds."""
    word = ControlType.MAP_REGISTER << 28 | register_flags(register)
    return _encode(register, word)


def decode_map_register(data: bytes) -> MapRegister:
    """Read a whole Map-Register."""
    word, common = _decode_signed(data, ControlType.MAP_REGISTER)
    if bool(word & RegisterFlag.XTR_ID) != (common.xtr_id is not None):
        raise WireError("the I bit and the presence of an xTR-ID contradict each other")
    return MapRegister(*_fields(common), *(bool(word & bit) for bit in _REGISTER_BITS.values()))


def encode_map_notify(notify: MapNotify) -> bytes:
    """Build a whole Map-Notify with the authentication data that it holds."""
    return _encode(notify, ControlType.MAP_NOTIFY << 28 | _notify_flags(notify))


def encode_map_notify_ack(ack: MapNotifyAck) -> bytes:
    """Build a whole Map-Notify-Ack with the authentication data that it holds."""
    return _encode(ack, ControlType.MAP_NOTIFY_ACK << 28 | _notify_flags(ack))


def decode_map_notify(data: bytes) -> MapNotify:
    """Read a whole Map-Notify; the xTR-ID is found by what is left, with or without its bit."""
    word, common = _decode_signed(data, ControlType.MAP_NOTIFY)
    return MapNotify(*_fields(common), bool(word & NotifyFlag.RELIABLE_TRANSPORT))


def decode_map_notify_ack(data: bytes) -> MapNotifyAck:
    """Read a whole Map-Notify-Ack."""
    word, common = _decode_signed(data, ControlType.MAP_NOTIFY_ACK)
    return MapNotifyAck(*_fields(common), bool(word & NotifyFlag.RELIABLE_TRANSPORT))


def sign(
    message: bytes,
    key: Key,
    purpose: Purpose,
    *,
    length: int | None = None,
    coverage: Coverage | None = None,
) -> bytes:
    """Return one of these messages with key ID, algorithm ID and authentication data put in.

    ``message`` is complete but for these: it has no authentication data yet. ``length`` is in
    octets, by default that of a whole digest.
    """
    size = key.sent_length if length is None else length
    if not key.accepts_length(size):
        raise ValueError(f"{size} octets are no authentication data of {key}")
    word, nonce, _key_id, _algorithm_id, present = _FIXED.unpack_from(message)
    if present:
        raise ValueError("the message is signed already")
    head = _FIXED.pack(word, nonce, key.key_id, key.algorithm_id, size)
    tail = message[AUTHENTICATION_OFFSET:]
    covered = tail
    if (coverage or key.default_coverage) is Coverage.RECORDS:
        covered = tail[: len(tail) - _trailing_ids(word)]
    return b"".join((head, key.digest(head, covered, size, purpose), tail))


def write_map_register(
    flags: int, nonce: int, records: Sequence[bytes], ids: bytes, key: Key
) -> bytes:
    """Build a signed Map-Register from records in wire form.

    ``flags`` are bits of the first word (RegisterFlag) but for the I bit; ``ids`` are xTR-ID and
    Site-ID, or empty.
    """
    word = 0x3000_0000 | flags | len(records)
    if ids:
        word |= _XTR_ID
    length = key.sent_length
    head = _FIXED.pack(word, nonce, key.key_id, key.algorithm_id, length)
    return _assemble(head, records, ids, key, length, key.default_coverage, _MAP_REGISTER)


def write_map_notify(
    *,
    nonce: int,
    records: Sequence[bytes],
    ids: bytes,
    reliable_transport: bool,
    key: Key,
    length: int,
    coverage: Coverage,
) -> bytes:
    """Build a signed Map-Notify from records in wire form.

    ``length`` and ``coverage`` mirror the Map-Register.
    """
    word = 0x4000_0000 | len(records)
    if ids:
        word |= NotifyFlag.XTR_ID
    if reliable_transport:
        word |= NotifyFlag.RELIABLE_TRANSPORT
    head = _FIXED.pack(word, nonce, key.key_id, key.algorithm_id, length)
    return _assemble(head, records, ids, key, length, coverage, Purpose.MAP_NOTIFY)


def write_map_notify_ack(
    *, nonce: int, records: Sequence[bytes], ids: bytes, key: Key, length: int, coverage: Coverage
) -> bytes:
    """Build a signed Map-Notify-Ack from records in wire form.

    Everything mirrors the Map-Notify (RFC 9301 §5.8).
    """
    word = ControlType.MAP_NOTIFY_ACK << 28 | len(records)
    if ids:
        word |= NotifyFlag.XTR_ID
    head = _FIXED.pack(word, nonce, key.key_id, key.algorithm_id, length)
    return _assemble(head, records, ids, key, length, coverage, Purpose.MAP_NOTIFY_ACK)


MapRegisterSpan = tuple[int, int, int, int, int, list[RecordSpan], int]
"""First word, nonce, key and algorithm ID, authentication data length, record spans, their end.

All offsets are in octets from the start of the bytes given to :func:`walk_map_register`.
"""


def walk_map_register(data: bytes, start: int, end: int) -> MapRegisterSpan:
    """Find the parts of the Map-Register ``data[start:end]`` without building values."""
    try:
        word, nonce, key_id, algorithm_id, length = _FIXED.unpack_from(data, start)
    except struct.error:
        raise WireError("Map-Register is cut short") from None
    if word >> 28 != 3:
        raise WireError("not a Map-Register")
    first_record = start + AUTHENTICATION_OFFSET + length
    last = end - _ID_LENGTH if word & _XTR_ID else end
    records = walk_records(data, first_record, last, word & 0xFF)
    return word, nonce, key_id, algorithm_id, length, records, last


def walk_map_notify(data: bytes) -> MapRegisterSpan:
    """Find the parts of a Map-Notify; the xTR-ID is found by what is left, like in decoding."""
    return _walk_answer(data, ControlType.MAP_NOTIFY)


def walk_map_notify_ack(data: bytes) -> MapRegisterSpan:
    """Find the parts of a Map-Notify-Ack, like those of a Map-Notify."""
    return _walk_answer(data, ControlType.MAP_NOTIFY_ACK)


def _walk_answer(data: bytes, kind: ControlType) -> MapRegisterSpan:
    try:
        word, nonce, key_id, algorithm_id, length = _FIXED.unpack_from(data)
    except struct.error:
        raise WireError(f"{kind.name} is cut short") from None
    if word >> 28 != kind:
        raise WireError(f"not a {kind.name}")
    first_record = AUTHENTICATION_OFFSET + length
    count = word & 0xFF
    last = len(data)
    try:
        records = walk_records(data, first_record, last, count)
    except WireError:
        last -= _ID_LENGTH
        records = walk_records(data, first_record, last, count)
    return word, nonce, key_id, algorithm_id, length, records, last


def _assemble(
    head: bytes,
    records: Sequence[bytes],
    ids: bytes,
    key: Key,
    length: int,
    coverage: Coverage,
    purpose: Purpose,
) -> bytes:
    # One more would be read as a flag, and no record at all.
    _check_count(records)
    body = b"".join(records)
    whole = body + ids
    covered = body if coverage is _RECORDS else whole
    return head + key.digest(head, covered, length, purpose) + whole


def _encode(message: _SignedMessage, word: int) -> bytes:
    _check_count(message.records)
    fixed = pack(
        _FIXED,
        word | len(message.records),
        message.nonce,
        message.key_id,
        message.algorithm_id,
        len(message.authentication_data),
    )
    records = map(encode_record, message.records)
    return b"".join((fixed, message.authentication_data, *records, _encode_ids(message)))


def _check_count(records: Sequence[object]) -> None:
    if len(records) > MAX_RECORDS:
        raise ValueError(f"{len(records)} records do not fit one message; {MAX_RECORDS} do")


def _encode_ids(message: _SignedMessage) -> bytes:
    if message.xtr_id is None:
        return b""
    if message.site_id is None or len(message.xtr_id) != 16 or len(message.site_id) != 8:
        raise ValueError("an xTR-ID of 16 octets goes with a Site-ID of 8")
    return message.xtr_id + message.site_id


def _notify_flags(notify: MapNotify | MapNotifyAck) -> int:
    return (NotifyFlag.XTR_ID if notify.xtr_id is not None else 0) | (
        NotifyFlag.RELIABLE_TRANSPORT if notify.reliable_transport else 0
    )


def _trailing_ids(word: int) -> int:
    bit = RegisterFlag.XTR_ID if word >> 28 == ControlType.MAP_REGISTER else NotifyFlag.XTR_ID
    return _ID_LENGTH if word & bit else 0


def _decode_signed(data: bytes, kind: ControlType) -> tuple[int, _SignedMessage]:
    reader = Reader(data)
    word, nonce, key_id, algorithm_id, length = reader.unpack(_FIXED)
    if word >> 28 != kind:
        raise WireError(f"message type {word >> 28} where {kind:d} was expected")
    authentication_data = reader.read(length)
    records = decode_records(reader, word & 0xFF)
    xtr_id = site_id = None
    if reader.remaining:
        xtr_id, site_id = reader.read(16), reader.read(8)
    reader.finish()
    return word, _SignedMessage(
        records, nonce, xtr_id, site_id, key_id, algorithm_id, authentication_data
    )


def _fields(
    common: _SignedMessage,
) -> tuple[tuple[MappingRecord, ...], int, bytes | None, bytes | None, int, int, bytes]:
    return (
        common.records,
        common.nonce,
        common.xtr_id,
        common.site_id,
        common.key_id,
        common.algorithm_id,
        common.authentication_data,
    )
