"""What a view is made of: lines, facts and tables. Knows nothing of terminals."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["NOTHING", "Block", "Cell", "Column", "Facts", "Line", "Table", "Text", "Tone", "plain"]

NOTHING = "--"
"""An empty text in a table: no column is missing, for those who cut lines at spaces. An empty Cell
stays empty.
"""


class Tone(enum.Enum):
    """What a text says of the state of things: colour, where there is colour."""

    PLAIN = ""
    GOOD = "green"
    WARNING = "yellow"
    BAD = "red"
    FAINT = "dim"
    HEADING = "bold"


class Cell(NamedTuple):
    """A text with a tone."""

    text: str
    tone: Tone


Text = str | Cell


@dataclass(frozen=True, slots=True)
class Column:
    """One column."""

    heading: str
    is_right: bool = False
    "numbers, and what else is compared by its end"
    spare: int = 0
    "which columns a narrow terminal does without: the greatest first, 0 never"
    wraps: bool = False
    "whether it is told to the end, over several lines"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of text, perhaps empty."""

    text: str = ""
    tone: Tone = Tone.PLAIN
    indent: int = 0
    bullet: str = ""
    "stands before the text, and what is left of it on further lines stands below the text"


@dataclass(frozen=True, slots=True)
class Facts:
    """Labels, and what there is to say to each."""

    rows: Sequence[tuple[str, Text]]
    indent: int = 0


@dataclass(frozen=True, slots=True)
class Table:
    """Columns and rows."""

    columns: Sequence[Column]
    rows: Iterable[Sequence[Text]]
    "read once, while it is drawn"
    indent: int = 0
    has_heading: bool = True


Block = Line | Facts | Table


def plain(text: Text) -> str:
    """Return what a cell says; a peer's name may hold what a terminal would obey."""
    said = text.text if isinstance(text, Cell) else text
    if said.isprintable():
        return said
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in said)
