"""What one flood does to established sessions.

First the flood alone, as fast as the load's core can send it: what the Map-Server takes of it for a
second of its CPU is what it can take. Then sessions register while twice that is offered. At last
the calm: sessions register with another Map-Server that was never flooded, and the generator burns
as much of the load's core as the flood had needed.

Where the load's core can't bring about twice what a whole core takes, the Map-Server has a part of
its core only, all the time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import NamedTuple

from benchmarks.floods.established import Established, Registered
from benchmarks.floods.generator import Offered
from benchmarks.floods.kinds import KINDS
from benchmarks.floods.server import Tally
from benchmarks.processes import Child

__all__ = [
    "ENOUGH",
    "LENGTHS",
    "MOST_PARTS",
    "QUICK",
    "TIMES",
    "Lengths",
    "Ridden",
    "more_parts",
    "ride",
]

TIMES = 2.0
"""How much more is offered than the Map-Server can take."""

ENOUGH = 0.95 * TIMES
"""How much more may pass for that."""

MOST_PARTS = 8
"""Into which the Map-Server's core is cut."""

_LOOK = 0.05

_QUIET = 0.2
"""Share of its core below which the Map-Server has nothing to do."""


@dataclass(frozen=True, slots=True)
class Lengths:
    """Seconds of the Map-Server's CPU, or five times as many by the clock; and how many of what."""

    settle: float = 0.3
    "after every change, before anything counts"
    bursts: float = 1.0
    "of the flood beside sessions, before that counts: what limits let through at once is over then"
    alone: float = 0.5
    "of the flood alone"
    slice: float = 1.0
    "with the flood, and without"
    patience: float = 2.0
    "by the clock, for the Map-Server to work off what is left of the flood alone"
    sessions: int = 20
    most: float = 5.0
    "how much longer all may take by the clock: the process may be waiting, or not be alone"

    def stretched(self, parts: int) -> Lengths:
        """Return those for a process that has one of so many parts of its core."""
        return replace(self, most=self.most * parts, patience=self.patience * parts)


LENGTHS = Lengths()
QUICK = Lengths(settle=0.02, bursts=0.02, alone=0.05, slice=0.1, patience=0.2, sessions=3)


class Slice(NamedTuple):
    """What the sessions did for some time."""

    registered: Registered
    cpu: float
    "seconds of the Map-Server"
    waited: float = 0.0
    "seconds that it could have run, and others had its core"

    @property
    def rate(self) -> float:
        """Registrations a second, by the clock."""
        return self.registered.acks / self.registered.seconds

    @property
    def cpu_rate(self) -> float:
        """Registrations for a second of the Map-Server's CPU, whatever else it did with it."""
        return self.registered.acks / max(self.cpu, 1e-3)

    @property
    def busy(self) -> float:
        """Share of its core that the Map-Server used."""
        return self.cpu / self.registered.seconds


@dataclass(frozen=True, slots=True)
class Ridden:
    """What came of a flood in one round."""

    capacity: float
    "what the Map-Server takes of it for a second of its CPU"
    offered: Offered
    "while the sessions registered"
    flooded: Slice
    calm: Slice
    lost: int
    counters: dict[str, int]
    "the Map-Server's, in the end"
    parts: int = 1
    "into which its core was cut"

    @property
    def times(self) -> float:
        """How much more was offered a second than could be taken."""
        return self.offered.number / self.offered.seconds / (self.capacity / self.parts)

    @property
    def ratio(self) -> float:
        """What is left of the Registrations a second, by the clock."""
        return self.flooded.rate / max(self.calm.rate, 1.0)

    @property
    def cpu_ratio(self) -> float:
        """What is left of the Registrations for a second of the Map-Server's CPU: the same where
        the load keeps it busy without a flood, too. Neighbours on its core don't count.
        """
        return self.flooded.cpu_rate / max(self.calm.cpu_rate, 1.0)

    @property
    def disturbed(self) -> float:
        """Share of the time in which others had the Map-Server's core, where that was more; those
        that were to have their parts left out.
        """
        waited = max(each.waited / each.registered.seconds for each in (self.flooded, self.calm))
        return max(0.0, waited - (1 - 1 / self.parts))

    @property
    def answered(self) -> float:
        """Share of the lookups under the flood that were answered within a second."""
        lookups = self.flooded.registered.lookups
        return lookups.answered / max(1, lookups.asked)


def ride(
    start: Callable[[], AbstractContextManager[Child]],
    generator: Child,
    kind: str,
    lengths: Lengths,
    parts: int = 1,
) -> Ridden:
    """Flood a Map-Server while sessions register there, then have it calm at another one. Of its
    core it has one of so many parts.
    """
    lengths = lengths.stretched(parts)
    rate: float | None = None
    with start() as server:
        ports = server.ask("ports")
        with Established(ports, lengths.sessions) as established:
            _slice(server, established, lengths.settle, lengths.most)
            established.finish()
            generator.ask("prepare", kind, ports)
            capacity = _alone(server, generator, lengths)
            if not KINDS[kind].is_bounded_by_tcp:
                rate = TIMES * capacity / parts
            generator.ask("flood", rate)
            _slice(server, established, lengths.bursts, lengths.most)
            generator.ask("mark")
            flooded = _slice(server, established, lengths.slice, lengths.most)
            offered: Offered = generator.ask("mark")
            generator.ask("close")
            lost, counters = established.lost, server.ask("counters")
    with start() as server, Established(server.ask("ports"), lengths.sessions) as established:
        generator.ask("burn", offered.cpu / offered.seconds)
        _slice(server, established, lengths.settle, lengths.most)
        calm = _slice(server, established, lengths.slice, lengths.most)
        generator.ask("rest")
    return Ridden(capacity, offered, flooded, calm, lost, counters, parts)


def more_parts(kind: str, ridden: Ridden) -> int | None:
    """Return into how many parts the core is to be cut next for twice to be offered; None where it
    was, where TCP holds the rest back, and where they are as many as there may be.
    """
    if KINDS[kind].is_bounded_by_tcp or ridden.times >= ENOUGH or ridden.parts >= MOST_PARTS:
        return None
    return ridden.parts + 1


def _alone(server: Child, generator: Child, lengths: Lengths) -> float:
    """Return what the Map-Server takes of a flood for a second of its CPU, with nothing else to
    do.
    """
    generator.ask("flood", None)
    _await_used(server, lengths.settle, lengths.most)
    generator.ask("mark")
    before: Tally = server.ask("tally")
    _await_used(server, lengths.alone, lengths.most)
    offered: Offered = generator.ask("mark")
    after: Tally = server.ask("tally")
    generator.ask("rest")
    _await_quiet(server, lengths.patience)
    handled = after[1] - before[1] if offered.handled is None else offered.handled
    return max(handled, 1) / max(after[0] - before[0], 1e-3)


def _await_used(server: Child, seconds: float, most: float) -> None:
    """Wait until a process has used so many seconds of its CPU, or ``most`` times as long."""
    end, used = time.perf_counter() + most * seconds, cpu_seconds(server) + seconds
    while cpu_seconds(server) < used and time.perf_counter() < end:
        time.sleep(_LOOK / 10)


def _await_quiet(server: Child, patience: float) -> None:
    """Wait until the Map-Server has worked off what has come."""
    end = time.perf_counter() + patience
    while time.perf_counter() < end:
        before = cpu_seconds(server)
        time.sleep(_LOOK)
        if cpu_seconds(server) - before < _QUIET * _LOOK:
            return


def _slice(server: Child, established: Established, seconds: float, most: float) -> Slice:
    """Have the sessions register until the Map-Server has used so many seconds of its CPU."""
    # Not by asking: a Map-Server that is flooded may answer late.
    before, waited = _scheduled(server)
    registered = established.run(most * seconds, lambda: cpu_seconds(server) - before >= seconds)
    after, waited_after = _scheduled(server)
    return Slice(registered, after - before, waited_after - waited)


def cpu_seconds(child: Child) -> float:
    """Return what a process has used so far."""
    return _scheduled(child)[0]


def _scheduled(child: Child) -> tuple[float, float]:
    """Return the seconds that a process has run so far, and those that it waited for its core."""
    with open(f"/proc/{child.pid}/schedstat") as file:
        ran, waited, _slices = map(int, file.read().split())
    return ran / 1e9, waited / 1e9
