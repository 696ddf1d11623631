"""Time for everything below: monotonic seconds, and one delayed call per owner.

A reactor's own clock is wall-clock time and may be stepped; what expires here must not depend on
that.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer

__all__ = ["Alarm", "MonotonicClock"]


@implementer(IReactorTime)
class MonotonicClock:
    """A reactor's delayed calls beside a clock that is never stepped."""

    def __init__(
        self, reactor: IReactorTime, seconds: Callable[[], float] = time.monotonic
    ) -> None:
        self._reactor = reactor
        self._seconds = seconds

    def seconds(self) -> float:
        """Return monotonic seconds."""
        return self._seconds()

    def callLater(
        self, delay: float, callable: Callable[..., object], *args: object, **kwargs: object
    ) -> IDelayedCall:
        return self._reactor.callLater(delay, callable, *args, **kwargs)

    def getDelayedCalls(self) -> list[IDelayedCall]:
        return list(self._reactor.getDelayedCalls())


class Alarm:
    """The one delayed call of its owner. Moving it later costs nothing until it rings."""

    def __init__(self, clock: IReactorTime, ring: Callable[[], object]) -> None:
        self._clock = clock
        self._ring: Callable[[], object] | None = ring
        self._call: IDelayedCall | None = None
        self._call_at = 0.0
        self._deadline: float | None = None

    def set(self, deadline: float | None) -> None:
        """Ring at ``deadline`` (in the clock's seconds), or not at all."""
        if self._ring is None:
            return
        self._deadline = deadline
        if deadline is None:
            if self._call is not None:
                self._call.cancel()
                self._call = None
        elif self._call is None or deadline < self._call_at:
            if self._call is not None:
                self._call.cancel()
            self._start(deadline)

    def retire(self) -> None:
        """Ring never again, and forget who was to be called: an owner that is done is freed then,
        though it holds its alarm.
        """
        self.set(None)
        self._ring = None

    def _start(self, deadline: float) -> None:
        self._call_at = deadline
        delay = max(0.0, deadline - self._clock.seconds())
        self._call = self._clock.callLater(delay, self._due)

    def _due(self) -> None:
        self._call = None
        assert self._deadline is not None
        # Early: because the deadline was moved, or because the reactor's clock was stepped.
        if self._clock.seconds() < self._deadline:
            self._start(self._deadline)
            return
        self._deadline = None
        assert self._ring is not None
        self._ring()
