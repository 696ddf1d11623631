"""Numbers of events: the lines of the history and the rejections are read as one list, and whoever
has read up to one asks for what has a greater number.
"""

from __future__ import annotations

__all__ = ["EventNumbers"]


class EventNumbers:
    """One sequence for whoever takes numbers of it."""

    __slots__ = ("newest",)

    def __init__(self) -> None:
        self.newest = 0
        "the number that was taken last; 0 before any"

    def take(self, count: int = 1) -> int:
        """Take this many numbers in a row; return the first."""
        first = self.newest + 1
        self.newest += count
        return first
