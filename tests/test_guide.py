"""The operator's guide shows what the commands show."""

from __future__ import annotations

import re
import shlex
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.cli.commands import COMMANDS, make_parser
from lispmsrt.mapping import refusals
from lispmsrt.services import connector
from lispmsrt.session.base import CloseReason
from lispmsrt.views import session_errors
from lispmsrt.views.meanings import GROUPS
from tests.guide_pages import FOLDER, commands_of, pages, replay

_COMMAND = r"``(?:lispmsrt )?((?:show|explain|clear|refresh|reload|withdraw)\b[^`]*)``"
_HOW = "\n\nIf that is right: python -m tests.guide_pages --write"


def _text(name: str) -> str:
    return (FOLDER / f"{name}.rst").read_text()


class OutputTests(SynchronousTestCase):
    """Each page, from its first command to its last."""

    def assert_same(self, name: str) -> None:
        """Run the commands of a page and compare what they show."""
        path = FOLDER / f"{name}.rst"
        _renewed, changes = replay(path)
        self.assertGreater(len(commands_of(path)), 2)
        self.assertEqual(changes, [], "\n\n".join(map(str, changes)) + _HOW)

    def test_not_resolving(self) -> None:
        """Why is this EID not resolving?"""
        self.assert_same("not-resolving")

    def test_rejected(self) -> None:
        """Why was it rejected?"""
        self.assert_same("rejected")

    def test_session_health(self) -> None:
        """Is the session healthy?"""
        self.assert_same("session-health")

    def test_rotate_a_key(self) -> None:
        """How do I rotate a key without an outage?"""
        self.assert_same("rotate-a-key")

    def test_index(self) -> None:
        """The first look."""
        self.assert_same("index")

    def test_every_page_is_tested(self) -> None:
        """A new page gets a test."""
        names = {path.stem.replace("-", "_") for path in pages() if commands_of(path)}
        tests = {name.removeprefix("test_") for name in dir(self) if name.startswith("test_")}
        self.assertEqual(names - tests, set())

    def test_another_output_is_noticed(self) -> None:
        """The comparison compares: what has changed is told, and put right in the page."""
        page = Path(self.mktemp())
        good = "Text::\n\n    etr1# lispmsrt withdraw 10.1.1.0/24\n    1 withdrawn.\n"
        page.write_text(good.replace("1 withdrawn", "2 withdrawn"))
        renewed, changes = replay(page)
        self.assertEqual(renewed, good)
        self.assertEqual([change.now for change in changes], [["    1 withdrawn."]])
        page.write_text(good)
        self.assertEqual(replay(page), (good, []))

    def test_lines_that_are_left_out(self) -> None:
        """A line of three dots stands for any lines, and for no others than those in its place."""
        page = Path(self.mktemp())
        text = "Text::\n\n    ms1# lispmsrt show site campus\n    {}\n    ...\n    {}\n    ...\n"
        keys, now = "  Keys:              ID 1, hmac-sha-256-128", "  Registrations:     4"
        page.write_text(text.format("Site name: campus", now))
        self.assertEqual(replay(page)[1], [])
        for wrong in ((keys, now), ("Site name: campus", "  Registrations:     5")):
            page.write_text(text.format(*wrong))
            self.assertEqual(len(replay(page)[1]), 1)


class RotationTests(SynchronousTestCase):
    """What the page about keys promises."""

    def test_nothing_was_lost(self) -> None:
        """Every look at the registrations shows all of them, and the history no end."""
        text = _text("rotate-a-key").partition("If somebody was forgotten")[0]
        looks = re.findall(r"show registrations .*\n((?:    .*\n)+?)(?:    \w+#|\n)", text)
        self.assertGreater(len(looks), 4)
        for look in looks:
            for eid in ("10.1.1.0/24", "10.1.2.0/24", "10.1.9.0/24"):
                self.assertIn(eid, look)
        self.assertNotRegex(text, r"  - 10\.")


class CompletenessTests(SynchronousTestCase):
    """Whatever the commands may say is explained."""

    def test_every_rule_of_a_rejection(self) -> None:
        """Those of ``mapping/refusals``; their sentences begin alike."""
        text = " ".join(_text("rejected").split())
        found = [
            value
            for name, value in vars(refusals).items()
            if re.fullmatch(r"_[A-Z_]+", name) and isinstance(value, str)
        ]
        self.assertGreater(len(found), 10)
        self.assertEqual([rule for rule in found if f"``{rule}``" not in text], [])

    def test_every_kind_of_error(self) -> None:
        """In the table of errors of a session."""
        kinds = set(session_errors._KINDS.values())
        self.assertEqual({kind for kind in kinds if f"``{kind}``" not in self.health}, set())

    def test_every_end_of_a_session(self) -> None:
        """In the table of what to make of them."""
        missing = [end for end in CloseReason if f"``{end.value}``" not in self.health]
        self.assertEqual(missing, [])

    def test_every_phase_of_an_etr(self) -> None:
        """In the table of phases."""
        missing = [phase for phase in connector._Phase if f"``{phase.value}``" not in self.health]
        self.assertEqual(missing, [])

    def test_columns_of_sessions(self) -> None:
        """Each has its row."""
        shown = re.search(r"^ +Peer .*Site$", _text("session-health"), re.MULTILINE)
        assert shown is not None
        for column in re.split(r"  +", shown[0].strip()):
            self.assertIn(f"* - {column}\n", _text("session-health"))

    def test_commands_in_the_text(self) -> None:
        """What the text names exists: commands, options, groups of counters."""
        groups = {group.name for group in GROUPS}
        for path in pages():
            text = " ".join(path.read_text().split())
            for name in re.findall(r"--group ([\w-]+)", text):
                self.assertIn(name, groups, path.name)
            for command in re.findall(_COMMAND, text):
                self._parse(command)

    def _parse(self, command: str) -> None:
        if command in COMMANDS and command != "reload":
            return
        words = [re.sub(r"^[A-Z]+$", "10.1.1.5", word) for word in shlex.split(command)]
        if words in (["show", "site"], ["show", "session"], ["show", "eid"], ["clear", "session"]):
            words.append("10.1.1.5")
        if "--instance-id" in words:
            words[words.index("--instance-id") + 1] = "7"
        if words[-1] in ("--itr", "--group"):
            words += ["10.1.1.5"] * (2 if words[-1] == "--itr" else 1)
        with redirect_stderr(StringIO()) as said:
            try:
                make_parser(words).parse_args(words)
            except SystemExit:
                self.fail(f"{command}: {said.getvalue()}")

    @property
    def health(self) -> str:
        """Return the page about sessions, in one line."""
        return " ".join(_text("session-health").split())
