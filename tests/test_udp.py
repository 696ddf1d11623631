"""Connected UDP sockets: an ICMP error is not their end."""

from __future__ import annotations

import errno
from typing import Any

from twisted.internet.error import ConnectionLost
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.udp import Port
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.transports.udp import outlive_refusals


class _Reactor:
    """Notes who reads."""

    def __init__(self) -> None:
        self.reading: list[object] = []

    def addReader(self, reader: object) -> None:
        self.reading.append(reader)

    def removeReader(self, reader: object) -> None:
        self.reading = []

    def removeWriter(self, writer: object) -> None:
        """It never was one."""


class _Socket:
    """Has an error pending."""

    def __init__(self, error: int) -> None:
        self.error = error
        self.is_closed = False

    def getsockopt(self, _level: int, _option: int) -> int:
        error, self.error = self.error, 0
        return error

    def close(self) -> None:
        self.is_closed = True


class _Refused(DatagramProtocol):
    noisy = False

    def __init__(self) -> None:
        self.refusals = 0

    def connectionRefused(self) -> None:
        self.refusals += 1


class OutliveRefusalsTests(SynchronousTestCase):
    """What a reactor does with an error that it finds."""

    def _port(self, error: int) -> Any:
        self.reactor, self.protocol, self.socket = _Reactor(), _Refused(), _Socket(error)
        port: Any = Port(0, self.protocol, reactor=self.reactor)
        port.socket, port.fileno, port.connected = self.socket, lambda: -1, 1
        self.protocol.makeConnection(port)
        outlive_refusals(port)
        return port

    def test_a_refusal_is_told_and_reading_goes_on(self) -> None:
        """The error is cleared, or it would be found again at once."""
        for error in (errno.ECONNREFUSED, errno.EHOSTUNREACH):
            port = self._port(error)
            port.connectionLost(Failure(ConnectionLost()))
            self.assertEqual(self.protocol.refusals, 1)
            self.assertEqual(self.reactor.reading, [port])
            self.assertEqual((self.socket.error, self.socket.is_closed), (0, False))

    def test_a_router_that_can_not_forward_so_much_refuses_nothing(self) -> None:
        """The kernel has learned the path's MTU."""
        port = self._port(errno.EMSGSIZE)
        port.connectionLost(Failure(ConnectionLost()))
        self.assertEqual(self.protocol.refusals, 0)
        self.assertEqual(self.reactor.reading, [port])

    def test_a_port_may_still_be_closed(self) -> None:
        """By its owner."""
        port = self._port(0)
        port.connectionLost()
        self.assertTrue(self.socket.is_closed)
        self.assertEqual(self.protocol.refusals, 0)

    def test_test_doubles_are_left_alone(self) -> None:
        """They have their own ways."""
        double = _Reactor()
        outlive_refusals(double)
        self.assertEqual(vars(double), {"reading": []})
