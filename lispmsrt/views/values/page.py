"""A part of a long list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["DEFAULT_LIMIT", "MAX_LIMIT", "Page"]

DEFAULT_LIMIT = 100
"""Items of a page, where nobody says how many."""

MAX_LIMIT = 1000
"""Items of a page at most: one answer must not hold up the sessions."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Page(Generic[_T]):
    """Some items of a list that may be long."""

    items: tuple[_T, ...]
    "may be fewer than asked for, even none, and there may still be more"
    total: int | None
    "how many there are in all that match; None where counting would take too long"
    next_cursor: str | None
    "what to ask with for what follows; None at the end"
