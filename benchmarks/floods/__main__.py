"""``python -m benchmarks.floods``: flood a Map-Server with twice what it can take, and see what is
left for the sessions that were there before.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console

from benchmarks.floods.generator import GeneratorRole
from benchmarks.floods.kinds import KINDS
from benchmarks.floods.measuring import LENGTHS, QUICK, Lengths, Ridden, more_parts, ride
from benchmarks.floods.server import FloodedRole
from benchmarks.floods.sharing import sharing
from benchmarks.floods.table import DISTURBED, HALF, figure, missed, table
from benchmarks.ground import Bench, Sizes, running
from benchmarks.load import LoadError
from benchmarks.processes import Child, ProcessError
from lispmsrt.cli.demo_transports import loopback_transports
from lispmsrt.compiled import is_compiled

__all__ = ["main"]

_FILE_COLUMNS = 200
_TRANSPORTS = ("TCP", "TLS", "QUIC")

_NOTE = f"""\
Of the flood alone the server takes so much for a second of its CPU; "offered" is how much of twice
that the load's core brought about: where that was too little the server has a part of its core, and
can take as much less. "Is left" is the sessions' rate by the clock, divided by their rate without
the flood, when as much of the load's core is burnt: {HALF:g} is aimed at, and no session lost. "Of
the CPU" is the same for a second of the server's CPU: less, where the load does not keep the server
busy without the flood. Lookups have a socket of their own, but for floods of Map-Requests."""

_DISTURBED = """\
Others had up to {:.0%} of the server's core: what is by the clock means little then, and "of the
CPU" more."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print the table; return the exit code."""
    options = _parse(arguments)
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _FILE_COLUMNS
    lengths = QUICK if options.quick else LENGTHS
    if options.sessions:
        lengths = replace(lengths, sessions=options.sessions)
    try:
        with TemporaryDirectory(prefix="lispmsrt-floods-") as directory:
            run = _Run(options, lengths, Bench(Sizes(), Path(directory), console))
            run.measure()
    except KeyboardInterrupt:
        print("bench-floods: interrupted", file=sys.stderr)
        return 130
    run.show()
    return 1 if run.has_failed or run.missed else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.floods", description=__doc__)
    parser.add_argument(
        "--kinds",
        type=_kinds,
        default=tuple(KINDS),
        metavar="A,B",
        help=f"of {', '.join(KINDS)} (all)",
    )
    parser.add_argument("--rounds", type=int, help="(3; 1 with --quick)")
    parser.add_argument("--sessions", type=int, help="(20; 3 with --quick)")
    parser.add_argument("--quick", action="store_true", help="does everything run?")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    return parser.parse_args(arguments)


def _kinds(text: str) -> tuple[str, ...]:
    names = tuple(part for part in text.split(",") if part)
    if not set(names) <= set(KINDS):
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(KINDS)}")
    return names


class _Run:
    """What was measured so far."""

    def __init__(self, options: argparse.Namespace, lengths: Lengths, bench: Bench) -> None:
        self.has_failed = False
        self._bench = bench
        self._lengths = lengths
        self._kinds: tuple[str, ...] = options.kinds
        self._rounds: int = options.rounds or (1 if options.quick else 3)
        self._is_quick: bool = options.quick
        self._file: Path | None = options.json
        self._measured: dict[str, list[Ridden]] = {}
        self._parts = dict.fromkeys(KINDS, 1)
        "into which the server's core is cut, so that twice of what it takes can be offered"
        self._began = time.perf_counter()
        names = _TRANSPORTS if find_spec("aioquic") else _TRANSPORTS[:-1]
        transports = loopback_transports(bench.directory)
        self._endpoints = [one.server for one in transports if one.name in names]
        if not bench.is_alone:
            bench.say("one core only: server and load share it")
        if "QUIC" not in names:
            bench.say("no QUIC there: aioquic is not installed")
            self._kinds = tuple(kind for kind in self._kinds if not KINDS[kind].needs_quic)

    @property
    def figures(self) -> list[dict[str, Any]]:
        """In the order of the kinds."""
        found = self._measured
        return [figure(kind, found[kind]) for kind in KINDS if kind in found]

    @property
    def missed(self) -> list[str]:
        """The kinds that missed the aim. --quick judges nothing."""
        return [] if self._is_quick else missed(self.figures)

    def measure(self) -> None:
        """Ride out every flood, round after round."""
        with ExitStack() as stack:
            generator = stack.enter_context(running(Child("the flood", GeneratorRole)))
            shared = stack.enter_context(self._server()) if self._is_quick else None
            for number in range(self._rounds):
                for kind in self._kinds:
                    self._measure(kind, generator, shared, number)
                    self._write()

    def _measure(self, kind: str, generator: Child, shared: Child | None, number: int) -> None:
        """One that fails is said, and takes nothing from the others."""
        start = self._server if shared is None else lambda: nullcontext(shared)
        parts: int | None = self._parts[kind]
        try:
            while parts is not None:
                self._parts[kind] = parts
                with sharing(self._bench.server_core, parts):
                    ridden = ride(start, generator, kind, self._lengths, parts)
                self._bench.say(f"round {number + 1}, {kind}: {_line(ridden)}")
                may_cut = self._bench.is_alone and not self._is_quick
                parts = more_parts(kind, ridden) if may_cut else None
        except (LoadError, ProcessError, OSError) as failure:
            self.has_failed = True
            print(f"bench-floods: {kind}: {failure}", file=sys.stderr)
            return
        self._measured.setdefault(kind, []).append(ridden)

    def show(self) -> None:
        """Print the table."""
        rounds = "1 round" if self._rounds == 1 else f"median of {self._rounds} rounds"
        code = "compiled" if is_compiled() else "plain Python"
        sessions = f"{self._lengths.sessions} sessions"
        self._bench.console.print(table(self.figures, f"one core, {sessions}, {rounds}, {code}"))
        self._bench.say(_NOTE)
        others = max(
            (each["others' share of the server's core"] for each in self.figures), default=0
        )
        if others > DISTURBED:
            self._bench.say(_DISTURBED.format(others))
        if self.missed:
            self._bench.say(f"aim missed: {', '.join(self.missed)}")

    @contextmanager
    def _server(self) -> Iterator[Child]:
        with self._bench.server(FloodedRole, self._endpoints) as server:
            yield server

    def _write(self) -> None:
        if self._file is not None:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._file.write_text(json.dumps(self._as_json(), indent=2) + "\n")

    def _as_json(self) -> dict[str, Any]:
        return {
            "machine": {
                "python": platform.python_version(),
                "system": f"{platform.system()} {platform.machine()}",
                "cores": os.cpu_count(),
                "server alone on its core": self._bench.is_alone,
                "compiled": is_compiled(),
            },
            "lengths": asdict(self._lengths),
            "seconds": round(time.perf_counter() - self._began, 1),
            "floods": self.figures,
        }


def _line(ridden: Ridden) -> str:
    lost = f", {ridden.lost} sessions lost" if ridden.lost else ""
    share = ridden.offered.cpu / ridden.offered.seconds
    calm, flooded = ridden.calm, ridden.flooded
    part = f"1/{ridden.parts} of the core, " if ridden.parts > 1 else ""
    return (
        f"{part}{ridden.capacity:,.0f}/CPU s can be taken, {ridden.times:.2f} x offered "
        f"({share:.0%} of the load's core); {flooded.rate:,.0f} Registrations/s, "
        f"{ridden.ratio:.2f} of {calm.rate:,.0f} (server {calm.busy:.0%} busy), "
        f"{ridden.cpu_ratio:.2f} of its CPU; {ridden.answered:.0%} of lookups answered after "
        f"{1000 * flooded.registered.lookups.median:.1f} ms{lost}"
    )


if __name__ == "__main__":
    sys.exit(main())
