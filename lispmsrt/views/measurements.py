"""What metrics have beside overview and counters: limits, levels and how long things take."""

from __future__ import annotations

from dataclasses import dataclass

from lispmsrt.histogram import Histogram
from lispmsrt.mapping.verdicts import Verdict
from lispmsrt.services.map_server import MapServer
from lispmsrt.views.statistics import verdict_counts

__all__ = [
    "HistogramView",
    "MapServerMeasurements",
    "measure_map_server",
]


@dataclass(frozen=True, slots=True)
class HistogramView:
    """How often something took how long, in seconds."""

    bounds: tuple[float, ...]
    "upper ends, rising"
    counts: tuple[int, ...]
    "of values up to each bound and above the one before; the last is of those above all"
    sum: float


@dataclass(frozen=True, slots=True)
class MapServerMeasurements:
    """A Map-Server in numbers."""

    registrations_limit: int
    accepted: int
    "Registrations and records of Map-Registers since the start"
    rejected: dict[Verdict, int]
    sessions_limit: int
    retransmissions_outstanding: int
    "Map-Notifies that wait for their Map-Notify-Ack"
    latency: HistogramView
    "from the arrival of a chunk to its answers, per Registration"
    round_trips: HistogramView
    "of sessions, as their transports measure it"
    state_unwritten: int | None = None
    "changes that would not outlive the process yet; None where nothing is kept"
    state_up: bool = False
    "whether what changes is written"
    state_restoring: bool = False
    "whether something is left to be restored"
    certificate_ends: tuple[tuple[str, str, float], ...] = ()
    "endpoint, transport, and until when its certificate is valid, in seconds since 1970"


def measure_map_server(server: MapServer) -> MapServerMeasurements:
    """Return where a Map-Server stands now."""
    registrar, memory = server.registrar, server.mapping.memory
    return MapServerMeasurements(
        registrations_limit=server.config.max_registrations,
        accepted=registrar.accepted,
        rejected=verdict_counts(registrar.rejections),
        sessions_limit=server.config.max_sessions,
        retransmissions_outstanding=server.mapping.retransmissions.outstanding,
        latency=_view(server.latency),
        round_trips=_view(server.round_trips),
        state_unwritten=memory.unwritten if memory is not None else None,
        state_up=memory is not None and not memory.problem,
        state_restoring=memory is not None and memory.is_partial,
        certificate_ends=tuple(
            (one.endpoint, one.transport, one.certificate_end)
            for one in server.snapshot().listeners
            if one.certificate_end is not None
        ),
    )


def _view(histogram: Histogram) -> HistogramView:
    return HistogramView(histogram.bounds, tuple(histogram.counts), histogram.sum)
