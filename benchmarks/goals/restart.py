"""Goal 7: a Map-Server is killed and started again under many ETRs, while others look up."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from typing import Any

from benchmarks.figures import Aim, Measured, Row
from benchmarks.fleet import Fleet
from benchmarks.ground import Bench, check_count
from benchmarks.load import LoadError
from benchmarks.processes import Child
from benchmarks.roles import MapServerRole

__all__ = ["measure"]

ALL = Row(7, "killed and started again: all is registered after", "s", Aim(20.0))
FIRST = Row(7, "the first ETR is done after", "s")
MEDIAN = Row(7, "half of the ETRs are done after", "s")
ANSWERED = Row(7, "lookups answered meanwhile, once it listens", "%", Aim(99.0, True))
MAPPED = Row(7, "lookups answered with the mapping meanwhile", "%")

_SPREAD = 2.0
"""Seconds over which the ETRs begin, the first time."""

_PATIENCE = 180.0
_REARM_DELAY = 5.0
_QUICK_REARM_DELAY = 0.5
_FEW = 100
"""Who has fewer ETRs wants no figure, and does not wait for them either."""


def measure(bench: Bench, rounds: int) -> Iterator[Measured]:
    """Have everything registered, kill the Map-Server, start another one on its ports."""
    sizes = bench.sizes
    rearm_delay = _REARM_DELAY if sizes.etrs >= _FEW else _QUICK_REARM_DELAY
    for _round in range(rounds):
        server = _start(bench)
        try:
            server.receive()
            ports = server.ask("ports")
            with closing(Fleet(ports, sizes.etrs, sizes.eids, rearm_delay)) as fleet:
                _register_all(bench, fleet, server)
                server.kill()
                killed = time.perf_counter()
                server = _start(bench, f"tcp:{ports[1]}:interface=127.0.0.1", ports[0])
                yield from _again(bench, fleet, server, killed)
        finally:
            server.stop()


def _start(bench: Bench, *arguments: Any) -> Child:
    return Child("the Map-Server", MapServerRole, *arguments, cpu=bench.server_core)


def _register_all(bench: Bench, fleet: Fleet, server: Child) -> None:
    for etr in fleet.etrs:
        etr.start(_SPREAD)
    _await_all(fleet)
    check_count(server, bench.sizes.etrs * bench.sizes.eids)
    bench.say(f"  {bench.sizes.etrs:,} ETRs have registered {bench.sizes.eids:,} EIDs each")
    fleet.lookups.start()
    fleet.forget_done()


def _await_all(fleet: Fleet) -> None:
    if not fleet.run(lambda: fleet.is_registered, _PATIENCE):
        left = Counter(etr.state for etr in fleet.etrs if etr.done_at is None)
        raise LoadError(f"not done after {_PATIENCE:.0f} s: {dict(left)}")


def _again(bench: Bench, fleet: Fleet, server: Child, killed: float) -> Iterator[Measured]:
    fleet.run(server.has_answer, _PATIENCE)
    server.receive()
    listening = time.perf_counter()
    _await_all(fleet)
    ended = time.perf_counter()
    check_count(server, bench.sizes.etrs * bench.sizes.eids)
    cpu = server.ask("usage")["cpu"]
    done = sorted(etr.done_at - killed for etr in fleet.etrs if etr.done_at is not None)
    answers = fleet.lookups.between(listening, ended)
    details = {
        "listening after": round(listening - killed, 3),
        "Map-Server's CPU seconds": round(cpu, 2),
        **sum((etr.counters for etr in fleet.etrs), Counter()),
    }
    yield Measured(ALL, done[-1], details=details)
    yield Measured(FIRST, done[0])
    yield Measured(MEDIAN, done[len(done) // 2])
    asked = max(answers.asked, 1)
    times = {"asked": answers.asked, "median ms": round(1000 * answers.median, 2)}
    times["worst ms"] = round(1000 * answers.worst, 1)
    yield Measured(ANSWERED, 100 * answers.answered / asked, details=times)
    yield Measured(MAPPED, 100 * answers.with_mapping / asked)
