"""``clear session``, ``refresh``, ``reload``, ``register`` and ``withdraw``."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.cli.commands import make_parser
from tests.show_ground import FakeDaemon, Ran, run, short_directory

MAPPINGS = """\
[[mapping]]
eid-prefix = "10.1.1.0/24"
locators = [{ rloc = "192.0.2.7", priority = 2 }]
[[mapping]]
eid-prefix = "10.1.2.0/24"
instance-id = 7
action = "drop"
"""

CONFIGURATION = MAPPINGS.replace("[[mapping]]", "[[etr.mapping]]")


class ActionCase(SynchronousTestCase):
    """A daemon that keeps what it was told."""

    def setUp(self) -> None:
        self.directory = self.enterContext(short_directory())
        self.refused: dict[str, tuple[int, str]] = {}
        actions = {
            "clear-session": lambda body: (200, {"cleared": 2}),
            "refresh": lambda body: (200, {"asked": 1}),
            "reload": lambda body: (200, {"reloaded": True}),
            "register": lambda body: self._mapping("registered", body),
            "withdraw": lambda body: self._mapping("withdrawn", body),
        }
        self.daemon = self.enterContext(FakeDaemon(f"{self.directory}/s", {}, actions))

    def _mapping(self, what: str, body: dict[str, Any]) -> tuple[int, object]:
        eid = body.get("eid_prefix") or body["eid-prefix"]
        if eid in self.refused:
            status, sentence = self.refused[eid]
            return status, {"error": sentence}
        return 200, {what: eid}

    def act(self, command: str) -> Ran:
        """Run a command."""
        return run(*command.split(), "--socket", self.daemon.path)

    def file(self, text: str) -> str:
        """Write a file; return its name."""
        path = Path(self.directory) / "mappings.toml"
        path.write_text(text)
        return str(path)

    def assert_done(self, command: str, output: str, *done: tuple[str, dict[str, Any]]) -> None:
        """Assert what a command prints, and what the daemon was told."""
        self.daemon.done.clear()
        self.assertEqual(self.act(command), Ran(0, output, ""))
        self.assertEqual(self.daemon.done, list(done))


class SessionActionTests(ActionCase):
    """What concerns sessions and the configuration."""

    def test_sessions_are_cleared(self) -> None:
        """By peer or by number."""
        peer = "[2001:db8::7]:4342"
        self.assert_done(
            f"clear session {peer}", "2 sessions cleared.\n", ("clear-session", {"session": peer})
        )

    def test_a_refresh_has_the_narrowest_scope_that_is_named(self) -> None:
        """Unless --scope says another."""
        plain = {"rejected_only": False}
        for options, body in (
            ("", {"scope": "everything"}),
            ("--site campus", {"scope": "site", "site": "campus"}),
            ("--instance-id 7", {"scope": "instance", "instance_id": 7}),
            (
                "--eid-prefix 10.0.0.0/8 --instance-id 7",
                {"scope": "eid", "instance_id": 7, "eid_prefix": "10.0.0.0/8"},
            ),
            ("--scope everything --site campus", {"scope": "everything", "site": "campus"}),
        ):
            expected = ("refresh", {**body, **plain})
            self.assert_done(f"refresh {options}", "1 session asked.\n", expected)

    def test_only_what_was_rejected_can_be_asked_for(self) -> None:
        """Once the site has been put right."""
        body = {"scope": "everything", "rejected_only": True}
        self.assert_done("refresh --rejected-only", "1 session asked.\n", ("refresh", body))

    def test_the_configuration_is_reloaded(self) -> None:
        """And JSON is what the API says."""
        self.assert_done("reload", "the configuration is reloaded.\n", ("reload", {}))
        self.assert_done("reload --json", '{"reloaded": true}\n', ("reload", {}))

    def test_what_was_reloaded_is_told_and_what_was_not(self) -> None:
        """In the daemon's words."""
        what = "sites and keys of the Map-Server: 1 site; [etr] has changed too and needs a restart"
        answer = (200, {"reloaded": True, "what": what})
        with patch.dict(self.daemon.actions, {"reload": lambda body: answer}):
            self.assert_done("reload", f"reloaded {what}.\n", ("reload", {}))

    def test_a_refusal_is_one_sentence(self) -> None:
        """With the exit code 2."""
        self.daemon.status, self.daemon.raw = 404, b'{"error": "there is no session 5"}'
        self.assertEqual(
            self.act("clear session 5"), Ran(2, "", "lispmsrt: there is no session 5\n")
        )


class RegisterTests(ActionCase):
    """``register``."""

    def test_one_mapping_is_registered(self) -> None:
        """With locators as they are given."""
        self.assert_done(
            "register 10.1.1.0/24 --instance-id 7 --ttl 60"
            " --rloc 192.0.2.7 --rloc 2001:db8::7,2,50",
            "1 registered.\n",
            (
                "register",
                {
                    "eid_prefix": "10.1.1.0/24",
                    "instance_id": 7,
                    "locators": [
                        {"rloc": "192.0.2.7"},
                        {"rloc": "2001:db8::7", "priority": 2, "weight": 50},
                    ],
                    "ttl": 60,
                },
            ),
        )

    def test_one_without_locators_says_what_to_do(self) -> None:
        """With packets to it."""
        body = {"eid_prefix": "10.1.1.1/32", "instance_id": 0, "locators": [], "action": "drop"}
        command = "register 10.1.1.1 --action drop"
        self.assert_done(command, "1 registered.\n", ("register", body))

    def test_one_whose_locators_were_forgotten_is_not_registered(self) -> None:
        """It would draw packets to nowhere for a day."""
        ran = self.act("register 10.1.1.0/24")
        self.assertEqual((ran.code, ran.output), (2, ""))
        self.assertIn("needs --action", ran.errors)

    def test_a_file_of_them_is_registered(self) -> None:
        """Of its own, or a configuration; or what comes in."""
        mappings = [
            {
                "eid-prefix": "10.1.1.0/24",
                "locators": [{"rloc": "192.0.2.7", "priority": 2}],
            },
            {"eid-prefix": "10.1.2.0/24", "instance-id": 7, "action": "drop"},
        ]
        done = [("register", mapping) for mapping in mappings]
        for text in (MAPPINGS, CONFIGURATION):
            self.assert_done(f"register --file {self.file(text)}", "2 registered.\n", *done)
        with patch("sys.stdin", StringIO(MAPPINGS)):
            self.assert_done("register --file -", "2 registered.\n", *done)

    def test_a_file_is_utf_8_whatever_the_locale_is(self) -> None:
        """As TOML is."""
        path = Path(self.directory) / "named.toml"
        path.write_text('[[mapping]]\neid-prefix = "name:Käse"\n', encoding="utf-8")
        script = (
            "from lispmsrt.cli.mapping_file import read_mappings\n"
            f"print(ascii(read_mappings({str(path)!r})))"
        )
        environment = {
            **os.environ,
            "LC_ALL": "C",
            "PYTHONCOERCECLOCALE": "0",
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        found = subprocess.run(
            [sys.executable, "-X", "utf8=0", "-c", script],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual(found.stdout, "[{'eid-prefix': 'name:K\\xe4se'}]\n", found.stderr)

    def test_json_has_a_line_for_each(self) -> None:
        """And nothing else."""
        ran = self.act(f"register --json --file {self.file(MAPPINGS)}")
        found = [json.loads(line) for line in ran.output.splitlines()]
        self.assertEqual(found, [{"registered": "10.1.1.0/24"}, {"registered": "10.1.2.0/24"}])

    def test_one_that_is_refused_does_not_keep_the_others(self) -> None:
        """But the exit code says so."""
        self.refused["10.1.1.0/24"] = (409, "not a valid site EID-prefix")
        ran = self.act(f"register --file {self.file(MAPPINGS)}")
        self.assertEqual(
            ran,
            Ran(2, "1 of 2 registered.\n", "lispmsrt: 10.1.1.0/24: not a valid site EID-prefix\n"),
        )

    def test_an_eid_is_named_once(self) -> None:
        """Where the daemon has named it already, and where it has not."""
        self.refused["10.1.1.0/24"] = (409, "10.1.1.0/24: locator set not allowed")
        ran = self.act(f"register --file {self.file(MAPPINGS)}")
        self.assertEqual(ran.errors, "lispmsrt: 10.1.1.0/24: locator set not allowed\n")

    def test_where_it_is_pointless_to_go_on_it_ends(self) -> None:
        """A daemon that is no ETR says so once."""
        self.refused["10.1.1.0/24"] = (404, "this lispmsrt is no ETR")
        ran = self.act(f"register --file {self.file(MAPPINGS)}")
        self.assertEqual(ran, Ran(2, "0 of 2 registered.\n", "lispmsrt: this lispmsrt is no ETR\n"))
        self.assertEqual(len(self.daemon.done), 1)

    def test_wrong_arguments_are_told(self) -> None:
        """Before anything is registered."""
        for command, words in (
            ("register", "give either an EID with --rloc, or --file FILE"),
            ("register 10.0.0.0/8 --file x", "give either an EID"),
            ("register 10.0.0.1/8", "has host bits set"),
            ("register 10.0.0.0/8 --rloc 192.0.2.1,1,2,3", "is not of the form"),
            ("register 10.0.0.0/8 --rloc 192.0.2.1,256", "is not a number from 0 to 255"),
            ("register --file /nonexistent", "can't be read: No such file"),
        ):
            ran = self.act(command)
            self.assertEqual((ran.code, ran.output), (2, ""), command)
            self.assertIn(words, ran.errors)
        for text, words in (
            ("[mapping", "is not valid TOML"),
            ("mapping = 5", "has no [[mapping]] tables"),
            ("mapping = [5]", "has no [[mapping]] tables"),
            ("etr = 5", "has no [[mapping]] tables"),
        ):
            ran = self.act(f"register --file {self.file(text)}")
            self.assertEqual((ran.code, ran.output), (2, ""), text)
            self.assertIn(words, ran.errors)
        self.assertEqual(self.daemon.done, [])

    def register_many(self, seconds: float, options: str = "") -> tuple[int, str, str]:
        """Register 60 on a terminal, each of which takes so long; return exit code, standard
        output and what the terminal was sent besides.
        """
        many = "".join(f'[[mapping]]\neid-prefix = "10.1.{number}.0/24"\n' for number in range(60))

        class Terminal(StringIO):
            def isatty(self) -> bool:
                return True

        output, errors = StringIO(), Terminal()
        command = f"register --file {self.file(many)} {options} --socket {self.daemon.path}"
        times = itertools.count(0.0, seconds)
        with (
            patch("sys.stdout", output),
            patch("sys.stderr", errors),
            patch("lispmsrt.cli.bulk.monotonic", lambda: next(times)),
            patch.dict("os.environ", {"TERM": "xterm"}),
        ):
            arguments = parsed(command)
            code = arguments.run(arguments)
        self.assertEqual(len(self.daemon.done) % 60, 0)
        return code, output.getvalue(), errors.getvalue()

    def test_many_show_how_far_they_are(self) -> None:
        """On a terminal, where they take longer than a second."""
        code, output, errors = self.register_many(0.25)
        self.assertEqual((code, output), (0, "60 registered.\n"))
        self.assertIn("60/60", errors)
        code, output, errors = self.register_many(0.001)
        self.assertEqual((code, output, errors), (0, "60 registered.\n", ""))

    def test_what_is_said_meanwhile_stands_above_the_bar(self) -> None:
        """Standard output has nothing but JSON, whole refusals are on the terminal."""
        self.refused["10.1.3.0/24"] = self.refused["10.1.33.0/24"] = (409, "other")
        code, output, errors = self.register_many(0.25, "--json")
        self.assertEqual((code, len([json.loads(line) for line in output.splitlines()])), (2, 58))
        for eid in ("10.1.3.0/24", "10.1.33.0/24"):
            self.assertRegex(errors, rf"(?m)(^|\r|\x1b\[2K|\x1b\[1A)lispmsrt: {eid}: other *\r?$")


def parsed(command: str) -> Any:
    """Parse a command."""
    return make_parser(command.split()).parse_args(command.split())


class WithdrawTests(ActionCase):
    """``withdraw``."""

    def test_several_are_withdrawn(self) -> None:
        """Each once."""
        bodies = [{"eid_prefix": eid, "instance_id": 7} for eid in ("10.1.0.0/16", "10.2.0.1/32")]
        self.assert_done(
            "withdraw 10.1.0.0/16 10.2.0.1 10.1.0.0/16 --instance-id 7",
            "2 withdrawn.\n",
            *[("withdraw", body) for body in bodies],
        )

    def test_one_that_is_not_there_does_not_keep_the_others(self) -> None:
        """It is told."""
        self.refused["10.1.0.0/16"] = (404, "there is no mapping 10.1.0.0/16")
        self.assertEqual(
            self.act("withdraw 10.1.0.0/16 10.2.0.0/16"),
            Ran(
                2,
                "1 of 2 withdrawn.\n",
                "lispmsrt: there is no mapping 10.1.0.0/16\n",
            ),
        )
