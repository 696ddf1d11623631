"""``lispmsrt show … --watch``: on a terminal, in a pipe, and while the daemon comes and goes."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from typing import Any

from rich.console import Console
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.cli.commands import make_parser
from lispmsrt.cli.draw_plain import PlainScreen
from lispmsrt.cli.draw_rich import RichScreen
from lispmsrt.cli.show_view import Memory
from lispmsrt.cli.show_watch import watch
from tests.show_ground import FakeDaemon, short_directory
from tests.show_samples import HISTORY, NOW, OVERVIEW, SAMPLES, SESSIONS


class WatchCase(SynchronousTestCase):
    """A daemon that changes between two looks."""

    def setUp(self) -> None:
        self.directory = self.enterContext(short_directory())
        self.values = dict(SAMPLES)
        self.daemon = FakeDaemon(f"{self.directory}/s", self.values)
        self.daemon.__enter__()
        self.addCleanup(lambda: self.daemon.__exit__())
        self.now = NOW
        self.output, self.errors = StringIO(), StringIO()

    def watch(
        self, command: str, *changes: Callable[[], None], screen: RichScreen | None = None
    ) -> str:
        """Look once, and once after each change, a second apart; return what is printed."""
        argv = [*command.split(), "--utc", "--watch", "1", "--socket", self.daemon.path]
        arguments = make_parser(argv).parse_args(argv)
        left = list(changes)

        def sleep(seconds: float) -> None:
            self.now += seconds
            if not left:
                raise KeyboardInterrupt
            left.pop(0)()

        with redirect_stdout(self.output), redirect_stderr(self.errors):
            self.assertRaises(
                KeyboardInterrupt,
                watch,
                arguments.view,
                arguments,
                screen or PlainScreen(self.output.write),
                sleep,
                lambda: self.now,
            )
        return self.output.getvalue()

    def grow(self) -> None:
        """Take in 500 messages more."""
        self.values["/overview"] = dataclasses.replace(
            OVERVIEW, now=self.now, messages_in=OVERVIEW.messages_in + 500
        )

    def add_history(self, *numbers: int) -> None:
        """Let something happen."""
        lines: Any = self.values["/history"]
        for number in numbers:
            line = dataclasses.replace(HISTORY[2], number=number, eid_prefix=f"10.1.{number}.0/24")
            lines = (line, *lines)
        self.values["/history"] = lines


class PipeTests(WatchCase):
    """What is appended."""

    def test_each_look_stands_below_the_one_before(self) -> None:
        """With the time above it."""
        text = self.watch("show sessions", lambda: None)
        self.assertEqual(text.count("Sessions for map-server"), 2)
        self.assertIn("2026-01-01T09:05:12Z, every 1 s", text)
        self.assertIn("2026-01-01T09:05:13Z, every 1 s", text)

    def test_an_overview_has_rates(self) -> None:
        """From the second look on, by the daemon's clock."""
        text = self.watch("show overview", self.grow)
        first, second = text.split("every 1 s")[1:]
        self.assertIn("A second", first)
        self.assertRegex(second, r"Messages in +1,235,067 +500\.0 +█")
        self.assertRegex(second, r"Messages out +1,234,000 +0\.0")

    def test_history_goes_on_at_its_end(self) -> None:
        """As with ``tail -f``: oldest first, and nothing twice."""
        text = self.watch(
            "show history",
            lambda: self.add_history(106, 107),
            lambda: None,
            lambda: self.add_history(108),
        )
        lines = text.splitlines()
        self.assertTrue(lines[0].startswith("Timestamp"))
        found = [line.split()[5] for line in lines[1:]]
        expected = ["name:\\x1b[31mred", "10.1.2.0/24", "10.1.2.0/24", "10.1.3.0/24"]
        expected.append("10.9.1.0/24")
        self.assertEqual(found, [*expected, "10.1.106.0/24", "10.1.107.0/24", "10.1.108.0/24"])
        self.assertEqual(self.daemon.asked[-1][1]["after"], "107")

    def test_rejections_go_on_at_their_end(self) -> None:
        """Their groups would be in the way."""
        text = self.watch("show rejections", lambda: None)
        self.assertNotIn("by rule", text)
        self.assertEqual(text.count("172.16.0.0/12 in instance"), 1)

    def test_statistics_have_rates(self) -> None:
        """Of each counter."""
        self.assertIn("A second", self.watch("show statistics", lambda: None))

    def test_json_is_one_document_a_line(self) -> None:
        """Lists, too."""
        lines = self.watch("show sessions --json", lambda: None).splitlines()
        self.assertEqual([len(json.loads(line)["items"]) for line in lines], [3, 3])
        self.output = StringIO()
        lines = self.watch("show overview --json", lambda: None).splitlines()
        self.assertEqual([json.loads(line)["sites"] for line in lines], [2, 2])

    def test_json_of_the_history_has_what_is_new(self) -> None:
        """Each line has only what the one before has not."""
        lines = self.watch("show history --json", lambda: self.add_history(106)).splitlines()
        numbers = [[item["number"] for item in json.loads(line)["items"]] for line in lines]
        self.assertEqual(numbers, [[105, 104, 103, 102, 101], [106]])


class AbsenceTests(WatchCase):
    """A daemon that is restarted."""

    def test_it_is_waited_for(self) -> None:
        """With one sentence, however long it takes."""

        def stop() -> None:
            self.daemon.__exit__()

        def start() -> None:
            self.daemon = FakeDaemon(self.daemon.path, self.values)
            self.daemon.__enter__()

        text = self.watch("show sessions", stop, lambda: None, start)
        self.assertEqual(text.count("Sessions for map-server"), 2)
        self.assertEqual(
            self.errors.getvalue(),
            f"lispmsrt: nobody answers at {self.daemon.path}: is the daemon running?\n",
        )

    def test_history_begins_anew_where_the_daemon_does(self) -> None:
        """Its lines are numbered from nought again."""

        def restart() -> None:
            self.daemon.__exit__()
            self.values["/overview"] = dataclasses.replace(OVERVIEW, history_number=1)
            self.values["/history"] = ()
            self.add_history(1)
            self.daemon = FakeDaemon(self.daemon.path, self.values)
            self.daemon.__enter__()

        text = self.watch("show history", restart, lambda: None, lambda: None)
        self.assertEqual(text.count("10.1.1.0/24"), 1)
        self.assertEqual(text.count("10.9.1.0/24"), 1)

    def test_counters_that_start_anew_have_no_rate(self) -> None:
        """It would be below nought."""
        memory = Memory()
        self.assertIsNone(memory.rate("a", 100, 1.0))
        self.assertEqual(memory.rate("a", 110, 2.0), 10.0)
        self.assertIsNone(memory.rate("a", 5, 3.0))
        self.assertIsNone(memory.rate("a", 6, 3.0))
        self.assertEqual(memory.rate("a", 7, 5.0), 0.5)
        self.assertEqual(memory.rates("a"), (10.0, 0.5))


class TerminalTests(WatchCase):
    """What is redrawn."""

    def screen(self, height: int) -> RichScreen:
        """Return a terminal that keeps what is written."""
        return RichScreen(
            Console(
                file=self.output,
                width=100,
                height=height,
                force_terminal=True,
                color_system=None,
                highlight=False,
            )
        )

    def test_a_picture_is_drawn_over_the_one_before(self) -> None:
        """The cursor goes up, and comes back at the end."""
        text = self.watch("show sessions", lambda: None, screen=self.screen(40))
        self.assertEqual(text.count("Sessions for map-server"), 2 + 1)
        self.assertIn("\x1b[1A", text)
        self.assertTrue(text.endswith("\x1b[?25h"))

    def test_no_more_is_asked_for_than_the_terminal_has_lines(self) -> None:
        """Ten thousand sessions are not fetched every two seconds."""
        self.values["/sessions"] = SESSIONS * 100
        text = self.watch("show sessions", screen=self.screen(20))
        self.assertEqual(self.daemon.asked[-1][1]["limit"], "12")
        self.assertIn("12 of 300 shown", text)

    def test_history_is_redrawn_whole(self) -> None:
        """With its legend, newest first."""
        text = self.watch("show history", lambda: None, screen=self.screen(40))
        self.assertIn("+ = registered", text)
        self.assertNotIn("after", self.daemon.asked[-1][1])
