"""Have a running ETR withdraw mappings."""

from __future__ import annotations

import argparse

from lispmsrt.cli.bulk import add_bulk_arguments, run_bulk
from lispmsrt.cli.show_options import eid_prefix, instance_id

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the EID-prefixes."""
    parser.add_argument("eid", nargs="+", type=eid_prefix, metavar="EID", help="EID-prefixes")
    parser.add_argument(
        "--instance-id", type=instance_id, default=0, metavar="N", help="default: 0"
    )
    add_bulk_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Have them withdrawn; return the exit code."""
    bodies = [
        {"eid_prefix": eid, "instance_id": arguments.instance_id}
        for eid in dict.fromkeys(arguments.eid)
    ]
    return run_bulk(arguments, "withdraw", "withdrawn", bodies, {400, 404, 409})
