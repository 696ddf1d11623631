"""Run one view: once, or again and again; as text or as JSON."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import import_module
from itertools import chain, islice
from typing import Any

from lispmsrt.cli.api_client import ApiError
from lispmsrt.cli.blocks import Block, Line, Table
from lispmsrt.cli.complaint import complain
from lispmsrt.cli.find_daemon import add_connection_arguments, connect
from lispmsrt.cli.screens import Screen, standard_screen
from lispmsrt.cli.show_options import count
from lispmsrt.cli.show_view import Look, View
from lispmsrt.views.values.page import MAX_LIMIT

__all__ = ["add_output_arguments", "add_view_arguments", "json_lines", "run_view"]

_DEFAULT_PERIOD = 2.0
_SHORTEST_PERIOD = 0.1


def add_output_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare how to print."""
    parser.add_argument("--json", action="store_true", help="print JSON, as the API gives it")
    parser.add_argument("--utc", action="store_true", help="times in UTC, not in local time")


def add_view_arguments(view: View, parser: argparse.ArgumentParser) -> None:
    """Declare all of a view's arguments."""
    for option in view.options:
        option.add_to(parser)
    if view.is_list:
        parser.add_argument(
            "--limit",
            type=count,
            metavar="N",
            help=f"at most so many (default: all of them; on a terminal {MAX_LIMIT})",
        )
    add_output_arguments(parser)
    parser.add_argument(
        "--watch",
        nargs="?",
        type=_period,
        const=_DEFAULT_PERIOD,
        metavar="SECONDS",
        help=f"look again and again (default: every {_DEFAULT_PERIOD:g} s)",
    )
    add_connection_arguments(parser)


def run_view(view: View, arguments: argparse.Namespace, screen: Screen | None = None) -> int:
    """Show it; return the exit code."""
    screen = screen or standard_screen()
    if arguments.watch is not None:
        # Only who watches waits until what that needs is imported.
        watch: Callable[[View, argparse.Namespace, Screen], int]
        watch = import_module("lispmsrt.cli.show_watch").watch
        return watch(view, arguments, screen)
    try:
        api = connect(arguments, view.roles)
        look = Look(api, view, arguments, time.time(), _limit(arguments, screen))
        if arguments.json:
            for piece in json_lines(look):
                sys.stdout.write(piece)
        else:
            screen.draw(_once_begun(view.draw(look)))
    except ApiError as failure:
        sys.stdout.flush()
        return complain(failure)
    return 0


def _once_begun(blocks: Iterator[Block]) -> Iterator[Block]:
    """Yield blocks, but the lines above the first table not before its first row has come: a legend
    above nothing but an error is of no use.
    """
    held: list[Block] = []
    for block in blocks:
        if isinstance(block, Table):
            rows = iter(block.rows)
            first = list(islice(rows, 1))
            held.append(replace(block, rows=chain(first, rows)))
            break
        held.append(block)
        if not isinstance(block, Line):
            break
    yield from held
    yield from blocks


def json_lines(look: Look) -> Iterator[str]:
    """Yield the JSON of a view; a list comes an item a line, while it is being fetched."""
    if not look.view.is_list:
        yield json.dumps(look.raw(), indent=2) + "\n"
        return
    listing = look.raw_items()
    yield '{"items": ['
    for number, item in enumerate(listing):
        yield f"{',' if number else ''}\n{json.dumps(item)}"
    end: dict[str, Any] = {"total": listing.total, "next_cursor": listing.next_cursor}
    yield f"\n], {json.dumps(end)[1:]}\n"


def _limit(arguments: argparse.Namespace, screen: Screen) -> int | None:
    limit: int | None = getattr(arguments, "limit", None)
    if limit is None and screen.height is not None and not arguments.json:
        return MAX_LIMIT
    return limit


def _period(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not _SHORTEST_PERIOD <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number of seconds, at least {_SHORTEST_PERIOD:g}"
        )
    return seconds
