"""Every route against the schema that the document has for it, over a real socket."""

from __future__ import annotations

from typing import Any

from jsonschema import Draft202012Validator

from lispmsrt.views.sessions import SeveralSessionsError
from tests.management_ground import HttpAnswer, ManagementGround
from tests.rim import mapping, site_text

_PREFIXES = ("10.1.0.0/16", "7 10.1.0.0/16", "2001:db8::/32")


class _ApiGround(ManagementGround):
    sites = site_text("campus", *_PREFIXES) + site_text("branch", "10.2.0.0/16")
    eids = ("10.1.1.0/24", "10.1.2.0/24", "10.9.9.0/24")
    "the last is refused"

    async def begin(self) -> None:
        """Start, and wait until there is something to see."""
        self.start()
        await self.until(lambda: len(self.map_server.database) == 2)
        await self.until(lambda: self.map_server.registrar.rejections.count > 0)
        await self.until(lambda: len(self.map_server.sessions) == 1)

    async def document(self) -> dict[str, Any]:
        """Return the OpenAPI document."""
        document: dict[str, Any] = (await self.get("/api/v1/openapi.json")).json
        return document

    async def assert_fits(
        self, path: str, route: str | None = None, *, method: str = "get", **options: Any
    ) -> HttpAnswer:
        """Ask, and hold the answer against the document."""
        document = await self.document()
        answer = await self.get(path, method=method.upper(), **options)
        declared = document["paths"][route or path.partition("?")[0]][method]
        content = declared["responses"][str(answer.status)]["content"]["application/json"]
        self.assertEqual(answer.headers["content-type"], "application/json")
        schema = {**content["schema"], "components": document["components"]}
        Draft202012Validator(schema).validate(answer.json)
        return answer


class ReadingTests(_ApiGround):
    """GET, of a process with all roles."""

    async def test_every_route_answers_as_the_document_says(self) -> None:
        """None is left out: those that are not asked here are named."""
        await self.begin()
        asked = {
            "/api/v1/eid": "?eid=10.1.1.5&itr=127.0.0.9",
            "/api/v1/explain": "?eid=10.1.9.5",
            "/api/v1/sessions/{id}": "127.0.0.2",
            "/api/v1/sites/{name}": "campus",
        }
        other = {"/api/v1/openapi.json", "/api/v1/stream", "/metrics"}
        document = await self.document()
        for path, item in document["paths"].items():
            if path in other or "get" not in item:
                continue
            detail = asked.get(path, "")
            url = f"{path.partition('{')[0]}{detail}" if "{" in path else f"{path}{detail}"
            answer = await self.assert_fits(url, path)
            self.assertEqual(answer.status, 200, (path, answer.body))
            self.assertEqual(answer.headers["cache-control"], "no-store")

    async def test_views_show_what_is_there(self) -> None:
        """A look at each."""
        await self.begin()
        overview = (await self.get("/api/v1/overview")).json
        self.assertEqual(overview["roles"], ["map-server", "etr"])
        self.assertEqual(overview["sites"], 2)
        page = (await self.get("/api/v1/registrations")).json
        self.assertEqual(
            [item["eid_prefix"] for item in page["items"]], ["10.1.1.0/24", "10.1.2.0/24"]
        )
        self.assertIsNone(page["next_cursor"])
        (session,) = (await self.get("/api/v1/sessions")).json["items"]
        self.assertEqual(
            (await self.get(f"/api/v1/sessions/{session['id']}")).json["peer"], session["peer"]
        )
        (refused,) = {
            item["eid_prefix"] for item in (await self.get("/api/v1/rejections")).json["items"]
        }
        self.assertEqual(refused, "10.9.9.0/24")
        groups = {one["group"] for one in (await self.get("/api/v1/statistics")).json}
        self.assertIn("management", groups)

    async def test_metrics_are_text(self) -> None:
        """For Prometheus, which may ask for its newer format."""
        await self.begin()
        answer = await self.get("/metrics")
        self.assertTrue(answer.headers["content-type"].startswith("text/plain"))
        self.assertIn(b"lispmsrt_", answer.body)
        answer = await self.get("/metrics", headers={"Accept": "application/openmetrics-text"})
        self.assertTrue(answer.headers["content-type"].startswith("application/openmetrics-text"))

    async def test_pages_follow_each_other_to_the_end(self) -> None:
        """By next_cursor; nothing is there twice, nothing is left out."""
        await self.begin()
        assert self.etr is not None
        for number in range(3, 30):
            await self.etr.register(mapping(f"10.1.{number}.0/24"))
        seen, cursor = [], ""
        while True:
            page = (await self.get(f"/api/v1/registrations?limit=7{cursor}")).json
            self.assertLessEqual(len(page["items"]), 7)
            seen += [item["eid_prefix"] for item in page["items"]]
            if page["next_cursor"] is None:
                break
            cursor = f"&cursor={page['next_cursor']}"
        self.assertEqual(seen, [f"10.1.{number}.0/24" for number in range(1, 30)])

    async def test_filters_narrow_a_list(self) -> None:
        """Each field of the filter is a parameter."""
        await self.begin()
        for query, count in (
            ("site=campus", 2),
            ("site=branch", 0),
            ("eid=10.1.2.7", 1),
            ("eid=10.1.0.0%2F16", 2),
            ("instance_id=7", 0),
            ("transport=tcp", 2),
            ("since=1h", 2),
            ("since=4102444800", 0),
            ("since=1h&transport=tcp&site=campus&eid=10.1.1.0/24", 1),
        ):
            answer = await self.assert_fits(f"/api/v1/registrations?{query}")
            self.assertEqual(len(answer.json["items"]), count, query)
        answer = await self.get("/api/v1/history?event=rejected&limit=1")
        self.assertEqual(answer.json["items"][0]["event"], "rejected")

    async def test_what_is_not_there_is_said(self) -> None:
        """With 404 and one sentence."""
        await self.begin()
        for path, route, sentence in (
            ("/api/v1/sessions/9999", "/api/v1/sessions/{id}", "there is no session 9999"),
            ("/api/v1/sites/x%2Fy", "/api/v1/sites/{name}", "there is no site x/y"),
        ):
            answer = await self.assert_fits(path, route)
            self.assertEqual((answer.status, answer.error), (404, sentence))
        for path in ("/api/v2/overview", "/api/v1", "/api/v1/overview/", "/api//v1/overview"):
            answer = await self.get(path)
            self.assertEqual(answer.status, 404, path)
            self.assertEqual(answer.error, "there is nothing at this path")

    async def test_every_mistake_in_a_query_has_its_sentence(self) -> None:
        """It names the parameter."""
        await self.begin()
        for query, sentence in (
            ("limit=0", "limit must be a whole number from 1 to 1000"),
            ("limit=1001", "limit must be a whole number from 1 to 1000"),
            ("limit=%C2%B2", "limit must be a whole number from 1 to 1000"),
            ("limit=1&limit=2", "limit is given more than once"),
            ("cursor=", "cursor must be the next_cursor of another page"),
            ("sites=campus", "there is no parameter sites here"),
            ("=", 'there is no parameter "" here'),
            ("a%0Ab=", "there is no parameter a?b here"),
            ("site=%FF", "site is not UTF-8 text"),
            ("site=", "site must have 1 to 300 characters"),
            ("instance_id=-1", "instance_id must be a whole number from 0 to 4294967295"),
            ("xtr_id=12", "xtr_id must be 32 hexadecimal digits"),
            ("since=soon", "since must be seconds since 1970, or how long ago: 30s, 5m, 2h, 1d"),
        ):
            answer = await self.assert_fits(f"/api/v1/registrations?{query}")
            self.assertEqual((answer.status, answer.error), (400, sentence), query)
        for path, part in (
            ("/api/v1/registrations?cursor=nonsense", "cursor 'nonsense' is no cursor"),
            ("/api/v1/registrations?eid=10.1.1.1/8", "has host bits set"),
            ("/api/v1/eid", "eid is missing"),
            ("/api/v1/eid?eid=x", "eid must be an EID or an EID-prefix"),
            ("/api/v1/eid?eid=10.1.1.1&itr=x", "itr must be an address"),
            ("/api/v1/sessions?established=1", "established must be true or false"),
            ("/api/v1/history?event=begun", "event must be one of registered, changed"),
            ("/api/v1/overview?limit=1", "there is no parameter limit here"),
            ("/api/v1/rejections?event=rejected", "there is no parameter event here"),
        ):
            answer = await self.assert_fits(path)
            self.assertEqual(answer.status, 400, path)
            self.assertIn(part, answer.error)


class MethodTests(_ApiGround):
    """Other methods than those a route has."""

    async def test_head_has_the_headers_only(self) -> None:
        """As GET would have them."""
        await self.begin()
        for path in ("/api/v1/sites", "/", "/metrics"):
            whole = await self.get(path)
            head = await self.get(path, method="HEAD")
            self.assertEqual((head.status, head.body), (200, b""))
            self.assertEqual(head.headers["content-type"], whole.headers["content-type"])
        self.assertEqual((await self.get("/api/v1/stream", method="HEAD")).status, 200)
        self.assertEqual(len(self.management.streams), 0)

    async def test_options_says_what_goes(self) -> None:
        """And lets no page of somebody else do anything."""
        await self.begin()
        for path, allow in (
            ("/api/v1/overview", "GET, HEAD, OPTIONS"),
            ("/api/v1/actions/reload", "OPTIONS, POST"),
            ("/", "GET, HEAD, OPTIONS"),
        ):
            answer = await self.get(path, method="OPTIONS")
            self.assertEqual((answer.status, answer.headers["allow"]), (204, allow))
            self.assertEqual([name for name in answer.headers if "access-control" in name], [])

    async def test_other_methods_are_refused(self) -> None:
        """With 405 and what goes."""
        await self.begin()
        for path, method in (
            ("/api/v1/overview", "POST"),
            ("/api/v1/overview", "DELETE"),
            ("/api/v1/actions/reload", "GET"),
            ("/", "PUT"),
            ("/", "BREW"),
        ):
            answer = await self.get(path, method=method)
            self.assertEqual(answer.status, 405, path)
            self.assertIn("OPTIONS", answer.headers["allow"])
        self.assertEqual((await self.get("*", method="OPTIONS")).status, 404)


class OtherRoleTests(ManagementGround):
    """A process that is no ETR."""

    async def test_views_of_a_missing_role_are_not_there(self) -> None:
        """404 says whose they would be."""
        self.start()
        for path in ("/api/v1/etr", "/api/v1/etr/mappings"):
            answer = await self.get(path)
            self.assertEqual((answer.status, answer.error), (404, "this lispmsrt is no ETR"))

    async def test_an_address_of_several_sessions_is_told(self) -> None:
        """With 409, and what to name one by."""
        self.start()

        def several(text: str) -> None:
            raise SeveralSessionsError(f"2 sessions are from {text}")

        self.patch(self.views.map_server, "session", several)
        answer = await self.get("/api/v1/sessions/192.0.2.1")
        self.assertEqual((answer.status, answer.error), (409, "2 sessions are from 192.0.2.1"))

    async def test_a_bug_is_logged_and_not_shown(self) -> None:
        """The client gets one sentence, the log gets the traceback."""
        self.start()
        assert self.views.map_server is not None
        self.patch(self.views.map_server, "overview", lambda: {}["secret"])
        answer = await self.get("/api/v1/overview")
        self.assertEqual(
            (answer.status, answer.error), (500, "this request failed; the log says why")
        )
        self.assertNotIn(b"secret", answer.body)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
