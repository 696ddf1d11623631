"""Where a page of a long list ends, as a text that the next page is asked for with.

A cursor names the last thing that was looked at, not how many there were before it: so it holds
whatever comes and goes meanwhile.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from lispmsrt.mapping.eid_index import WIDTHS
from lispmsrt.views.values.page import MAX_LIMIT
from lispmsrt.wire.afi import MAX_NAME_OCTETS, Afi

__all__ = [
    "BEGINNING",
    "CursorError",
    "Position",
    "at_most",
    "no_cursor",
    "number_from",
    "text_from",
]

_MAX_OCTETS = 1024
"""Of a cursor: those of the longest names have some 540."""

_POSITION = re.compile(r"([0-9]{1,10})\.([0-9]{1,5})\.([0-9a-f]{1,512})(?:\.([0-9]{1,10}))?")
_NUMBER = re.compile(r"[0-9]{1,20}")
_MAX_INSTANCE_ID = (1 << 32) - 1


class CursorError(ValueError):
    """The text is no cursor of this list."""


class Position(NamedTuple):
    """An EID-prefix in the order of lists: after it comes what is to be listed next."""

    instance_id: int
    afi: int
    key: int
    "its prefix key; 0 stands before all of the family"
    reading: int = 0
    "of many names: which list is read; the key is then how many of it were"

    def __str__(self) -> str:
        text = f"{self.instance_id}.{self.afi}.{self.key:x}"
        return f"{text}.{self.reading}" if self.reading else text

    @classmethod
    def from_text(cls, text: str | None) -> Position:
        """Read a cursor; None is the beginning. Raises CursorError."""
        if text is None:
            return BEGINNING
        match = _POSITION.fullmatch(text) if len(text) <= _MAX_OCTETS else None
        if match is None:
            raise no_cursor(text)
        position = cls(int(match[1]), int(match[2]), int(match[3], 16), int(match[4] or 0))
        widest = WIDTHS.get(position.afi, 8 * MAX_NAME_OCTETS if position.afi == Afi.NAME else -1)
        if position.instance_id > _MAX_INSTANCE_ID or position.key.bit_length() - 1 > widest:
            raise no_cursor(text)
        return position


BEGINNING = Position(0, int(Afi.IPV4), 0)
"""Before everything."""


def number_from(cursor: str | None) -> int | None:
    """Read a cursor that is a number; None is the beginning. Raises CursorError."""
    if cursor is None:
        return None
    if _NUMBER.fullmatch(cursor) is None:
        raise no_cursor(cursor)
    return int(cursor)


def text_from(cursor: str | None) -> str | None:
    """Read a cursor that is a text in hexadecimal octets of UTF-8; None is the beginning. Raises
    CursorError.
    """
    if cursor is None:
        return None
    try:
        return bytes.fromhex(cursor).decode()
    except ValueError:
        raise no_cursor(cursor) from None


def at_most(limit: int) -> int:
    """Return how many items a page may have where this many were asked for."""
    return max(1, min(limit, MAX_LIMIT))


def no_cursor(text: str) -> CursorError:
    """Return what to raise for a text that is none."""
    return CursorError(f"{text[:40]!r} is no cursor of this list; ask without one to begin anew")
