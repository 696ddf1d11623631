"""Who has how many subscriptions: of all, and of one EID-prefix; so that no site uses up what is
there for everybody.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lispmsrt.control.subscription_table import Subscription

__all__ = ["Shares"]


class Shares:
    """Subscriptions by the site that they were confirmed with, oldest first."""

    __slots__ = ("_by_site",)

    def __init__(self, subscriptions: Iterable[Subscription] = ()) -> None:
        # OrderedDict: the oldest is asked for again and again while others go.
        self._by_site: dict[str, OrderedDict[Subscription, None]] = {}
        for each in subscriptions:
            self.add(each)

    def __len__(self) -> int:
        """How many sites there are."""
        return len(self._by_site)

    def add(self, subscription: Subscription) -> None:
        """Count one more."""
        of_site = self._by_site.setdefault(subscription.who.site, OrderedDict())
        of_site[subscription] = None

    def remove(self, subscription: Subscription) -> None:
        """Count one less."""
        site = subscription.who.site
        of_site = self._by_site[site]
        del of_site[subscription]
        if not of_site:
            del self._by_site[site]

    def surplus(self, site: str) -> Subscription | None:
        """Return what must go for one more of this site: the oldest of the site that has most; None
        where this one would have no fewer then.
        """
        fullest = max(self._by_site.values(), key=len, default=None)
        if fullest is None or len(fullest) <= len(self._by_site.get(site, ())) + 1:
            return None
        return next(iter(fullest))
