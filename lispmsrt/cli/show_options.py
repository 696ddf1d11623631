"""The filters of `lispmsrt show`, and the arguments that name one thing."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lispmsrt.cli.durations import since
from lispmsrt.wire.addresses import EidPrefix

__all__ = [
    "EID",
    "EID_FILTER",
    "INSTANCE_ID",
    "INSTANCE_ID_FILTER",
    "SINCE",
    "SITE",
    "TRANSPORT",
    "Option",
    "count",
    "eid_prefix",
    "instance_id",
]


@dataclass(frozen=True, slots=True)
class Option:
    """One argument of a view."""

    name: str
    "of the attribute that argparse sets"
    help: str
    metavar: str | None = None
    parameter: str = ""
    "of the query; none where the filter is the client's"
    type: Callable[[str], Any] = str
    choices: Sequence[str] | None = None
    translation: Mapping[str, str] | None = None
    "from what people say to what the query says"
    default: Any = None
    is_positional: bool = False
    is_flag: bool = False
    "None or True"

    def add_to(self, parser: argparse.ArgumentParser) -> None:
        """Declare it."""
        if self.is_positional:
            parser.add_argument(self.name, metavar=self.metavar, type=self.type, help=self.help)
            return
        flag = f"--{self.name.replace('_', '-')}"
        if self.is_flag:
            parser.add_argument(flag, action="store_const", const=True, help=self.help)
            return
        parser.add_argument(
            flag,
            metavar=self.metavar,
            type=self.type,
            choices=self.choices,
            default=self.default,
            help=self.help,
        )

    def as_parameter(self, value: object) -> object:
        """Return what the query says."""
        return value if self.translation is None else self.translation[str(value)]


def count(text: str) -> int:
    """Parse a whole number from 1."""
    if not (text.isascii() and text.isdigit()) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def instance_id(text: str) -> int:
    """Parse an instance ID."""
    if not (text.isascii() and text.isdigit()) or int(text) >= 1 << 32:
        raise argparse.ArgumentTypeError(f"{text!r} is not an instance ID (0 to 4294967295)")
    return int(text)


def eid_prefix(text: str) -> str:
    """Parse an EID-prefix, or an EID, which is as long as its address."""
    try:
        return str(EidPrefix.from_eid_text(text))
    except ValueError as failure:
        raise argparse.ArgumentTypeError(str(failure)) from None


SITE = Option("site", "of this site", "NAME", "site")
TRANSPORT = Option("transport", "by this transport: UDP, TCP, TLS, ...", "NAME", "transport")
INSTANCE_ID_FILTER = Option(
    "instance_id", "of this instance ID", "N", "instance_id", type=instance_id
)
EID_FILTER = Option("eid", "what covers this EID-prefix, or lies inside", "EID", "eid", eid_prefix)
SINCE = Option(
    "since", "from so long ago (90s, 5m, 2h, 1d, 1w) or an ISO time on", "TIME", "since", since
)

EID = Option(
    "eid", "address, address/length, or name:NAME", "EID", "eid", eid_prefix, is_positional=True
)
INSTANCE_ID = Option("instance_id", "default: 0", "N", "instance_id", type=instance_id, default=0)
