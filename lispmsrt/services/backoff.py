"""How long to wait after a connection that did not come up (docs/draft.rst, "Back-off")."""

from __future__ import annotations

from random import Random

__all__ = ["Backoff"]


class Backoff:
    """Seconds that double up to a maximum, each within a quarter around its value."""

    def __init__(self, random: Random, initial: float = 1.0, maximum: float = 60.0) -> None:
        self._random = random
        self._initial = initial
        self._maximum = maximum
        self._next = initial

    def next_delay(self) -> float:
        """Return the next wait, in seconds."""
        delay = self._next
        self._next = min(self._maximum, 2 * delay)
        return delay * self._random.uniform(0.75, 1.25)

    def reset(self) -> None:
        """Start again from the shortest wait."""
        self._next = self._initial
