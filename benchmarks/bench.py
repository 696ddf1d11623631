"""``make bench``: what a Map-Server does on one core over each transport, beside a bare Twisted UDP
echo.

The server's process has a core of its own and the load generator, this process or one more, another
one. Rates are counted per second of the server's CPU time: a generator that is too slow, or a
neighbour on that core, would otherwise look like a slow server; with the echo, which is bounded by
the generator first, it would flatter everything else. The experiments take turns, and what counts
is the median.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import observers
from benchmarks.experiments import (
    ECHO,
    ECHO_OCTETS,
    FEW,
    ROWS,
    SESSION,
    Bench,
    Experiment,
    Measured,
    Row,
    asked,
    experiments,
)
from benchmarks.load import LoadError
from benchmarks.processes import ProcessError

__all__ = ["main"]

_FILE_COLUMNS = 120

_NOTE = """\
Rates are per second of the server's own CPU time, user and system: what one core does when nobody
else wants it and the load never runs dry. "By clock" is per second of real time; for all transports
but TCP, whose load comes from plain sockets, it says as much about the generator, which is our own
client with the same cryptography or stack to run: read it as what a pair of both gets done.
Echo: datagrams of {octets} octets. Registrations and Map-Registers: one record each, distinct /32s,
HMAC-SHA-256, one locator, policy on (more specifics of a site with allowed-rlocs), want-map-notify.
Map-Requests: one EID, in an ECM, and the Map-Server's own Map-Reply (proxy): the /32 of a mapping,
or the hole around an address that nobody registered. Few mappings are {few:,}, many are {many:,},
registered over a session once for all rounds.
Memory: growth of the server's resident memory by {mappings:,} mappings over TCP, gc.collect()
before both readings.
Cold start: an ETR's process and a Map-Server's, from the first Map-Register over UDP to the ACK of
the last of {eids:,} EID-prefixes; the handshake is part of it, and the ETR most of the work."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the rounds and print the table; return the exit code."""
    options = _parse(arguments)
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _FILE_COLUMNS
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
    parser.add_argument("--mappings", type=int, default=1_000_000, help="to look up (%(default)s)")
    parser.add_argument(
        "--eids", type=int, default=10_000, help="of an ETR that starts (%(default)s)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    return parser.parse_args(arguments)


def _measure(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    with TemporaryDirectory(prefix="lispmsrt-bench-") as directory:
        sizes = (options.registrations, options.datagrams, options.eids)
        bench = Bench(*sizes, Path(directory))
        if not bench.is_alone:
            console.print("one core only: server and load generator share it")
        with bench.generator() as generator, asked(bench, options.mappings) as of_requests:
            of_registrations = experiments(bench, generator)
            turns = [*of_registrations, *of_requests]
            found = _run_rounds(bench, turns, options.rounds, console)
        observed = observers.measure(bench, options.rounds, console)
    figures = _figures(found, bench.missing)
    console.print(_table(figures, options.rounds))
    for name, figure in figures.items():
        if "missing" in figure:
            console.print(f"No {name}: {figure['missing']}.", soft_wrap=True)
    note = _NOTE.format(
        octets=ECHO_OCTETS,
        few=FEW,
        many=options.mappings,
        mappings=options.registrations,
        eids=options.eids,
    )
    console.print(note, soft_wrap=True)
    console.print(observers.table_of(observed))
    return figures


def _run_rounds(
    bench: Bench, experiments: Sequence[Experiment], rounds: int, console: Console
) -> dict[Row, list[Measured]]:
    found: dict[Row, list[Measured]] = {row: [] for row in ROWS}
    for number in range(rounds):
        for experiment in experiments:
            for measured in experiment(bench):
                found[measured.row].append(measured)
                console.print(f"round {number + 1}: {_line(measured)}", soft_wrap=True)
    return found


def _line(measured: Measured) -> str:
    text = f"{measured.row.name}: {measured.value:,.0f} {measured.row.unit}"
    if measured.by_the_clock is not None:
        busy = measured.by_the_clock / measured.value
        text += f", {measured.by_the_clock:,.0f} by the clock (server {busy:.0%} busy)"
    return text


def _figures(found: Mapping[Row, Sequence[Measured]], missing: Mapping[Row, str]) -> dict[str, Any]:
    echo, tcp = (
        statistics.median(measured.value for measured in found[row]) for row in (ECHO, SESSION)
    )
    figures: dict[str, Any] = {}
    for row, measurements in found.items():
        if row in missing:
            figures[row.name] = {"unit": row.unit, "missing": missing[row]}
            continue
        values = [measured.value for measured in measurements]
        clock = [one.by_the_clock for one in measurements if one.by_the_clock is not None]
        median = statistics.median(values)
        figures[row.name] = {
            "unit": row.unit,
            "median": round(median, 1),
            "lowest": round(min(values), 1),
            "highest": round(max(values), 1),
            "by the clock": round(statistics.median(clock), 1) if clock else None,
            "ratio to echo": round(median / echo, 2) if row.is_rate else None,
            "ratio to TCP": round(median / tcp, 2) if row.is_rate else None,
        }
    return figures


def _table(figures: Mapping[str, Mapping[str, Any]], rounds: int) -> Table:
    table = Table(title=f"one core, median of {rounds} rounds")
    table.add_column("what")
    for heading in ("median", "lowest", "highest"):
        table.add_column(heading, justify="right")
    table.add_column("unit")
    for heading in ("to echo", "to TCP", "by clock"):
        table.add_column(heading, justify="right")
    for name, figure in figures.items():
        if "missing" in figure:
            table.add_row(name, *["none"] * 3, figure["unit"], *["none"] * 3)
            continue
        numbers = (f"{figure[key]:,.0f}" for key in ("median", "lowest", "highest"))
        shown = (
            "" if figure[key] is None else f"{figure[key]:{form}}"
            for key, form in (
                ("ratio to echo", ".2f"),
                ("ratio to TCP", ".2f"),
                ("by the clock", ",.0f"),
            )
        )
        table.add_row(name, *numbers, figure["unit"], *shown)
    return table


if __name__ == "__main__":
    sys.exit(main())
