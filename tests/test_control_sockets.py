"""The UDP sockets of a control plane."""

from __future__ import annotations

import itertools
import socket
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.config import SocketAddress
from lispmsrt.services.control_sockets import ControlSockets
from lispmsrt.services.listening import ListenError

_V4 = (socket.inet_aton("192.0.2.1"), 4342)
_V6 = (socket.inet_pton(socket.AF_INET6, "2001:db8::1"), 4342)


class _Port:
    """A UDP port that notes what is sent."""

    def __init__(self, port: int, protocol: Any, interface: str) -> None:
        self.addressFamily = socket.AF_INET6 if ":" in interface else socket.AF_INET
        self.sent: list[tuple[bytes, tuple[str, int]]] = []
        self.is_open = True
        kind = IPv6Address if ":" in interface else IPv4Address
        self._host = kind("UDP", interface, port)
        self.protocol = protocol
        protocol.makeConnection(self)

    def getHost(self) -> Any:
        return self._host

    def write(self, data: bytes, to: tuple[str, int]) -> None:
        self.sent.append((data, to))

    def stopListening(self) -> Deferred[None]:
        self.is_open = False
        return succeed(None)


class _Reactor(Clock):  # type: ignore[misc]
    """Opens ports in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.opened: list[_Port] = []

    def listenUDP(self, port: int, protocol: Any, interface: str, maxPacketSize: int) -> _Port:
        if port == 1:
            raise CannotListenError(interface, port, OSError("not yours"))
        self.opened.append(_Port(port, protocol, interface))
        return self.opened[-1]


class _Plane:
    """Answers every datagram with what it is told to."""

    def __init__(self) -> None:
        self.due: list[tuple[bytes, tuple[bytes, int]]] = []
        self.at: float | None = None

    def receive_datagram(self, data: bytes, source: tuple[bytes, int], now: float) -> None:
        self.due.append((b"answer to " + data, source))

    def receive_datagrams(self, batch: list[Any], now: float) -> None:
        while batch:
            self.receive_datagram(*batch.pop(0), now)

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, tuple[bytes, int]]]:
        due, self.due = self.due, []
        if self.at is not None and now >= self.at:
            self.at = None
            due.append((b"late", _V4))
        return due

    def next_timeout(self) -> float | None:
        return self.at


class ControlSocketsTests(SynchronousTestCase):
    """Three sockets in memory."""

    def setUp(self) -> None:
        self.reactor, self.plane = _Reactor(), _Plane()
        self.sockets = ControlSockets(self.plane, self.reactor, self.reactor)
        hosts = ("127.0.0.1", "127.0.0.2", "2001:db8::2")
        self.sockets.open([SocketAddress(host, 4342) for host in hosts], 4096)
        self.first, self.second, self.third = self.reactor.opened

    def test_answer_leaves_by_the_socket_that_the_question_came_to(self) -> None:
        """The others are silent."""
        self.second.protocol.datagramReceived(b"x", ("192.0.2.1", 4342))
        self.assertEqual(self.second.sent, [(b"answer to x", ("192.0.2.1", 4342))])
        self.assertEqual(self.first.sent + self.third.sent, [])

    def test_other_family_goes_by_the_first_socket_that_reaches_it(self) -> None:
        """A question over IPv4 may be answered to an ITR-RLOC of IPv6, and the other way round."""
        self.plane.due.append((b"six", _V6))
        self.first.protocol.datagramReceived(b"x", ("192.0.2.1", 4342))
        self.assertEqual(self.third.sent, [(b"six", ("2001:db8::1", 4342))])
        self.plane.due.append((b"four", _V4))
        self.third.protocol.datagramReceived(b"y", ("2001:db8::1", 4342))
        self.assertIn((b"four", ("192.0.2.1", 4342)), self.first.sent)

    def test_socket_of_any_ipv6_address_reaches_ipv4(self) -> None:
        """It sends to the mapped address; one that is bound to an address of IPv6 can't."""
        sockets = ControlSockets(self.plane, self.reactor, self.reactor)
        sockets.open([SocketAddress("::", 4342)], 4096)
        self.plane.due.append((b"four", _V4))
        sockets.flush()
        self.assertEqual(self.reactor.opened[-1].sent, [(b"four", ("::ffff:192.0.2.1", 4342))])

    def test_a_batch_is_answered_by_its_socket_and_by_those_that_reach(self) -> None:
        """What no socket reaches is lost."""
        self.plane.due += [(b"six", _V6), (b"four", _V4), (b"nobody", (b"12345", 1))]
        batch = [(b"x", _V4), (b"y", _V6), (b"z", _V4)]
        self.second.protocol.datagrams_received(batch)
        mine = [b"four", b"answer to x", b"answer to z"]
        self.assertEqual([data for data, _to in self.second.sent], mine)
        self.assertEqual([data for data, _to in self.third.sent], [b"six", b"answer to y"])
        self.assertEqual(self.first.sent, [])

    def test_what_is_due_later_is_sent_then(self) -> None:
        """One alarm for all."""
        self.plane.at = 5.0
        self.sockets.rearm()
        self.reactor.advance(4.9)
        self.assertEqual(self.first.sent, [])
        self.reactor.advance(0.2)
        self.assertEqual(self.first.sent, [(b"late", ("192.0.2.1", 4342))])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_datagrams_do_not_wait_for_all_sessions(self) -> None:
        """They are looked for between two chunks, at most each 5 ms; and a port that is not read
        so is left alone.
        """
        looked: list[float] = []
        self.reactor.opened[0].doRead = lambda: looked.append(self.reactor.seconds())
        for _ in range(30):
            self.reactor.advance(0.001)
            self.sockets.look()
        self.assertEqual(len(looked), 6)
        self.assertGreaterEqual(min(b - a for a, b in itertools.pairwise(looked)), 0.0049)

    def test_closing_leaves_nothing(self) -> None:
        """Neither a port nor an alarm; what comes in after it is not answered."""
        self.plane.at = 5.0
        self.sockets.rearm()
        self.successResultOf(self.sockets.close())
        self.assertEqual([port.is_open for port in self.reactor.opened], [False] * 3)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.first.protocol.datagramReceived(b"x", ("192.0.2.1", 4342))
        self.assertEqual(self.first.sent, [])

    def test_socket_that_can_not_be_opened(self) -> None:
        """The sentence names it."""
        with self.assertRaises(ListenError) as caught:
            self.sockets.open([SocketAddress("127.0.0.1", 1)], 4096)
        self.assertIn("127.0.0.1:1", str(caught.exception))
