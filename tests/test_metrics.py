"""Metrics are what Prometheus takes, and what the sample alerts and the dashboard ask for."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from lispmsrt.histogram import Histogram
from lispmsrt.services.etr import Etr
from lispmsrt.services.map_resolver import MapResolverService
from lispmsrt.services.map_server import MapServer
from lispmsrt.views.etr import EtrViews
from lispmsrt.views.map_resolver import MapResolverViews
from lispmsrt.views.map_server import MapServerViews
from lispmsrt.views.meanings import GROUPS
from lispmsrt.views.node import NodeViews
from lispmsrt.web.counted_metrics import COUNTED
from lispmsrt.web.metrics import content_type, render
from tests.alert_samples import SAMPLES, rule_tests
from tests.rim import mapping
from tests.service_ground import MAP_RESOLVER, Ground, server_text

_MONITORING = Path(__file__).resolve().parent.parent / "docs" / "monitoring"
_ALERTS = _MONITORING / "alerts.yml"
_DASHBOARD = _MONITORING / "grafana-dashboard.json"
_OPEN_METRICS = "application/openmetrics-text; version=1.0.0"

_NOT_OURS = {"up"}
"""What Prometheus adds itself."""

_SUBSCRIPTIONS = "[map-server.subscriptions]\nenabled = true\n"

_TARGET = """
[[map-resolver.map-server]]
address = "192.0.2.1:4342"
eid-prefix = [{ prefix = "10.9.0.0/16" }]
"""


def promtool(*arguments: str, text: bytes = b"") -> str:
    """Return what promtool says where it is content. SkipTest where it is not installed, unless CI
    is set.
    """
    command = shutil.which("promtool")
    if command is None:
        if os.environ.get("CI"):
            raise AssertionError("promtool is missing: install Debian's prometheus")
        raise SkipTest("promtool is missing: Debian has it in prometheus")
    outcome = subprocess.run([command, *arguments], input=text, capture_output=True, timeout=60)
    said = (outcome.stdout + outcome.stderr).decode()
    if outcome.returncode:
        raise AssertionError(said)
    return said


def samples(text: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Return name and labels to value."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def metric_names(expression: str) -> set[str]:
    """Return the metrics that an expression of PromQL asks for."""
    without_labels = re.sub(r"\{[^{}]*\}|\((?:[a-z]+(?:, )?)+\)(?= ?\()", "", expression)
    return set(re.findall(r"\b(?:lispmsrt|process)_[a-z_]+\b|\bup\b", without_labels))


def node(
    server: MapServer | None = None,
    etr: Etr | None = None,
    resolver: MapResolverService | None = None,
) -> NodeViews:
    """Return the views of a process with these roles."""
    return NodeViews(
        MapServerViews(server) if server is not None else None,
        EtrViews(etr) if etr is not None else None,
        MapResolverViews(resolver) if resolver is not None else None,
    )


class RenderTests(Ground):
    """Services that run, scraped."""

    def setUp(self) -> None:
        """A Map-Server, and an ETR with a session."""
        super().setUp()
        self.state = Path(self.mktemp()).absolute() / "map-server.state"
        options = f'state = "{self.state}"\n{_SUBSCRIPTIONS}'
        self.map_server = self.server(server_text(options=options))
        self.map_etr = self.etr("10.1.1.0/24", "10.1.2.0/24")
        self.network.run(5)
        self.views = node(self.map_server, self.map_etr)

    def scrape(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        """Return what Prometheus would have."""
        return samples(render(self.views))

    def test_promtool_has_no_complaint(self) -> None:
        """Names, units, help and types are as Prometheus likes them."""
        self.assertEqual(promtool("check", "metrics", text=render(self.views)), "")

    def test_levels_are_told(self) -> None:
        """Two registrations, held by a session over TCP, and where it listens."""
        found = self.scrape()
        self.assertEqual(found["lispmsrt_registrations", (("transport", "TCP"),)], 2)
        self.assertEqual(found["lispmsrt_sessions", (("transport", "TCP"),)], 1)
        self.assertEqual(found["lispmsrt_eid_prefixes", ()], 2)
        self.assertEqual(found["lispmsrt_registrations_limit", ()], 4_000_000)
        listeners = {
            dict(labels)["transport"]: value
            for (name, labels), value in found.items()
            if name == "lispmsrt_listener_up"
        }
        self.assertEqual(listeners, {"UDP": 1, "TCP": 1})

    def test_nothing_is_told_as_nothing(self) -> None:
        """When the last session and registration of a transport go, its series stay, at 0."""
        self.map_etr.stopService()
        self.services.remove(self.map_etr)
        self.network.run(200)
        found = self.scrape()
        self.assertEqual(found["lispmsrt_sessions", (("transport", "TCP"),)], 0)
        self.assertEqual(found["lispmsrt_registrations", (("transport", "TCP"),)], 0)
        self.assertEqual(found["lispmsrt_registrations", (("transport", "UDP"),)], 0)

    def test_counters_are_told(self) -> None:
        """And grow with what happens; what was refused goes by its reason."""
        before = self.scrape()
        self.register(self.map_etr, "10.1.3.0/24")
        self.map_etr.register(mapping("10.9.0.0/24", "198.51.100.1")).addErrback(lambda _: None)
        self.network.run(1)
        after = self.scrape()
        accepted = ("lispmsrt_registrations_accepted_total", ())
        rejected = "lispmsrt_registrations_rejected_total"
        self.assertEqual(after[accepted] - before[accepted], 1)
        self.assertEqual(before[rejected, (("reason", "invalid_eid_prefix"),)], 0)
        self.assertGreaterEqual(after[rejected, (("reason", "invalid_eid_prefix"),)], 1)

    def test_histograms_are_told(self) -> None:
        """As many values as there were registrations, growing from bucket to bucket."""
        found = self.scrape()
        name = "lispmsrt_registration_seconds"
        self.assertEqual(found[f"{name}_count", ()], self.map_server.latency.count)
        buckets = [
            value for (metric, _labels), value in found.items() if metric == f"{name}_bucket"
        ]
        self.assertEqual(buckets, sorted(buckets))
        self.assertEqual(buckets[-1], found[f"{name}_count", ()])
        self.assertEqual(len(buckets), len(self.map_server.latency.counts))

    def test_histogram_counts_up_to_each_bound(self) -> None:
        """Prometheus's buckets count what is in the smaller ones too."""
        self.map_server.latency = Histogram((0.1, 1.0))
        self.map_server.latency.observe(0.05, 3)
        self.map_server.latency.observe(0.5)
        self.map_server.latency.observe(7.0)
        found = self.scrape()
        name = "lispmsrt_registration_seconds"
        ends = ("0.1", "1.0", "+Inf")
        self.assertEqual([found[f"{name}_bucket", (("le", end),)] for end in ends], [3, 4, 5])
        self.assertAlmostEqual(found[f"{name}_sum", ()], 0.15 + 0.5 + 7.0)

    def test_etr_is_told(self) -> None:
        """Its sessions, and how far its EID-prefixes have come."""
        found = self.scrape()
        of_server = ("map_server", "192.0.2.1:4342")
        self.assertEqual(found["lispmsrt_etr_mappings", ()], 2)
        self.assertEqual(found["lispmsrt_etr_session_up", (of_server,)], 1)
        self.assertEqual(found["lispmsrt_etr_registrations", (of_server, ("state", "stable"))], 2)

    def test_every_counter_is_an_event(self) -> None:
        """What show statistics has, with the same names."""
        found = self.scrape()
        for view in self.views.statistics():
            labels = (("event", view.name), ("group", view.group))
            self.assertIn(("lispmsrt_events_total", labels), found)

    def test_management_endpoint_is_an_event_too(self) -> None:
        """Whoever tries tokens is seen."""
        text = render(self.views, management=Counter({"requests refused: wrong token": 3}))
        labels = (("event", "requests refused: wrong token"), ("group", "management"))
        self.assertEqual(samples(text)["lispmsrt_events_total", labels], 3)

    def test_open_metrics_is_there_for_who_asks(self) -> None:
        """With its content type, and its end."""
        self.assertIn("openmetrics", content_type(_OPEN_METRICS))
        self.assertIn("text/plain", content_type())
        text = render(self.views, _OPEN_METRICS).decode()
        self.assertTrue(text.endswith("# EOF\n"))
        names = {family.name for family in open_metrics(text)}
        self.assertIn("lispmsrt_registration_seconds", names)

    def test_number_of_series_does_not_grow(self) -> None:
        """Not with EID-prefixes, and not with xTRs."""
        before = set(self.scrape())
        self.register(self.map_etr, *(f"10.1.{number}.0/24" for number in range(10, 40)))
        self.etr("10.1.99.0/24", host="198.51.100.2")
        self.network.run(5)
        self.assertEqual(set(self.scrape()) - before, set())

    def test_a_role_alone_tells_its_own(self) -> None:
        """No Map-Server's metrics from an ETR; a Map-Resolver has its questions."""
        etr = {name for name, _ in samples(render(node(etr=self.map_etr)))}
        self.assertIn("lispmsrt_etr_mappings", etr)
        self.assertNotIn("lispmsrt_registrations", etr)
        self.assertNotIn("lispmsrt_map_requests_received_total", etr)
        service = self.resolver(f'[map-resolver]\ncontrol = ["{MAP_RESOLVER}:4342"]\n{_TARGET}')
        self.ask("10.1.1.1", MAP_RESOLVER)
        found = samples(render(node(resolver=service)))
        self.assertEqual(found["lispmsrt_map_requests_received_total", ()], 1)
        self.assertEqual(found["lispmsrt_eids_not_mapped_total", (("reason", "no_site"),)], 1)

    def test_questions_about_nothing_are_told(self) -> None:
        """Nobody has registered it, and no site has it."""
        self.ask("10.1.77.1")
        self.ask("10.99.1.1")
        found = self.scrape()
        name = "lispmsrt_eids_not_mapped_total"
        self.assertEqual(found[name, (("reason", "not_registered"),)], 1)
        self.assertEqual(found[name, (("reason", "no_site"),)], 1)

    def test_the_state_file_is_told(self) -> None:
        """What a crash would lose, and whether the file takes anything."""
        memory = self.map_server.mapping.memory
        assert memory is not None
        names = ("up", "unwritten", "restoring")
        self.network.run(1)
        found = [self.scrape()[f"lispmsrt_state_{name}", ()] for name in names]
        self.assertEqual(found, [1, 0, 0])
        self.patch(memory, "problem", "it is full")
        self.assertEqual(self.scrape()["lispmsrt_state_up", ()], 0)

    def test_alerts_and_dashboard_ask_for_what_there_is(self) -> None:
        """A metric that is not rendered would never alert."""
        there = {name for name, _labels in self.scrape()} | _NOT_OURS
        for path, expressions in (
            (_ALERTS, [_ALERTS.read_text()]),
            (_DASHBOARD, list(_expressions(json.loads(_DASHBOARD.read_text())))),
        ):
            asked = {name for one in expressions for name in metric_names(one)}
            self.assertGreater(len(asked), 10, path.name)
            self.assertEqual(asked - there, set(), path.name)

    def test_dashboard_draws_every_metric_of_ours(self) -> None:
        """All that have a name of their own, but for what others there say as well."""
        asked = {
            name
            for one in _expressions(json.loads(_DASHBOARD.read_text()))
            for name in metric_names(one)
        }
        ours = {
            re.sub(r"_(count|sum)$", "_bucket", name)
            for name, _labels in self.scrape()
            if name.startswith("lispmsrt_")
        }
        not_drawn = {"lispmsrt_sites", "lispmsrt_reliable_registrations", "lispmsrt_etr_mappings"}
        self.assertEqual(ours - asked - not_drawn, set())


def _expressions(dashboard: Any) -> list[str]:
    """Return every expression of a dashboard's panels, its variables set to something."""
    found = []
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            found.append(target["expr"].replace("$__rate_interval", "1m"))
    return found


class TableTests(SynchronousTestCase):
    """The metrics that counters have of their own."""

    def test_sources_are_counters_that_there_are(self) -> None:
        """By the names that their groups have."""
        meanings = {group.name: group.meanings for group in GROUPS}
        for metric in COUNTED:
            for source in metric.sources:
                self.assertIn(source.counter, meanings[source.group], metric.name)
                self.assertEqual(len(source.labels), len(metric.labels), metric.name)

    def test_series_are_unique(self) -> None:
        """Prometheus refuses a scrape with the same series twice."""
        series = [(metric.name, source.labels) for metric in COUNTED for source in metric.sources]
        self.assertEqual(len(set(series)), len(series))


class AlertTests(SynchronousTestCase):
    """The sample alerts, judged by promtool."""

    def test_rules_are_valid(self) -> None:
        """All of them."""
        self.assertIn("SUCCESS", promtool("check", "rules", str(_ALERTS)))

    def test_every_alert_has_samples(self) -> None:
        """One that makes it fire, and one that does not."""
        alerts = re.findall(r"- alert: (\w+)", _ALERTS.read_text())
        self.assertEqual(alerts, [sample.alert for sample in SAMPLES])

    def test_every_alert_fires_and_does_not_fire(self) -> None:
        """On two sets of series that differ where it matters."""
        with tempfile.NamedTemporaryFile("w", suffix=".yml") as tests:
            json.dump(rule_tests(str(_ALERTS)), tests)  # JSON is YAML
            tests.flush()
            self.assertIn("SUCCESS", promtool("test", "rules", tests.name))

    def test_dashboards_expressions_can_be_read(self) -> None:
        """As rules of a recording each."""
        expressions = _expressions(json.loads(_DASHBOARD.read_text()))
        rules = [{"record": f"panel:{n}", "expr": one} for n, one in enumerate(expressions)]
        with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
            json.dump({"groups": [{"name": "panels", "rules": rules}]}, file)
            file.flush()
            self.assertIn("SUCCESS", promtool("check", "rules", "--lint=none", file.name))
