"""A reactor that a test turns by hand, for code that needs real sockets but no real time."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.task import Clock

__all__ = ["Readers", "is_reset"]


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


def is_reset(peer: socket.socket) -> bool:
    """Whether the other end has sent a reset, and not one octet."""
    try:
        peer.recv(1)
    except ConnectionResetError:
        return True
    return False
