"""``make bench-plot``: draw how Registrations, lookups and memory grow with the database, from the
figures of ``make bench``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Curve", "curves", "main"]

_FIGURES = Path("build/bench.json")
_PICTURE = Path("docs/images/performance-growth.png")

_WIDTH, _HEIGHT, _DOTS = 8.0, 9.0, 110
"""Inches, inches, dots an inch."""

_NAMES = {"new": "new Registrations", "again": "Registrations again", "lookups": "lookups"}
_COLOURS = {"new": "#0072b2", "again": "#56b4e9", "lookups": "#d55e00", "memory": "#009e73"}
"""Those of Okabe and Ito, which everybody can tell from one another."""


class Curve(NamedTuple):
    """One kind of figure by the number of mappings."""

    mappings: list[int]
    medians: list[float]
    lowest: list[float]
    highest: list[float]


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw the picture; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plot", description=__doc__)
    parser.add_argument("figures", type=Path, nargs="?", default=_FIGURES, help="(%(default)s)")
    parser.add_argument("picture", type=Path, nargs="?", default=_PICTURE, help="(%(default)s)")
    options = parser.parse_args(arguments)
    try:
        found = curves(json.loads(options.figures.read_text()))
    except (OSError, ValueError) as failure:
        print(f"bench-plot: {failure}", file=sys.stderr)
        return 1
    options.picture.parent.mkdir(parents=True, exist_ok=True)
    _draw(found, options.picture)
    print(options.picture)
    return 0


def curves(figures: dict[str, Any]) -> dict[str, Curve]:
    """Return the curves that were measured; ValueError where goal 9 was not."""
    # The same steps are with each figure of the goal; a round each.
    rounds = next(
        (
            [details["by mappings"] for details in figure["details"]]
            for figure in figures["figures"]
            if figure["goal"] == 9 and figure["details"]
        ),
        None,
    )
    if not rounds:
        raise ValueError("goal 9 was not measured")
    found = {}
    for name in ("new", "again", "lookups", "memory"):
        values = [[step[name] for step in steps] for steps in zip(*rounds, strict=True)]
        found[name] = Curve(
            [step["mappings"] for step in rounds[0]],
            [statistics.median(one) for one in values],
            [min(one) for one in values],
            [max(one) for one in values],
        )
    return found


def _draw(found: dict[str, Curve], picture: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        3, 1, sharex=True, figsize=(_WIDTH, _HEIGHT), layout="constrained"
    )
    registrations, lookups, memory = axes
    for name in ("new", "again"):
        _add(registrations, name, found[name])
    registrations.legend(frameon=False, loc="lower left")
    _finish(registrations, "Registrations over TCP", "a second of CPU")
    _add(lookups, "lookups", found["lookups"])
    _finish(lookups, "Lookups (Map-Request to Map-Reply)", "a second of CPU")
    _add(memory, "memory", found["memory"])
    _finish(memory, "Memory of a mapping, all indexes included", "octets")
    memory.set_xlabel("mappings registered")
    memory.set_xscale("log")
    memory.set_xticks(found["memory"].mappings, [f"{n:,}" for n in found["memory"].mappings])
    memory.minorticks_off()
    # White, not transparent: a dark page must not swallow the text.
    figure.savefig(picture, dpi=_DOTS, facecolor="white")
    pyplot.close(figure)


def _add(axes: Any, name: str, curve: Curve) -> None:
    colour = _COLOURS[name]
    label = _NAMES.get(name, name)
    axes.plot(curve.mappings, curve.medians, marker="o", color=colour, label=label)
    axes.fill_between(curve.mappings, curve.lowest, curve.highest, color=colour, alpha=0.15)


def _finish(axes: Any, title: str, unit: str) -> None:
    axes.set_title(title, loc="left", fontsize="medium", fontweight="bold")
    axes.set_ylabel(unit)
    # From zero: a slope must not look steeper than it is.
    axes.set_ylim(0, 1.1 * axes.get_ylim()[1])
    axes.yaxis.set_major_formatter(lambda value, _position: f"{value:,.0f}")
    axes.grid(axis="y", alpha=0.3)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


if __name__ == "__main__":
    sys.exit(main())
