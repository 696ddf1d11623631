"""Latencies by the million, in a histogram of fixed size."""

from __future__ import annotations

from array import array

__all__ = ["BUCKETS", "TICKS", "Latencies", "bucket_of", "ticks"]

TICKS = 1_000_000
"""In a second: latencies are counted in microseconds."""

_FINE_BITS = 6
_FINE = 1 << _FINE_BITS
_HALF = _FINE >> 1

BUCKETS = _HALF * (32 - _FINE_BITS) + _FINE
"""Each is at most 1/32 as wide as its values are large; the last one ends at 2**32 ticks."""


def ticks(seconds: float) -> int:
    """Return a time as 32 bits of ticks; differences between two are right up to an hour."""
    return int(seconds * TICKS) & 0xFFFFFFFF


def bucket_of(value: int) -> int:
    """Return the number of the bucket of a latency in ticks."""
    if value < _FINE:
        return value
    shift = value.bit_length() - _FINE_BITS
    return _HALF * shift + (value >> shift)


def _middle(bucket: int) -> float:
    """Return the middle of a bucket in ticks."""
    if bucket < _FINE:
        return float(bucket)
    shift = bucket // _HALF - 1
    low = bucket - _HALF * shift << shift
    return low + (1 << shift) / 2


class Latencies:
    """How long something took, each time."""

    __slots__ = ("counts",)

    def __init__(self) -> None:
        self.counts = array("Q", bytes(8 * BUCKETS))

    @property
    def count(self) -> int:
        """How many there are."""
        return sum(self.counts)

    def observe(self, value: int, times: int = 1) -> None:
        """Count a latency in ticks."""
        self.counts[bucket_of(value & 0xFFFFFFFF)] += times

    def percentile(self, share: float) -> float | None:
        """Return the seconds that this share (0 to 1) took at most, within 3 %; None where nothing
        was counted.
        """
        count = self.count
        wanted = max(1, round(share * count))
        for bucket, times in enumerate(self.counts):
            wanted -= times
            if times and wanted <= 0:
                return _middle(bucket) / TICKS
        return None
