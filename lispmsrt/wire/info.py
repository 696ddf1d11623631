"""Info-Request and Info-Reply, type 7 of the NAT traversal drafts: carried, not interpreted."""

from __future__ import annotations

from dataclasses import dataclass

from lispmsrt.wire.messages import ControlType, decode_header, encode_header
from lispmsrt.wire.reader import Reader

__all__ = ["InfoMessage", "decode_info", "encode_info"]

_REPLY = 1 << 27


@dataclass(slots=True, unsafe_hash=True)
class InfoMessage:
    """An xTR asks a Map-Server how it is seen from outside, or is told."""

    nonce: int
    body: bytes
    """Everything after the nonce, key ID first."""

    reply: bool = False


def encode_info(message: InfoMessage) -> bytes:
    """Return the message."""
    bits = _REPLY if message.reply else 0
    return encode_header(ControlType.INFO, bits, message.nonce) + message.body


def decode_info(data: bytes) -> InfoMessage:
    """Read one whole datagram."""
    reader = Reader(data)
    bits, nonce = decode_header(reader, ControlType.INFO)
    return InfoMessage(nonce, reader.read_remaining(), bool(bits & _REPLY))
