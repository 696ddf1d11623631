"""Many ETRs in one process that keep the rules of a real one and prepare all that they say: they
cost little, so that it is the Map-Server that is measured.

The rules are those of :mod:`lispmsrt.control.etr` and :mod:`lispmsrt.services.connector`: after a
lost session one Map-Register with the r bit within 5 s, sent again after 1 s, doubled each time; a
connection only after a Map-Notify; everything on the Refresh, or after 10 s without; a connection
that fails, or ends before the first ACK, waits for the back-off. Who has no session after 5 s
registers over UDP, its EIDs spread over the period.
"""

from __future__ import annotations

import heapq
import select
import time
from collections.abc import Callable
from random import Random

from benchmarks.fleet_etr import Link
from benchmarks.fleet_questions import Lookups

__all__ = ["Fleet"]

_LOOK = 0.05
"""Seconds between two looks at whether it is over, at most."""


class Fleet:
    """All ETRs, who asks meanwhile, their sockets and their clock."""

    def __init__(self, ports: tuple[int, int], count: int, eids: int, rearm_delay: float) -> None:
        """Each has ``eids`` /32s, numbered through."""
        self._epoll = select.epoll()
        self._on_ready: dict[int, Callable[[int], None]] = {}
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._order = 0
        random = Random(7)
        self.etrs = [
            Link(self, ports, number, eids, random, rearm_delay) for number in range(count)
        ]
        self.lookups = Lookups(self, ports[0], count * eids, random)

    def close(self) -> None:
        """Close every socket."""
        for etr in self.etrs:
            etr.close()
        self.lookups.close()
        self._epoll.close()

    @property
    def is_registered(self) -> bool:
        """Whether every ETR has all its ACKs."""
        return all(etr.done_at is not None for etr in self.etrs)

    def forget_done(self) -> None:
        """What is acknowledged from now on counts."""
        for etr in self.etrs:
            etr.done_at = None
            etr.counters.clear()

    def run(self, until: Callable[[], bool], patience: float) -> bool:
        """Go on until it is so; False when that takes longer than ``patience`` seconds."""
        end = time.perf_counter() + patience
        look = 0.0
        while True:
            now = time.perf_counter()
            if now >= look:
                if until():
                    return True
                look = now + _LOOK
            if now > end:
                return False
            while self._timers and self._timers[0][0] <= now:
                heapq.heappop(self._timers)[2]()
            wait = self._timers[0][0] - now if self._timers else _LOOK
            for number, events in self._epoll.poll(max(0.0, min(wait, _LOOK)), 256):
                handle = self._on_ready.get(number)
                if handle is not None:
                    handle(events)

    # For those in it

    def call_later(self, seconds: float, call: Callable[[], None]) -> None:
        """Call once, unless the fleet stops before."""
        self._order += 1
        heapq.heappush(self._timers, (time.perf_counter() + seconds, self._order, call))

    def watch(self, number: int, events: int, ready: Callable[[int], None]) -> None:
        """Call ``ready`` with the events whenever this file has any."""
        if number in self._on_ready:
            self._epoll.modify(number, events)
        else:
            self._epoll.register(number, events)
        self._on_ready[number] = ready

    def unwatch(self, number: int) -> None:
        """Call no more."""
        if self._on_ready.pop(number, None) is not None:
            self._epoll.unregister(number)
