"""Blocks as text for pipes and files: aligned columns, no colour, and a million rows if need be."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice

from lispmsrt.cli.blocks import NOTHING, Block, Column, Facts, Line, Table, Text, plain

__all__ = ["PlainScreen", "lines_of"]

_ALIGNED_ROWS = 1000
"""Rows that say how wide columns are: those that follow are not waited for."""


class PlainScreen:
    """Writes lines."""

    height: int | None = None

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write

    def draw(self, blocks: Iterable[Block]) -> None:
        """Write the blocks, each as soon as it is there."""
        for block in blocks:
            for line in lines_of(block):
                self._write(f"{line}\n")

    @contextmanager
    def redrawing(self) -> Iterator[Callable[[Iterable[Block]], None]]:
        """Give what draws one picture below the other."""
        yield self.draw


def lines_of(block: Block) -> Iterator[str]:
    """Yield the lines of a block."""
    if isinstance(block, Line):
        yield f"{' ' * block.indent}{block.bullet}{plain(block.text)}".rstrip()
    elif isinstance(block, Facts):
        yield from _facts(block)
    else:
        yield from _table(block)


def _facts(facts: Facts) -> Iterator[str]:
    rows = [(f"{plain(label)}:", _text(text)) for label, text in facts.rows]
    width = max((len(label) for label, _said in rows), default=0) + 1
    for label, said in rows:
        yield f"{' ' * facts.indent}{label:<{width}}{said}"


def _table(table: Table) -> Iterator[str]:
    rows = (_texts(row) for row in table.rows)
    first = list(islice(rows, _ALIGNED_ROWS))
    headings = [[column.heading for column in table.columns]] if table.has_heading else []
    shown = [*headings, *first]
    widths = [
        max((len(row[number]) for row in shown), default=0) for number in range(len(table.columns))
    ]
    for row in chain(shown, rows):
        yield f"{' ' * table.indent}{_line(row, table.columns, widths)}"


def _texts(row: Sequence[Text]) -> list[str]:
    return [_text(text) for text in row]


def _text(text: Text) -> str:
    return plain(text) or (NOTHING if isinstance(text, str) else "")


def _line(row: Sequence[str], columns: Sequence[Column], widths: Sequence[int]) -> str:
    return "  ".join(
        text.rjust(width) if column.is_right else text.ljust(width)
        for text, column, width in zip(row, columns, widths, strict=True)
    ).rstrip()
