"""The commands of ``lispmsrt``: modules with ``add_arguments(parser)`` and ``run(arguments)``.

The first line of a module's docstring says what the command does.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Protocol

import lispmsrt

__all__ = ["Command", "main", "make_parser"]

_INTERRUPTED = 130


class Command(Protocol):
    """What a command's module offers."""

    __doc__: str | None

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the command's own arguments."""

    def run(self, arguments: argparse.Namespace) -> int:
        """Do it; return the exit code."""


COMMANDS: Mapping[str, str] = {
    "show": "lispmsrt.cli.show",
    "explain": "lispmsrt.cli.explain",
    "clear": "lispmsrt.cli.clear",
    "refresh": "lispmsrt.cli.refresh",
    "reload": "lispmsrt.cli.reload",
    "register": "lispmsrt.cli.register",
    "withdraw": "lispmsrt.cli.withdraw",
    "lig": "lispmsrt.cli.lig",
    "swarm": "lispmsrt.cli.swarm",
    "demo": "lispmsrt.cli.demo",
    "check-config": "lispmsrt.cli.check_config",
    "make-certificate": "lispmsrt.cli.make_certificate",
    "completion": "lispmsrt.cli.completion",
}
"""To the module: who asks for one is not to wait until all are imported."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that the arguments name; return the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    arguments = make_parser(argv).parse_args(argv)
    try:
        code: int = arguments.run(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # Whoever read us has seen enough. What Python flushes at its end must go somewhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code


def make_parser(argv: Sequence[str] = ()) -> argparse.ArgumentParser:
    """Return the parser, of all commands or of the one that the arguments name."""
    parser = argparse.ArgumentParser(
        prog="lispmsrt",
        description="A LISP Map-Server, Map-Resolver and ETR that register over sessions.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {lispmsrt.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    wanted = argv[:1] if argv and argv[0] in COMMANDS else COMMANDS
    for name in wanted:
        command: Command = import_module(COMMANDS[name])
        summary = (command.__doc__ or "").partition("\n")[0]
        own = commands.add_parser(name, help=summary, description=summary)
        command.add_arguments(own)
        own.set_defaults(run=command.run)
    return parser
