"""Moves and flaps: what happens to EIDs that are registered. No I/O in here."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from random import Random

from lispmsrt.swarm.etr import SwarmEtr
from lispmsrt.swarm.load import GONE, LEAVING, OFFERED, REGISTERED, Load

__all__ = ["Churn"]

ABSENCE = 1.0
"""Seconds for which a withdrawn EID stays away."""

_TRIES = 8
"""Random EIDs that are looked at for one that may change."""


class Churn:
    """Changes registered EIDs, at random."""

    def __init__(
        self,
        load: Load,
        random: Random,
        *,
        etrs: Sequence[SwarmEtr],
        is_up: Callable[[SwarmEtr], bool],
        say: Callable[[SwarmEtr], None],
    ) -> None:
        """``etrs`` are those that were started, by their number, ``is_up`` those that can register;
        ``say`` has an ETR say what it has due.
        """
        self.counters: Counter[str] = Counter()
        self._load = load
        self._random = random
        self._etrs = etrs
        self._is_up = is_up
        self._say = say
        self._away: deque[tuple[float, int]] = deque()

    def move(self, count: int) -> None:
        """Give so many EIDs other locators, half of them by another ETR where there is one."""
        for _move in range(count):
            number = self._stable()
            if number is None:
                self.counters["moves left out: nothing was registered"] += 1
                continue
            self._load.change(number)
            self._load.enter(number, OFFERED)
            etr = self._etrs[self._load.owners[number]]
            other = self._random.choice(self._etrs)
            if self._random.random() < 0.5 and other is not etr and self._is_up(other):
                other.adopt(number)
                self.counters["moves to another ETR"] += 1
                etr = other
            else:
                self.counters["locator changes"] += 1
            etr.offer(number)
            self._say(etr)

    def flap(self, count: int, now: float) -> None:
        """Withdraw so many EIDs."""
        for _flap in range(count):
            number = self._stable()
            if number is None:
                self.counters["flaps left out: nothing was registered"] += 1
                continue
            etr = self._etrs[self._load.owners[number]]
            # From now on, though it may wait for its turn: nothing else may happen to it.
            self._load.enter(number, LEAVING)
            etr.offer(number, leaves=True)
            self._say(etr)
            self._away.append((now + ABSENCE, number))
            self.counters["withdrawals"] += 1

    def come_back(self, now: float, *, all_of_them: bool = False) -> None:
        """Register again what has been away long enough, and is acknowledged to be."""
        for _each in range(len(self._away)):
            due, number = self._away.popleft()
            if due > now and not all_of_them:
                self._away.appendleft((due, number))
                return
            if self._load.states[number] != GONE:
                self._away.append((due, number))
                continue
            etr = self._etrs[self._load.owners[number]]
            self._load.enter(number, OFFERED)
            self._load.change(number)
            etr.offer(number)
            self._say(etr)

    @property
    def away(self) -> int:
        """EIDs that are withdrawn, or about to be."""
        return len(self._away)

    def _stable(self) -> int | None:
        load, count = self._load, self._load.space.count
        if not load.tally[REGISTERED]:
            return None
        for _try in range(_TRIES):
            number = int(self._random.random() * count)
            if load.states[number] == REGISTERED and self._is_up(self._etrs[load.owners[number]]):
                return number
        return None
