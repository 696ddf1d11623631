"""Print what makes a shell complete the commands and their options."""

from __future__ import annotations

import argparse

import shtab

from lispmsrt.cli.commands import make_parser

__all__ = ["add_arguments", "run"]

_SHELLS = ("bash", "zsh")
_FILES = {"FILE", "PATH"}
_DIRECTORIES = {"DIR", "DIRECTORY"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the shell."""
    parser.add_argument("shell", choices=_SHELLS, help="which shell")
    parser.epilog = (
        "bash: lispmsrt completion bash > /etc/bash_completion.d/lispmsrt;"
        " zsh: lispmsrt completion zsh > a directory of $fpath/_lispmsrt"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the script; return the exit code."""
    parser = make_parser()
    _complete_files(parser)
    print(shtab.complete(parser, shell=arguments.shell))
    return 0


def _complete_files(parser: argparse.ArgumentParser) -> None:
    """Let every option complete file names whose value is called so."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for own in action.choices.values():
                _complete_files(own)
        elif action.metavar in _FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        elif action.metavar in _DIRECTORIES:
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
