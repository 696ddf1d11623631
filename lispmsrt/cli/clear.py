"""Close the sessions of a peer, which may come back at once."""

from __future__ import annotations

import argparse

from lispmsrt.cli.action import add_action_arguments, run_action
from lispmsrt.cli.show_rows import number_of

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the peer."""
    what = parser.add_subparsers(title="what to clear", metavar="WHAT", required=True)
    session = what.add_parser("session", help="the sessions of a peer")
    session.add_argument("peer", metavar="PEER", help="address, address:port, or session number")
    add_action_arguments(session)


def run(arguments: argparse.Namespace) -> int:
    """Have them closed; return the exit code."""
    return run_action(
        arguments,
        "clear-session",
        {"session": arguments.peer},
        lambda answer: f"{number_of(int(str(answer['cleared'])), 'session')} cleared",
    )
