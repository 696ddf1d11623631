"""UDP ports that read few datagrams at once, whatever these are."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.error import CannotListenError
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.udp import Port
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.sockets import set_receive_buffer
from lispmsrt.transports.udp import read_few
from tests.test_udp_port import _Reactor

_HOST = "127.0.0.1"


class _Taker(DatagramProtocol):
    noisy = False

    def __init__(self) -> None:
        self.taken: list[bytes] = []

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.taken.append(datagram)


class FewTests(SynchronousTestCase):
    """A real socket, and a reactor that goes round by hand."""

    def setUp(self) -> None:
        """One port, and somebody who sends."""
        self.reactor, self.taker = _Reactor(), _Taker()
        self.port: Any = Port(0, self.taker, _HOST, 8192, self.reactor)
        self.port.startListening()
        number = self.port.fileno()
        read_few(self.port, 10)
        self.assertEqual(self.port.fileno(), number)
        set_receive_buffer(self.port.socket, 1 << 20)
        self.addCleanup(self.reactor.advance, 0)
        self.addCleanup(self.port.stopListening)
        self.client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(self.client.close)

    def send(self, *datagrams: bytes) -> None:
        """Send them from one socket."""
        for data in datagrams:
            self.client.sendto(data, (_HOST, self.port.getHost().port))

    def test_empty_datagrams_too(self) -> None:
        """Which are no octets, and would otherwise be read for as long as there are any."""
        self.send(*[b""] * 25)
        for total in (10, 20, 25, 25):
            self.port.doRead()
            self.assertEqual(len(self.taker.taken), total)

    def test_what_waits_is_read_in_order_in_the_next_turns(self) -> None:
        """The socket stays readable."""
        sent = [bytes([number]) for number in range(25)]
        self.send(*sent)
        while len(self.taker.taken) < 25:
            self.assertTrue(self.reactor.turn())
        self.assertEqual(self.taker.taken, sent)

    def test_octets_are_bounded_as_before(self) -> None:
        """By Twisted."""
        self.port.maxThroughput = 3000
        self.send(*[bytes(1000)] * 9)
        self.port.doRead()
        self.assertEqual(len(self.taker.taken), 3)

    def test_it_answers_and_closes_as_before(self) -> None:
        """The address is free then."""
        self.client.bind((_HOST, 0))
        self.client.settimeout(10)
        self.port.write(b"answer", self.client.getsockname())
        self.assertEqual(self.client.recv(100), b"answer")
        address = self.port.getHost()
        with self.assertRaises(CannotListenError):
            Port(address.port, _Taker(), _HOST, 8192, self.reactor).startListening()
        self.port.stopListening()
        self.reactor.advance(0)
        self.assertEqual(self.reactor.readers, [])
        again = Port(address.port, _Taker(), _HOST, 8192, self.reactor)
        again.startListening()
        again.stopListening()
        self.reactor.advance(0)

    def test_doubles_are_left_alone(self) -> None:
        """In memory there are no sockets."""
        double = object()
        read_few(double, 10)
