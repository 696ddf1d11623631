"""What the commands that change something have in common."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping

from lispmsrt.cli.api_client import ApiError
from lispmsrt.cli.blocks import plain
from lispmsrt.cli.complaint import complain
from lispmsrt.cli.find_daemon import add_connection_arguments, connect

__all__ = ["add_action_arguments", "run_action"]


def add_action_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare how to print, and the daemon."""
    parser.add_argument("--json", action="store_true", help="print JSON, as the API gives it")
    add_connection_arguments(parser)


def run_action(
    arguments: argparse.Namespace,
    action: str,
    body: Mapping[str, object],
    say: Callable[[dict[str, object]], str],
) -> int:
    """Have it done and print what became of it; return the exit code."""
    try:
        answer = connect(arguments).post(f"/actions/{action}", body)
    except ApiError as failure:
        return complain(failure)
    print(json.dumps(answer) if arguments.json else plain(f"{say(answer)}."))
    return 0
