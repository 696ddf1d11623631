"""Goal 9: what Registrations, lookups and memory cost as the database grows.

A sample takes some 50 ms, and what else the machine does in its caches meanwhile may make more of a
difference than what is measured. So at each size there are several samples of each kind, in turns,
each of EID-prefixes drawn anew, and their median is taken: neither the best one, nor a mean that
one bad moment spoils. And many mappings are compared with few in the same minute, sample by sample:
beside the Map-Server that grows there is another one, which has stayed as small as that began.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from benchmarks.figures import Aim, Measured, Row
from benchmarks.ground import Bench, Spent, check_count
from benchmarks.load import Session
from benchmarks.messages import FIRST_EID, host_records, registrations
from benchmarks.processes import Child
from benchmarks.questions import Asker, is_mapping

__all__ = ["BESIDE", "STEPS", "measure"]

NEW = Row(9, "new Registrations, slower with all mappings", "%", Aim(15))
AGAIN = Row(9, "Registrations again, slower with all mappings", "%", Aim(15))
LOOKUPS = Row(9, "lookups, slower with all mappings", "%", Aim(15))
MEMORY = Row(9, "memory of a mapping, all in one session", "octets")

STEPS = "by mappings"
"""Among the details: what was measured at each number of mappings."""

BESIDE = "few mappings, beside the most"
"""Among the details: what the last step is compared with."""

_PORTION = 100_000
"""Registrations built at a time, where they are sent only once."""

_SAMPLES = 5
"""Of each kind at each size."""


class _Growth:
    """A Map-Server that is filled, and measured on the way."""

    def __init__(self, bench: Bench, server: Child, etr: Session, asker: Asker) -> None:
        self._sizes = bench.sizes
        self._server = server
        self._etr = etr
        self._asker = asker
        self._udp_port, _tcp_port = server.ask("ports")
        self._empty: float = server.ask("usage")["resident"]
        self._random = random.Random(1)
        self.held = 0

    def fill(self, mappings: int) -> None:
        """Register up to so many."""
        for first in range(self.held, mappings, _PORTION):
            count = min(_PORTION, mappings - first)
            self._register(host_records(count, first), count)
            self.held += count
        check_count(self._server, self.held + 1)

    def memory(self) -> float:
        """Return the octets of a mapping."""
        self._ask()  # so that there are indexes
        resident: float = self._server.ask("usage")["resident"]
        return (resident - self._empty) / self.held

    def new(self) -> float:
        """Register as many new ones as the smallest size has, and withdraw them; return how many a
        second of CPU.
        """
        count = self._sizes.growth[0]
        cpu = self._register(host_records(count, self.held), count)
        self._register(host_records(count, self.held, ttl=0), count)
        return count / cpu

    def again(self) -> float:
        """Register some of them again, at random; return how many a second of CPU."""
        drawn = self._random.choices(range(self.held), k=self._sizes.sample)
        records = (record for eid in drawn for record in host_records(1, eid))
        return self._sizes.sample / self._register(records, self._sizes.sample)

    def lookups(self) -> float:
        """Look up some of them, at random; return how many a second of CPU."""
        return self._sizes.sample / self._ask()

    def _register(self, records: Iterator[bytes], count: int) -> float:
        stream = registrations(records)
        return Spent.by(self._server, partial(self._etr.register, stream, count)).cpu

    def _ask(self) -> float:
        # Drawn anew: those of the sample before are in the processor's cache.
        drawn = self._random.choices(range(self.held), k=self._sizes.sample)
        questions = self._asker.prepare([FIRST_EID + eid for eid in drawn])
        ask = partial(self._asker.ask_and_check, self._udp_port, questions, is_mapping)
        return Spent.by(self._server, ask).cpu


def measure(bench: Bench, rounds: int) -> Iterator[Measured]:
    """Fill a Map-Server, and stop at each size."""
    sizes = bench.sizes.growth
    for _round in range(rounds):
        with _running(bench) as growth, _running(bench) as small:
            small.fill(sizes[0])
            steps = [_step(bench, growth, size) for size in sizes[:-1]]
            growth.fill(sizes[-1])
            memory = growth.memory()
            few, many = _rates([small, growth])
        steps.append(_told(bench, {"mappings": sizes[-1], "memory": memory, **many}))
        _told(bench, {"mappings beside": sizes[0], **few})
        details = {STEPS: steps, BESIDE: [few]}
        for row, name in ((NEW, "new"), (AGAIN, "again"), (LOOKUPS, "lookups")):
            yield Measured(row, 100 * (1 - many[name] / few[name]), details=details)
        yield Measured(MEMORY, memory)


@contextmanager
def _running(bench: Bench) -> Iterator[_Growth]:
    with bench.server() as server, Session(*server.ask("ports")) as etr, Asker() as asker:
        yield _Growth(bench, server, etr, asker)


def _step(bench: Bench, growth: _Growth, size: int) -> dict[str, float]:
    growth.fill(size)
    memory = growth.memory()
    (rates,) = _rates([growth])
    return _told(bench, {"mappings": size, "memory": memory, **rates})


def _rates(grown: Sequence[_Growth]) -> list[dict[str, float]]:
    """Take samples of each kind, in turns; return the medians, how many a second of CPU."""
    taken: list[dict[str, list[float]]] = [{} for _ in grown]
    for _sample in range(_SAMPLES):
        for growth, found in zip(grown, taken, strict=True):
            found.setdefault("lookups", []).append(growth.lookups())
            found.setdefault("again", []).append(growth.again())
            found.setdefault("new", []).append(growth.new())
    return [{name: statistics.median(found[name]) for name in found} for found in taken]


def _told(bench: Bench, step: dict[str, float]) -> dict[str, float]:
    bench.say("  " + ", ".join(f"{name} {value:,.0f}" for name, value in step.items()))
    return step
