"""A management endpoint with fixed values on a Unix socket, in a thread of its own."""

from __future__ import annotations

import json
import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from typing import Any
from unittest.mock import patch
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import TypeAdapter
from rich.console import Console
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.cli import main
from lispmsrt.cli.commands import make_parser
from lispmsrt.cli.draw_rich import RichScreen
from lispmsrt.cli.show_run import run_view
from tests.show_samples import ETR_SAMPLES, NOW, SAMPLES

__all__ = ["FakeDaemon", "Ran", "ShowCase", "run", "short_directory"]

LISTS = {"/sessions", "/sites", "/registrations", "/history", "/rejections", "/subscriptions"}
LISTS |= {"/etr/mappings"}


@dataclass
class Ran:
    """What a command did."""

    code: int
    output: str
    errors: str


def run(*arguments: str) -> Ran:
    """Run the command line here."""
    output, errors = StringIO(), StringIO()
    with redirect_stdout(output), redirect_stderr(errors):
        try:
            code = main(arguments)
        except SystemExit as end:
            code = int(end.code or 0)
    return Ran(code, output.getvalue(), errors.getvalue())


@contextmanager
def short_directory() -> Iterator[str]:
    """Give a directory whose path leaves room for a socket's (108 octets)."""
    path = tempfile.mkdtemp(prefix="lispmsrt-")
    try:
        yield path
    finally:
        shutil.rmtree(path)


@dataclass
class FakeDaemon:
    """Answers until it is stopped, and keeps what it was asked."""

    path: str
    values: Mapping[str, object]
    actions: Mapping[str, Callable[[dict[str, Any]], tuple[int, object]]] = field(
        default_factory=dict
    )
    page: int = 1000
    "items of a page at most"
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    "paths and parameters"
    done: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    "actions and their bodies"
    headers: list[dict[str, str]] = field(default_factory=list)
    connections: int = 0
    links: list[socket.socket] = field(default_factory=list)
    raw: bytes | None = None
    "what is answered to anything, if it is not what should be"
    status: int = 200
    "with raw"
    closes: bool = False
    "whether a connection is closed behind each answer, without a word"

    def __enter__(self) -> FakeDaemon:
        self._server = _server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._server.shutdown()
        for link in self.links:
            with suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)
        self._server.server_close()
        self._thread.join()
        if os.path.exists(self.path):
            os.unlink(self.path)

    def answer(self, path: str, parameters: dict[str, str]) -> tuple[int, object]:
        """Return status and value for a question."""
        if path not in self.values:
            return 404, {"error": f"there is no {unquote(path)}"}
        value = TypeAdapter(Any).dump_python(self.values[path], mode="json")
        if path not in LISTS:
            return 200, value
        after = int(parameters.get("after", -1))
        found = [item for item in value if item.get("number", 0) > after]
        start = int(parameters.get("cursor", 0))
        end = start + min(self.page, int(parameters["limit"]))
        cursor = str(end) if end < len(found) else None
        return 200, {"items": found[start:end], "total": len(found), "next_cursor": cursor}


class _Server(ThreadingHTTPServer):
    address_family = socket.AF_UNIX
    daemon_threads = True
    # A client that has seen enough is not worth a traceback.
    handle_error = lambda self, request, client_address: None  # noqa: E731

    def server_bind(self) -> None:
        self.socket.bind(self.server_address)


def _server(daemon: FakeDaemon) -> _Server:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            daemon.connections += 1
            daemon.links.append(self.request)
            super().setup()

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            path = unquote(parts.path).removeprefix("/api/v1")
            parameters = dict(parse_qsl(parts.query))
            daemon.asked.append((path, parameters))
            self._send(*daemon.answer(path, parameters))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            action = self.path.removeprefix("/api/v1/actions/")
            daemon.done.append((action, body))
            if self.headers["Content-Type"] != "application/json":
                self._send(415, {"error": "the body must be JSON"})
            else:
                self._send(*daemon.actions[action](body))

        def _send(self, status: int, value: object) -> None:
            daemon.headers.append(dict(self.headers.items()))
            data = json.dumps(value).encode()
            if daemon.raw is not None:
                status, data = daemon.status, daemon.raw
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
            self.close_connection = daemon.closes

        def log_message(self, *_arguments: object) -> None:
            pass

        def address_string(self) -> str:
            return "unix"

    return _Server(daemon.path, Handler)


class ShowCase(SynchronousTestCase):
    """Two daemons with fixed values, looked at at a fixed time."""

    def setUp(self) -> None:
        self.directory = self.enterContext(short_directory())
        self.map_server = self.daemon("map-server", SAMPLES)
        self.etr = self.daemon("etr", ETR_SAMPLES)
        self.enterContext(patch("time.time", lambda: NOW))

    def daemon(self, role: str, values: dict[str, object]) -> FakeDaemon:
        """Start one."""
        return self.enterContext(FakeDaemon(f"{self.directory}/{role}.sock", values))

    def show(self, command: str, daemon: FakeDaemon | None = None) -> Ran:
        """Run a command, in UTC where it has times."""
        utc = ["--utc"] if command.startswith("show") else []
        socket = (daemon or self.map_server).path
        return run(*command.split(), *utc, "--socket", socket)

    def output(self, command: str, daemon: FakeDaemon | None = None) -> str:
        """Return what a command prints, which must succeed."""
        ran = self.show(command, daemon)
        self.assertEqual((ran.code, ran.errors), (0, ""))
        return ran.output

    def drawn(self, command: str, width: int, daemon: FakeDaemon | None = None) -> str:
        """Return what a view draws on a terminal without colour."""
        argv = [*command.split(), "--utc", "--socket", (daemon or self.map_server).path]
        arguments = make_parser(argv).parse_args(argv)
        self.assertEqual(run_view(arguments.view, arguments, self.screen(width)), 0)
        return self.terminal.getvalue()

    def screen(self, width: int, height: int = 40) -> RichScreen:
        """Return a terminal of this size."""
        self.terminal = StringIO()
        console = Console(
            file=self.terminal,
            width=width,
            height=height,
            color_system=None,
            force_terminal=True,
            highlight=False,
        )
        return RichScreen(console)
