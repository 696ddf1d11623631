"""UDP ports over loopback: Twisted's own, and the one that takes and sends batches.

The reactor is a small one, so that every turn is the test's.
"""

from __future__ import annotations

import errno
import select
import socket
import struct
from contextlib import closing
from typing import Any, ClassVar

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IReactorFDSet, IReactorUDP
from twisted.internet.task import Clock
from twisted.internet.udp import Port
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from lispmsrt.compiled import twin
from lispmsrt.control.plane import ControlPlane
from lispmsrt.protocols import ControlProtocol, Datagram
from lispmsrt.sockets import set_receive_buffer
from lispmsrt.transports.udp import BatchPort, listen_udp
from lispmsrt.transports.udp import port as port_module
from tests.readers import Readers

_COMPILED: Any = twin("lispmsrt.transports.udp._datagrams")
_V4, _V6 = "127.0.0.1", "::1"
_PATIENCE = 10.0
"""Seconds after which what should have come will not."""

_KIND = b"\x30"
"""The first octet of what the plane's one part takes."""


@implementer(IReactorFDSet, IReactorUDP)
class _Reactor(Readers):  # type: ignore[misc]
    """Watches sockets when it is told to."""

    def listenUDP(self, port: int, protocol: Any, interface: str, maxPacketSize: int) -> Port:
        opened = Port(port, protocol, interface, maxPacketSize, self)
        opened.startListening()
        return opened

    def turn(self) -> bool:
        """Read once from whatever has something; tell whether anything had within the patience."""
        ready, _, _ = select.select(self.readers, [], [], _PATIENCE)
        for reader in ready:
            reader.doRead()
        return bool(ready)


class _Part:
    """Sends everything back; fails where it is told to; goes by batches if it is asked to."""

    def __init__(self) -> None:
        self.taken: list[Datagram] = []
        self.batches: list[int] = []
        self._due: list[Datagram] = []

    def receive_datagram(self, data: bytes, source: tuple[bytes, int], now: float) -> None:
        if data.endswith(b"poison"):
            raise ValueError("this one")
        self.taken.append((data, source))
        self._due.append((data, source))

    def datagrams_to_send(self, now: float) -> list[Datagram]:
        due, self._due = self._due, []
        self.batches.append(len(due))
        return due

    def next_timeout(self) -> None:
        return None


def _client(host: str = _V4) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    client = socket.socket(family, socket.SOCK_DGRAM)
    client.bind((host, 0))
    client.settimeout(_PATIENCE)
    set_receive_buffer(client, 1 << 20)
    return client


class _Ground:
    """An echo behind a port of one of the two kinds."""

    def __init__(self, interface: str = _V4) -> None:
        self.reactor, self.part = _Reactor(), _Part()
        plane = ControlPlane({kind: self.part for kind in range(16)}, (self.part,))
        self.protocol = ControlProtocol(plane, self.reactor)
        self.port: Any = listen_udp(self.reactor, 0, self.protocol, interface, 65_535)
        set_receive_buffer(self.port.socket, 1 << 20)

    def at(self, host: str) -> tuple[str, int]:
        return (host, self.port.getHost().port)

    def run(self, count: int) -> None:
        """Turn until so many datagrams were taken."""
        while len(self.part.taken) < count and self.reactor.turn():
            pass

    def close(self) -> None:
        self.port.stopListening()
        self.reactor.advance(0)


class _Suite:
    """What a port does, of either kind."""

    kind: ClassVar[type[Port]]

    def ground(self, interface: str = _V4) -> _Ground:
        ground = _Ground(interface)
        self.assertIs(type(ground.port), self.kind)  # type: ignore[attr-defined]
        self.addCleanup(ground.close)  # type: ignore[attr-defined]
        return ground

    def client(self, host: str = _V4) -> socket.socket:
        client = _client(host)
        self.addCleanup(client.close)  # type: ignore[attr-defined]
        return client


class TwistedPortTests(_Suite, SynchronousTestCase):
    """Where nothing was compiled."""

    kind = Port

    def setUp(self) -> None:
        self.patch(port_module, "_datagrams", None)

    def test_a_thousand_datagrams_are_answered(self) -> None:
        """In the order in which they came, each to where it came from."""
        ground, client = self.ground(), self.client()
        for burst in range(10):
            sent = [_KIND + struct.pack("!HH", burst, number) for number in range(100)]
            for data in sent:
                client.sendto(data, ground.at(_V4))
            ground.run(100 * (burst + 1))
            self.assertEqual([client.recv(100) for _ in sent], sent)
        self.assertEqual(ground.protocol.counters, {})

    def test_both_families_at_a_socket_of_any_address(self) -> None:
        """IPv4 is IPv4 inside, and answered as it came."""
        ground, clients = self.ground("::"), [self.client(_V4), self.client(_V6)]
        hosts = (_V4, _V6) * 4
        for number, host in enumerate(hosts):
            clients[number % 2].sendto(_KIND + bytes([number]), ground.at(host))
        ground.run(len(hosts))
        ports = [client.getsockname()[1] for client in clients]
        packed = [socket.inet_aton(_V4), socket.inet_pton(socket.AF_INET6, _V6)]
        self.assertEqual(
            sorted(ground.part.taken),
            [
                (_KIND + bytes([number]), (packed[number % 2], ports[number % 2]))
                for number in range(len(hosts))
            ],
        )
        for client, parity in zip(clients, (0, 1), strict=True):
            self.assertEqual([client.recv(9)[1] % 2 for _ in range(4)], [parity] * 4)

    def test_what_is_refused_takes_nothing_along(self) -> None:
        """Too long, to port 0, of the other family: counted, the others arrive."""
        ground, client = self.ground(), self.client()
        to = (socket.inet_aton(_V4), client.getsockname()[1])
        bad = [(bytes(70_000), to), (b"x", (to[0], 0)), (b"x", (bytes(15) + b"\1", to[1]))]
        good = [(_KIND + bytes([number]), to) for number in range(20)]
        ground.protocol.send_all([bad[0], *good[:9], bad[1], bad[2], *good[9:], bad[0]])
        self.assertEqual([client.recv(9) for _ in good], [data for data, _to in good])
        self.assertEqual(ground.protocol.counters, {"datagrams that could not be sent": 4})

    def test_sizes_from_nothing_to_the_largest(self) -> None:
        """IPv4 carries 65,507 octets; a datagram of none is one."""
        ground, client = self.ground(), self.client()
        for size in (0, 1, 1472, 1473, 9000, 65_507):
            client.sendto(b"\x30" * size, ground.at(_V4))
            ground.reactor.turn()
            if size:
                self.assertEqual(len(client.recv(65_535)), size)
        sizes = [len(data) for data, _source in ground.part.taken]
        self.assertEqual(sizes, [1, 1472, 1473, 9000, 65_507])
        self.assertEqual(ground.protocol.counters, {})

    def test_one_that_fails_takes_nothing_along(self) -> None:
        """It is logged, those before and behind it are answered."""
        ground, client = self.ground(), self.client()
        for data in (b"\x30a", b"\x30poison", b"\x30b", b"\x30poison"):
            client.sendto(data, ground.at(_V4))
        ground.run(2)
        self.assertEqual([client.recv(9) for _ in range(2)], [b"\x30a", b"\x30b"])
        logged = len(self.flushLoggedErrors(ValueError))
        while logged < 2:
            self.assertTrue(ground.reactor.turn())
            logged += len(self.flushLoggedErrors(ValueError))

    def test_closing_leaves_what_is_queued_unread(self) -> None:
        """Nothing fails, nothing is watched any more, the address is free."""
        ground, client = self.ground(), self.client()
        where = ground.at(_V4)
        client.sendto(b"\x30late", where)
        stopped = ground.port.stopListening()
        self.assertEqual(ground.reactor.readers, [])
        ground.protocol.send_all([(b"x", (socket.inet_aton(_V4), client.getsockname()[1]))])
        ground.reactor.advance(0)
        self.successResultOf(stopped)
        self.assertEqual(ground.part.taken, [])
        ground.protocol.send_all([(b"x", (socket.inet_aton(_V4), 9))])
        with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as other:
            other.bind(where)

    def test_address_that_is_taken(self) -> None:
        """The error is Twisted's."""
        ground = self.ground()
        with self.assertRaises(CannotListenError) as caught:
            listen_udp(_Reactor(), ground.at(_V4)[1], ground.protocol, _V4, 65_535)
        self.assertEqual(caught.exception.socketError.errno, errno.EADDRINUSE)


class BatchPortTests(TwistedPortTests):
    """The same, and what only batches have."""

    kind = BatchPort
    if _COMPILED is None:
        skip = "needs the compiled module"

    def setUp(self) -> None:
        """The port is the one that listen_udp chooses."""

    def test_a_turn_has_an_end(self) -> None:
        """TCP sessions and timers must not wait for all that somebody sends."""
        ground, client = self.ground(), self.client()
        for _datagram in range(400):
            client.sendto(b"\x30", ground.at(_V4))
        ground.run(400)
        self.assertEqual(sum(ground.part.batches), 400)
        self.assertLessEqual(max(ground.part.batches), port_module._DATAGRAMS_A_TURN)
        self.assertLess(len(ground.part.batches), 200)

    def test_a_turn_of_long_datagrams_has_fewer(self) -> None:
        """What takes long to read is long."""
        ground, client = self.ground(), self.client()
        ground.port.maxThroughput = 100_000
        set_receive_buffer(ground.port.socket, 8 << 20)
        for _datagram in range(40):
            client.sendto(b"\x30" * 10_000, ground.at(_V4))
        ground.reactor.turn()
        self.assertLessEqual(max(ground.part.batches), 10 + 16)

    def test_there_is_room_for_the_answers_to_a_batch(self) -> None:
        """They leave at once; the kernel grants at least twice what a socket has."""
        with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as plain:
            usual = plain.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        ours = self.ground().port.socket.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        self.assertGreaterEqual(ours, 2 * usual)

    def test_a_protocol_that_only_fails_is_not_asked_for_ever(self) -> None:
        """It took nothing off the batch."""
        ground, client = self.ground(), self.client()

        def fail(batch: list[Datagram]) -> None:
            raise ValueError(len(batch))

        ground.protocol.datagrams_received = fail  # type: ignore[method-assign]
        client.sendto(b"\x30", ground.at(_V4))
        ground.reactor.turn()
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_reactor_in_memory_has_ports_of_its_own(self) -> None:
        """Who watches no descriptors can't watch ours."""
        opened = []

        class Memory(Clock):  # type: ignore[misc]
            def listenUDP(self, *args: object, **more: object) -> None:
                opened.append((args, more))

        listen_udp(Memory(), 7, "protocol", _V4, 99)
        self.assertEqual(opened, [((7, "protocol"), {"interface": _V4, "maxPacketSize": 99})])


class ParityTests(SynchronousTestCase):
    """Whatever arrives, both kinds of port say the same to the control plane."""

    if _COMPILED is None:
        skip = "needs the compiled module"

    @settings(max_examples=25, deadline=None)
    @given(
        st.lists(
            st.tuples(st.integers(0, 3), st.one_of(st.binary(max_size=9), st.just(bytes(3000)))),
            min_size=1,
            max_size=20,
        )
    )
    def test_datagrams_of_several_sources(self, sent: list[tuple[int, bytes]]) -> None:
        """Two of each family, at a socket of any address."""
        clients = [_client(host) for host in (_V4, _V6) * 2]
        grounds = [_Ground("::")]
        compiled, port_module._datagrams = port_module._datagrams, None
        try:
            grounds.append(_Ground("::"))
        finally:
            port_module._datagrams = compiled
        for ground in grounds:
            for client, data in sent:
                clients[client].sendto(data, ground.at((_V4, _V6)[client % 2]))
            ground.run(sum(1 for _client, data in sent if data))
            clients[0].sendto(b"end", ground.at(_V4))
            while not ground.part.taken or ground.part.taken[-1][0] != b"end":
                self.assertTrue(ground.reactor.turn())
        batched, single = grounds
        self.assertEqual(sorted(batched.part.taken), sorted(single.part.taken))
        for client in clients:
            of_one = [
                [data for data, source in ground.part.taken if source[1] == client.getsockname()[1]]
                for ground in grounds
            ]
            self.assertEqual(*of_one)
        for closed in (*clients, *grounds):
            closed.close()
