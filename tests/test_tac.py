"""The two .tac files, run as their first lines say."""

from __future__ import annotations

from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.trial.unittest import TestCase

from tests.running import CHECKOUT, TERMINATED, Child, free_port, start


class TacTests(TestCase):
    """A Map-Server and an ETR in two processes."""

    timeout = 60

    def _start(self, name: str, port: int) -> Child:
        tac = str(CHECKOUT / "tap" / f"{name}.tac")
        return start(self, reactor, "--pidfile=", "-ny", tac, PORT=str(port))

    async def test_each_embeds_its_role_and_stops_cleanly(self) -> None:
        """A session, a mapping registered at run time; SIGTERM ends both with nothing amiss."""
        port = free_port("127.0.0.1", "127.0.0.2")
        server = self._start("map-server", port)
        await server.says("reliable transport on")
        etr = self._start("etr", port)
        await gatherResults([etr.says("10.1.2.0/24 is registered"), server.says("TCP is up")])
        self.assertIn(f"127.0.0.1:{port}: session up over TCP", etr.output)
        etr.signal("TERM")
        self.assertIn(await etr.ended, TERMINATED)
        self.assertIn("session down: we are stopping", etr.output)
        await server.says("the peer closed the connection")
        server.signal("TERM")
        self.assertIn(await server.ended, TERMINATED)
        for child in (server, etr):
            self.assertNotIn("Traceback", child.output)
            self.assertNotIn("Unhandled", child.output)
            self.assertNotIn("campus secret", child.output)

    def test_they_import_nothing_but_public_names(self) -> None:
        """And are short."""
        for name in ("map-server", "etr"):
            lines = (CHECKOUT / "tap" / f"{name}.tac").read_text().splitlines()
            ours = [line for line in lines if line.startswith(("from lispmsrt", "import lispmsrt"))]
            self.assertEqual([line.partition(" import ")[0] for line in ours], ["from lispmsrt"])
