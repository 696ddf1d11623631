"""One request for each of many mappings, with a progress bar where it takes long."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from time import monotonic
from typing import Any

from lispmsrt.cli.action import add_action_arguments
from lispmsrt.cli.api_client import Api, ApiError
from lispmsrt.cli.complaint import FAILED, complain, complaint
from lispmsrt.cli.find_daemon import ETR_FIRST, connect

__all__ = ["add_bulk_arguments", "run_bulk"]

_Body = Mapping[str, object]

_GOES_ON = {400, 409}
"""Of HTTP: this one is refused, and the next may not be."""

_MANY = 50
"""Requests from which on a terminal shows a bar, if they take long."""


def add_bulk_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare how to print, and the daemon."""
    add_action_arguments(parser)


def run_bulk(
    arguments: argparse.Namespace,
    action: str,
    done: str,
    bodies: Sequence[_Body],
    goes_on: Collection[int] = _GOES_ON,
) -> int:
    """Have each done, and return the exit code; a refusal with one of these statuses of HTTP does
    not keep it from the others.
    """
    count = 0
    try:
        api = connect(arguments, ETR_FIRST)
        with _progress(action, len(bodies)) as progress:
            for body in bodies:
                count += _post(api, action, body, arguments.json, goes_on, progress)
                progress.advance()
    except ApiError as failure:
        complain(failure)
    except KeyboardInterrupt:
        complain(f"interrupted; {count} of {len(bodies)} {done}")
        raise
    if not arguments.json:
        of_all = "" if count == len(bodies) else f" of {len(bodies)}"
        print(f"{count}{of_all} {done}.")
    return 0 if count == len(bodies) else FAILED


def _post(
    api: Api,
    action: str,
    body: _Body,
    is_json: bool,
    goes_on: Collection[int],
    progress: _Progress,
) -> bool:
    """Have one done; raise ApiError where it is pointless to go on."""
    try:
        answer = api.post(f"/actions/{action}", body)
    except ApiError as failure:
        if failure.status not in goes_on:
            raise
        eid, said = body.get("eid_prefix", body.get("eid-prefix")), str(failure)
        progress.warn(complaint(said if str(eid) in said else f"{eid}: {said}"))
        return False
    if is_json:
        progress.say(json.dumps(answer))
    return True


class _Progress:
    """What is said while many are done, and how far it is where a bar shows that."""

    def __init__(self, clock: Any = None, bar: Any = None) -> None:
        self._clock = clock
        self._bar = bar

    def advance(self) -> None:
        """One more is done."""
        if self._bar is not None:
            self._bar.advance()
            # Nothing else runs the alarm that draws it.
            self._clock.advance(monotonic() - self._clock.seconds())

    def say(self, text: str) -> None:
        """Print a line on standard output."""
        if self._bar is None:
            print(text)
        else:
            self._bar.say(text)

    def warn(self, text: str) -> None:
        """Print a line on standard error."""
        if self._bar is None:
            print(text, file=sys.stderr)
        else:
            self._bar.warn(text)


@contextmanager
def _progress(action: str, total: int) -> Iterator[_Progress]:
    """Give what is told of each."""
    if total < _MANY or not sys.stderr.isatty():
        yield _Progress()
        return
    # Imported now: for a few it would take longer than they do.
    clock = import_module("twisted.internet.task").Clock()
    clock.advance(monotonic())
    bar = import_module("lispmsrt.cli.late_bar").LateBar(clock, action, total)
    try:
        yield _Progress(clock, bar)
    finally:
        bar.close()
