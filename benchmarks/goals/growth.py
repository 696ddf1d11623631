"""Goal 9: what Registrations, lookups and memory cost as the database grows."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import partial

from benchmarks.figures import Aim, Measured, Row
from benchmarks.ground import Bench, Spent, check_count
from benchmarks.load import Session
from benchmarks.messages import host_records, registrations
from benchmarks.processes import Child
from benchmarks.questions import Asker, is_mapping, of_mappings

__all__ = ["STEPS", "measure"]

NEW = Row(9, "new Registrations, slower with all mappings", "%", Aim(15))
AGAIN = Row(9, "Registrations again, slower with all mappings", "%", Aim(15))
LOOKUPS = Row(9, "lookups, slower with all mappings", "%", Aim(15))
MEMORY = Row(9, "memory of a mapping, all in one session", "octets")

STEPS = "by mappings"
"""Among the details: what was measured at each number of mappings."""

_PORTION = 100_000
"""Registrations built at a time, where they are sent only once."""


class _Growth:
    """A Map-Server that is filled, and measured on the way."""

    def __init__(self, bench: Bench, server: Child, etr: Session, asker: Asker) -> None:
        self._sizes = bench.sizes
        self._server = server
        self._etr = etr
        self._asker = asker
        self._udp_port, _tcp_port = server.ask("ports")
        self._empty: float = server.ask("usage")["resident"]
        self.held = 0

    def fill(self, mappings: int) -> None:
        """Register up to so many."""
        for first in range(self.held, mappings, _PORTION):
            count = min(_PORTION, mappings - first)
            self._register(host_records(count, first), count)
            self.held += count

    def memory(self) -> float:
        """Return the octets of a mapping."""
        self._ask()  # so that there are indexes
        resident: float = self._server.ask("usage")["resident"]
        return (resident - self._empty) / self.held

    def new(self) -> float:
        """Register new ones, no more at a time than the smallest size has, and withdraw them;
        return how many a second of CPU.
        """
        count, cpu = self._sizes.growth[0], 0.0
        turns = max(1, self._sizes.sample // count)
        for _turn in range(turns):
            cpu += self._register(host_records(count, self.held), count)
            self._register(host_records(count, self.held, ttl=0), count)
        return turns * count / cpu

    def again(self) -> float:
        """Register some of them again, at random; return how many a second of CPU."""
        drawn = random.Random(1).choices(range(self.held), k=self._sizes.sample)
        records = (record for eid in drawn for record in host_records(1, eid))
        return self._sizes.sample / self._register(records, self._sizes.sample)

    def lookups(self) -> float:
        """Look up some of them, at random; return how many a second of CPU."""
        return self._sizes.sample / self._ask()

    def _register(self, records: Iterator[bytes], count: int) -> float:
        stream = registrations(records)
        return Spent.by(self._server, partial(self._etr.register, stream, count)).cpu

    def _ask(self) -> float:
        questions = self._asker.prepare(of_mappings(self._sizes.sample, self.held))
        ask = partial(self._asker.ask_and_check, self._udp_port, questions, is_mapping)
        return Spent.by(self._server, ask).cpu


def measure(bench: Bench, rounds: int) -> Iterator[Measured]:
    """Fill a Map-Server, and stop at each size."""
    for _round in range(rounds):
        with (
            bench.server() as server,
            Session(*server.ask("ports")) as etr,
            Asker() as asker,
        ):
            growth = _Growth(bench, server, etr, asker)
            steps = [_step(bench, server, growth, size) for size in bench.sizes.growth]
        for row, name in ((NEW, "new"), (AGAIN, "again"), (LOOKUPS, "lookups")):
            rates = [step[name] for step in steps]
            yield Measured(row, 100 * (1 - rates[-1] / rates[0]), details={STEPS: steps})
        yield Measured(MEMORY, steps[-1]["memory"])


def _step(bench: Bench, server: Child, growth: _Growth, size: int) -> dict[str, float]:
    growth.fill(size)
    check_count(server, size + 1)
    step = {"mappings": size, "memory": growth.memory(), "lookups": growth.lookups()}
    step |= {"again": growth.again(), "new": growth.new()}
    bench.say("  " + ", ".join(f"{name} {value:,.0f}" for name, value in step.items()))
    return step
