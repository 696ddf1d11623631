"""Counts of measured values by their size: what latencies look like, for whoever collects it."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable
from typing import Protocol

__all__ = ["LATENCY_BOUNDS", "ROUND_TRIP_BOUNDS", "Histogram", "Latency"]

LATENCY_BOUNDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
"""Seconds: a chunk of one Registration takes some 50 us, a full one a few ms."""

ROUND_TRIP_BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Seconds, from one machine room to a satellite that loses packets."""


class Histogram:
    """How many values were at most as large as each bound."""

    __slots__ = ("bounds", "count", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        """``bounds`` rise; what is larger than the last one has a place of its own behind it."""
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        "values up to each bound that are larger than the one before; the last: larger than all"
        self.sum = 0.0
        self.count = 0

    def observe(self, value: float, times: int = 1) -> None:
        """Count a value, as often as it was seen."""
        self.counts[bisect_left(self.bounds, value)] += times
        self.sum += value * times
        self.count += times


class Accepts(Protocol):
    """Counts what it accepts."""

    accepted: int


class Latency:
    """The time from a chunk's arrival to its answers' being written, for each thing that was
    accepted meanwhile; a chunk of which nothing was is not looked at.
    """

    __slots__ = ("_accepts", "_before", "_began", "_histogram", "_seconds")

    def __init__(
        self,
        histogram: Histogram,
        accepts: Accepts,
        seconds: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._histogram = histogram
        self._accepts = accepts
        self._seconds = seconds
        self._before = accepts.accepted
        self._began = 0.0

    def begin(self) -> None:
        """A chunk or datagram has arrived. One is dealt with at a time."""
        self._before = self._accepts.accepted
        self._began = self._seconds()

    def end(self) -> None:
        """What it brought is answered."""
        accepted = self._accepts.accepted - self._before
        if accepted:
            self._histogram.observe(self._seconds() - self._began, accepted)
