"""One sentence on standard error, and the exit code that goes with it."""

from __future__ import annotations

import sys

from lispmsrt.cli.blocks import plain

__all__ = ["FAILED", "complain", "complaint"]

FAILED = 2
"""The exit code where nobody answers, or what is asked for can't be."""


def complaint(sentence: object) -> str:
    """Return the line that says what went wrong."""
    return f"lispmsrt: {plain(str(sentence))}"


def complain(sentence: object) -> int:
    """Print what went wrong; return the exit code for that."""
    print(complaint(sentence), file=sys.stderr)
    return FAILED
