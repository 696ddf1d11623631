"""Signals by which a user ends a command."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["handling_signals"]


@contextmanager
def handling_signals(handle: Callable[[int], None]) -> Iterator[None]:
    """Have SIGINT and SIGTERM call ``handle`` with their number; afterwards they do what they did
    before.
    """
    numbers = (signal.SIGINT, signal.SIGTERM)
    earlier = {number: signal.signal(number, lambda n, _: handle(n)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
