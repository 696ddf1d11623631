"""Goal 5: many EIDs offered at once on one session. Goal 8: what it costs the ETR."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.etrs import EtrsRole, Registered
from benchmarks.figures import Aim, Measured, Row
from benchmarks.ground import Bench, check_count, cpu_between, running
from benchmarks.load import LoadError, Session
from benchmarks.messages import host_records, registrations
from benchmarks.processes import Child

__all__ = ["measure_burst", "measure_etr"]

BURST = Row(5, "EIDs offered at once by an ETR, all acknowledged", "s", Aim(0.5))
TWICE = Row(5, "of these, sent twice", "", Aim(0))
PREPARED = Row(5, "EIDs offered at once, messages prepared", "s", Aim(0.5))
ETR = Row(8, "an ETR's CPU time to the Map-Server's, all its EIDs", "", Aim(1.3))


def measure_burst(bench: Bench, rounds: int) -> Iterator[Measured]:
    """Offer everything at once, by the real ETR and by prepared messages."""
    count = bench.sizes.burst
    stream = registrations(host_records(count))
    for _round in range(rounds):
        with _etr(bench, count) as (server, etr):
            done: Registered = etr.ask("register")
            check_count(server, count)
            twice = server.ask("counters")["messages in"] - count
        details = {"EIDs": count, "seconds from the start": round(done.seconds, 4)}
        yield Measured(BURST, done.on_session, details=details)
        yield Measured(TWICE, twice)
        with bench.server() as server, Session(*server.ask("ports")) as session:
            yield Measured(PREPARED, session.register(stream, count), details={"EIDs": count})


def measure_etr(bench: Bench, rounds: int) -> Iterator[Measured]:
    """Compare the CPU time of both from the start of the ETR to the last ACK."""
    count = bench.sizes.eids_of_one
    for _round in range(rounds):
        with _etr(bench, count) as (server, etr):
            before = {child: child.ask("usage") for child in (server, etr)}
            done: Registered = etr.ask("register")
            cpu = {child: cpu_between(before[child], child.ask("usage")) for child in before}
            check_count(server, count)
            if etr.ask("stable") != count:
                raise LoadError("the ETR counts what the Map-Server has not acknowledged")
        details = {
            "EIDs": count,
            "ETR's CPU seconds": round(cpu[etr], 3),
            "Map-Server's CPU seconds": round(cpu[server], 3),
            "seconds": round(done.seconds, 3),
        }
        yield Measured(ETR, cpu[etr] / cpu[server], details=details)


@contextmanager
def _etr(bench: Bench, count: int) -> Iterator[tuple[Child, Child]]:
    """Run a Map-Server and an ETR that means to register so many /32s, and waits."""
    first = 10 << 24
    eids = range(first, first + count)
    prefixes = [f"{eid >> 24}.{eid >> 16 & 255}.{eid >> 8 & 255}.{eid & 255}/32" for eid in eids]
    with bench.server() as server:
        udp_port, tcp_port = server.ask("ports")
        etr = Child("the ETR", EtrsRole, udp_port, f"tcp:127.0.0.1:{tcp_port}")
        with running(etr):
            etr.ask("add", 0, prefixes)
            yield server, etr
