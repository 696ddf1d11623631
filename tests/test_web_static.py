"""The page's files: types, conditional requests, and headers that keep other pages out."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.web.static_files import STATIC, StaticFiles
from tests.management_ground import ManagementGround


class StaticTests(ManagementGround):
    """Over HTTP."""

    def setUp(self) -> None:
        super().setUp()
        self.start()

    async def test_every_file_of_the_page_is_served_with_its_type(self) -> None:
        """All that index.html names, too."""
        page = (await self.get("/")).body.decode()
        names = re.findall(r'(?:src|href)="(static/[^"]+)"', page)
        self.assertGreater(len(names), 3)
        kinds = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
        for name in names:
            answer = await self.get(f"/{name}")
            self.assertEqual(answer.status, 200, name)
            self.assertTrue(answer.headers["content-type"].startswith(kinds[Path(name).suffix]))
            self.assertEqual(answer.body, (STATIC.parent / name).read_bytes())

    async def test_what_has_not_changed_is_not_sent_again(self) -> None:
        """By its ETag."""
        first = await self.get("/")
        again = await self.get("/", headers={"If-None-Match": first.headers["etag"]})
        self.assertEqual((again.status, again.body), (304, b""))
        other = await self.get("/", headers={"If-None-Match": '"other"'})
        self.assertEqual(other.status, 200)
        self.assertEqual(first.headers["cache-control"], "no-cache")

    async def test_every_answer_keeps_other_pages_out(self) -> None:
        """Files, JSON and refusals alike; nothing comes from another host."""
        for path in ("/", "/api/v1/overview", "/nowhere", "/static/"):
            headers = (await self.get(path)).headers
            policy = headers["content-security-policy"]
            self.assertIn("default-src 'self'", policy)
            self.assertIn("frame-ancestors 'none'", policy)
            self.assertEqual(headers["x-content-type-options"], "nosniff")
            self.assertEqual(headers["referrer-policy"], "no-referrer")
            self.assertEqual(headers["server"], "lispmsrt")

    async def test_nothing_else_of_the_machine_is_served(self) -> None:
        """However the path is written."""
        for path in (
            "/static/../gate.py",
            "/static/%2e%2e/gate.py",
            "/static/..%2fgate.py",
            "/static//etc/passwd",
            "/static/",
            "/static/index.html%00.js",
        ):
            self.assertEqual((await self.get(path)).status, 404, path)


class DirectoryTests(SynchronousTestCase):
    """Which files are found."""

    def test_only_known_types_are_served(self) -> None:
        """Not what an editor left."""
        directory = Path(self.mktemp())
        (directory / "a").mkdir(parents=True)
        for name in ("index.html", "a/b.js", "a/b.js~", "c.py", ".d.js"):
            (directory / name).write_text("x")
        files = StaticFiles(directory)
        for path, is_there in (
            ("/", True),
            ("/static/index.html", True),
            ("/static/a/b.js", True),
            ("/static/a/b.js~", False),
            ("/static/c.py", False),
            ("/static/.d.js", False),
            ("/index.html", False),
        ):
            self.assertEqual(path in files, is_there, path)
