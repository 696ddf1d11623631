"""One UDP socket's worth of LISP control messages, handed to the parts that take them (RFC 9301
§5.1): the Map-Server's registrations, its answers, the Map-Resolver.

The parts share the sockets and know nothing of each other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Protocol

from lispmsrt.control.questions import Endpoint
from lispmsrt.wire.errors import WireError
from lispmsrt.wire.messages import message_type

__all__ = ["ControlPlane", "Sends", "Takes"]


class Takes(Protocol):
    """Takes control messages of some types."""

    def receive_datagram(self, data: bytes, source: Endpoint, now: float) -> None:
        """Take one datagram. Queues output."""


class Sends(Protocol):
    """Has control messages to send, now or later."""

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, Endpoint]]:
        """Return what is to be sent now, and forget it."""

    def next_timeout(self) -> float | None:
        """When there will be something, in monotonic seconds."""


class ControlPlane:
    """Take control messages by their type; collect what is to be sent."""

    def __init__(self, takes: Mapping[int, Takes], sends: Sequence[Sends]) -> None:
        self.counters: Counter[str] = Counter()
        self._takes = dict(takes)
        self._sends = tuple(sends)

    def receive_datagram(self, data: bytes, source: Endpoint, now: float) -> None:
        """Take one datagram; what nobody takes is counted. Queues output."""
        try:
            kind = message_type(data)
        except WireError:
            self.counters["malformed datagrams"] += 1
            return
        part = self._takes.get(kind)
        if part is None:
            self.counters[f"type {kind} not handled"] += 1
        else:
            part.receive_datagram(data, source, now)

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, Endpoint]]:
        """Return what is to be sent now, and forget it."""
        output: list[tuple[bytes, Endpoint]] = []
        for part in self._sends:
            output += part.datagrams_to_send(now)
        return output

    def next_timeout(self) -> float | None:
        """When there will be something to send, in monotonic seconds."""
        earliest = None
        # Asked for after every datagram: a loop costs a third of what min() does.
        for part in self._sends:
            at = part.next_timeout()
            if at is not None and (earliest is None or at < earliest):
                earliest = at
        return earliest
