"""A bounds-checked cursor over received bytes, for every decoder that is not on the hot path.

It knows offsets and limits, not contents. Reading past the end of the message or of a restriction
raises :class:`WireError`; so does leaving octets of a restriction unread.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from struct import Struct
from typing import Any

from lispmsrt.wire.errors import WireError

__all__ = ["Reader"]


class Reader:
    """Read ``data`` from ``offset`` on, never beyond ``end``."""

    __slots__ = ("_data", "_end", "_offset")

    def __init__(self, data: bytes, offset: int = 0, end: int | None = None) -> None:
        self._data = data
        self._offset = offset
        self._end = len(data) if end is None else end

    @property
    def offset(self) -> int:
        """Where the next read begins, in octets from the start of the data."""
        return self._offset

    @property
    def remaining(self) -> int:
        """Octets left before the end or the innermost restriction."""
        return self._end - self._offset

    def unpack(self, layout: Struct) -> tuple[Any, ...]:
        """Read one fixed part."""
        start = self._advance(layout.size)
        return layout.unpack_from(self._data, start)

    def read(self, count: int) -> bytes:
        """Read ``count`` octets."""
        start = self._advance(count)
        return bytes(self._data[start : start + count])

    def read_remaining(self) -> bytes:
        """Read everything up to the end or the innermost restriction."""
        return self.read(self.remaining)

    def peek(self, count: int) -> bytes:
        """Look at ``count`` octets without consuming them."""
        if count > self.remaining:
            raise WireError("message is cut short")
        return bytes(self._data[self._offset : self._offset + count])

    def since(self, offset: int) -> bytes:
        """Return what was read since ``offset``."""
        return bytes(self._data[offset : self._offset])

    @contextmanager
    def restrict_to(self, count: int) -> Iterator[None]:
        """Let the block read ``count`` octets, all of them and no more."""
        if count > self.remaining:
            raise WireError("a length field reaches beyond the message")
        outer, self._end = self._end, self._offset + count
        yield
        if self._offset != self._end:
            raise WireError(f"{self._end - self._offset} octets left over after the last field")
        self._end = outer

    def finish(self) -> None:
        """Fail unless everything was read."""
        if self.remaining:
            raise WireError(f"{self.remaining} octets left over after the last field")

    def _advance(self, count: int) -> int:
        start = self._offset
        if count > self._end - start:
            raise WireError("message is cut short")
        self._offset = start + count
        return start
