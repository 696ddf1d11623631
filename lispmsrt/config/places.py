"""Where in a TOML file a value stands, for messages about it. A reader of keys and headers only,
not of values.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["locate"]

_HEADER = re.compile(r"\s*(\[\[?)\s*([^\]]+?)\s*\]\]?\s*(#.*)?$")
_KEY = re.compile(r"\s*([A-Za-z0-9_-]+|\"[^\"]*\")\s*=")

Place = tuple[str | int, ...]


def locate(text: str, place: Sequence[str | int]) -> int:
    """Return the number of the line that comes closest to a place such as ``("site", 0, "keys", 1,
    "id")``.
    """
    lines = _lines_of(text)
    wanted = tuple(place)
    while wanted and wanted not in lines:
        wanted = wanted[:-1]
    return lines.get(wanted, 1)


def _lines_of(text: str) -> dict[Place, int]:
    lines: dict[Place, int] = {}
    counts: dict[Place, int] = {}
    table: Place = ()
    for number, line in enumerate(text.splitlines(), 1):
        header = _HEADER.match(line)
        if header:
            table = _table_of(header[2], header[1] == "[[", counts)
            lines.setdefault(table, number)
        elif key := _KEY.match(line):
            lines.setdefault((*table, key[1].strip('"')), number)
    return lines


def _table_of(name: str, is_array: bool, counts: dict[Place, int]) -> Place:
    """Turn ``site.eid-prefix`` into ("site", 0, "eid-prefix", 0), by how many there were before."""
    place: Place = ()
    parts = [part.strip().strip('"') for part in name.split(".")]
    for part in parts[:-1]:
        place = (*place, part)
        if place in counts:
            place = (*place, counts[place])
    place = (*place, parts[-1])
    if is_array:
        counts[place] = counts.get(place, -1) + 1
        place = (*place, counts[place])
    return place
