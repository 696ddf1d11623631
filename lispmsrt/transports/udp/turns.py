"""How much of the reactor's time UDP sockets take, beside others that have work too.

A turn of the reactor reads from every socket that has something. Whoever floods a UDP socket
makes its part of each turn as long as it may be, and so all others' part small. Therefore that part
is bounded in time, and while sessions have work UDP gets a quarter of it; what it takes too much it
owes. Times are monotonic seconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

__all__ = ["LONGEST", "SHARE", "SHORTEST", "Turn", "Turns"]

SHARE = 1 / 4
"""Of the time, while sessions have something to read: with all that is around it UDP costs these
less than half of their rate, also where handshakes cost something besides; it takes more than
100,000 Map-Registers a second still.
"""

LONGEST = 0.005
"""Seconds that a socket's turn takes at most, and what it may save up: as long as datagrams wait
while sessions are busy.
"""

SHORTEST = 0.00025
"""Seconds for which a turn is worth its system calls; and how long one lasts while sessions are
between two chunks, waiting for their peers: these answer in about that time.
"""

_RECENTLY = 0.02
"""Seconds after a session's chunk during which another is expected."""

_MOST_DEBT = 0.025
"""Seconds that a socket owes at most: a clock that jumps, or a process that was stopped, is not to
make it wait for long.
"""


class Turns:
    """What several sockets' turns have in common: one clock, and who else has work."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self.counters: Counter[str] = Counter()
        self.seconds = seconds
        self.others = 0
        "pieces of work that others had: a session's chunk is one"
        self.sockets = 0

    def others_worked(self) -> None:
        """Take note that somebody else had something to do."""
        self.others += 1

    def another(self) -> Turn:
        """Return the turn of another socket."""
        self.sockets += 1
        return Turn(self)


class Turn:
    """When one socket may take datagrams, and for how long."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._allowance = LONGEST
        "seconds; below 0 is a debt"
        self._since = turns.seconds()
        "from when on the time of others is still to be credited"
        self._over_at = self._since
        self._seen = turns.others
        self._expects_others_until = float("-inf")

    def begin(self) -> bool:
        """Whether the socket is to take datagrams now."""
        turns, now = self._turns, self._turns.seconds()
        # Of n sockets each gets its part of the share: in the time that it did not have itself
        # there were the parts of the others too.
        credit = (now - self._since) * SHARE / (turns.sockets - SHARE)
        self._since = now
        self._allowance = min(self._allowance + credit, LONGEST)
        if turns.others != self._seen:
            self._seen = turns.others
            self._expects_others_until = now + _RECENTLY
            if self._allowance < SHORTEST:
                turns.counters["UDP turns left to sessions"] += 1
                return False
        else:
            # Nobody else has anything to do: to wait would help nobody.
            least = SHORTEST if now < self._expects_others_until else LONGEST
            self._allowance = max(self._allowance, least)
        self._over_at = now + self._allowance
        return True

    def is_over(self) -> bool:
        """Whether the time is up."""
        return self._turns.seconds() >= self._over_at

    def end(self) -> None:
        """Pay for the time that was used."""
        now = self._turns.seconds()
        self._allowance = max(self._allowance - (now - self._since), -_MOST_DEBT)
        self._since = now
