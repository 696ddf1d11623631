"""A reactor that a test turns by hand, for code that needs real sockets but no real time."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock

__all__ = ["Readers"]


class Readers(Clock):
    """Knows who wants to read. Nothing is written by way of it."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: list[Any] = []

    def addReader(self, reader: Any) -> None:
        """Take note of one; twice is once."""
        if reader not in self.readers:
            self.readers.append(reader)

    def removeReader(self, reader: Any) -> None:
        """Forget one."""
        if reader in self.readers:
            self.readers.remove(reader)

    def addWriter(self, writer: Any) -> None:
        """Nobody is told that it may write."""

    removeWriter = addWriter
