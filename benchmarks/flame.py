"""``python -m benchmarks.flame``: a flame graph (py-spy, SVG) of the Map-Server's hot path, while
Registrations come over a session, or Map-Requests or Map-Registers over UDP.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from benchmarks.goals.lookups import registered_hosts
from benchmarks.ground import Bench, Sizes
from benchmarks.load import LoadError, Session, exchange
from benchmarks.messages import host_records, map_registers, registrations
from benchmarks.processes import Child, ProcessError
from benchmarks.questions import Asker, of_mappings

__all__ = ["main"]

_PICTURE = Path("docs/images/performance-flame.svg")
_RATE = 200
_TITLE = re.compile(r'(id="title"[^>]*>)[^<]*<')
"""Samples a second."""

Work = Callable[[], object]


def main(arguments: Sequence[str] | None = None) -> int:
    """Record; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.flame", description=__doc__)
    parser.add_argument("picture", type=Path, nargs="?", default=_PICTURE, help="(%(default)s)")
    parser.add_argument("--of", choices=_WORKS, default="session", help="(%(default)s)")
    parser.add_argument("--seconds", type=int, default=10, help="(%(default)s)")
    parser.add_argument("--mappings", type=int, default=200_000, help="(%(default)s)")
    options = parser.parse_args(arguments)
    spy = shutil.which("py-spy") or shutil.which("py-spy", path=str(Path(sys.executable).parent))
    if spy is None:
        print("flame: py-spy is missing: pip install py-spy", file=sys.stderr)
        return 1
    try:
        with TemporaryDirectory(prefix="lispmsrt-flame-") as directory, ExitStack() as stack:
            sizes = Sizes(mappings=options.mappings)
            bench = Bench(sizes, Path(directory), Console(highlight=False))
            server, work = _WORKS[options.of](bench, stack)
            return _record(spy, server, work, options)
    except (LoadError, ProcessError, OSError) as failure:
        print(f"flame: {failure}", file=sys.stderr)
        return 1


def _record(spy: str, server: Child, work: Work, options: argparse.Namespace) -> int:
    command = [spy, "record", "--native", "--format", "flamegraph"]
    command += ["--rate", str(_RATE), "--duration", str(options.seconds), "--pid", str(server.pid)]
    recording = subprocess.Popen([*command, "--output", str(options.picture)])
    end = time.monotonic() + options.seconds + 5.0
    while recording.poll() is None and time.monotonic() < end:
        work()
    status = recording.wait(timeout=60.0)
    if not status:
        # py-spy writes its whole command there, with the paths of this machine.
        drawn = options.picture.read_text()
        options.picture.write_text(_TITLE.sub(rf"\g<1>Map-Server: {options.of}<", drawn, count=1))
    return status


def _session(bench: Bench, stack: ExitStack) -> tuple[Child, Work]:
    server = stack.enter_context(bench.server())
    etr = stack.enter_context(Session(*server.ask("ports")))
    count = bench.sizes.mappings
    stream = registrations(host_records(count))
    return server, lambda: etr.register(stream, count)


def _datagrams(bench: Bench, stack: ExitStack) -> tuple[Child, Work]:
    server = stack.enter_context(bench.server())
    port, _tcp_port = server.ask("ports")
    # A nonce is good once: new Map-Registers each time.
    return server, lambda: exchange(port, map_registers(host_records(10_000)))


def _lookups(bench: Bench, stack: ExitStack) -> tuple[Child, Work]:
    server = stack.enter_context(registered_hosts(bench, bench.sizes.mappings))
    asker = stack.enter_context(Asker())
    port, _tcp_port = server.ask("ports")
    questions = asker.prepare(of_mappings(50_000, bench.sizes.mappings)).datagrams
    return server, lambda: asker.ask(port, questions)


_WORKS = {"session": _session, "datagrams": _datagrams, "lookups": _lookups}


if __name__ == "__main__":
    sys.exit(main())
