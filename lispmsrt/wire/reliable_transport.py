"""Messages 16 to 21 (draft-kouvelas-lisp-map-server-reliable-transport-07 §5, §6.1).

Decoders take data parts only: :mod:`lispmsrt.wire.framing` knows type, length, message ID and end
marker around them. An EID-prefix travels here as its Prefix-Length octet followed by AFI and
address ("EID wire form"), and is handed on as these bytes: a Map-Server echoes them, an ETR finds
its entry by them.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from struct import Struct

from lispmsrt.wire.addresses import Address, Afi, EidPrefix, decode_eid, encode_eid
from lispmsrt.wire.errors import WireError
from lispmsrt.wire.framing import END_MARKER, MESSAGE_OVERHEAD, encode_frame
from lispmsrt.wire.packing import pack
from lispmsrt.wire.reader import Reader
from lispmsrt.wire.records import MappingRecord, decode_record

__all__ = [
    "ErrorCode",
    "ErrorNotification",
    "MappingNotification",
    "MessageType",
    "RefreshScope",
    "RegistrationRefresh",
    "RegistrationReject",
    "RejectReason",
    "decode_eid_wire_form",
    "decode_error_notification",
    "decode_mapping_notification",
    "decode_registration_ack",
    "decode_registration_refresh",
    "decode_registration_reject",
    "eid_wire_form",
    "encode_error_notification",
    "encode_mapping_notification",
    "encode_registration_ack",
    "encode_registration_acks",
    "encode_registration_refresh",
    "encode_registration_reject",
]


class MessageType(enum.IntEnum):
    """Message types of the reliable transport that are assigned or seen in the field."""

    ERROR_NOTIFICATION = 16
    REGISTRATION = 17
    REGISTRATION_ACK = 18
    REGISTRATION_REJECT = 19
    REGISTRATION_REFRESH = 20
    MAPPING_NOTIFICATION = 21
    MEMBERSHIP_SUBSCRIBE = 22
    MEMBERSHIP_SUBSCRIBE_ACK = 23
    MEMBERSHIP_SUBSCRIBE_NACK = 24
    MEMBERSHIP_UNSUBSCRIBE = 25
    MEMBERSHIP_ELEMENT_ADD = 26
    MEMBERSHIP_ELEMENT_DELETE = 27
    MEMBERSHIP_REFRESH_REQUEST = 28
    MEMBERSHIP_REFRESH_BEGIN = 29
    MEMBERSHIP_REFRESH_END = 30


class ErrorCode(enum.IntEnum):
    """Codes of the Error Notification. The draft names both and numbers neither: ours."""

    UNRECOGNISED_TYPE = 1
    FORMAT_ERROR = 2


class RejectReason(enum.IntEnum):
    """Reasons of a Registration Rejection (§6.1.3)."""

    NOT_A_VALID_SITE_EID_PREFIX = 1
    AUTHENTICATION_FAILURE = 2
    LOCATOR_SET_NOT_ALLOWED = 3
    OTHER = 4


_REASONS = {
    RejectReason.NOT_A_VALID_SITE_EID_PREFIX: "not a valid site EID-prefix",
    RejectReason.AUTHENTICATION_FAILURE: "authentication failure",
    RejectReason.LOCATOR_SET_NOT_ALLOWED: "locator set not allowed",
    RejectReason.OTHER: "other",
}


def reason_text(reason: int) -> str:
    """Return the reason of a Registration Rejection in words."""
    known = reason in RejectReason.__members__.values()
    return _REASONS[RejectReason(reason)] if known else f"reason {reason}"


class RefreshScope(enum.IntEnum):
    """What a Registration Refresh asks for (§6.1.4)."""

    EVERYTHING = 0
    INSTANCE = 1
    FAMILY = 2
    COVERED = 3
    EXACT = 4


@dataclass(slots=True)
class ErrorNotification:
    """A base-session error (type 16)."""

    code: int
    offending_type: int
    offending_length: int
    offending_id: int
    offending_data: bytes = b""


@dataclass(slots=True)
class RegistrationReject:
    """A refused, or later withdrawn, registration (type 19). Unknown reasons stay numbers."""

    reason: int
    eid: bytes
    "EID wire form"


@dataclass(slots=True)
class RegistrationRefresh:
    """A request to register again (type 20)."""

    scope: int
    rejected_only: bool = False
    "the R bit"
    eid: EidPrefix | None = None
    "what scopes 1 to 4 are about; for scopes 1 and 2 only its instance ID and family count"


@dataclass(slots=True)
class MappingNotification:
    """The Map-Server's view of a mapping (type 21); IDs that the registration lacked are zero."""

    xtr_id: bytes
    site_id: bytes
    record: MappingRecord


_ERROR = Struct("!B3xHHI")
_REJECT = Struct("!BH")
_REFRESH = Struct("!BH")
_ACK_HEADER = Struct("!HHI")
_MARKER = END_MARKER.to_bytes(4, "big")
_REJECTED_ONLY = 0x8000
_XTR_AND_SITE_ID = 24

_LCAF_ANY_FAMILY = bytes.fromhex("00 4003 0000 0200 0006")
"""Prefix-Length 0, AFI LCAF, type 2 of six octets; the instance ID and inner AFI 0 follow."""


def eid_wire_form(eid: EidPrefix) -> bytes:
    """Prefix-Length octet, AFI and address."""
    return bytes((eid.length,)) + encode_eid(eid)


def decode_eid_wire_form(data: bytes) -> EidPrefix:
    """Read an EID wire form that fills ``data``."""
    reader = Reader(data)
    eid = decode_eid(reader, _read_octet(reader))
    reader.finish()
    return eid


def encode_error_notification(notification: ErrorNotification, message_id: int) -> bytes:
    """Build a whole type 16 message."""
    fixed = pack(
        _ERROR,
        notification.code,
        notification.offending_type,
        notification.offending_length,
        notification.offending_id,
    )
    return encode_frame(
        MessageType.ERROR_NOTIFICATION, message_id, fixed + notification.offending_data
    )


def decode_error_notification(data: bytes) -> ErrorNotification:
    """Read the data part of a type 16 message."""
    reader = Reader(data)
    code, kind, length, message_id = reader.unpack(_ERROR)
    return ErrorNotification(code, kind, length, message_id, reader.read_remaining())


def encode_registration_ack(message_id: int, eid: bytes) -> bytes:
    """Build a whole type 18 message around an EID wire form."""
    header = _ACK_HEADER.pack(18, MESSAGE_OVERHEAD + len(eid), message_id)
    return header + eid + _MARKER


def encode_registration_acks(message_id: int, eids: Sequence[bytes]) -> bytes:
    """Build one type 18 message for each EID wire form, with consecutive message IDs."""
    pack = _ACK_HEADER.pack
    parts: list[bytes] = []
    for eid in eids:
        parts += (pack(18, len(eid) + MESSAGE_OVERHEAD, message_id), eid, _MARKER)
        message_id = message_id + 1 & 0xFFFFFFFF
    return b"".join(parts)


def decode_registration_ack(data: bytes) -> bytes:
    """Check the data part of a type 18 message, which is nothing but an EID wire form."""
    decode_eid_wire_form(data)
    return data


def encode_registration_reject(message_id: int, reason: int, eid: bytes) -> bytes:
    """Build a whole type 19 message around an EID wire form."""
    return encode_frame(MessageType.REGISTRATION_REJECT, message_id, pack(_REJECT, reason, 0) + eid)


def decode_registration_reject(data: bytes) -> RegistrationReject:
    """Read the data part of a type 19 message."""
    reader = Reader(data)
    reason, _reserved = reader.unpack(_REJECT)
    eid = reader.read_remaining()
    decode_eid_wire_form(eid)
    return RegistrationReject(reason, eid)


def encode_registration_refresh(refresh: RegistrationRefresh, message_id: int) -> bytes:
    """Build a whole type 20 message."""
    data = pack(_REFRESH, refresh.scope, _REJECTED_ONLY if refresh.rejected_only else 0)
    if refresh.scope != RefreshScope.EVERYTHING:
        if refresh.eid is None:
            raise ValueError(f"a Refresh of scope {refresh.scope} needs an EID-prefix")
        if refresh.scope == RefreshScope.INSTANCE:
            data += _LCAF_ANY_FAMILY + refresh.eid.instance_id.to_bytes(4, "big") + bytes(2)
        elif refresh.scope == RefreshScope.FAMILY:
            data += b"\0" + encode_eid(_family(refresh.eid))
        else:
            data += eid_wire_form(refresh.eid)
    return encode_frame(MessageType.REGISTRATION_REFRESH, message_id, data)


def decode_registration_refresh(data: bytes) -> RegistrationRefresh:
    """Read the data part of a type 20 message.

    With R set the text wants the EID fields left out although scopes 1 to 4 can't do without: three
    octets mean scope 0 then, and EID fields that are there are honoured.
    """
    reader = Reader(data)
    scope, flags = reader.unpack(_REFRESH)
    rejected_only = bool(flags & _REJECTED_ONLY)
    if scope == RefreshScope.EVERYTHING or (rejected_only and not reader.remaining):
        reader.finish()
        return RegistrationRefresh(RefreshScope.EVERYTHING, rejected_only)
    if scope > RefreshScope.EXACT:
        raise WireError(f"Refresh scope {scope} is not known")
    length = _read_octet(reader)
    # In scopes 1 and 2 the mask length is not specified, and RFC 8060 §4.1 would read a range of
    # instance IDs into it: ignored.
    eid = decode_eid(reader, length if scope >= RefreshScope.COVERED else 0)
    reader.finish()
    return RegistrationRefresh(scope, rejected_only, eid)


def encode_mapping_notification(message_id: int, data: bytes) -> bytes:
    """Build a whole type 21 message from 24 octets of IDs and a mapping record in wire form."""
    return encode_frame(MessageType.MAPPING_NOTIFICATION, message_id, data)


def decode_mapping_notification(data: bytes) -> MappingNotification:
    """Read the data part of a type 21 message."""
    reader = Reader(data)
    ids = reader.read(_XTR_AND_SITE_ID)
    record = decode_record(reader)
    reader.finish()
    return MappingNotification(ids[:16], ids[16:], record)


def _read_octet(reader: Reader) -> int:
    return reader.read(1)[0]


def _family(eid: EidPrefix) -> EidPrefix:
    """Return the instance and family with an address of zeros."""
    address = eid.address
    if isinstance(address, Address):
        zeros = b"" if address.afi == Afi.NAME else bytes(len(address.packed))
        address = Address(address.afi, zeros)
    return EidPrefix(eid.instance_id, address, 0, explicit_instance=True)
