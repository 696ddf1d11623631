"""A Map-Server's memory that outlives the process: what is registered, and which nonces were seen.

Written behind: whoever registers does not wait for a disk. What was not written yet when the
process is killed comes back with its ETR's next registration.
"""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from lispmsrt.clock import Alarm
from lispmsrt.control.nonces import NonceMemory
from lispmsrt.mapping.database import EidTable
from lispmsrt.mapping.registrar import Registrar
from lispmsrt.mapping.restoring import Restoring
from lispmsrt.mapping.verdicts import Change
from lispmsrt.storage.file import InUseError, StateFile, is_damage
from lispmsrt.storage.loading import Loading
from lispmsrt.storage.saving import Saving
from lispmsrt.storage.seconds import Moment, ReadsMoment, Seconds, this_moment
from lispmsrt.storage.unwritten import Unwritten
from lispmsrt.storage.writing import Writes

__all__ = ["MAX_UNWRITTEN", "Memory"]

_AT_REST = 0.5
"""Seconds between two looks at what has changed, where there is little."""

_AT_WORK = 0.05
"""The same where something is left to be written."""

_BUSY = 0.5
"""The share of a core that the reactor needs for others, from which on they come first."""

_PORTION = 5_000
"""EID-prefixes that are written at a time: some 8 ms of the reactor's."""

_PORTION_WHEN_BUSY = 500

MAX_UNWRITTEN = 5_000_000
"""Changes that wait to be written, for a disk that takes none and an ETR that registers and
withdraws all day: some 500 MB. With more, they are forgotten, and in time all is written anew.
"""

_RETRY = 5.0
"""Seconds after which a disk that took nothing is tried again."""


class Memory:
    """Keep what a Map-Server knows in a file; give it back when the Map-Server starts."""

    _log = Logger()

    def __init__(
        self,
        path: Path,
        registrar: Registrar,
        nonces: NonceMemory,
        *,
        timeout: float,
        clock: IReactorTime,
        writer: Callable[[], Writes],
        moment: ReadsMoment = this_moment,
        cpu_seconds: Callable[[], float] = time.thread_time,
    ) -> None:
        """``timeout``: seconds that a registration lasts without its ETR being heard.
        ``cpu_seconds`` returns what the reactor has used of a core.
        """
        self.path = path
        self.restoring = Restoring(registrar, timeout)
        self.problem = ""
        "why nothing is kept, or not all of it; empty where all is well"
        self._counters: Counter[str] = Counter()
        self._registrar = registrar
        self._nonces = nonces
        self._timeout = timeout
        self._clock = clock
        self._writer = writer
        self._moment = moment
        self._saving: Saving | None = None
        self._hears: Unwritten | None = None
        self._loading: Loading | None = None
        self._alarm = Alarm(clock, self._turn)
        self._cpu_seconds = cpu_seconds
        self._ended_at = (0.0, 0.0)
        "the latest turn, by clock and by what it had used of a core"
        self._retry_at = 0.0
        self._stopped: Deferred[None] | None = None

    @property
    def counters(self) -> Counter[str]:
        """What was restored, and what was not; what was written."""
        return self._counters + self.restoring.counters

    @property
    def unwritten(self) -> int:
        """How many changes are not written yet."""
        return len(self._saving.unwritten) if self._saving is not None else 0

    @property
    def is_partial(self) -> bool:
        """Whether something is left to be restored."""
        return self._loading is not None

    # Life

    def start(self) -> None:
        """Open the file; what is in it is restored from then on. Never fails: it goes on without,
        and says so.
        """
        try:
            try:
                self._open()
            except sqlite3.DatabaseError as failure:
                if not is_damage(failure):
                    raise
                self._open(distrusted=str(failure))
        except (InUseError, OSError, sqlite3.Error) as failure:
            self.problem = str(failure)
            self._log.error(
                "nothing will outlive this process, {path} can't be used: {reason}",
                path=str(self.path),
                reason=failure,
            )
            return
        self._set_alarm(0.0)

    def _open(self, distrusted: str = "") -> None:
        timestamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        file = StateFile(self.path, timestamp=timestamp, distrusted=distrusted)
        if file.set_aside:
            self._was_set_aside(file.set_aside)
        try:
            self._begin(file)
        except BaseException:
            file.close()
            raise

    def _was_set_aside(self, reason: str) -> None:
        self._counters["files set aside"] += 1
        self._log.error(
            "{path} was set aside, and nothing is known of before: {reason}",
            path=str(self.path),
            reason=reason,
        )

    def _begin(self, file: StateFile) -> None:
        now = self._clock.seconds()
        moment = self._moment()
        seconds = Seconds(now, moment, _last_moment(file))
        saving = Saving(file, self._registrar, self._nonces, self._timeout, seconds)
        saving.begin(now, moment)
        self._loading = Loading(
            file, self.restoring, self._registrar, saving, seconds, self._nonces
        )
        self._nonces.recall_by(self._recall_nonces)
        self._saving, self._hears = saving, saving.unwritten
        self._thread = self._writer()

    def stop(self) -> Deferred[None]:
        """Write what is left; fires when the file is closed. What changes from now on is not
        kept.
        """
        self._alarm.set(None)
        saving = self._saving
        if saving is None or self._stopped is not None:
            return self._stopped or succeed(None)
        self._stopped = Deferred()
        self._hears = None
        saving.end(self._clock.seconds())
        if not saving.is_writing:
            self._write_rest()
        return self._stopped

    def _write_rest(self) -> None:
        assert self._saving is not None and self._stopped is not None
        saving = self._saving
        if saving.has_more and not self.problem:
            self._write(_PORTION)
            return
        self._saving = None
        self._loaded()
        self._thread.end()
        saving.file.close()
        self._stopped.callback(None)

    # In the hot path

    def changed(self, changes: Sequence[Change]) -> None:
        """Take in changes of the mapping database."""
        if self._hears is not None:
            self._hears.changed(changes)

    # While it is restored

    def recall(self, table: EidTable, key: int) -> None:
        """Restore at once whatever covers a prefix, if that was not done yet."""
        self._read(lambda loading: loading.recall(table, key, self._clock.seconds()))

    def _recall_nonces(self, who: Hashable) -> None:
        self._read(lambda loading: loading.recall_nonces(who))  # type: ignore[arg-type]

    def _read(self, restore: Callable[[Loading], bool | None]) -> bool | None:
        """Have something restored, while not all is."""
        if self._loading is None:
            return None
        # What comes from the file is no news to it.
        hears, self._hears = self._hears, None
        try:
            return restore(self._loading)
        except sqlite3.Error as failure:
            self._end_loading(failure)
            return None
        finally:
            self._hears = hears

    # Turn by turn

    def _set_alarm(self, delay: float) -> None:
        now = self._clock.seconds()
        self._ended_at = now, self._cpu_seconds()
        self._alarm.set(now + delay)

    def _is_busy(self, now: float) -> bool:
        """Whether others needed much of the time since the latest turn."""
        at, used = self._ended_at
        return self._cpu_seconds() - used > _BUSY * (now - at)

    def _turn(self) -> None:
        now = self._clock.seconds()
        is_busy = self._is_busy(now)
        saving = self._saving
        assert saving is not None
        if self._loading is not None:
            self._load(now)
        if len(saving.unwritten) > MAX_UNWRITTEN:
            self._counters["too many changes at once"] += 1
            saving.begin_again()
        if not saving.is_writing and now >= self._retry_at:
            saving.look(now, is_partial=self.is_partial)
            if saving.is_due(now):
                self._write(_PORTION_WHEN_BUSY if is_busy or self.is_partial else _PORTION)
        if self._loading is not None:
            self._set_alarm(0.0)
        else:
            self._set_alarm(_AT_WORK if len(saving.unwritten) else _AT_REST)

    def _load(self, now: float) -> None:
        is_more = self._read(lambda loading: loading.load(now))
        if is_more or self._loading is None:
            return
        self._loaded()
        counters = self.counters
        if counters["restored"]:
            self._log.info(
                "restored {number} registrations from {path}",
                number=counters["restored"],
                path=str(self.path),
            )

    def _loaded(self) -> None:
        self._loading = None
        self._nonces.recall_by(None)

    def _end_loading(self, failure: sqlite3.Error) -> None:
        """Go on with what could be read."""
        self._loaded()
        self._counters["reads failed"] += 1
        self._log.error(
            "not all of {path} could be restored: {reason}", path=str(self.path), reason=failure
        )

    def _write(self, most: int) -> None:
        saving, now = self._saving, self._clock.seconds()
        assert saving is not None
        names = saving.take(most)
        self._read(lambda loading: loading.settle(names, now))
        self._thread.do(saving.job(names, now, self._moment()), self._written)

    def _written(self, failure: Failure | None) -> None:
        assert self._saving is not None
        self._saving.done(failure is None)
        if failure is None:
            self._counters["writes"] += 1
            if self.problem:
                self._log.info("{path} is written again", path=str(self.path))
            self.problem = ""
        else:
            self._failed(failure)
        if self._stopped is not None:
            # Not from inside of it: where there is no thread, this is the turn that wrote.
            self._clock.callLater(0.0, self._write_rest)

    def _failed(self, failure: Failure) -> None:
        self._counters["writes failed"] += 1
        self._retry_at = self._clock.seconds() + _RETRY
        if not self.problem and failure.check(sqlite3.Error) is None:
            self._log.failure("while {path} was written", failure, path=str(self.path))
        elif not self.problem:
            self._log.error(
                "{path} can't be written, what changes now will not outlive this process: {reason}",
                path=str(self.path),
                reason=failure.value,
            )
        self.problem = failure.getErrorMessage()


def _last_moment(file: StateFile) -> tuple[float, Moment] | None:
    """Return when the file was written last."""
    rows = file.read("SELECT stamp, wall, since_boot, boot FROM moment WHERE name = 'written'")
    for stamp, wall, since_boot, boot in rows:
        if isinstance(stamp, float) and isinstance(wall, float) and isinstance(since_boot, float):
            return stamp, Moment(wall, since_boot, str(boot))
    return None
