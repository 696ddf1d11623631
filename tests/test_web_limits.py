"""What a client can't do: fill the memory, hold connections for ever, see a traceback."""

from __future__ import annotations

from collections import Counter
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource

from lispmsrt.web.connections import (
    IDLE_TIMEOUT,
    MAX_BODY,
    MAX_CONNECTIONS,
    MAX_DRAINED,
    ManagementSite,
)
from tests.management_ground import ManagementGround, send_raw

_ACTION = "/api/v1/actions/refresh"
_HEAD = f"POST {_ACTION} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


class RequestTests(ManagementGround):
    """Requests that are too long, or broken."""

    def setUp(self) -> None:
        super().setUp()
        self.start()

    async def raw(self, octets: str | bytes) -> bytes:
        """Send octets, and return all that comes."""
        octets = octets.encode() if isinstance(octets, str) else octets
        return await send_raw(self.reactor, f"unix:{self.socket}", octets)

    async def test_a_body_has_a_limit(self) -> None:
        """In one piece or in chunks; what is above is not kept."""
        body = b" " * (MAX_BODY - 2) + b"{}"
        self.assertEqual((await self.act("refresh", body)).json, {"asked": 0})
        answer = await self.act("refresh", b" " + body)
        self.assertEqual((answer.status, answer.headers["connection"]), (413, "close"))
        self.assertIn("65536 octets", answer.error)
        chunk = b"8000\r\n" + b" " * 0x8000 + b"\r\n"
        head = f"{_HEAD}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n".encode()
        heard = await self.raw(head + 3 * chunk + b"0\r\n\r\n")
        self.assertTrue(heard.startswith(b"HTTP/1.1 413 "), heard)

    async def test_a_huge_body_is_not_even_read(self) -> None:
        """It is refused by its length, or cut off."""
        heard = await self.raw(f"{_HEAD}Content-Length: {MAX_DRAINED + 1}\r\n\r\n")
        self.assertTrue(heard.startswith(b"HTTP/1.1 413 "), heard)
        head = f"{_HEAD}Transfer-Encoding: chunked\r\n\r\n100000000\r\n".encode()
        heard = await self.raw(head + b" " * (MAX_DRAINED + 1))
        self.assertEqual(heard, b"")

    async def test_a_request_line_has_a_limit(self) -> None:
        """16 kB; and all headers together."""
        heard = await self.raw(f"GET /{'x' * 17_000} HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.assertTrue(heard.startswith(b"HTTP/1.1 414 "), heard)
        heard = await self.raw(f"GET / HTTP/1.1\r\nHost: localhost\r\nX: {'x' * 17_000}\r\n\r\n")
        self.assertTrue(heard.startswith(b"HTTP/1.1 431 "), heard)
        headers = "".join(f"X-{number}: {'x' * 1000}\r\n" for number in range(20))
        heard = await self.raw(f"GET / HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n")
        self.assertTrue(heard.startswith(b"HTTP/1.1 400 "), heard)

    async def test_refusals_are_counted_by_status(self) -> None:
        """Whoever answers: the API, the endpoint, or Twisted."""
        for octets in (
            f"{_HEAD}Content-Length: {MAX_DRAINED + 1}\r\n\r\n",
            f"GET /{'x' * 17_000} HTTP/1.1\r\n\r\n",
            f"GET / HTTP/1.1\r\nX: {'x' * 17_000}\r\n\r\n",
            "GET\r\n\r\n",
        ):
            await self.raw(octets)
        for path in ("/nowhere", "/api/v1/sessions/7", "/", "/api/v1/overview"):
            await self.get(path)
        await self.act("refresh", b" " * (MAX_BODY + 1))
        found = {
            name.removeprefix("requests answered with "): count
            for name, count in self.management.counters.items()
            if name.startswith("requests answered with ")
        }
        self.assertEqual(found, {"400": 1, "404": 2, "413": 2, "414": 1, "431": 1})

    async def test_garbage_is_refused_and_shows_nothing(self) -> None:
        """Each on a connection of its own; the next one is served."""
        for octets in (
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(40) + b"\r\n\r\n",
            b"GET\r\n\r\n",
            b"G\xff\xff / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
            b"GET /\xff HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
            b"GET /%ff HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
            b"GET / HTTP/1.1\r\n: x\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: \xff\xfe\r\nConnection: close\r\n\r\n",
            b"GET /metrics HTTP/1.1\r\nHost: \xff\r\nConnection: close\r\n\r\n",
            f"{_HEAD}Accept: \xff\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".encode(
                "latin-1"
            ),
            b"POST /api/v1/actions/reload HTTP/1.1\r\nHost: localhost\r\nContent-Type: \xff\r\n"
            b"Connection: close\r\n\r\n",
            b"GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
            b"POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n",
            b"GET / HTTP/1.0\r\n\r\n",
        ):
            heard = await self.raw(octets)
            self.assertRegex(heard, rb"^HTTP/1\.[01] 4\d\d ", octets)
            self.assertNotIn(b"Traceback", heard)
        octets = (
            b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: \xff\r\nConnection: close\r\n\r\n"
        )
        self.assertIn(b"HTTP/1.1 200 OK", await self.raw(octets))

    async def test_requests_may_follow_each_other_on_a_connection(self) -> None:
        """Answered in their order."""
        one = b"GET /api/v1/overview HTTP/1.1\r\nHost: localhost\r\n\r\n"
        last = one.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        heard = await self.raw(one * 3 + last)
        self.assertEqual(heard.count(b"HTTP/1.1 200 OK"), 4)


class _Large(Resource):
    """Answers much."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def render(self, request: Any) -> bytes:
        self.asked += 1
        return bytes(100_000)


class _Transport(StringTransport):
    """Tells its producer when nobody takes what is written, as a socket's transport does."""

    aborting = False

    def abortConnection(self) -> None:
        self.aborting = True

    def write(self, data: bytes) -> None:
        super().write(data)
        if self.producer is not None and len(self.value()) > 1 << 16:
            self.producer.pauseProducing()

    def take(self) -> int:
        """Read everything, as the peer."""
        octets = len(self.value())
        self.clear()
        self.producer.resumeProducing()
        return octets


class ConnectionTests(SynchronousTestCase):
    """Connections on a clock."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.counters: Counter[str] = Counter()
        self.large = _Large()
        self.site = ManagementSite(self.large, self.clock, self.counters)

    def connect(self) -> tuple[Any, _Transport]:
        """Return a connection and its transport."""
        protocol = self.site.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
        transport = _Transport()
        protocol.makeConnection(transport)
        return protocol, transport

    def test_there_is_a_limit(self) -> None:
        """One more is reset; when one goes there is room again."""
        opened = [self.connect() for _number in range(MAX_CONNECTIONS)]
        self.assertFalse(any(transport.aborting for _protocol, transport in opened))
        self.assertTrue(self.connect()[1].aborting)
        self.assertEqual(self.counters["connections refused: too many"], 1)
        opened[0][0].connectionLost()
        self.assertFalse(self.connect()[1].aborting)
        self.assertEqual(len(self.site.connections), MAX_CONNECTIONS)

    def test_requests_sent_ahead_wait_until_answers_are_taken(self) -> None:
        """Else one chunk of them would make gigabytes, in one turn of the reactor."""
        protocol, transport = self.connect()
        protocol.dataReceived(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 1000)
        for _second in range(10):
            self.clock.advance(0.1)
        self.assertEqual(self.large.asked, 1)
        for number in range(2, 5):
            self.assertGreater(transport.take(), 100_000)
            self.clock.advance(0)
            self.assertEqual(self.large.asked, number)
        protocol.connectionLost()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_requests_sent_ahead_are_for_the_next_turn(self) -> None:
        """Also where the peer reads as fast as it can; all are answered."""
        protocol, transport = self.connect()
        transport.unregisterProducer()
        protocol.dataReceived(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 3)
        self.assertEqual(self.large.asked, 1)
        self.clock.advance(0)
        self.assertEqual(self.large.asked, 3)

    def test_an_idle_connection_is_closed(self) -> None:
        """Also one that never says more than half of a request."""
        protocol, transport = self.connect()
        protocol.dataReceived(b"GET / HT")
        self.clock.advance(IDLE_TIMEOUT - 1)
        self.assertFalse(transport.disconnecting)
        self.clock.advance(1)
        self.assertTrue(transport.disconnecting)
        self.assertEqual(self.counters["connections timed out"], 1)
        self.clock.advance(15)
        self.assertTrue(transport.aborting)

    def test_closing_waits_for_connections_and_then_cuts_them(self) -> None:
        """It fires when all are gone."""
        protocol, transport = self.connect()
        closed = self.site.close()
        self.assertTrue(transport.disconnecting)
        self.clock.advance(1.0)
        self.assertTrue(transport.aborting)
        self.assertNoResult(closed)
        protocol.connectionLost()
        self.successResultOf(closed)
        self.assertEqual(self.clock.getDelayedCalls(), [])
