"""Changed mappings that cover many subscriptions: all of them must hear of it, a bounded number
at a time (RFC 9437 §6).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator

from lispmsrt.control.subscription_table import Subscription, SubscriptionTable
from lispmsrt.mapping.database import EidTable

__all__ = ["AT_ONCE", "INTERVAL", "Walks"]

AT_ONCE = 256
"""Subscriptions that are told at a time: some 2 ms."""

_FEW = 64
"""Subscriptions that are told at once."""

INTERVAL = 0.01
"""Seconds between: 25,600 subscriptions a second, four times as many as Map-Notifies leave."""

MAX_WALKS = 4096
"""Changed mappings that are worked off; beyond, a change is told in one go."""


class _Walk:
    """One EID-prefix whose mapping has changed."""

    __slots__ = ("again", "is_new", "length", "subscriptions", "table")

    def __init__(self, table: EidTable, length: int, *, is_new: bool) -> None:
        self.table = table
        self.length = length
        self.is_new = is_new
        "whether there was no mapping before any of the changes"
        self.again = False
        "whether it has changed since the walk began"
        self.subscriptions: Iterator[Subscription] = iter(())


class Walks:
    """Walk through the subscriptions inside each EID-prefix whose mapping has changed."""

    def __init__(self, table: SubscriptionTable, wake: Callable[[], None]) -> None:
        """``wake`` is called when there is something to walk where there was nothing."""
        self._table = table
        self._wake = wake
        self._walks: OrderedDict[tuple[int, int, int], _Walk] = OrderedDict()
        self._next = float("-inf")

    def __len__(self) -> int:
        return len(self._walks)

    def begin(
        self, table: EidTable, length: int, key: int, *, is_new: bool
    ) -> Iterator[Subscription]:
        """Yield the subscriptions inside an EID-prefix if they are few, or keep it for
        :meth:`take`.
        """
        name = (table.instance_id, table.afi, key)
        walk = self._walks.get(name)
        if walk is not None:
            # Those that were told already are told again.
            walk.again = True
            walk.is_new = walk.is_new or is_new
            return
        few: list[Subscription] = []
        for subscription in self._inside(table, length, key):
            few.append(subscription)
            if len(few) > _FEW and len(self._walks) < MAX_WALKS:
                walk = self._walks[name] = _Walk(table, length, is_new=is_new)
                walk.subscriptions = self._inside(table, length, key)
                if len(self._walks) == 1:
                    self._wake()
                return
        yield from few

    def take(self, now: float) -> Iterator[tuple[Subscription, int, bool]]:
        """Yield some subscriptions, each with the key of what has changed, and whether that is
        new. They may end meanwhile.
        """
        if not self._walks or now < self._next:
            return
        self._next = now + INTERVAL
        for _ in range(AT_ONCE):
            name, walk = next(iter(self._walks.items()))
            subscription = next(walk.subscriptions, None)
            if subscription is not None:
                if not subscription.is_over:
                    yield subscription, name[2], walk.is_new
                continue
            if walk.again:
                walk.again = False
                walk.subscriptions = self._inside(walk.table, walk.length, name[2])
                self._walks.move_to_end(name)
                continue
            del self._walks[name]
            if not self._walks:
                return

    def next_due(self) -> float | None:
        """When :meth:`take` has something, in monotonic seconds."""
        return self._next if self._walks else None

    def _inside(self, table: EidTable, length: int, key: int) -> Iterator[Subscription]:
        for found in self._table.inside(table, length, key):
            yield from found
