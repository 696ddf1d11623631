"""Processes that run a reactor and answer their parent over a pipe: one request, one answer, at
once or when there is one.

Whatever goes wrong in a child is one sentence in the parent: :class:`ProcessError`. A child whose
parent is gone, for whatever reason, stops.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from lispmsrt.services.listening import ListenError

__all__ = ["Child", "ProcessError", "Role", "lift_file_limit", "resident_octets"]

_STOP_SECONDS = 15.0
_STOP = "stop"
_FILES = 100_000
"""Open files wanted: ten thousand sessions, and room."""


class ProcessError(Exception):
    """A process failed; the text says which and why, in one sentence."""


class Role:
    """What a child does: build it with a reactor, then it answers requests by name."""

    commands: Mapping[str, Callable[..., Any]]
    "request to what answers it; a Deferred has the answer later"

    def stop(self) -> Deferred[None]:
        """Close everything; fires when nothing is left open."""
        raise NotImplementedError


class Child:
    """A process of ours. ``make`` is called there with the reactor and ``arguments``."""

    def __init__(
        self, name: str, make: Callable[..., Role], *arguments: Any, cpu: int | None = None
    ) -> None:
        self.name = name
        # A forked child would carry our memory, which is not what we want to measure.
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(
            target=_run, args=(theirs, make, arguments, cpu), name=name, daemon=True
        )
        self._process.start()
        theirs.close()

    def kill(self) -> None:
        """End it as a crash would, at once."""
        self._process.kill()
        self._process.join()

    @property
    def pid(self) -> int | None:
        """The process's number."""
        return self._process.pid

    def send(self, command: str, *arguments: Any) -> None:
        """Make a request; :meth:`receive` has the answer."""
        try:
            self._connection.send((command, arguments))
        except OSError:
            raise self._died() from None

    def receive(self) -> Any:
        """Wait for the answer to the earliest request that has none. The first is there unasked:
        None, the child is ready.
        """
        wait([self._connection, self._process.sentinel])
        try:
            is_well, answer = self._connection.recv()
        except (EOFError, OSError):
            raise self._died() from None
        if not is_well:
            raise ProcessError(f"{self.name}: {answer}")
        return answer

    def has_answer(self) -> bool:
        """Whether :meth:`receive` would return at once."""
        return self._connection.poll()

    def ask(self, command: str, *arguments: Any) -> Any:
        """Make a request and wait for its answer."""
        self.send(command, *arguments)
        return self.receive()

    def check(self) -> None:
        """Raise ProcessError if it is dead."""
        if not self._process.is_alive():
            raise self._died()

    def stop(self) -> int | None:
        """Have it close everything and end; kill it if it does not. Return its exit code."""
        with suppress(OSError):  # it has ended already
            self._connection.send((_STOP, ()))
        self._process.join(_STOP_SECONDS)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._connection.close()
        return self._process.exitcode

    def _died(self) -> ProcessError:
        self._process.join(1.0)
        return ProcessError(f"{self.name} died with exit code {self._process.exitcode}")


def resident_octets() -> int:
    """Return this process's resident memory."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def lift_file_limit() -> None:
    """Allow this process as many open files as it may have."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Beyond the hard limit only the privileged may go.
    with suppress(ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(hard, _FILES), max(hard, _FILES)))
        return
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@implementer(IReadDescriptor)
class _Requests:
    """Reads requests from the pipe in the reactor, and answers them."""

    def __init__(self, connection: Connection, role: Role, stop: Callable[[], None]) -> None:
        self._connection = connection
        self._role = role
        self._stop = stop

    def fileno(self) -> int:
        return self._connection.fileno()

    def logPrefix(self) -> str:
        return "requests"

    def connectionLost(self, reason: object) -> None:
        self._stop()

    def doRead(self) -> None:
        try:
            command, arguments = self._connection.recv()
        except (EOFError, OSError):
            command = _STOP  # the parent is gone
        if command == _STOP:
            self._stop()
            return
        answering = maybeDeferred(self._role.commands[command], *arguments)
        answering.addCallbacks(
            lambda answer: (True, answer), lambda failure: (False, _told(command, failure))
        )
        answering.addCallback(self._answer)

    def _answer(self, answer: tuple[bool, Any]) -> None:
        try:
            self._connection.send(answer)
        except OSError:
            self._stop()


def _told(command: str, failure: Failure) -> str:
    place = traceback.extract_tb(failure.getTracebackObject())[-1:]
    where = "".join(f" at {frame.filename}:{frame.lineno}" for frame in place)
    return f"{command}: {failure.value!r}{where}"


def _run(
    connection: Connection, make: Callable[..., Role], arguments: tuple[Any, ...], cpu: int | None
) -> None:
    # Ctrl-C goes to everyone at the terminal; the parent decides what follows from it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if cpu is not None:
        os.sched_setaffinity(0, {cpu})
    lift_file_limit()
    from twisted.internet import reactor

    loop: Any = reactor
    loop.seconds = time.monotonic  # as in lispmsrt.tap
    try:
        role = make(loop, *arguments)
    except ListenError as failure:
        connection.send((False, str(failure)))
        sys.exit(1)
    requests = _Requests(connection, role, lambda: _stop(loop, requests, role))
    loop.addReader(requests)
    connection.send((True, None))
    loop.run(installSignalHandlers=False)


def _stop(loop: Any, requests: _Requests, role: Role) -> None:
    if requests not in loop.getReaders():
        return  # it is stopping already
    loop.removeReader(requests)
    role.stop().addBoth(lambda _: loop.stop())
