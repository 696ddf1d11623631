"""A live management endpoint on real sockets, and a small client for it.

``ManagementGround`` has a Map-Server, and an ETR if wanted, on loopback ports, and the endpoint on
a Unix socket; ``listen`` and ``token`` ask for others. ``http`` sends one request and reads the
answer.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString, connectProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from lispmsrt import Etr, MapServer, parse_config
from lispmsrt.config import ManagementConfig
from lispmsrt.services.operations import Operations
from lispmsrt.views.etr import EtrViews
from lispmsrt.views.map_server import MapServerViews
from lispmsrt.views.node import NodeViews
from lispmsrt.web.management import Management
from tests.rim import ETR_HOST, MAP_SERVER_HOST, etr_text, map_server_text, site_text
from tests.running import free_port

__all__ = ["TOKEN", "HttpAnswer", "ManagementGround", "http", "private_directory", "send_raw"]

_PATIENCE = 90.0
"""Seconds after which something will never come about, however slow the machine is."""

TOKEN = "a-token-for-tests-0123456789"


@dataclass(frozen=True)
class HttpAnswer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    "names in small letters"
    body: bytes

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The sentence of a refusal."""
        (name,) = self.json
        assert name == "error"
        return str(self.json["error"])


class _Collecting(Protocol):
    """Keeps what comes, until the connection ends or somebody has heard enough."""

    def __init__(self, request: bytes, lines: int | None) -> None:
        self.heard = b""
        self.ended: Deferred[bytes] = Deferred()
        self._request = request
        self._lines = lines

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(self._request)

    def dataReceived(self, data: bytes) -> None:
        self.heard += data
        if self._lines is not None and self.heard.partition(b"\r\n\r\n")[2].count(b"}\n") >= (
            self._lines
        ):
            assert self.transport is not None
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ended.callback(self.heard)


async def send_raw(reactor: Any, endpoint: str, octets: bytes, lines: int | None = None) -> bytes:
    """Send octets to a client endpoint string; return what came until the connection was closed, or
    until there were so many lines of a stream.
    """
    client = clientFromString(reactor, endpoint)
    protocol = _Collecting(octets, lines)
    await connectProtocol(client, protocol)
    return await protocol.ended


async def http(
    reactor: Any,
    endpoint: str,
    path: str,
    method: str = "GET",
    *,
    body: object = None,
    token: str | None = None,
    headers: Mapping[str, str] | None = None,
    lines: int | None = None,
) -> HttpAnswer:
    """Ask once. A body that is no octets is sent as JSON; ``lines`` is how many of a stream."""
    content = b""
    sent = {"Host": "localhost", "Connection": "close"}
    if body is not None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent |= {"Content-Type": "application/json", "Content-Length": str(len(content))}
    if token is not None:
        sent["Authorization"] = f"Bearer {token}"
    sent |= dict(headers or {})
    head = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items())]
    request = "\r\n".join([*head, "", ""]).encode() + content
    return _parsed(await send_raw(reactor, endpoint, request, lines))


def _parsed(octets: bytes) -> HttpAnswer:
    head, _blank, body = octets.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    pairs = (line.partition(":") for line in lines)
    headers = {name.lower(): value.strip() for name, _colon, value in pairs}
    if headers.get("transfer-encoding") == "chunked":
        body = _without_chunks(body)
    return HttpAnswer(int(status.split()[1]), headers, body)


def _without_chunks(body: bytes) -> bytes:
    content = b""
    while body:
        size, _line, rest = body.partition(b"\r\n")
        length = int(size, 16)
        content += rest[:length]
        body = rest[length + 2 :]
    return content


def private_directory(test: TestCase) -> Path:
    """Return a new directory with a short path: that of a Unix socket has 107 octets at most."""
    directory = Path(tempfile.mkdtemp(prefix="lispmsrt-"))
    test.addCleanup(shutil.rmtree, directory)
    return directory


class ManagementGround(TestCase):
    """A process with its management endpoint, on the real reactor.

    Tests set what differs before they call :meth:`start`.
    """

    sites = site_text("campus", "10.1.0.0/16")
    eids: tuple[str, ...] = ()
    "what an ETR of the same process registers; without any there is no ETR"
    token: str | None = None
    listen: tuple[str, ...] = ()
    "beside the Unix socket"

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.directory = private_directory(self)
        self.socket = str(self.directory / "map-server.sock")

    def start(self, **options: Any) -> Management:
        """Start Map-Server, ETR and endpoint; ``options`` are of ManagementConfig."""
        self.port = free_port(MAP_SERVER_HOST, ETR_HOST)
        options.setdefault("listen", (f"unix:{self.socket}", *self.listen))
        if self.token is not None:
            file = self.directory / "token"
            file.write_text(f"{self.token}\n")
            file.chmod(0o600)
            options.setdefault("token_file", file)
        self.map_server = self._start_map_server()
        self.etr = self.start_etr(*self.eids) if self.eids else None
        self.views = NodeViews(
            MapServerViews(self.map_server),
            EtrViews(self.etr) if self.etr is not None else None,
            None,
        )
        self.operations = Operations(self.map_server, self.etr, self.reload)
        self.management = Management(
            ManagementConfig(**options), self.views, self.operations, self.reactor
        )
        self.management.startService()
        self.addCleanup(self.management.stopService)
        return self.management

    def reload(self) -> Deferred[None] | None:
        """Do what a reload does; a test may replace it."""
        return None

    def _start_map_server(self) -> MapServer:
        config = parse_config(map_server_text(self.sites, port=self.port))
        assert config.map_server is not None
        server = MapServer(config.map_server, config.site, self.reactor)
        server.startService()
        self.addCleanup(server.stopService)
        return server

    def start_etr(self, *eids: str) -> Etr:
        """Start an ETR at 127.0.0.2, which registers these EID-prefixes over a session."""
        text = etr_text(
            *eids, server_options=f'session = "always"\ntransports = ["tcp:{self.port}"]'
        )
        config = parse_config(text.replace(":4342", f":{self.port}"))
        assert config.etr is not None
        etr = Etr(config.etr, self.reactor)
        etr.startService()
        self.addCleanup(etr.stopService)
        return etr

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait until something is so."""
        deadline = self.reactor.seconds() + _PATIENCE
        while not is_so():
            self.assertLess(self.reactor.seconds(), deadline, "it never came about")
            await deferLater(self.reactor, 0.02)

    async def get(self, path: str, **options: Any) -> HttpAnswer:
        """Ask over the Unix socket."""
        return await http(self.reactor, f"unix:{self.socket}", path, **options)

    async def act(self, name: str, body: object, **options: Any) -> HttpAnswer:
        """Have something done over the Unix socket."""
        return await self.get(f"/api/v1/actions/{name}", method="POST", body=body, **options)

    def endpoint_of(self, number: int) -> str:
        """Return the client endpoint string of the port with this number; the Unix socket is 0."""
        address = self.management.addresses[number]
        return f"tcp:{address.host}:{address.port}"
