"""The load: shifts in which a swarm over each transport registers, moves, flaps and looks up, and
which end with all of them gone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.soak.daemon import SECRET
from lispmsrt.cli.demo_transports import MAP_SERVER_ADDRESS, LoopbackTransport

__all__ = ["Crew", "Done", "Load", "crews"]

_SPARE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Load:
    """What each swarm is asked for. Rates are per second."""

    etrs: int = 50
    eids: int = 40
    moves: int = 40
    flaps: int = 20
    lookups: int = 100


@dataclass(frozen=True, slots=True)
class Done:
    """What came of a swarm."""

    transport: str
    answers: int
    "ACKs and Map-Notify records"
    sessions: int
    "that were opened"
    lookups: int
    "that were answered rightly"
    wrong: int
    problems: tuple[str, ...]


class Crew:
    """The ETRs of one transport: other ones in every second shift, with the same EIDs."""

    def __init__(self, number: int, transport: str, endpoint: str, port: int) -> None:
        self.transport = transport
        self._number = number
        self._endpoint = endpoint
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None
        self._file: Path | None = None

    def start(self, directory: Path, load: Load, shift: int, seconds: float) -> None:
        """Begin a shift."""
        self._file = directory / f"{self._number}.json"
        self._file.unlink(missing_ok=True)
        key = directory / "key"
        if not key.exists():
            key.touch(mode=0o600)
            key.write_text(f"{SECRET}\n")
        command = [
            *(sys.executable, "-m", "lispmsrt", "swarm", f"{MAP_SERVER_ADDRESS}:{self._port}"),
            *("--transport", self._endpoint, "--key-file", str(key)),
            *("--etrs", str(load.etrs), "--eids", str(load.eids), "--ramp", "1000"),
            *("--moves", str(load.moves), "--flaps", str(load.flaps)),
            *("--lookups", str(load.lookups), "--for", f"{seconds:g}"),
            *("--site-prefix", f"10.{self._number}.0.0/16"),
            *("--source-addresses", f"127.0.{self._number}.0/28"),
            *("--seed", str(self._number + 100 * (shift % 2)), "--json", str(self._file)),
        ]
        self._process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=dict(os.environ)
        )

    def end(self, seconds: float) -> Done:
        """Wait until the shift is over, which should take no longer than this."""
        assert self._process is not None
        assert self._file is not None
        problems: list[str] = []
        try:
            _output, errors = self._process.communicate(timeout=seconds + _SPARE_SECONDS)
        except subprocess.TimeoutExpired:
            self.stop()
            return Done(self.transport, 0, 0, 0, 0, ("has not ended by itself",))
        told = errors.decode(errors="replace").strip()
        try:
            found: dict[str, Any] = json.loads(self._file.read_text())
        except (OSError, ValueError):
            last = told.splitlines()[-1] if told else "nothing was said"
            return Done(self.transport, 0, 0, 0, 0, (f"has no result: {last}",))
        problems.extend(found["problems"])
        return Done(
            self.transport,
            found["registrations"]["answers"],
            found["sessions_opened"],
            found["lookups"]["right"],
            found["lookups"]["wrong"],
            tuple(problems),
        )

    def stop(self) -> None:
        """Kill it if it runs."""
        if self._process is not None and self._process.poll() is None:
            with suppress(OSError):
                self._process.kill()
            self._process.wait()


def crews(
    transports: tuple[LoopbackTransport, ...], ports: dict[str, int], udp_port: int
) -> Iterator[Crew]:
    """Yield one for UDP, and one for each transport that the Map-Server listens at."""
    yield Crew(1, "UDP", "udp", udp_port)
    for number, transport in enumerate(transports, 2):
        port = ports.get(transport.server)
        if port is not None:
            # The swarm adds the host.
            endpoint = f"{transport.prefix}:{port}{transport.options}"
            yield Crew(number, transport.name, endpoint, udp_port)
