"""Replay the pages of the operator's guide: run every command that they show, and compare.

``python -m tests.guide_pages`` prints what has changed, with ``--write`` it puts the new output
into the pages.

A block that begins with a prompt (``ms1# lispmsrt show sessions``) is a command and its output. A
comment ``.. act: ...`` is something that happens meanwhile, see :class:`tests.guide_scene.Scene`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.guide_scene import Scene

__all__ = ["FOLDER", "Change", "commands_of", "pages", "replay"]

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "operating"

_INDENT = "    "
_PROMPT = re.compile(r"(\w+)# (.*)")
_ACT = re.compile(r"\.\. act: (.*)")
_CONTINUED = "..."
"""Stands for lines that the page leaves out."""


@dataclass(frozen=True)
class Change:
    """A command whose output is another one now."""

    command: str
    was: list[str]
    now: list[str]

    def __str__(self) -> str:
        return "\n".join([f"{self.command} now shows:", "", *self.now])


@dataclass
class _Part:
    """Lines of a page that go together."""

    lines: list[str]
    machine: str = ""
    command: str = ""
    act: str = ""
    is_sample: bool = False


def pages() -> list[Path]:
    """Return the pages that show commands."""
    return sorted(FOLDER.glob("*.rst"))


def commands_of(path: Path) -> list[str]:
    """Return what is typed in a page."""
    return [part.command for part in _parts(path.read_text()) if part.command]


def replay(path: Path) -> tuple[str, list[Change]]:
    """Run the commands of a page in a new scene; return the page as it should be, and what has
    changed.
    """
    scene, changes, renewed, sample = Scene(), [], [], ""
    try:
        for part in _parts(path.read_text()):
            lines = part.lines
            if part.command:
                shown = scene.machines[part.machine].type(part.command)
                lines = [lines[0], *_indented(shown)]
                if not _is_same(part.lines[1:], lines[1:]):
                    command = f"{part.machine}# {part.command}"
                    changes.append(Change(command, part.lines[1:], lines[1:]))
                else:
                    lines = part.lines
            elif part.act:
                scene.act(part.act, sample)
            elif part.is_sample:
                sample = "\n".join(line.removeprefix(_INDENT) for line in lines)
            renewed += lines
    finally:
        scene.close()
    return "\n".join(renewed) + "\n", changes


def _is_same(was: list[str], now: list[str]) -> bool:
    """Whether the output is what the page shows; a line of three dots stands for any lines."""
    left_out = re.escape(f"{_INDENT}{_CONTINUED}\n")
    pattern = re.escape("".join(f"{line}\n" for line in was)).replace(left_out, "(?s:.*\n)?")
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in now)) is not None


def _indented(shown: str) -> list[str]:
    return [f"{_INDENT}{line}".rstrip() for line in shown.rstrip("\n").split("\n") if shown]


def _parts(text: str) -> Iterator[_Part]:
    lines = text.rstrip("\n").split("\n")
    at = 0
    while at < len(lines):
        if act := _ACT.match(lines[at]):
            yield _Part([lines[at]], act=act[1])
            at += 1
        elif at and not lines[at - 1] and lines[at].startswith(_INDENT) and _is_literal(lines, at):
            end = at
            while end < len(lines) and (not lines[end] or lines[end].startswith(_INDENT)):
                end += 1
            while not lines[end - 1]:
                end -= 1
            yield from _block(lines[at:end])
            at = end
        else:
            yield _Part([lines[at]])
            at += 1


def _is_literal(lines: list[str], at: int) -> bool:
    """Whether the block that begins here is one of those after ``::``."""
    before = at - 1
    while before and not lines[before]:
        before -= 1
    return lines[before].endswith("::") or lines[before].startswith(".. code-block")


def _block(lines: list[str]) -> Iterator[_Part]:
    """Yield the commands of a block, each with its output."""
    starts = [at for at, line in enumerate(lines) if _PROMPT.fullmatch(line[len(_INDENT) :])]
    if not starts:
        yield _Part(lines, is_sample=True)
        return
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        prompt = _PROMPT.fullmatch(lines[start][len(_INDENT) :])
        assert prompt is not None
        yield _Part(lines[start:end], prompt[1], prompt[2])


def main(arguments: list[str]) -> int:
    """Print what has changed; return 1 if anything has."""
    changed = False
    for path in pages():
        renewed, changes = replay(path)
        for change in changes:
            changed = True
            print(f"{path.name}: {change}\n")
        if "--write" in arguments:
            path.write_text(renewed)
    return int(changed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
