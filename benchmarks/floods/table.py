"""The table of floods: for the terminal, for the file, and for the page."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.table import Table

from benchmarks.figures import shown
from benchmarks.floods.kinds import KINDS, Kind
from benchmarks.floods.measuring import TIMES, Ridden

__all__ = ["DISTURBED", "HALF", "HEADINGS", "figure", "flood_rows", "missed", "table"]

HALF = 0.5
"""The part of their rate that is to be left to established sessions."""

DISTURBED = 0.1
"""Share of its core that others may have while the clock still means something."""

HEADINGS = (
    "flood",
    "can be taken",
    "of its core",
    "offered",
    "Registrations a second",
    "is left",
    f"≥ {HALF:g}",
    "of the CPU",
    "sessions lost",
    "lookups answered",
    "after",
)


def figure(kind: str, rounds: Sequence[Ridden]) -> dict[str, Any]:
    """Return what the rounds of a flood come to, for the file: medians, and all sessions lost."""

    def median(of: Callable[[Ridden], float]) -> float:
        return float(f"{statistics.median(map(of, rounds)):.4g}")

    ratio, lost = median(lambda each: each.ratio), sum(each.lost for each in rounds)
    return {
        "kind": kind,
        "name": KINDS[kind].name,
        "unit": KINDS[kind].unit,
        "capacity": median(lambda each: each.capacity),
        "parts of the server's core": rounds[-1].parts,
        "offered": median(lambda each: each.offered.number / each.offered.seconds),
        "offered to capacity": median(lambda each: each.times),
        "bounded by TCP": KINDS[kind].is_bounded_by_tcp,
        "generator's share of its core": median(
            lambda each: each.offered.cpu / each.offered.seconds
        ),
        "registrations a second": median(lambda each: each.flooded.rate),
        "without the flood": median(lambda each: each.calm.rate),
        "server's share of its core without the flood": median(lambda each: each.calm.busy),
        "ratio": ratio,
        "ratios": [float(f"{each.ratio:.4g}") for each in rounds],
        "ratio of CPU": median(lambda each: each.cpu_ratio),
        "lost": lost,
        "met": _is_met(KINDS[kind], ratio, lost),
        "others' share of the server's core": median(lambda each: each.disturbed),
        "lookups answered": median(lambda each: each.answered),
        "seconds to the answer": median(lambda each: each.flooded.registered.lookups.median),
        "counters": rounds[-1].counters,
        "rounds": len(rounds),
    }


def _is_met(kind: Kind, ratio: float, lost: int) -> bool | None:
    """Return None where nothing is aimed at but that no session is lost, and none was."""
    if kind.has_aim or lost:
        return ratio >= HALF and not lost
    return None


def missed(figures: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the kinds of the floods that left too little, or cost a session."""
    return [each["kind"] for each in figures if each["met"] is False]


def flood_rows(figures: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Return the cells of each row, below :data:`HEADINGS`."""
    return [
        (
            each["name"],
            f"{shown(each['capacity'])} {each['unit']}",
            "all" if (parts := each["parts of the server's core"]) == 1 else f"1/{parts}",
            _offered(each),
            shown(each["registrations a second"]),
            _range(each),
            {True: "yes", False: "no", None: ""}[each["met"]],
            f"{each['ratio of CPU']:.2f}",
            str(each["lost"]),
            f"{each['lookups answered']:.0%}",
            f"{1000 * each['seconds to the answer']:.3g} ms" if each["lookups answered"] else "",
        )
        for each in figures
    ]


def table(figures: Sequence[Mapping[str, Any]], title: str) -> Table:
    """Return the table for the terminal."""
    made = Table(title=title)
    for heading in HEADINGS:
        made.add_column(heading, justify="left" if heading == "flood" else "right")
    for row in flood_rows(figures):
        made.add_row(*row)
    return made


def _offered(figure: Mapping[str, Any]) -> str:
    """Tell how much more was offered than could be taken: less than was meant where the load's core
    did not bring it about.
    """
    if figure["bounded by TCP"]:
        return "all that TCP takes"
    return f"{figure['offered to capacity']:.1f} of {TIMES:g} x"


def _range(figure: Mapping[str, Any]) -> str:
    if figure["rounds"] == 1:
        return f"{figure['ratio']:.2f}"
    return f"{figure['ratio']:.2f} ({min(figure['ratios']):.2f} to {max(figure['ratios']):.2f})"
