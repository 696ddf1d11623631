"""What every measurement stands on: sizes, cores, processes, and the bare Twisted UDP echo that it
is compared with.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from benchmarks.load import Exchanged, LoadError, exchange
from benchmarks.processes import Child, Role, lift_file_limit
from benchmarks.roles import EchoRole, MapServerRole

__all__ = [
    "ECHO_OCTETS",
    "QUICK",
    "Bench",
    "Sizes",
    "Spent",
    "Usage",
    "check_count",
    "cpu_between",
    "running",
]

ECHO_OCTETS = 88

_ECHO_WINDOW = 128
"""Unanswered at a time, one system call each: the yardstick is to stay as long as it always was.
With larger bursts the echo looks faster, for Twisted then reads more of them in one turn.
"""

Usage = Mapping[str, float]
"""What a process says of itself: resident octets and CPU seconds."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of everything."""

    registrations: int = 500_000
    "on a session"
    datagrams: int = 200_000
    "of the echo and of an experiment over UDP"
    mappings: int = 1_000_000
    "what is many"
    fewer: int = 100_000
    "to look up among, beside many"
    networks: int = 0
    "of the routed Internet; 0 for all"
    burst: int = 50_000
    "offered at once"
    sessions: int = 10_000
    "at rest"
    rest: float = 30.0
    "seconds that are watched at rest"
    etrs: int = 1000
    "of a Map-Server that restarts"
    eids: int = 1000
    "of each of them"
    eids_of_one: int = 1_000_000
    "registered by one ETR"
    growth: tuple[int, ...] = (10_000, 30_000, 100_000, 300_000, 1_000_000)
    sample: int = 50_000
    "Registrations and Map-Requests at each step of growth"
    cold_start: int = 10_000
    "EID-prefixes of an ETR that starts"

    def scaled(self, **changes: Any) -> Sizes:
        """Return others."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return Sizes(**(values | changes))


QUICK = Sizes(
    registrations=5000,
    datagrams=3000,
    mappings=10_000,
    fewer=2000,
    networks=5000,
    burst=2000,
    sessions=100,
    rest=1.0,
    etrs=20,
    eids=50,
    eids_of_one=5000,
    growth=(1000, 3000, 10_000),
    sample=1000,
    cold_start=500,
)
"""Whether everything runs, in less than a minute; as a measurement it is worth little."""


class Bench:
    """Sizes and cores; starts processes."""

    def __init__(self, sizes: Sizes, directory: Path, console: Console) -> None:
        """``directory`` is for certificates, keys and sockets."""
        self.sizes = sizes
        self.directory = directory
        self.console = console
        cores = sorted(os.sched_getaffinity(0))
        self.server_core = cores[0]
        self.is_alone = len(cores) > 1
        "whether the server has a core of its own"
        os.sched_setaffinity(0, cores[1:] or cores)
        lift_file_limit()
        self.echoes: list[float] = []
        "every echo that was measured"
        self.missing: dict[str, str] = {}
        "why a transport can't be measured on this machine"

    def say(self, text: str) -> None:
        """Print a line."""
        self.console.print(text, soft_wrap=True)

    @contextmanager
    def server(self, make: Callable[..., Role] = MapServerRole, *arguments: Any) -> Iterator[Child]:
        """Run a server on its core."""
        with running(Child(make.__name__, make, *arguments, cpu=self.server_core)) as child:
            yield child

    def echo(self) -> float:
        """Measure what Twisted and the kernel take for a datagram and its answer: how many a second
        of CPU.
        """
        count = self.sizes.datagrams
        first, rest = bytes(4), bytes(ECHO_OCTETS - 12)
        datagrams = [first + number.to_bytes(8, "big") + rest for number in range(count)]
        with self.server(EchoRole) as server:
            (port,) = server.ask("ports")
            work = partial(exchange, port, datagrams, window=_ECHO_WINDOW)
            spent = Spent.by(server, work)
        self.echoes.append(count / spent.cpu)
        self.say(f"  echo: {count / spent.cpu:,.0f} /CPU s, {count / spent.seconds:,.0f} by clock")
        return count / spent.cpu


class Spent(NamedTuple):
    """What some work took."""

    cpu: float
    "seconds of the server's CPU, user and system"
    seconds: float
    "by the clock"
    growth: float
    "octets of the server's resident memory, after garbage collections"
    repeated: int = 0
    "datagrams sent again"

    @classmethod
    def by(cls, server: Child, work: Callable[[], Exchanged | float]) -> Spent:
        """Have the load do its work, which returns the seconds that it took."""
        before = server.ask("usage")
        done = work()
        after = server.ask("usage")
        seconds, repeated = (done, 0) if isinstance(done, float) else (done.seconds, done.repeated)
        growth = after["resident"] - before["resident"]
        return cls(cpu_between(before, after), seconds, growth, repeated)


def cpu_between(before: Usage, after: Usage) -> float:
    """Return the CPU seconds that a process took between two of its answers."""
    return max(after["cpu"] - before["cpu from now on"], 1e-6)


def check_count(server: Child, count: int) -> None:
    """Raise LoadError unless the Map-Server holds so many mappings."""
    held = server.ask("count")
    if held != count:
        raise LoadError(f"the Map-Server holds {held:,} of {count:,} mappings")


@contextmanager
def running(child: Child) -> Iterator[Child]:
    """Wait until it is ready, and stop it in the end."""
    try:
        child.receive()
        yield child
    finally:
        child.stop()
