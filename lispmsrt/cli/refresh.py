"""Ask ETRs with sessions to register again, everything or a part of it."""

from __future__ import annotations

import argparse

from lispmsrt.cli.action import add_action_arguments, run_action
from lispmsrt.cli.show_options import eid_prefix, instance_id
from lispmsrt.cli.show_rows import number_of

__all__ = ["add_arguments", "run"]

_SCOPES = ("everything", "site", "instance", "eid")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the scope."""
    parser.add_argument(
        "--scope", choices=_SCOPES, help="default: the narrowest that the options below name"
    )
    parser.add_argument("--site", metavar="NAME", help="of the ETRs of this site")
    parser.add_argument("--instance-id", type=instance_id, metavar="N", help="of this instance ID")
    parser.add_argument("--eid-prefix", type=eid_prefix, metavar="EID", help="what lies inside")
    parser.add_argument(
        "--rejected-only", action="store_true", help="only what was rejected the last time"
    )
    add_action_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Ask; return the exit code."""
    given = {
        "site": arguments.site,
        "instance_id": arguments.instance_id,
        "eid_prefix": arguments.eid_prefix,
    }
    body: dict[str, object] = {name: each for name, each in given.items() if each is not None}
    body["scope"] = arguments.scope or _narrowest(arguments)
    body["rejected_only"] = arguments.rejected_only
    return run_action(
        arguments,
        "refresh",
        body,
        lambda answer: f"{number_of(int(str(answer['asked'])), 'session')} asked",
    )


def _narrowest(arguments: argparse.Namespace) -> str:
    if arguments.eid_prefix is not None:
        return "eid"
    if arguments.instance_id is not None:
        return "instance"
    return "site" if arguments.site is not None else "everything"
