"""What ``lispmsrt show`` and ``lispmsrt explain`` print, as text and as JSON."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from unittest.mock import patch

import jsonschema
from pydantic import TypeAdapter
from rich.console import Console
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.cli.commands import make_parser
from lispmsrt.cli.explain import explanation_blocks
from lispmsrt.cli.show import VIEWS
from lispmsrt.cli.show_run import run_view
from lispmsrt.views.values import (
    EidView,
    EtrMappingView,
    EtrView,
    Explanation,
    HistoryView,
    MembershipView,
    OverviewView,
    Page,
    RegistrationView,
    RejectionGroupView,
    RejectionView,
    SessionView,
    SiteView,
    StatisticView,
    SubscriptionView,
)
from tests.show_ground import FakeDaemon, ShowCase
from tests.show_samples import (
    EXPLANATION,
    HISTORY,
    REGISTRATIONS,
    SAMPLES,
    SESSIONS,
    STATISTICS,
)

GOLDEN = Path(__file__).resolve().parent / "golden_show"
WRITES = bool(os.environ.get("LISPMSRT_WRITE_GOLDEN"))
"""Write the golden files anew, for somebody to read the difference."""

COMMANDS = {
    "overview": "show overview",
    "sessions": "show sessions",
    "session": "show session 192.0.2.7",
    "sites": "show sites",
    "site": "show site campus --limit 2",
    "registrations": "show registrations",
    "eid": "show eid 10.1.2.5 --instance-id 7",
    "history": "show history",
    "rejections": "show rejections",
    "rejection-groups": "show rejection-groups",
    "statistics": "show statistics",
    "membership": "show membership",
    "subscriptions": "show subscriptions",
}
ETR_COMMANDS = {
    "map-servers": "show map-servers",
    "mappings": "show mappings",
    "etr-sessions": "show sessions",
    "etr-session": "show session 198.51.100.1",
}

KINDS: dict[str, Any] = {
    "overview": OverviewView,
    "sessions": Page[SessionView],
    "session": SessionView,
    "sites": Page[SiteView],
    "site": SiteView,
    "registrations": Page[RegistrationView],
    "eid": EidView,
    "history": Page[HistoryView],
    "rejections": Page[RejectionView],
    "rejection-groups": tuple[RejectionGroupView, ...],
    "statistics": tuple[StatisticView, ...],
    "membership": MembershipView,
    "subscriptions": Page[SubscriptionView],
    "map-servers": EtrView,
    "mappings": Page[EtrMappingView],
}


class GoldenTests(ShowCase):
    """The text of every command."""

    maxDiff = None

    def assert_golden(self, name: str, text: str) -> None:
        """Compare with the file of this name; spaces at the end of a line are nobody's."""
        path = GOLDEN / f"{name}.txt"
        text = "".join(f"{line.rstrip()}\n" for line in text.splitlines())
        if WRITES:
            path.write_text(text)
        self.assertEqual(text, path.read_text())

    def test_views_of_a_map_server_when_piped(self) -> None:
        """Aligned columns, and nothing else."""
        for name, command in COMMANDS.items():
            self.assert_golden(f"{name}.plain", self.output(command))

    def test_views_of_a_map_server_on_a_terminal(self) -> None:
        """What does not fit is left out or wrapped."""
        for name, command in COMMANDS.items():
            self.assert_golden(f"{name}.terminal", self.drawn(command, 100))

    def test_views_of_an_etr(self) -> None:
        """Its sessions, too."""
        for name, command in ETR_COMMANDS.items():
            self.assert_golden(f"{name}.plain", self.output(command, self.etr))
            self.assert_golden(f"{name}.terminal", self.drawn(command, 100, self.etr))

    def test_an_explanation(self) -> None:
        """The exit code says that it does not resolve."""
        ran = self.show("explain 10.9.1.1 --instance-id 7")
        self.assertEqual((ran.code, ran.errors), (1, ""))
        self.assert_golden("explain.plain", ran.output)
        self.screen(100).draw(explanation_blocks(EXPLANATION))
        self.assert_golden("explain.terminal", self.terminal.getvalue())

    def test_every_view_has_a_golden_file(self) -> None:
        """Of both kinds, and no file is left over."""
        names = {*(view.name for view in VIEWS), "etr-sessions", "etr-session", "explain"}
        expected = {f"{name}.{kind}.txt" for name in names for kind in ("plain", "terminal")}
        self.assertEqual({path.name for path in GOLDEN.iterdir()}, expected)


class TerminalTests(ShowCase):
    """What a terminal adds."""

    def test_no_line_is_wider_than_the_terminal(self) -> None:
        """However narrow: columns are left out, then cut."""
        for width in (200, 80, 60, 40, 20):
            for command in COMMANDS.values():
                for line in self.drawn(command, width).splitlines():
                    self.assertLessEqual(len(line.rstrip()), width, command)

    def test_peer_and_state_outlast_the_other_columns(self) -> None:
        """At 52 columns a session is still told from another, trouble and all."""
        text = self.drawn("show sessions", 52)
        self.assertIn("[2001:db8::7]:4342  established*#", text)
        self.assertNotIn("RTT", text)

    def test_states_have_colours(self) -> None:
        """Green for what is well, red for what is not."""
        screen = self.screen(100)
        screen.console = Console(file=self.terminal, force_terminal=True, width=100)
        argv = ["show", "sites", "--socket", self.map_server.path]
        arguments = make_parser(argv).parse_args(argv)
        with patch.dict(os.environ, {"TERM": "xterm-256color"}):
            run_view(arguments.view, arguments, screen)
        self.assertIn("\x1b[32myes#", self.terminal.getvalue())
        self.assertIn("\x1b[31mno", self.terminal.getvalue())

    def test_a_peer_can_not_write_to_the_terminal(self) -> None:
        """A name with an escape sequence is shown, not obeyed; nor is rich's markup."""
        for text in (self.drawn("show history", 200), self.output("show history")):
            self.assertIn(r"name:\x1b[31mred", text)
            self.assertNotIn("\x1b", text)

    def test_a_long_list_says_that_it_goes_on(self) -> None:
        """On a terminal a thousand are enough, if nobody says otherwise."""
        many = {**SAMPLES, "/sessions": SESSIONS * 400}
        daemon = self.daemon("many", many)
        text = self.drawn("show sessions", 100, daemon)
        self.assertEqual(text.count("192.0.2.7:51234"), 334)
        self.assertIn("1000 of 1200 shown; --limit N shows more", text)
        self.assertEqual(self.output("show sessions", daemon).count("192.0.2.7:51234"), 400)


class LegendTests(ShowCase):
    """The lines above a table."""

    def test_they_wait_for_the_first_page(self) -> None:
        """Of a list that does not come only the error is printed."""

        def failing(path: str, parameters: dict[str, str]) -> tuple[int, object]:
            return 404, {"error": "this lispmsrt is no Map-Server"}

        for command in ("history", "sites", "sessions", "registrations", "rejections"):
            with patch.object(self.map_server, "answer", failing):
                ran = self.show(f"show {command}")
            self.assertEqual((ran.code, ran.output), (2, ""), command)
            self.assertIn("no Map-Server", ran.errors)

    def test_they_stand_above_an_empty_table(self) -> None:
        """And above its heading."""
        empty = self.daemon("empty", {**SAMPLES, "/history": ()})
        legend, heading, *_rest = self.show("show history", empty).output.splitlines()
        self.assertTrue(legend.startswith("+ = registered"), legend)
        self.assertTrue(heading.startswith("Timestamp"), heading)


class JsonTests(ShowCase):
    """``--json``."""

    def json(self, command: str, daemon: FakeDaemon | None = None) -> Any:
        """Return what a command prints, read."""
        return json.loads(self.output(f"{command} --json", daemon))

    def test_every_view_keeps_to_the_schema_of_its_values(self) -> None:
        """Which is what the OpenAPI document has, too."""
        for name, kind in KINDS.items():
            command = COMMANDS.get(name) or ETR_COMMANDS[name]
            found = self.json(command, None if name in COMMANDS else self.etr)
            schema = TypeAdapter(kind).json_schema(mode="serialization")
            jsonschema.Draft202012Validator(schema).validate(found)
        self.assertEqual(set(KINDS), {view.name for view in VIEWS})

    def test_it_is_what_the_api_gives(self) -> None:
        """Nothing is left out or rounded."""
        for command, kind, value in (
            ("show statistics", tuple[StatisticView, ...], STATISTICS),
            ("show history", Page[HistoryView], Page(HISTORY, len(HISTORY), None)),
        ):
            adapter = TypeAdapter(kind)
            self.assertEqual(adapter.validate_json(json.dumps(self.json(command))), value)

    def test_a_list_is_collected_over_all_pages(self) -> None:
        """One document, an item a line."""
        self.map_server.page = 1
        text = self.output("show registrations --json")
        found = json.loads(text)
        self.assertEqual(
            [item["eid_prefix"] for item in found["items"]],
            [each.eid_prefix for each in REGISTRATIONS],
        )
        self.assertEqual((found["total"], found["next_cursor"]), (3, None))
        self.assertEqual(len(text.splitlines()), 5)

    def test_a_limit_ends_it_with_a_cursor(self) -> None:
        """And no more is asked for than is wanted."""
        self.map_server.page = 1
        found = self.json("show registrations --limit 2")
        self.assertEqual(len(found["items"]), 2)
        self.assertEqual(found["next_cursor"], "2")
        self.assertEqual([asked["limit"] for _path, asked in self.map_server.asked], ["2", "1"])

    def test_an_empty_list_is_a_list(self) -> None:
        """It is valid JSON, too."""
        empty = self.daemon("empty", {**SAMPLES, "/sessions": ()})
        expected = {"items": [], "total": 0, "next_cursor": None}
        self.assertEqual(self.json("show sessions", empty), expected)

    def test_items_are_printed_before_the_last_page_has_come(self) -> None:
        """A daemon that fails in between leaves what came before."""
        self.map_server.page = 2
        answer = self.map_server.answer

        def failing(path: str, parameters: dict[str, str]) -> tuple[int, object]:
            if "cursor" in parameters:
                return 503, {"error": "the daemon is tired"}
            return answer(path, parameters)

        with patch.object(self.map_server, "answer", failing):
            ran = self.show("show registrations --json")
        self.assertEqual((ran.code, ran.errors), (2, "lispmsrt: the daemon is tired\n"))
        self.assertEqual(ran.output.count('"eid_prefix"') > 2, True)

    def test_an_explanation(self) -> None:
        """As one document."""
        ran = self.show("explain 10.9.1.1 --instance-id 7 --json")
        adapter = TypeAdapter(Explanation)
        self.assertEqual((ran.code, adapter.validate_json(ran.output)), (1, EXPLANATION))


class DocumentationTests(SynchronousTestCase):
    """``docs/show.rst``."""

    def test_its_samples_are_what_the_commands_print(self) -> None:
        """Those of the golden files, one of each command."""
        text = (GOLDEN.parent.parent / "docs" / "show.rst").read_text()
        commands = {**COMMANDS, **ETR_COMMANDS, "explain": "explain 10.9.1.1 --instance-id 7"}
        for name, command in commands.items():
            if name in ("rejection-groups", "etr-sessions", "etr-session"):
                continue
            lines = [
                f"$ lispmsrt {command}",
                *(GOLDEN / f"{name}.plain.txt").read_text().split("\n"),
            ]
            sample = "\n".join(f"    {line}" if line else "" for line in lines)
            self.assertIn(sample, text, name)
