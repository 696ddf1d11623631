"""The commands against a live Map-Server and ETR, over the Unix socket of their endpoint."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from lispmsrt.cli.show import VIEWS
from tests.management_ground import ManagementGround
from tests.running import CHECKOUT
from tests.show_ground import Ran, run

_POSITIONALS = {"session": ["127.0.0.2"], "site": ["campus"], "eid": ["10.1.1.5"]}


class LiveTests(ManagementGround):
    """A process with both roles, and a session between them."""

    eids = ("10.1.1.0/24", "10.1.2.0/24")

    def go(self, coroutine: Coroutine[Any, Any, None]) -> Deferred[None]:
        """Run a test once both EID-prefixes are registered over the session."""

        async def main() -> None:
            self.start()
            await self.until(lambda: self.registrations() == len(self.eids))
            await coroutine

        return Deferred.fromCoroutine(main())

    def registrations(self) -> int:
        """Return how many live sessions hold."""
        return self.views.overview().reliable_registrations

    async def done(self, *arguments: str, code: int = 0) -> str:
        """Run a command while the daemon goes on; return what it prints."""
        ran: Ran = await deferToThread(run, *arguments, "--socket", self.socket)
        self.assertEqual((ran.code, ran.errors), (code, ""), arguments)
        return ran.output

    def test_every_view_is_understood(self) -> Deferred[None]:
        """What the endpoint gives is what the commands expect."""

        async def test() -> None:
            for view in VIEWS:
                words = ["show", view.name, *_POSITIONALS.get(view.name, [])]
                self.assertTrue(await self.done(*words))
                json.loads(await self.done(*words, "--json"))

        return self.go(test())

    def test_every_filter_is_understood(self) -> Deferred[None]:
        """None is refused as unknown, or as of the wrong form."""

        async def test() -> None:
            for words, found in (
                ("sessions --site campus --transport tcp --since 5m --state established", 1),
                ("sessions --state starting", 0),
                ("sessions --peer 127.0.0.2", 1),
                ("registrations --site campus --instance-id 0 --transport TCP --since 1h", 2),
                ("registrations --eid 10.1.1.5", 1),
                ("registrations --xtr-id 00000000000000000000000000000000", 0),
                ("history --site campus --instance-id 0 --event withdrawn --eid 10.0.0.0/8", 0),
                ("history --limit 1", 1),
                ("rejections --since 5m --transport UDP", 0),
                ("mappings --state stable --instance-id 0 --eid 10.1.0.0/16", 2),
                ("mappings --map-server 127.0.0.1", 2),
            ):
                text = await self.done("show", *words.split(), "--json")
                self.assertEqual(len(json.loads(text)["items"]), found, words)

        return self.go(test())

    def test_an_eid_is_explained(self) -> Deferred[None]:
        """The exit code says whether it resolves."""

        async def test() -> None:
            text = await self.done("explain", "10.1.1.5")
            self.assertIn("127.0.0.2", text)
            self.assertNotIn("PROBLEM", text)
            text = await self.done("explain", "10.1.9.1", code=1)
            self.assertIn("PROBLEM", text)
            self.assertIn("What to do", text)

        return self.go(test())

    def test_mappings_come_and_go_at_run_time(self) -> Deferred[None]:
        """One, some of a file, and none."""

        async def test() -> None:
            file = Path(self.directory, "mappings.toml")
            file.write_text(
                "".join(
                    f'[[mapping]]\neid-prefix = "10.1.{number}.0/24"\n'
                    'locators = [{ rloc = "127.0.0.2" }]\n'
                    for number in (11, 12)
                )
            )
            one = await self.done("register", "10.1.10.0/24", "--rloc", "127.0.0.2,1,50")
            self.assertEqual(one, "1 registered.\n")
            some = await self.done("register", "--file", str(file))
            self.assertEqual(some, "2 registered.\n")
            self.assertIn("10.1.12.0/24", await self.done("show", "registrations"))
            gone = await self.done("withdraw", "10.1.10.0/24", "10.1.11.0/24")
            self.assertEqual(gone, "2 withdrawn.\n")
            left = json.loads(await self.done("show", "registrations", "--json"))["items"]
            eids = [each["eid_prefix"] for each in left]
            self.assertEqual(eids, ["10.1.1.0/24", "10.1.2.0/24", "10.1.12.0/24"])
            refused = await deferToThread(
                run, "register", "172.16.0.0/12", "--rloc", "127.0.0.2", "--socket", self.socket
            )
            self.assertEqual((refused.code, refused.output), (2, "0 of 1 registered.\n"))
            self.assertIn("172.16.0.0/12: ", refused.errors)

        return self.go(test())

    def test_sessions_are_refreshed_and_cleared(self) -> Deferred[None]:
        """And the ETR comes back."""

        async def test() -> None:
            self.assertEqual(await self.done("refresh"), "1 session asked.\n")
            self.assertEqual(await self.done("refresh", "--site", "campus"), "1 session asked.\n")
            text = await self.done("clear", "session", "127.0.0.2")
            self.assertEqual(text, "1 session cleared.\n")
            nobody = await deferToThread(
                run, "clear", "session", "127.0.0.99", "--socket", self.socket
            )
            self.assertEqual((nobody.code, nobody.errors.count("\n")), (2, 1))
            self.assertIn("reloaded", await self.done("reload"))

        return self.go(test())

    def test_to_watch_ends_quietly_with_ctrl_c(self) -> Deferred[None]:
        """Nothing but what was seen is left on the screen."""

        async def test() -> None:
            child = subprocess.Popen(
                [
                    *(sys.executable, "-m", "lispmsrt", "show", "overview", "--watch", "0.1"),
                    *("--socket", self.socket),
                ],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
            )
            assert child.stdout is not None
            while "A second" not in await deferToThread(child.stdout.readline):
                self.assertIsNone(child.poll())
            child.send_signal(signal.SIGINT)
            _output, errors = await deferToThread(child.communicate)
            self.assertEqual((child.returncode, errors), (130, ""))

        return self.go(test())
