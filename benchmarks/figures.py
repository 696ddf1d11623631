"""What is measured: rows with what is aimed at, values of each round, and what they come to."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from rich.table import Table

__all__ = ["Aim", "Figure", "Measured", "Row", "figures_of", "goals_table", "shown"]


@dataclass(frozen=True, slots=True)
class Aim:
    """What a figure is to be."""

    limit: float
    is_least: bool = False
    "whether more is better"
    of_echo: bool = False
    "whether the figure is the ratio to the echo of the same round"

    @property
    def sign(self) -> str:
        """How it is written."""
        return "≥" if self.is_least else "≤"


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table."""

    goal: int
    "0 for what belongs to none"
    name: str
    unit: str
    aim: Aim | None = None


class Measured(NamedTuple):
    """A value of one round."""

    row: Row
    value: float
    by_the_clock: float | None = None
    "of a rate: per second of real time instead of per second of the server's CPU"
    echo: float | None = None
    "datagrams that the echo beside it answered a second of CPU"
    details: Mapping[str, Any] = {}
    "what else was seen, for the file"


@dataclass(frozen=True, slots=True)
class Figure:
    """What the rounds of a row come to."""

    row: Row
    values: tuple[float, ...]
    clock: float | None
    ratio: float | None
    "to the echo"
    details: tuple[Mapping[str, Any], ...]

    @classmethod
    def of(cls, row: Row, measured: Sequence[Measured]) -> Figure:
        """Take the medians."""
        clock = [one.by_the_clock for one in measured if one.by_the_clock is not None]
        ratios = [one.value / one.echo for one in measured if one.echo is not None]
        return cls(
            row,
            tuple(one.value for one in measured),
            statistics.median(clock) if clock else None,
            statistics.median(ratios) if ratios else None,
            tuple(one.details for one in measured if one.details),
        )

    @property
    def median(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.values)

    @property
    def reached(self) -> float | None:
        """What compares with the aim."""
        aim = self.row.aim
        return self.ratio if aim is not None and aim.of_echo else self.median

    @property
    def is_met(self) -> bool | None:
        """Whether the aim is reached; None without an aim."""
        aim, reached = self.row.aim, self.reached
        if aim is None or reached is None:
            return None
        return reached >= aim.limit if aim.is_least else reached <= aim.limit

    def as_json(self) -> dict[str, Any]:
        """Return it for the file."""
        aim = self.row.aim
        return {
            "goal": self.row.goal,
            "name": self.row.name,
            "unit": self.row.unit,
            "aim": None if aim is None else f"{aim.sign} {_aim_text(self.row)}",
            "reached": _rounded(self.reached),
            "met": self.is_met,
            "median": _rounded(self.median),
            "lowest": _rounded(min(self.values)),
            "highest": _rounded(max(self.values)),
            "by the clock": _rounded(self.clock),
            "ratio to echo": _rounded(self.ratio),
            "rounds": len(self.values),
            "details": [dict(details) for details in self.details],
        }


def figures_of(measured: Iterable[Measured]) -> list[Figure]:
    """Return a figure for each row, in the order of appearance."""
    found: dict[Row, list[Measured]] = {}
    for one in measured:
        found.setdefault(one.row, []).append(one)
    return [Figure.of(row, values) for row, values in found.items()]


def goals_table(figures: Sequence[Figure], title: str) -> Table:
    """Return what was aimed at and what was reached."""
    table = Table(title=title)
    table.add_column("goal", justify="right")
    table.add_column("what")
    for heading in ("aimed at", "reached", "", "median", "lowest", "highest"):
        table.add_column(heading, justify="right")
    table.add_column("unit")
    table.add_column("by clock", justify="right")
    for figure in figures:
        row = figure.row
        table.add_row(
            str(row.goal or ""),
            row.name,
            "" if row.aim is None else f"{row.aim.sign} {_aim_text(row)}",
            _reached_text(figure),
            {None: "", True: "yes", False: "no"}[figure.is_met],
            *(shown(value) for value in (figure.median, min(figure.values), max(figure.values))),
            row.unit,
            "" if figure.clock is None else shown(figure.clock),
        )
    return table


def shown(value: float) -> str:
    """Return a number with three digits or more."""
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _aim_text(row: Row) -> str:
    assert row.aim is not None
    return f"{shown(row.aim.limit)} {'x echo' if row.aim.of_echo else row.unit}".rstrip()


def _reached_text(figure: Figure) -> str:
    if figure.ratio is not None:
        return f"{figure.ratio:.2f} x echo"
    if figure.reached is None:
        return ""
    return f"{shown(figure.reached)} {figure.row.unit}".rstrip()


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.5g}")
