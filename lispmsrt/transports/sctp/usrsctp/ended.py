"""Associations that have ended: a peer that goes on with one has missed the last packet."""

from __future__ import annotations

from collections import Counter

from lispmsrt.transports.sctp.usrsctp.packets import Header

__all__ = ["EndedAssociations"]

_MAX_REMEMBERED = 4096
"""Of one listening port, all that it may have at a time: a Map-Server may end them all at once. One
occupies some 200 octets.
"""

_REMEMBERED_FOR = 60.0
"""Seconds: twice as long as a peer goes on that hears nothing, with the usual heartbeat."""

_Key = tuple[str, int, int]


class EndedAssociations:
    """By host, SCTP port and verification tag, which only the peer knows: nobody else can have us
    send something, and the peer may have another UDP port by now.
    """

    def __init__(self, counters: Counter[str]) -> None:
        self._counters = counters
        self._until: dict[_Key, float] = {}
        "oldest first"

    def __len__(self) -> int:
        return len(self._until)

    def add(self, host: str, port: int, tag: int, now: float) -> None:
        """Remember one for a while."""
        self._forget_old(now)
        self._until[host, port, tag] = now + _REMEMBERED_FOR
        if len(self._until) > _MAX_REMEMBERED:
            self._drop_oldest()
            self._counters["ended associations forgotten early"] += 1

    def has(self, host: str, header: Header, now: float) -> bool:
        """Whether a packet belongs to one."""
        return self._until.get((host, header.source, header.tag), 0.0) > now

    def _forget_old(self, now: float) -> None:
        while self._until and next(iter(self._until.values())) <= now:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        del self._until[next(iter(self._until))]
