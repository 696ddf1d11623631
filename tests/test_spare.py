"""A process without a file descriptor left: who connects is reset, nothing goes round and round,
and what is up stays so.

The sockets are real, but the reactor goes round when a test says so.
"""

from __future__ import annotations

import errno
import os
import resource
import socket
from typing import Any

from twisted.internet import tcp
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.transports.doorway import _LOG_INTERVAL, _PAUSE, TURN_BUDGET, Doorway, guard
from lispmsrt.transports.spare import Spare, spare
from lispmsrt.views.statistics import counters_of_port
from tests.readers import Readers, is_reset

_HOST = "127.0.0.1"
_COUNTER = "connections reset: no file descriptor left"


class _Echo(Protocol):
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.heard = b""

    def dataReceived(self, data: bytes) -> None:
        self.heard += data


class _Factory(Factory):
    """Builds for everybody."""

    noisy = False

    def __init__(self) -> None:
        self.built: list[_Echo] = []

    def buildProtocol(self, addr: Any) -> Protocol:
        self.built.append(_Echo())
        return self.built[-1]


class DescriptorTests(SynchronousTestCase):
    """A port of Twisted's with a doorway before it."""

    def setUp(self) -> None:
        """A port that listens, and peers that are made before nothing is left for them."""
        self.reactor, self.factory = Readers(), _Factory()
        self.port = tcp.Port(0, self.factory, 512, _HOST, self.reactor)
        self.port.startListening()
        self.addCleanup(self._close)
        guard(self.port, self.factory)
        self.limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.fillers: list[int] = []

    def _close(self) -> None:
        self.port.stopListening()
        self.reactor.advance(0)
        for reader in list(self.reactor.readers):
            if not isinstance(reader, tcp.Port):
                reader.abortConnection()
        self.reactor.advance(_PAUSE)

    def peers(self, count: int) -> list[socket.socket]:
        """Return peers that have not connected yet."""
        made = [socket.socket() for _number in range(count)]
        for peer in made:
            peer.settimeout(10)
            self.addCleanup(peer.close)
        return made

    def connect(self, *peers: socket.socket) -> None:
        """Have them wait at the port."""
        for peer in peers:
            peer.connect((_HOST, self.port.getHost().port))

    def use_up(self) -> None:
        """Leave no descriptor to this process."""
        top = os.open(os.devnull, os.O_RDONLY)
        resource.setrlimit(resource.RLIMIT_NOFILE, (top + 10, self.limits[1]))
        self.addCleanup(self.give_back)
        self.fillers.append(top)
        try:
            while True:
                self.fillers.append(os.open(os.devnull, os.O_RDONLY))
        except OSError as failure:
            self.assertEqual(failure.errno, errno.EMFILE)

    def give_back(self) -> None:
        """Have as many as before."""
        while self.fillers:
            os.close(self.fillers.pop())
        resource.setrlimit(resource.RLIMIT_NOFILE, self.limits)

    @property
    def counted(self) -> int:
        """How many were reset for that."""
        return counters_of_port(self.port)[_COUNTER]

    def test_who_connects_is_reset_and_what_is_up_stays(self) -> None:
        """So many in a turn, each counted; one line."""
        first, *others = self.peers(TURN_BUDGET + 4)
        self.connect(first)
        self.port.doRead()
        (session,) = [each for each in self.reactor.readers if each is not self.port]
        self.connect(*others)
        self.use_up()
        with capturedLogs() as events:
            self.port.doRead()
            self.assertEqual(self.counted, TURN_BUDGET)
            self.port.doRead()
            self.port.doRead()
        self.assertEqual(self.counted, TURN_BUDGET + 3)
        self.assertEqual(len(self.factory.built), 1)
        lines = [str(formatEvent(event)) for event in events]
        self.assertEqual(len(lines), 1, lines)
        self.assertIn("no file descriptor is left for connections", lines[0])
        first.send(b"still here")
        session.doRead()
        self.assertEqual(self.factory.built[0].heard, b"still here")
        self.give_back()
        self.assertTrue(all(is_reset(peer) for peer in others))

    def test_it_recovers_by_itself(self) -> None:
        """With the first descriptor that is free again."""
        refused, taken = self.peers(2)
        self.connect(refused)
        self.use_up()
        self.port.doRead()
        os.close(self.fillers.pop())
        self.connect(taken)
        self.port.doRead()
        self.assertEqual((len(self.factory.built), self.counted), (1, 1))

    def test_the_line_comes_back_after_a_minute(self) -> None:
        """If it is as bad as that then."""
        peers = self.peers(3)
        self.connect(*peers)
        self.use_up()
        with capturedLogs() as events:
            for wait in (0, _LOG_INTERVAL - 1, 1):
                self.reactor.advance(wait)
                door = self.port.socket
                assert isinstance(door, Doorway)
                door._left = 1
                # Not begin_turn: one of them a time.
                self.assertRaises(BlockingIOError, door.accept)
                door._port = self.port
        self.assertEqual((len(events), self.counted), (2, 3))

    def test_where_not_even_a_reset_is_possible_it_looks_away(self) -> None:
        """For a second: who waits would have the reactor go round and round."""
        (peer,) = self.peers(1)
        self.connect(peer)
        held, spare._held = spare._held, None
        assert held is not None
        self.fillers.append(held)
        self.use_up()
        self.port.doRead()
        self.assertNotIn(self.port, self.reactor.readers)
        self.give_back()
        self.reactor.advance(_PAUSE)
        self.assertIn(self.port, self.reactor.readers)
        self.port.doRead()
        self.assertEqual((len(self.factory.built), self.counted), (1, 0))
        self.assertIsNone(spare._held)
        spare.hold()

    def test_a_port_that_is_closed_meanwhile_stays_closed(self) -> None:
        """It is not read from again."""
        (peer,) = self.peers(1)
        self.connect(peer)
        door = self.port.socket
        assert isinstance(door, Doorway)
        door.take_turn(self.port, door._pause)
        self.port.stopListening()
        self.reactor.advance(_PAUSE)
        self.assertNotIn(self.port, self.reactor.readers)


class SpareTests(SynchronousTestCase):
    """The descriptor itself."""

    def test_it_is_not_inherited_and_is_one(self) -> None:
        """However often it is put aside."""
        one = Spare()
        one.hold()
        held = one._held
        assert held is not None
        self.addCleanup(os.close, held)
        one.hold()
        self.assertEqual(one._held, held)
        self.assertFalse(os.get_inheritable(held))

    def test_lent_it_is_free_for_somebody_else(self) -> None:
        """And taken back behind that."""
        one = Spare()
        one.hold()
        held = one._held
        assert held is not None
        with one.lent():
            self.assertRaises(OSError, os.fstat, held)
        assert one._held is not None
        os.close(one._held)
