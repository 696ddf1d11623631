"""RLOC membership distribution, messages 22 to 30 (draft-kouvelas-lisp-rloc-membership-01).

Nine message types of three shapes, each about one EID family of one instance ID. Data parts only.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from struct import Struct

from lispmsrt.wire.addresses import Address, Lcaf, decode_address, encode_address
from lispmsrt.wire.errors import WireError
from lispmsrt.wire.framing import END_MARKER, MESSAGE_OVERHEAD, encode_frame
from lispmsrt.wire.packing import check_octets, pack
from lispmsrt.wire.reader import Reader
from lispmsrt.wire.reliable_transport import MessageType

__all__ = [
    "MembershipElement",
    "MembershipMessage",
    "MembershipReply",
    "MembershipRequest",
    "NackError",
    "decode_membership",
    "encode_membership",
    "encode_membership_elements",
]


class NackError(enum.IntEnum):
    """Why a subscription is refused or cancelled. 0 is what Wireshark calls undefined."""

    UNDEFINED = 0
    UNKNOWN_INSTANCE = 1
    NOT_ENABLED = 2
    NOT_REGISTERED = 3


@dataclass(slots=True)
class MembershipRequest:
    """Subscribe, Unsubscribe or Refresh Request."""

    kind: MessageType
    afi: int
    instance_id: int


@dataclass(slots=True)
class MembershipReply:
    """Subscribe ACK or NACK, Refresh Begin or End."""

    kind: MessageType
    afi: int
    instance_id: int
    request_id: int
    "message ID of the request that this answers"
    error: int | None = None
    "of a Subscribe NACK only"


@dataclass(slots=True)
class MembershipElement:
    """Element Add or Delete: one RLOC of one site."""

    kind: MessageType
    afi: int
    instance_id: int
    site_id: bytes
    rloc: Address | Lcaf


MembershipMessage = MembershipRequest | MembershipReply | MembershipElement

_FIXED = Struct("!HI")
_REQUEST_ID = Struct("!I")
_ERROR = Struct("!B")
_ELEMENT_HEAD = Struct("!HHIHI")  # type, length, message ID, EID-AFI, instance ID
_MARKER = END_MARKER.to_bytes(4, "big")
_SITE_ID_LENGTH = 8

_REQUESTS = frozenset(
    {
        MessageType.MEMBERSHIP_SUBSCRIBE,
        MessageType.MEMBERSHIP_UNSUBSCRIBE,
        MessageType.MEMBERSHIP_REFRESH_REQUEST,
    }
)
_ELEMENTS = frozenset({MessageType.MEMBERSHIP_ELEMENT_ADD, MessageType.MEMBERSHIP_ELEMENT_DELETE})
_ADD = int(MessageType.MEMBERSHIP_ELEMENT_ADD)
_DELETE = int(MessageType.MEMBERSHIP_ELEMENT_DELETE)
_NACK = MessageType.MEMBERSHIP_SUBSCRIBE_NACK


def encode_membership(message: MembershipMessage, message_id: int) -> bytes:
    """Build a whole message of types 22 to 30."""
    data = pack(_FIXED, message.afi, message.instance_id)
    if isinstance(message, MembershipReply):
        data += pack(_REQUEST_ID, message.request_id)
        if message.kind is _NACK:
            data += pack(_ERROR, message.error or NackError.UNDEFINED)
    elif isinstance(message, MembershipElement):
        data += check_octets(message.site_id, _SITE_ID_LENGTH, "Site-ID")
        data += encode_address(message.rloc)
    return encode_frame(message.kind, message_id, data)


def encode_membership_elements(
    instance_id: int, afi: int, elements: Iterable[tuple[bool, bytes]], message_id: int
) -> bytes:
    """Build one Element Add (True) or Delete for each element, with consecutive message IDs.

    Elements come in wire form: Site-ID, RLOC-AFI and RLOC.
    """
    head = _ELEMENT_HEAD.pack
    overhead = MESSAGE_OVERHEAD + _FIXED.size
    parts: list[bytes] = []
    for is_member, element in elements:
        kind = _ADD if is_member else _DELETE
        parts += (head(kind, len(element) + overhead, message_id, afi, instance_id), element)
        parts.append(_MARKER)
        message_id = message_id + 1 & 0xFFFFFFFF
    return b"".join(parts)


def decode_membership(kind: int, data: bytes) -> MembershipMessage:
    """Read the data part of a message of types 22 to 30."""
    if not MessageType.MEMBERSHIP_SUBSCRIBE <= kind <= MessageType.MEMBERSHIP_REFRESH_END:
        raise WireError(f"message type {kind} is not about membership")
    message_type = MessageType(kind)
    reader = Reader(data)
    afi, instance_id = reader.unpack(_FIXED)
    message: MembershipMessage
    if message_type in _REQUESTS:
        message = MembershipRequest(message_type, afi, instance_id)
    elif message_type in _ELEMENTS:
        site_id = reader.read(_SITE_ID_LENGTH)
        message = MembershipElement(message_type, afi, instance_id, site_id, decode_address(reader))
    else:
        (request_id,) = reader.unpack(_REQUEST_ID)
        error = reader.unpack(_ERROR)[0] if message_type is _NACK else None
        message = MembershipReply(message_type, afi, instance_id, request_id, error)
    reader.finish()
    return message
