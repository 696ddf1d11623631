"""``make bench``: what a Map-Server does on one core, beside a bare Twisted UDP echo, and what was
aimed at.

The server's process has a core of its own and the load another one. Rates are counted per second of
the server's CPU time: a load that is too slow, or a neighbour on that core, would otherwise look
like a slow server; with the echo, which is bounded by the load first, it would flatter everything
else. What counts is the median of the rounds, and the echo of the same round beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console

from benchmarks import observers, transports
from benchmarks.figures import Figure, Measured, figures_of, goals_table, shown
from benchmarks.goals import growth, lookups, one_etr, registering, rest, restart
from benchmarks.ground import QUICK, Bench, Sizes
from benchmarks.load import LoadError
from benchmarks.processes import ProcessError
from lispmsrt.compiled import is_compiled

__all__ = ["EXTRAS", "GOALS", "main"]

_FILE_COLUMNS = 165

_NOTE = """\
"/CPU s" is per second of the server's own CPU time, user and system; "by clock" per second of real
time, the load included. How each figure is measured is in docs/performance.rst."""

Measure = Callable[[Bench, int], Iterator[Measured]]

GOALS: dict[str, Measure] = {
    "1": registering.measure_sessions,
    "2": registering.measure_datagrams,
    "3": lookups.measure,
    "4": lookups.measure_memory,
    "5": one_etr.measure_burst,
    "6": rest.measure,
    "7": restart.measure,
    "8": one_etr.measure_etr,
    "9": growth.measure,
}

EXTRAS: dict[str, Measure] = {"transports": transports.measure, "observers": observers.measure}
"""What no goal is about."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print the table; return the exit code."""
    options = _parse(arguments)
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _FILE_COLUMNS
    try:
        with TemporaryDirectory(prefix="lispmsrt-bench-") as directory:
            run = _Run(options, Bench(_sizes(options), Path(directory), console))
            for goal in options.goals:
                run.measure(goal)
    except KeyboardInterrupt:
        print("bench: interrupted", file=sys.stderr)
        return 130
    run.show()
    return 1 if run.has_failed else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench", description=__doc__)
    parser.add_argument(
        "--goals",
        type=_goals,
        default=tuple(GOALS),
        help="such as 1,3,transports (all goals, no extras)",
    )
    parser.add_argument(
        "--all", action="store_const", dest="goals", const=(*GOALS, *EXTRAS), help="extras too"
    )
    parser.add_argument("--rounds", type=int, help="(3; 1 with --quick)")
    parser.add_argument("--quick", action="store_true", help="small sizes: does everything run?")
    for field in fields(Sizes):
        if field.name != "growth":
            name = f"--{field.name.replace('_', '-')}"
            parser.add_argument(name, type=type(field.default), metavar="N")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    return parser.parse_args(arguments)


def _goals(text: str) -> tuple[str, ...]:
    names = tuple(part for part in text.split(",") if part)
    if not set(names) <= {*GOALS, *EXTRAS}:
        known = ", ".join((*GOALS, *EXTRAS))
        raise argparse.ArgumentTypeError(f"{text!r} is none of {known}")
    return names


def _sizes(options: argparse.Namespace) -> Sizes:
    sizes = QUICK if options.quick else Sizes()
    given = {field.name: getattr(options, field.name, None) for field in fields(Sizes)}
    return sizes.scaled(**{name: value for name, value in given.items() if value is not None})


class _Run:
    """What was measured so far."""

    def __init__(self, options: argparse.Namespace, bench: Bench) -> None:
        self.has_failed = False
        self._bench = bench
        self._goals: tuple[str, ...] = options.goals
        self._rounds = options.rounds or (1 if options.quick else 3)
        self._file: Path | None = options.json
        self._measured: list[Measured] = []
        self._began = time.perf_counter()
        if not bench.is_alone:
            bench.say("one core only: server and load share it")

    @property
    def figures(self) -> list[Figure]:
        """In the order of goals, extras last."""
        found = figures_of(self._measured)
        return sorted(found, key=lambda figure: figure.row.goal or len(GOALS) + 1)

    def measure(self, goal: str) -> None:
        """Measure one; one that fails is said, and takes nothing from the others."""
        if goal == "4" and "3" in self._goals:
            return  # it is measured where the Internet is registered
        self._bench.say(f"goal {goal}" if goal in GOALS else goal)
        try:
            for one in (GOALS | EXTRAS)[goal](self._bench, self._rounds):
                self._measured.append(one)
                self._bench.say(f"  {_line(one)}")
        except (LoadError, ProcessError, OSError) as failure:
            self.has_failed = True
            print(f"bench: {goal}: {failure}", file=sys.stderr)
        if self._file is not None:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._file.write_text(json.dumps(self._as_json(), indent=2) + "\n")

    def show(self) -> None:
        """Print the table."""
        rounds = "1 round" if self._rounds == 1 else f"median of {self._rounds} rounds"
        code = "compiled" if is_compiled() else "plain Python"
        console = self._bench.console
        console.print(goals_table(self.figures, f"one core, {rounds}, {code}"))
        if self._bench.echoes:
            echo = statistics.median(self._bench.echoes)
            self._bench.say(f"The bare Twisted UDP echo: {echo:,.0f} datagrams a second of CPU.")
        self._bench.say(_NOTE)

    def _as_json(self) -> dict[str, Any]:
        return {
            "machine": _machine(self._bench),
            "sizes": asdict(self._bench.sizes),
            "seconds": round(time.perf_counter() - self._began, 1),
            "echo": [round(echo) for echo in self._bench.echoes],
            "missing": self._bench.missing,
            "figures": [figure.as_json() for figure in self.figures],
        }


def _machine(bench: Bench) -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "server alone on its core": bench.is_alone,
        "compiled": is_compiled(),
    }


def _line(one: Measured) -> str:
    text = f"{one.row.name}: {shown(one.value)} {one.row.unit}".rstrip()
    if one.echo is not None:
        text += f", {one.value / one.echo:.2f} x echo"
    if one.by_the_clock is not None:
        busy = one.by_the_clock / one.value
        text += f", {one.by_the_clock:,.0f} by the clock (server {busy:.0%} busy)"
    return text + "".join(
        f", {name}: {what}" for name, what in one.details.items() if not isinstance(what, list)
    )


if __name__ == "__main__":
    sys.exit(main())
