"""Which daemon a command talks to, where nobody says so."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import patch

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from lispmsrt.cli import find_daemon
from lispmsrt.cli.api_client import ApiError
from lispmsrt.cli.find_daemon import ETR_FIRST, MAP_SERVER_FIRST, look_around
from tests.show_ground import FakeDaemon, Ran, run, short_directory
from tests.show_samples import ETR_SAMPLES, SAMPLES


def _need_root() -> None:
    """Skip a test that gives files away."""
    if os.geteuid():
        raise SkipTest("only root gives files away")


class SearchTests(SynchronousTestCase):
    """The default directory, and root's."""

    def setUp(self) -> None:
        self.directory = self.enterContext(short_directory())
        self.system = self.enterContext(short_directory())
        self.enterContext(patch.object(find_daemon, "_SYSTEM_DIRECTORY", Path(self.system)))
        environment = {"RUNTIME_DIRECTORY": self.directory}
        self.enterContext(patch.dict(os.environ, environment))
        os.environ.pop("LISPMSRT_SOCKET", None)

    def listen(self, path: str) -> str:
        """Answer at a path."""
        link = self.enterContext(socket.socket(socket.AF_UNIX))
        link.bind(path)
        link.listen()
        return path

    def leave_behind(self, path: str) -> None:
        """Leave a socket on which nobody answers."""
        with socket.socket(socket.AF_UNIX) as link:
            link.bind(path)

    def why(self, roles: Sequence[str] = MAP_SERVER_FIRST) -> str:
        """Return why none is found."""
        return str(self.assertRaises(ApiError, look_around, roles))

    def test_the_only_one_is_taken_whatever_its_role(self) -> None:
        """An ETR's, for sessions too."""
        for role in ("map-server", "etr", "map-resolver"):
            path = self.listen(f"{self.directory}/{role}.sock")
            self.assertEqual(look_around(MAP_SERVER_FIRST), path)
            self.assertEqual(look_around(ETR_FIRST), path)
            os.unlink(path)

    def test_of_several_the_role_decides(self) -> None:
        """Map-Server before Map-Resolver before ETR, or the ETR first."""
        etr = self.listen(f"{self.directory}/etr.sock")
        resolver = self.listen(f"{self.directory}/map-resolver.sock")
        self.assertEqual(look_around(MAP_SERVER_FIRST), resolver)
        self.assertEqual(look_around(ETR_FIRST), etr)
        server = self.listen(f"{self.directory}/map-server.sock")
        self.assertEqual(look_around(MAP_SERVER_FIRST), server)
        self.assertEqual(look_around(ETR_FIRST), etr)

    def test_sockets_that_nobody_answers_on_are_passed_over(self) -> None:
        """A daemon that was killed leaves its own behind."""
        self.leave_behind(f"{self.directory}/map-server.sock")
        etr = self.listen(f"{self.directory}/etr.sock")
        self.assertEqual(look_around(MAP_SERVER_FIRST), etr)

    def test_the_daemon_of_root_is_found_too(self) -> None:
        """By a user whose own directory has none."""
        path = self.listen(f"{self.system}/map-server.sock")
        self.assertEqual(look_around(MAP_SERVER_FIRST), path)

    def test_where_none_is_all_that_was_looked_at_is_named(self) -> None:
        """With the remedy."""
        sentence = self.why()
        for directory in (self.directory, self.system):
            for role in MAP_SERVER_FIRST:
                self.assertIn(f"{directory}/{role}.sock", sentence)
        self.assertIn("is it running? --socket PATH or --url URL says where it is", sentence)

    def test_one_that_may_not_be_opened_is_named(self) -> None:
        """A socket of root's has mode 0600."""
        self.listen(f"{self.directory}/map-server.sock")
        with patch.object(find_daemon, "_probe", side_effect=PermissionError(13, "denied")):
            sentence = self.why()
        self.assertIn("may not be opened: run as root, or as the user of the daemon", sentence)
        self.assertIn("--socket PATH", sentence)

    def test_one_that_somebody_else_has_put_there_is_not_trusted(self) -> None:
        """Anybody can make a directory in /tmp, by our name too, with a socket that answers."""
        _need_root()
        path = self.listen(f"{self.directory}/map-server.sock")
        for others in (self.directory, path):
            os.chown(others, 12345, -1)
            with patch.object(os, "getuid", return_value=678):
                sentence = self.why()
            self.assertIn(f"{path} is not trusted: ", sentence)
            self.assertIn("belongs to user ID 12345", sentence)
            self.assertIn("--socket PATH names one to be trusted all the same", sentence)
            with patch.dict(os.environ, {"LISPMSRT_SOCKET": path}):
                self.assertEqual(look_around(MAP_SERVER_FIRST), path)
            os.chown(self.directory, 678, -1)
        os.chown(path, 678, -1)
        with patch.object(os, "getuid", return_value=678):
            self.assertEqual(look_around(MAP_SERVER_FIRST), path)

    def test_one_where_others_may_write_is_not_trusted(self) -> None:
        """They could have put it there; so could who owns a link. Another one may answer."""
        path = self.listen(f"{self.directory}/map-server.sock")
        os.chmod(self.directory, 0o777)
        self.assertIn("or others may write to it", self.why())
        other = self.listen(f"{self.system}/etr.sock")
        self.assertEqual(look_around(MAP_SERVER_FIRST), other)
        os.chmod(self.directory, 0o700)
        self.assertEqual(look_around(MAP_SERVER_FIRST), path)
        link = f"{self.system}/link"
        os.symlink(self.directory, link)
        with patch.dict(os.environ, {"RUNTIME_DIRECTORY": link}):
            os.unlink(other)
            self.assertEqual(look_around(MAP_SERVER_FIRST), f"{link}/map-server.sock")
            _need_root()
            os.chmod(self.system, 0o1777)
            os.lchown(link, 12345, -1)
            self.assertIn("belongs to user ID 12345", self.why())

    def test_where_only_root_makes_directories_any_owner_is_trusted(self) -> None:
        """A service has its own user, and root talks to it."""
        _need_root()
        path = self.listen(f"{self.directory}/map-server.sock")
        os.mkdir(f"{self.system}/run", 0o700)
        os.rename(path, inner := f"{self.system}/run/map-server.sock")
        os.chown(f"{self.system}/run", 12345, -1)
        os.chown(inner, 12345, -1)
        with patch.dict(os.environ, {"RUNTIME_DIRECTORY": f"{self.system}/run"}):
            self.assertEqual(look_around(MAP_SERVER_FIRST), inner)

    def test_the_environment_names_one(self) -> None:
        """And no other is looked at."""
        self.listen(f"{self.directory}/map-server.sock")
        with patch.dict(os.environ, {"LISPMSRT_SOCKET": "/nonexistent/s"}):
            self.assertEqual(
                self.why(),
                "no daemon answers: looked at /nonexistent/s; is it running?"
                " --socket PATH or --url URL says where it is",
            )

    def test_commands_find_their_daemon(self) -> None:
        """Two of them, in the same directory."""
        self.enterContext(FakeDaemon(f"{self.directory}/map-server.sock", SAMPLES))
        self.enterContext(FakeDaemon(f"{self.directory}/etr.sock", ETR_SAMPLES))
        self.assert_says(run("show", "overview"), "lispmsrt 0.1.0, map-server")
        self.assert_says(run("show", "map-servers"), "ETR 192.0.2.7:4342")
        self.assert_says(run("show", "mappings"), "172.16.0.0/12")

    def assert_says(self, ran: Ran, text: str) -> None:
        """Assert that a command has succeeded, and printed this."""
        self.assertEqual((ran.code, ran.errors), (0, ""))
        self.assertIn(text, ran.output)

    def test_without_a_daemon_a_command_says_one_sentence(self) -> None:
        """And ends with 2."""
        for command in (
            "show sessions",
            "show sessions --json",
            "explain 10.0.0.1",
            "reload",
            "clear session 17",
            "refresh",
            "withdraw 10.0.0.0/8",
            "register 10.0.0.0/8 --rloc 192.0.2.1",
        ):
            ran = run(*command.split())
            self.assertEqual((ran.code, ran.errors.count("\n")), (2, 1), command)
            self.assertTrue(ran.errors.startswith("lispmsrt: no daemon answers"))

    def test_the_search_does_not_wait_for_the_configuration(self) -> None:
        """To import it takes as long as all else that a command does."""
        program = (
            "import sys; from lispmsrt.cli.find_daemon import ETR_FIRST, look_around;"
            "from lispmsrt.cli.api_client import ApiError\n"
            "try: look_around(ETR_FIRST)\n"
            "except ApiError: pass\n"
            "sys.exit('lispmsrt.config' in sys.modules)"
        )
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        ran = subprocess.run([sys.executable, "-c", program], check=False, env=environment)
        self.assertEqual(ran.returncode, 0)
