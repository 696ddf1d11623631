"""What must be known of an SCTP packet before it may reach the stack (RFC 9260 §3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from struct import Struct

__all__ = ["Chunk", "Header", "abort_of", "parse_header"]

_HEADER = Struct("!HHII")  # ports, verification tag, CRC32C
_FIRST_CHUNK = Struct("!BBH")  # type, flags, length

_TAG_IS_REFLECTED = 1
"""The T bit of ABORT."""

_MIN_SIZE = _HEADER.size + _FIRST_CHUNK.size


class Chunk(IntEnum):
    """The chunk types that say who may have an answer."""

    INIT = 1
    INIT_ACK = 2
    SACK = 3
    ABORT = 6
    SHUTDOWN_ACK = 8
    COOKIE_ECHO = 10
    SHUTDOWN_COMPLETE = 14


@dataclass(slots=True)
class Header:
    """The common header, and the first chunk's type."""

    source: int
    destination: int
    tag: int
    chunk: int
    octets: bytes
    "the whole packet"

    @property
    def acknowledged(self) -> bytes:
        """The cumulative TSN of a SACK; nothing for other chunks."""
        return self.octets[_MIN_SIZE : _MIN_SIZE + 4] if self.chunk == Chunk.SACK else b""

    @property
    def without_checksum(self) -> bytes:
        """The packet as its checksum was computed: with zeros in its place."""
        return self.octets[:8] + bytes(4) + self.octets[12:]

    @property
    def checksum(self) -> bytes:
        """The four octets of the CRC32C as they stand in the packet."""
        return self.octets[8:12]


def parse_header(octets: bytes) -> Header | None:
    """Return the header; None for what is no SCTP packet."""
    if len(octets) < _MIN_SIZE:
        return None
    source, destination, tag, _checksum = _HEADER.unpack_from(octets)
    chunk, _flags, length = _FIRST_CHUNK.unpack_from(octets, _HEADER.size)
    # RFC 9260 §3.2: a chunk is at least its own header, and the packet must hold it.
    if not (source and destination) or not 4 <= length <= len(octets) - _HEADER.size:
        return None
    return Header(source, destination, tag, chunk, octets)


def abort_of(header: Header, checksum: Callable[[bytes], bytes]) -> bytes:
    """Return an ABORT with the tag of the packet that it answers (RFC 9260 §8.4)."""
    head = _HEADER.pack(header.destination, header.source, header.tag, 0)
    chunk = _FIRST_CHUNK.pack(Chunk.ABORT, _TAG_IS_REFLECTED, _FIRST_CHUNK.size)
    return head[:8] + checksum(head + chunk) + chunk
