"""Put load on a Map-Server: ETRs in masses that register, move, withdraw and look up EIDs.

The exit code is 0 if everything that was offered was acknowledged and no lookup was answered
wrongly, 1 if not, 2 where the load can't be put on at all, 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import resource
from pathlib import Path
from typing import Any

from twisted.internet.interfaces import IReactorTime

from lispmsrt.cli.complaint import complain
from lispmsrt.cli.late_bar import LateBar
from lispmsrt.cli.one_shot import run_once
from lispmsrt.cli.screens import standard_screen
from lispmsrt.cli.swarm_options import OptionError, add_arguments, key_of, plan_of
from lispmsrt.cli.swarm_report import blocks_of
from lispmsrt.clock import MonotonicClock
from lispmsrt.services.listening import ListenError
from lispmsrt.swarm.load import REGISTERED
from lispmsrt.swarm.plan import Plan
from lispmsrt.swarm.result import Result
from lispmsrt.swarm.swarm import Swarm
from lispmsrt.swarm.telling import result_of

__all__ = ["Show", "add_arguments", "run"]

_INTERRUPTED = 130
_SPARE_FILES = 128
"""File descriptors for anything but sessions."""


def run(arguments: argparse.Namespace) -> int:
    """Put the load on, and print what came of it; return the exit code."""
    try:
        plan, key = plan_of(arguments), key_of(arguments)
        _allow_files(plan)
        if arguments.json is not None:
            _check_writable(arguments.json)
        reactor = _reactor()
        clock = MonotonicClock(reactor)
        swarm = Swarm(reactor, plan, key, clock=clock)
    except ValueError as failure:
        return complain(str(failure))
    show = Show(swarm, clock, arguments.json)
    return run_once(reactor, show.run)


class Show:
    """One run of a swarm, with its bar and its report."""

    def __init__(self, swarm: Swarm, clock: IReactorTime, json_file: Path | None = None) -> None:
        self._swarm = swarm
        self._json_file = json_file
        self._bar = LateBar(clock, "registered", swarm.space.count)

    async def run(self) -> int:
        """Return the exit code."""
        try:
            await self._swarm.run(self._look)
        except ListenError as failure:
            return complain(str(failure))
        finally:
            self._bar.close()
        result = result_of(self._swarm)
        standard_screen().draw(blocks_of(result))
        if self._json_file is not None:
            _write_json(self._json_file, result)
        if result.was_interrupted:
            return _INTERRUPTED
        return 1 if result.problems else 0

    def _look(self, swarm: Swarm) -> None:
        self._bar.done = swarm.load.tally[REGISTERED]


def _reactor() -> Any:
    """Return a reactor for more sockets than select() takes."""
    try:
        from twisted.internet.epollreactor import EPollReactor
    except ImportError:  # not Linux
        from twisted.internet.pollreactor import PollReactor

        return PollReactor()
    return EPollReactor()


def _allow_files(plan: Plan) -> None:
    """Raise the limit of open files as far as the sessions need; ValueError where it can't be."""
    wanted = (plan.etrs if plan.uses_sessions else 0) + len(plan.sources) + _SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= wanted:
        return
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise OptionError(
            f"{plan.etrs:,} sessions need {wanted:,} open files and this process may have {hard:,}:"
            f" raise the limit (ulimit -Hn {wanted}), or take fewer --etrs"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _check_writable(path: Path) -> None:
    """Say before the load, not after it, that there is no place for the result."""
    try:
        path.open("a").close()
    except OSError as failure:
        raise OptionError(f"--json {path} can't be written: {failure.strerror}") from None


def _write_json(path: Path, result: Result) -> None:
    path.write_text(json.dumps(result.as_json(), indent=2) + "\n")
