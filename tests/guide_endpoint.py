"""``lispmsrt`` as an operator types it, against management endpoints in memory.

The client's connection and the server's are joined without a socket: what the one sends the other
takes at once, and time stands still meanwhile.
"""

from __future__ import annotations

import os
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from io import BytesIO, StringIO
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from rich.console import Console
from twisted.internet.address import UNIXAddress
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from lispmsrt.cli import main
from lispmsrt.cli.api_client import UnixConnection
from lispmsrt.cli.draw_rich import RichScreen
from lispmsrt.config import ManagementConfig
from lispmsrt.services.operations import Operations
from lispmsrt.views.node import NodeViews
from lispmsrt.web.access import Access
from lispmsrt.web.connections import ManagementSite
from lispmsrt.web.gate import Gate
from lispmsrt.web.routes import make_routes
from lispmsrt.web.routing import make_resource
from lispmsrt.web.static_files import StaticFiles
from lispmsrt.web.stream import Streams
from tests.rim import Network

__all__ = ["WIDTH", "Endpoint", "run_command"]

WIDTH = 118
"""Columns of the terminal that the guide was written on."""

_SOCKET_DIRECTORY = "/run/lispmsrt"
_STEP, _PATIENCE = 0.05, 40.0
"""Seconds of the network that go by while an answer is waited for, and at most."""


class Endpoint:
    """The management endpoint of one machine's daemon."""

    def __init__(
        self,
        role: str,
        views: NodeViews,
        operations: Operations,
        network: Network,
        wall_clock: Callable[[], float],
        shown: Callable[[bytes], bytes] = lambda answer: answer,
    ) -> None:
        """``shown`` makes an answer over; it must stay as long as it is."""
        self.shown = shown
        self.path = f"{_SOCKET_DIRECTORY}/{role}.sock"
        self.network = network
        counters: Counter[str] = Counter()
        routes = make_routes(views, operations, Streams(views, network, counters), counters)
        access = Access(ManagementConfig(), network, counters)
        gate = Gate(access, StaticFiles(), make_resource(routes, wall_clock))
        self.site = ManagementSite(gate, network, counters)


class _Handle:
    """The server's socket, where it asks who is at the other end: root."""

    def getsockopt(self, *_option: int) -> bytes:
        return struct.pack("3i", 1, 0, 0)


class _Transport(StringTransport):
    def getHandle(self) -> _Handle:
        return _Handle()


class _Socket:
    """The client's end."""

    def __init__(self, endpoint: Endpoint) -> None:
        address = UNIXAddress(endpoint.path)
        self._network = endpoint.network
        self._shown = endpoint.shown
        self._server: Any = endpoint.site.buildProtocol(address)
        self._transport = _Transport(hostAddress=address, peerAddress=UNIXAddress(""))
        self._server.makeConnection(self._transport)

    def sendall(self, data: bytes) -> None:
        self._server.dataReceived(data)

    def makefile(self, *_mode: object) -> BytesIO:
        waited = 0.0
        while not self._transport.value() and waited < _PATIENCE:
            self._network.run(_STEP if waited else 0.0)
            waited += _STEP
        answer = BytesIO(self._shown(self._transport.value()))
        self._transport.clear()
        return answer

    def settimeout(self, seconds: float | None) -> None:
        """Nothing to do: time stands still."""

    def close(self) -> None:
        if self._server is not None:
            self._server.connectionLost(Failure(ConnectionDone()))
            self._server = None


def run_command(
    arguments: list[str], endpoints: Mapping[str, Endpoint], wall_clock: Callable[[], float]
) -> str:
    """Run ``lispmsrt ARGUMENTS`` on a machine with these endpoints, by their paths; return what a
    terminal shows.
    """
    shown = StringIO()
    opened: list[_Socket] = []

    class Connection(UnixConnection):
        def connect(self) -> None:
            self.sock = _Socket(_at(self._path, endpoints))
            opened.append(self.sock)

    def screen() -> RichScreen:
        console = Console(
            file=shown, width=WIDTH, height=50, force_terminal=True, no_color=True, highlight=False
        )
        return RichScreen(console)

    now = SimpleNamespace(time=wall_clock)
    with ExitStack() as stack:
        for name, value in (
            ("find_daemon.UnixConnection", Connection),
            ("find_daemon.look_around", lambda _roles: next(iter(endpoints))),
            ("show_run.time", now),
            ("durations.time", now),
            ("show_run.standard_screen", screen),
            ("explain.standard_screen", screen),
        ):
            stack.enter_context(patch(f"lispmsrt.cli.{name}", value))
        # check-config says where the socket is.
        # The pages show what most have; pure Python says so in one line of its own.
        stack.enter_context(patch("lispmsrt.views.overview.is_compiled", lambda: True))
        stack.enter_context(patch.dict(os.environ, {"RUNTIME_DIRECTORY": _SOCKET_DIRECTORY}))
        os.environ.pop("LISPMSRT_SOCKET", None)
        stack.enter_context(redirect_stdout(shown))
        stack.enter_context(redirect_stderr(shown))
        stack.enter_context(in_utc())
        try:
            main(arguments)
        except SystemExit:
            pass
        finally:
            for each in opened:
                each.close()
    return _without_colours(shown.getvalue())


def _at(path: str, endpoints: Mapping[str, Endpoint]) -> Endpoint:
    if path not in endpoints:
        raise FileNotFoundError(path)
    return endpoints[path]


def _without_colours(text: str) -> str:
    plain, *styled = text.split("\x1b[")
    return plain + "".join(part.partition("m")[2] for part in styled)


@contextmanager
def in_utc() -> Iterator[None]:
    """Have local time be UTC."""
    try:
        with patch.dict(os.environ, {"TZ": "UTC"}):
            time.tzset()
            yield
    finally:
        time.tzset()
