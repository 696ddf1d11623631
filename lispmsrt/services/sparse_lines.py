"""Of things that may happen thousands of times, which get a line in the log."""

from __future__ import annotations

__all__ = ["EVERY", "SparseLines", "more_text"]

EVERY = 60.0
"""Seconds from one line of a kind to the next."""


class SparseLines:
    """Allow one line of each kind a minute. Kinds are few: a peer may choose among 256 at most."""

    def __init__(self) -> None:
        self._latest: dict[int, float] = {}
        self._unsaid: dict[int, int] = {}

    def due(self, kind: int, now: float) -> int | None:
        """Return how many got no line since the last one, where another is due; else None."""
        if now - self._latest.get(kind, float("-inf")) < EVERY:
            self._unsaid[kind] = self._unsaid.get(kind, 0) + 1
            return None
        self._latest[kind] = now
        return self._unsaid.pop(kind, 0)


def more_text(unsaid: int) -> str:
    """Return what a line ends with that stands for others, too."""
    return f" ({unsaid} more since the last line)" if unsaid else ""
