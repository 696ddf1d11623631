"""``make bench``: what a Map-Server does on one core, beside a bare Twisted UDP echo.

The server's process has a core of its own and the load generator, this process, another one. Rates
are counted per second of the server's CPU time: a generator that is too slow, or a neighbour on
that core, would otherwise look like a slow server; with the echo, which is bounded by the generator
first, it would flatter everything else. The experiments take turns, and what counts is the median.

To measure something else, add a function to ``EXPERIMENTS`` and its rows to ``ROWS``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from benchmarks.load import LoadError, Session, exchange, registers, registrations
from benchmarks.processes import Child, ProcessError, Role
from benchmarks.roles import EchoRole, MapServerRole

__all__ = ["main"]

_ECHO_OCTETS = 88
_WINDOW = 128
"""Datagrams unanswered at a time: no more, for a default receive buffer holds fewer than 200."""


Usage = Mapping[str, float]
"""What a server says of itself: resident octets and CPU seconds."""

_NOTE = """\
Rates are per second of the server's own CPU time, user and system: what one core does when nobody
else wants it and the load never runs dry. "By clock" is per second of real time.
Echo: datagrams of {octets} octets. Registrations and Map-Registers: one record each, distinct /32s,
HMAC-SHA-256, one locator, policy on (more specifics of a site with allowed-rlocs), want-map-notify.
Memory: growth of the server's resident memory by {mappings:,} mappings over TCP, gc.collect()
before both readings."""


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table."""

    name: str
    unit: str
    is_rate: bool = True
    "whether its ratio to the echo means anything"


ECHO = Row("Twisted UDP echo", "/CPU s")
SESSION = Row("Registrations over TCP", "/CPU s")
UDP = Row("Map-Registers over UDP", "/CPU s")
MEMORY = Row("memory of a mapping", "octets", is_rate=False)
ROWS = (ECHO, SESSION, UDP, MEMORY)


class Measured(NamedTuple):
    """A value of one round."""

    row: Row
    value: float
    by_the_clock: float | None = None
    "of a rate: per second of real time instead of per second of the server's CPU"


class Bench:
    """Sizes, cores, and the load, which is built once."""

    def __init__(self, registrations: int, datagrams: int) -> None:
        self.registrations = registrations
        self.datagrams = datagrams
        cores = sorted(os.sched_getaffinity(0))
        self.server_core = cores[0]
        self.is_alone = len(cores) > 1
        "whether the server has a core of its own"
        os.sched_setaffinity(0, cores[1:] or cores)

    @contextmanager
    def server(self, make: Callable[..., Role]) -> Iterator[Child]:
        """Run a server on its core."""
        child = Child(make.__name__, make, cpu=self.server_core)
        try:
            child.receive()
            yield child
        finally:
            child.stop()

    @cached_property
    def stream(self) -> list[bytes]:
        """Registrations, framed."""
        return registrations(self.registrations)

    @cached_property
    def map_registers(self) -> list[bytes]:
        """Map-Registers of one record each."""
        return registers(self.datagrams)


def echo(bench: Bench) -> list[Measured]:
    """Measure what Twisted and the kernel take for a datagram and its answer."""
    datagrams = [bytes(_ECHO_OCTETS)] * bench.datagrams
    with bench.server(EchoRole) as server:
        (port,) = server.ask("ports")
        before = server.ask("usage")
        seconds = exchange(port, datagrams, _WINDOW)
        after = server.ask("usage")
    return _outcome(ECHO, bench.datagrams, seconds, before, after)


def session(bench: Bench) -> list[Measured]:
    """Measure a stream of Registrations, and what the mappings take."""
    stream, count = bench.stream, bench.registrations
    with bench.server(MapServerRole) as server, Session(*server.ask("ports")) as etr:
        before = server.ask("usage")
        seconds = etr.register(stream, count)
        after = server.ask("usage")
        _check_count(server, count + 1)
    growth = after["resident"] - before["resident"]
    return [
        *_outcome(SESSION, count, seconds, before, after),
        Measured(MEMORY, growth / count),
    ]


def udp(bench: Bench) -> list[Measured]:
    """Measure Map-Registers that want a Map-Notify and don't ask for a session."""
    datagrams = bench.map_registers
    with bench.server(MapServerRole) as server:
        port, _tcp_port = server.ask("ports")
        before = server.ask("usage")
        seconds = exchange(port, datagrams, _WINDOW)
        after = server.ask("usage")
        _check_count(server, len(datagrams))
    return _outcome(UDP, len(datagrams), seconds, before, after)


EXPERIMENTS = (echo, session, udp)


def _outcome(row: Row, count: int, seconds: float, before: Usage, after: Usage) -> list[Measured]:
    return [Measured(row, count / (after["cpu"] - before["cpu"]), count / seconds)]


def _check_count(server: Child, count: int) -> None:
    held = server.ask("count")
    if held != count:
        raise LoadError(f"the Map-Server holds {held:,} of {count:,} mappings")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the rounds and print the table; return the exit code."""
    options = _parse(arguments)
    console = Console(highlight=False)
    try:
        figures = _measure(options, console)
    except (LoadError, ProcessError, OSError) as failure:
        print(f"bench: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bench: interrupted", file=sys.stderr)
        return 130
    if options.json is not None:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="(%(default)s)")
    parser.add_argument(
        "--registrations", type=int, default=300_000, help="on the session (%(default)s)"
    )
    parser.add_argument(
        "--datagrams", type=int, default=100_000, help="of each UDP experiment (%(default)s)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    return parser.parse_args(arguments)


def _measure(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    bench = Bench(options.registrations, options.datagrams)
    if not bench.is_alone:
        console.print("one core only: server and load generator share it")
    found: dict[Row, list[Measured]] = {row: [] for row in ROWS}
    for number in range(options.rounds):
        for experiment in EXPERIMENTS:
            for measured in experiment(bench):
                found[measured.row].append(measured)
                console.print(f"round {number + 1}: {_line(measured)}", soft_wrap=True)
    figures = _figures(found)
    console.print(_table(figures, options.rounds))
    console.print(_NOTE.format(octets=_ECHO_OCTETS, mappings=options.registrations), soft_wrap=True)
    return figures


def _line(measured: Measured) -> str:
    text = f"{measured.row.name}: {measured.value:,.0f} {measured.row.unit}"
    if measured.by_the_clock is not None:
        busy = measured.by_the_clock / measured.value
        text += f", {measured.by_the_clock:,.0f} by the clock (server {busy:.0%} busy)"
    return text


def _figures(found: Mapping[Row, Sequence[Measured]]) -> dict[str, Any]:
    reference = statistics.median(measured.value for measured in found[ECHO])
    figures = {}
    for row, measurements in found.items():
        values = [measured.value for measured in measurements]
        clock = [one.by_the_clock for one in measurements if one.by_the_clock is not None]
        median = statistics.median(values)
        figures[row.name] = {
            "unit": row.unit,
            "median": round(median, 1),
            "lowest": round(min(values), 1),
            "highest": round(max(values), 1),
            "by the clock": round(statistics.median(clock), 1) if clock else None,
            "ratio to echo": round(median / reference, 2) if row.is_rate else None,
        }
    return figures


def _table(figures: Mapping[str, Mapping[str, Any]], rounds: int) -> Table:
    table = Table(title=f"one core, median of {rounds} rounds")
    table.add_column("what")
    for heading in ("median", "lowest", "highest"):
        table.add_column(heading, justify="right")
    table.add_column("unit")
    for heading in ("to echo", "by clock"):
        table.add_column(heading, justify="right")
    for name, figure in figures.items():
        numbers = (f"{figure[key]:,.0f}" for key in ("median", "lowest", "highest"))
        ratio, clock = figure["ratio to echo"], figure["by the clock"]
        shown = ("", "") if ratio is None else (f"{ratio:.2f}", f"{clock:,.0f}")
        table.add_row(name, *numbers, figure["unit"], *shown)
    return table


if __name__ == "__main__":
    sys.exit(main())
