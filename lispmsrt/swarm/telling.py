"""From a swarm that has ended to its result."""

from __future__ import annotations

from lispmsrt.swarm.load import GONE, IDLE, LEAVING, OFFERED, REGISTERED, REJECTED
from lispmsrt.swarm.plan import UDP
from lispmsrt.swarm.result import (
    BUSY,
    Lookedup,
    OwnCost,
    Registered,
    Result,
    Speed,
    figures,
)
from lispmsrt.swarm.swarm import Swarm

__all__ = ["result_of"]


def result_of(swarm: Swarm) -> Result:
    """Return what it has seen."""
    plan, times = swarm.plan, swarm.timekeeping
    latencies = {"registration": figures(swarm.load.latencies)}
    if swarm.asker.lookups is not None:
        latencies["lookup"] = figures(swarm.asker.lookups.latencies)
    if plan.uses_sessions:
        latencies["arming"] = figures(swarm.map_registers.arming)
        latencies["session set-up"] = figures(swarm.connections.set_up)
    return Result(
        map_server=str(plan.map_server),
        transport=plan.transport.partition(":")[0] if plan.uses_sessions else UDP,
        etrs=plan.etrs,
        eids_per_etr=plan.eids,
        etrs_started=len(swarm.roster.etrs),
        sessions_now=swarm.sessions_at_end,
        sessions_opened=swarm.connections.opened,
        seconds=times.seconds,
        was_interrupted=swarm.was_interrupted,
        registrations=_registered(swarm),
        lookups=_looked_up(swarm),
        latencies=latencies,
        rates=tuple(
            Speed(name, pacer.rate, round(pacer.missed))
            for name, pacer in swarm.pacers.items()
            if pacer.rate
        ),
        own=_own(swarm),
        counters=dict(sorted(swarm.counters.items())),
        failures=dict(swarm.connections.failures.most_common()),
    )


def _registered(swarm: Swarm) -> Registered:
    tally = swarm.load.tally
    return Registered(
        eids=swarm.space.count,
        registered=tally[REGISTERED],
        rejected=tally[REJECTED],
        unanswered=tally[OFFERED] + tally[LEAVING],
        withdrawn=tally[GONE],
        not_offered=tally[IDLE],
        answers=swarm.load.latencies.count,
        seconds=swarm.timekeeping.first_seconds,
    )


def _looked_up(swarm: Swarm) -> Lookedup:
    if swarm.asker.lookups is None:
        return Lookedup(0, 0, 0, 0, 0, 0, ())
    counters = swarm.asker.lookups.counters
    return Lookedup(
        asked=counters["asked"],
        answered=counters["answered"],
        right=counters["right"],
        wrong=counters["wrong"],
        not_judged=counters["changed meanwhile, so not judged"],
        not_answered=counters["not answered"],
        examples=tuple(swarm.asker.lookups.wrong),
    )


def _own(swarm: Swarm) -> OwnCost:
    times = swarm.timekeeping
    busy = times.busy
    return OwnCost(
        cpu_seconds=times.cpu_seconds,
        cpu_per_registration=times.cpu_per_answer,
        busy=busy,
        was_bottleneck=busy is not None and busy >= BUSY,
        is_compiled=swarm.load.is_compiled,
    )
