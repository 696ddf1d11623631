"""Which subscriptions there may be: how many, to what, and under which nonces (RFC 9437 §5)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from lispmsrt.control.publications import PublicationPace
from lispmsrt.control.published_records import PublishedRecords
from lispmsrt.control.subscription_nonces import UsedNonces
from lispmsrt.control.subscription_table import (
    NONCES,
    Subscriber,
    Subscription,
    SubscriptionTable,
)
from lispmsrt.mapping.sites import eid_key
from lispmsrt.wire.addresses import Address, Afi, EidPrefix

__all__ = [
    "Admission",
    "SubscriptionLimits",
    "can_be_looked_up",
    "may_follow",
]


@dataclass(frozen=True, slots=True)
class SubscriptionLimits:
    """How much there may be."""

    max_subscriptions: int = 100_000
    "in all: some 80 MB"
    max_per_xtr: int = 1000
    max_per_eid: int = 10_000
    "of one EID-prefix: so many Map-Notifies does one change cost"
    max_candidates: int = 4096
    "not acknowledged yet, in all"
    max_candidates_per_xtr: int = 8
    """beyond, the oldest goes of the source address that has most: whoever pretends to be an xTR
    must not shut it out
    """
    pace: PublicationPace = field(default_factory=PublicationPace)


class Admission:
    """Say which subscriptions are taken; count those that are not."""

    def __init__(
        self,
        table: SubscriptionTable,
        records: PublishedRecords,
        nonces: UsedNonces,
        limits: SubscriptionLimits,
        counters: Counter[str],
    ) -> None:
        self._table = table
        self._records = records
        self._nonces = nonces
        self._limits = limits
        self._counters = counters

    def admits(self, eid: EidPrefix, who: Subscriber, nonce: int, rlocs: Iterable[bytes]) -> bool:
        """Whether the xTR may subscribe to this EID-prefix with this nonce."""
        reason = self._why_not(eid, who, nonce, rlocs)
        if reason:
            self._counters[f"subscriptions refused: {reason}"] += 1
        return not reason

    def has_room(self, who: Subscriber, instance_id: int, afi: int, key: int) -> bool:
        """Whether one more of this xTR and EID-prefix can be, if need be in place of another."""
        limits, table = self._limits, self._table
        if table.count_of_xtr(who) >= limits.max_per_xtr:
            return False
        if table.count_of_eid(instance_id, afi, key) >= limits.max_per_eid:
            return table.surplus_of_eid(instance_id, afi, key, who.site) is not None
        return len(table) < limits.max_subscriptions or table.surplus(who.site) is not None

    def surplus(self, site: str, instance_id: int, afi: int, key: int) -> Subscription | None:
        """Return what has to go for one more to this EID-prefix, where :meth:`has_room`."""
        limits, table = self._limits, self._table
        if table.count_of_eid(instance_id, afi, key) >= limits.max_per_eid:
            return table.surplus_of_eid(instance_id, afi, key, site)
        return table.surplus(site) if len(table) >= limits.max_subscriptions else None

    def _why_not(self, eid: EidPrefix, who: Subscriber, nonce: int, rlocs: Iterable[bytes]) -> str:
        if not can_be_looked_up(eid):
            return "no EID that can be looked up"
        instance_id, afi, length, key = eid_key(eid)
        subscription = self._table.find(instance_id, afi, key, who)
        if subscription is not None:
            if not may_follow(subscription, nonce):
                return "replay"
        elif self._nonces.has(who.site, nonce):
            return "replay"
        elif not self.has_room(who, instance_id, afi, key):
            return "too many"
        return self._records.why_not(instance_id, afi, length, key, rlocs)


def can_be_looked_up(eid: EidPrefix) -> bool:
    """Whether it is an address, not an LCAF or nothing."""
    return isinstance(eid.address, Address) and eid.address.afi != Afi.NONE


def may_follow(subscription: Subscription, nonce: int) -> bool:
    """Whether a Map-Request with this nonce is no replay.

    The nonce must be the last one plus 1 (RFC 9437 §5). The last one that the xTR knows, though: it
    can't count publications that never reached it.
    """
    ahead = (nonce - subscription.acknowledged) % NONCES
    return 0 < ahead <= (subscription.nonce + 1 - subscription.acknowledged) % NONCES
