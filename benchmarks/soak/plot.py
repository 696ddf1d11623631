"""Draw what ``make soak`` has seen: memory, open files, registrations and sessions by time."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["main"]

_WIDTH, _HEIGHT, _DOTS = 8.0, 8.0, 110
"""Inches, inches, dots an inch."""

_CURVES = (
    ("resident", "Resident memory", "MB", 1e6, "#009e73"),
    ("descriptors", "Open files", "", 1.0, "#0072b2"),
    ("sessions", "Sessions", "", 1.0, "#d55e00"),
    ("registrations", "Registrations", "", 1.0, "#56b4e9"),
)

_KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "samples": ("each second", {"lw": 0.8}),
    "rests": ("at rest", {"color": "black", "marker": "o", "ls": "", "ms": 4}),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw the picture; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak.plot", description=__doc__)
    parser.add_argument("seen", type=Path)
    parser.add_argument("picture", type=Path)
    options = parser.parse_args(arguments)
    try:
        found = json.loads(options.seen.read_text())
    except (OSError, ValueError) as failure:
        print(f"soak-plot: {failure}", file=sys.stderr)
        return 1
    options.picture.parent.mkdir(parents=True, exist_ok=True)
    _draw(found, options.picture)
    print(options.picture)
    return 0


def _draw(found: dict[str, Any], picture: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, all_axes = pyplot.subplots(
        len(_CURVES), 1, sharex=True, figsize=(_WIDTH, _HEIGHT), layout="constrained"
    )
    for axes, (name, title, unit, divisor, colour) in zip(all_axes, _CURVES, strict=True):
        for kind, (label, style) in _KINDS.items():
            axes.plot(
                [each["at"] / 60 for each in found[kind]],
                [each[name] / divisor for each in found[kind]],
                label=label,
                **{"color": colour, **style},
            )
        axes.set_title(title, loc="left", fontsize="medium", fontweight="bold")
        axes.set_ylabel(unit)
        # From zero: a slope must not look steeper than it is.
        axes.set_ylim(bottom=0)
        axes.grid(axis="y", alpha=0.3)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    all_axes[0].legend(frameon=False, loc="lower right", ncols=2)
    all_axes[-1].set_xlabel("minutes")
    figure.savefig(picture, dpi=_DOTS, facecolor="white")
    pyplot.close(figure)


if __name__ == "__main__":
    sys.exit(main())
