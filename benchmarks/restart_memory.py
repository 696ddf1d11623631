"""``python -m benchmarks.restart_memory``: how soon a Map-Server answers that was killed with a
million registrations in its memory.

All of it is real: ``twistd lispmsrt`` takes the registrations from sessions and writes its file, it
is killed, and started again with the same file. Time runs from ``exec`` on. CPU seconds are the
daemon's own, from ``exec`` on too: on a machine that has other work they tell more than the clock.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import select
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from benchmarks.load import LoadError, Session
from benchmarks.messages import ADDRESS, FIRST_EID, host_records, registrations, xtr_ids
from benchmarks.processes import lift_file_limit
from benchmarks.questions import host_of, is_mapping, map_request
from benchmarks.roles import SECRET, etr_address
from lispmsrt.wire.addresses import Address
from lispmsrt.wire.errors import WireError
from lispmsrt.wire.map_reply import decode_map_reply

__all__ = ["main"]

_CONFIG = """
[map-server]
control = ["127.0.0.1:{port}"]
reliable-transport = ["tcp:{port}:interface=127.0.0.1"]
state = "{state}"
request-rate = 1000000
request-burst = 1000000
registration-timeout = 1000000

[[site]]
name = "internet"
keys = [{{ algorithm = "hmac-sha-256-128", secret = "{secret}" }}]
allowed-rlocs = ["127.0.0.0/8"]
eid-prefix = [{{ prefix = "0.0.0.0/0", accept-more-specifics = true }}]
"""

_TWISTD = "from twisted.scripts.twistd import run; run()"
_LISTENING = "LISP control on UDP"
_RESTORED = "restored "
_PATIENCE = 300.0
_ASK_AGAIN = 0.005
"""Seconds between two Map-Requests: nobody hears the first ones."""


class RunError(Exception):
    """The daemon did not do what it was to do."""


class Moment(NamedTuple):
    """When something was so: seconds since ``exec`` by the clock, and the daemon's CPU seconds."""

    seconds: float
    cpu: float


class Restart(NamedTuple):
    """One restart."""

    first_answer: Moment
    restored: Moment


class Daemon:
    """``twistd lispmsrt`` with a file of its own; killed in the end."""

    def __init__(self, directory: Path, port: int) -> None:
        self.port = port
        # Not a pipe, which would be full while nobody reads it.
        self._log = directory / "map-server.log"
        self._began = time.perf_counter()
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-c", _TWISTD, "-n", "--pidfile=", "lispmsrt"),
                *("--config", str(directory / "map-server.toml")),
            ],
            stdout=self._log.open("wb"),
            stderr=subprocess.STDOUT,
            cwd=directory,
            env={
                **os.environ,
                "PYTHONPATH": os.getcwd(),
                "PYTHONUNBUFFERED": "1",
                "LISPMSRT_SOCKET": str(directory / "management.sock"),
            },
        )

    def now(self) -> Moment:
        """Return how much time has gone, and what the daemon has used."""
        seconds = time.perf_counter() - self._began
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return Moment(seconds, (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"))

    def await_line(self, text: str) -> None:
        """Wait until it has logged this."""
        while text not in (log := self._log.read_text()):
            if self.now().seconds > _PATIENCE or self._process.poll() is not None:
                raise RunError(f"{text!r} never came:\n{log}")
            time.sleep(_ASK_AGAIN)

    def kill(self) -> None:
        """End it as a crash does."""
        self._process.kill()
        self._process.wait()


@contextmanager
def _running(directory: Path, port: int) -> Iterator[Daemon]:
    daemon = Daemon(directory, port)
    try:
        yield daemon
    finally:
        daemon.kill()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; return the exit code."""
    options = _parse(arguments)
    lift_file_limit()
    try:
        with ExitStack() as stack:
            directory = options.directory or Path(stack.enter_context(TemporaryDirectory()))
            directory.mkdir(mode=0o700, exist_ok=True)
            restarts = _run(options, directory)
    except (LoadError, RunError) as failure:
        print(f"restart_memory: {failure}", file=sys.stderr)
        return 1
    figures = _figures(restarts)
    for name, figure in figures.items():
        print(f"{name:<40} {figure:>8.2f}")
    if options.json is not None:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.restart_memory", description=__doc__.splitlines()[0]
    )
    add = parser.add_argument
    add("--mappings", type=int, default=1_000_000, help="registrations (%(default)s)")
    add("--etrs", type=int, default=1000, help="who have registered them (%(default)s)")
    add("--rounds", type=int, default=3, help="restarts (%(default)s)")
    add("--directory", type=Path, help="where the file is, and stays; used again if it is there")
    add("--json", type=Path, metavar="FILE", help="write the figures there too")
    return parser.parse_args(arguments)


def _run(options: argparse.Namespace, directory: Path) -> list[Restart]:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    state = directory / "map-server.state"
    text = _CONFIG.format(port=port, state=state, secret=SECRET)
    (directory / "map-server.toml").write_text(text)
    if not state.exists():
        _fill(directory, port, options.etrs, options.mappings)
    print(f"{state.stat().st_size / 1e6:.0f} MB in the file")
    restarts = []
    for number in range(options.rounds):
        with _running(directory, port) as daemon:
            restarts.append(_restart(daemon, options.mappings, random.Random(number)))
    return restarts


def _fill(directory: Path, port: int, etrs: int, mappings: int) -> None:
    """Have everything registered by sessions, and wait until it is in the file."""
    each = mappings // etrs
    with _running(directory, port) as daemon, ExitStack() as stack:
        daemon.await_line(_LISTENING)
        for etr in range(etrs):
            ids = xtr_ids(etr + 1)
            records = list(host_records(each, each * etr))
            session = Session(port, port, etr_address(etr), ids, records[0])
            stack.enter_context(session)
            session.register(registrations(records, ids, 1), each)
        _await_written(daemon, directory / "map-server.state", each * etrs)


def _await_written(daemon: Daemon, state: Path, count: int) -> None:
    with closing(sqlite3.connect(state)) as file:
        while True:
            ((written,),) = file.execute("SELECT sum(count) FROM segment")
            if written is not None and written >= count:
                return
            if daemon.now().seconds > _PATIENCE:
                raise RunError(f"only {written} of {count} registrations were written")
            time.sleep(0.2)


def _restart(daemon: Daemon, mappings: int, draw: random.Random) -> Restart:
    _await_answer(daemon, mappings, draw)
    first_answer = daemon.now()
    daemon.await_line(_RESTORED)
    return Restart(first_answer, daemon.now())


def _await_answer(daemon: Daemon, mappings: int, draw: random.Random) -> None:
    """Ask for one EID after the other until there is an answer; it must be right."""
    asked: list[int] = []
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as client:
        client.bind((ADDRESS, 0))
        client.connect(("127.0.0.1", daemon.port))
        source, port = Address.from_text(ADDRESS), client.getsockname()[1]
        while daemon.now().seconds < _PATIENCE:
            asked.append(FIRST_EID + draw.randrange(mappings))
            # It does not listen yet: a Map-Request that nobody hears is asked again.
            with suppress(ConnectionRefusedError):
                client.send(map_request(len(asked) - 1, host_of(asked[-1]), source, port))
                if select.select([client], [], [], _ASK_AGAIN)[0]:
                    _check(client.recv(4096), asked)
                    return
            time.sleep(_ASK_AGAIN)
    raise RunError("it never answered")


def _check(answer: bytes, asked: Sequence[int]) -> None:
    try:
        reply = decode_map_reply(answer)
    except WireError as failure:
        raise RunError(f"{answer.hex()} is malformed: {failure}") from None
    if reply.nonce >= len(asked) or not is_mapping(asked[reply.nonce], reply.records[0]):
        raise RunError(f"a wrong answer: {reply}")


def _figures(restarts: Sequence[Restart]) -> dict[str, float]:
    """Return the best of each: what is above it is other work of the machine."""
    return {
        "first answer, seconds": min(one.first_answer.seconds for one in restarts),
        "first answer, CPU seconds": min(one.first_answer.cpu for one in restarts),
        "all is restored, seconds": min(one.restored.seconds for one in restarts),
        "all is restored, CPU seconds": min(one.restored.cpu for one in restarts),
    }


if __name__ == "__main__":
    sys.exit(main())
