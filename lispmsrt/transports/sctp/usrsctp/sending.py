"""What an application has written and the stack has not taken yet, and who is to write less."""

from __future__ import annotations

from collections import deque
from typing import Any

from lispmsrt.transports.sctp.usrsctp.sockets import MAX_MESSAGE

__all__ = ["SendBuffer"]

_HIGH_MARK = 1 << 16
"""Octets beyond which the producer is paused, as Twisted's TCP does; it goes on at none."""


class SendBuffer:
    """Octets in order, and their producer."""

    def __init__(self) -> None:
        self.producer: Any = None
        self._is_streaming = False
        self._is_paused = False
        self._written: deque[bytes] = deque()
        self._joined = b""
        self._start = 0
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def add(self, octets: bytes) -> None:
        """Add to the end; pauses the producer when it is too much."""
        self._written.append(octets)
        self._size += len(octets)
        if self.producer is not None and self._is_streaming and self._size > _HIGH_MARK:
            self._pause()

    def _pause(self) -> None:
        if not self._is_paused:
            self._is_paused = True
            self.producer.pauseProducing()

    def head(self) -> bytes:
        """Return what to send next, at most a message."""
        if self._start == len(self._joined):
            self._joined, self._start = b"".join(self._written), 0
            self._written.clear()
        return self._joined[self._start : self._start + MAX_MESSAGE]

    def drop(self, octets: int) -> None:
        """This much of the head has been sent."""
        self._start += octets
        self._size -= octets

    def clear(self) -> None:
        """Forget everything: it can't be sent any more."""
        self._written.clear()
        self._joined, self._start, self._size = b"", 0, 0

    # The producer

    @property
    def has_more_to_come(self) -> bool:
        """Whether the producer writes as soon as it may."""
        return self.producer is not None and (self._is_paused or not self._is_streaming)

    def register(self, producer: Any, *, is_streaming: bool) -> None:
        """Have one producer; RuntimeError when there is another."""
        if self.producer is not None:
            raise RuntimeError(f"{producer} can't be registered: {self.producer} is")
        self.producer, self._is_streaming, self._is_paused = producer, is_streaming, False
        if not is_streaming:
            producer.resumeProducing()

    def unregister(self) -> None:
        """Have none."""
        self.producer = None

    def resume(self) -> None:
        """Everything has been sent: let the producer go on."""
        if self.has_more_to_come:
            self._is_paused = False
            self.producer.resumeProducing()
