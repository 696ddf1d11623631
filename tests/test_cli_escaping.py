"""What a name holds is shown, whatever draws it; a terminal obeys none of it."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence

from rich.console import Console
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.cli.blocks import Block, Cell, Column, Facts, Line, Table, Tone
from lispmsrt.cli.draw_plain import PlainScreen
from lispmsrt.cli.draw_rich import RichScreen

_EVIL = (
    "a\x1b[31mb\x07\x08c\r\nd\u202ee\u2066f\x9b31mg\u2028h\u200bi\ud800j\x00k\U000e0001l"
    "[red]m[/red]"
)

_OUR_OWN = re.compile(r"\x1b\[[0-9;]*m")


def _blocks(text: str) -> Sequence[Block]:
    return (
        Line(text),
        Line(text, Tone.BAD),
        Facts([(text, text), ("label", Cell(text, Tone.GOOD))]),
        Table(
            [Column("one"), Column("two", wraps=True), Column("three", is_right=True)],
            [(text, Cell(text, Tone.BAD), text)],
        ),
    )


class DrawingTests(SynchronousTestCase):
    """Every kind of block, everywhere in it."""

    def assert_harmless(self, text: str) -> None:
        """Assert that there is nothing but printable characters in lines, and that it was shown."""
        found = {c for c in text if not c.isprintable() and c != "\n"}
        self.assertEqual(found, set())
        for shown in (r"\x1b[31mb", r"\u202e", r"\ud800", "[red]m[/red]"):
            self.assertGreaterEqual(text.count(shown), 4, shown)

    def test_in_a_pipe(self) -> None:
        """Lines and columns of plain text."""
        out = io.StringIO()
        PlainScreen(out.write).draw(_blocks(_EVIL))
        self.assert_harmless(out.getvalue())

    def test_on_a_terminal(self) -> None:
        """With our own colours, and no others."""
        out = io.StringIO()
        console = Console(
            file=out, force_terminal=True, color_system="standard", width=1000, highlight=False
        )
        RichScreen(console).draw(_blocks(_EVIL))
        self.assert_harmless(_OUR_OWN.sub("", out.getvalue()))
