"""How long ago something was, in words."""

from __future__ import annotations

__all__ = ["ago", "lasting"]

_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"))


def lasting(seconds: float) -> str:
    """Return a time in the largest unit of which there are two or more; below, in seconds."""
    for size, unit in _UNITS:
        if seconds >= 2 * size:
            return f"{int(seconds // size)} {unit}"
    return f"{max(0, int(seconds))} s"


def ago(seconds: float) -> str:
    """Return how long ago it was."""
    return f"{lasting(seconds)} ago"
