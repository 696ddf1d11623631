"""When the swarm was busy with what, and how much of a processor it took."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

from lispmsrt.swarm.load import IDLE, Load

__all__ = ["Timekeeping"]


class Timekeeping:
    """Seconds and CPU seconds of a run, and of its first part, in which everything is registered
    for the first time.
    """

    def __init__(self, clock: IReactorTime, cpu: Callable[[], float]) -> None:
        self.seconds = 0.0
        self.cpu_seconds = 0.0
        self.first_seconds: float | None = None
        "of the first part; None while it lasts"
        self.first_cpu = 0.0
        self.first_answers = 0
        self._clock = clock
        self._cpu = cpu
        self._began = self._cpu_began = 0.0

    def start(self) -> None:
        """From now on."""
        self._began, self._cpu_began = self._clock.seconds(), self._cpu()

    def look(self, load: Load) -> None:
        """See whether the first part is over."""
        if self.first_seconds is not None or load.tally[IDLE]:
            return
        # With enough churn there is always something under way.
        if not load.waiting or load.latencies.count >= load.space.count:
            self._end_first(load)
            self.first_seconds = self._clock.seconds() - self._began

    def stop(self, load: Load) -> None:
        """The load has ended."""
        self.look(load)
        self.seconds = self._clock.seconds() - self._began
        self.cpu_seconds = self._cpu() - self._cpu_began
        if self.first_seconds is None:
            self._end_first(load)

    @property
    def cpu_per_answer(self) -> float | None:
        """CPU seconds of a registration in the first part."""
        return self.first_cpu / self.first_answers if self.first_answers else None

    @property
    def busy(self) -> float | None:
        """The share of a core that the first part took."""
        seconds = self.seconds if self.first_seconds is None else self.first_seconds
        return self.first_cpu / seconds if seconds > 0 else None

    def _end_first(self, load: Load) -> None:
        self.first_cpu = self._cpu() - self._cpu_began
        self.first_answers = load.latencies.count
