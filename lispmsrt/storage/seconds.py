"""The file's own seconds, which go on over restarts, stepped clocks and reboots.

Nothing that is kept depends on what the wall clock says: it is asked for one thing only, how long
the process was away, and that only where the host was restarted meanwhile.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

__all__ = ["Moment", "ReadsMoment", "Seconds", "this_moment"]

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Moment(NamedTuple):
    """One moment by every clock of the host."""

    wall: float
    "seconds since 1970"
    since_boot: float
    "seconds, those that the host slept too"
    boot: str
    "of which start of the host; empty where it has no name"


def this_moment() -> Moment:
    """Read the clocks."""
    return Moment(time.time(), time.clock_gettime(time.CLOCK_BOOTTIME), _boot())


@functools.cache
def _boot() -> str:
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


class Seconds:
    """Monotonic seconds of this process, and the file's: they differ by a constant."""

    def __init__(
        self,
        now: float,
        moment: Moment,
        last: tuple[float, Moment] | None,
    ) -> None:
        """``last`` is when the process before wrote last: in the file's seconds, and by the clocks;
        None where there is none.
        """
        self.started = now
        "in monotonic seconds"
        if last is None:
            self.away = 0.0
            "how long there was no process, in seconds"
            self.offset = moment.wall - now
            "what makes monotonic seconds the file's"
            return
        stamp, then = last
        if then.boot and then.boot == moment.boot:
            away = moment.since_boot - then.since_boot
        else:
            # A clock that went back says nothing; one that went forward ends what has a deadline
            # early, and never late.
            away = moment.wall - then.wall
        self.away = max(0.0, away)
        self.offset = stamp + self.away - now

    def monotonic(self, stamp: float) -> float:
        """Return the file's seconds as this process's."""
        return stamp - self.offset


ReadsMoment = Callable[[], Moment]
