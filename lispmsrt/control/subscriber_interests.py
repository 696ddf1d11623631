"""What an xTR has subscribed to, and to which subscription a Map-Notify belongs: nonces tell (RFC
9437 §6).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator

from lispmsrt.control.inquiries import covers
from lispmsrt.control.subscription_table import NONCES
from lispmsrt.wire.addresses import EidPrefix
from lispmsrt.wire.records import MappingRecord

__all__ = ["Interest", "Interests", "is_about"]

MAX_AHEAD = 1 << 32
"""By how much a publication's nonce may be greater than the one before. They count up by one (RFC
9437 §6); in serial arithmetic alone, any other number is greater as often as not.
"""

_REMEMBERED = 64
"""Nonces of cancelled subscriptions that are acknowledged again when their Map-Notify repeats."""


class Interest:
    """One EID-prefix subscribed to."""

    __slots__ = (
        "comes_back",
        "due",
        "eid",
        "is_confirmed",
        "is_leaving",
        "requested",
        "saved",
        "tries",
    )

    def __init__(self, eid: EidPrefix, now: float) -> None:
        self.eid = eid
        self.saved = 0
        "nonce of the newest Map-Notify"
        self.is_confirmed = False
        "whether there was one"
        self.is_leaving = False
        self.comes_back = False
        "whether it is to be subscribed to again once it is cancelled"
        self.requested: int | None = None
        "nonce of the Map-Request that waits for its answer"
        self.tries = 0
        self.due = now
        "when the next Map-Request is to be sent"


class Interests:
    """Every subscription, by EID-prefix. There are few: all of them are looked through."""

    def __init__(self) -> None:
        self._by_eid: dict[EidPrefix, Interest] = {}
        self._past: OrderedDict[int, None] = OrderedDict()

    def __iter__(self) -> Iterator[Interest]:
        return iter(tuple(self._by_eid.values()))

    def get(self, eid: EidPrefix) -> Interest | None:
        """Return the subscription to exactly this EID-prefix."""
        return self._by_eid.get(eid)

    def begin(self, eid: EidPrefix, now: float) -> None:
        """Enter a new subscription."""
        self._by_eid[eid] = Interest(eid, now)

    def end(self, interest: Interest, nonce: int | None = None) -> None:
        """Forget it; ``nonce`` is that of the Map-Notify that said so."""
        del self._by_eid[interest.eid]
        if nonce is not None:
            self._past[nonce] = None
            if len(self._past) > _REMEMBERED:
                self._past.popitem(last=False)

    def asking(self, nonce: int) -> Interest | None:
        """Return the one whose Map-Request with this nonce waits for its answer."""
        for interest in self._by_eid.values():
            if interest.requested == nonce and interest.tries:
                return interest
        return None

    def is_repeated(self, nonce: int) -> bool:
        """Whether this is the nonce of a Map-Notify that was the last of its subscription."""
        return nonce in self._past or any(
            interest.is_confirmed and interest.saved == nonce for interest in self._by_eid.values()
        )

    def concerned(self, nonce: int, records: Iterable[MappingRecord]) -> Interest | None:
        """Return the subscription that the Map-Notify publishes for; None where it is none, or out
        of date.

        Several subscriptions may concern the same mapping, each with its own nonces, and the
        Map-Server may have one that was given up here: it belongs to the one whose saved nonce is
        near, if any.
        """
        eids = [record.eid for record in records]
        concerned = [
            interest
            for interest in self._by_eid.values()
            if interest.is_confirmed
            and all(covers(interest.eid, eid) or covers(eid, interest.eid) for eid in eids)
        ]
        for interest in concerned:
            if 0 < (nonce - interest.saved) % NONCES <= MAX_AHEAD:
                return interest
        return None


def is_about(interest: Interest, records: Iterable[MappingRecord]) -> bool:
    """Whether this is said of all of the EID-prefix, as the answer to a Map-Request is; a
    publication of the same nonce may not be.
    """
    return any(covers(record.eid, interest.eid) for record in records)
