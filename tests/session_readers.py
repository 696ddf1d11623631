"""Ends that do not read, or take their time: what waits for them is bounded."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor

from lispmsrt.session.base import SessionTimer
from lispmsrt.session.limits import SessionLimits
from lispmsrt.wire.addresses import Address
from lispmsrt.wire.records import Locator, MappingRecord
from tests.rim import mapping
from tests.session_ground import SessionGround
from tests.session_peers import Pouring

__all__ = ["ReaderTests"]

_MOST_UNSENT = 1 << 19
"""Octets that may wait in a transport for a peer that does not read: none asks for more than half
of this before it has its producer pause.
"""

_MAPPINGS = 1000
"""With their 200 locators each, more than any transport holds on its way."""


class ReaderTests(SessionGround):
    """Back-pressure, both ways."""

    async def test_a_peer_that_never_reads_is_bounded_and_dropped(self) -> None:
        """The Map-Server stops reading it too, and gives it up."""
        etr, listener = await self.start_both("10.1.1.0/24")
        self.server._limits = SessionLimits(unread_timeout=0.5)
        peer, hand, session = await self.session_by_hand()
        server_end = self.server_end(session)
        self.shrink_buffers(peer.stream, server_end.transport)
        peer.stop_reading()
        chunk = b"".join(hand.one() for _number in range(64))
        pouring = Pouring(reactor, peer, lambda: chunk)
        highest = 0

        def is_given_up() -> bool:
            nonlocal highest
            if server_end.transport is not None and session.close_reason is None:
                highest = max(highest, self.unsent(server_end.transport))
            return session.close_reason is not None

        await self.until(is_given_up, "the Map-Server gives it up")
        assert session.close_reason is not None
        self.assertEqual(session.close_reason.name, "NOT_READING")
        self.assertLess(highest, _MOST_UNSENT)
        pouring.stop()
        peer.stream.resumeProducing()
        await self.until(lambda: not peer.is_connected, "the connection is gone")
        await etr.register(mapping("10.1.2.0/24"))
        self.assertEqual(listener.names(), ["up"])

    async def test_a_peer_that_reads_slowly_is_served_in_full(self) -> None:
        """As soon as it reads, the Map-Server goes on reading it."""
        self.start_server()
        peer, hand, session = await self.session_by_hand()
        self.shrink_buffers(peer.stream, self.server_end(session).transport)
        peer.stop_reading()
        chunk = b"".join(hand.one() for _number in range(64))
        pouring = Pouring(reactor, peer, lambda: chunk)
        await self.until(lambda: SessionTimer.UNREAD in session._timers, "its answers wait")
        await self.until(lambda: pouring.was_paused, "it is not read any more")
        pouring.stop()
        peer.read_slowly()
        count = 1 + 64 * pouring.chunks
        await self.until(lambda: self.is_answered(peer, count), "all is answered")
        self.assertEqual(len(peer.received), self.answered_size(count))
        self.assertIsNone(session.close_reason)

    async def test_a_map_server_that_pauses_is_told_all_in_the_end(self) -> None:
        """The ETR's memory is bounded meanwhile, and its session lives on."""
        etr, listener = await self.start_both("10.1.1.0/24")
        highest = await self._fill(etr)
        self.assertLess(highest, _MOST_UNSENT)
        self.server_end(self.server.sessions[0]).transport.resumeProducing()  # type: ignore
        await self.until_registered(etr)
        self.assertEqual(len(self.server.database), _MAPPINGS + 1)
        self.assertEqual(listener.names(), ["up"])

    async def test_a_map_server_that_never_reads_is_given_up(self) -> None:
        """Nothing is lost by it: the next session brings all."""
        etr, listener = await self.start_both("10.1.1.0/24")
        session = etr.links[0].session
        assert session is not None
        session._limits = SessionLimits(unread_timeout=0.5, answer_timeout=0.5)
        await self._fill(etr)
        await self.until(lambda: "down" in listener.names(), "the ETR gives it up")
        self.assertIn(listener.heard[1][2], ("NOT_READING", "NO_ANSWERS"))
        for stuck in self.server.sessions:  # one that has not heard of it, for it does not read
            self.server_end(stuck).transport.resumeProducing()
        await self.until_registered(etr)
        self.assertEqual(len(self.server.database), _MAPPINGS + 1)
        self.assertEqual(listener.names(), ["up", "down", "up"])

    async def _fill(self, etr: Any) -> int:
        """Have the Map-Server stop reading, and its ETR bring more than the path takes; return how
        much waited at most.
        """
        stream, server_stream = self.stream_of(etr), self.server_end(self.server.sessions[0])
        self.shrink_buffers(stream, server_stream.transport)
        server_stream.transport.pauseProducing()  # type: ignore[union-attr]
        rlocs = tuple(
            Locator(Address.from_text(f"127.1.0.{number}"), 1, 100) for number in range(200)
        )
        for prefix in self.eids(_MAPPINGS):
            etr.links[0].register(MappingRecord(prefix, 1440, rlocs), awaited=False)
        session = etr.links[0].session
        highest = 0

        def is_full() -> bool:
            nonlocal highest
            highest = max(highest, self.unsent(stream))
            return SessionTimer.UNREAD in session._timers

        await self.until(is_full, "the path is full")
        return highest
