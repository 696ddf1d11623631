"""Blocks on a terminal: colour, and columns that give way where it is narrow."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text as Styled

from lispmsrt.cli.blocks import NOTHING, Block, Cell, Facts, Line, Table, Text, Tone, plain

__all__ = ["RichScreen"]

_GAP = 2
"""Between columns."""

_PATIENCE = 1.0
"""Seconds after which rows that are still coming in are counted aloud."""

_ENOUGH = 24
"""Cells that are left of a long text, before whole columns give way."""


class RichScreen:
    """Draws on a terminal."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False, file=sys.stdout)

    @property
    def height(self) -> int | None:
        """Return the lines of the terminal."""
        return self.console.height

    def draw(self, blocks: Iterable[Block]) -> None:
        """Print the blocks, each as soon as it is there."""
        for block in blocks:
            self.console.print(self._renderable(block))

    @contextmanager
    def redrawing(self) -> Iterator[Callable[[Iterable[Block]], None]]:
        """Give what draws one picture over the other; the last one stays."""
        with Live(console=self.console, auto_refresh=False) as live:

            def redraw(blocks: Iterable[Block]) -> None:
                picture = Group(*[self._renderable(block) for block in blocks])
                live.update(picture, refresh=True)

            yield redraw

    def _renderable(self, block: Block) -> RenderableType:
        if isinstance(block, Line):
            return _line(block)
        if isinstance(block, Facts):
            return _facts(block)
        return self._table(block)

    def _table(self, table: Table) -> RenderableType:
        rows = list(self._collected(table.rows))
        room = self.console.width - table.indent
        widths = _widths(table, rows, room)
        grid = Grid(
            box=None,
            pad_edge=False,
            padding=(0, _GAP, 0, 0),
            collapse_padding=True,
            show_header=table.has_heading,
            header_style=Tone.HEADING.value,
        )
        for number, width in widths.items():
            column = table.columns[number]
            grid.add_column(
                column.heading,
                justify="right" if column.is_right else "left",
                no_wrap=not column.wraps,
                overflow="fold" if column.wraps else "ellipsis",
                width=width,
            )
        for row in rows:
            grid.add_row(*[_styled(row[number]) for number in widths])
        return Padding(grid, (0, 0, 0, table.indent))

    def _collected(self, rows: Iterable[Sequence[Text]]) -> Iterator[Sequence[Text]]:
        """Yield rows; whoever has to wait is told how far it is."""
        began, status = time.monotonic(), None
        with ExitStack() as stack:
            for count, row in enumerate(rows, 1):
                if count % 100 == 0 and time.monotonic() - began > _PATIENCE:
                    if status is None:
                        status = stack.enter_context(Console(stderr=True).status(""))
                    status.update(f"{count} rows so far")
                yield row


def _line(line: Line) -> RenderableType:
    text = _styled(Cell(line.text, line.tone))
    if not line.bullet:
        return Padding(text, (0, 0, 0, line.indent))
    grid = Grid.grid()
    grid.add_column(no_wrap=True)
    grid.add_column()
    grid.add_row(line.bullet, text)
    return Padding(grid, (0, 0, 0, line.indent))


def _facts(facts: Facts) -> RenderableType:
    grid = Grid.grid(padding=(0, _GAP, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for label, text in facts.rows:
        grid.add_row(Styled(f"{plain(label)}:"), _styled(text))
    return Padding(grid, (0, 0, 0, facts.indent))


def _widths(table: Table, rows: Sequence[Sequence[Text]], room: int) -> dict[int, int]:
    """Return the columns that there is room for, and their widths."""
    widths = {}
    for number, column in enumerate(table.columns):
        longest = max((cell_len(plain(row[number]) or NOTHING) for row in rows), default=0)
        widths[number] = max(longest, len(column.heading) if table.has_heading else 0)
    while _needed(min(width, _ENOUGH) for width in widths.values()) > room:
        spare = max(widths, key=lambda number: table.columns[number].spare)
        if not table.columns[spare].spare:
            break
        del widths[spare]
    # The widest gives way first: a short column that is cut says nothing.
    while (excess := _needed(widths.values()) - room) > 0:
        widest = max(widths, key=lambda number: widths[number])
        others = [width for number, width in widths.items() if number != widest]
        least = max(others, default=1)
        widths[widest] = max(min(least, widths[widest] - 1), widths[widest] - excess, 1)
        if widths[widest] == 1:
            break
    return widths


def _needed(widths: Iterable[int]) -> int:
    return sum(width + _GAP for width in widths) - _GAP


def _styled(text: Text) -> Styled:
    tone = text.tone if isinstance(text, Cell) else Tone.PLAIN
    said = plain(text)
    if not said and not isinstance(text, Cell):
        return Styled(NOTHING, style=Tone.FAINT.value)
    return Styled(said, style=tone.value)
