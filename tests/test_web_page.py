"""The web page in a browser, against a live Map-Server with sessions on several transports."""

from __future__ import annotations

import os
import re
from typing import ClassVar

from twisted.trial.unittest import SynchronousTestCase

from tests.browser_ground import MORTAL, TOKEN, TRANSPORTS, host_of
from tests.browser_scale import REGISTRATIONS, SESSIONS
from tests.running import CHECKOUT
from tests.web_page_case import PHONE, WebPageCase, in_browser

_PAGES = (
    "overview",
    "sessions",
    "registrations",
    "eid",
    "sites",
    "rejections",
    "history",
    "subscriptions",
    "statistics",
)
_ONLY_TLS = """() => {
    const rows = [...document.querySelectorAll("main tbody tr")];
    return rows.length && rows.every((each) => each.textContent.includes("TLS"));
}"""
_POOR_CONTRAST = (CHECKOUT / "tests" / "contrast.js").read_text()


class WebPageTests(WebPageCase):
    """What an operator sees and does."""

    @in_browser
    def test_overview_shows_what_is_going_on(self) -> None:
        """Totals, charts, listeners, history; nothing is asked of another host."""
        page = self.open()
        for transport in TRANSPORTS:
            listening = page.locator("section", has_text="Listening").locator("tr")
            listening.filter(has_text=transport).get_by_text("listening").first.wait_for()
        tile = page.locator("a.tile[href='#/sessions'] .value")
        self.assertGreaterEqual(int(tile.text_content()), len(TRANSPORTS))
        page.wait_for_function("document.querySelectorAll('.plot canvas').length === 4")
        page.get_by_text("Live", exact=True).wait_for()
        self.shot(page, "overview-light")
        self.leave(page)

    @in_browser
    def test_sessions_are_seen_with_their_transports(self) -> None:
        """And one of them with all its counters."""
        page = self.open("#/sessions")
        for transport in TRANSPORTS:
            self.row(page, transport).get_by_text("established").wait_for()
        page.locator("select[name=transport]").select_option("TLS")
        page.wait_for_function(_ONLY_TLS)
        self.assertIn("transport=TLS", page.url)
        page.locator("main tbody a").first.click()
        page.get_by_role("heading", name="Counters").wait_for()
        page.get_by_text("ETR Reliable Registration").first.wait_for()
        page.get_by_text("hmac-sha-256-128").first.wait_for()
        self.shot(page, "session-light")
        self.leave(page)

    @in_browser
    def test_registration_appears_without_reloading(self) -> None:
        """In the list, and in the newest lines of the overview."""
        overview, page = self.open(), self.open("#/registrations")
        self.row(page, "10.0.1.0/24")
        self.row(overview, "registered")
        page.evaluate("window.wasNotReloaded = true")
        self.do("register", "etr-0", "10.0.77.0/24")
        self.row(page, "10.0.77.0/24").get_by_text("campus").wait_for()
        self.row(overview, "10.0.77.0/24").get_by_text("registered").wait_for()
        self.assertTrue(page.evaluate("window.wasNotReloaded"))
        self.shot(page, "registrations-light")
        overview.context.close()
        self.leave(page)

    @in_browser
    def test_eid_is_found_and_followed_to_its_history(self) -> None:
        """An EID inside the prefix: what it is answered and why, and what became of it so far."""
        self.do("register", "etr-1", "10.1.88.0/24")
        self.do("withdraw", "etr-1", "10.1.88.0/24")
        page = self.open("#/registrations", color_scheme="dark")
        page.locator("#lookup-eid").fill("10.1.88.5")
        page.keyboard.press("Enter")
        page.get_by_text("does not resolve").first.wait_for()
        page.get_by_text("negative Map-Reply", exact=True).wait_for()
        self.row(page, "withdrawn").get_by_text("10.1.88.0/24").wait_for()
        self.do("register", "etr-1", "10.1.88.0/24")
        page.get_by_text("resolves", exact=True).wait_for()
        page.get_by_role("heading", name="Registered 10.1.88.0/24").wait_for()
        self.row(page, "registered").get_by_text("127.0.0.11").first.wait_for()
        self.shot(page, "eid-dark")
        self.leave(page)

    @in_browser
    def test_merged_registration_shows_each_xtr(self) -> None:
        """With its own record, beside what they come to together."""
        page = self.open("#/eid?eid=10.200.1.0/24&instance_id=0")
        page.get_by_role("heading", name="Merged").wait_for()
        parts = page.locator(".part h3")
        self.assertEqual(parts.count(), 2)
        text = " ".join(parts.all_text_contents())
        self.assertIn("127.0.0.10", text)
        self.assertIn("127.0.0.11", text)
        keys = page.locator(".part").get_by_text("hmac-sha-256-128")
        self.assertEqual(keys.count(), 2)
        self.leave(page)

    @in_browser
    def test_trouble_is_asked_for_and_what_is_left_is_told(self) -> None:
        """Sessions with errors, and a merged mapping of which a part is withdrawn."""
        page = self.open("#/sessions?troubled=false")
        self.row(page, "established")
        for name in ("etr-1", "etr-2"):
            self.do("register", name, "10.200.9.0/24")
        self.do("withdraw", "etr-1", "10.200.9.0/24")
        history = self.open("#/history?eid=10.200.9.0%2F24&event=withdrawn")
        self.row(history, "RLOCs left: ").get_by_text(host_of(2)).wait_for()
        self.leave(page)

    @in_browser
    def test_session_is_seen_to_die(self) -> None:
        """Its row says so and goes; its own page says so and stays."""
        page = self.open("#/sessions")
        row = self.row(page, f"{host_of(MORTAL)}:")
        address = row.locator("a").first.get_attribute("href")
        detail = self.open(address)
        detail.get_by_role("heading", name="Counters").wait_for()
        self.do("kill", address.rpartition("/")[2])
        row.get_by_text("ended").wait_for()
        self.shot(page, "session-ends-light")
        row.wait_for(state="detached")
        detail.get_by_text("This session has ended").wait_for()
        # The browser itself logs the 404 by which the page knows.
        self.complaints = [each for each in self.complaints if "404" not in each]
        detail.context.close()
        self.leave(page)

    @in_browser
    def test_names_of_sites_are_text(self) -> None:
        """Whatever they are: one has a tag in it."""
        page = self.open("#/sites")
        name = "branch <b>Zürich</b>"
        page.get_by_role("link", name=name).click()
        page.get_by_role("heading", name=f"Site {name}").wait_for()
        page.get_by_text("172.16.0.0/12").first.wait_for()
        self.assertEqual(page.locator("main b", has_text="Zürich").count(), 0)
        self.leave(page)

    @in_browser
    def test_refused_registration_is_shown_with_its_rule(self) -> None:
        """By rule, and among the newest."""
        page = self.open("#/rejections")
        self.do("register", "etr-0", "192.168.5.0/24")
        self.row(page, "192.168.5.0/24").get_by_text("not a valid site EID-prefix").wait_for()
        self.assertEqual(page.locator("main table").count(), 2)
        self.shot(page, "rejections-light")
        self.leave(page)

    @in_browser
    def test_every_page_fits_a_phone(self) -> None:
        """Nothing is wider than the window, in light or dark, and no page complains."""
        page = self.open(viewport=PHONE, color_scheme="dark", has_touch=True)
        for name in (*_PAGES, "sites/campus", "eid?eid=10.0.1.0/24&instance_id=0"):
            page.goto(f"{self.url}#/{name}")
            self.ready(page, name)
            wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
            self.assertLessEqual(wide, 0, name)
        page.get_by_role("button", name="Menu").tap()
        page.get_by_role("link", name="Sessions", exact=True).tap()
        self.row(page, "established")
        wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        self.assertLessEqual(wide, 0)
        self.shot(page, "sessions-phone-dark")
        self.leave(page)

    @in_browser
    def test_light_and_dark_follow_the_system_and_the_button(self) -> None:
        """The choice outlasts a reload."""
        ground = "getComputedStyle(document.body).backgroundColor"
        page = self.open(color_scheme="dark")
        dark = page.evaluate(ground)
        page.get_by_role("button", name="Light", exact=True).click()
        light = page.evaluate(ground)
        self.assertNotEqual(dark, light)
        page.reload()
        page.wait_for_selector("h1")
        self.assertEqual(page.evaluate(ground), light)
        page.get_by_role("button", name="Dark", exact=True).click()
        self.assertEqual(page.evaluate(ground), dark)
        self.leave(page)

    @in_browser
    def test_keyboard_alone_leads_to_an_eid(self) -> None:
        """By the skip link, the rows of a table, and the search field; focus is always seen."""
        page = self.open("#/registrations")
        self.row(page, "10.0.1.0/24")
        page.keyboard.press("Tab")
        focused = "document.activeElement"
        self.assertEqual(page.evaluate(f"{focused}.textContent"), "Skip to the content")
        self.assertGreaterEqual(page.evaluate(f"{focused}.getBoundingClientRect().top"), -60)
        page.keyboard.press("Enter")
        self.assertEqual(page.evaluate(f"{focused}.id"), "main")
        page.keyboard.press("j")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("k")
        first = page.evaluate(f"{focused}.textContent")
        self.assertEqual(first, page.locator("main tbody a").first.text_content())
        outline = page.evaluate(f"getComputedStyle({focused}).outlineStyle")
        self.assertEqual(outline, "solid")
        page.keyboard.press("Enter")
        page.get_by_role("heading", name=first, exact=True).wait_for()
        self.assertEqual(page.evaluate(f"{focused}.nodeName"), "H1")
        page.keyboard.press("/")
        page.keyboard.type("[7] 10.1.2.3")
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="[7] 10.1.2.3", exact=True).wait_for()
        page.keyboard.press("?")
        page.get_by_role("dialog").wait_for()
        page.keyboard.press("Escape")
        page.get_by_role("dialog").wait_for(state="detached")
        self.leave(page)

    @in_browser
    def test_token_is_asked_for_and_allows_to_clear_a_session(self) -> None:
        """Without it nothing is shown but the form; with it a session can be cleared, once the
        operator has confirmed.
        """
        page = self.open("#/sessions", server="guarded", until="dialog")
        page.get_by_text("The token is missing").wait_for()
        self.assertEqual(page.locator("main tbody tr").count(), 0)
        page.locator("#token-input").fill("wrong-token-of-somebody")
        page.get_by_role("button", name="Use it").click()
        page.get_by_text("The token is wrong").wait_for()
        page.locator("#token-input").fill(TOKEN)
        page.get_by_role("button", name="Use it").click()
        row = self.row(page, "127.0.0.10:")
        identity = row.locator("a").first.get_attribute("href")
        row.get_by_role("button", name="Clear").click()
        page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
        row.get_by_text("established").wait_for()
        row.get_by_role("button", name="Clear").click()
        page.get_by_role("dialog").get_by_role("button", name="Clear the session").click()
        row.get_by_text("ended").wait_for()
        # The ETR comes back by itself.
        other = page.locator(f'main tbody tr:not(:has(a[href="{identity}"]))')
        other.filter(has_text="127.0.0.10:").get_by_text("established").wait_for()
        self.complaints = [each for each in self.complaints if "401" not in each]
        self.leave(page)

    @in_browser
    def test_etr_shows_its_map_servers_and_mappings(self) -> None:
        """And nothing of a role that it has not."""
        page = self.open("#/map-servers", server="etr")
        self.row(page, "TCP")
        page.get_by_text("established").first.wait_for()
        self.shot(page, "map-servers-light")
        page.get_by_role("link", name="Mappings", exact=True).click()
        self.row(page, "10.0.1.0/24").get_by_text("stable").wait_for()
        self.assertEqual(page.locator("nav").get_by_text("Sessions").count(), 0)
        for name in ("overview", "statistics"):
            page.goto(f"{self.url}#/{name}")
            self.ready(page, name)
        self.leave(page)

    @in_browser
    def test_lost_connection_is_said_and_comes_back_by_itself(self) -> None:
        """What was shown stays meanwhile."""
        page = self.open("#/sessions")
        self.row(page, "established")
        page.context.set_offline(True)
        page.get_by_text("Not connected").wait_for()
        page.locator("#banner").get_by_text("Trying again").wait_for()
        self.row(page, "established")
        self.shot(page, "connection-lost-light")
        page.context.set_offline(False)
        page.get_by_text("Live", exact=True).wait_for()
        page.locator("#banner").wait_for(state="hidden")
        self.complaints = [each for each in self.complaints if "ERR_INTERNET" not in each]
        self.leave(page)

    @in_browser
    def test_contrast_is_enough_everywhere(self) -> None:
        """WCAG AA, 4.5 to 1, for every text on what is behind it, in light and dark."""
        page = self.open()
        for name in (*_PAGES, "eid?eid=10.0.1.0/24&instance_id=0", "sites/campus"):
            page.goto(f"{self.url}#/{name}")
            self.ready(page, name)
            for scheme in ("light", "dark"):
                page.emulate_media(color_scheme=scheme)
                self.assertEqual(page.evaluate(_POOR_CONTRAST), [], f"{scheme} {name}")
        self.leave(page)


class PackageTests(SynchronousTestCase):
    """The files of the page."""

    static = CHECKOUT / "lispmsrt" / "web" / "static"

    def test_no_file_names_another_host(self) -> None:
        """But for where the chart library comes from."""
        for path in self.static.rglob("*"):
            if path.is_file() and "vendor" not in path.parts:
                found = re.findall(r"(?:https?:)?//[\w.-]+\.\w+", path.read_text())
                self.assertEqual([each for each in found if "www.w3.org" not in each], [], path)

    def test_no_file_makes_markup_of_data(self) -> None:
        """Nor code."""
        for path in self.static.rglob("*.js"):
            if "vendor" not in path.parts:
                words = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|Function\("
                self.assertIsNone(re.search(words, path.read_text()), path)

    def test_markup_has_no_script_or_style_of_its_own(self) -> None:
        """The Content-Security-Policy would not let them be."""
        text = (self.static / "index.html").read_text()
        self.assertEqual(re.findall(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", text), [])

    def test_chart_library_comes_with_its_licence(self) -> None:
        """And says which version it is."""
        folder = self.static / "vendor" / "uplot"
        self.assertIn("MIT License", (folder / "LICENSE").read_text())
        self.assertRegex((folder / "README").read_text(), r"uPlot 1\.6\.\d+")

    def test_modules_are_small(self) -> None:
        """As everywhere in the package."""
        for path in self.static.rglob("*.js"):
            if "vendor" not in path.parts:
                self.assertLess(len(path.read_text().splitlines()), 400, path)


if os.environ.get("LISPMSRT_PICTURES"):

    class PictureTests(WebPageCase):
        """The pictures of the documentation, made on demand of a scene with some life in it."""

        options: ClassVar[tuple[str, ...]] = ("--many", "400", "--etrs", "14", "--churn")

        @in_browser
        def test_pictures_are_made(self) -> None:
            """The overview once its charts have a minute, and an EID that several registered."""
            images = CHECKOUT / "docs" / "images"
            images.mkdir(exist_ok=True)
            page = self.open()
            page.wait_for_timeout(75_000)
            page.screenshot(path=images / "overview-light.png")
            eid = self.open("#/eid?eid=10.200.1.5&instance_id=0", color_scheme="dark")
            eid.get_by_role("heading", name="Merged").wait_for()
            self.row(eid, "registered")
            eid.screenshot(path=images / "eid-dark.png")
            for path in images.glob("*.png"):
                self.assertLess(path.stat().st_size, 150_000, path)
            eid.context.close()
            self.leave(page)


if os.environ.get("LISPMSRT_LONG"):

    class ScaleTests(WebPageCase):
        """A million registrations and ten thousand sessions."""

        module: ClassVar[str] = "tests.browser_scale"
        timeout = 900

        @in_browser
        def test_pages_stay_quick(self) -> None:
            """Each asks for little and shows little, however much there is."""
            page = self.open()
            asked: list[str] = []
            page.on("request", lambda request: asked.append(request.url))
            for name in (*_PAGES, "registrations?eid=10.5.0.0/16", "eid?eid=10.5.5.5"):
                asked.clear()
                began = page.evaluate("performance.now()")
                page.goto(f"{self.url}#/{name}")
                self.ready(page, name)
                took = page.evaluate("performance.now()") - began
                page.locator("main").get_by_text("Loading…").wait_for(state="detached")
                rows = page.evaluate("document.querySelectorAll('main tbody tr').length")
                requests = len([each for each in asked if "/stream" not in each])
                print(f"{name}: {took:.0f} ms, {rows} rows, {requests} requests")
                self.assertLessEqual(requests, 8, asked)
                if name != "statistics":
                    self.assertLessEqual(rows, 64)
            page.goto(f"{self.url}#/registrations")
            page.locator(".range", has_text=f"of {REGISTRATIONS:,} registrations").wait_for()
            page.get_by_role("button", name="Next").click()
            page.locator(".range", has_text=re.compile("^51.100 of")).wait_for()
            page.get_by_role("button", name="Previous").click()
            page.locator(".range", has_text=re.compile("^1.50 of")).wait_for()
            page.goto(f"{self.url}#/sessions")
            page.locator(".range", has_text=f"of {SESSIONS:,} sessions").wait_for()
            self.shot(page, "sessions-many-light")
            self.leave(page)
