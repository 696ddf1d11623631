"""Processes that take their parts of the Map-Server's core, so that it can take less, and the
load's core can offer twice of that.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from twisted.internet.defer import Deferred, succeed

from benchmarks.ground import running
from benchmarks.processes import Child, Role

__all__ = ["sharing"]

_BURNT = 0.005
"""Seconds without a look at anything else."""


class _BurnerRole(Role):
    """Never sleeps."""

    def __init__(self, reactor: Any) -> None:
        self.commands = {}
        self._reactor = reactor
        self._turn = reactor.callLater(0, self._burn)

    def stop(self) -> Deferred[None]:
        """Let go of the core."""
        self._turn.cancel()
        return succeed(None)

    def _burn(self) -> None:
        end = time.perf_counter() + _BURNT
        while time.perf_counter() < end:
            pass
        self._turn = self._reactor.callLater(0, self._burn)


@contextmanager
def sharing(core: int, parts: int) -> Iterator[None]:
    """Leave a process on this core one of so many equal parts of it."""
    with ExitStack() as stack:
        for _other in range(parts - 1):
            stack.enter_context(running(Child("a burner", _BurnerRole, cpu=core)))
        yield
