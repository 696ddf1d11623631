"""Who may do what over which endpoint."""

from __future__ import annotations

import shutil
from collections import Counter
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import LogLevel, capturedLogs

from lispmsrt.config import ConfigError
from lispmsrt.web.routes import make_routes
from tests.management_ground import TOKEN, HttpAnswer, ManagementGround, http
from tests.session_certificates import map_server_certificate

_READ = "/api/v1/overview"
_ACT = "/api/v1/actions/refresh"
_LOOPBACK = "tcp:0:interface=127.0.0.1"


class _AccessGround(ManagementGround):
    endpoint = ""

    async def read(self, **options: Any) -> HttpAnswer:
        """Ask for the overview."""
        return await http(self.reactor, self.endpoint, _READ, **options)

    async def refresh(self, **options: Any) -> HttpAnswer:
        """Ask for a refresh of everything."""
        options = {"method": "POST", "body": {}, **options}
        return await http(self.reactor, self.endpoint, _ACT, **options)

    async def files(self, **options: Any) -> HttpAnswer:
        """Ask for the page."""
        return await http(self.reactor, self.endpoint, "/", **options)


class UnixTests(_AccessGround):
    """Over the Unix socket."""

    async def test_everything_goes_without_a_token(self) -> None:
        """Who may open it may do everything; the page learns that it need not ask for a token."""
        self.token = TOKEN
        self.start()
        self.endpoint = f"unix:{self.socket}"
        answer = await self.read()
        self.assertEqual((answer.status, answer.headers["lispmsrt-actions"]), (200, "allowed"))
        self.assertEqual((await self.refresh()).json, {"asked": 0})

    async def test_the_host_header_is_looked_at(self) -> None:
        """A browser gets to it through a forwarded port."""
        self.start()
        self.endpoint = f"unix:{self.socket}"
        self.assertEqual((await self.read(headers={"Host": "evil.example"})).status, 421)


class LoopbackTests(_AccessGround):
    """Over a loopback address, without a token-file."""

    listen = (_LOOPBACK,)

    def setUp(self) -> None:
        super().setUp()
        self.start()
        self.endpoint = self.endpoint_of(1)

    async def test_reading_goes(self) -> None:
        """The page too; nobody is told that actions go."""
        answer = await self.read()
        self.assertEqual(answer.status, 200)
        self.assertNotIn("lispmsrt-actions", answer.headers)
        self.assertEqual((await self.files()).status, 200)

    async def test_actions_do_not(self) -> None:
        """Any page in the operator's browser can send them. No token is right where none is."""
        for options in ({}, {"token": TOKEN}, {"token": ""}):
            answer = await self.refresh(**options)
            self.assertEqual(answer.status, 401)
            self.assertIn("actions need the Unix socket", answer.error)
            self.assertTrue(answer.headers["www-authenticate"].startswith("Bearer"))

    async def test_methods_that_no_path_has_are_not_taken_for_actions(self) -> None:
        """405, with what the path has; no action has one of these."""
        for method in ("DELETE", "PUT", "PATCH", "BREW"):
            for path, allowed in ((_READ, "GET, HEAD, OPTIONS"), (_ACT, "OPTIONS, POST")):
                answer = await http(self.reactor, self.endpoint, path, method)
                self.assertEqual((answer.status, answer.headers["allow"]), (405, allowed))

    async def test_every_action_has_the_method_that_is_taken_for_one(self) -> None:
        """A route with another would be open to who may only read."""
        streams = self.management.streams
        routes = make_routes(self.views, self.operations, streams, Counter())
        self.assertEqual({route.method for route in routes}, {"GET", "POST"})

    async def test_only_our_own_host_names_are_answered(self) -> None:
        """Else a page could have its own name stand for a loopback address, and read."""
        for host in ("localhost", "LOCALHOST:8080", "127.0.0.1:1", "127.9.9.9", "[::1]:80"):
            self.assertEqual((await self.read(headers={"Host": host})).status, 200, host)
        for host in ("evil.example", "localhost.evil.example", "192.0.2.1", "0.0.0.0", "", "[x]"):
            for answer in (
                await self.read(headers={"Host": host}),
                await self.files(headers={"Host": host}),
            ):
                self.assertEqual(answer.status, 421, host)
                self.assertIn("allowed-hosts", answer.error)

    async def test_the_host_header_is_there_once(self) -> None:
        """RFC 9112 §3.2 wants 400 otherwise."""
        answer = await self.read(headers={"Host": "localhost\r\nHost: localhost"})
        self.assertEqual(answer.status, 400)
        self.assertIn("Host", answer.error)


class LoopbackTokenTests(_AccessGround):
    """Over a loopback address, with a token-file."""

    token = TOKEN
    listen = (_LOOPBACK,)

    def setUp(self) -> None:
        super().setUp()
        self.start(allowed_hosts=("ms.example.org",))
        self.endpoint = self.endpoint_of(1)

    async def test_everything_but_files_needs_it(self) -> None:
        """Even what is not there."""
        paths = ("/metrics", "/api/v1/openapi.json", "/api/v1/stream", "/nowhere", "/%FF")
        for path in (_READ, *paths):
            answer = await http(self.reactor, self.endpoint, path)
            self.assertEqual(answer.status, 401, path)
            self.assertIn("the token is missing", answer.error)
        for method in ("HEAD", "OPTIONS", "DELETE", "POST"):
            answer = await http(self.reactor, self.endpoint, _READ, method)
            self.assertEqual(answer.status, 401, method)
        self.assertEqual((await self.files()).status, 200)

    async def test_with_it_everything_goes(self) -> None:
        """However the scheme is written."""
        self.assertEqual((await self.read(token=TOKEN)).status, 200)
        self.assertEqual((await self.refresh(token=TOKEN)).json, {"asked": 0})
        headers = {"Authorization": f"bearer {TOKEN}", "Host": "MS.example.org:8080"}
        self.assertEqual((await self.read(headers=headers)).status, 200)

    async def test_a_wrong_one_is_refused(self) -> None:
        """One line in the log for all of a minute, and it does not have what was sent."""
        with capturedLogs() as events:
            for header in (
                f"Bearer {TOKEN}x",
                f"Bearer {TOKEN[:-1]}",
                "Bearer",
                "Bearer ",
                f"Basic {TOKEN}",
                TOKEN,
                "Bearer \xff\xfe",
            ):
                answer = await self.read(headers={"Authorization": header})
                self.assertEqual((answer.status, answer.error), (401, "the token is wrong"), header)
        warnings = [event for event in events if event["log_level"] is LogLevel.warn]
        self.assertEqual(len(warnings), 1)
        self.assertNotIn(TOKEN[:-1], str(warnings))
        self.assertEqual(self.management.counters["requests refused: wrong token"], 7)

    async def test_another_token_is_taken_from_the_file(self) -> None:
        """And a file that has none leaves the one that was."""
        assert self.management.config.token_file is not None
        self.management.config.token_file.write_text("another-token-0123456789")
        self.management.access.read_token()
        self.assertEqual((await self.read(token=TOKEN)).status, 401)
        self.assertEqual((await self.read(token="another-token-0123456789")).status, 200)
        self.management.config.token_file.write_text("")
        self.assertRaises(ValueError, self.management.access.read_token)
        self.assertEqual((await self.read(token="another-token-0123456789")).status, 200)


class ActionTests(_AccessGround):
    """What an action must look like, and what the log says of it."""

    eids = ("10.1.1.0/24",)

    async def begin(self) -> None:
        """Start, and wait for the session."""
        self.start()
        self.endpoint = f"unix:{self.socket}"
        await self.until(lambda: len(self.map_server.database) == 1)
        await self.until(lambda: len(self.map_server.sessions) == 1)

    async def test_forms_and_plain_text_are_refused(self) -> None:
        """A page of somebody else can send those without asking."""
        await self.begin()
        for kind in (
            "application/x-www-form-urlencoded",
            "text/plain",
            "multipart/form-data; boundary=x",
            "",
        ):
            answer = await self.refresh(headers={"Content-Type": kind})
            self.assertEqual(answer.status, 415, kind)
        answer = await self.refresh(headers={"Content-Type": "application/JSON; charset=utf-8"})
        self.assertEqual(answer.json, {"asked": 1})

    async def test_every_mistake_in_a_body_has_its_sentence(self) -> None:
        """It names the key."""
        await self.begin()
        for name, body, part in (
            ("refresh", b"", "the body: invalid JSON"),
            ("refresh", b"[" * 60_000, "the body: invalid JSON"),
            ("refresh", b'{"scope": "\xff"}', "the body: invalid JSON"),
            ("refresh", [], "the body: input should be an object"),
            ("refresh", {"scope": "world"}, "scope: input should be 'everything'"),
            ("refresh", {"sites": "a"}, "sites: extra inputs are not permitted"),
            ("refresh", {"scope": "site"}, "scope site needs a site"),
            ("refresh", {"instance_id": 1 << 32}, "instance_id: input should be less than"),
            ("clear-session", {}, "session: field required"),
            ("clear-session", {"session": 7}, "session: input should be a valid string"),
            ("register", {"eid-prefix": "10.1.1.1/8"}, "eid-prefix: EID-prefix '10.1.1.1/8' has"),
            (
                "register",
                {"eid_prefix": "10.1.3.0/24", "locators": [{}]},
                "locators[0].rloc: field",
            ),
            ("withdraw", {"eid_prefix": "x"}, "eid_prefix: EID-prefix 'x' is not of the form"),
        ):
            answer = await self.act(name, body)
            self.assertEqual(answer.status, 400, (name, body, answer.body))
            self.assertIn(part, answer.error)
        answer = await self.act("refresh?scope=site", {})
        self.assertEqual(answer.error, "there is no parameter scope here")

    async def test_mappings_come_and_go(self) -> None:
        """With underscores in their keys, or with hyphens."""
        await self.begin()
        locators = [{"rloc": "127.0.0.2", "priority": 3}]
        for body in (
            {"eid_prefix": "10.1.7.0/24", "locators": locators},
            {"eid-prefix": "10.1.8.0/24", "instance-id": 0, "locators": locators},
        ):
            answer = await self.act("register", body)
            eid = str(body.get("eid_prefix") or body["eid-prefix"])
            self.assertEqual(answer.json, {"registered": eid, "acknowledged": True})
        self.assertEqual(len(self.map_server.database), 3)
        answer = await self.act("withdraw", {"eid_prefix": "10.1.7.0/24"})
        self.assertEqual(answer.json, {"withdrawn": "10.1.7.0/24", "acknowledged": True})
        self.assertEqual(len(self.map_server.database), 2)
        answer = await self.act("withdraw", {"eid_prefix": "10.1.7.0/24"})
        self.assertEqual((answer.status, answer.error), (404, "10.1.7.0/24 is not registered"))

    async def test_a_refusal_of_the_map_server_is_told(self) -> None:
        """409: the mapping is no site's."""
        await self.begin()
        answer = await self.act("register", {"eid_prefix": "192.0.2.0/24"})
        self.assertEqual(answer.status, 409)
        self.assertTrue(answer.error)

    async def test_a_session_is_cleared_by_its_peer(self) -> None:
        """And one that is not there is 404."""
        await self.begin()
        (session,) = self.map_server.sessions
        answer = await self.act("clear-session", {"session": session.peer})
        self.assertEqual(answer.json, {"cleared": 1})
        await self.until(lambda: session not in self.map_server.sessions)
        answer = await self.act("clear-session", {"session": "192.0.2.99"})
        self.assertEqual((answer.status, answer.error), (404, "there is no session 192.0.2.99"))

    async def test_a_refresh_of_what_is_not_configured_is_not_found(self) -> None:
        """404, with a sentence."""
        await self.begin()
        answer = await self.act("refresh", {"scope": "site", "site": "nobody"})
        sentence = "there is no site 'nobody' in the configuration"
        self.assertEqual((answer.status, answer.error), (404, sentence))

    async def test_a_reload_is_answered_when_it_is_done(self) -> None:
        """With the mistakes of the file, if there are any."""
        await self.begin()
        done: Deferred[None] = Deferred()
        self.patch(self.operations, "_reload", lambda: done)
        self.reactor.callLater(0.05, done.callback, None)
        answer = await self.act("reload", {})
        self.assertTrue(answer.json["reloaded"])

        def fail() -> None:
            raise ConfigError("file", ["line 3: site[0].name: is missing", "line 9: no"])

        self.patch(self.operations, "_reload", fail)
        answer = await self.act("reload", {})
        self.assertEqual(answer.status, 409)
        self.assertEqual(answer.error, "line 3: site[0].name: is missing; line 9: no")

    async def test_each_action_is_one_line_in_the_log(self) -> None:
        """With who and what; a client can't make lines of its own. Reading is none."""
        await self.begin()
        with capturedLogs() as events:
            await self.read()
            await self.act("refresh", {"scope": "site", "site": "campus"})
            await self.act("clear-session", {"session": "x\nmanagement: user ID 0: reload"})
        lines = [
            event["log_format"].format(**event)
            for event in events
            if event["log_format"] and event["log_format"].startswith("management")
        ]
        self.assertEqual(len(lines), 2)
        self.assertRegex(lines[0], r"^management: user ID \d+: refresh scope=site site=campus$")
        self.assertIn(r"clear session x\nmanagement: user ID 0: reload: refused", lines[1])
        self.assertNotIn("\n", lines[1])


class TlsTests(_AccessGround):
    """Over TLS, to which other machines may come."""

    token = TOKEN

    async def test_a_token_is_needed_and_then_everything_goes(self) -> None:
        """The address that is connected to is a good Host."""
        made = map_server_certificate()
        roots = self.directory / "roots"
        roots.mkdir()
        shutil.copy(made.authority, roots)
        self.listen = (
            f"ssl:0:privateKey={made.key}:certKey={made.certificate}:interface=127.0.0.1",
        )
        self.start()
        port = self.management.addresses[1].port
        self.endpoint = f"tls:127.0.0.1:{port}:trustRoots={roots}"
        self.assertEqual((await self.read()).status, 401)
        self.assertEqual((await self.files()).status, 200)
        self.assertEqual((await self.read(token=TOKEN)).status, 200)
        self.assertEqual((await self.refresh(token=TOKEN)).json, {"asked": 0})
        other = {"Host": "evil.example"}
        self.assertEqual((await self.read(token=TOKEN, headers=other)).status, 421)
