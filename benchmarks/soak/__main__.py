"""Run it: ``python -m benchmarks.soak --minutes 60``.

The exit code is 0 if nothing has grown, no lookup was answered wrongly and the Map-Server has
nothing to complain of, else 1.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table

from benchmarks.processes import lift_file_limit
from benchmarks.soak.daemon import Daemon, DaemonError, Sample
from benchmarks.soak.flatness import MIN_RESTS, Verdict, judge
from benchmarks.soak.shifts import Crew, Done, Load, crews
from lispmsrt.cli.demo_transports import loopback_transports

__all__ = ["Soak", "main"]

_SHIFT_SECONDS = 30.0
_SHIFTS = 2 * MIN_RESTS
"""At least so many: a short soak has short shifts."""

_REST_SECONDS = 3.0
"""From the end of a shift until connections are gone and the state file is written."""

_TIMEOUT = 60.0
"""Seconds that a registration lasts without its session: some expire in every shift."""

_SAMPLE_SECONDS = 1.0
_MAX_COMPLAINTS = 5

_QUICK = Load(etrs=5, eids=4, moves=5, flaps=3, lookups=20)


class Soak:
    """One run."""

    def __init__(self, console: Console, seconds: float, load: Load) -> None:
        self.samples: list[Sample] = []
        self.rests: list[Sample] = []
        self.shifts: list[list[Done]] = []
        self.complaints: list[str] = []
        self._console = console
        self._load = load
        self._shift = min(_SHIFT_SECONDS, seconds / _SHIFTS)
        self._rest = min(_REST_SECONDS, self._shift)
        self._seconds = seconds

    def run(self, directory: Path) -> None:
        """Work and rest by turns until the time is over; DaemonError when the daemon dies."""
        transports = loopback_transports(directory)
        with Daemon(directory, transports, _TIMEOUT) as daemon:
            daemon.wait()
            ports = daemon.listening()
            for transport in transports:
                if transport.server not in ports:
                    self._say(f"no {transport.name} on this machine")
            found = list(crews(transports, ports, daemon.port))
            end = time.monotonic() + self._seconds
            try:
                while time.monotonic() < end:
                    self._work(daemon, directory, found)
            finally:
                for crew in found:
                    crew.stop()
                self.complaints = daemon.complaints

    def _work(self, daemon: Daemon, directory: Path, found: list[Crew]) -> None:
        number = len(self.shifts)
        for crew in found:
            crew.start(directory, self._load, number, self._shift)
        self._watch(daemon, self._shift)
        self.shifts.append([crew.end(self._shift) for crew in found])
        self._watch(daemon, self._rest)
        self.rests.append(self.samples[-1])
        self._tell(self.rests[-1], self.shifts[-1])

    def _watch(self, daemon: Daemon, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(_SAMPLE_SECONDS, left))
            self.samples.append(daemon.sample())

    def _tell(self, rest: Sample, done: list[Done]) -> None:
        self._say(
            f"shift {len(self.shifts)}: {sum(each.answers for each in done):,} answers,"
            f" {sum(each.sessions for each in done)} sessions,"
            f" {sum(each.lookups for each in done):,} lookups; at rest"
            f" {rest.resident / 1e6:.1f} MB, {rest.descriptors} open files,"
            f" {rest.registrations:,} registrations, {rest.sessions} sessions"
        )
        for each in done:
            for problem in each.problems:
                self._say(f"  {each.transport}: {problem}")

    def _say(self, text: str) -> None:
        self._console.print(text, soft_wrap=True)

    @property
    def wrong(self) -> int:
        """Lookups that were answered wrongly."""
        return sum(each.wrong for shift in self.shifts for each in shift)

    def verdicts(self) -> list[Verdict]:
        """Judge what was seen at rest."""
        return judge(
            [float(rest.resident) for rest in self.rests],
            [float(rest.descriptors) for rest in self.rests],
        )

    def as_json(self) -> dict[str, object]:
        """Return everything, for the plot."""
        return {
            "samples": [asdict(each) for each in self.samples],
            "rests": [asdict(each) for each in self.rests],
            "shifts": [[asdict(each) for each in shift] for shift in self.shifts],
            "verdicts": [asdict(each) for each in self.verdicts()],
            "complaints": self.complaints,
        }

    def show(self) -> bool:
        """Print the sums and the verdict; return whether all is well."""
        self._console.print(_sums(self.shifts))
        for line in self.complaints[:_MAX_COMPLAINTS]:
            self._say(f"in the log: {line}")
        found = self.verdicts()
        for verdict in found:
            growth = "flat" if verdict.is_flat else "GROWING"
            self._say(
                f"{verdict.name}: {verdict.early:,.0f} early, {verdict.late:,.0f} late (limit"
                f" {verdict.limit:,.0f}): {growth}"
            )
        if not found:
            self._say(f"too short to judge: fewer than {MIN_RESTS} shifts")
        if self.wrong:
            self._say(f"{self.wrong} lookups were answered wrongly")
        return all(each.is_flat for each in found) and not self.wrong and not self.complaints


def _sums(shifts: list[list[Done]]) -> Table:
    table = Table(title=f"{len(shifts)} shifts")
    for heading in ("transport", "sessions", "answers", "lookups", "wrong", "with problems"):
        table.add_column(heading, justify="left" if heading == "transport" else "right")
    by_transport: dict[str, list[Done]] = {}
    for shift in shifts:
        for done in shift:
            by_transport.setdefault(done.transport, []).append(done)
    for name, all_done in by_transport.items():
        figures = (
            sum(each.sessions for each in all_done),
            sum(each.answers for each in all_done),
            sum(each.lookups for each in all_done),
            sum(each.wrong for each in all_done),
            sum(bool(each.problems) for each in all_done),
        )
        table.add_row(name, *(f"{figure:,}" for figure in figures))
    return table


def main(arguments: Sequence[str] | None = None) -> int:
    """Soak a Map-Server; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="(%(default)g)")
    parser.add_argument("--quick", action="store_true", help="a small load: does it run?")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was seen there")
    options = parser.parse_args(arguments)
    console = Console(highlight=False)
    lift_file_limit()
    soak = Soak(console, 60 * options.minutes, _QUICK if options.quick else Load())
    try:
        with TemporaryDirectory(prefix="lispmsrt-soak-") as directory:
            soak.run(Path(directory))
    except KeyboardInterrupt:
        print("soak: ended early", file=sys.stderr)
    except DaemonError as failure:
        print(f"soak: {failure}", file=sys.stderr)
        return 1
    finally:
        if options.json is not None:
            options.json.write_text(json.dumps(soak.as_json(), indent=1) + "\n")
    return 0 if soak.show() else 1


if __name__ == "__main__":
    sys.exit(main())
