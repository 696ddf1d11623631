"""How much of the reactor's time goes to strangers, beside sessions that have work too.

Datagrams of LISP control, connections, handshakes: whoever floods one of these makes its part of
each turn of the reactor as long as it may be, and so the sessions' part small. Therefore these have
one account: while sessions have work they get a quarter of the time together, and what they take
too much they owe. Times are monotonic seconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from operator import attrgetter

__all__ = ["LONGEST", "SHARE", "SHORTEST", "Turn", "Turns"]

SHARE = 1 / 4
"""Of the time, while sessions have something to read: with all that is around it that costs these
less than half of their rate; over UDP it is more than 100,000 Map-Registers a second still.
"""

LONGEST = 0.005
"""Seconds that one turn takes at most, and what may be saved up for one."""

SHORTEST = 0.00025
"""Seconds for which a turn is worth its system calls; and how long one lasts while sessions are
between two chunks, waiting for their peers: these answer in about that time.
"""

_RECENTLY = 0.02
"""Seconds after a session's chunk during which another is expected."""

_LONGEST_PIECE = 0.025
"""Seconds that are counted of one piece of work: a clock that jumps, or a process that was stopped,
is not to make anybody wait for long.
"""

_MOST_DEBT = 0.25
"""Seconds that one owes at most: a second of waiting, or two where another one has debts too."""


class Turns:
    """What the turns have in common: one clock, one share of the time, and who else has work."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self.counters: Counter[str] = Counter()
        self.seconds = seconds
        self.others = 0
        "pieces of work that others had: a session's chunk is one"
        self._all: list[Turn] = []
        self._credited_at = seconds()

    def __len__(self) -> int:
        return len(self._all)

    def others_worked(self) -> None:
        """Take note that somebody else had something to do."""
        self.others += 1

    def another(self) -> Turn:
        """Return the turn of another socket."""
        turn = Turn(self)
        self._all.append(turn)
        return turn

    def forget_all(self) -> None:
        """All those sockets are closed."""
        self._all.clear()

    def credit(self, now: float) -> None:
        """Hand out the share of the time that has passed: to each the same, but what one has no
        room for is the others'.
        """
        share = max(now - self._credited_at, 0.0) * SHARE
        self._credited_at = now
        left = len(self._all)
        for turn in sorted(self._all, key=attrgetter("allowance"), reverse=True):
            given = min(share / left, LONGEST - turn.allowance)
            turn.allowance += given
            share -= given
            left -= 1


class Turn:
    """When one socket may take what has come to it, and for how long; and what pays for those whom
    it has let in until they have a session.
    """

    def __init__(self, turns: Turns) -> None:
        self.allowance = LONGEST
        "seconds; below 0 is a debt"
        self._turns = turns
        self._began_at = self._over_at = turns.seconds()
        self._given = 0.0
        "seconds of this turn that nobody needs to pay for"
        self._seen = turns.others
        self._have_worked = False
        "whether others had, when this was to begin last"
        self._expects_others_until = float("-inf")

    def begin(self) -> bool:
        """Whether the socket is to take something now; if so, :meth:`end` is to follow."""
        turns, now = self._turns, self._turns.seconds()
        had_worked = self._have_worked
        self._have_worked = self._have_others_worked(now)
        self._given = 0.0
        if self.allowance < SHORTEST:
            # Where the reactor has come round, and nobody else had anything to do, to wait would
            # help nobody; but who owes much has let in more than that.
            if had_worked or self._have_worked or self.allowance < -LONGEST:
                turns.counters["turns left to sessions"] += 1
                return False
            self._given = SHORTEST
        self._began_at = now
        self._over_at = now + max(self.allowance, self._given)
        return True

    def has_time(self) -> bool:
        """Whether there is time for something that has no beginning and end of its own."""
        self._have_others_worked(self._turns.seconds())
        return self.allowance >= SHORTEST

    def _have_others_worked(self, now: float) -> bool:
        """Whether they have since this was asked last; the allowance is up to date then."""
        turns = self._turns
        have_worked = turns.others != self._seen
        if have_worked:
            self._seen = turns.others
            self._expects_others_until = now + _RECENTLY
        if now < self._expects_others_until:
            turns.credit(now)
        else:
            self.allowance = LONGEST
        return have_worked

    def is_over(self) -> bool:
        """Whether the time is up."""
        return self._turns.seconds() >= self._over_at

    def end(self) -> None:
        """Pay for the time that was used."""
        self.took(self._turns.seconds() - self._began_at - self._given)

    def took(self, seconds: float) -> None:
        """Pay for something that was done outside of a turn, and can't wait for one."""
        piece = min(max(seconds, 0.0), _LONGEST_PIECE)
        self.allowance = max(self.allowance - piece, -_MOST_DEBT)

    @contextmanager
    def metered(self) -> Iterator[None]:
        """Pay for what is done within."""
        began_at = self._turns.seconds()
        try:
            yield
        finally:
            self.took(self._turns.seconds() - began_at)
