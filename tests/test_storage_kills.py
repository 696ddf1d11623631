"""``kill -9`` and power cuts at any moment: in a burst, while the journal is renewed, at any octet
of the write-ahead log. LISPMSRT_LONG=1 does it many times.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase

from lispmsrt import Etr, parse_config
from lispmsrt.storage import memory as memory_module
from lispmsrt.storage import renewal, saving
from lispmsrt.storage.seconds import this_moment
from tests.rim import etr_text, map_server_text, mapping
from tests.running import Child, free_port, start
from tests.test_storage_model import TIMEOUT, Known, Node

_IS_LONG = bool(os.environ.get("LISPMSRT_LONG"))
_KILLS = 20 if _IS_LONG else 1
_CUTS = 500 if _IS_LONG else 30
_STARTED = "LISP control on UDP"


class PowerCutTests(SynchronousTestCase):
    """The write-ahead log ends at any octet."""

    def setUp(self) -> None:
        """Small portions, so that a burst is many; nothing of the log is in the database yet."""
        self.patch(memory_module, "_PORTION", 7)
        self.patch(renewal, "_AT_ONCE", 20)
        self.patch(renewal, "_SLACK", 50)
        self.patch(saving, "_SEGMENT", 5)
        self.patch(saving, "_SYNC", 1e9)
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir(mode=0o700)
        self.states: list[Known] = []
        "what was registered whenever something was written"

    def _live(self, random: Random) -> tuple[Path, int]:
        """Have a life of changes and renewals; return the file and how often it was renewed."""
        path = self.directory / "map-server.state"
        clock = Clock()
        node = Node(path, clock)
        file, removed = node.file, 0
        write = file.write

        def noting(statements: Any) -> None:
            nonlocal removed
            statements = list(statements)
            removed += any(
                sql.startswith("DELETE FROM segment") and rows for sql, rows in statements
            )
            write(statements)
            self.states.append(self._content(path))

        self.patch(file, "write", noting)
        self.states.append({})
        for _step in range(60):
            for _change in range(random.randrange(30)):
                eid = f"10.1.{random.randrange(4)}.{random.randrange(16)}/32"
                node.change(eid, random.randrange(1, 3), random.randrange(4), 0)
            clock.pump([0.05] * random.randrange(1, 20))
        copy = self.directory / "killed"
        copy.mkdir(mode=0o700)
        for one in self.directory.glob("map-server.state*"):
            shutil.copy(one, copy)
        node.kill()
        return copy / path.name, removed

    def _content(self, path: Path) -> Known:
        """Return what a process that begins now would know, from a copy."""
        copy = Path(tempfile.mkdtemp(dir=self.directory))
        for suffix in ("", "-wal"):
            if (one := path.with_name(path.name + suffix)).exists():
                shutil.copy(one, copy)
        clock = Clock()
        node = Node(copy / path.name, clock)
        clock.pump([0.01] * 400)
        self.assertFalse(node.remembering.is_partial)
        self.assertEqual(node.remembering.counters["files set aside"], 0)
        known = node.known()
        node.kill()
        shutil.rmtree(copy)
        return known

    def test_what_is_there_is_a_whole_portion(self) -> None:
        """However much of the log is lost; and of the longest all is there."""
        random = Random(11)
        path, renewed = self._live(random)
        self.assertGreater(renewed, 1)
        self.assertGreater(len(self.states), 50)
        wal = path.with_name(f"{path.name}-wal")
        whole = wal.read_bytes()
        found = []
        for cut in sorted([random.randrange(len(whole)) for _ in range(_CUTS)] + [len(whole)]):
            wal.write_bytes(whole[:cut])
            found.append(self._content(path))
            self.assertIn(found[-1], self.states, f"cut at {cut}")
        self.assertEqual(found[-1], self.states[-1])
        self.assertGreater(len([one for one in found if one != found[-1]]), 10)


class _Registers(DatagramProtocol):
    """A Map-Server that never answers."""

    def __init__(self) -> None:
        self.heard: list[tuple[bytes, int]] = []
        "xTR-ID and nonce of each Map-Register"

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.heard.append((datagram[-24:-8], int.from_bytes(datagram[4:12], "big")))


class KilledEtrTests(TestCase):
    """A real ETR in a real process."""

    timeout = 3000 if _IS_LONG else 600

    async def test_it_is_the_same_xtr_and_counts_on(self) -> None:
        """Killed after one Map-Register or a few; though its nonces are ahead of the wall clock."""
        port, directory = free_port("127.0.0.1", "127.0.0.2"), Path(self.mktemp()).absolute()
        path = Path(self.mktemp()).absolute()
        text = etr_text("10.1.1.0/24", options=f'state-dir = "{directory}"')
        path.write_text(text.replace("4342", str(port)))
        registers = _Registers()
        listening = reactor.listenUDP(port, registers, interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(listening.stopListening)
        xtr_id, highest, random = b"", 0, Random(9)
        for life in range(_KILLS + 1):
            registers.heard.clear()
            child = start(self, reactor, "-n", "--pidfile=", "lispmsrt", "--config", str(path))
            while not registers.heard:
                await deferLater(reactor, 0.05, lambda: None)
            await deferLater(reactor, 0.5 * random.random(), lambda: None)
            child.signal("KILL")
            await child.ended
            self.assertNotIn("Traceback", child.output)
            ids, nonces = map(set, zip(*registers.heard, strict=True))
            if life == 0:
                xtr_id = registers.heard[0][0]
                # As if the wall clock had been years ahead.
                kept = directory / "etr-identity.json"
                kept.write_text(json.dumps({"xtr-id": xtr_id.hex(), "nonce": 1 << 62}))
                highest = 1 << 62
            else:
                self.assertGreater(min(nonces), highest)
                highest = max(nonces)
            self.assertEqual(ids, {xtr_id})


class KilledDaemonTests(TestCase):
    """A real Map-Server in a real process."""

    timeout = 3000 if _IS_LONG else 600

    def setUp(self) -> None:
        """Ports and a place for the state."""
        self.port = free_port("127.0.0.1", "127.0.0.2")
        self.state = Path(self.mktemp()).absolute() / "map-server.state"

    def _map_server(self) -> Child:
        path = Path(self.mktemp()).absolute()
        options = f'state = "{self.state}"\nregistration-timeout = {TIMEOUT}'
        path.write_text(map_server_text(port=self.port, options=options))
        return start(self, reactor, "-n", "--pidfile=", "lispmsrt", "--config", str(path))

    def _known(self) -> Known:
        """Return what the file has, as a process that begins now would know it."""
        copy = Path(self.mktemp()).absolute()
        copy.mkdir(mode=0o700)
        for one in self.state.parent.glob(f"{self.state.name}*"):
            shutil.copy(one, copy)
        clock = Clock()
        node = Node(copy / self.state.name, clock, this_moment)
        for _turn in range(2000):
            if not node.remembering.is_partial:
                break
            clock.advance(0.001)
        counters = node.remembering.counters
        self.assertEqual((counters["files set aside"], counters["not restored, damaged"]), (0, 0))
        known = node.known()
        node.kill()
        return known

    async def test_while_the_journal_is_renewed(self) -> None:
        """Everything is there all the time."""
        expected = self._fill()
        random = Random(7)
        for _kill in range(_KILLS):
            # Many a life is long enough for all of it.
            self._lengthen()
            newest = self._newest()
            child = self._map_server()
            await self._until(lambda newest=newest: self._newest() > newest)  # type: ignore[misc]
            # All of it takes another second.
            await deferLater(reactor, 1.5 * random.random(), lambda: None)
            child.signal("KILL")
            await child.ended
            self.assertNotIn("Traceback", child.output)
            self.assertEqual(self._known(), expected)

    def _newest(self) -> int:
        """Return the number of the newest segment."""
        with closing(sqlite3.connect(self.state)) as file:
            ((newest,),) = file.execute("SELECT max(number) FROM segment")
        return int(newest)

    def _written(self) -> int:
        """Return how many EID-prefixes the file has, while the daemon runs."""
        with closing(sqlite3.connect(self.state)) as file:
            rows = file.execute("SELECT names FROM segment").fetchall()
        return len({names[at : at + 8] for (names,) in rows for at in range(0, len(names), 8)})

    def _fill(self) -> Known:
        """Make a journal in which every EID-prefix stands twice."""
        clock = Clock()
        with patch.object(renewal, "_SLACK", 10**9):
            for rloc in (2, 3):
                node = Node(self.state, clock, this_moment)
                for number in range(12_000):
                    node.change(f"10.1.{number >> 8}.{number & 255}/32", 1, rloc, 0)
                while node.remembering.unwritten or node.remembering.is_partial:
                    clock.advance(0.05)
                clock.advance(1.0)
                known = node.known()
                node.kill()
        return known

    def _lengthen(self) -> None:
        """Have the journal say all of it again, until it is so long that it will be renewed."""
        with closing(sqlite3.connect(self.state)) as file, file:
            while file.execute("SELECT sum(count) FROM segment").fetchone() < (60_000,):
                file.execute(
                    "INSERT INTO segment SELECT number + (SELECT max(number) FROM segment),"
                    " family, count, names, sizes, parts, sum FROM segment"
                )

    async def test_in_a_burst(self) -> None:
        """Nothing is in the file that was not registered; and it goes on with that."""
        eids = [f"10.1.{number >> 8}.{number & 255}/32" for number in range(3000)]
        random = Random(8)
        options = f'transports = ["tcp:127.0.0.1:{self.port}"]'
        text = etr_text(server_options=options).replace("4342", str(self.port))
        for _kill in range(_KILLS):
            child = self._map_server()
            await child.says(_STARTED)
            config = parse_config(text).etr
            assert config is not None
            etr = Etr(config, reactor)
            etr.startService()
            acknowledged = [etr.register(mapping(eid, "127.0.0.2")) for eid in eids]
            await acknowledged[random.randrange(len(eids))]
            await deferLater(reactor, 0.3 * random.random(), lambda: None)
            child.signal("KILL")
            await child.ended
            self.assertNotIn("Traceback", child.output)
            before = self._known()
            child = self._map_server()
            await child.says(_STARTED)
            await gatherResults(acknowledged)
            await self._until(lambda: self._written() == len(eids))
            child.signal("KILL")
            await child.ended
            await etr.stopService()
            # What the ETR says again changes nothing that was in the file.
            after = self._known()
            self.assertEqual({name: after[name] for name in before}, before)
            for one in self.state.parent.glob(f"{self.state.name}*"):
                one.unlink()

    async def _until(self, is_so: Any) -> None:
        while not is_so():
            await deferLater(reactor, 0.1, lambda: None)
