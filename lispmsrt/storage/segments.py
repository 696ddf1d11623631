"""What is registered, as rows of the file: a journal. Each of its rows, a segment, has hundreds of
EID-prefixes of one table as they were when it was written; the newest segment with an EID-prefix
counts.

So writing is appending, in whatever order EID-prefixes change: a row for each of a million, in
random order, costs SQLite fifty times as much.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import NamedTuple
from zlib import crc32

from lispmsrt.mapping.database import EidTable, Lease, Registration
from lispmsrt.mapping.merging import parts_of
from lispmsrt.wire.afi import Afi

__all__ = [
    "Part",
    "Segment",
    "name_octets",
    "parts_between",
    "read_names",
    "read_sizes",
    "write_segment",
]

_PART = struct.Struct("!IIdH")  # xTR's number, flags, since when, octets of the record
_PART_OCTETS = _PART.size
_OCTETS = {int(Afi.IPV4): 8, int(Afi.MAC): 8, int(Afi.IPV6): 17}
"""Octets of a prefix key, by family; those of names differ."""

_NAME_OCTETS = struct.Struct("!H")


class Part(NamedTuple):
    """What one xTR registered."""

    xtr: int
    "its number in the file"
    flags: int
    since: float
    "in the file's own seconds"
    record: bytes


class Segment(NamedTuple):
    """A row of the journal."""

    family: int
    "instance ID and, in the lowest 16 bits, family"
    rows: int
    names: bytes
    "prefix keys"
    sizes: bytes
    "octets of each one's parts; 0 where nothing is registered any more"
    parts: bytes
    sum: int
    "CRC-32 of the rest"

    def is_sound(self) -> bool:
        """Whether the file gave back what was written."""
        return self.sum == _sum(self.names, self.sizes, self.parts)


def write_segment(
    table: EidTable, keys: Sequence[int], number: Callable[[Lease], int], offset: float
) -> Segment:
    """Return what is registered for EID-prefixes; ``number`` is that of a lease's xTR, ``offset``
    makes monotonic seconds the file's.
    """
    pack, get = _PART.pack, table.entries.get
    parts: list[bytes] = []
    sizes: list[int] = []
    put, put_size = parts.append, sizes.append
    latest, xtr = None, 0
    for key in keys:
        registration = get(key)
        if registration.__class__ is Registration:
            lease, record = registration.lease, registration.record
            if lease is not latest:
                latest, xtr = lease, number(lease)
            octets = len(record)
            put(pack(xtr, registration.flags, registration.since + offset, octets))
            put(record)
            put_size(octets + _PART_OCTETS)
        else:
            written = [
                pack(number(one.lease), one.flags, one.since + offset, len(one.record)) + one.record
                for one in parts_of(registration)
            ]
            parts += written
            put_size(sum(map(len, written)))
    names, lengths = _write_names(table.afi, keys), struct.pack(f"!{len(sizes)}I", *sizes)
    data = b"".join(parts)
    family = table.instance_id << 16 | table.afi
    return Segment(family, len(sizes), names, lengths, data, _sum(names, lengths, data))


def read_sizes(count: int, sizes: bytes) -> tuple[int, ...]:
    """Return octets of parts. Raises struct.error."""
    return struct.unpack(f"!{count}I", sizes)


def name_octets(afi: int) -> int | None:
    """Return how many octets each prefix key of a family has; None where they differ."""
    return _OCTETS.get(afi)


def read_names(afi: int, count: int, names: bytes) -> Sequence[int]:
    """Return prefix keys. Raises struct.error where there are not so many."""
    octets = _OCTETS.get(afi)
    if octets == 8:
        return struct.unpack(f"!{count}Q", names)
    if octets is not None:
        found = struct.unpack(f"{octets}s" * count, names)
        return [int.from_bytes(one, "big") for one in found]
    keys: list[int] = []
    at = 0
    for _ in range(count):
        (octets,) = _NAME_OCTETS.unpack_from(names, at)
        at += 2 + octets
        keys.append(int.from_bytes(names[at - octets : at], "big"))
    return keys


def parts_between(data: bytes, start: int, end: int) -> list[Part] | None:
    """Return what each xTR registered, newest last; None where that can't be read."""
    parts: list[Part] = []
    size = _PART.size
    try:
        while start < end:
            xtr, flags, since, octets = _PART.unpack_from(data, start)
            start += size + octets
            parts.append(Part(xtr, flags, since, data[start - octets : start]))
    except struct.error:
        return None
    return parts if start == end else None


def _write_names(afi: int, keys: Sequence[int]) -> bytes:
    octets = _OCTETS.get(afi)
    if octets == 8:
        return struct.pack(f"!{len(keys)}Q", *keys)
    if octets is not None:
        return b"".join([key.to_bytes(octets, "big") for key in keys])
    found = [key.to_bytes(key.bit_length() + 7 >> 3, "big") for key in keys]
    return b"".join([_NAME_OCTETS.pack(len(one)) + one for one in found])


def _sum(names: bytes, sizes: bytes, parts: bytes) -> int:
    return crc32(parts, crc32(sizes, crc32(names)))
