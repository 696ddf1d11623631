"""What ``lispmsrt show`` asks for: filters, and how times are written."""

from __future__ import annotations

import re

from lispmsrt.cli.explain import explanation_blocks
from tests.show_ground import FakeDaemon, ShowCase, run
from tests.show_samples import EXPLANATION, NOW, SAMPLES


class FilterTests(ShowCase):
    """What the daemon is asked for."""

    def asked(self, command: str, daemon: FakeDaemon | None = None) -> dict[str, str]:
        """Return the parameters of the last question, but its limit."""
        self.output(command, daemon)
        _path, parameters = (daemon or self.map_server).asked[-1]
        parameters.pop("limit", None)
        return parameters

    def test_filters_are_parameters(self) -> None:
        """Of the names that the API has."""
        since = repr(NOW - 300)
        for command, expected in (
            (
                "show sessions --site campus --transport quic --since 5m --state established",
                {"site": "campus", "transport": "quic", "since": since, "established": "true"},
            ),
            (
                "show sessions --state starting --peer 192.0.2.7",
                {"established": "false", "peer": "192.0.2.7"},
            ),
            ("show sessions --troubled", {"troubled": "true"}),
            (
                "show registrations --instance-id 7 --eid 10.1.1.5 --xtr-id 0a --site campus",
                {"instance_id": "7", "eid": "10.1.1.5/32", "xtr_id": "0a", "site": "campus"},
            ),
            (
                "show history --event rejected --since 2026-01-01T00:00:00Z --transport UDP",
                {"event": "rejected", "since": "1767225600.0", "transport": "UDP"},
            ),
            ("show rejections --instance-id 0", {"instance_id": "0"}),
            (
                "show eid 10.1.0.0/16 --itr 192.0.2.1",
                {"eid": "10.1.0.0/16", "instance_id": "0", "itr": "192.0.2.1"},
            ),
            ("explain name:host", {"eid": "name:host", "instance_id": "0"}),
        ):
            if command.startswith("explain"):
                self.show(command)
                self.assertEqual(self.map_server.asked[-1][1], expected)
            else:
                self.assertEqual(self.asked(command), expected)

    def test_filters_of_an_etr(self) -> None:
        """The state of a mapping, and where."""
        self.assertEqual(
            self.asked("show mappings --state rejected --map-server 192.0.2.1", self.etr),
            {"state": "rejected", "map_server": "192.0.2.1"},
        )

    def test_what_the_api_does_not_filter_is_filtered_here(self) -> None:
        """The same in text and in JSON."""
        for command, kept, gone in (
            ("show sites --site branch", "2001:db8:1::/48", "10.1.0.0/16"),
            ("show sites --instance-id 7", "10.1.0.0/16", "2001:db8:1::/48"),
            ("show subscriptions --site campus", "10.1.1.0/24", "10.1.2.0/24"),
            ("show subscriptions --instance-id 9", "10.1.2.0/24", "10.1.1.0/24"),
            ("show membership --instance-id 9", "MAC", "IPv4"),
            ("show statistics --group sessions", "established", "refused"),
            ("show statistics --nonzero", "received", "dropped"),
            ("show rejection-groups --site campus", "authentication", "172.16.0.0/12"),
        ):
            for text in (self.output(command), self.output(f"{command} --json")):
                self.assertIn(kept, text)
                self.assertNotIn(gone, text)

    def test_all_members_of_one_instance_are_shown(self) -> None:
        """Where all instances are, only some."""
        self.assertNotIn("192.0.2.12", self.output("show membership"))
        self.assertIn("192.0.2.12", self.output("show membership --instance-id 7"))

    def test_groups_of_rejections_stand_above_what_is_not_filtered(self) -> None:
        """The daemon counts them for all instances and times."""
        self.assertIn("by rule", self.output("show rejections --site campus"))
        self.assertNotIn("by rule", self.output("show rejections --since 5m"))

    def test_a_name_stays_one_part_of_the_path(self) -> None:
        """Whatever it holds."""
        ran = run("show", "site", "../a/b?c#d e", "--socket", self.map_server.path)
        self.assertEqual((ran.code, self.map_server.asked), (2, [("/sites/../a/b?c#d e", {})]))

    def test_wrong_arguments_are_told_before_anybody_is_asked(self) -> None:
        """One line each."""
        for command, words in (
            ("show eid 10.1.1.1/8", "has host bits set"),
            ("show eid nonsense", "is no IPv4, IPv6 or MAC address"),
            ("show registrations --instance-id -1", "is not an instance ID"),
            ("show registrations --since yesterday", "is neither a span"),
            ("show sessions --limit 0", "is not a whole number from 1"),
            ("show sessions --watch 0", "is not a number of seconds"),
            ("show sessions --state odd", "invalid choice"),
            ("show nothing", "invalid choice"),
        ):
            ran = self.show(command)
            self.assertEqual((ran.code, ran.output), (2, ""), command)
            self.assertIn(words, ran.errors)
        self.assertEqual(self.map_server.asked, [])


class TimeTests(ShowCase):
    """Local times, with their offset."""

    def test_local_time_has_its_offset(self) -> None:
        """--utc is for those who compare."""
        pattern = re.compile(r"since \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d$", re.MULTILINE)
        ran = run("show", "overview", "--socket", self.map_server.path)
        self.assertRegex(ran.output, pattern)

    def test_a_column_of_times_has_no_offsets(self) -> None:
        """Its heading says whose time it is; what is copied from it can be asked for."""
        for option, whose in (("", "local"), ("--utc", "UTC")):
            for view in ("history", "rejections"):
                argv = ["show", view, *option.split(), "--socket", self.map_server.path]
                lines = run(*argv).output.splitlines()
                (heading,) = [line for line in lines if line.startswith("Timestamp")]
                self.assertTrue(heading.startswith(f"Timestamp ({whose}) "), heading)
                shown = lines[-1][:23]
                self.assertRegex(shown, r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}$")
        run("show", "history", "--since", shown, "--socket", self.map_server.path)
        self.assertTrue(self.map_server.asked[-1][1]["since"])


class WordsTests(ShowCase):
    """What is said where there is no table."""

    def test_nothing_was_rejected(self) -> None:
        """Or nothing that was asked for."""
        daemon = self.daemon("quiet", {**SAMPLES, "/rejections": (), "/rejection-groups": ()})
        for view in ("rejections", "rejection-groups"):
            nothing = "nothing was rejected since the start\n"
            self.assertEqual(self.output(f"show {view}", daemon), nothing)
            none = "nothing that matches was rejected since the start\n"
            self.assertEqual(self.output(f"show {view} --site x", daemon), none)

    def test_details_that_are_lost(self) -> None:
        """What is counted is shown, and the other way round."""
        daemon = self.daemon("old", {**SAMPLES, "/rejections": ()})
        self.assertIn("by rule", self.output("show rejections", daemon))
        daemon = self.daemon("many", {**SAMPLES, "/rejection-groups": ()})
        self.assertNotIn("by rule", self.output("show rejections", daemon))

    def test_a_remedy_that_is_wrapped_hangs_on_its_bullet(self) -> None:
        """All its lines begin in one column."""
        self.screen(40).draw(explanation_blocks(EXPLANATION))
        lines = self.terminal.getvalue().splitlines()
        first = next(at for at, line in enumerate(lines) if line.startswith("  - "))
        self.assertGreater(len(lines), first + 1)
        for line in lines[first + 1 :]:
            self.assertRegex(line, r"^ {4}\S")

    def test_a_group_of_statistics_that_there_is_not(self) -> None:
        """Those that there are stand in the sentence."""
        for command in ("show statistics --group x", "show statistics --group x --json"):
            ran = self.show(command)
            self.assertEqual((ran.code, ran.output), (2, ""))
            self.assertRegex(ran.errors, r"^lispmsrt: there is no group x here, but .*sessions")
