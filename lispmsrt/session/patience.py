"""How much that comes to nothing a Map-Server takes from its sessions: Registrations that are
refused, what can't be read, what nobody asked for, RLOC membership.

Who has used it up is not read from for a while; nothing is dropped, and nobody else waits. What is
accepted costs nothing here.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from lispmsrt.bucket import Bucket

__all__ = ["Patience", "PatienceLimits", "SessionPatience"]

_ASK_EVERY = 0.25
"""Seconds until a session looks again whether something shared is left: what has come together by
then it takes at once.
"""


@dataclass(frozen=True, slots=True)
class PatienceLimits:
    """Messages: one costs a hash and some 20 us, and counts once more for every KiB that it has."""

    session_burst: float = 64.0
    "that each session may bring whatever the others do: more than an honest ETR has refused"
    session_rate: float = 4.0
    "and more of them a second: who waits for the others gets on"
    source_burst: float = 1024.0
    "that the sessions from one address may bring besides: 25 ms"
    source_rate: float = 500.0
    "and more of them a second: a window full of an ETR with a wrong key takes 6 s"
    total_burst: float = 2048.0
    "that all sessions may bring besides: 50 ms"
    total_rate: float = 1000.0
    "and more of them a second: 2 % of a core, and as much with 250 sessions' own"
    max_sources: int = 4096
    "whose bursts are remembered; who is forgotten has a new one"


class Patience:
    """What all sessions of a Map-Server share."""

    def __init__(self, limits: PatienceLimits | None = None) -> None:
        self.limits = limits or PatienceLimits()
        self._total = Bucket(self.limits.total_burst, self.limits.total_rate, 0.0)
        self._sources: OrderedDict[bytes, Bucket] = OrderedDict()

    def with_session(self, source: bytes, now: float) -> SessionPatience:
        """Return the part of a new session from this address."""
        limits = self.limits
        bucket = self._sources.get(source)
        if bucket is None:
            if len(self._sources) >= limits.max_sources:
                self._sources.popitem(last=False)
            bucket = self._sources[source] = Bucket(limits.source_burst, limits.source_rate, now)
        else:
            self._sources.move_to_end(source)
        own = Bucket(limits.session_burst, limits.session_rate, now)
        return SessionPatience(own, bucket, self._total)


class SessionPatience:
    """What is left for one session: its own first, then what it shares."""

    __slots__ = ("_own", "_source", "_total")

    def __init__(self, own: Bucket, source: Bucket, total: Bucket) -> None:
        self._own = own
        self._source = source
        self._total = total

    def is_left(self, now: float) -> bool:
        """Whether one more message may be looked at: to be asked before any work is done for it."""
        return self._own.is_left(now) or (self._source.is_left(now) and self._total.is_left(now))

    def spend(self, octets: int, now: float) -> None:
        """A message of this size came to nothing."""
        cost = 1.0 + (octets >> 10)
        if self._own.is_left(now):
            self._own.spend(cost)
        else:
            self._source.spend(cost)
            self._total.spend(cost)

    def ready_at(self, now: float) -> float:
        """Return when to ask :meth:`is_left` again. Of what is shared so seldom that hundreds who
        wait for it do not spend more time in asking than there is to have.
        """
        if self.is_left(now):
            return now
        shared = max(self._source.ready_at(now), self._total.ready_at(now))
        return min(self._own.ready_at(now), max(shared, now + _ASK_EVERY))
