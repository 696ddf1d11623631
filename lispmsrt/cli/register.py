"""Have a running ETR register mappings, one or a file of them.

They last until the ETR stops: what is to come back then belongs into its configuration.
"""

from __future__ import annotations

import argparse

from lispmsrt.cli.bulk import add_bulk_arguments, run_bulk
from lispmsrt.cli.complaint import complain
from lispmsrt.cli.mapping_file import Mapping, MappingFileError, read_mappings
from lispmsrt.cli.show_options import count, eid_prefix, instance_id

__all__ = ["add_arguments", "run"]

_ACTIONS = ("no-action", "natively-forward", "send-map-request", "drop")
_LOCATOR_NUMBERS = ("priority", "weight")
_HIGHEST = 255


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the mapping, or the file."""
    parser.add_argument("eid", nargs="?", type=eid_prefix, metavar="EID", help="EID-prefix")
    parser.add_argument(
        "--instance-id", type=instance_id, default=0, metavar="N", help="default: 0"
    )
    parser.add_argument(
        "--rloc",
        action="append",
        type=_locator,
        default=[],
        metavar="R[,PRIORITY,WEIGHT]",
        help="a locator; several where it is given several times (default: priority 1, weight 100)",
    )
    parser.add_argument("--ttl", type=count, metavar="MINUTES", help="default: 1440")
    parser.add_argument("--action", choices=_ACTIONS, help="what to do where there are no locators")
    parser.add_argument(
        "--file", metavar="FILE", help="mappings as in a configuration (TOML); - is standard input"
    )
    add_bulk_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Have them registered; return the exit code."""
    if (arguments.eid is None) == (arguments.file is None):
        return complain("give either an EID with --rloc, or --file FILE")
    if arguments.file is None and not arguments.rloc and arguments.action is None:
        return complain("an EID without --rloc needs --action: what to do with packets for it")
    try:
        mappings = (
            [_mapping(arguments)] if arguments.file is None else read_mappings(arguments.file)
        )
    except MappingFileError as failure:
        return complain(failure)
    return run_bulk(arguments, "register", "registered", mappings)


def _mapping(arguments: argparse.Namespace) -> Mapping:
    mapping: Mapping = {
        "eid_prefix": arguments.eid,
        "instance_id": arguments.instance_id,
        "locators": arguments.rloc,
    }
    for name in ("ttl", "action"):
        if getattr(arguments, name) is not None:
            mapping[name] = getattr(arguments, name)
    return mapping


def _locator(text: str) -> dict[str, object]:
    """Parse an RLOC, and what may stand behind it."""
    rloc, *numbers = text.split(",")
    if len(numbers) > len(_LOCATOR_NUMBERS):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form RLOC,PRIORITY,WEIGHT")
    locator: dict[str, object] = {"rloc": rloc}
    for name, number in zip(_LOCATOR_NUMBERS, numbers, strict=False):
        if not (number.isascii() and number.isdigit()) or int(number) > _HIGHEST:
            raise argparse.ArgumentTypeError(f"{name} {number!r} is not a number from 0 to 255")
        locator[name] = int(number)
    return locator
