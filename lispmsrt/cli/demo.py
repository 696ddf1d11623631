"""Watch ETRs register over every transport, share and move an EID-prefix, and an ITR ask.

Everything runs on loopback addresses and free ports, in this process with a reactor of its own,
but for the ITR: that is ``lispmsrt lig`` in child processes. The exit code is 0 only if the
Map-Server holds in the end what the ETRs mean to register.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.selectreactor import SelectReactor
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer

from lispmsrt.cli.demo_compare import Comparison
from lispmsrt.cli.demo_display import Display, choose_display
from lispmsrt.cli.demo_scenario import Scenario
from lispmsrt.cli.demo_stage import StepError
from lispmsrt.cli.demo_transports import loopback_transports
from lispmsrt.cli.signals import handling_signals
from lispmsrt.clock import Alarm, MonotonicClock
from lispmsrt.services.listening import ListenError

__all__ = ["add_arguments", "conclude", "run"]

_WATCHER_PACE = 0.4
"""Seconds between steps for somebody who watches."""

_LOOK_INTERVAL = 0.05
_SHOWN_DIFFERENCES = 10

_OK, _FAILED, _SIGNALLED = 0, 1, 128


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare how it is shown."""
    parser.add_argument("--plain", action="store_true", help="plain lines on a terminal, too")
    parser.add_argument(
        "--pace",
        type=_seconds,
        metavar="SECONDS",
        help=f"pause between steps (default: {_WATCHER_PACE:g} on a terminal, else 0)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Play the demo; return 0 if it went as it should, 1 if not, 130 after Ctrl-C."""
    display, is_watched = choose_display(is_plain=arguments.plain)
    pace = arguments.pace
    if pace is None:
        pace = _WATCHER_PACE if is_watched else 0.0
    with TemporaryDirectory(prefix="lispmsrt-demo-") as directory:
        performance = _Performance(SelectReactor(), display, Path(directory), pace)
        display.open()
        try:
            return performance.run()
        finally:
            display.close()


def conclude(
    comparison: Comparison | None, problems: Sequence[str], say: Callable[[str], None]
) -> int:
    """Say how it ended; return the exit code. ``comparison`` is None when it was not reached."""
    for problem in problems:
        say(problem)
    if comparison is None:
        say("The demo failed.")
        return _FAILED
    differences = comparison.differences
    for difference in differences[:_SHOWN_DIFFERENCES]:
        say(difference)
    if len(differences) > _SHOWN_DIFFERENCES:
        say(f"... and {len(differences) - _SHOWN_DIFFERENCES} more")
    verdict = "the Map-Server holds what the ETRs mean to register"
    if differences:
        verdict = f"{len(differences):,} differ"
    say(f"{comparison.compared:,} EID-prefixes and records compared both ways: {verdict}.")
    return _FAILED if differences or problems else _OK


@implementer(ILogObserver)
class _Performance:
    """One run: reactor, signals, scenario, verdict."""

    def __init__(
        self,
        reactor: Any,
        display: Display,
        directory: Path,
        pace: float,
    ) -> None:
        self._reactor = reactor
        self._display = display
        self._clock: IReactorTime = MonotonicClock(reactor)
        self._began = self._clock.seconds()
        self._idle_readers = frozenset(reactor.getReaders())
        transports = loopback_transports(directory)
        self._scenario = Scenario(
            reactor, self._clock, display, transports, directory=directory, pace=pace
        )
        self._looking = Alarm(self._clock, self._look)
        self._performing: Deferred[None] = Deferred()
        self._problems: list[str] = []
        self._signal: int | None = None
        self._code = _FAILED

    def run(self) -> int:
        """Run the reactor until it is over; return the exit code."""
        globalLogPublisher.addObserver(self)
        try:
            with handling_signals(self._interrupt_soon):
                self._reactor.callWhenRunning(self._begin)
                # The reactor's own handlers would end in the exit code of success.
                self._reactor.run(installSignalHandlers=False)
        finally:
            # They would outlive us.
            self._scenario.end_children()
            globalLogPublisher.removeObserver(self)
        return self._code if self._signal is None else _SIGNALLED + self._signal

    def _begin(self) -> None:
        self._look()
        self._performing = Deferred.fromCoroutine(self._perform())
        self._performing.addErrback(self._fail)
        self._performing.addBoth(lambda _: self._reactor.stop())

    async def _perform(self) -> None:
        comparison = None
        try:
            comparison = await self._scenario.play()
        except (StepError, ListenError) as failure:
            self._problems.append(str(failure))
        except CancelledError:
            pass  # a signal: nothing is left to be said
        self._look()
        self._looking.set(None)
        await self._scenario.stop()
        if self._signal is None:
            self._check_leftovers()
            self._code = conclude(comparison, self._problems, self._say)
            self._say(f"Took {self._clock.seconds() - self._began:.1f} s.")

    def _check_leftovers(self) -> None:
        sockets = len(set(self._reactor.getReaders()) - self._idle_readers)
        timers = len(self._reactor.getDelayedCalls())
        text = f"All services stopped; left open: {sockets} sockets, {timers} timers."
        if sockets or timers:
            self._problems.append(text)
        else:
            self._say(text)

    def _fail(self, failure: Failure) -> None:
        """Something went wrong that nobody thought of."""
        self._code = _FAILED
        if self._signal is None:
            self._say(failure.getTraceback())

    def __call__(self, event: LogEvent) -> None:
        """Keep what a service logs as its own mistake: that is no success."""
        failure = event.get("log_failure")
        if failure is not None:
            self._problems.append(f"Logged: {failure.getErrorMessage()}")

    def _look(self) -> None:
        self._display.update(self._scenario.stage.status(), self._scenario.waiting())
        self._looking.set(self._clock.seconds() + _LOOK_INTERVAL)

    def _say(self, text: str) -> None:
        self._display.event(self._clock.seconds() - self._began, "demo", text)

    def _interrupt_soon(self, number: int) -> None:
        self._reactor.callFromThread(self._interrupt, number)

    def _interrupt(self, number: int) -> None:
        self._signal = number
        self._performing.cancel()


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds <= 60:
        raise argparse.ArgumentTypeError("a pause has 0 to 60 seconds")
    return seconds
