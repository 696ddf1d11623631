"""What a session is for, from its first Map-Register to the end of either service."""

from __future__ import annotations

import os

from twisted.internet import reactor
from twisted.internet.task import deferLater

from lispmsrt import EidPrefix, RegistrationRejected
from lispmsrt.session.base import CloseReason
from tests.rim import ETR_HOST, mapping
from tests.session_blackhole import internet_sockets
from tests.session_ground import Hand, SessionGround

__all__ = ["LifeTests"]

_SESSIONS = 400 if os.environ.get("LISPMSRT_LONG") else 40


class LifeTests(SessionGround):
    """Nobody misbehaves."""

    async def test_a_full_life(self) -> None:
        """Authenticate, register, change, be refused, withdraw, lose the session, come back."""
        etr, listener = await self.start_both("10.1.1.0/24")
        await etr.register(mapping("10.1.2.0/24"))
        await etr.register(mapping("10.1.2.0/24", instance_id=7))
        await etr.register(mapping("2001:db8:1::/48"))
        await etr.register(mapping("10.1.2.0/24", priority=5))
        rejected = await self.assertFailure(
            etr.register(mapping("192.0.2.0/24")), RegistrationRejected
        )
        self.assertEqual(rejected.reason, 1)
        await etr.withdraw(EidPrefix.from_text("10.1.1.0/24"))
        everything = {"10.1.2.0/24", "[7] 10.1.2.0/24", "2001:db8:1::/48"}
        self.assertEqual(self.held(), everything)
        self.server.reset(self.server.sessions[0])
        await self.until(lambda: listener.names().count("up") == 2, "it is up again")
        await self.until_registered(etr)
        self.assertEqual(listener.names()[:4], ["up", "rejected", "down", "up"])
        self.assertEqual(self.held(), everything)
        held = {str(each.decode().eid): each for each in self.server.database.registrations()}
        self.assertEqual(held["10.1.2.0/24"].decode().locators[0].priority, 5)

    async def test_both_ends_say_what_carries_the_session(self) -> None:
        """In the listener's event, the lease and the session's addresses."""
        etr, listener = await self.start_both("10.1.1.0/24")
        (session,) = self.server.sessions
        assert session.lease is not None
        self.assertEqual(listener.heard[0][2], self.name)
        self.assertEqual((session.transport, session.lease.transport), (self.name, self.name))
        here, there = self.stream_of(etr).getHost(), self.stream_of(etr).getPeer()
        self.assertEqual(session.peer, f"{here.host}:{here.port}")
        self.assertEqual((here.host, there.host), (ETR_HOST, "127.0.0.1"))
        self.assertEqual(there.port, self.stream_port)

    async def test_the_connection_is_measured(self) -> None:
        """Round-trip time, what is still to be sent, and the address of our own."""
        etr, _listener = await self.start_both("10.1.1.0/24")
        await self.until_registered(etr)
        ((session, protocol),) = self.server.session_protocols.items()
        self.assertEqual(session.local, f"127.0.0.1:{self.stream_port}")
        await self.until(lambda: protocol.queued_octets == 0, "all has left")
        found = protocol.rtt()
        # SCTP counts in ms, and knows none below one.
        self.assertTrue(self.name == "SCTP" if found is None else 0 < found < 60, found)
        protocol._stream.pauseProducing()
        protocol._stream.write(bytes(1 << 22))
        self.assertGreater(protocol.queued_octets, 1 << 20)
        self.server.reset(session)
        # The ETR may be back at once.
        await self.until(lambda: session not in self.server.sessions, "the session has ended")
        self.assertIsNone(protocol.rtt())

    async def test_a_session_is_a_stream_of_octets(self) -> None:
        """Whether they are written one by one or all at once."""
        self.start_server()
        peer, hand, _session = await self.session_by_hand()
        for octet in hand.one() + hand.one():
            peer.stream.write(bytes((octet,)))
        await self.until(lambda: self.is_answered(peer, 3), "single octets are put together")
        peer.stream.write(b"".join(hand.one() for _number in range(3000)))
        await self.until(lambda: self.is_answered(peer, 3003), "a large chunk is cut up")
        self.assertEqual(len(peer.received), self.answered_size(3003))

    async def test_last_words_are_heard(self) -> None:
        """Of a peer that writes and closes at once."""
        self.start_server()
        peer, hand, _session = await self.session_by_hand()
        self.assertEqual(self.held(), {hand.eid})
        peer.stream.write(hand.registration(hand.withdrawal))
        peer.stream.loseConnection()
        await self.until(lambda: not self.server.sessions, "the session has ended")
        self.assertEqual(self.held(), set())
        await self.until(lambda: not peer.is_connected, "at the other end too")

    async def test_many_sessions_of_one_address_live_side_by_side(self) -> None:
        """Each is its own xTR's, and when the Map-Server stops they all end."""
        self.start_server()
        made = [await self.session_by_hand() for _number in range(60)]
        for peer, hand, _session in made:
            peer.stream.write(hand.one() * 50)
        for peer, _hand, _session in made:
            await self.until(lambda peer=peer: self.is_answered(peer, 51), "each is answered")
        self.assertEqual(self.held(), {hand.eid for _peer, hand, _session in made})
        self.assertEqual(len(self.server.sessions), 60)
        await self.stop(self.server)
        await self.until(lambda: not any(peer.is_connected for peer, *_ in made), "all have ended")

    async def test_sessions_that_come_and_go_leave_nothing(self) -> None:
        """Whoever ends them, and however."""
        self.start_server()
        hand = self.hand()
        await self._come_and_go(hand, 8)
        before, memory = self.garbage_free_objects(), self.resident_memory()
        await self._come_and_go(hand, _SESSIONS)
        await self.until(lambda: self.garbage_free_objects() < before + 1000, "all is forgotten")
        self.assertLess(self.resident_memory() - memory, 16 << 20)

    async def _come_and_go(self, hand: Hand, count: int) -> None:
        for number in range(count):
            peer, _hand, session = await self.session_by_hand(hand)
            if number % 4 == 0:
                peer.stream.abortConnection()
            elif number % 4 == 1:
                peer.stream.loseConnection()
            elif number % 4 == 2:
                self.server.reset(session)
            else:
                session.close(CloseReason.CLEARED, session.began)
            await self.until(lambda: not self.server.sessions, "the session has ended")
            await self.until(lambda peer=peer: not peer.is_connected, "at the other end too")

    async def test_a_map_server_that_is_replaced_is_told_everything(self) -> None:
        """It starts on the same ports with nothing, while the ETR just goes on."""
        etr, listener = await self.start_both("10.1.1.0/24", "10.1.2.0/24")
        for count in (2, 3):
            await self.server.stopService()
            await self.until(lambda: listener.names()[-1] == "down", "the ETR has noticed")
            self.start_server()
            await self.until(lambda count=count: listener.names().count("up") == count, "up again")
            await self.until_registered(etr)
            self.assertEqual(self.held(), {"10.1.1.0/24", "10.1.2.0/24"})
            self.assertEqual(len(self.server.sessions), 1)

    async def test_an_etr_that_is_replaced_takes_over(self) -> None:
        """What it brings no more has a clock from then on; a restarted one does as well."""
        etr, _listener = await self.start_both("10.1.1.0/24", "10.1.2.0/24")
        for _count in range(2):
            await etr.stopService()
            await self.until(lambda: not self.server.sessions, "the Map-Server has noticed")
            etr, _listener = self.start_etr("10.1.1.0/24")
            await self.until(
                lambda: (
                    [
                        str(each.decode().eid)
                        for each in self.server.database.registrations()
                        if each.lease.is_live
                    ]
                    == ["10.1.1.0/24"]
                ),
                "the new ETR has registered",
            )
            self.assertEqual(self.held(), {"10.1.1.0/24", "10.1.2.0/24"})
            self.assertEqual(len(self.server.sessions), 1)

    async def test_a_service_that_has_stopped_has_nothing_open(self) -> None:
        """No socket and no delayed call once its Deferred has fired, in either order."""
        await deferLater(reactor, 0)  # trial has its timeout running by then
        calls = reactor.getDelayedCalls()
        for etr_is_first in (True, False):
            before = self.sockets()
            etr, _listener = await self.start_both("10.1.1.0/24")
            first, second = (etr, self.server) if etr_is_first else (self.server, etr)
            await first.stopService()
            await second.stopService()
            self.assertEqual(self.sockets(), before)
            self.assertEqual(reactor.getDelayedCalls(), calls)

    async def test_a_service_may_stop_while_much_is_on_its_way(self) -> None:
        """It neither hangs nor leaves anything, in either order."""
        for etr_is_first in (True, False):
            before = len(list(internet_sockets()))
            etr, _listener = await self.start_both("10.1.1.0/24")
            for prefix in self.eids(3000):
                etr.links[0].register(self.mapping_of(prefix), awaited=False)
            await self.until(lambda: len(self.server.database) > 500, "some have arrived")
            first, second = (etr, self.server) if etr_is_first else (self.server, etr)
            await first.stopService()
            await second.stopService()
            self.assertEqual(len(list(internet_sockets())), before)
