"""The end of a Map-Server's sessions: closed in portions, so that their ETRs return spread, and
reset where that takes too long.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from lispmsrt.clock import Alarm
from lispmsrt.protocols import SessionProtocol
from lispmsrt.services.session_book import SessionBook
from lispmsrt.session.base import CloseReason

__all__ = ["PORTION", "Draining"]

PORTION = 32
"""Sessions that are closed in one turn of the reactor: some 5 ms. What asks for mappings is
answered between two turns.
"""

_GRACE = 1.0
"""Seconds after which a connection that was reset counts as gone, whatever its transport says."""


class Draining:
    """Close all sessions of a Map-Server, whenever it stops."""

    _log = Logger()

    def __init__(self, book: SessionBook, clock: IReactorTime, timeout: float) -> None:
        """``timeout``: seconds after which what is left is reset."""
        self._book = book
        self._clock = clock
        self._timeout = timeout
        self._turn = Alarm(clock, self._close_some)
        self._too_late = Alarm(clock, self._reset_some)
        self._waiting: list[SessionProtocol] = []
        "sessions that are still to be closed, the next one last"
        self._asked: list[Deferred[None]] = []
        "who waits for the end"
        self._began = 0.0
        self._all = 0
        self._unclosed = 0

    def begin(self) -> Deferred[None]:
        """Close every session. From now on they take nothing more: what is not acknowledged now
        their ETRs register elsewhere. Fires when all are gone.
        """
        protocols = list(self._book.protocols)
        if not protocols:
            return succeed(None)
        done: Deferred[None] = Deferred()
        self._asked.append(done)
        if len(self._asked) == 1:
            self._begin(protocols)
        return done

    def _begin(self, protocols: list[SessionProtocol]) -> None:
        self._began = self._clock.seconds()
        self._all, self._unclosed = len(protocols), 0
        self._log.info("stopping: {sessions} sessions to close", sessions=self._all)
        for protocol in protocols:
            if protocol.session is not None:
                protocol.session.take_no_more()
        # Those over QUIC first: all of them share a port, which waits for 2 s before it ends them.
        texts = self._book.protocols
        self._waiting = sorted(reversed(protocols), key=lambda each: texts[each].startswith("quic"))
        self._too_late.set(self._began + self._timeout)
        self._close_some()

    def closed(self) -> None:
        """A connection is gone: look whether it was the last one."""
        if self._asked and not self._book.protocols:
            self._end()

    def _close_some(self) -> None:
        now = self._clock.seconds()
        for _number in range(min(PORTION, len(self._waiting))):
            session = self._waiting.pop().session
            if session is not None:
                session.close(CloseReason.SHUTDOWN, now)
        if self._waiting:
            self._turn.set(now)

    def _reset_some(self) -> None:
        """The time is over: portion by portion, too."""
        now = self._clock.seconds()
        self._turn.set(None)
        if not self._unclosed:
            self._unclosed = len(self._book.protocols)
            self._waiting = list(self._book.protocols)
        if not self._waiting:
            self._end()
            return
        for _number in range(min(PORTION, len(self._waiting))):
            self._waiting.pop().reset()
        # connectionLost follows in a later turn of the reactor.
        self._too_late.set(now if self._waiting else now + _GRACE)

    def _end(self) -> None:
        self._turn.set(None)
        self._too_late.set(None)
        self._log.info(
            "closed {closed} sessions in {seconds} s; {reset} more were not closed in time, and"
            " were reset",
            closed=self._all - self._unclosed,
            seconds=round(self._clock.seconds() - self._began, 3),
            reset=self._unclosed,
        )
        asked, self._asked = self._asked, []
        for done in asked:
            done.callback(None)
