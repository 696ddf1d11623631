"""What all tables of a configuration have in common."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict

__all__ = ["Section", "repeated"]


class Section(BaseModel):
    """A table: keys written with hyphens, nothing unknown, frozen, and silent about values."""

    model_config = ConfigDict(
        alias_generator=lambda name: name.replace("_", "-"),
        populate_by_name=True,
        extra="forbid",
        frozen=True,
        arbitrary_types_allowed=True,
        hide_input_in_errors=True,
    )


def repeated(texts: Iterable[str]) -> str | None:
    """Return the first that stands twice."""
    seen: set[str] = set()
    for text in texts:
        if text in seen:
            return text
        seen.add(text)
    return None
