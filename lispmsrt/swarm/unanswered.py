"""Map-Registers that wait for their Map-Notify, and when each is to be sent again."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from lispmsrt.swarm.etr import SwarmEtr
from lispmsrt.swarm.templates import Template

__all__ = ["SentMapRegister", "Unanswered"]

_RETRANSMISSION, _MAX_RETRANSMISSION = 1.0, 60.0
"""Seconds until a Map-Register is sent again, doubled each time."""

_MAX_DOUBLINGS = 6


@dataclass(slots=True, eq=False)
class SentMapRegister:
    """One that waits."""

    etr: SwarmEtr
    template: Template
    first: int
    last: int
    sent: int
    "in ticks, the first time"
    count: int
    "records"
    arms: bool = False
    attempt: int = 0
    nonces: list[int] = field(default_factory=list)
    "of every time that it was sent: a late answer is one too"

    @property
    def patience(self) -> float:
        """Seconds to wait for its Map-Notify."""
        wait = _RETRANSMISSION * 2.0 ** min(self.attempt, _MAX_DOUBLINGS)
        return min(_MAX_RETRANSMISSION, wait)


class Unanswered:
    """All of them, by nonce and by time."""

    def __init__(self) -> None:
        self._waiting: dict[int, SentMapRegister] = {}
        self._once: deque[tuple[float, int, SentMapRegister]] = deque()
        "sent once: all of these have the same patience, so they are in order"
        self._again: list[tuple[float, int, SentMapRegister]] = []
        "a heap"
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, sent: SentMapRegister, nonce: int, now: float) -> None:
        """Wait for an answer to this nonce, too."""
        self._count += not sent.nonces
        sent.nonces.append(nonce)
        self._waiting[nonce] = sent
        if not sent.attempt:
            self._once.append((now + _RETRANSMISSION, nonce, sent))
        else:
            # Nonces differ: two Map-Registers are never compared.
            heapq.heappush(self._again, (now + sent.patience, nonce, sent))

    def find(self, nonce: int) -> SentMapRegister | None:
        """Return what a Map-Notify with this nonce answers."""
        return self._waiting.get(nonce)

    def answered(self, sent: SentMapRegister) -> None:
        """Wait no longer."""
        for nonce in sent.nonces:
            del self._waiting[nonce]
        self._count -= 1

    def due(self, now: float) -> Iterator[SentMapRegister]:
        """Yield what is to be sent again, once."""
        once, waiting = self._once, self._waiting
        while once and (once[0][0] <= now or once[0][1] not in waiting):
            _at, nonce, sent = once.popleft()
            if nonce in waiting:
                yield sent
        while self._again and self._again[0][0] <= now:
            _at, nonce, sent = heapq.heappop(self._again)
            if nonce in waiting:
                yield sent

    def next_timeout(self) -> float | None:
        """When something may be due."""
        times = [queue[0][0] for queue in (self._once, self._again) if queue]
        return min(times, default=None)

    def clear(self) -> None:
        """Send nothing again."""
        self._once.clear()
        self._again.clear()
