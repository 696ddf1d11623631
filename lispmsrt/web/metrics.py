"""Metrics for Prometheus, made of what the views show when somebody scrapes: counting costs nobody
anything. Names and units are Prometheus's; no label has more values than the configuration or this
package has names for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from lispmsrt.views.measurements import HistogramView, MapServerMeasurements, measure_map_server
from lispmsrt.views.node import NodeViews
from lispmsrt.views.statistics import management_statistics
from lispmsrt.views.values import EtrView, ListenerView, OverviewView, StatisticView
from lispmsrt.web.counted_metrics import COUNTED

__all__ = ["content_type", "render"]

_OPEN_METRICS = "application/openmetrics-text"

_NOTHING: Mapping[str, int] = {}


def render(views: NodeViews, accept: str = "", management: Mapping[str, int] = _NOTHING) -> bytes:
    """Return the metrics of a node as text: OpenMetrics where the Accept header asks for it, else
    the Prometheus text format. ``management`` is what the management endpoint has counted.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_NodeCollector(views, management))
    ProcessCollector(registry=registry)
    encode, _content_type = choose_encoder(_known(accept))
    return encode(registry)


def content_type(accept: str = "") -> str:
    """Return what :func:`render` makes for this Accept header."""
    return choose_encoder(_known(accept))[1]


def _known(accept: str) -> str:
    """Return an Accept header that asks for the same and that the library can read: it fails with a
    version that is none.
    """
    kinds = {one.partition(";")[0].strip().lower() for one in accept.split(",")}
    return _OPEN_METRICS if _OPEN_METRICS in kinds else ""


class _NodeCollector(Collector):
    """Reads everything once for each scrape."""

    def __init__(self, views: NodeViews, management: Mapping[str, int]) -> None:
        self._views = views
        self._management = management

    def collect(self) -> Iterator[Metric]:
        """Yield every metric."""
        views = self._views
        overview = views.overview()
        build = {"version": overview.version, "roles": ",".join(overview.roles)}
        build["compiled"] = "yes" if overview.is_compiled else "no"
        yield InfoMetricFamily("lispmsrt_build", "Version, roles, compiled or not.", build)
        if views.map_server is not None:
            yield from _levels(overview)
            yield from _measured(measure_map_server(views.map_server.server))
        if views.etr is not None:
            yield from _etr(views.etr.etr())
        yield from _counted((*views.statistics(), *management_statistics(self._management)))


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _gauges(
    name: str, text: str, labels: Sequence[str], values: Iterable[tuple[Sequence[str], float]]
) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for label_values, value in values:
        family.add_metric(label_values, value)
    return family


def _levels(overview: OverviewView) -> Iterator[Metric]:
    """Yield what there is of everything."""
    yield from _by_transport(overview)
    yield _gauges(
        "lispmsrt_listener_up",
        "Whether an endpoint of reliable-transport, or a UDP socket, is listened on.",
        ("endpoint", "transport"),
        (((_endpoint(one), one.transport), bool(one.address)) for one in overview.listeners),
    )
    for name, text, value in (
        (
            "established_sessions",
            "Sessions that are bound to an xTR.",
            overview.established_sessions,
        ),
        ("eid_prefixes", "EID-prefixes that are registered.", overview.eid_prefixes),
        (
            "reliable_registrations",
            "Registrations that live sessions hold.",
            overview.reliable_registrations,
        ),
        ("sites", "Sites that are configured.", overview.sites),
        ("subscriptions", "Subscriptions to mappings (RFC 9437).", overview.subscriptions),
    ):
        yield _gauge(f"lispmsrt_{name}", text, value)


def _by_transport(overview: OverviewView) -> Iterator[Metric]:
    # Those of which there is nothing too, or an alert would miss the fall to nothing.
    sessions = dict.fromkeys((one.transport for one in overview.listeners), 0)
    registrations = {**sessions, "UDP": 0}
    for one in overview.transports:
        sessions[one.transport] = one.sessions
        registrations[one.transport] = one.registrations
    sessions.pop("UDP", None)
    yield _gauges(
        "lispmsrt_registrations",
        "Registrations, each xTR's part of a merged one, by the transport that they came by.",
        ("transport",),
        (((name,), count) for name, count in registrations.items()),
    )
    yield _gauges(
        "lispmsrt_sessions",
        "Sessions that are up.",
        ("transport",),
        (((name,), count) for name, count in sessions.items()),
    )


def _endpoint(listener: ListenerView) -> str:
    """Return what tells a listener from others: UDP sockets are configured by their address."""
    return f"udp:{listener.address}" if listener.transport == "UDP" else listener.endpoint


def _state(measured: MapServerMeasurements, unwritten: int) -> Iterator[Metric]:
    """Yield what is known of the file that outlives the process."""
    for name, text, value in (
        ("unwritten", "Changes that would be lost if the process was killed now.", unwritten),
        (
            "up",
            "Whether the state file is written; else nothing outlives this process.",
            measured.state_up,
        ),
        (
            "restoring",
            "Whether something is left to be restored from the state file.",
            measured.state_restoring,
        ),
    ):
        yield _gauge(f"lispmsrt_state_{name}", text, value)


def _measured(measured: MapServerMeasurements) -> Iterator[Metric]:
    for name, text, value in (
        (
            "registrations_limit",
            "Registrations that there may be: max-registrations.",
            measured.registrations_limit,
        ),
        ("sessions_limit", "Sessions that there may be: max-sessions.", measured.sessions_limit),
        (
            "map_notifies_outstanding",
            "Map-Notifies that wait for their Map-Notify-Ack.",
            measured.retransmissions_outstanding,
        ),
    ):
        yield _gauge(f"lispmsrt_{name}", text, value)
    if measured.certificate_ends:
        yield _gauges(
            "lispmsrt_certificate_end_timestamp_seconds",
            "Until when the certificate of an endpoint is valid, in seconds since 1970.",
            ("endpoint", "transport"),
            (((name, transport), end) for name, transport, end in measured.certificate_ends),
        )
    if measured.state_unwritten is not None:
        yield from _state(measured, measured.state_unwritten)
    yield _histogram(
        "lispmsrt_registration_seconds",
        "From the arrival of Registrations to their answers, inside of the Map-Server.",
        measured.latency,
    )
    yield _histogram(
        "lispmsrt_session_round_trip_seconds",
        "Round-trip times of sessions, as their transports measure them, sampled.",
        measured.round_trips,
    )


def _histogram(name: str, text: str, view: HistogramView) -> Metric:
    family = HistogramMetricFamily(name, text)
    buckets: list[tuple[str, float]] = []
    total = 0
    for bound, count in zip((*view.bounds, float("inf")), view.counts, strict=True):
        total += count
        buckets.append((floatToGoString(bound), total))
    family.add_metric((), buckets, view.sum)
    return family


def _etr(etr: EtrView) -> Iterator[Metric]:
    links = etr.map_servers
    yield _gauge("lispmsrt_etr_mappings", "EID-prefixes that this ETR registers.", etr.mappings)
    yield _gauges(
        "lispmsrt_etr_registrations",
        "EID-prefixes by how far their registration has come.",
        ("map_server", "state"),
        (
            ((link.map_server, state), count)
            for link in links
            for state, count in link.states.items()
        ),
    )
    yield _gauges(
        "lispmsrt_etr_session_up",
        "Whether there is a session with a Map-Server, and it is established.",
        ("map_server",),
        (
            ((link.map_server,), link.session is not None and link.session.state == "established")
            for link in links
        ),
    )
    failures = CounterMetricFamily(
        "lispmsrt_etr_transport_failures",
        "Attempts to connect to a Map-Server that failed.",
        labels=("map_server", "endpoint", "transport"),
    )
    for link in links:
        for one in link.transports:
            failures.add_metric((link.map_server, one.endpoint, one.transport), one.failures)
    yield failures


def _counted(statistics: Iterable[StatisticView]) -> Iterator[Metric]:
    """Yield the metrics of counters, and then every counter."""
    values: dict[str, dict[str, int]] = {}
    events = CounterMetricFamily(
        "lispmsrt_events", "Every counter of lispmsrt show statistics.", labels=("group", "event")
    )
    for one in statistics:
        group = values.setdefault(one.group, {})
        # Two roles of a process may both have UDP sockets.
        group[one.name] = group.get(one.name, 0) + one.value
    for metric in COUNTED:
        if metric.sources[0].group in values:
            family = CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
            for source in metric.sources:
                counters = values.get(source.group, _NOTHING)
                family.add_metric(source.labels, counters.get(source.counter, 0))
            yield family
    for group_name, counters in values.items():
        for name, value in counters.items():
            events.add_metric((group_name, name), value)
    yield events
