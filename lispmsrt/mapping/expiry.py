"""One wheel for all soft state: whatever has a deadline sits in the bucket of that second.

Nothing is moved when a deadline moves: an item found in a bucket before its time is put into the
right one then. So a refresh costs no more than writing the new deadline. An item is in a bucket
once, so copies merge.
"""

from __future__ import annotations

import heapq
from typing import Generic, TypeVar

__all__ = ["ExpiryWheel"]

Item = TypeVar("Item")


class ExpiryWheel(Generic[Item]):
    """Items by the whole second after their deadline."""

    __slots__ = ("_buckets", "_seconds")

    def __init__(self) -> None:
        self._buckets: dict[int, dict[Item, None]] = {}
        self._seconds: list[int] = []

    def add(self, item: Item, deadline: float) -> None:
        """Hand ``item`` out at the first :meth:`due` after ``deadline`` (monotonic seconds)."""
        self.bucket(deadline)[item] = None

    def bucket(self, deadline: float) -> dict[Item, None]:
        """Return the bucket for ``deadline``, for items that share it."""
        second = int(deadline) + 1
        bucket = self._buckets.get(second)
        if bucket is None:
            bucket = self._buckets[second] = {}
            heapq.heappush(self._seconds, second)
        return bucket

    def discard(self, item: Item, deadline: float) -> None:
        """Take ``item`` out of the bucket for ``deadline``, if that is where it is."""
        bucket = self._buckets.get(int(deadline) + 1)
        if bucket:
            bucket.pop(item, None)

    def due(self, now: float, limit: int | None = None) -> list[Item]:
        """Take out everything whose second has come, or at most ``limit`` of it. The caller looks
        at the deadline that each item has by now.
        """
        items: list[Item] = []
        while self._seconds and self._seconds[0] <= now:
            bucket = self._buckets[self._seconds[0]]
            while bucket and (limit is None or len(items) < limit):
                items.append(bucket.popitem()[0])
            if bucket:
                break
            del self._buckets[heapq.heappop(self._seconds)]
        return items

    def next_due(self) -> float | None:
        """When :meth:`due` will have something, in monotonic seconds."""
        return self._seconds[0] if self._seconds else None
