"""A progress bar on a terminal for what takes longer than a second, and nothing for the rest."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

from twisted.internet.interfaces import IReactorTime

from lispmsrt.clock import Alarm

__all__ = ["LateBar"]

_PATIENCE = 1.0
"""Seconds for which nobody needs to be told anything."""

_INTERVAL = 0.1
"""Seconds between two drawings: there may be thousands of steps in between."""


class LateBar:
    """How much of something is done. It is drawn on standard error; what is said meanwhile scrolls
    by above it.
    """

    def __init__(self, clock: IReactorTime, what: str, total: int, *, console: Any = None) -> None:
        """Without a ``console`` of rich it is shown where standard error is a terminal."""
        self.done = 0
        self._clock = clock
        self._what = what
        self._total = total
        self._console = console
        self._progress: Any = None
        self._task: Any = None
        self._said: list[str] = []
        self._alarm = Alarm(clock, self._draw)
        if console is not None or sys.stderr.isatty():
            self._alarm.set(clock.seconds() + _PATIENCE)

    def advance(self) -> None:
        """One more is done."""
        self.done += 1

    def say(self, text: str) -> None:
        """Print a line on standard output."""
        if self._progress is None or not sys.stdout.isatty():
            # Whoever reads a pipe wants to know at once.
            print(text, flush=True)
        else:
            # The bar moves for each print: thousands of lines would take seconds.
            self._said.append(text)

    def warn(self, text: str) -> None:
        """Print a line on standard error."""
        if self._progress is None:
            print(text, file=sys.stderr)
        else:
            self._said.append(text)

    def close(self) -> None:
        """Take it away."""
        self._alarm.set(None)
        if self._progress is not None:
            self._print_said()
            self._progress.stop()
            self._progress = None

    def _print_said(self) -> None:
        if self._said:
            text = "\n".join(self._said)
            self._said.clear()
            self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _draw(self) -> None:
        if self._progress is None:
            self._progress = self._open()
            self._task = self._progress.add_task(self._what, total=self._total)
            self._progress.start()
        self._print_said()
        self._progress.update(self._task, completed=self.done)
        self._progress.refresh()
        self._alarm.set(self._clock.seconds() + _INTERVAL)

    def _open(self) -> Any:
        # Imported now: it takes longer than most of what is asked for.
        progress = import_module("rich.progress")
        console = self._console or import_module("rich.console").Console(stderr=True)
        columns = (*progress.Progress.get_default_columns(), progress.MofNCompleteColumn())
        return progress.Progress(
            *columns,
            console=console,
            auto_refresh=False,
            transient=True,
            get_time=self._clock.seconds,
            redirect_stdout=False,
            redirect_stderr=False,
        )
