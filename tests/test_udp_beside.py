"""A second socket at a UDP address, for datagrams that others are not to crowd out.

The sockets are real, for it is the kernel that sorts; the reactor goes round when a test says so.
"""

from __future__ import annotations

import errno
import socket
from typing import Any

from twisted.internet.error import CannotListenError
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.compiled import twin
from lispmsrt.config import SocketAddress
from lispmsrt.control.plane import ControlPlane
from lispmsrt.services.control_sockets import ControlSockets
from lispmsrt.sockets import set_receive_buffer
from lispmsrt.transports.udp import beside, listen_beside, listen_udp
from lispmsrt.wire.messages import ControlType
from tests.test_udp_port import _PATIENCE, _Part, _Reactor

_V4, _V6 = "127.0.0.1", "::1"
_SMALL = 4096


class _Taker:
    """A datagram protocol that notes what it gets."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.transport: Any = None

    def makeConnection(self, transport: Any) -> None:
        self.transport = transport

    def doStop(self) -> None:
        """Its socket is closed."""

    def datagrams_received(self, batch: list[Any]) -> None:
        self.taken += [data for data, _source in batch]
        batch.clear()


class _Compiled(SynchronousTestCase):
    if twin("lispmsrt.transports.udp._datagrams") is None:
        skip = "needs the compiled module"

    def setUp(self) -> None:
        self.reactor = _Reactor()

    def client(self, host: str = _V4) -> socket.socket:
        """Return somebody's socket."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        made = socket.socket(family, socket.SOCK_DGRAM)
        self.addCleanup(made.close)
        made.settimeout(_PATIENCE)
        return made


class SortingTests(_Compiled):
    """What comes to which of the two."""

    def open(self, kinds: tuple[int, ...] = (1, 8), host: str = _V4) -> None:
        """Open both."""
        self.first, self.second = _Taker(), _Taker()
        self.port: Any = listen_udp(self.reactor, 0, self.first, host, 65_535)
        self.beside: Any = listen_beside(self.port, self.second, kinds)
        assert self.beside is not None
        for port in (self.port, self.beside):
            set_receive_buffer(port.socket, 1 << 20)
            self.addCleanup(self.reactor.advance, 0)
            self.addCleanup(port.stopListening)

    def send(self, *datagrams: bytes, host: str = _V4) -> None:
        """Send them from one socket, and have both read."""
        client = self.client(host)
        for data in datagrams:
            client.sendto(data, (host, self.port.getHost().port))
        self.port.doRead()
        self.beside.doRead()

    def test_by_the_first_four_bits(self) -> None:
        """Whatever the others are, and however short."""
        for kinds in ((1, 8), (15,), (0,), tuple(range(1, 9))):
            self.open(kinds)
            datagrams = [bytes([octet]) for octet in range(256)]
            self.send(b"", *datagrams)
            wanted = [data for data in datagrams if data[0] >> 4 in kinds]
            self.assertEqual(self.second.taken, wanted)
            self.assertEqual(len(self.first.taken), 257 - len(wanted))

    def test_of_either_family(self) -> None:
        """And from any source."""
        for host in (_V4, _V6):
            self.open(host=host)
            for _source in range(20):
                self.send(b"\x10question", b"\x30other", host=host)
            self.assertEqual(self.first.taken, [b"\x30other"] * 20)
            self.assertEqual(self.second.taken, [b"\x10question"] * 20)

    def test_what_fills_one_takes_no_room_from_the_other(self) -> None:
        """What the kernel drops is dropped of the first."""
        self.open()
        set_receive_buffer(self.port.socket, _SMALL)
        self.send(*[b"\x30" + bytes(1000)] * 200, b"\x10question")
        self.assertLess(len(self.first.taken), 200)
        self.assertEqual(self.second.taken, [b"\x10question"])

    def test_nobody_else_gets_in_by_mistake(self) -> None:
        """Who wants the address for itself is refused, as without a second socket."""
        self.open()
        with self.assertRaises(CannotListenError) as caught:
            listen_udp(self.reactor, self.port.getHost().port, _Taker(), _V4, 65_535)
        self.assertEqual(caught.exception.socketError.errno, errno.EADDRINUSE)

    def test_what_is_possible_to_processes_of_the_same_user(self) -> None:
        """They may share what is shared; who asks for that gets in."""
        self.open()
        other = self.client()
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind((_V4, self.port.getHost().port))

    def test_both_families_at_one_socket(self) -> None:
        """Who is bound to any address of IPv6 hears IPv4 too."""
        self.open(host="::")
        self.send(b"\x10question", b"\x30other", host=_V4)
        self.send(b"\x10question", b"\x30other", host=_V6)
        self.assertEqual(self.first.taken, [b"\x30other"] * 2)
        self.assertEqual(self.second.taken, [b"\x10question"] * 2)

    def test_without_it_the_first_has_all(self) -> None:
        """Once it is closed."""
        self.open()
        self.beside.stopListening()
        self.reactor.advance(0)
        self.send_to_first(b"\x10question", b"\x30other")
        self.assertEqual(self.first.taken, [b"\x10question", b"\x30other"])

    def send_to_first(self, *datagrams: bytes) -> None:
        """Send, and have the first read."""
        client = self.client()
        for data in datagrams:
            client.sendto(data, (_V4, self.port.getHost().port))
        self.port.doRead()


class RefusedTests(_Compiled):
    """Where there can't be a second one."""

    def test_a_kernel_that_does_not_sort(self) -> None:
        """The first is as if nothing had been tried, and nothing is left."""

        def refuse(handle: socket.socket, program: bytes) -> None:
            raise OSError(errno.ENOPROTOOPT, "no such option")

        self.patch(beside, "_attach", refuse)
        first = _Taker()
        port: Any = listen_udp(self.reactor, 0, first, _V4, 65_535)
        self.assertIsNone(listen_beside(port, _Taker(), (1,)))
        self.reactor.advance(0)
        self.assertEqual(self.reactor.readers, [port])
        self.assertFalse(port.socket.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT))
        self.client().sendto(b"\x10question", (_V4, port.getHost().port))
        port.doRead()
        self.assertEqual(first.taken, [b"\x10question"])
        port.stopListening()
        self.reactor.advance(0)

    def test_a_second_that_can_not_be_bound(self) -> None:
        """Out of descriptors, say."""

        def refuse(self: Any) -> None:
            raise CannotListenError(_V4, 0, OSError(errno.EMFILE, "too many"))

        self.patch(beside._PortBeside, "startListening", refuse)
        port: Any = listen_udp(self.reactor, 0, _Taker(), _V4, 65_535)
        self.assertIsNone(listen_beside(port, _Taker(), (1,)))
        self.assertFalse(port.socket.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT))
        port.stopListening()
        self.reactor.advance(0)

    def test_ports_of_another_kind(self) -> None:
        """In memory, or without the compiled module."""
        self.assertIsNone(listen_beside(Clock(), _Taker(), (1,)))  # type: ignore[arg-type]


class ControlSocketsTests(_Compiled):
    """A control plane's."""

    def setUp(self) -> None:
        super().setUp()
        self.part = _Part()
        plane = ControlPlane({kind: self.part for kind in range(16)}, (self.part,))
        self.sockets = ControlSockets(plane, self.reactor, self.reactor)
        self.sockets.open([SocketAddress(_V4, 0)], 1 << 20)

    def tearDown(self) -> None:
        self.sockets.close()
        self.reactor.advance(0)
        self.assertEqual(self.reactor.readers, [])

    def test_map_requests_have_a_socket_of_their_own(self) -> None:
        """Plain or in an ECM; it is one address, and answers leave from it."""
        (address,) = self.sockets.addresses
        client = self.client()
        questions = [ControlType.MAP_REQUEST, ControlType.ENCAPSULATED]
        others = [ControlType.MAP_REGISTER, ControlType.MAP_NOTIFY_ACK, ControlType.INFO]
        for kind in questions + others:
            client.sendto(bytes([kind << 4]), (_V4, address.port))
        first, second = self.reactor.readers
        second.doRead()
        self.assertEqual([data[0] >> 4 for data, _source in self.part.taken], questions)
        first.doRead()
        kinds = [data[0] >> 4 for data, _source in self.part.taken]
        self.assertEqual(kinds, questions + others)
        for _datagram in kinds:
            self.assertEqual(client.recvfrom(100)[1], (_V4, address.port))

    def test_it_can_be_closed_and_opened_again(self) -> None:
        """With both sockets, and no more turns than these."""
        for _time in range(3):
            self.sockets.close()
            self.reactor.advance(0)
            self.assertEqual(self.reactor.readers, [])
            self.sockets.open([SocketAddress(_V4, 0)], 1 << 20)
            self.assertEqual(len(self.reactor.readers), 2)
            self.assertEqual(len(self.sockets.turns), 2)

    def test_where_there_is_none_that_is_said(self) -> None:
        """Once, and all come to the first."""

        def refuse(handle: socket.socket, program: bytes) -> None:
            raise OSError(errno.ENOPROTOOPT, "no such option")

        self.patch(beside, "_attach", refuse)
        self.sockets.close()
        self.reactor.advance(0)
        with capturedLogs() as events:
            self.sockets.open([SocketAddress(_V4, 0)], 1 << 20)
        warnings = [event for event in events if event["log_level"] is LogLevel.warn]
        self.assertEqual(len(warnings), 1)
        self.assertEqual(len(self.sockets.ports), 1)

    def test_sessions_let_both_be_read(self) -> None:
        """Between chunks."""
        (address,) = self.sockets.addresses
        client = self.client()
        for kind in (ControlType.MAP_REQUEST, ControlType.MAP_REGISTER):
            client.sendto(bytes([kind << 4]), (_V4, address.port))
        self.reactor.advance(1.0)
        self.sockets.look()
        self.assertEqual(len(self.part.taken), 2)
