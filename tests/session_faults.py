"""Connections that are cut, paths that go silent, processes that are killed."""

from __future__ import annotations

from pathlib import Path

from twisted.internet import reactor

from lispmsrt.mapping.etr_states import EtrState
from tests.rim import mapping
from tests.running import start
from tests.session_blackhole import Blackhole
from tests.session_ground import SessionGround

__all__ = ["FaultTests"]


class FaultTests(SessionGround):
    """Whatever happens to a session, the next one is there in a moment and has everything."""

    async def test_a_session_that_is_cut_heals(self) -> None:
        """Ten times over, at the one end and at the other."""
        etr, listener = await self.start_both("10.1.1.0/24")
        for count in range(2, 12):
            if count % 2:
                self.stream_of(etr).abortConnection()
            else:
                self.server.reset(self.server.sessions[0])
            await self.until(
                lambda count=count: listener.names().count("up") == count, "it is up again"
            )
            await self.until_registered(etr)
        self.assertEqual(listener.names(), ["up", *["down", "up"] * 10])
        await self.until(lambda: len(self.server.sessions) == 1, "the earlier ones have ended")
        self.assertEqual(self.held(), {"10.1.1.0/24"})

    async def test_a_path_that_goes_silent_is_noticed_at_both_ends(self) -> None:
        """Though neither has anything to say; then the session comes back."""
        etr, listener = await self.start_both("10.1.1.0/24", quick=True)
        hole = Blackhole()
        self.addCleanup(hole.close)
        self.assertGreaterEqual(hole.open(), 4)
        (session,) = self.server.sessions
        await self.until(lambda: listener.names() == ["up", "down"], "the ETR notices")
        await self.until(lambda: not self.server.sessions, "the Map-Server notices")
        assert session.close_reason is not None
        self.assertEqual(session.close_reason.name, "CONNECTION_LOST")
        self.assertEqual(listener.heard[1][2], "CONNECTION_LOST")
        hole.close()
        await self.until(lambda: listener.names()[2:] == ["up"], "it is up again")
        await self.until_registered(etr)

    async def test_a_path_that_goes_silent_under_load_is_noticed(self) -> None:
        """While the control plane still gets through, and Registrations are on their way."""
        etr, listener = await self.start_both("10.1.1.0/24", quick=True)
        for prefix in self.eids(500):
            etr.links[0].register(self.mapping_of(prefix), awaited=False)
        hole = Blackhole()
        self.addCleanup(hole.close)
        hole.open(lambda each: each.getsockname()[1] != self.port)
        for prefix in self.eids(1000)[500:]:
            etr.links[0].register(self.mapping_of(prefix), awaited=False)
        await self.until(lambda: "down" in listener.names(), "the ETR notices")
        hole.close()
        await self.until(lambda: listener.names().count("up") == 2, "it is up again")
        await self.until_registered(etr)
        await self.until(lambda: len(self.server.sessions) == 1, "the earlier one has ended")
        self.assertEqual(len(self.server.database), 1001)

    async def test_a_path_that_loses_much_is_survived(self) -> None:
        """A twentieth of all packets, those of the control plane too: everything arrives."""
        etr, listener = await self.start_both("10.1.1.0/24")
        loss = Blackhole(lets_through=0.95)
        self.addCleanup(loss.close)
        loss.open()
        for part in range(5):
            for prefix in self.eids(2500)[500 * part : 500 * (part + 1)]:
                etr.links[0].register(self.mapping_of(prefix), awaited=False)
            await self.until_registered(etr)
        self.assertEqual(len(self.server.database), 2501)
        self.assertEqual(listener.names(), ["up"])

    async def test_an_etr_that_is_killed_is_noticed(self) -> None:
        """Its process is gone, without a word."""
        self.start_server(quick=True)
        path = Path(self.mktemp())
        path.write_text(self.etr_text("10.1.1.0/24", quick=True))
        arguments = ("-n", "--pidfile=", "lispmsrt", "--config", str(path.absolute()))
        child = start(self, reactor, *arguments)
        await self.until(
            lambda: any(each.lease for each in self.server.sessions), "the child registers"
        )
        child.kill()
        await child.ended
        await self.until(lambda: not self.server.sessions, "the Map-Server notices")
        self.assertEqual(self.held(), {"10.1.1.0/24"})

    async def test_a_map_server_that_is_killed_is_noticed(self) -> None:
        """Its process is gone; another one has everything once it runs."""
        path = Path(self.mktemp())
        path.write_text(self.server_text(quick=True))
        arguments = ("-n", "--pidfile=", "lispmsrt", "--config", str(path.absolute()))
        etr, listener = self.start_etr("10.1.1.0/24", quick=True)
        entry = next(iter(etr.links[0].registrations.entries.values()))
        child = start(self, reactor, *arguments)
        await self.until(lambda: listener.names() == ["up"], "the child is found")
        await self.until(lambda: entry.state is EtrState.STABLE, "it acknowledges")
        child.kill()
        await child.ended
        etr.links[0].register(mapping("10.1.1.0/24", priority=7), awaited=False)
        await self.until(lambda: listener.names() == ["up", "down"], "the ETR notices")
        self.start_server(quick=True)
        await self.until(lambda: listener.names()[2:] == ["up"], "its successor is found")
        await self.until_registered(etr)
        (held,) = self.server.database.registrations()
        self.assertEqual(held.decode().locators[0].priority, 7)
