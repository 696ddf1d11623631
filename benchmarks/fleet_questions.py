"""Who asks for mappings while a Map-Server restarts: one Map-Request after the other, at a steady
pace, each asked once.
"""

from __future__ import annotations

import select
import time
from contextlib import suppress
from random import Random
from typing import NamedTuple

from benchmarks.fleet_etr import Loop
from benchmarks.load import MAP_SERVER, nonce_of
from benchmarks.messages import ADDRESS, CHUNK, FIRST_EID
from benchmarks.questions import Asker, map_request
from lispmsrt import Address, EidPrefix
from lispmsrt.wire.afi import Afi

__all__ = ["Answers", "Lookups"]

_INTERVAL = 0.002
_IN_TIME = 1.0
"""Seconds after which an ITR would ask again."""

_LOCATOR_COUNT = 16
"""Where a Map-Reply has the number of locators of its first record."""


class Answers(NamedTuple):
    """What became of questions."""

    asked: int
    answered: int
    "in time"
    with_mapping: int
    "in time, with the mapping"
    median: float
    "seconds to an answer"
    worst: float


class Lookups:
    """Ask for random EIDs among those that are to be registered."""

    def __init__(self, loop: Loop, port: int, mappings: int, random: Random) -> None:
        self._loop = loop
        self._mappings = mappings
        self._random = random
        self._asked: list[float] = []
        "when, by the number of the question"
        self._answers: dict[int, tuple[float, bool]] = {}
        "when, and whether with the mapping"
        self._asker = Asker()
        self._source = Address.from_text(ADDRESS)
        self._is_asking = False
        self._udp = self._asker.connected(MAP_SERVER, port)
        loop.watch(self._udp.fileno(), select.EPOLLIN, self._on_datagram)

    def close(self) -> None:
        """Close the socket."""
        self._is_asking = False
        self._loop.unwatch(self._udp.fileno())
        self._udp.close()

    def start(self) -> None:
        """Ask from now on."""
        self._is_asking = True
        self._ask()

    def _ask(self) -> None:
        if not self._is_asking:
            return
        self._loop.call_later(_INTERVAL, self._ask)
        eid = FIRST_EID + self._random.randrange(self._mappings)
        prefix = EidPrefix(0, Address(Afi.IPV4, eid.to_bytes(4, "big")), 32)
        question = map_request(len(self._asked), prefix, self._source, self._asker.port)
        self._asked.append(time.perf_counter())
        with suppress(BlockingIOError, ConnectionRefusedError):
            self._udp.send(question)

    def _on_datagram(self, events: int) -> None:
        with suppress(BlockingIOError, ConnectionRefusedError):
            while True:
                reply = self._udp.recv(CHUNK)
                number = int.from_bytes(nonce_of(reply), "big")
                now = time.perf_counter()
                self._answers.setdefault(number, (now, reply[_LOCATOR_COUNT] > 0))

    def between(self, begin: float, end: float) -> Answers:
        """Return what became of the questions asked in this time."""
        numbers = [number for number, at in enumerate(self._asked) if begin <= at < end]
        found = [(number, self._answers.get(number)) for number in numbers]
        in_time = [
            (answer[0] - self._asked[number], answer[1])
            for number, answer in found
            if answer is not None and answer[0] - self._asked[number] <= _IN_TIME
        ]
        times = sorted(seconds for seconds, _has_mapping in in_time) or [0.0]
        with_mapping = sum(has_mapping for _seconds, has_mapping in in_time)
        median = times[len(times) // 2]
        return Answers(len(numbers), len(in_time), with_mapping, median, times[-1])
