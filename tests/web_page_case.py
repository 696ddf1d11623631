"""What tests of the web page have in common: windows, and what must not go wrong in them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ClassVar
from urllib.parse import urlsplit

from twisted.trial.unittest import SynchronousTestCase

from tests.browser import SCREENSHOTS, Stage, is_missing

__all__ = ["DESKTOP", "PHONE", "WebPageCase", "in_browser"]

_WAIT = 30_000
"""Milliseconds after which something will never come about, however slow the machine is."""

DESKTOP = {"width": 1280, "height": 860}
PHONE = {"width": 390, "height": 844}


def in_browser(story: Callable[..., None]) -> Callable[..., None]:
    """Run a test in the browser's thread."""

    @functools.wraps(story)
    def test(case: WebPageCase) -> None:
        case.stage().act(functools.partial(story, case))

    return test


class WebPageCase(SynchronousTestCase):
    """Windows of a browser over a live Map-Server."""

    timeout = 300
    if reason := is_missing():
        skip = reason

    module: ClassVar[str] = "tests.browser_ground"
    "what runs as the server's side"
    options: ClassVar[tuple[str, ...]] = ()
    "of it"
    _stage: ClassVar[Stage | None] = None
    _waiting: ClassVar[int] = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        type(self)._waiting += 1

    def setUp(self) -> None:
        """What went wrong in a page is kept; the last test ends browser and server."""
        self.complaints: list[str] = []
        self.hosts: set[str] = set()
        self.addCleanup(self._leave)

    def _leave(self) -> None:
        kind = type(self)
        kind._waiting -= 1
        if not kind._waiting and kind._stage is not None:
            kind._stage.close()
            kind._stage = None

    def stage(self) -> Stage:
        """Return the running server and browser."""
        kind = type(self)
        if kind._stage is None:
            kind._stage = Stage(*self.options, module=self.module)
        return kind._stage

    # A page

    def open(
        self,
        where: str = "#/overview",
        *,
        server: str = "readable",
        until: str = "h1",
        **options: Any,
    ) -> Any:
        """Return a page of a new browser window that shows this; ``server`` is a key of the
        ground's facts.
        """
        stage = self.stage()
        options = {"viewport": DESKTOP, "color_scheme": "light", "locale": "en-GB", **options}
        context = stage.browser.new_context(**options)
        context.set_default_timeout(_WAIT)
        page = context.new_page()
        page.on("console", self._on_console)
        page.on("pageerror", lambda failure: self.complaints.append(f"error: {failure}"))
        page.on("request", lambda request: self.hosts.add(urlsplit(request.url).netloc))
        facts = stage.ground.facts
        self.url = facts[server]
        page.goto(self.url + where)
        page.wait_for_selector(until)
        return page

    def _on_console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.type}: {message.text}")

    def leave(self, page: Any) -> None:
        """Close a window in which nothing went wrong."""
        page.context.close()
        self.assertEqual(self.complaints, [])
        self.assertEqual(self.hosts, {urlsplit(self.url).netloc})

    def shot(self, page: Any, name: str) -> None:
        """Keep what is seen."""
        page.screenshot(path=SCREENSHOTS / f"{name}.png")

    def row(self, page: Any, text: str) -> Any:
        """Return the row of a table with this in it, once it is there."""
        found = page.locator("main tbody tr", has_text=text).first
        found.wait_for()
        return found

    def ready(self, page: Any, name: str) -> None:
        """Wait until a page shows all that it has fetched first."""
        page.locator(f'main .content[data-ready="#/{name}"]').wait_for()

    def do(self, *words: object) -> None:
        """Have the server's side do something."""
        self.stage().ground.do(*words)
