"""The kinds of LISP control messages (RFC 9301 §5.1), and the first words most of them share."""

from __future__ import annotations

import enum
from struct import Struct

from lispmsrt.wire.errors import WireError
from lispmsrt.wire.packing import pack
from lispmsrt.wire.reader import Reader

__all__ = ["ControlType", "decode_header", "encode_header", "message_type"]

_HEADER = Struct("!IQ")  # type 4 bits | flags and counts by type, nonce


class ControlType(enum.IntEnum):
    """First four bits of a control message."""

    MAP_REQUEST = 1
    MAP_REPLY = 2
    MAP_REGISTER = 3
    MAP_NOTIFY = 4
    MAP_NOTIFY_ACK = 5
    MAP_REFERRAL = 6
    INFO = 7
    ENCAPSULATED = 8
    SHARED_EXTENSION = 15


def message_type(data: bytes) -> int:
    """Return the type of the message in a datagram, known to `ControlType` or not."""
    if not data:
        raise WireError("datagram is empty")
    return data[0] >> 4


def encode_header(kind: ControlType, bits: int, nonce: int) -> bytes:
    """Return first word and nonce; ``bits`` are the word's lower 28."""
    return pack(_HEADER, kind << 28 | bits, nonce)


def decode_header(reader: Reader, kind: ControlType) -> tuple[int, int]:
    """Read first word and nonce of a message that must be of this kind."""
    word, nonce = reader.unpack(_HEADER)
    if word >> 28 != kind:
        raise WireError(f"message of type {word >> 28} is no {kind.name}")
    return word & 0x0FFFFFFF, nonce
