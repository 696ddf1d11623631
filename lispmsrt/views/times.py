"""Monotonic seconds, by which everything is counted, as the time of day."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Times"]


class Times:
    """Both clocks, read together. The time of day may be stepped; what was long ago is told by
    how long ago it was.
    """

    def __init__(self, clock: Callable[[], float], wall_clock: Callable[[], float]) -> None:
        """``clock`` returns monotonic seconds, ``wall_clock`` seconds since 1970."""
        self._clock = clock
        self._wall_clock = wall_clock

    @property
    def now(self) -> float:
        """Monotonic seconds."""
        return self._clock()

    @property
    def wall_now(self) -> float:
        """Seconds since 1970."""
        return self._wall_clock()

    def wall(self, at: float) -> float:
        """Return the time of day of a moment in monotonic seconds."""
        # Milliseconds: the same moment must not differ in its last digits from look to look.
        return round(self._wall_clock() - (self._clock() - at), 3)

    def monotonic(self, wall: float) -> float:
        """Return a time of day in monotonic seconds."""
        return self._clock() - (self._wall_clock() - wall)

    def left_until(self, deadline: float | None) -> float | None:
        """Return for how many seconds something lasts; None where it has no end."""
        return None if deadline is None else round(max(0.0, deadline - self._clock()), 3)
