"""Map-Requests of a swarm, and whether the Map-Replies tell what was registered. No I/O in here."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from struct import Struct

from lispmsrt.swarm.latencies import Latencies, ticks
from lispmsrt.swarm.load import GONE, REGISTERED, Load
from lispmsrt.swarm.questions import Question, what_is_wrong
from lispmsrt.wire.addresses import Address
from lispmsrt.wire.messages import ControlType

__all__ = ["Lookups"]

PATIENCE = 2.0
"""Seconds after which a Map-Reply is missed."""

MAX_OUTSTANDING = 16_384
"""Map-Requests without an answer: there is no use in more."""

MAX_EXAMPLES = 10
"""Wrong answers that are told of; the others are only counted."""

_TRIES = 8
"""Random EIDs that are looked at for one that is settled."""

_HEAD = Struct("!IQ")  # first word, nonce


@dataclass(slots=True)
class _Asked:
    number: int
    state: int
    version: int
    owner: int
    at: float


class Lookups:
    """Questions about EIDs that are settled, at random."""

    def __init__(
        self,
        load: Load,
        asking: list[Question],
        *,
        rloc_of: Callable[[int], Address],
        random: Random,
    ) -> None:
        """``rloc_of`` tells the locator of an ETR by its number."""
        self.counters: Counter[str] = Counter()
        self.latencies = Latencies()
        self.wrong: list[str] = []
        "some of the wrong answers, in words"
        self._load = load
        self._questions = {question.block.first: question for question in asking}
        self._rloc_of = rloc_of
        self._random = random
        self._asked: OrderedDict[int, _Asked] = OrderedDict()
        self._nonce = random.getrandbits(32) << 32

    @property
    def outstanding(self) -> int:
        """Questions that wait for their answers."""
        return len(self._asked)

    def ask(self, count: int, now: float) -> list[bytes]:
        """Return so many Map-Requests, or fewer where there is nothing to ask for."""
        self.expire(now)
        load, datagrams = self._load, []
        for _question in range(count):
            number = self._settled()
            if number is None:
                break
            if len(self._asked) >= MAX_OUTSTANDING:
                self.counters["not asked: too many without an answer"] += 1
                continue
            self._nonce += 1
            state, version, owner = load.states[number], load.versions[number], load.owners[number]
            self._asked[self._nonce] = _Asked(number, state, version, owner, now)
            question = self._questions[load.space.block_of(number).first]
            datagrams.append(question.ask(number, self._nonce))
        self.counters["asked"] += len(datagrams)
        return datagrams

    def receive_datagram(self, data: bytes, now: float) -> None:
        """Take what came back."""
        if len(data) < _HEAD.size or data[0] >> 4 != ControlType.MAP_REPLY:
            self.counters["datagrams that are no Map-Reply"] += 1
            return
        asked = self._asked.pop(_HEAD.unpack_from(data)[1], None)
        if asked is None:
            self.counters["Map-Replies to no question, or too late"] += 1
            return
        self.counters["answered"] += 1
        self.latencies.observe(ticks(now - asked.at))
        self._judge(data, asked)

    def expire(self, now: float) -> None:
        """Give up what is not answered."""
        while self._asked:
            nonce, asked = next(iter(self._asked.items()))
            if now - asked.at < PATIENCE:
                return
            del self._asked[nonce]
            self.counters["not answered"] += 1

    def _settled(self) -> int | None:
        """Return an EID that nothing is under way about."""
        load, count = self._load, self._load.space.count
        if not load.tally[REGISTERED] and not load.tally[GONE]:
            return None
        for _try in range(_TRIES):
            number = int(self._random.random() * count)
            if load.states[number] in (REGISTERED, GONE):
                return number
        return None

    def _judge(self, data: bytes, asked: _Asked) -> None:
        load, number = self._load, asked.number
        now = (load.states[number], load.versions[number], load.owners[number])
        if now != (asked.state, asked.version, asked.owner):
            self.counters["changed meanwhile, so not judged"] += 1
            return
        block = load.space.block_of(number)
        wire_form = block.head + block.address(number)
        rloc = self._rloc_of(asked.owner) if asked.state == REGISTERED else None
        wrong = what_is_wrong(data, load.space.eid(number), wire_form, rloc, 1 + asked.version)
        self.counters["wrong" if wrong else "right"] += 1
        if wrong and len(self.wrong) < MAX_EXAMPLES:
            self.wrong.append(wrong)
