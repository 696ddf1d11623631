"""Show what a running daemon knows: sessions, sites, registrations, history, counters.

The exit code is 2 where nobody could be asked, or there is no such thing.
"""

from __future__ import annotations

import argparse

from lispmsrt.cli.show_etr import MAP_SERVERS, MAPPINGS
from lispmsrt.cli.show_events import HISTORY, REJECTION_GROUPS, REJECTIONS, STATISTICS
from lispmsrt.cli.show_overview import OVERVIEW
from lispmsrt.cli.show_registrations import EID_VIEW, REGISTRATIONS
from lispmsrt.cli.show_run import add_view_arguments, run_view
from lispmsrt.cli.show_sessions import SESSION, SESSIONS
from lispmsrt.cli.show_sites import MEMBERSHIP, SITE_VIEW, SITES, SUBSCRIPTIONS

__all__ = ["VIEWS", "add_arguments", "run"]

VIEWS = (
    OVERVIEW,
    SESSIONS,
    SESSION,
    SITES,
    SITE_VIEW,
    REGISTRATIONS,
    EID_VIEW,
    HISTORY,
    REJECTIONS,
    REJECTION_GROUPS,
    STATISTICS,
    MEMBERSHIP,
    SUBSCRIPTIONS,
    MAP_SERVERS,
    MAPPINGS,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what can be shown."""
    subjects = parser.add_subparsers(title="what to show", metavar="WHAT", required=True)
    for view in VIEWS:
        own = subjects.add_parser(view.name, help=view.summary, description=f"Show {view.summary}.")
        add_view_arguments(view, own)
        own.set_defaults(view=view)


def run(arguments: argparse.Namespace) -> int:
    """Show it; return the exit code."""
    return run_view(arguments.view, arguments)
