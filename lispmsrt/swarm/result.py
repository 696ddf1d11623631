"""What a swarm has seen: values for a table and for JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from lispmsrt.swarm.latencies import Latencies

__all__ = ["LatencyFigures", "Lookedup", "OwnCost", "Registered", "Result", "Speed", "figures"]

BUSY = 0.9
"""The share of a core from which on the swarm itself may have been what limits."""


@dataclass(frozen=True, slots=True)
class LatencyFigures:
    """Seconds; None where nothing was measured."""

    count: int
    p50: float | None
    p90: float | None
    p99: float | None
    p999: float | None
    max: float | None


@dataclass(frozen=True, slots=True)
class Registered:
    """EIDs by how far they have come."""

    eids: int
    "in all"
    registered: int
    rejected: int
    unanswered: int
    "registrations or withdrawals"
    withdrawn: int
    not_offered: int
    answers: int
    "ACKs and Map-Notify records, repetitions and churn included"
    seconds: float | None
    "from the first start of an ETR until everything was answered for the first time"


@dataclass(frozen=True, slots=True)
class Lookedup:
    """Map-Requests."""

    asked: int
    answered: int
    right: int
    wrong: int
    not_judged: int
    "the EID changed meanwhile"
    not_answered: int
    examples: tuple[str, ...]
    "of wrong answers"


@dataclass(frozen=True, slots=True)
class Speed:
    """A rate that was asked for."""

    name: str
    asked: float
    missed: int
    "how many did not take place because the swarm was late"


@dataclass(frozen=True, slots=True)
class OwnCost:
    """What the swarm took itself."""

    cpu_seconds: float
    cpu_per_registration: float | None
    "seconds, while the EIDs were registered for the first time"
    busy: float | None
    "the share of a core in that time"
    was_bottleneck: bool
    is_compiled: bool


@dataclass(frozen=True, slots=True)
class Result:
    """All of it."""

    map_server: str
    transport: str
    etrs: int
    eids_per_etr: int
    etrs_started: int
    sessions_now: int
    sessions_opened: int
    seconds: float
    was_interrupted: bool
    registrations: Registered
    lookups: Lookedup
    latencies: dict[str, LatencyFigures]
    "of: registration, lookup, arming, session set-up"
    rates: tuple[Speed, ...]
    own: OwnCost
    counters: dict[str, int]
    failures: dict[str, int]
    "why sessions did not come up or ended"

    @property
    def problems(self) -> tuple[str, ...]:
        """Why this is no success: sentences, none if everything offered was acknowledged and no
        lookup was wrong.
        """
        told = self.registrations
        found = [
            (told.not_offered, "were not offered in this time"),
            (told.unanswered, "were offered and not answered"),
            (told.rejected, "were refused"),
        ]
        sentences = [f"{count:,} EIDs {what}" for count, what in found if count]
        if self.lookups.wrong:
            sentences.append(f"{self.lookups.wrong:,} answers to lookups were wrong")
        return tuple(sentences)

    def as_json(self) -> dict[str, object]:
        """Return it as JSON has it."""
        return {**asdict(self), "problems": list(self.problems)}


def figures(latencies: Latencies) -> LatencyFigures:
    """Return the percentiles of what was measured."""
    shares = (0.5, 0.9, 0.99, 0.999, 1.0)
    return LatencyFigures(latencies.count, *map(latencies.percentile, shares))
