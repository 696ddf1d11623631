"""Nonces under which subscribers have acknowledged something (RFC 9437 §5): a captured
Map-Notify-Ack must not make another subscription.

A Map-Notify-Ack says neither who sent it nor which EID-prefix was subscribed to, and all xTRs of a
site may share a key: so nonces are remembered by site. Those of one subscription follow each other,
from the first to the last.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import OrderedDict

from lispmsrt.control.subscription_table import NONCES, Subscription

__all__ = ["MAX_ENDED", "UsedNonces"]

MAX_ENDED = 65_536
"""Subscriptions that have ended whose nonces are remembered, some 20 MB; beyond, the oldest of the
site that has most is forgotten.
"""


class _OfSite:
    """Spans of nonces by their first one."""

    __slots__ = ("ended", "firsts", "live")

    def __init__(self) -> None:
        self.firsts: list[int] = []
        self.live: dict[int, dict[Subscription, None]] = {}
        "several where one Map-Request had several records"
        self.ended: OrderedDict[int, int] = OrderedDict()
        "to how many more nonces were used, oldest first"


class UsedNonces:
    """Spans of nonces, of subscriptions that are there and of some that were."""

    def __init__(self, limit: int = MAX_ENDED) -> None:
        self._limit = limit
        self._ended = 0
        self._by_site: dict[str, _OfSite] = {}

    def has(self, site: str, nonce: int) -> bool:
        """Whether a subscription of this site has used the nonce."""
        spans = self._by_site.get(site)
        if spans is None:
            return False
        # Before the first comes the last one, around the end of the numbers.
        first = spans.firsts[bisect_right(spans.firsts, nonce) - 1]
        live = ((each.nonce - first) % NONCES for each in spans.live.get(first, ()))
        return (nonce - first) % NONCES <= max((spans.ended.get(first, 0), *live))

    def begin(self, subscription: Subscription) -> None:
        """Follow the nonces of a subscription from now on."""
        spans = self._by_site.setdefault(subscription.who.site, _OfSite())
        first = subscription.first_nonce
        if first not in spans.live and first not in spans.ended:
            insort(spans.firsts, first)
        spans.live.setdefault(first, {})[subscription] = None

    def end(self, subscription: Subscription) -> None:
        """Remember the nonces of a subscription that is over."""
        site, first = subscription.who.site, subscription.first_nonce
        spans = self._by_site[site]
        live = spans.live[first]
        del live[subscription]
        if not live:
            del spans.live[first]
        used = (subscription.nonce - first) % NONCES
        self._ended += first not in spans.ended
        spans.ended[first] = max(used, spans.ended.pop(first, 0))
        if self._ended > self._limit:
            self._forget_one()

    def _forget_one(self) -> None:
        name = max(self._by_site, key=lambda site: len(self._by_site[site].ended))
        spans = self._by_site[name]
        first = spans.ended.popitem(last=False)[0]
        self._ended -= 1
        if first not in spans.live:
            del spans.firsts[bisect_right(spans.firsts, first) - 1]
        if not spans.firsts:
            del self._by_site[name]
