"""EIDs as ``lispmsrt lig`` is given them: as arguments, and in files."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path

from lispmsrt.wire.addresses import EidPrefix

__all__ = ["MAX_EIDS", "read_eids"]

MAX_EIDS = 1_000_000
"""EIDs of one file: some 200 MB."""

_INSTANCE = re.compile(r"\[([0-9]+)\]\s*(.*)")


def read_eids(name: str, instance_id: int) -> list[EidPrefix]:
    """Read EIDs from a file, one a line; ``#`` begins a comment, ``[7]`` in front is an instance
    ID, and ``-`` is standard input. ValueError says what is wrong, and where.
    """
    if name == "-":
        return _parse_lines("standard input", sys.stdin, instance_id)
    path = Path(name)
    try:
        with path.open(encoding="utf-8") as lines:
            return _parse_lines(str(path), lines, instance_id)
    except OSError as failure:
        raise ValueError(f"{path} can't be read: {failure.strerror}") from None


def _parse_lines(place: str, lines: Iterable[str], instance_id: int) -> list[EidPrefix]:
    found: list[EidPrefix] = []
    number = 0
    try:
        for number, line in enumerate(lines, 1):  # noqa: B007
            text = re.split(r"(?:^|\s)#", line, maxsplit=1)[0].strip()
            if text and len(found) == MAX_EIDS:
                raise ValueError(f"there are more than {MAX_EIDS:,} EIDs")
            if text:
                found.append(_parse_line(text, instance_id))
    except UnicodeDecodeError:
        raise ValueError(f"{place} is not UTF-8 text") from None
    except ValueError as failure:
        raise ValueError(f"{place}, line {number}: {failure}") from None
    if not found:
        raise ValueError(f"{place} has no EIDs")
    return found


def _parse_line(text: str, instance_id: int) -> EidPrefix:
    match = _INSTANCE.fullmatch(text)
    if match:
        return EidPrefix.from_eid_text(match[2], int(match[1]))
    return EidPrefix.from_eid_text(text, instance_id)
