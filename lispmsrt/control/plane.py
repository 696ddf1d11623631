"""One UDP socket's worth of LISP control messages, handed to the parts that take them (RFC 9301
§5.1): the Map-Server's registrations, its answers, the Map-Resolver.

The parts share the sockets and know nothing of each other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from lispmsrt.control.questions import Endpoint
from lispmsrt.wire.errors import WireError
from lispmsrt.wire.messages import message_type

__all__ = ["ControlPlane", "Datagram", "ReceiveRun", "Sends", "Takes", "TakesRuns"]

Datagram = tuple[bytes, Endpoint]
"""Octets, and who sent them or is to have them."""

ReceiveRun = Callable[[list[Datagram], int, float], int]
"""Takes the first datagrams of a batch, from the one with this number on, at a time in monotonic
seconds, and returns how many: those that are of the same type as the first and that are ordinary. 0
is none: then the first one is for :meth:`Takes.receive_datagram`. It leaves the batch alone.
"""


class Takes(Protocol):
    """Takes control messages of some types."""

    def receive_datagram(self, data: bytes, source: Endpoint, now: float) -> None:
        """Take one datagram. Queues output."""


class TakesRuns(Takes, Protocol):
    """Takes what is ordinary many at a time, the rest one by one."""

    receive_run: ReceiveRun | None
    "None where nothing does so"


class Sends(Protocol):
    """Has control messages to send, now or later."""

    def datagrams_to_send(self, now: float) -> list[Datagram]:
        """Return what is to be sent now, and forget it."""

    def next_timeout(self) -> float | None:
        """When there will be something, in monotonic seconds."""


class ControlPlane:
    """Take control messages by their type; collect what is to be sent."""

    def __init__(self, takes: Mapping[int, Takes], sends: Sequence[Sends]) -> None:
        self.counters: Counter[str] = Counter()
        self._takes = dict(takes)
        self._runs: dict[int, ReceiveRun] = {
            kind: run
            for kind, part in takes.items()
            if (run := getattr(part, "receive_run", None)) is not None
        }
        "by the type of the message; asked of the parts once, here"
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

    def receive_datagrams(self, batch: list[Datagram], now: float) -> None:
        """Take the datagrams off the batch, the first one first; where one fails, what is behind it
        is left there. Queues output.
        """
        runs = self._runs
        count, at = len(batch), 0
        try:
            while at < count:
                data, source = batch[at]
                run = runs.get(data[0] >> 4) if data else None
                taken = run(batch, at, now) if run is not None else 0
                if not taken:
                    self.receive_datagram(data, source, now)
                    taken = 1
                at += taken
        finally:
            del batch[: at + 1]

    def datagrams_to_send(self, now: float) -> list[Datagram]:
        """Return what is to be sent now, and forget it."""
        output: list[Datagram] = []
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
