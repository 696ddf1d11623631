"""So many a second, and to say so where that can't be kept."""

from __future__ import annotations

__all__ = ["Pacer"]

_MOST_BEHIND = 0.25
"""Seconds that may be made up for at once; what is missed beyond is missed."""


class Pacer:
    """Says how many are due."""

    def __init__(self, rate: float, now: float) -> None:
        self.rate = rate
        self.missed = 0.0
        "how many were never due, for nobody asked in time"
        self._at = now
        self._part = 0.0

    def due(self, now: float) -> int:
        """Return how many are to be done now."""
        passed, self._at = now - self._at, now
        if passed > _MOST_BEHIND:
            self.missed += (passed - _MOST_BEHIND) * self.rate
            passed = _MOST_BEHIND
        self._part += passed * self.rate
        whole = int(self._part)
        self._part -= whole
        return whole
