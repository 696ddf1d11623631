"""What a client tries that means no good: each has one plain answer, and none makes the log cry."""

from __future__ import annotations

from collections import Counter
from typing import Any, cast

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource

from lispmsrt.web.connections import IDLE_TIMEOUT, ManagementRequest, ManagementSite
from lispmsrt.web.stream import Streams
from tests.management_ground import TOKEN, HttpAnswer, ManagementGround, http, send_raw
from tests.rim import site_text

_READ = "/api/v1/overview"
_ACT = "/api/v1/actions/refresh"


class OtherPagesTests(ManagementGround):
    """What a page of somebody else has a browser send."""

    def setUp(self) -> None:
        super().setUp()
        self.start(allowed_hosts=("ms.example.org",))

    async def read(self, **headers: str) -> int:
        """Return the status of a look at everything."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return (await self.get(_READ, headers=named)).status

    async def refresh(self, **headers: str) -> int:
        """Return the status of an action, over the Unix socket: SSH may have brought it."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return (await self.act("refresh", {}, headers=named)).status

    async def test_it_gets_nothing(self) -> None:
        """Not even work done in vain, or a stream that others would need; and it is counted."""
        for site in ("cross-site", "same-site", "CROSS-SITE", "", "\xff"):
            self.assertEqual(await self.read(sec_fetch_site=site, sec_fetch_mode="no-cors"), 403)
            self.assertEqual(await self.refresh(sec_fetch_site=site), 403)
        for origin in (
            "http://evil.example",
            "https://localhost.evil.example",
            "http://evil.example:80@localhost",
            "null",
            "file://",
            "localhost",
            "ftp://localhost",
            "\xff://localhost",
        ):
            self.assertEqual(await self.refresh(origin=origin), 403, origin)
        refused = self.management.counters["requests refused: page of another site"]
        self.assertEqual(refused, 18)

    async def test_our_own_page_gets_all(self) -> None:
        """By any of our names, whatever the port that a tunnel has here."""
        for origin in (
            "http://localhost",
            "http://localhost:9000",
            "https://127.0.0.1:8080",
            "http://[::1]",
            "https://ms.example.org",
        ):
            self.assertEqual(await self.refresh(origin=origin, sec_fetch_site="same-origin"), 200)
            self.assertEqual(await self.read(origin=origin, sec_fetch_site="none"), 200)

    async def test_a_link_may_be_followed(self) -> None:
        """To what can be read; the page itself is for everybody."""
        link = {
            "sec_fetch_site": "cross-site",
            "sec_fetch_mode": "navigate",
            "sec_fetch_dest": "document",
        }
        self.assertEqual(await self.read(**link), 200)
        self.assertEqual(await self.refresh(**link), 403)
        self.assertEqual(await self.read(**{**link, "sec_fetch_dest": "iframe"}), 403)
        page = await self.get("/", headers={"Sec-Fetch-Site": "cross-site"})
        self.assertEqual(page.status, 200)

    async def test_a_host_that_only_begins_as_ours_is_not_ours(self) -> None:
        """An address may have a zone, a host may not."""
        for host in ("127.0.0.1%evil.example", "127.0.0.1%", "127.0.0.1.evil.example", "0.0.0.0"):
            self.assertEqual(await self.read(Host=host), 421, host)


class TokenTests(ManagementGround):
    """Where a token is needed."""

    token = TOKEN
    listen = ("tcp:0:interface=127.0.0.1",)

    async def ask(self, path: str = _ACT, method: str = "POST", **options: Any) -> HttpAnswer:
        """Act over TCP."""
        body: object = {} if method == "POST" else None
        return await http(self.reactor, self.endpoint_of(1), path, method, body=body, **options)

    async def test_it_stands_in_one_header(self) -> None:
        """Not in two, of which each might be looked at by somebody else; not in the query."""
        self.start()
        right, wrong = f"Bearer {TOKEN}", "Bearer wrong"
        self.assertEqual((await self.ask(token=TOKEN)).status, 200)
        for two in ((right, wrong), (wrong, right), (right, right)):
            value = "\r\nAuthorization: ".join(two)
            self.assertEqual((await self.ask(headers={"Authorization": value})).status, 401)
        for query in (f"token={TOKEN}", f"access_token={TOKEN}"):
            self.assertEqual((await self.ask(f"{_ACT}?{query}")).status, 401)

    async def test_nothing_that_a_proxy_says_stands_for_it(self) -> None:
        """Nor another way to write the path, or the method."""
        self.start()
        for name in ("X-Forwarded-For", "X-Real-IP", "Forwarded", "X-Forwarded-Host"):
            self.assertEqual((await self.ask(headers={name: "127.0.0.1"})).status, 401)
        self.assertEqual((await self.ask(headers={"X-Original-URL": "/"})).status, 401)
        for path in (f"/{_ACT}", _ACT.replace("a", "%61"), _ACT.replace("/", "%2f"), f"/.{_ACT}"):
            self.assertEqual((await self.ask(f"/{path}")).status, 401, path)
        for method in ("GET", "post", "PUT", "PRI", "OPTIONS"):
            headers = {"X-HTTP-Method-Override": "POST"}
            answer = await self.ask(method=method, headers=headers)
            self.assertEqual(answer.status, 401, method)


class OddRequestTests(ManagementGround):
    """Over the Unix socket."""

    async def test_the_names_of_sites_may_have_slashes(self) -> None:
        """In front too, as they are or encoded."""
        names = ("/lab", "a/b", "a//", "..", "x?")
        self.sites = "\n".join(
            site_text(name, f"10.{number}.0.0/16") for number, name in enumerate(names)
        )
        self.start()
        for path, name in (
            ("/lab", "/lab"),
            ("%2Flab", "/lab"),
            ("a/b", "a/b"),
            ("a%2fb", "a/b"),
            ("a//", "a//"),
            ("..", ".."),
            ("x%3F", "x?"),
        ):
            answer = await self.get(f"/api/v1/sites/{path}")
            self.assertEqual((answer.status, answer.json.get("name")), (200, name), path)
        self.assertEqual((await self.get("/api/v1/sites/")).status, 404)

    async def test_an_itr_has_an_address(self) -> None:
        """No name, and no MAC."""
        self.start()
        for itr in ("name:x", "00:00:00:00:00:01", "x", "1.2.3.4/8", "fe80::1%25eth0"):
            answer = await self.get(f"/api/v1/eid?eid=10.1.1.1&itr={itr}")
            self.assertEqual(answer.status, 400, itr)
            self.assertIn("itr must be an", answer.error)
        for itr in ("::", "0.0.0.0", "255.255.255.255", "ff02::1", "::ffff:1.2.3.4"):
            answer = await self.get(f"/api/v1/eid?eid=10.1.1.1&itr={itr}")
            self.assertEqual(answer.status, 200, itr)

    async def test_a_length_that_nobody_means_is_refused(self) -> None:
        """Python takes 4300 digits for a number, and more for a mistake of ours."""
        self.start()
        for digits in (19, 4300, 5000):
            heard = await send_raw(
                self.reactor,
                f"unix:{self.socket}",
                f"POST {_ACT} HTTP/1.1\r\nHost: localhost\r\n"
                f"Content-Length: {'9' * digits}\r\n\r\n".encode(),
            )
            self.assertTrue(heard.startswith(b"HTTP/1.1 413 "), heard)

    async def test_whatever_metrics_are_asked_for_in(self) -> None:
        """A version that is none is one that we do not have."""
        self.start()
        for accept in ("version=1.0.b", "version=x", "version=", "escaping=y", "q=z", "\xff"):
            for kind in ("application/openmetrics-text", "text/plain"):
                headers = {"Accept": f"{kind};{accept}"}
                answer = await self.get("/metrics", headers=headers)
                self.assertEqual(answer.status, 200, headers)
                self.assertTrue(answer.headers["content-type"].startswith(kind), headers)

    async def test_a_sentence_does_not_repeat_all_that_was_sent(self) -> None:
        """A key, or a text, of 60 kB."""
        self.start()
        for body in ({"x" * 60_000: 1}, {"scope": "eid", "eid_prefix": "9" * 60_000}):
            answer = await self.act("refresh", body)
            self.assertEqual(answer.status, 400)
            self.assertLess(len(answer.error), 600)


class FailingActionTests(ManagementGround):
    """Actions that fail for no reason that an operator could mend."""

    async def test_a_bug_is_logged_and_told(self) -> None:
        """Even if it looks like a refusal from afar."""
        self.start()
        for failure in (RuntimeError("no"), KeyError(7), KeyError("name"), ValueError("no")):

            def fail(failure: Exception = failure) -> None:
                raise failure

            self.patch(self.operations, "_reload", fail)
            answer = await self.act("reload", {})
            self.assertEqual(answer.status, 500)
            self.assertEqual(len(self.flushLoggedErrors(type(failure))), 1)

    async def test_a_bug_is_logged_when_nobody_waits_for_the_answer(self) -> None:
        """Who asked has hung up."""
        self.start()
        done: Deferred[None] = Deferred()
        begun: list[bool] = []

        def reload() -> Deferred[None]:
            begun.append(True)
            return done

        self.patch(self.operations, "_reload", reload)
        asking = Deferred.fromCoroutine(self.act("reload", {}))
        await self.until(lambda: bool(begun))
        (_port, site) = self.management._ports[0]
        for connection in list(site.connections):
            connection.cut()
        await self.until(lambda: not site.connections)
        asking.addErrback(lambda _: None)
        done.errback(RuntimeError("no"))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)


class _Answer(Resource):
    isLeaf = True

    def render(self, request: Any) -> bytes:
        return bytes(100_000)


class _Transport(StringTransport):
    aborting = False

    def abortConnection(self) -> None:
        self.aborting = True

    def unregisterProducer(self) -> None:
        # Of a socket it may be done twice.
        self.producer = None


class SlowTests(SynchronousTestCase):
    """Clients that hold a connection, on a clock."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.site = ManagementSite(_Answer(), self.clock, Counter())
        self.protocol: Any = self.site.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
        self.transport = _Transport()
        self.protocol.makeConnection(self.transport)

    def test_a_request_must_be_whole_in_time(self) -> None:
        """However little of it comes now and then."""
        for _octet in range(int(IDLE_TIMEOUT)):
            self.assertFalse(self.transport.disconnecting)
            self.protocol.dataReceived(b"G")
            self.clock.advance(1.0)
        self.assertTrue(self.transport.disconnecting)

    def test_each_request_has_its_time(self) -> None:
        """One after the other, for as long as there are any."""
        for _request in range(5):
            self.clock.advance(IDLE_TIMEOUT - 1)
            self.protocol.dataReceived(b"GET / HTTP/1.1\r\n")
            self.clock.advance(IDLE_TIMEOUT - 1)
            self.protocol.dataReceived(b"Host: localhost\r\n\r\n")
            self.clock.advance(0)
        self.assertFalse(self.transport.disconnecting)
        self.assertEqual(self.transport.value().count(b"200 OK"), 5)

    def test_the_last_answer_must_be_taken_in_time(self) -> None:
        """After it the connection would be closed, and nothing else is waited for."""
        self.protocol.dataReceived(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
        self.assertTrue(self.transport.disconnecting)
        self.clock.advance(IDLE_TIMEOUT)
        self.clock.advance(15.0)
        self.assertTrue(self.transport.aborting)
        self.protocol.connectionLost()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class _Reader:
    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        self.producer = producer

    def write(self, octets: bytes) -> None:
        self.lines.append(octets)


class StreamTests(ManagementGround):
    """Readers who are behind, each by another number."""

    async def test_all_of_them_cost_one_look_at_the_history(self) -> None:
        """Or 64 of them would take some 300 ms of a second."""
        self.start()
        clock = Clock()
        streams = Streams(self.views, clock, Counter())
        readers = [_Reader() for _number in range(20)]
        for number, reader in enumerate(readers):
            streams.open(cast(ManagementRequest, reader), number)
        asked: list[object] = []
        server = self.views.map_server
        assert server is not None
        history = server.history

        def counted(*arguments: Any) -> Any:
            asked.append(arguments)
            return history(*arguments)

        self.patch(server, "history", counted)
        clock.advance(1.0)
        self.assertLessEqual(len(asked), 2)
        self.assertEqual({len(reader.lines) for reader in readers}, {2})
        streams._forget(next(iter(streams._streams)))
        for stream in list(streams._streams):
            streams._forget(stream)
        self.assertEqual(clock.getDelayedCalls(), [])
