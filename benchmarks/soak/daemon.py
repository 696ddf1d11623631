"""The Map-Server under test: a daemon, as an operator runs it, and what can be seen of it from
outside.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks.soak.free_ports import free_udp_port
from lispmsrt.cli.api_client import Api, ApiError, UnixConnection
from lispmsrt.cli.demo_transports import MAP_SERVER_ADDRESS, LoopbackTransport

__all__ = ["SECRET", "Daemon", "DaemonError", "Sample"]

SECRET = "soak secret"

_CONFIGURATION = """\
[map-server]
control = ["{address}:{port}"]
reliable-transport = {endpoints}
registration-timeout = {timeout}
request-rate = 100000
request-burst = 100000
state = "{directory}/map-server.state"

[[site]]
name = "soak"
keys = [{{ algorithm = "hmac-sha-256-128", secret = "{secret}" }}]
allowed-rlocs = ["127.0.0.0/8"]
eid-prefix = [{{ prefix = "10.0.0.0/8", accept-more-specifics = true }}]
"""

_START_SECONDS = 30.0
_STOP_SECONDS = 30.0
_BAD = ("Traceback (most recent call last)", "Unhandled", "#error", "#critical")
"""In no line of a log that is well."""


class DaemonError(Exception):
    """Why there is no Map-Server, in one sentence."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The process at one moment."""

    at: float
    "seconds since the soak began"
    resident: int
    "octets"
    descriptors: int
    threads: int
    cpu: float
    "seconds since the process began"
    registrations: int
    sessions: int


class Daemon:
    """``twistd lispmsrt`` with a state file, on addresses of loopback."""

    def __init__(
        self, directory: Path, transports: tuple[LoopbackTransport, ...], timeout: float
    ) -> None:
        """``timeout`` is how long a registration without its session lasts, in seconds."""
        self.port = free_udp_port(MAP_SERVER_ADDRESS)
        self._listeners = 1 + len(transports)
        "UDP, and every endpoint string"
        self._log_file = directory / "log"
        configuration = directory / "map-server.toml"
        configuration.touch(mode=0o600)
        configuration.write_text(
            _CONFIGURATION.format(
                address=MAP_SERVER_ADDRESS,
                port=self.port,
                endpoints=json.dumps([transport.server for transport in transports]),
                timeout=timeout,
                directory=directory,
                secret=SECRET,
            )
        )
        socket = f"{directory}/management.sock"
        with self._log_file.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-c", "from twisted.scripts.twistd import run; run()"),
                    *("-n", "--pidfile=", "lispmsrt", "--config", str(configuration)),
                ],
                cwd=directory,
                env={**os.environ, "LISPMSRT_SOCKET": socket, "PYTHONPATH": os.getcwd()},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._api = Api(lambda: UnixConnection(socket), socket)
        self._began = time.monotonic()
        self._tick = os.sysconf("SC_CLK_TCK")
        self._page = os.sysconf("SC_PAGE_SIZE")

    def __enter__(self) -> Daemon:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def wait(self) -> None:
        """Wait until it has tried every endpoint; DaemonError says why it never does."""
        while time.monotonic() - self._began < _START_SECONDS:
            if self._process.poll() is not None:
                break
            try:
                if len(self.overview()["listeners"]) == self._listeners:
                    return
            except ApiError:
                pass
            time.sleep(0.05)
        raise DaemonError(f"the Map-Server has not started: {self.log[-500:]}")

    def overview(self) -> dict[str, Any]:
        """Return what ``lispmsrt show overview`` has."""
        found: dict[str, Any] = json.loads(self._api.get("/overview"))
        return found

    def listening(self) -> dict[str, int]:
        """Return the port of each endpoint string that it listens at."""
        listeners = self.overview()["listeners"]
        return {
            each["endpoint"]: int(each["address"].rpartition(":")[2])
            for each in listeners
            if each["address"] and each["endpoint"] != "control"
        }

    def sample(self) -> Sample:
        """Look at it; DaemonError if it is gone."""
        try:
            overview = self.overview()
            place = Path(f"/proc/{self._process.pid}")
            fields = (place / "stat").read_text().rpartition(")")[2].split()
            pages = int((place / "statm").read_text().split()[1])
            descriptors = sum(1 for _each in (place / "fd").iterdir())
        except (ApiError, OSError) as failure:
            raise DaemonError(f"the Map-Server is gone: {failure}: {self.log[-500:]}") from None
        return Sample(
            at=round(time.monotonic() - self._began, 1),
            resident=pages * self._page,
            descriptors=descriptors,
            threads=int(fields[17]),
            cpu=(int(fields[11]) + int(fields[12])) / self._tick,
            registrations=overview["registrations"],
            sessions=overview["sessions"],
        )

    @property
    def log(self) -> str:
        """What it has written."""
        return self._log_file.read_text(errors="replace")

    @property
    def complaints(self) -> list[str]:
        """The lines of its log that should not be there."""
        return [line for line in self.log.splitlines() if any(bad in line for bad in _BAD)]

    def stop(self) -> None:
        """Stop it, with force if need be."""
        self._api.close()
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
