"""Where blocks are drawn: a terminal, or anything else."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from importlib import import_module
from typing import Protocol

from lispmsrt.cli.blocks import Block
from lispmsrt.cli.draw_plain import PlainScreen

__all__ = ["Screen", "standard_screen"]


class Screen(Protocol):
    """Draws blocks."""

    @property
    def height(self) -> int | None:
        """Return the lines of the terminal; None where there is none."""

    def draw(self, blocks: Iterable[Block]) -> None:
        """Write the blocks, each as soon as it is there."""

    def redrawing(self) -> AbstractContextManager[Callable[[Iterable[Block]], None]]:
        """Return what draws one picture after the other."""


def standard_screen() -> Screen:
    """Return standard output: in colour on a terminal, else plain."""
    if sys.stdout.isatty():
        # Only who has a terminal waits until rich is imported.
        screen: Screen = import_module("lispmsrt.cli.draw_rich").RichScreen()
        return screen
    return PlainScreen(sys.stdout.write)
