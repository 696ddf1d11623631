"""The command line: ``lispmsrt COMMAND``."""

from __future__ import annotations

from lispmsrt.cli.commands import main as main

__all__ = ["main"]
