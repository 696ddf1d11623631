"""What is to go wrong in a world, and when: made from a seed alone, before anything happens.

An event is a name and numbers, so that schedules can be printed, shrunk and pasted into tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import NamedTuple

__all__ = ["FAULTS", "Event", "Plan", "plan_of"]


class Event(NamedTuple):
    """Something that an operator does, or that goes wrong."""

    at: float
    "seconds since the beginning of the world"
    name: str
    numbers: tuple[float, ...] = ()


@dataclass(frozen=True)
class Plan:
    """A world before it begins."""

    seed: int
    hours: float
    "that it was drawn for: with others it is another world"
    map_servers: int
    etrs: int
    itrs: int
    modes: tuple[int, ...]
    "per ETR: 0 to 3 a session where the r bit says so, 4 always, 5 none"
    remembers: bool
    "Map-Servers keep what outlives a crash"
    strict: bool
    yields: bool
    narrow: bool
    "small buffers, and segments cut anywhere"
    rests: tuple[float, ...]
    "moments at which faults have stopped, and everything comes to rest"
    events: tuple[Event, ...]
    duration: float


FAULTS: dict[str, int] = {
    "weather": 10,
    "partition": 8,
    "cut": 8,
    "half open": 8,
    "one way stream": 4,
    "refuse": 4,
    "crash map-server": 3,
    "crash etr": 4,
    "stall": 4,
    "deaf": 4,
    "clock": 3,
    "roam": 3,
    "rotate": 2,
    "policy": 4,
    "replay": 8,
    "forge": 4,
    "stranger": 4,
    "clear": 3,
}
"""Names of faults, and how often each comes in relation to the others."""

_ACTS = {"register": 10, "withdraw": 5, "move": 4, "restart etr": 1, "restart map-server": 1}
"""The same of what operators do."""

_STORM = (300.0, 900.0)
"""Seconds for which things go wrong, at least and at most."""

_EVERY = 12.0
"""Seconds between two events in a storm, on average."""


def plan_of(seed: int, hours: float, settling: float) -> Plan:
    """Draw a world: storms, each followed by ``settling`` seconds without a fault, and quiet time
    in which nothing happens at all.
    """
    random = Random(f"plan {seed}")
    asked = hours
    servers, etrs = random.randint(1, 2), random.randint(2, 6)
    remembers = random.random() < 0.3
    # A memory looks twice a second whether anything has changed: many quiet hours would be dear.
    pauses = (1.0, 60.0) if remembers else (1.0, 600.0, 3600.0, 14_400.0, 28_800.0)
    hours = min(hours, 1.0) if remembers else hours
    events: list[Event] = []
    rests: list[float] = []
    at, end = 30.0, hours * 3600.0
    while not rests or at < end - settling - _STORM[1]:
        until = at + random.uniform(*_STORM)
        events += _storm(random, at, until)
        rests.append(until + settling)
        at = rests[-1] + random.choice(pauses)
    return Plan(
        seed=seed,
        hours=asked,
        map_servers=servers,
        etrs=etrs,
        itrs=random.randint(1, 2),
        modes=tuple(random.randrange(6) for _ in range(etrs)),
        remembers=remembers,
        strict=random.random() < 0.3,
        yields=random.random() < 0.5,
        narrow=random.random() < 0.4,
        rests=tuple(rests),
        events=tuple(sorted(events, key=lambda event: event.at)),
        duration=max(end, rests[-1] + 1.0),
    )


def _storm(random: Random, at: float, until: float) -> list[Event]:
    # Swarm testing: each storm has some kinds only, or the worst would hide all the others.
    kinds = [name for name in FAULTS if random.random() < 0.5] or ["weather"]
    weights = [FAULTS[name] for name in kinds]
    events = []
    while True:
        at += random.expovariate(1 / _EVERY)
        if at >= until:
            return events
        if random.random() < 0.4:
            name = random.choices(list(_ACTS), list(_ACTS.values()))[0]
        else:
            name = random.choices(kinds, weights)[0]
        # What happens lasts for a while, but never beyond the storm.
        most = until - at
        lasts = round(min(most, random.choice((1.0, 5.0, 20.0, 45.0, 120.0, 240.0))), 3)
        numbers = (lasts, *(round(random.random(), 6) for _ in range(4)))
        events.append(Event(round(at, 3), name, numbers))
