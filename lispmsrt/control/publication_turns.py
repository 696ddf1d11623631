"""Whose turn it is to be told something: at most so many publications a second to one xTR, and so
many that it has not acknowledged (RFC 9437 §6).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count

from lispmsrt.control.subscription_table import Subscriber, Subscription

__all__ = ["Turns"]


class _Outlet:
    """One xTR, as far as it is to be told something."""

    __slots__ = ("in_flight", "is_scheduled", "next_send", "ready")

    def __init__(self) -> None:
        self.ready: dict[Subscription, None] = {}
        self.next_send = 0.0
        self.in_flight = 0
        self.is_scheduled = False


class Turns:
    """Subscriptions that have news and nothing in flight, each xTR's in order."""

    def __init__(self, interval: float, max_in_flight: int, wake: Callable[[], None]) -> None:
        """``interval`` is in seconds; ``wake`` is called when the next turn comes earlier."""
        self._interval = interval
        self._max_in_flight = max_in_flight
        self._wake = wake
        self._outlets: dict[Subscriber, _Outlet] = {}
        self._due: list[tuple[float, int, _Outlet]] = []
        self._numbers = count()

    def queue(self, subscription: Subscription) -> None:
        """Let a subscription have a turn."""
        outlet = self._outlets.setdefault(subscription.who, _Outlet())
        outlet.ready[subscription] = None
        self._schedule(outlet)

    def take(self, now: float) -> Subscription | None:
        """Return the subscription whose turn it is. It has to :meth:`start`, or :meth:`forget`."""
        while self._due and self._due[0][0] <= now:
            outlet = heapq.heappop(self._due)[2]
            outlet.is_scheduled = False
            if outlet.ready and outlet.in_flight < self._max_in_flight:
                subscription = next(iter(outlet.ready))
                del outlet.ready[subscription]
                return subscription
        return None

    def start(self, subscription: Subscription, now: float, pause: float = 0.0) -> None:
        """A publication leaves; the xTR's next one waits for the interval, or a longer pause."""
        outlet = self._outlets[subscription.who]
        outlet.in_flight += 1
        outlet.next_send = now + max(self._interval, pause)
        self._schedule(outlet)

    def land(self, subscription: Subscription) -> None:
        """A publication is no longer in flight."""
        outlet = self._outlets[subscription.who]
        outlet.in_flight -= 1
        self._schedule(outlet)

    def forget(self, subscription: Subscription, *, is_last: bool) -> None:
        """The subscription is over; ``is_last`` says whether its xTR has no other."""
        outlet = self._outlets.get(subscription.who)
        if outlet is None:
            return
        outlet.ready.pop(subscription, None)
        self._schedule(outlet)
        if is_last:
            del self._outlets[subscription.who]

    def next_due(self) -> float | None:
        """When :meth:`take` may have something, in monotonic seconds."""
        return self._due[0][0] if self._due else None

    def _schedule(self, outlet: _Outlet) -> None:
        if outlet.is_scheduled or not outlet.ready or outlet.in_flight >= self._max_in_flight:
            return
        outlet.is_scheduled = True
        is_first = not self._due or outlet.next_send < self._due[0][0]
        heapq.heappush(self._due, (outlet.next_send, next(self._numbers), outlet))
        if is_first:
            self._wake()
