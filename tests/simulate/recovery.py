"""``python -m tests.simulate.recovery``: one fault in a world at rest, and how long it takes after
its end until every Map-Server has all that is meant again, and every ETR its sessions. SEEDS=30
says in how many worlds.
"""

from __future__ import annotations

import os
from dataclasses import replace
from math import inf
from random import Random
from statistics import median

from tests.simulate.convergence import SETTLING
from tests.simulate.running import live
from tests.simulate.schedule import Event, plan_of
from tests.simulate.world import World

__all__ = ["FAULTS", "recovery"]

_AT = 100.0
"""By then everything is registered."""

_SOON = 0.01
_LOOK_EVERY = 0.1

FAULTS: dict[str, tuple[float, str, dict[str, bool]]] = {
    "a Map-Server is killed, and started after 1 s": (1.0, "crash map-server", {}),
    "the same with a state file": (1.0, "crash map-server", {"remembers": True}),
    "a Map-Server is stopped in order, and started after 5 s": (5.0, "restart map-server", {}),
    "an ETR is killed, and started after 1 s": (1.0, "crash etr", {}),
    "a session is reset": (0.0, "cut", {}),
    "a session is forgotten on its way": (0.0, "half open", {}),
    "nothing passes between an ETR and a Map-Server for 10 s": (10.0, "partition", {}),
    "nothing passes between them for 240 s": (240.0, "partition", {}),
}
"""In words: how long it lasts, the event, and what is fixed in the plan."""


def recovery(seed: int, fault: str) -> float:
    """Return how many seconds it took; infinity for longer than is promised."""
    lasts, name, fixed = FAULTS[fault]
    end = _AT + lasts
    drawn = plan_of(seed, 0.1, SETTLING)
    fixed = {"remembers": False, "yields": False, **fixed}
    plan = replace(drawn, rests=(end + SETTLING,), duration=end + SETTLING + 1.0, **fixed)
    random = Random(f"recovery {seed}")
    recovered: list[float] = []

    def look(world: World) -> None:
        if world.converges.is_as_meant():
            recovered.append(world.timeline.now - end)
        else:
            world.timeline.after(_LOOK_EVERY, look, world)

    def prepare(world: World) -> None:
        # Whatever was lost on the way shows only when something changes meanwhile.
        for eid, owner in list(world.owners.items())[::2]:
            at = _AT + lasts * random.random() + _SOON
            world.timeline.at(at, owner.register, eid, 5)
        world.timeline.at(end + 2 * _SOON, look, world)

    # Partitions befall ITRs, too, which come after the ETRs.
    among = plan.etrs / (plan.etrs + plan.itrs) if name == "partition" else 1.0
    numbers = (lasts, random.random() * among, random.random(), 0.9, 0.5)
    event = Event(_AT, name, numbers)
    world = live(plan, [event], prepare=prepare)
    if world.violation is not None:
        raise world.violation
    return recovered[0] if recovered else inf


def main() -> None:
    """Say it for every kind of fault."""
    seeds = range(1, 1 + int(os.environ.get("SEEDS", 30)))
    for fault in FAULTS:
        times = [recovery(seed, fault) for seed in seeds]
        print(f"{fault}: median {median(times):.1f} s, at most {max(times):.1f} s", flush=True)


if __name__ == "__main__":
    main()
