"""Whether something has grown: early moments of rest against late ones."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

__all__ = ["MIN_RESTS", "Verdict", "judge"]

MIN_RESTS = 8
"""Moments of rest below which nothing is said: caches and rings are still being filled."""

_SHARE = 1.03
_SPARE_OCTETS = 2 << 20
"""How much the allocator may have kept; more than that is growth."""

_SPARE_DESCRIPTORS = 2
"""SQLite opens its own when it wants."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was seen of one quantity, at rest."""

    name: str
    early: float
    "median of the second quarter of the rests"
    late: float
    "median of the last quarter"
    limit: float
    is_flat: bool


def judge(resident: Sequence[float], descriptors: Sequence[float]) -> list[Verdict]:
    """Judge memory in octets and open files, each at every rest; nothing where rests are too few.

    The first quarter is warm-up and is not looked at.
    """
    if len(resident) < MIN_RESTS:
        return []
    return [
        _verdict("memory", resident, lambda early: early * _SHARE + _SPARE_OCTETS),
        _verdict("open files", descriptors, lambda early: early + _SPARE_DESCRIPTORS),
    ]


def _verdict(name: str, values: Sequence[float], limit_of: Callable[[float], float]) -> Verdict:
    quarter = len(values) // 4
    early = statistics.median(values[quarter : 2 * quarter])
    late = statistics.median(values[-quarter:])
    limit = limit_of(early)
    return Verdict(name, early, late, limit, late <= limit)
