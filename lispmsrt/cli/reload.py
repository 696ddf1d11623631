"""Have the daemon read its configuration file again."""

from __future__ import annotations

import argparse

from lispmsrt.cli.action import add_action_arguments, run_action

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the daemon."""
    add_action_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Have it read; return the exit code."""
    return run_action(arguments, "reload", {}, _said)


def _said(answer: dict[str, object]) -> str:
    what = answer.get("what")
    return f"reloaded {what}" if what else "the configuration is reloaded"
