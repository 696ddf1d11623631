"""Leave out of a schedule whatever is not needed to break the same promise (delta debugging)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tests.simulate.schedule import Event

__all__ = ["shrink"]


def shrink(
    events: Sequence[Event], still_fails: Callable[[Sequence[Event]], bool], *, tries: int = 150
) -> list[Event]:
    """Return fewer events with which it still fails, after so many tries at most."""
    kept = list(events)
    size = max(1, len(kept) // 2)
    while tries > 0:
        at, has_shrunk = 0, False
        while at < len(kept) and tries > 0:
            fewer = kept[:at] + kept[at + size :]
            tries -= 1
            if still_fails(fewer):
                kept, has_shrunk = fewer, True
            else:
                at += size
        if size == 1 and not has_shrunk:
            break
        size = max(1, size // 2)
    return kept
