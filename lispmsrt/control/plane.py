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
from lispmsrt.wire.messages import ControlType, message_type

__all__ = [
    "WORK_AT_ONCE",
    "ControlPlane",
    "Datagram",
    "ReceiveRun",
    "Sends",
    "Takes",
    "TakesRuns",
]

WORK_AT_ONCE = 16
"""Work that is done for datagrams that are taken one by one, before whoever has brought them may
look at the time: some 0.3 ms. A datagram is one, and one more for each :data:`_OCTETS` in it: the
longest question that is read, which takes a few ms, is the last of its batch.
"""

_OCTETS = 256
"""Octets of a datagram that are as much work as another datagram."""

_QUESTION = 4
"""A Map-Request that is out of the ordinary, one that subscribes above all, is as much work as so
many others.
"""

_QUESTIONS = frozenset({int(ControlType.MAP_REQUEST), int(ControlType.ENCAPSULATED)})

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
        self._parts = dict(takes)
        self._takes: dict[int, Takes] = {}
        "those that are taken now"
        self._runs: dict[int, ReceiveRun] = {}
        "by the type of the message; asked of the parts once"
        self.decline()
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

    def decline(self, *kinds: int) -> None:
        """Take no messages of these types from now on, but all others."""
        self._takes = {kind: part for kind, part in self._parts.items() if kind not in kinds}
        self._runs = {
            kind: run
            for kind, part in self._takes.items()
            if (run := getattr(part, "receive_run", None)) is not None
        }

    def receive_datagrams(self, batch: list[Datagram], now: float) -> None:
        """Take datagrams off the batch, the first one first, until there are none or it was
        :data:`WORK_AT_ONCE`; where one fails, what is behind it is left there. Queues output.
        """
        runs = self._runs
        count, at, work = len(batch), 0, 0
        try:
            while at < count and work < WORK_AT_ONCE:
                data, source = batch[at]
                run = runs.get(data[0] >> 4) if data else None
                taken = run(batch, at, now) if run is not None else 0
                at += taken
                if not taken:
                    # Counted before: whatever fails is taken too.
                    at += 1
                    work += _work(data)
                    self.receive_datagram(data, source, now)
        finally:
            del batch[:at]

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


def _work(data: bytes) -> int:
    is_question = bool(data) and data[0] >> 4 in _QUESTIONS
    return (_QUESTION if is_question else 1) + len(data) // _OCTETS
