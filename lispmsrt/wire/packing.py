"""Range-checked packing, the encoders' counterpart of :mod:`lispmsrt.wire.reader`.

Values that do not fit raise ValueError: `struct.error` never leaves the wire package.
"""

from __future__ import annotations

import struct

__all__ = ["check_bits", "check_octets", "pack"]


def pack(layout: struct.Struct, *values: int | bytes) -> bytes:
    """Pack one fixed part; raise ValueError for a value that does not fit its field."""
    try:
        return layout.pack(*values)
    except struct.error as error:
        raise ValueError(f"a field is out of range: {error}") from error


def check_bits(value: int, width: int, name: str) -> int:
    """Return ``value`` when it fits an unsigned field of ``width`` bits."""
    if not 0 <= value < 1 << width:
        raise ValueError(f"{name} {value} does not fit {width} bits")
    return value


def check_octets(value: bytes, size: int, name: str) -> bytes:
    """Return ``value`` when it has ``size`` octets: Struct would pad or cut it silently."""
    if len(value) != size:
        raise ValueError(f"{name} must have {size} octets, not {len(value)}")
    return value
