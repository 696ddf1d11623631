"""Framing of reliable-transport messages (draft-kouvelas-lisp-map-server-reliable-transport-07 §3).

Knows lengths and end markers, not message contents. A framing error ends the stream: the marker may
legally occur inside data, so nobody ever hunts for it to find the next message.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct

from lispmsrt.compiled import twin
from lispmsrt.wire.errors import ErrorScope, WireError
from lispmsrt.wire.packing import pack

__all__ = [
    "END_MARKER",
    "MAX_MESSAGE_LENGTH",
    "MESSAGE_OVERHEAD",
    "Frame",
    "FrameBuffer",
    "FramingError",
    "encode_frame",
]

END_MARKER = 0x9FACADE9
"""A parse check at the end of each message, nothing more."""

MESSAGE_OVERHEAD = 12
"""Octets of a message around its data: type, length, message ID and end marker."""

MAX_MESSAGE_LENGTH = 0xFFFF
"""What the length field can say; no more than this of an unfinished message is ever kept."""

_MIN_LENGTH = 8
_HEADER = Struct("!HHI")
_MARKER = END_MARKER.to_bytes(4, "big")

Frame = tuple[int, int, int, int]
"""Message type, message ID, and where its data begins and ends in the chunk that it came with."""

_compiled = twin("lispmsrt.wire._framing")


class FramingError(WireError):
    """The stream can't be read on; carries what an Error Notification quotes of the message."""

    def __init__(self, reason: str, kind: int, length: int, message_id: int) -> None:
        super().__init__(reason, ErrorScope.SESSION)
        self.offending = (kind, length, message_id)


class FrameBuffer:
    """Cut a byte stream into messages, whatever the chunks it comes in."""

    __slots__ = ("_missing", "_pieces", "error")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._missing = 0
        self.error: FramingError | None = None
        """Set once the stream can't be read on; later chunks are swallowed."""

    @property
    def has_partial_message(self) -> bool:
        """Whether the start of a message is waiting for its rest."""
        return bool(self._pieces)

    def receive(self, data: bytes) -> tuple[bytes, Sequence[Frame]]:
        """Take a chunk; return the bytes that the frames' offsets refer to, and the frames."""
        if self.error is not None:
            return b"", []
        if self._pieces:
            self._pieces.append(data)
            self._missing -= len(data)
            # Joining only what completes a message keeps a peer that sends single octets linear.
            if self._missing > 0:
                return b"", []
            data = b"".join(self._pieces)
            self._pieces = []
        return data, self._split(data)

    def _split(self, data: bytes) -> Sequence[Frame]:
        if _compiled is None:
            return self._walk(data, 0)
        found: Sequence[Frame]
        found, position = _compiled.find_frames(data)
        # What is not ordinary, or not all there, ends them.
        others = self._walk(data, position) if position < len(data) else []
        return [*found, *others] if others else found

    def _walk(self, data: bytes, position: int) -> list[Frame]:
        unpack = _HEADER.unpack_from
        frames: list[Frame] = []
        append = frames.append
        size = len(data)
        while size - position >= _MIN_LENGTH:
            kind, length, message_id = unpack(data, position)
            if length < MESSAGE_OVERHEAD:
                # Length 8 is what the text calls the smallest: type, length and marker, no ID.
                if length != _MIN_LENGTH:
                    self.error = FramingError("message length too small", kind, length, message_id)
                    return frames
                if message_id != END_MARKER:
                    self.error = FramingError("wrong end marker", kind, length, 0)
                    return frames
                append((kind, 0, position + 4, position + 4))
                position += _MIN_LENGTH
                continue
            end = position + length
            if end > size:
                self._keep(data, position, end - size)
                return frames
            if data[end - 4 : end] != _MARKER:
                self.error = FramingError("wrong end marker", kind, length, message_id)
                return frames
            append((kind, message_id, position + 8, end - 4))
            position = end
        if position < size:
            self._keep(data, position, _MIN_LENGTH - (size - position))
        return frames

    def _keep(self, data: bytes, position: int, missing: int) -> None:
        self._pieces = [data[position:]]
        self._missing = missing


def encode_frame(kind: int, message_id: int, data: bytes) -> bytes:
    """Build one message around its data."""
    length = MESSAGE_OVERHEAD + len(data)
    if length > MAX_MESSAGE_LENGTH:
        raise ValueError(f"a message of {length} octets does not fit its 16-bit length field")
    return pack(_HEADER, kind, length, message_id) + data + _MARKER
