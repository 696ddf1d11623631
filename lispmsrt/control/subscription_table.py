"""Who has subscribed to which EID-prefix (RFC 9437 §5), found by EID-prefix and xTR, and by what a
changed mapping concerns.

Confirmed subscriptions only. It knows nothing of messages.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

from lispmsrt.control.subscription_shares import Shares
from lispmsrt.mapping.database import EidTable, Endpoint
from lispmsrt.mapping.eid_index import WIDTHS, EidIndex
from lispmsrt.wire.authentication import Key

__all__ = [
    "NONCES",
    "SecurityAssociation",
    "SubscribedPrefixes",
    "Subscriber",
    "Subscription",
    "SubscriptionTable",
    "is_newer",
]

NONCES = 1 << 64

_AT_ONCE = 64
"""EID-prefixes inside another that are looked for at once."""

_CROWD = 256
"""Subscriptions of one EID-prefix from which on those of each site are counted."""


def is_newer(nonce: int, other: int) -> bool:
    """Whether one nonce follows another in serial arithmetic of 64 bits (RFC 1982)."""
    return 0 < (nonce - other) % NONCES < NONCES >> 1


class SecurityAssociation(NamedTuple):
    """What an xTR has in common with the Map-Server (RFC 9437 §5): a key of a site, whichever of
    its keys counts now.
    """

    site: str
    find_key: Callable[[str], Key | None]
    "by the name of the site; None for one that is gone"

    def key(self) -> Key | None:
        """Return the key; None where there is none any more."""
        return self.find_key(self.site)


class Subscriber(NamedTuple):
    """An xTR that subscribes. Who shows the same IDs with a key of another site is another one."""

    site: str
    ids: bytes
    "xTR-ID and Site-ID"


class Subscription:
    """One xTR's subscription to one EID-prefix. Written by :mod:`lispmsrt.control.subscriptions`
    and :mod:`lispmsrt.control.publications` only.
    """

    __slots__ = (
        "acknowledged",
        "association",
        "endpoints",
        "first_nonce",
        "in_flight",
        "is_over",
        "key",
        "length",
        "nonce",
        "pending",
        "request_number",
        "sent_nonce",
        "table",
        "unanswered",
        "who",
    )

    def __init__(
        self,
        table: EidTable,
        length: int,
        key: int,
        who: Subscriber,
        association: SecurityAssociation,
        nonce: int = 0,
    ) -> None:
        self.table = table
        self.length = length
        self.key = key
        self.who = who
        self.association = association
        "with which it was confirmed"
        self.first_nonce = nonce
        "of the subscribing Map-Request that was confirmed first"
        self.endpoints: tuple[Endpoint, ...] = ()
        "where the xTR takes Map-Notifies; the first is tried first"
        self.nonce = nonce
        "the newest that either side has used"
        self.acknowledged = nonce
        "the newest that the xTR has shown to know"
        self.request_number = 0
        "of the subscribing Map-Request that was confirmed last"
        self.pending: dict[int, None] = {}
        "prefix keys whose mapping is to be published, oldest news first"
        self.in_flight: tuple[int, ...] = ()
        "prefix keys of the publication that waits for its Map-Notify-Ack"
        self.sent_nonce: int | None = None
        "of that publication; None when nothing waits"
        self.unanswered = 0
        "Map-Notifies in a row without a Map-Notify-Ack"
        self.is_over = False


class SubscribedPrefixes:
    """Subscriptions of one (instance ID, family)."""

    __slots__ = ("by_key", "crowds", "index", "lengths")

    def __init__(self, afi: int) -> None:
        self.by_key: dict[int, dict[Subscriber, Subscription]] = {}
        self.crowds: dict[int, Shares] = {}
        "of the EID-prefixes that many have subscribed to"
        self.lengths: Counter[int] = Counter()
        # RFC 9735: names match whole, nothing lies inside one.
        self.index = EidIndex(WIDTHS[afi], self.by_key) if afi in WIDTHS else None


class SubscriptionTable:
    """Every confirmed subscription."""

    def __init__(self) -> None:
        self._families: dict[tuple[int, int], SubscribedPrefixes] = {}
        self._of_xtr: dict[Subscriber, int] = {}
        self._shares = Shares()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Subscription]:
        for family in self._families.values():
            for found in family.by_key.values():
                yield from found.values()

    def families(self) -> dict[tuple[int, int], SubscribedPrefixes]:
        """Return what is subscribed to of each (instance ID, family), to be read only."""
        return dict(self._families)

    def find(self, instance_id: int, afi: int, key: int, who: Subscriber) -> Subscription | None:
        """Return an xTR's subscription to exactly this EID-prefix."""
        family = self._families.get((instance_id, afi))
        return family.by_key.get(key, {}).get(who) if family is not None else None

    def count_of_xtr(self, who: Subscriber) -> int:
        """Return how many subscriptions the xTR has."""
        return self._of_xtr.get(who, 0)

    def count_of_eid(self, instance_id: int, afi: int, key: int) -> int:
        """Return how many xTRs have subscribed to exactly this EID-prefix."""
        family = self._families.get((instance_id, afi))
        return len(family.by_key.get(key, ())) if family is not None else 0

    def surplus(self, site: str) -> Subscription | None:
        """Return which of all subscriptions must go for one more of this site; None if this one
        has its share.
        """
        return self._shares.surplus(site)

    def surplus_of_eid(
        self, instance_id: int, afi: int, key: int, site: str
    ) -> Subscription | None:
        """Return the same of the subscriptions to exactly this EID-prefix."""
        family = self._families.get((instance_id, afi))
        found = family.by_key.get(key) if family is not None else None
        if family is None or found is None:
            return None
        shares = family.crowds.get(key)
        if shares is None:
            shares = Shares(found.values())
            if len(found) >= _CROWD:
                family.crowds[key] = shares
        return shares.surplus(site)

    def add(self, subscription: Subscription) -> None:
        """Enter a subscription that is not there yet."""
        table, key = subscription.table, subscription.key
        name = (table.instance_id, table.afi)
        family = self._families.get(name)
        if family is None:
            family = self._families[name] = SubscribedPrefixes(table.afi)
        found = family.by_key.setdefault(key, {})
        if not found:
            family.lengths[subscription.length] += 1
            if family.index is not None:
                family.index.note(key)
        found[subscription.who] = subscription
        self._of_xtr[subscription.who] = self._of_xtr.get(subscription.who, 0) + 1
        self._shares.add(subscription)
        if (crowd := family.crowds.get(key)) is not None:
            crowd.add(subscription)
        self._count += 1

    def remove(self, subscription: Subscription) -> None:
        """Take out a subscription that is there."""
        table, key = subscription.table, subscription.key
        family = self._families[table.instance_id, table.afi]
        found = family.by_key[key]
        del found[subscription.who]
        self._of_xtr[subscription.who] -= 1
        if not self._of_xtr[subscription.who]:
            del self._of_xtr[subscription.who]
        self._shares.remove(subscription)
        if (crowd := family.crowds.get(key)) is not None:
            crowd.remove(subscription)
            if len(found) < _CROWD:
                del family.crowds[key]
        self._count -= 1
        if not found:
            self._remove_key(family, subscription)

    def _remove_key(self, family: SubscribedPrefixes, subscription: Subscription) -> None:
        table, key = subscription.table, subscription.key
        del family.by_key[key]
        if family.index is not None:
            family.index.note(key)
        family.lengths[subscription.length] -= 1
        if not family.lengths[subscription.length]:
            del family.lengths[subscription.length]
        if not family.by_key:
            del self._families[table.instance_id, table.afi]

    def covering(self, table: EidTable, length: int, key: int) -> Iterator[Subscription]:
        """Yield the subscriptions to this EID-prefix and to those that cover it."""
        family = self._families.get((table.instance_id, table.afi))
        if family is None:
            return
        for shorter in list(family.lengths) if family.index is not None else (length,):
            if shorter <= length:
                found = family.by_key.get(key >> length - shorter)
                if found is not None:
                    yield from tuple(found.values())

    def inside(self, table: EidTable, length: int, key: int) -> Iterator[tuple[Subscription, ...]]:
        """Yield the subscriptions to EID-prefixes inside this one, itself not: those to one at a
        time. The table may change meanwhile; who subscribes later may be missing.
        """
        family = self._families.get((table.instance_id, table.afi))
        # Most often it is a long prefix that changes, and nobody asks for longer ones.
        if family is None or family.index is None or max(family.lengths) <= length:
            return
        # Too many are looked for in either half.
        halves = [(length, key)]
        while halves:
            outer, half = halves.pop()
            if outer > length and half in family.by_key:
                yield tuple(family.by_key[half].values())
            keys = _keys_inside(family.index, WIDTHS[table.afi], outer, half)
            if keys is None:
                halves += [(outer + 1, half << 1 | 1), (outer + 1, half << 1)]
                continue
            for inner in keys:
                # It may be gone by now.
                if inner in family.by_key:
                    yield tuple(family.by_key[inner].values())


def _keys_inside(index: EidIndex, width: int, length: int, key: int) -> list[int] | None:
    """Return the keys of the longer prefixes inside; None for more than are looked for at once."""
    network = (key ^ 1 << length) << width - length
    if index.neighbours(network, length)[2] < length:
        return []
    return index.inside(network, length, _AT_ONCE)
