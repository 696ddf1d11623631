"""Paths that swallow everything, ends that forget everything, and ends with two addresses."""

from __future__ import annotations

import socket
import struct
import time
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, ensureDeferred
from twisted.internet.error import TimeoutError as ConnectTimeoutError
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from tests.guest.associations import AssociationTestCase, associations, dropping, inside, run

_HEARTBEAT = 2
_NOTICED = 4 * _HEARTBEAT
"""Seconds: what Liveness promises."""

_SLACK = 10.0
"""Seconds: for a guest that has other things to do. Left alone the kernel would take minutes."""

_RETRANSMISSIONS = 5
"""Of each path."""

_PEER = "peer"
_FIRST, _SECOND = "10.99.1.1", "10.99.2.1"
_FIRST_PEER, _SECOND_PEER = "10.99.1.2", "10.99.2.2"


def _connect_and_read(peer: socket.socket, address: tuple[str, int]) -> bytes:
    peer.connect(address)
    return peer.recv(100)


class BlackholeTests(AssociationTestCase):
    """A path that is dropped without a word."""

    async def test_it_is_noticed_idle_or_not(self) -> None:
        """By both ends of an idle association, and by who has something to send."""
        option = f"heartbeat={_HEARTBEAT}"
        port = await self.listening(f"interface=127.0.0.1:{option}")
        idle = await self.connected(port, option)
        busy = await self.connected(port, option)
        await self.until(lambda: len(port.factory.made) == 2)
        ends = {"client": idle, "server": port.factory.made[0], "busy": busy}
        ends["its peer"] = port.factory.made[1]
        noticed: dict[str, float] = {}
        with dropping():
            started = time.monotonic()
            busy.transport.write(b"is anybody there?")
            while len(noticed) < len(ends):
                await deferLater(reactor, 0.05)
                for name, notes in ends.items():
                    if notes.reason is not None:
                        noticed.setdefault(name, time.monotonic() - started)

        self.assertLess(max(noticed.values()), _NOTICED + _SLACK, noticed)
        self.assertLess(noticed["busy"], _HEARTBEAT + _SLACK, noticed)
        self.assertEqual({notes.reason for notes in ends.values()}, {"ConnectionLost"})

    async def test_a_short_silence_is_survived(self) -> None:
        """As long as one heartbeat, idle."""
        option = f"heartbeat={_HEARTBEAT}"
        _port, near, far = await self.pair(f"interface=127.0.0.1:{option}", option)
        with dropping():
            await deferLater(reactor, _HEARTBEAT)
        await deferLater(reactor, _NOTICED - _HEARTBEAT)
        near.transport.write(b"still there")
        await self.until(lambda: far.received == b"still there")
        self.assertEqual((near.reason, far.reason), (None, None))

    async def test_an_attempt_can_be_given_up(self) -> None:
        """Nothing of it stays."""
        port = await self.listening()
        with dropping():
            attempt = ensureDeferred(self.connected(port))
            await deferLater(reactor, 0.1)
            attempt.cancel()
            with self.assertRaises(CancelledError):
                await attempt
            await self.until(lambda: not associations())

    async def test_an_attempt_has_its_own_time_limit(self) -> None:
        """The option `timeout`."""
        port = await self.listening()
        with dropping(), self.assertRaises(ConnectTimeoutError):
            await self.connected(port, "timeout=0.2")


class RestartTests(AssociationTestCase):
    """A peer that forgot its association sets it up again with the same ports (RFC 9260 §5.2)."""

    async def test_it_is_lost_and_the_peer_must_come_anew(self) -> None:
        """What the peer was before says nothing about what it is now."""
        port = await self.listening()
        address = ("127.0.0.1", port.getHost().port)
        first = self.plain("127.0.0.5")
        await deferToThread(first.connect, address)
        source = first.getsockname()[1]
        await self.until(lambda: port.factory.made)
        (old,) = port.factory.made
        with dropping():
            first.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            first.close()
        self.assertIsNone(old.reason)
        again = self.plain("127.0.0.5", port=source)
        with self.assertRaises(ConnectionResetError):
            await deferToThread(_connect_and_read, again, address)
        await self.until(lambda: old.reason)
        self.assertEqual(old.reason, "ConnectionLost")
        self.assertEqual(port.counters["restarts of the peer"], 1)
        self.assertEqual(len(port.factory.made), 1)
        anew = self.plain("127.0.0.5")
        await deferToThread(anew.connect, address)
        await self.until(lambda: len(port.factory.made) == 2)


class MultiHomingTests(AssociationTestCase):
    """Two addresses at each end, on two links between two network namespaces."""

    def setUp(self) -> None:
        """Make the links."""
        run("ip", "netns", "add", _PEER)
        self.addCleanup(run, "ip", "netns", "del", _PEER)
        there = ("ip", "-n", _PEER)
        for link, own, other in (
            ("first", _FIRST, _FIRST_PEER),
            ("second", _SECOND, _SECOND_PEER),
        ):
            run("ip", "link", "add", link, "type", "veth", "peer", "name", link, "netns", _PEER)
            for ip, address in ((("ip",), own), (there, other)):
                run(*ip, "addr", "add", f"{address}/24", "dev", link)
                run(*ip, "link", "set", link, "up")

    async def _pair(self) -> Any:
        option = f"heartbeat={_HEARTBEAT}"
        port = await self.listening(f"interface={_FIRST},{_SECOND}:{option}")
        with inside(_PEER):
            own = f"bindAddress={_FIRST_PEER},{_SECOND_PEER}:{option}"
            connecting = ensureDeferred(self.connected(port, own, _FIRST))
        near = await connecting
        # A path counts once a heartbeat has come back over it.
        await self.until(lambda: self._retransmissions() == 2 * _RETRANSMISSIONS)
        return port, near, port.factory.made[0]

    @staticmethod
    def _retransmissions() -> int:
        """Return how many the kernel allows our only association here."""
        lines = associations()
        # ... <-> addresses of the peer, heartbeat, streams in and out, retransmissions
        fields = lines[0].partition("<->")[2].split() if lines else []
        numbers = [field for field in fields if "." not in field]
        return int(numbers[3]) if numbers else 0

    async def test_both_ends_have_both_addresses(self) -> None:
        """The association is known by those that it was set up between."""
        port, near, far = await self._pair()
        (line,) = associations()
        for address in (_FIRST, _SECOND, _FIRST_PEER, _SECOND_PEER):
            self.assertIn(address, line)
        self.assertEqual(far.hosts[0].host, _FIRST_PEER)
        self.assertEqual(near.hosts[0].host, _FIRST)
        self.assertEqual(port.getHost().host, _FIRST)

    async def test_it_lives_on_without_the_first_path(self) -> None:
        """With data to send and idle, for longer than a dead path lives."""
        _port, near, far = await self._pair()
        far.echoes = True
        near.transport.write(b"before")
        await self.until(lambda: near.received == b"before")
        with dropping("first"), dropping("first", _PEER):
            near.transport.write(bytes(50_000))
            await self.until(lambda: len(near.received) == 50_006)
            await deferLater(reactor, _NOTICED)
            near.transport.write(bytes(50_000))
            await self.until(lambda: len(near.received) == 100_006)
        self.assertEqual((near.reason, far.reason), (None, None))
        # Its peer is still who it was when the association was set up.
        self.assertEqual(far.transport.getPeer().host, _FIRST_PEER)

    async def test_it_dies_without_any_path(self) -> None:
        """Two dead paths are noticed as one is."""
        _port, near, far = await self._pair()
        with dropping("first"), dropping("second"):
            started = time.monotonic()
            await self.until(lambda: near.reason and far.reason)
        self.assertEqual((near.reason, far.reason), ("ConnectionLost", "ConnectionLost"))
        self.assertLess(time.monotonic() - started, _NOTICED + _SLACK)
