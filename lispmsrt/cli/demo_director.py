"""How the demo tells what happens, paces its steps and gives up on one that does not happen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, FirstError, TimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from lispmsrt.cli.demo_display import Display, Waiting
from lispmsrt.cli.demo_stage import StepError

__all__ = ["Director", "milliseconds"]

STEP_TIMEOUT = 10.0
"""Seconds that a step may take: the watchdog's patience."""

_LOOK_INTERVAL = 0.01

_PATIENCE = 1.0
"""Seconds for which a watcher needs no word of what is waited for."""


class Director:
    """Headings and events with their times; waiting, but not for ever."""

    def __init__(self, clock: IReactorTime, display: Display, pace: float) -> None:
        self._clock = clock
        self._display = display
        self._pace = pace
        self._began = clock.seconds()
        self._steps = 0
        self._step = ""
        self._wait: tuple[float, float] | None = None
        "when it began, and how long it may take"

    def step(self, text: str) -> None:
        """A step begins."""
        self._steps += 1
        self._step = f"Step {self._steps}"
        self._display.heading(f"{self._step}. {text}")

    def waiting(self) -> Waiting | None:
        """Return what is waited for; None where that is nothing yet to speak of."""
        if self._wait is None:
            return None
        began, limit = self._wait
        seconds = self._clock.seconds() - began
        return Waiting(self._step, seconds, limit) if seconds >= _PATIENCE else None

    def event(self, who: str, text: str) -> None:
        """Something has happened."""
        self._display.event(self._clock.seconds() - self._began, who, text)

    def quote(self, text: str) -> None:
        """Show what another program has printed."""
        self._display.quote(text.splitlines())

    def stopwatch(self) -> Callable[[], float]:
        """Return what tells the seconds since now."""
        began = self._clock.seconds()
        return lambda: self._clock.seconds() - began

    async def pause(self) -> None:
        """Let somebody who watches read."""
        await deferLater(self._clock, self._pace)

    async def time(self, awaited: Deferred[Any], otherwise: str) -> str:
        """Wait, and return how long it took."""
        elapsed = self.stopwatch()
        await self.within(awaited, otherwise)
        return milliseconds(elapsed())

    async def within(self, awaited: Deferred[Any], otherwise: str) -> None:
        """Wait; StepError begins with ``otherwise`` when that takes too long or fails."""
        late = f"{otherwise} within {STEP_TIMEOUT:g} s."
        try:
            with self._waiting(STEP_TIMEOUT):
                await awaited.addTimeout(STEP_TIMEOUT, self._clock)
        except TimeoutError:
            raise StepError(late) from None
        except FirstError as failure:
            # One of many: the timeout cancels each of them.
            why = failure.subFailure
            text = late if why.check(CancelledError) else f"{otherwise}: {why.getErrorMessage()}."
            raise StepError(text) from None

    async def until(
        self, condition: Callable[[], bool], otherwise: str, timeout: float | None = None
    ) -> None:
        """Wait for a condition that nobody announces; ``timeout`` in place of the step's own."""
        timeout = STEP_TIMEOUT if timeout is None else timeout
        deadline = self._clock.seconds() + timeout
        with self._waiting(timeout):
            while not condition():
                if self._clock.seconds() > deadline:
                    raise StepError(f"{otherwise} within {timeout:g} s.")
                await deferLater(self._clock, _LOOK_INTERVAL)

    @contextmanager
    def _waiting(self, limit: float) -> Iterator[None]:
        self._wait = self._clock.seconds(), limit
        try:
            yield
        finally:
            self._wait = None


def milliseconds(seconds: float) -> str:
    """Return seconds as text."""
    return f"{1000 * seconds:.1f} ms"
