"""``python -m benchmarks.page build/bench.json docs/performance.rst``: put the figures of ``make
bench`` into the page; those of ``make bench-floods`` are in build/floods.json, and go into
docs/reliability.rst.

Rewrites what stands between the comments ``.. NAME begin`` and ``.. NAME end``, and nothing else.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.figures import shown
from benchmarks.floods.table import HEADINGS, flood_rows
from benchmarks.scale import scale_lines

__all__ = ["flood_lines", "goals_lines", "main", "replaced", "table_lines"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Rewrite the page; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.page", description=__doc__)
    parser.add_argument("figures", type=Path)
    parser.add_argument("page", type=Path)
    options = parser.parse_args(arguments)
    try:
        found = json.loads(options.figures.read_text())
        text = options.page.read_text()
        if "floods" in found:
            text = replaced(text, "floods", flood_lines(found))
        else:
            text = replaced(text, "figures", [*_machine_lines(found), "", *_tables(found)])
            text = replaced(text, "scale", scale_lines(found["figures"]))
    except (OSError, ValueError) as failure:
        print(f"page: {failure}", file=sys.stderr)
        return 1
    options.page.write_text(text)
    return 0


def replaced(text: str, name: str, lines: Iterable[str]) -> str:
    """Return the page with other lines in the part of this name; ValueError if it has none."""
    begin, end = f".. {name} begin\n", f".. {name} end\n"
    before, found, rest = text.partition(begin)
    _old, found_end, behind = rest.partition(end)
    if not found or not found_end:
        raise ValueError(f"the page has no part between `{begin.strip()}` and `{end.strip()}`")
    return "".join((before, begin, "\n", *(f"{line}\n" for line in lines), "\n", end, behind))


def _machine_lines(found: dict[str, Any]) -> list[str]:
    machine = found["machine"]
    code = "with the compiled modules" if machine["compiled"] else "in plain Python"
    rounds = max(figure["rounds"] for figure in found["figures"])
    echo = statistics.median(found["echo"]) if found["echo"] else 0
    times = "one round" if rounds == 1 else f"medians of {rounds} rounds"
    return [
        f"Python {machine['python']} on {machine['system']}, {machine['cores']} cores, {code};",
        f"{times}. The bare Twisted UDP echo of the same run answered",
        f"{echo:,.0f} datagrams a second of CPU.",
    ]


def _tables(found: dict[str, Any]) -> list[str]:
    """Return the goals, and below what no goal is about, where it was measured."""
    lines = goals_lines(found)
    beside = [figure for figure in found["figures"] if not figure["goal"]]
    if not beside:
        return lines
    rows = [
        (
            figure["name"],
            _median(figure),
            "" if figure["ratio to echo"] is None else f"{figure['ratio to echo']:.2f} x echo",
        )
        for figure in beside
    ]
    missing = [f"No {name} there: {why}." for name, why in found["missing"].items()]
    return [*lines, "", "Beside the goals:", "", *table_lines(("what", "median", ""), rows), "",
            *missing]  # fmt: skip


def flood_lines(found: dict[str, Any]) -> list[str]:
    """Return the table of floods, and the machine they were measured on."""
    machine = found["machine"]
    code = "with the compiled modules" if machine["compiled"] else "in plain Python"
    rounds = max((flood["rounds"] for flood in found["floods"]), default=1)
    times = "one round" if rounds == 1 else f"medians of {rounds} rounds"
    return [
        f"Python {machine['python']} on {machine['system']}, {machine['cores']} cores, {code};",
        f"{found['lengths']['sessions']} sessions; {times}.",
        "",
        *table_lines(HEADINGS, [tuple(map(_stressed, row)) for row in flood_rows(found["floods"])]),
    ]


def _stressed(cell: str) -> str:
    return "**no**" if cell == "no" else cell


def goals_lines(found: dict[str, Any]) -> list[str]:
    """Return the table of goals."""
    rows = [
        (
            str(figure["goal"]),
            figure["name"],
            figure["aim"] or "",
            _reached(figure),
            {True: "yes", False: "**no**", None: ""}[figure["met"]],
            _median(figure) if figure["ratio to echo"] is not None or figure["rounds"] > 1 else "",
        )
        for figure in found["figures"]
        if figure["goal"]
    ]
    return table_lines(("goal", "what", "aimed at", "reached", "met", "median and range"), rows)


def _reached(figure: dict[str, Any]) -> str:
    if figure["ratio to echo"] is not None:
        return f"{figure['ratio to echo']:.2f} x echo"
    return f"{shown(figure['median'])} {figure['unit']}".rstrip()


def _median(figure: dict[str, Any]) -> str:
    text = f"{shown(figure['median'])} {figure['unit']}".rstrip()
    if figure["rounds"] == 1:
        return text
    return f"{text} ({shown(figure['lowest'])} to {shown(figure['highest'])})"


def table_lines(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return a simple table of reStructuredText."""
    # An empty cell at the start of a line would go on with the line above.
    cells = [tuple(head), *([row[0] or "\\", *row[1:]] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    rule = "  ".join("=" * width for width in widths)
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]
    return [rule, lines[0], rule, *lines[1:], rule]


if __name__ == "__main__":
    sys.exit(main())
