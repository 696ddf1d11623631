"""Run one coroutine on a reactor, until it ends; a signal cancels it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from lispmsrt.cli.signals import handling_signals

__all__ = ["run_once"]

_SIGNALLED = 128


def run_once(reactor: Any, main: Callable[[], Coroutine[Any, Any, int]]) -> int:
    """Run the reactor until the coroutine has returned an exit code, and return that.

    SIGINT and SIGTERM cancel what it waits for. Where it lets that through, the code is 128 and the
    signal's number.
    """
    run = _Run(reactor)
    with handling_signals(run.interrupt_soon):
        reactor.callWhenRunning(run.begin, main)
        # The reactor's own handlers would end in the exit code of success.
        reactor.run(installSignalHandlers=False)
    if run.failure is not None:
        run.failure.raiseException()
    return run.code


class _Run:
    def __init__(self, reactor: Any) -> None:
        self.code = 0
        self.failure: Failure | None = None
        self._reactor = reactor
        self._signal = 0
        self._running: Deferred[int] = Deferred()

    def begin(self, main: Callable[[], Coroutine[Any, Any, int]]) -> None:
        self._running = Deferred.fromCoroutine(main())
        self._running.addCallbacks(self._end, self._fail)

    def interrupt_soon(self, number: int) -> None:
        """From a signal handler, between any two instructions."""
        self._reactor.callFromThread(self._interrupt, number)

    def _interrupt(self, number: int) -> None:
        self._signal = number
        self._running.cancel()

    def _end(self, code: int) -> None:
        self.code = code
        self._reactor.stop()

    def _fail(self, failure: Failure) -> None:
        if failure.check(CancelledError) and self._signal:
            self.code = _SIGNALLED + self._signal
        else:
            self.failure = failure
        self._reactor.stop()
