"""Where files are written: a thread of its own, or at once where there are no threads."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import execute
from twisted.internet.interfaces import IReactorThreads
from twisted.python.failure import Failure

__all__ = ["Done", "InTurn", "Threaded", "Writes", "cpu_seconds_of", "writer_for"]

Done = Callable[[Failure | None], None]
"""Hears that a job has ended, and why it failed if it did: by sqlite3.Error or a bug."""


class Writes(Protocol):
    """Does one job after the other."""

    def do(self, job: Callable[[], None], done: Done) -> None:
        """Have a job done, and whoever asked hear of it, however it ends."""

    def end(self) -> None:
        """Take no more jobs."""


class InTurn:
    """Does everything at once, in the turn of who asks."""

    def do(self, job: Callable[[], None], done: Done) -> None:
        """Do a job."""
        done(_outcome(job))

    def end(self) -> None:
        """There is nothing to end."""


class Threaded:
    """Does everything in one thread; who asked hears of it in the reactor's."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._jobs: queue.SimpleQueue[tuple[Callable[[], None], Done] | None] = queue.SimpleQueue()
        # No daemon that hangs keeps the process from ending: what it writes is whole or not there.
        self._thread = threading.Thread(target=self._run, name="lispmsrt storage", daemon=True)
        self._thread.start()

    def do(self, job: Callable[[], None], done: Done) -> None:
        """Have a job done."""
        self._jobs.put((job, done))

    def end(self) -> None:
        """End the thread after the jobs that wait."""
        self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (asked := self._jobs.get()) is not None:
            job, done = asked
            self._reactor.callFromThread(done, _outcome(job))


def _outcome(job: Callable[[], None]) -> Failure | None:
    # Whatever it raises: a thread that ended by it would leave everybody waiting.
    outcomes: list[Failure | None] = []
    execute(job).addBoth(outcomes.append)
    return outcomes[0]


def writer_for(reactor: Any) -> Writes:
    """Return what suits a reactor."""
    return Threaded(reactor) if IReactorThreads.providedBy(reactor) else InTurn()


def cpu_seconds_of(reactor: Any) -> Callable[[], float]:
    """Return what tells how much of a core the reactor has used; one in memory uses nothing, so
    that whatever happens there happens again.
    """
    return time.thread_time if IReactorThreads.providedBy(reactor) else lambda: 0.0
