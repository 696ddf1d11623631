"""Child processes and free ports, for tests of what an operator types."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

__all__ = ["CHECKOUT", "TERMINATED", "Child", "free_port", "start"]

TERMINATED = (0, -15)
"""How a twistd that heard SIGTERM ends: once all has stopped, it may send itself the signal."""

CHECKOUT = Path(__file__).resolve().parent.parent
_TWISTD = "from twisted.scripts.twistd import run; run()"


def free_port(*hosts: str) -> int:
    """Return a port that is free on these addresses, for UDP and TCP."""
    for _attempt in range(50):
        with socket.socket() as first:
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
        try:
            for host in hosts or ("127.0.0.1",):
                for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                    with socket.socket(socket.AF_INET, kind) as probe:
                        probe.bind((host, port))
        except OSError:
            continue
        return port
    raise AssertionError("no port is free")


class Child(ProcessProtocol):
    """A process whose output is kept, and can be waited for."""

    def __init__(self) -> None:
        self.output = ""
        self.ended: Deferred[int] = Deferred()
        "fires with the exit code; a signal that ended it is negative"
        self._waiting: list[tuple[str, Deferred[str]]] = []
        self._is_over = False

    def outReceived(self, data: bytes) -> None:
        self.output += data.decode()
        heard = [each for each in self._waiting if each[0] in self.output]
        # Before anybody is told: they may go on to wait for something else.
        self._waiting = [each for each in self._waiting if each not in heard]
        for _text, deferred in heard:
            deferred.callback(self.output)

    errReceived = outReceived

    def processEnded(self, reason: Failure) -> None:
        self._is_over = True
        waiting, self._waiting = self._waiting, []
        for text, deferred in waiting:
            deferred.errback(AssertionError(f"{text!r} never came:\n{self.output}"))
        ended: Any = reason.value
        self.ended.callback(-ended.signal if ended.signal else ended.exitCode)

    def says(self, text: str) -> Deferred[str]:
        """Fire once the process has printed this."""
        heard: Deferred[str] = Deferred()
        self._waiting.append((text, heard))
        self.outReceived(b"")
        return heard

    def signal(self, name: str) -> None:
        """Send a signal: HUP, TERM."""
        assert self.transport is not None
        self.transport.signalProcess(name)

    def kill(self) -> None:
        """End it, if it has not ended."""
        if not self._is_over:
            with suppress(ProcessExitedAlready):
                self.signal("KILL")


def start(test: TestCase, reactor: Any, *arguments: str, **environment: str) -> Child:
    """Start ``twistd`` with these arguments in an empty directory; it is killed after the test."""
    directory = Path(test.mktemp())
    directory.mkdir(parents=True)
    # The machine may run a daemon of its own; and the path of a Unix socket must be short.
    own = tempfile.mkdtemp(prefix="lispmsrt-")
    test.addCleanup(shutil.rmtree, own)
    environment.setdefault("LISPMSRT_SOCKET", f"{own}/management.sock")
    child = Child()
    reactor.spawnProcess(
        child,
        sys.executable,
        [sys.executable, "-c", _TWISTD, *arguments],
        env={**os.environ, "PYTHONPATH": str(CHECKOUT), "PYTHONUNBUFFERED": "1", **environment},
        path=str(directory),
    )

    def finish() -> Any:
        child.kill()
        return child.ended if not child._is_over else None

    test.addCleanup(finish)
    return child
