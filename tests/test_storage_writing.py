"""Writing the state file: the thread that does it, and disks that do not."""

from __future__ import annotations

import os
import resource
import sqlite3
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from signal import SIG_IGN, SIGXFSZ, signal
from typing import Any

from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.storage.file import StateFile
from lispmsrt.storage.writing import Threaded
from tests.test_storage import StorageGround


class _Reactor:
    """Takes what a thread wants to be called."""

    def __init__(self) -> None:
        self.called: SimpleQueue[Any] = SimpleQueue()

    def callFromThread(self, function: Callable[..., object], *arguments: object) -> None:
        self.called.put((function, arguments))

    def turn(self) -> None:
        """Wait for a call, and do it."""
        function, arguments = self.called.get(timeout=10.0)
        function(*arguments)


def _raising(failure: Exception) -> Callable[[], None]:
    def job() -> None:
        raise failure

    return job


class ThreadTests(SynchronousTestCase):
    """The thread."""

    def test_whatever_a_job_raises_is_told(self) -> None:
        """And the next one is done."""
        reactor = _Reactor()
        thread = Threaded(reactor)
        told: list[Failure | None] = []
        failures = [sqlite3.OperationalError("full"), OverflowError("too large"), ValueError("odd")]
        for failure in failures:
            thread.do(_raising(failure), told.append)
        thread.do(lambda: None, told.append)
        for _ in range(4):
            reactor.turn()
        self.assertEqual([one and one.value for one in told], [*failures, None])
        thread.end()
        self.assertFalse(thread._thread.is_alive())


class BugTests(StorageGround):
    """Something is wrong in what is to be written."""

    def test_it_is_told_and_tried_again(self) -> None:
        """And nothing waits for it when the Map-Server stops."""
        server = self.remembering()
        etr = self.etr()
        self.network.run(10)
        memory = self.memory_of(server)
        saving = memory._saving
        assert saving is not None
        write = saving.file.write
        self.patch(saving.file, "write", lambda statements: _raising(TypeError("a bug"))())
        self.register(etr, "10.1.0.0/24")
        self.network.run(11)
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)
        self.assertEqual((memory.problem, memory.unwritten), ("a bug", 1))
        saving.file.write = write  # type: ignore[method-assign]
        self.network.run(6)
        self.assertEqual((memory.problem, memory.unwritten), ("", 0))
        saving.file.write = lambda statements: _raising(TypeError("again"))()  # type: ignore[method-assign]
        self.register(etr, "10.1.1.0/24")
        self.network.run(0.6)
        stopped = server.stopService()
        self.network.run(6)
        self.successResultOf(stopped)
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)
        self.services.remove(server)

    def test_nothing_is_half_written(self) -> None:
        """A value that SQLite does not take, behind others that it takes."""
        self.path.parent.mkdir(mode=0o700)
        file = StateFile(self.path, timestamp="")
        self.addCleanup(file.close)
        put = "INSERT INTO segment VALUES (?, 0, 0, x'', x'', x'', 0)"
        self.assertRaises(OverflowError, file.write, [(put, [(1,), (1 << 70,)])])
        self.assertEqual(file.read("SELECT number FROM segment"), [])
        file.write([(put, [(2,)])])
        self.assertEqual(file.read("SELECT number FROM segment"), [(2,)])


class DiskTests(SynchronousTestCase):
    """A disk that takes no more, as the kernel says it."""

    def test_a_file_that_may_not_grow(self) -> None:
        """All that was written before is there; and it goes on when there is room."""
        path = Path(self.mktemp()).absolute() / "map-server.state"
        file = StateFile(path, timestamp="")
        put = "INSERT INTO segment VALUES (?, 0, 0, zeroblob(9000), x'', x'', 0)"
        file.write([(put, [(1,)])])
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal(SIGXFSZ, SIG_IGN)
        try:
            room = os.stat(f"{path}-wal").st_size + 20_000
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
            with self.assertRaises(sqlite3.Error):
                for number in range(2, 100):
                    file.write([(put, [(number,)])])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            signal(SIGXFSZ, handler)
        written = [number for (number,) in file.read("SELECT number FROM segment")]
        self.assertIn(1, written)
        self.assertLess(len(written), 50)
        file.write([(put, [(1000,)])])
        file.close()
        file = StateFile(path, timestamp="")
        self.assertEqual(file.set_aside, "")
        again = [number for (number,) in file.read("SELECT number FROM segment")]
        self.assertEqual(again, [*written, 1000])
        file.close()
