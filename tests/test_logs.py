"""Lines of the log, for people and for programs."""

from __future__ import annotations

import json
from io import StringIO

from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.logs import JsonLines, TextLines
from lispmsrt.mapping.database import Xtr


class LogTests(SynchronousTestCase):
    """The same events, written both ways."""

    def setUp(self) -> None:
        """Write into memory."""
        self.output = StringIO()
        self.json = Logger("test", observer=JsonLines(self.output))
        self.text = Logger("test", observer=TextLines(self.output))

    def _object(self) -> dict[str, object]:
        (line,) = self.output.getvalue().splitlines()
        found: dict[str, object] = json.loads(line)
        return found

    def test_a_json_line_has_what_it_is_about_in_fields(self) -> None:
        """Numbers stay numbers, and what is no scalar becomes text."""
        xtr = Xtr("campus", b"", b"\xc0\x00\x02\x01")
        self.json.info("session {session} with {xtr} is up", session=17, xtr=xtr)
        line = self._object()
        self.assertRegex(str(line.pop("at")), r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00$")
        self.assertEqual(
            line,
            {
                "level": "info",
                "system": "test",
                "message": "session 17 with campus without xTR-ID is up",
                "session": 17,
                "xtr": "campus without xTR-ID",
            },
        )

    def test_a_failure_has_its_traceback_in_the_same_line(self) -> None:
        """Or a reader of lines would lose it."""
        try:
            raise ValueError("wrong")
        except ValueError:
            self.json.failure("while trying", Failure())
        line = self._object()
        self.assertEqual(line["level"], "critical")
        self.assertIn("ValueError: wrong", str(line["traceback"]))

    def test_what_a_peer_says_can_not_break_a_line(self) -> None:
        """Line ends and half characters are escaped."""
        self.json.info("name {name}", name="a\nb\udc80")
        self.assertEqual(len(self.output.getvalue().splitlines()), 1)
        self.assertIn("a\\nb", self.output.getvalue())

    def test_what_a_peer_says_can_not_command_a_terminal(self) -> None:
        """Nor begin a line of its own."""
        self.text.info("name {name}", name="a\n\x1b[2Jb\x9b")
        self.assertTrue(self.output.getvalue().endswith(" name a\\x0a\\x1b[2Jb\\x9b\n"))

    def test_nor_can_it_in_a_traceback(self) -> None:
        """Its own lines stay lines."""
        try:
            raise ValueError("wrong \x1b[2J")
        except ValueError:
            self.text.failure("while trying", Failure())
        self.assertIn("ValueError: wrong \\x1b[2J\n", self.output.getvalue())
        self.assertGreater(len(self.output.getvalue().splitlines()), 3)

    def test_a_line_for_people(self) -> None:
        """The level stands there only where it says something."""
        self.text.info("all is well")
        self.text.warn("{what} is not", what="something")
        first, second = self.output.getvalue().splitlines()
        self.assertRegex(first, r"^\d{4}-\d\d-\d\dT[0-9:.]+[+-]\d\d:\d\d all is well$")
        self.assertTrue(second.endswith(" WARN: something is not"), second)
