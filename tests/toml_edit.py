"""Changes of a configuration file, as an operator makes them with an editor."""

from __future__ import annotations

import re

__all__ = ["edited"]

_STATEMENT = re.compile(r"[ \t]*([\w-]+)[ \t]*=")
_TABLE = re.compile(r"[ \t]*\[")


def edited(text: str, anchor: str, sample: str) -> str:
    """Return a TOML text with a sample put into the part behind a line that has ``anchor``.

    A statement of the sample takes the place of the one with the same name, or stands at the
    anchor where there is none; a sample that begins with a table goes before the next table.
    """
    lines = text.splitlines()
    (at,) = [number for number, line in enumerate(lines) if anchor in line]
    new = sample.strip("\n").splitlines()
    if _TABLE.match(new[0]):
        end = _next_table(lines, at + 1)
        return "\n".join([*lines[:end], *new, "", *lines[end:]]) + "\n"
    for name, statement in _statements(new).items():
        start = at + 1
        for number in range(_first_of_table(lines, at), _next_table(lines, at + 1)):
            if (found := _STATEMENT.match(lines[number])) and found[1] == name:
                start = number
                break
        else:
            lines[start:start] = statement
            continue
        lines[start : _end_of_statement(lines, start)] = statement
    return "\n".join(lines) + "\n"


def _first_of_table(lines: list[str], at: int) -> int:
    while at and not _TABLE.match(lines[at]):
        at -= 1
    return at + 1


def _next_table(lines: list[str], at: int) -> int:
    # A line of a list may begin with a bracket, but not here with two.
    while at < len(lines) and not lines[at].lstrip().startswith("[["):
        at += 1
    return at


def _statements(lines: list[str]) -> dict[str, list[str]]:
    found, at = {}, 0
    while at < len(lines):
        end = _end_of_statement(lines, at)
        name = _STATEMENT.match(lines[at])
        assert name is not None, lines[at]
        found[name[1]] = lines[at:end]
        at = end
    return found


def _end_of_statement(lines: list[str], at: int) -> int:
    depth = 0
    while True:
        depth += lines[at].count("[") - lines[at].count("]")
        at += 1
        if depth <= 0:
            return at
