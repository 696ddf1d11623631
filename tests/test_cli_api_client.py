"""The client of the management endpoint: what it sends, and what it says when it goes wrong."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.cli import api_client
from lispmsrt.cli.api_client import Api, ApiError, UnixConnection, path_of
from lispmsrt.views.values.page import Page
from tests.running import CHECKOUT
from tests.show_ground import FakeDaemon, run, short_directory
from tests.show_samples import SAMPLES


class ClientCase(SynchronousTestCase):
    """A fake daemon on a Unix socket."""

    def setUp(self) -> None:
        self.directory = self.enterContext(short_directory())
        self.path = f"{self.directory}/s"

    def serve(self) -> FakeDaemon:
        """Start it."""
        return self.enterContext(FakeDaemon(self.path, SAMPLES))

    def api(self) -> Api:
        """Return a client."""
        api = Api(partial(UnixConnection, self.path), self.path, token="secret")
        self.addCleanup(api.close)
        return api

    def why(self, act: Callable[[], object]) -> str:
        """Return the sentence of a failure."""
        return str(self.assertRaises(ApiError, act))


class QuestionTests(ClientCase):
    """What goes right."""

    def test_one_connection_serves_many_questions(self) -> None:
        """With host, token and what is understood."""
        daemon, api = self.serve(), self.api()
        for _time in range(3):
            api.get("/statistics")
        self.assertEqual(daemon.connections, 1)
        headers = daemon.headers[0]
        self.assertEqual(
            (headers["Host"], headers["Accept"], headers["Authorization"]),
            ("localhost", "application/json", "Bearer secret"),
        )

    def test_a_connection_that_was_closed_meanwhile_is_opened_anew(self) -> None:
        """For questions; an action may have been done, and is not repeated."""
        daemon, api = self.serve(), self.api()
        daemon.closes = True
        api.get("/statistics")
        api.get("/statistics")
        self.assertEqual(daemon.connections, 2)
        self.assertIn("can't be asked", self.why(lambda: api.post("/actions/reload", {})))
        self.assertEqual(daemon.done, [])

    def test_parameters_are_quoted(self) -> None:
        """Whatever a site is called."""
        daemon = self.serve()
        self.api().get("/statistics", {"site": "a b&c=d/ü"})
        self.assertEqual(daemon.asked, [("/statistics", {"site": "a b&c=d/ü"})])
        self.assertEqual(path_of("sites", "../a b"), "/sites/..%2Fa%20b")

    def test_pages_that_lead_nowhere_end(self) -> None:
        """A list that gives the same cursor again and again."""
        self.serve()
        pages = self.api().pages("/statistics", {}, None, lambda _body: Page((), None, "x"))
        self.assertIn("again and again", self.why(lambda: list(pages)))


class FailureTests(ClientCase):
    """What goes wrong, in one sentence."""

    def why_not(self) -> str:
        """Return why a question has no answer."""
        return self.why(lambda: self.api().get("/overview"))

    def test_nobody_is_there(self) -> None:
        """No socket, or one that a daemon left behind."""
        expected = f"nobody answers at {self.path}: is the daemon running?"
        self.assertEqual(self.why_not(), expected)
        with socket.socket(socket.AF_UNIX) as left_behind:
            left_behind.bind(self.path)
        self.assertEqual(self.why_not(), expected)

    def test_it_may_not_be_opened(self) -> None:
        """Which names the remedy."""
        with patch.object(UnixConnection, "connect", side_effect=PermissionError(13, "denied")):
            self.assertEqual(
                self.why_not(),
                f"{self.path} may not be opened: run as root, or as the user of the daemon",
            )

    def test_no_answer_comes(self) -> None:
        """A daemon that is stopped, say, in a debugger."""
        with socket.socket(socket.AF_UNIX) as silent:
            silent.bind(self.path)
            silent.listen()
            with patch.object(api_client, "TIMEOUT", 0.05):
                self.assertEqual(self.why_not(), f"{self.path} has not answered for 0.05 s")
            with patch.object(api_client, "ACTION_TIMEOUT", 0.06):
                why = self.why(lambda: self.api().post("/actions/reload", {}))
                self.assertEqual(why, f"{self.path} has not answered for 0.06 s")

    def test_the_path_is_no_socket(self) -> None:
        """Or one that is too long for one."""
        Path(self.path).touch()
        self.assertIn("nobody answers", self.why_not())
        api = Api(partial(UnixConnection, "/x" * 100), "there")
        self.assertIn("can't be asked: AF_UNIX path too long", self.why(lambda: api.get("/")))

    def test_somebody_else_answers(self) -> None:
        """Not HTTP, or not JSON, or not ours."""
        daemon = self.serve()
        for status, raw, words in (
            (200, b"<html>", "is it another version?"),
            (200, b"[1, 2", "is it another version?"),
            (200, b'{"version": 5}', "is it another version?"),
            (404, b"<html>", f"{self.path} answered 404 Not Found"),
            (502, b'{"error": 5', f"{self.path} answered 502 Bad Gateway"),
            (500, b"[]", f"{self.path} answered 500"),
            (401, b'{"error": "a token is needed"}', "(--token-file FILE names the token)"),
            (421, b'{"error": "who is that?"}', "lispmsrt: who is that?"),
        ):
            daemon.status, daemon.raw = status, raw
            ran = run("show", "overview", "--socket", self.path)
            self.assertEqual((ran.code, ran.output), (2, ""), raw)
            self.assertEqual(ran.errors.count("\n"), 1, ran.errors)
            self.assertIn(words, ran.errors)

    def test_what_is_no_http_is_told(self) -> None:
        """A daemon of another kind."""
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(self.path)
            other.listen()

            def answer() -> None:
                with other.accept()[0] as link:
                    link.recv(1000)
                    link.sendall(b"220 mail.example.net ESMTP\r\n")

            thread = threading.Thread(target=answer)
            thread.start()
            self.assertEqual(self.why_not(), f"{self.path} did not answer as a lispmsrt does")
            thread.join()

    def test_json_of_something_else_is_told(self) -> None:
        """For the views that only pass it on, too."""
        daemon = self.serve()
        for raw in (b"<html>", b"[]", b'{"items": 5}'):
            daemon.raw = raw
            ran = run("show", "sessions", "--json", "--socket", self.path)
            self.assertEqual((ran.code, ran.errors.count("\n")), (2, 1), ran.errors)


class UrlTests(ClientCase):
    """``--url``."""

    def test_the_token_goes_along(self) -> None:
        """Over TCP, below a path if need be."""
        token = Path(self.directory) / "token"
        token.write_text("a-token-of-some-length\n")
        daemon = self.serve()

        def connect(connection: HTTPConnection) -> None:
            self.assertEqual((connection.host, connection.port), ("localhost", 8080))
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.connect(self.path)

        with patch.object(HTTPConnection, "connect", connect):
            url = "http://localhost:8080/"
            ran = run("show", "statistics", "--url", url, "--token-file", str(token))
        self.assertEqual((ran.code, ran.errors), (0, ""))
        headers = daemon.headers[0]
        self.assertEqual(headers["Authorization"], "Bearer a-token-of-some-length")
        self.assertEqual(headers["Host"], "localhost:8080")

    def test_wrong_options_are_told(self) -> None:
        """One sentence each."""
        empty = Path(self.directory) / "empty"
        empty.touch()
        for options, words in (
            (["--url", "ms.example.net"], "is not of the form https://host:port"),
            (["--url", "ftp://ms.example.net"], "is not of the form https://host:port"),
            (["--url", "https://ms:port"], "--url 'https://ms:port': "),
            (["--url", "https://a", "--token-file", "/nonexistent"], "No such file or directory"),
            (["--url", "https://a", "--token-file", str(empty)], "does not hold a token"),
            (["--url", "http://a", "--token-file", str(empty)], "could read the token"),
            (["--token-file", str(empty)], "--token-file goes with --url"),
            (["--ca-file", str(empty)], "--ca-file goes with --url"),
            (["--url", "https://a", "--ca-file", "/nonexistent"], "No such file or directory"),
            (["--url", "https://a", "--ca-file", str(empty)], f"--ca-file {empty}: "),
        ):
            ran = run("show", "overview", *options)
            self.assertEqual((ran.code, ran.output, ran.errors.count("\n")), (2, "", 1))
            self.assertIn(words, ran.errors)

    def test_a_host_that_refuses_is_named(self) -> None:
        """Nobody listens at this port."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        ran = run("show", "overview", "--url", f"http://127.0.0.1:{port}")
        self.assertEqual(
            ran.errors,
            f"lispmsrt: nobody answers at http://127.0.0.1:{port}: is the daemon running?\n",
        )


class ProcessTests(ClientCase):
    """The command as a process."""

    def setUp(self) -> None:
        super().setUp()
        self.environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}

    def test_a_reader_that_has_seen_enough_is_no_error(self) -> None:
        """``lispmsrt show registrations | head -1``."""
        daemon = self.enterContext(
            FakeDaemon(self.path, {**SAMPLES, "/registrations": SAMPLES["/registrations"] * 1000})
        )
        read, write = os.pipe()
        with open(read) as reader:
            child = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "lispmsrt",
                    "show",
                    "registrations",
                    "--socket",
                    daemon.path,
                ],
                stdout=write,
                stderr=subprocess.PIPE,
                text=True,
                env=self.environment,
            )
            os.close(write)
            reader.readline()
        _output, errors = child.communicate()
        self.assertEqual((child.returncode, errors), (1, ""))

    def test_it_needs_neither_twisted_nor_rich(self) -> None:
        """Somebody waits for the answer."""
        daemon = self.serve()
        program = (
            "import sys; from lispmsrt.cli import main;"
            f"code = main(['show', 'sessions', '--socket', {daemon.path!r}]);"
            "loaded = {name.partition('.')[0] for name in sys.modules};"
            "sys.exit(str(loaded & {'twisted', 'rich', 'zope', 'klein'}) if code == 0 else code)"
        )
        ran = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=False,
            env=self.environment,
        )
        self.assertEqual(ran.stderr, "set()\n")
        self.assertIn("Sessions for map-server", ran.stdout)
