"""Subscribing Map-Requests that are not confirmed yet (RFC 9437 §5): a bounded number of them, for
a bounded time.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from lispmsrt.control.map_replies import HEADER_OCTETS
from lispmsrt.control.published_records import AMPLIFICATION, Told
from lispmsrt.control.questions import LISP_CONTROL_PORT, Question
from lispmsrt.control.subscription_table import SecurityAssociation, Subscriber, Subscription
from lispmsrt.control.unicast import is_loopback, is_unicast
from lispmsrt.mapping.database import Endpoint
from lispmsrt.wire.addresses import Afi, EidPrefix
from lispmsrt.wire.authentication import AUTHENTICATION_OFFSET, Key

__all__ = [
    "CONFIRMATION_TIMEOUT",
    "MAX_EIDS",
    "Candidate",
    "Candidates",
    "Wanted",
    "endpoints_of",
    "room_for_records",
]

CONFIRMATION_TIMEOUT = 9.0
"""Seconds until a candidate is dropped: three Map-Notifies, 3 s apart (RFC 9301 §5.7)."""

_MAP_NOTIFIES = 3

MAX_EIDS = 16
"""EID-prefixes that one Map-Request subscribes to; an ITR asks for one."""

MAX_ENDPOINTS = 8
"""Addresses and ports of one xTR that are tried."""


class Wanted(NamedTuple):
    """One EID-prefix of a candidate, and what its Map-Notify says."""

    eid: EidPrefix
    instance_id: int
    afi: int
    length: int
    key: int
    told: Told
    renews: Subscription | None
    "the subscription that is there already"


class Candidate(NamedTuple):
    """A subscribing Map-Request that waits for its Map-Notify-Ack."""

    number: int
    who: Subscriber
    association: SecurityAssociation
    source: bytes
    "packed outer source address of the Map-Request"
    nonce: int
    asked: tuple[EidPrefix, ...]
    endpoints: tuple[Endpoint, ...]
    wanted: tuple[Wanted, ...]
    deadline: float
    proved: Callable[[], None]
    "to be called when it is acknowledged"


class Candidates:
    """All that wait, by number, which is the order of their deadlines."""

    def __init__(self, max_in_all: int, max_per_xtr: int) -> None:
        self._max_in_all = max_in_all
        self._max_per_xtr = max_per_xtr
        self._by_number: OrderedDict[int, Candidate] = OrderedDict()
        self._of_xtr: dict[Subscriber, OrderedDict[int, None]] = {}
        self._by_nonce: dict[int, dict[int, None]] = {}

    def __len__(self) -> int:
        return len(self._by_number)

    def first(self) -> Candidate | None:
        """Return the oldest."""
        return next(iter(self._by_number.values()), None)

    def has(
        self,
        who: Subscriber,
        nonce: int,
        asked: tuple[EidPrefix, ...],
        endpoints: tuple[Endpoint, ...],
    ) -> bool:
        """Whether this very Map-Request waits already."""
        return any(
            one.who == who and one.asked == asked and one.endpoints == endpoints
            for one in self.under(nonce, who.site)
        )

    def under(self, nonce: int, site: str) -> list[Candidate]:
        """Return those that the same Map-Notify-Ack might confirm."""
        there = (self._by_number[number] for number in self._by_nonce.get(nonce, ()))
        return [one for one in there if one.who.site == site]

    def one_too_many(self, who: Subscriber, source: bytes) -> Candidate | None:
        """Return the one that must go before this xTR can have another from this source."""
        numbers = self._of_xtr.get(who, ())
        if len(numbers) < self._max_per_xtr:
            return self.first() if len(self) >= self._max_in_all else None
        there = [self._by_number[number] for number in numbers]
        # Whoever pretends to be this xTR pays first, with the oldest.
        per_source = Counter([source, *(one.source for one in there)])
        most = max(per_source[one.source] for one in there)
        return next(one for one in there if per_source[one.source] == most)

    def add(self, candidate: Candidate) -> None:
        """Keep one; its number and its deadline are the greatest."""
        self._by_number[candidate.number] = candidate
        self._of_xtr.setdefault(candidate.who, OrderedDict())[candidate.number] = None
        self._by_nonce.setdefault(candidate.nonce, {})[candidate.number] = None

    def remove(self, candidate: Candidate) -> None:
        """Forget one that is there."""
        del self._by_number[candidate.number]
        numbers = self._of_xtr[candidate.who]
        del numbers[candidate.number]
        if not numbers:
            del self._of_xtr[candidate.who]
        same = self._by_nonce[candidate.nonce]
        del same[candidate.number]
        if not same:
            del self._by_nonce[candidate.nonce]


def endpoints_of(question: Question, can_reach: Callable[[int], bool]) -> tuple[Endpoint, ...]:
    """Return where the xTR may take Map-Notifies, the ITR-RLOC of a Map-Reply first."""
    assert question.reply_to is not None
    chosen, port = question.reply_to
    loopback = is_loopback(question.source[0])
    rlocs = [
        rloc
        for rloc in question.itr_rlocs
        if is_unicast(rloc, loopback=loopback)
        and can_reach(Afi.IPV4 if len(rloc) == 4 else Afi.IPV6)
    ]
    # RFC 9301 §5.7 sends them to port 4342, yet who asks from another port hears there.
    both = [(rloc, at) for rloc in (chosen, *rlocs) for at in (port, LISP_CONTROL_PORT)]
    return tuple(dict.fromkeys(both))[:MAX_ENDPOINTS]


def room_for_records(octets: int, key: Key, *, has_reply: bool) -> int:
    """Return how many octets of records each Map-Notify may have for a Map-Request of so many:
    whoever spoofed its ITR-RLOC has them sent to a victim. A Map-Reply besides takes half.
    """
    in_all = AMPLIFICATION * (octets + HEADER_OCTETS) // (2 if has_reply else 1)
    return in_all // _MAP_NOTIFIES - HEADER_OCTETS - AUTHENTICATION_OFFSET - key.sent_length
