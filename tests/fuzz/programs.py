"""Octets read as a list of things to do: so that an engine which knows octets only reaches what is
behind a MAC, behind arming and behind time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

__all__ = ["MAX_STEPS", "Step", "program", "read"]

MAX_STEPS = 40
"""What is behind is left: more makes an execution slow, and reaches nothing new."""


class Step(NamedTuple):
    """One thing to do; what each number means is the target's business."""

    what: int
    "0 to 15"
    who: int
    "0 to 15"
    octets: bytes


def read(data: bytes) -> Iterator[Step]:
    """Read a program; any octets are one. A step has an octet for what and who, and two for how
    many octets follow.
    """
    at = 0
    for _ in range(MAX_STEPS):
        if at >= len(data):
            return
        size = int.from_bytes(data[at + 1 : at + 3].ljust(2, b"\0"), "big") % 4096
        yield Step(data[at] & 15, data[at] >> 4, data[at + 3 : at + 3 + size])
        at += 3 + size


def program(steps: Sequence[tuple[int, int, bytes]]) -> bytes:
    """Write a program."""
    return b"".join(
        bytes((what | who << 4,)) + len(octets).to_bytes(2, "big") + octets
        for what, who, octets in steps
    )
