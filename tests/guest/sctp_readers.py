"""Who does not read: back-pressure both ways, without a loss and without a busy loop."""

from __future__ import annotations

import socket
import time
from typing import Any

from twisted.internet import reactor
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from zope.interface import implementer

from tests.guest.associations import AssociationTestCase

_CHUNK = bytes(range(256)) * 64
_TOTAL = 4 << 20
_WATCHED = 0.5
_HEARTBEAT = "heartbeat=2"
_LONGEST_SILENCE = 4 * 2.0
"""Seconds within which a dead path is noticed at this heartbeat: a closed window is not one."""


@implementer(IPushProducer)
class _Source:
    """Writes until it is paused, and again when it is resumed, until all is written."""

    def __init__(self, transport: Any, total: int) -> None:
        self.pauses = 0
        self.written = 0
        self._is_paused = False
        self._transport = transport
        self._total = total
        transport.registerProducer(self, True)

    def pauseProducing(self) -> None:
        self.pauses += 1
        self._is_paused = True

    def resumeProducing(self) -> None:
        self._is_paused = False
        while self.written < self._total and not self._is_paused:
            self.written += len(_CHUNK)
            self._transport.write(_CHUNK)

    def stopProducing(self) -> None:
        """Nothing more can be written."""


def _read(peer: socket.socket, total: int) -> int:
    """Read so much; return how many octets were not as they should be."""
    wrong = 0
    count = 0
    while count < total:
        data = peer.recv(65536)
        at = count % len(_CHUNK)
        expected = (_CHUNK * (len(data) // len(_CHUNK) + 2))[at : at + len(data)]
        wrong += data != expected
        count += len(data)
    return wrong


def _fill(peer: socket.socket) -> int:
    """Send until the kernel takes no more; return how much it took."""
    peer.setblocking(False)
    count = 0
    try:
        while count < _TOTAL * 4:
            count += peer.send(_CHUNK)
    except BlockingIOError:
        return count
    finally:
        peer.settimeout(20)
    raise AssertionError(f"the peer took {count} octets of somebody who does not read")


class ReaderTests(AssociationTestCase):
    """Our server and a plain peer."""

    async def _accepted(self) -> tuple[Any, socket.socket]:
        port = await self.listening(f"interface=127.0.0.1:{_HEARTBEAT}")
        peer = self.plain("127.0.0.5")
        await deferToThread(peer.connect, ("127.0.0.1", port.getHost().port))
        await self.until(lambda: port.factory.made)
        return port.factory.made[0], peer

    async def test_a_peer_that_does_not_read_pauses_us_and_gets_all_in_the_end(self) -> None:
        """Meanwhile the reactor has nothing to do, and a closed window is no dead path."""
        notes, peer = await self._accepted()
        source = _Source(notes.transport, _TOTAL)
        source.resumeProducing()
        calls = self._count_writes(notes.transport)
        written = -1
        while written != source.written:
            written = source.written
            await deferLater(reactor, _WATCHED)
        self.assertGreater(source.pauses, 0)
        self.assertLess(written, _TOTAL / 2)
        calls.clear()
        await deferLater(reactor, _WATCHED)
        self.assertLess(len(calls), 20)
        await deferLater(reactor, _LONGEST_SILENCE + 1)
        self.assertIsNone(notes.reason)
        self.assertEqual(await deferToThread(_read, peer, _TOTAL), 0)

    async def test_when_we_do_not_read_the_peer_has_to_wait(self) -> None:
        """And loses nothing."""
        notes, peer = await self._accepted()
        notes.transport.pauseProducing()
        count = await deferToThread(_fill, peer)
        self.assertEqual(notes.received, b"")
        notes.transport.resumeProducing()
        await self.until(lambda: len(notes.received) == count)
        self.assertEqual(bytes(notes.received), _CHUNK * (count // len(_CHUNK)))

    async def test_a_peer_that_never_reads_does_not_keep_us_from_aborting(self) -> None:
        """Whatever is still to be sent."""
        notes, peer = await self._accepted()
        notes.transport.write(bytes(_TOTAL))
        notes.transport.loseConnection()
        notes.transport.abortConnection()
        await self.until(lambda: notes.reason)
        self.assertEqual(notes.reason, "ConnectionAborted")
        del peer

    @staticmethod
    def _count_writes(transport: Any) -> list[float]:
        calls: list[float] = []
        real = transport.doWrite

        def counted() -> Any:
            calls.append(time.monotonic())
            return real()

        transport.doWrite = counted
        return calls
