"""How the demo is shown: plain lines where they are piped, a live table with a progress bar on a
terminal.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

__all__ = [
    "Display",
    "EtrStatus",
    "LiveDisplay",
    "PlainDisplay",
    "Status",
    "Waiting",
    "choose_display",
]

_TIME_COLUMNS, _WHO_COLUMNS = 7, 10
_INDENT = " " * (_TIME_COLUMNS + 2 + _WHO_COLUMNS + 2)

_COLOURS = ("cyan", "magenta", "yellow", "blue")


@dataclass(frozen=True, slots=True)
class EtrStatus:
    """One ETR at one moment."""

    address: str
    transport: str
    is_up: bool
    up_after: float | None
    "seconds from the Map-Notify to the session; None before the first"
    registered: int
    "at the Map-Server"
    meant: int
    clock: float | None
    "seconds until the first registration ends unless confirmed; None where a session holds all"
    rate: float | None
    "Registrations a second, connecting included; None before they are acknowledged"
    acks: int


@dataclass(frozen=True, slots=True)
class Status:
    """Everything at one moment."""

    map_server: str
    etrs: tuple[EtrStatus, ...]
    total: int
    "registrations to be made in all"


@dataclass(frozen=True, slots=True)
class Waiting:
    """What is waited for longer than a watcher understands by himself."""

    step: str
    seconds: float
    "since it began"
    limit: float
    "seconds after which it is given up"


class Display(Protocol):
    """What the scenario shows itself on."""

    def open(self) -> None:
        """Begin."""

    def close(self) -> None:
        """End; leaves the terminal as it was."""

    def heading(self, text: str) -> None:
        """A step begins."""

    def event(self, at: float, who: str, text: str) -> None:
        """Something has happened, ``at`` seconds after the beginning."""

    def quote(self, lines: Sequence[str]) -> None:
        """This is what another program has printed."""

    def update(self, status: Status, waiting: Waiting | None = None) -> None:
        """This is how things stand, and what is waited for."""


class PlainDisplay:
    """Lines of text, without control characters."""

    def __init__(self, stream: TextIO) -> None:
        self._stream: TextIO | None = stream

    def open(self) -> None:
        """Nothing to be done."""

    def close(self) -> None:
        """Nothing to be done."""

    def heading(self, text: str) -> None:
        """Print a line between empty ones."""
        self._print(f"\n{text}")

    def event(self, at: float, who: str, text: str) -> None:
        """Print a line."""
        self._print(f"{at:{_TIME_COLUMNS}.3f}  {who:<{_WHO_COLUMNS}}  {text}")

    def quote(self, lines: Sequence[str]) -> None:
        """Print them under the texts of events."""
        for line in lines:
            self._print(f"{_INDENT}{line}".rstrip())

    def update(self, status: Status, waiting: Waiting | None = None) -> None:
        """Lines tell what has happened, not how things stand."""

    def _print(self, line: str) -> None:
        if self._stream is None:
            return
        try:
            print(line, file=self._stream, flush=True)
        except BrokenPipeError:
            # We are called from within protocols, which nothing may interrupt.
            self._stream = None


class LiveDisplay:
    """Events that scroll by above a table and a progress bar.

    Events wait for the next :meth:`update`: to draw at once would be part of what is measured.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(
            console=console,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
            vertical_overflow="crop",
        )
        self._colours: dict[str, str] = {}
        self._waiting: list[RenderableType] = []

    def open(self) -> None:
        """Take over the lower end of the terminal."""
        self._live.start()

    def close(self) -> None:
        """Leave what was shown last."""
        self._draw_waiting()
        self._live.stop()

    def heading(self, text: str) -> None:
        """Draw a line that stands out."""
        self._waiting.append(Text(f"\n{text}", style="bold"))

    def event(self, at: float, who: str, text: str) -> None:
        """Draw a line; each who has a colour."""
        colour = self._colours.setdefault(who, _COLOURS[len(self._colours) % len(_COLOURS)])
        row = Table.grid(padding=(0, 2, 0, 0))
        row.add_column(width=_TIME_COLUMNS, justify="right", style="dim")
        row.add_column(width=_WHO_COLUMNS, style=colour)
        row.add_column()
        row.add_row(f"{at:.3f}", who, Text(text))
        self._waiting.append(row)

    def quote(self, lines: Sequence[str]) -> None:
        """Draw them under the texts of events."""
        self._waiting.append(Padding(Text("\n".join(lines)), (0, 0, 0, len(_INDENT))))

    def update(self, status: Status, waiting: Waiting | None = None) -> None:
        """Draw what waits, table and bars."""
        self._draw_waiting()
        bars = [_bar(status)] if waiting is None else [_bar(status), _waiting_bar(waiting)]
        self._live.update(Group("", _table(status), *bars), refresh=True)

    def _draw_waiting(self) -> None:
        if self._waiting:
            self._console.print(*self._waiting, sep="\n")
            self._waiting.clear()


def choose_display(stream: TextIO = sys.stdout, *, is_plain: bool = False) -> tuple[Display, bool]:
    """Return a display that suits the stream, and whether somebody watches it live."""
    console = Console(file=stream, highlight=False)
    # Rich calls anything a terminal where FORCE_COLOR is set.
    if is_plain or not stream.isatty() or console.is_dumb_terminal:
        return PlainDisplay(stream), False
    return LiveDisplay(console), True


def _table(status: Status) -> Table:
    table = Table(title=status.map_server, title_justify="left", title_style="bold", box=None)
    for name in ("ETR", "transport", "session"):
        table.add_column(name, no_wrap=True)
    for name in ("up after", "registered", "per s", "clock"):
        table.add_column(name, justify="right", no_wrap=True)
    for etr in status.etrs:
        table.add_row(
            etr.address,
            etr.transport,
            Text("up", style="green") if etr.is_up else Text("down", style="red"),
            "-" if etr.up_after is None else f"{1000 * etr.up_after:.1f} ms",
            f"{etr.registered}/{etr.meant}",
            "-" if etr.rate is None else f"{etr.rate:,.0f}",
            "-" if etr.clock is None else f"{etr.clock:.1f} s",
        )
    return table


def _bar(status: Status) -> Table:
    done = min(status.total, sum(etr.acks for etr in status.etrs))
    row = Table.grid(padding=(0, 2, 0, 0))
    bar = ProgressBar(total=status.total, completed=done, width=40)
    row.add_row(" registered", bar, f"{done}/{status.total}")
    return row


def _waiting_bar(waiting: Waiting) -> Table:
    row = Table.grid(padding=(0, 2, 0, 0))
    bar = ProgressBar(total=waiting.limit, completed=waiting.seconds, width=40)
    text = f"{waiting.seconds:.1f} s of at most {waiting.limit:g}: {waiting.step}"
    row.add_row(" waiting   ", bar, Text(text, no_wrap=True, overflow="ellipsis"))
    return row
