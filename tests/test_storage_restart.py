"""A real Map-Server, killed and started again: what an operator gets of its state file."""

from __future__ import annotations

import json
import sqlite3
import stat
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from lispmsrt import Etr, parse_config
from lispmsrt.cli.api_client import Api, UnixConnection
from lispmsrt.config import SocketAddress
from lispmsrt.control.inquiries import Answer
from lispmsrt.services.requester import Requester
from lispmsrt.wire.addresses import EidPrefix
from tests.rim import etr_text, map_server_text, mapping
from tests.running import TERMINATED, Child, free_port, start

_STARTED = "LISP control on UDP"
_EIDS = [f"10.1.{number}.0/24" for number in range(100)]


class KilledTests(TestCase):
    """``kill -9`` while an ETR has registered, and SIGTERM."""

    timeout = 600

    def setUp(self) -> None:
        """Ports and a place for the state."""
        self.port = free_port("127.0.0.1", "127.0.0.2")
        self.state = Path(self.mktemp()).absolute() / "map-server.state"
        self.socket = f"/tmp/lispmsrt-{self.port}.sock"
        self.addCleanup(Path(self.socket).unlink, missing_ok=True)

    def _map_server(self) -> Child:
        path = Path(self.mktemp()).absolute()
        text = map_server_text(port=self.port, options=f'state = "{self.state}"')
        path.write_text(text)
        arguments = ("-n", "--pidfile=", "lispmsrt", "--config", str(path))
        return start(self, reactor, *arguments, LISPMSRT_SOCKET=self.socket)

    def _etr(self) -> Etr:
        options = f'transports = ["tcp:127.0.0.1:{self.port}"]'
        text = etr_text(server_options=options).replace("4342", str(self.port))
        config = parse_config(text).etr
        assert config is not None
        etr = Etr(config, reactor)
        etr.startService()
        return etr

    async def _ask(self, eids: Iterable[str]) -> list[Answer]:
        requester = Requester(reactor, SocketAddress("127.0.0.1", self.port), source="127.0.0.3")
        requester.startService()
        try:
            wanted = [EidPrefix.from_text(eid) for eid in eids]
            answers: list[Answer] = await gatherResults(map(requester.ask, wanted))
        finally:
            await requester.stopService()
        return answers

    async def _assert_all_answered(self) -> None:
        answers = await self._ask(_EIDS)
        self.assertEqual([answer.is_negative for answer in answers], [False] * len(_EIDS))

    async def _restored(self) -> int:
        return sum([one["restored"] for one in await self._registrations()])

    async def _registrations(self) -> list[dict[str, Any]]:
        def get() -> list[dict[str, Any]]:
            api = Api(lambda: UnixConnection(self.socket), self.socket)
            try:
                found: list[dict[str, Any]] = json.loads(api.get("/registrations?limit=1000"))[
                    "items"
                ]
                return found
            finally:
                api.close()

        return await deferToThread(get)

    async def _until_written(self) -> None:
        with closing(sqlite3.connect(self.state)) as file:
            while file.execute("SELECT total(count) FROM segment").fetchone() < (len(_EIDS),):
                await deferLater(reactor, 0.1, lambda: None)

    async def _until_confirmed(self) -> None:
        while await self._restored():
            await deferLater(reactor, 0.1, lambda: None)

    async def test_killed_after_an_ack(self) -> None:
        """Everything is answered from before, marked, and confirmed when the ETR is back."""
        child = self._map_server()
        await child.says(_STARTED)
        etr = self._etr()
        await gatherResults([etr.register(mapping(eid, "127.0.0.2")) for eid in _EIDS])
        await self._until_written()
        # The ETR must not come back before we have looked.
        await etr.stopService()
        child.signal("KILL")
        await child.ended
        self.assertEqual(stat.S_IMODE(self.state.stat().st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(self.state.parent.stat().st_mode), 0o700)
        child = self._map_server()
        await child.says(_STARTED)
        await self._assert_all_answered()
        self.assertEqual(await self._restored(), len(_EIDS))
        etr = self._etr()
        await gatherResults([etr.register(mapping(eid, "127.0.0.2")) for eid in _EIDS])
        await self._until_confirmed()
        self.assertEqual(len(await self._registrations()), len(_EIDS))
        self.assertNotIn("Traceback", child.output)
        await etr.stopService()

    async def test_terminated(self) -> None:
        """What was acknowledged in the last moment is in the file too."""
        child = self._map_server()
        await child.says(_STARTED)
        etr = self._etr()
        await gatherResults([etr.register(mapping(eid, "127.0.0.2")) for eid in _EIDS])
        child.signal("TERM")
        self.assertIn(await child.ended, TERMINATED)
        await etr.stopService()
        child = self._map_server()
        await child.says(_STARTED)
        await self._assert_all_answered()
        child.signal("TERM")
        self.assertIn(await child.ended, TERMINATED)
        self.assertNotIn("Traceback", child.output)

    async def test_two_daemons_with_one_file(self) -> None:
        """The second one serves, and keeps nothing."""
        first = self._map_server()
        await first.says(_STARTED)
        self.port = free_port("127.0.0.1", "127.0.0.2")
        second = self._map_server()
        said = await second.says("another process keeps its memory in")
        self.assertIn("nothing will outlive this process", said)
        for child in (first, second):
            child.signal("TERM")
            self.assertIn(await child.ended, TERMINATED)
