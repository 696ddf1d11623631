"""Run worlds, and say of a broken promise what is needed to see it again."""

from __future__ import annotations

import gc
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tests.simulate.convergence import SETTLING
from tests.simulate.schedule import FAULTS, Event, Plan, plan_of
from tests.simulate.shrinking import shrink
from tests.simulate.world import Violation, World

__all__ = ["Report", "Sums", "live", "run_seed"]

_MINUTES_SHOWN = 3.0
"""Before the last event that is needed; and everything after it."""

_LINES_SHOWN = 400


@dataclass(frozen=True)
class Report:
    """A seed that breaks a promise."""

    plan: Plan
    violation: Violation
    events: list[tuple[Event, str]]
    "as few as were found to be enough, and what each of them came to"
    machines: list[str]
    trace: list[str]

    def text(self) -> str:
        """Say it all."""
        plan = replace(self.plan, events=())
        lines = [
            f"seed {self.plan.seed} breaks {self.violation}",
            f"the world: {plan}",
            *(f"    {line}" for line in self.machines),
            f"its schedule, shrunk from {len(self.plan.events)} events to {len(self.events)}:",
            *(f"    {tuple(event)},  # {what}" for event, what in self.events),
            "what happened, from shortly before the last of these on:",
            *self.trace,
            f"again: make simulate SEED={self.plan.seed} HOURS={self.plan.hours:g}",
        ]
        return "\n".join(lines)


@dataclass
class Sums:
    """What was lived through."""

    seeds: int = 0
    hours: float = 0.0
    events: Counter[str] = field(default_factory=Counter)
    datagrams: Counter[str] = field(default_factory=Counter)
    rests: int = 0
    recovery: float = 0.0
    turns: int = 0
    left: int = 0
    "EID-prefixes that were not where they are meant to be, and why that is no fault is in the docs"
    seconds: float = 0.0

    def add(self, world: World) -> None:
        """Count one world."""
        self.seeds += 1
        self.hours += world.timeline.now / 3600
        self.turns += world.timeline.turns
        self.rests += world.counters["rests"]
        self.left += world.counters["left to others"]
        self.recovery = max(self.recovery, world.recovery)
        self.datagrams.update(world.network.faults)
        for name, number in world.counters.items():
            if name.startswith("event: "):
                self.events[name.removeprefix("event: ")] += number

    @property
    def faults(self) -> int:
        """How many things went wrong by plan; datagrams are not counted."""
        return sum(number for name, number in self.events.items() if name in FAULTS)

    def text(self) -> str:
        """Say it in a few lines."""
        events = ", ".join(f"{name} {number}" for name, number in sorted(self.events.items()))
        datagrams = ", ".join(f"{name} {number}" for name, number in sorted(self.datagrams.items()))
        return (
            f"{self.seeds} seeds, {self.hours:.0f} virtual hours, {self.faults} faults,"
            f" {sum(self.events.values()) - self.faults} acts of operators, {self.rests} rests,"
            f" {self.seconds:.0f} s of CPU time\n"
            f"slowest convergence after faults: {self.recovery:.0f} s of {SETTLING:.0f} s allowed;"
            f" left to others: {self.left}\n"
            f"events: {events}\n{datagrams}"
        )


def live(
    plan: Plan, events: Sequence[Event] | None = None, *, prepare: Callable[[World], Any] = id
) -> World:
    """Live through a world; ``prepare`` may change it before it begins."""
    world = World(plan)
    prepare(world)
    world.live(events)
    return world


def run_seed(
    seed: int,
    hours: float,
    sums: Sums | None = None,
    *,
    shrinks: bool = True,
    prepare: Callable[[World], Any] = id,
) -> Report | None:
    """Run a seed; return what it breaks, if anything."""
    began = time.process_time()
    plan = plan_of(seed, hours, SETTLING)
    world = live(plan, prepare=prepare)
    if world.violation is None:
        # What a Deferred nobody has looked at has failed with is logged when it is collected.
        gc.collect()
    if sums is not None:
        sums.add(world)
        sums.seconds += time.process_time() - began
    if world.violation is None:
        return None
    return _report(plan, world.violation, shrinks=shrinks, prepare=prepare)


def _report(
    plan: Plan, violation: Violation, *, shrinks: bool, prepare: Callable[[World], Any]
) -> Report:
    # Nothing that comes later matters.
    needed = [event for event in plan.events if event.at <= violation.at]
    rests = tuple(rest for rest in plan.rests if rest <= violation.at)
    shorter = replace(plan, rests=rests, duration=violation.at + 0.001)

    def still_fails(events: Sequence[Event]) -> bool:
        found = live(shorter, events, prepare=prepare).violation
        return found is not None and found.invariant == violation.invariant

    events = shrink(needed, still_fails) if shrinks and still_fails(needed) else needed
    world = live(shorter, events, prepare=prepare)
    found = world.violation or violation
    latest = max((event.at for event in events), default=found.at)
    trace = list(world.trace.lines(min(latest, found.at) - 60 * _MINUTES_SHOWN))[-_LINES_SHOWN:]
    return Report(plan, found, world.happened, world.machines(), trace)
