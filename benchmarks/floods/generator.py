"""The process that floods, or burns as much of its core as the flood did: the same split of the
cores, without a flood.
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred, succeed

from benchmarks.floods.kinds import KINDS, Flood, Ports
from benchmarks.processes import Role

__all__ = ["GeneratorRole", "Offered"]

_TICK = 0.001
_AT_ONCE = 256
"""Sent before what has come back is looked at."""

_MOST_BEHIND = 0.02
"""Seconds of sending that are made up for: more at once would be another flood than a steady one.
"""


_MOST_BURNT = 0.005
"""Seconds that are burnt without a look at anything else."""


class Offered(NamedTuple):
    """What was sent since the last mark."""

    number: int
    handled: int | None
    seconds: float
    cpu: float
    "seconds of this process"


class GeneratorRole(Role):
    """Runs one flood after the other."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._flood: Flood | None = None
        self._rate: float | None = None
        self._burnt = 0.0
        "share of the core that is burnt"
        self._burning_since = (0.0, 0.0)
        self._turn: Any = None
        self._sent = 0
        self._due_since = (0.0, 0)
        self._marked = (0, 0, 0.0, 0.0)
        self.commands = {
            "prepare": self._prepare,
            "flood": self._begin,
            "burn": self._burn,
            "mark": self._mark,
            "rest": self._rest,
            "close": self._close,
        }

    def stop(self) -> Deferred[None]:
        """End what runs."""
        self._close()
        return succeed(None)

    def _prepare(self, kind: str, ports: Ports) -> None:
        """Make a flood, which does nothing yet."""
        self._close()
        self._flood = KINDS[kind].make(ports)

    def _begin(self, rate: float | None) -> None:
        """Flood at so many a second; None is as fast as this core can."""
        self._rest()
        self._rate = rate
        self._due_since = (time.perf_counter(), self._sent)
        self._turn = self._reactor.callLater(0, self._flood_on)

    def _burn(self, share: float) -> None:
        """Take this share of the core, for nothing."""
        self._rest()
        self._burnt = share
        self._burning_since = (time.perf_counter(), time.process_time())
        self._turn = self._reactor.callLater(0, self._burn_on)

    def _rest(self) -> None:
        """Do nothing."""
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None

    def _close(self) -> None:
        """Let go of the flood."""
        self._rest()
        if self._flood is not None:
            self._flood.close()
            self._flood = None

    def _mark(self) -> Offered:
        """Return what was done since the last mark."""
        assert self._flood is not None
        handled = self._flood.handled
        now = (self._sent, handled or 0, time.perf_counter(), time.process_time())
        sent, had, seconds, cpu = (new - old for new, old in zip(now, self._marked, strict=True))
        self._marked = now
        return Offered(int(sent), None if handled is None else int(had), seconds, cpu)

    def _flood_on(self) -> None:
        assert self._flood is not None
        self._flood.look()
        self._sent += self._flood.offer(self._due())
        self._turn = self._reactor.callLater(0 if self._rate is None else _TICK, self._flood_on)

    def _due(self) -> int:
        assert self._flood is not None
        if self._rate is None:
            return min(_AT_ONCE, self._flood.room)
        since, sent = self._due_since
        now = time.perf_counter()
        due = int((now - since) * self._rate) - (self._sent - sent)
        most = int(self._rate * _MOST_BEHIND) + 1
        if due > most:
            self._due_since = (now, self._sent + most)
            due = most
        return due

    def _burn_on(self) -> None:
        began, cpu = self._burning_since
        owed = self._burnt * (time.perf_counter() - began) - (time.process_time() - cpu)
        end = time.process_time() + min(owed, _MOST_BURNT)
        while time.process_time() < end:
            pass
        self._turn = self._reactor.callLater(_TICK, self._burn_on)
