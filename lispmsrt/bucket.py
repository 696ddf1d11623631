"""A token bucket: the measure of what somebody may do, or cause, in a time."""

from __future__ import annotations

__all__ = ["Bucket"]

_ENOUGH = 0.999
"""For one more: when the time for it has come, fractions must not let it come again."""


class Bucket:
    """So much at once, and so much more a second. A clock that is stepped back gives nothing."""

    __slots__ = ("_at", "_burst", "_level", "_rate")

    def __init__(self, burst: float, rate: float, now: float) -> None:
        self._burst = burst
        self._rate = rate
        self._level = burst
        self._at = now

    def is_left(self, now: float) -> bool:
        """Whether one can be taken out."""
        if now > self._at:
            self._level = min(self._burst, self._level + (now - self._at) * self._rate)
        self._at = now
        return self._level >= _ENOUGH

    def spend(self, cost: float = 1.0) -> None:
        """Take so much out, more than there is if need be."""
        self._level -= cost

    def ready_at(self, now: float) -> float:
        """Return when there is something left."""
        return now if self.is_left(now) else now + (1.0 - self._level) / self._rate
