"""Goal 6: many sessions with many mappings, when nothing happens."""

from __future__ import annotations

import time
from collections.abc import Iterator

from benchmarks.figures import Aim, Measured, Row
from benchmarks.goals.lookups import registered_hosts
from benchmarks.ground import Bench, check_count, cpu_between
from benchmarks.load import ACK_LENGTH, LoadError
from benchmarks.messages import host_records, registrations, xtr_ids
from benchmarks.processes import Child
from benchmarks.roles import etr_address
from benchmarks.sitters import Sitters

__all__ = ["measure"]

MESSAGES = Row(6, "messages a minute at rest, both directions", "", Aim(0))
BUSY = Row(6, "process time at rest", "% of a core", Aim(1.0))
BARE = Row(6, "memory of a session with one mapping", "octets", Aim(40_000))
SESSION = Row(6, "memory of a session, its mappings left out", "octets", Aim(40_000))

_SETTLING = 3.0
"""Seconds until what follows registering is over."""


def measure(bench: Bench, rounds: int) -> Iterator[Measured]:
    """Open the sessions and register; then look at the clock, the counters and the memory. One
    round is enough: a minute of rest is what it is.
    """
    sizes = bench.sizes
    eids = sizes.mappings // sizes.sessions
    with bench.server() as server:
        empty = server.ask("usage")["resident"]
        with Sitters(server.ask("ports"), sizes.sessions, eids) as sitters:
            bare = server.ask("usage")["resident"]
            bench.say(f"  {sizes.sessions:,} sessions are open")
            sitters.register(lambda number: _stream(number, eids), eids * ACK_LENGTH)
            check_count(server, sizes.sessions * eids)
            bench.say(f"  {sizes.sessions * eids:,} mappings are registered")
            yield from _rest(bench, server, sitters)
            full = server.ask("usage")["resident"]
    with registered_hosts(bench, sizes.sessions * eids) as server:
        alone = server.ask("usage")["resident"]
    details = {"sessions": sizes.sessions, "mappings": sizes.sessions * eids}
    yield Measured(BARE, (bare - empty) / sizes.sessions, details=details)
    yield Measured(SESSION, (full - alone) / sizes.sessions, details=details)


def _stream(number: int, eids: int) -> list[bytes]:
    records = host_records(eids, number * eids, etr_address(number))
    return registrations(records, xtr_ids(number + 1))


def _rest(bench: Bench, server: Child, sitters: Sitters) -> Iterator[Measured]:
    time.sleep(_SETTLING)
    sitters.octets_waiting()
    before, said = server.ask("usage"), server.ask("counters")
    began = time.perf_counter()
    time.sleep(bench.sizes.rest)
    after, seconds = server.ask("usage"), time.perf_counter() - began
    octets = sitters.octets_waiting()
    now = server.ask("counters")
    if now["sessions"] != said["sessions"]:
        raise LoadError(f"{said['sessions'] - now['sessions']:,} sessions were lost at rest")
    messages = sum(now[name] - said[name] for name in ("messages in", "messages out"))
    details = {"seconds": round(seconds, 1), "octets from the Map-Server": octets}
    yield Measured(MESSAGES, 60 * messages / seconds, details=details)
    yield Measured(BUSY, 100 * cpu_between(before, after) / seconds, details=details)
