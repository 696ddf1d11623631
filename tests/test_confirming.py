"""Runs of Registrations that say again what the same xTR has registered otherwise."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from lispmsrt import Etr, MapServer
from lispmsrt.compiled import twin
from lispmsrt.mapping.database import Registration
from lispmsrt.mapping.likeness import Likenesses
from lispmsrt.mapping.registrar import Registrar
from tests.builders import OTHER_KEY, record
from tests.builders import Etr as EtrGround
from tests.builders import MapServer as MapServerGround
from tests.rim import mapping
from tests.service_ground import ETR_ONE, rlocs
from tests.test_storage import StorageGround

_EIDS = [f"10.1.{number}.0/24" for number in range(80)]


class WorkTests(SynchronousTestCase):
    """What is asked before there is a hash."""

    def test_what_nobody_confirms_is_not_hashed_for_it(self) -> None:
        """A wrong MAC in the name of what the session itself holds, or of what nobody has."""
        server, etr = MapServerGround(), EtrGround()
        peer = server.bring_up(etr, record("10.1.0.0/24"))
        checked = []
        run = Likenesses.run

        def counting(likenesses: Likenesses, *arguments: Any) -> Any:
            checked.append(arguments)
            return run(likenesses, *arguments)

        self.patch(Likenesses, "run", counting)
        forger = EtrGround(key=OTHER_KEY)
        for prefix in ("10.1.0.0/24", "10.1.1.0/24"):
            checked.clear()
            heard = peer.send(forger.registration(record(prefix)))
            self.assertEqual([answer[:2] for answer in heard], [("reject", 2)])
            # Without the compiled kernel the run itself is checked by it.
            self.assertEqual(len(checked), 0 if twin("lispmsrt.mapping._likeness") else 1)


class ConfirmingTests(StorageGround):
    """An ETR that returns after a restart, or over another session."""

    def setUp(self) -> None:
        """Count what goes the long way."""
        super().setUp()
        self.one_by_one = 0
        register = Registrar.register

        def counting(registrar: Registrar, *arguments: Any) -> Any:
            self.one_by_one += 1
            return register(registrar, *arguments)

        self.patch(Registrar, "register", counting)

    def registered(self) -> tuple[MapServer, Etr]:
        """Have all registered, and written."""
        server = self.remembering()
        etr = self.etr()
        self.network.run(10)
        self.register(etr, *_EIDS)
        self.network.run(2)
        return server, etr

    def parts(self, server: MapServer) -> list[Registration]:
        """Return what is registered."""
        return list(server.database.registrations())

    def assert_confirmed(self, server: MapServer) -> None:
        """All is held by the one live session, which will not end by itself."""
        (session,) = server.sessions
        lease = session.lease
        parts = self.parts(server)
        self.assertEqual({part.lease for part in parts}, {lease})
        assert lease is not None
        self.assertEqual(set(lease.held), set(parts))
        self.assertEqual([part.expires for part in parts], [None] * len(_EIDS))
        self.assertEqual(set(server.registrar.leases), {lease})

    def test_after_a_restart(self) -> None:
        """All but the first ones at once; it is no change, and nobody is told."""
        server, _etr = self.registered()
        since = {part.record: part.since for part in self.parts(server)}
        self.kill(server)
        server = self.remembering()
        self.network.run(0.1)
        self.assertEqual(self.restored(server), len(_EIDS))
        number, self.one_by_one = server.mapping.history.number, 0
        self.network.run(60)
        self.assertLess(self.one_by_one, 10)
        self.assert_confirmed(server)
        self.assertEqual(server.mapping.history.number, number)
        self.assertEqual({part.record: part.since for part in self.parts(server)}, since)
        self.assertGreaterEqual(server.registrar.accepted, len(_EIDS))
        self.assertEqual(self.memory_of(server).unwritten, 0)
        self.network.run(300)
        self.assertEqual(server.registrar.count, len(_EIDS))

    def test_after_a_lost_session(self) -> None:
        """What another lease of the same xTR holds, over UDP or not."""
        server, _etr = self.registered()
        self.cut(server)
        self.one_by_one = 0
        self.network.run(60)
        self.assertLess(self.one_by_one, 10)
        self.assert_confirmed(server)

    def test_what_differs_is_a_change(self) -> None:
        """In the midst of a run."""
        server, etr = self.registered()
        self.kill(server)
        etr.register(mapping(_EIDS[40], "198.51.100.7"))
        server = self.remembering()
        self.network.run(60)
        self.assert_confirmed(server)
        self.assertEqual(rlocs(self.ask("10.1.39.1")), [ETR_ONE])
        self.assertEqual(rlocs(self.ask("10.1.40.1")), ["198.51.100.7"])

    def test_of_another_xtr_it_is_none(self) -> None:
        """Who takes over an EID-prefix registers it anew."""
        server, etr = self.registered()
        etr.stopService()
        self.services.remove(etr)
        self.network.run(1)
        number = server.mapping.history.number
        other = self.etr(host="198.51.100.2")
        self.network.run(10)
        self.register(other, *_EIDS[:20], rloc=ETR_ONE)
        self.assertGreaterEqual(server.mapping.history.number, number + 20)
