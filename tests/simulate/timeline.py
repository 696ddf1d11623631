"""Virtual time: what happens next, and on which machine. Idle hours cost nothing."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.simulate.machine import Machine

__all__ = ["Call", "Timeline"]


_MANY = 20_000
"""Calls at one moment: more are no work but a ring."""


class Call:
    """Something that is to happen; what IDelayedCall asks for."""

    __slots__ = ("args", "at", "function", "life", "machine")

    def __init__(
        self,
        at: float,
        function: Callable[..., object],
        args: tuple[Any, ...],
        machine: Machine | None,
        life: int | None,
    ) -> None:
        self.at = at
        self.function: Callable[..., object] | None = function
        self.args = args
        self.machine = machine
        "waits while this machine stands still"
        self.life = life
        "happens in this life of the machine only; None: in any"

    def cancel(self) -> None:
        """Not at all."""
        assert self.function is not None, "cancelled, or called already"
        self.function = None

    def active(self) -> bool:
        """Whether it is still to happen."""
        return self.function is not None

    def getTime(self) -> float:
        """Return when, in the seconds of its machine."""
        return self.at - (self.machine.epoch if self.machine is not None else 0.0)


class Timeline:
    """Calls in the order of time, those of one moment in the order in which they were made."""

    def __init__(self) -> None:
        self.now = 0.0
        self.turns = 0
        self.on_failure: Callable[[Exception], object] = _raise
        "what a call has raised: a reactor would log it and go on"
        self.is_over: Callable[[], bool] = lambda: False
        self._heap: list[tuple[float, int, Call]] = []
        self._made = 0
        self._turns_now = 0

    def at(
        self,
        time: float,
        function: Callable[..., object],
        *args: Any,
        machine: Machine | None = None,
        life: int | None = None,
    ) -> Call:
        """Have something happen."""
        call = Call(time, function, args, machine, life)
        self._push(call)
        return call

    def after(self, delay: float, function: Callable[..., object], *args: Any) -> Call:
        """Have something happen that no machine does."""
        return self.at(self.now + delay, function, *args)

    def shift(self, machine: Machine, seconds: float) -> None:
        """Have everything that a machine waits for happen so much later, or earlier."""
        moved = [
            call
            for _at, _made, call in self._heap
            if call.machine is machine and call.life == machine.life and call.function is not None
        ]
        for call in moved:
            # Its entry in the heap is for another time than its own then, and means nothing.
            call.at = max(self.now, call.at + seconds)
            self._push(call)

    def run(self, until: float) -> None:
        """Let everything happen up to a moment."""
        heap = self._heap
        while heap and heap[0][0] <= until:
            at, _made, call = heappop(heap)
            function = call.function
            if function is None or call.at != at:
                continue
            machine = call.machine
            if machine is not None:
                if call.life is not None and call.life != machine.life:
                    continue
                if machine.stalled_until > at:
                    call.at = machine.stalled_until
                    self._push(call)
                    continue
            if at > self.now:
                self.now, self._turns_now = at, 0
            self.turns += 1
            self._turns_now += 1
            if self._turns_now > _MANY:
                self._turns_now = 0
                self.on_failure(AssertionError(f"time stands still: {function} {call.args}"))
                return
            call.function = None
            try:
                function(*call.args)
            except Exception as failure:
                self.on_failure(failure)
            if self.is_over():
                return
        self.now = until

    def pending(self, machine: Machine) -> int:
        """Return how many calls a machine waits for."""
        return sum(
            call.machine is machine and call.life == machine.life and call.function is not None
            for at, _made, call in self._heap
            if call.at == at
        )

    def _push(self, call: Call) -> None:
        self._made += 1
        heappush(self._heap, (call.at, self._made, call))


def _raise(failure: Exception) -> None:
    raise failure
