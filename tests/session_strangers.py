"""Who has not authenticated over UDP gets nothing, and costs nothing."""

from __future__ import annotations

import os
import socket
from collections import Counter
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString
from twisted.logger import capturedLogs
from twisted.python.failure import Failure

from lispmsrt.transports.handshakes import HandshakeLimits
from tests.rim import MAP_SERVER_HOST, mapping
from tests.session_ground import HAND_HOST, STRANGER, SessionGround
from tests.session_peers import RawPeer, raw_peers

__all__ = ["DatagramStrangerTests", "HandshakeTests", "StrangerTests"]

_DATAGRAMS = 50_000 if os.environ.get("LISPMSRT_LONG") else 5000
_AT_ONCE = 40


class StrangerTests(SessionGround):
    """Connections from addresses that nobody has armed."""

    refusals = frozenset({"ConnectionLost", "ConnectionDone", "ConnectError"})
    "how a stranger's attempt may end: the exception's name, or silence"
    strangers = 5000 if os.environ.get("LISPMSRT_LONG") else 400

    @property
    def refused(self) -> int:
        """How many connections the Map-Server has refused."""
        return self.server.armory.counters["connections refused"]

    async def knock(self, count: int, host: str = STRANGER) -> Counter[str]:
        """Try to connect so often, some at a time, and say what became of it."""
        ends: Counter[str] = Counter()
        while count > 0:
            refused, at_once = self.refused, min(count, _AT_ONCE)
            attempts = [self._attempt(host, ends) for _number in range(at_once)]
            await self.until(lambda: self.refused >= refused + at_once, "all are refused")  # noqa: B023
            if "silence" in self.refusals:
                for attempt in attempts:
                    attempt.cancel()
            for attempt in attempts:
                await attempt
            count -= at_once
        return ends

    def _attempt(self, host: str, ends: Counter[str]) -> Deferred[Any]:
        """Begin one; the Deferred fires when it is over."""
        made: list[RawPeer] = []
        endpoint = clientFromString(reactor, self.client_string(self.stream_port, host))
        attempt: Deferred[Any] = endpoint.connect(raw_peers(reactor, made.append))

        def connected(peer: RawPeer) -> Deferred[None]:
            return peer.ended.addCallback(
                lambda why: ends.update([f"{len(peer.received)} octets" if peer.received else why])
            )

        def failed(failure: Failure) -> None:
            is_ours = failure.type.__name__ in ("CancelledError", "ConnectingCancelledError")
            ends["silence" if is_ours else failure.type.__name__] += 1

        return attempt.addCallbacks(connected, failed)

    async def test_strangers_get_nothing_and_cost_nothing(self) -> None:
        """However many they are; the session that is there takes no harm."""
        etr, listener = await self.start_both("10.1.1.0/24")
        sockets = self.sockets()
        await self.knock(_AT_ONCE)
        await self.until(lambda: self.sockets() == sockets, "their sockets are closed")
        refused, objects = self.refused, self.garbage_free_objects()
        with capturedLogs() as events:
            ends = await self.knock(self.strangers)
        self.assertEqual(set(ends) - self.refusals, set(), ends)
        self.assertEqual(sum(ends.values()), self.strangers)
        self.assertGreaterEqual(self.refused - refused, self.strangers)
        lines = [each for each in events if "refused" in each["log_format"]]
        self.assertLess(len(lines), 5)
        del events, lines
        await self.until(lambda: self.sockets() == sockets, "their sockets are closed")
        self.assertLess(self.garbage_free_objects() - objects, 2000)
        self.assertEqual(len(self.server.sessions), 1)
        await etr.register(mapping("10.1.3.0/24"))
        self.assertEqual(listener.names(), ["up"])
        self.assertEqual(len(self.server.database), 2)

    async def test_a_token_is_good_for_one_connection(self) -> None:
        """The second one from the same address is a stranger's."""
        self.start_server()
        await self.session_by_hand()
        ends = await self.knock(1, HAND_HOST)
        self.assertEqual(set(ends) - self.refusals, set(), ends)
        self.assertEqual(len(self.server.sessions), 1)

    async def test_an_attempt_that_is_given_up_leaves_nothing(self) -> None:
        """Neither with the one who attempts it, nor with a Map-Server that it was armed at."""
        self.start_server()
        before = self.sockets()
        for _number in range(5):
            await self.arm(self.hand())
            endpoint = clientFromString(reactor, self.client_string(self.stream_port, HAND_HOST))
            attempt = endpoint.connect(raw_peers(reactor, lambda peer: None))
            attempt.addErrback(lambda failure: None)
            attempt.cancel()
            await attempt
        await self.until(lambda: self.sockets() == before, "every socket is closed")
        await self.until(lambda: not self.server.sessions, "no session is left")
        await self.session_by_hand()


class HandshakeTests(SessionGround):
    """Where a connection has a handshake, and both ends can fail it."""

    def distrustful_string(self, port: int, host: str) -> str:
        """Return how a client connects that expects another server."""
        raise NotImplementedError

    async def test_a_handshake_that_fails_does_not_use_up_the_token(self) -> None:
        """Nobody has a session before its connection is really up."""
        self.start_server()
        await self.arm(self.hand())
        for _attempt in range(5):
            text = self.distrustful_string(self.stream_port, HAND_HOST)
            failed = await self.assertFailure(self.connect_by(text), Exception)
            self.assertIn("not the pinned", str(failed))
        self.assertEqual(self.server.armory.counters["connections accepted"], 0)
        peer = await self.connect()
        peer.stream.write(bytes(8))
        await self.until(lambda: not peer.is_connected, "it is let in, and closed for its noise")
        self.assertEqual(self.server.armory.counters["connections accepted"], 1)

    def connect_by(self, text: str) -> Deferred[Any]:
        """Connect, to fail."""
        endpoint = clientFromString(reactor, text)
        attempt: Deferred[Any] = endpoint.connect(raw_peers(reactor, lambda peer: None))
        return attempt

    def half_open_string(self, port: int, host: str) -> str:
        """Return how a peer connects that stays in its handshake as long as it says nothing."""
        raise NotImplementedError

    async def test_handshakes_that_are_never_finished_are_dropped(self) -> None:
        """Many of them from an armed address: they end with their time, and use no token up."""
        self.start_server()
        self.hurry_handshakes(1.5)
        handshakes = self.handshakes()
        await self.arm(self.hand())
        text = self.half_open_string(self.stream_port, HAND_HOST)
        peers = [await self.connect(text=text) for _number in range(20)]
        await self.until(lambda: handshakes.counters["handshakes begun"] == 20, "all have begun")
        await self.until(lambda: not len(handshakes), "all are over")
        await self.until(lambda: not any(peer.is_connected for peer in peers), "and know it")
        self.assertEqual(self.server.armory.counters["connections accepted"], 0)
        self.hurry_handshakes(HandshakeLimits().timeout)
        peer = await self.connect()
        peer.stream.write(bytes(8))
        await self.until(lambda: not peer.is_connected, "it is let in, and closed for its noise")
        self.assertEqual(self.server.armory.counters["connections accepted"], 1)


class DatagramStrangerTests(StrangerTests):
    """What a transport over UDP may be told besides."""

    refusals = frozenset({"silence"})

    async def first_datagram(self) -> bytes:
        """Return what a client sends before it has heard anything."""
        endpoint = clientFromString(reactor, self.client_string(self.other, HAND_HOST))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.bind((MAP_SERVER_HOST, self.other))
            udp.setblocking(False)
            attempt = endpoint.connect(raw_peers(reactor, lambda peer: None))
            attempt.addErrback(lambda failure: None)
            heard: list[bytes] = []

            def hear() -> bool:
                try:
                    heard.append(udp.recv(65_536))
                except BlockingIOError:
                    return False
                return True

            await self.until(hear, "a client says something")
            attempt.cancel()
            await attempt
        return heard[0]

    async def test_datagrams_of_strangers_cost_nothing(self) -> None:
        """The first packet of a connection, thousands of times over, is not even answered."""
        etr, listener = await self.start_both("10.1.1.0/24")
        self.other = self.other_port()
        first = await self.first_datagram()
        objects = self.garbage_free_objects()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.bind((STRANGER, 0))
            udp.setblocking(False)
            for number in range(_DATAGRAMS):
                udp.sendto(self.varied(first, number), (MAP_SERVER_HOST, self.stream_port))
                if not number % 50:
                    await self.until(lambda: True, "")
            await etr.register(mapping("10.1.3.0/24"))
            self.assertRaises(BlockingIOError, udp.recv, 65_536)
        self.assertLess(self.garbage_free_objects() - objects, 2000)
        self.assertEqual(listener.names(), ["up"])
        self.assertEqual(len(self.server.sessions), 1)

    def varied(self, datagram: bytes, number: int) -> bytes:
        """Return the datagram as another client would have sent it."""
        return datagram

    async def test_datagrams_that_mean_nothing_are_dropped(self) -> None:
        """From strangers and from the address of a session: cut short, empty, or noise."""
        etr, listener = await self.start_both("10.1.1.0/24")
        self.other = self.other_port()
        first = await self.first_datagram()
        noise = [first[:size] for size in range(0, len(first), 7)]
        noise += [bytes((number,)) * 1200 for number in range(256)]
        noise += [bytes((first[0] ^ 1 << bit,)) + first[1:] for bit in range(8)]
        for host in (STRANGER, "127.0.0.2", HAND_HOST):
            if host == HAND_HOST:
                await self.arm(self.hand())
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
                udp.bind((host, 0))
                for datagram in noise:
                    udp.sendto(datagram, (MAP_SERVER_HOST, self.stream_port))
                await etr.register(mapping("10.1.3.0/24"))
        self.assertEqual(listener.names(), ["up"])
        await self.session_by_hand()
