"""Whose turn it is to be armed: not all ETRs of an address at once."""

from __future__ import annotations

import heapq
from collections import Counter, deque

from lispmsrt.swarm.etr import SwarmEtr

__all__ = ["ArmingTurns"]

_AT_ONCE = 32
"""ETRs of one source address on their way from a Map-Register with r to a session: a Map-Server may
keep no more than so many tokens for an address (ours keeps 64 a site).
"""


class ArmingTurns:
    """ETRs that look for leave to connect. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._later: list[tuple[float, int, SwarmEtr]] = []
        self._waiting: dict[str, deque[SwarmEtr]] = {}
        "by source address"
        self._underway: Counter[str] = Counter()
        self._sequence = 0

    def add(self, etr: SwarmEtr, at: float) -> None:
        """Have an ETR wait for its turn from this time on."""
        self._sequence += 1
        heapq.heappush(self._later, (at, self._sequence, etr))

    def take(self, now: float) -> list[SwarmEtr]:
        """Return those whose turn it is; each has it until :meth:`over`."""
        while self._later and self._later[0][0] <= now:
            etr = heapq.heappop(self._later)[2]
            self._waiting.setdefault(etr.source, deque()).append(etr)
        taken: list[SwarmEtr] = []
        for source, etrs in self._waiting.items():
            room = _AT_ONCE - self._underway[source]
            chosen = [etrs.popleft() for _turn in range(min(room, len(etrs)))]
            self._underway[source] += len(chosen)
            taken += chosen
        return taken

    def over(self, etr: SwarmEtr) -> None:
        """It has its session, or none: somebody else of its address may have the turn."""
        self._underway[etr.source] -= 1

    def next_timeout(self) -> float | None:
        """When somebody has to be looked at who has not got to wait for others."""
        return self._later[0][0] if self._later else None

    def clear(self) -> None:
        """Forget all."""
        self._later.clear()
        self._waiting.clear()
