"""Print what a configuration file means, or every mistake in it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.selectreactor import SelectReactor

from lispmsrt.cli.describe import describe
from lispmsrt.config import Config, ConfigError, load
from lispmsrt.config.places import locate
from lispmsrt.services.listening import ListenError, endpoint_from

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the file."""
    parser.add_argument("file", metavar="FILE", help="the configuration (TOML)")


def run(arguments: argparse.Namespace) -> int:
    """Print what the file means and return 0, or its mistakes on standard error and return 1."""
    try:
        config = load(arguments.file)
        mistakes = list(_wrong_endpoints(config, Path(arguments.file).read_text()))
        if mistakes:
            raise ConfigError(arguments.file, mistakes)
    except ConfigError as failure:
        print(failure, file=sys.stderr)
        count = len(failure.mistakes)
        print(f"{count} mistake{'s' if count > 1 else ''}", file=sys.stderr)
        return 1
    for line in describe(config):
        print(line)
    return 0


def _wrong_endpoints(config: Config, text: str) -> Iterator[str]:
    """Yield a sentence for each endpoint string that Twisted and its plugins do not understand.

    Nothing is opened: the reactor is never run.
    """
    reactor = SelectReactor()
    for place, option, parse, description in _endpoints(config):
        try:
            endpoint_from(parse, reactor, description, option)
        except ListenError as failure:
            yield f"line {locate(text, place)}: {failure}"
        except OSError as failure:  # a file that the string names
            yield f"line {locate(text, place)}: {option} {description!r}: {failure}"


def _endpoints(config: Config) -> Iterator[tuple[list[str | int], str, Any, str]]:
    """Yield place, option, parser and text of each endpoint string."""
    if config.map_server is not None:
        for text in config.map_server.reliable_transport:
            option = "map-server.reliable-transport"
            yield ["map-server", "reliable-transport"], option, serverFromString, text
    if config.etr is not None:
        for number, server in enumerate(config.etr.map_servers):
            for text in server.transport_strings(config.etr.control):
                option = f"etr.map-server[{number}].transports"
                place: list[str | int] = ["etr", "map-server", number, "transports"]
                yield place, option, clientFromString, text
