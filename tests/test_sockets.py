"""Socket options, asked back from the kernel."""

from __future__ import annotations

import contextlib
import socket
import struct
from pathlib import Path
from types import SimpleNamespace

from twisted.internet.abstract import FileDescriptor
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactor
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from lispmsrt import sockets
from lispmsrt.sockets import (
    TcpOptions,
    apply_minimum_ttl,
    apply_tcp_options,
    end_text,
    pack_address,
    plain_host,
    queued_octets,
    set_minimum_ttl,
    set_receive_buffer,
    tcp_round_trip_time,
    tcp_socket_below,
    widen_backlog,
)

_ESTABLISHED = b"\1"
"Of struct tcp_info: tcpi_state."


class _Port:
    """A listening port as Twisted has it."""

    def __init__(self, handle: socket.socket) -> None:
        self.socket = handle


class _Transport:
    def __init__(self, handle: object, below: object = None) -> None:
        self._handle = handle
        self.transport = below

    def getHandle(self) -> object:
        return self._handle


class MeasurementTests(SynchronousTestCase):
    """What a connection tells of itself."""

    def _pair(self) -> tuple[socket.socket, socket.socket]:
        listening = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listening.close)
        client = socket.create_connection(listening.getsockname())
        self.addCleanup(client.close)
        server, _address = listening.accept()
        self.addCleanup(server.close)
        return client, server

    def test_the_kernel_measures_the_round_trip_time(self) -> None:
        """In seconds, through wrappers too; on loopback the handshake was the measurement."""
        client, _server = self._pair()
        for transport in (_Transport(client), _Transport(None, _Transport(client))):
            found = tcp_round_trip_time(transport)
            assert found is not None
            self.assertTrue(0 < found < 60, found)

    def test_what_is_no_connection_has_none(self) -> None:
        """Not connected, closed, no TCP, no socket."""
        client, _server = self._pair()
        client.close()
        fresh = socket.socket()
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(udp.close)
        for transport in (client, fresh, udp, None):
            found = tcp_round_trip_time(_Transport(transport))
            # Of a socket that was never connected Linux tells what it would begin with, or nothing.
            self.assertIn(found, (None, 0.0))
        fresh.close()

    def test_a_kernel_that_tells_less_has_none(self) -> None:
        """Its structure ends before the figure."""
        self.patch(sockets, "_RTT", struct.Struct("=1000xI"))
        client, _server = self._pair()
        self.assertIsNone(tcp_round_trip_time(_Transport(client)))

    def test_what_a_transport_has_not_sent_is_counted(self) -> None:
        """In both of Twisted's buffers, through a wrapper too."""
        written = FileDescriptor(MemoryReactor())
        written.connected = 1
        written.write(b"x" * 10)
        written.dataBuffer, written.offset = b"y" * 7, 3
        self.assertEqual(queued_octets(written), 14)
        wrapper = ProtocolWrapper(WrappingFactory(Factory()), Protocol())
        wrapper.makeConnection(written)
        self.assertEqual(queued_octets(wrapper), 14)

    def test_of_other_transports_nothing_is_known(self) -> None:
        """Or only what they say."""
        self.assertEqual(queued_octets(object()), 0)
        self.assertEqual(queued_octets(SimpleNamespace(queued_octets=5)), 5)
        self.assertEqual(queued_octets(SimpleNamespace(dataBuffer="text")), 0)


class TcpOptionsTests(SynchronousTestCase):
    """What a connection gets."""

    def _socket(
        self, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM
    ) -> socket.socket:
        try:
            made = socket.socket(family, kind)
        except OSError as failure:
            raise SkipTest(f"no such sockets here: {failure}") from failure
        self.addCleanup(made.close)
        return made

    def _assert_options(self, handle: socket.socket, *expected: int) -> None:
        options = (
            (socket.SOL_SOCKET, socket.SO_KEEPALIVE),
            (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
            (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL),
            (socket.IPPROTO_TCP, socket.TCP_KEEPCNT),
            (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT),
            (socket.IPPROTO_TCP, socket.TCP_NODELAY),
        )
        self.assertEqual(tuple(handle.getsockopt(*option) for option in options), expected)

    def test_defaults_are_those_of_the_protocol_notes(self) -> None:
        """Idle 10 s, interval 10 s, 3 probes, user timeout 30 s (docs/draft.rst): of which each
        connection makes its own.
        """
        options = TcpOptions()
        self.assertEqual(
            (options.keepalive_idle, options.keepalive_interval, options.keepalive_probes),
            (10, 10, 3),
        )
        handle = self._socket()
        apply_tcp_options(_Transport(handle), options, draw=max)
        self._assert_options(handle, 1, 10, 6, 5, 30_000, 1)

    def test_without_a_user_timeout_it_is_the_probes_that_count(self) -> None:
        """Then none must fit into it."""
        handle = self._socket()
        apply_tcp_options(_Transport(handle), TcpOptions(user_timeout=0.0), draw=max)
        self._assert_options(handle, 1, 10, 10, 3, 0, 1)

    def test_those_that_fall_silent_together_do_not_probe_together(self) -> None:
        """From half of the times up to all; a silence that one bears all do."""
        seen = set()
        for _connection in range(300):
            handle = self._socket()
            apply_tcp_options(_Transport(handle), TcpOptions())
            idle, interval, probes = (
                handle.getsockopt(socket.IPPROTO_TCP, option)
                for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
            )
            self.assertTrue(40 <= idle + interval * probes < 40 + interval, (idle, interval))
            self.assertLessEqual(idle + 3 * interval, 30)
            seen.add((idle, interval))
            handle.close()
        self.assertEqual({idle for idle, _interval in seen}, set(range(5, 11)))
        self.assertLessEqual({interval for _idle, interval in seen}, set(range(3, 9)))
        self.assertGreater(len(seen), 12)

    def test_the_shortest_times_and_the_most_probes(self) -> None:
        """Nothing becomes 0, nor more than the kernel takes."""
        for options, expected in (
            (TcpOptions(1, 1, 2), (1, 1, 2)),
            (TcpOptions(3, 4, 127, 0.0), (2, 4, 127)),
            (TcpOptions(3, 4, 127, 2.0), (2, 1, 127)),
        ):
            handle = self._socket()
            apply_tcp_options(_Transport(handle), options, draw=min)
            timeout = int(1000 * options.user_timeout)
            self._assert_options(handle, 1, *expected, timeout, 1)

    def test_configured_values_reach_the_kernel(self) -> None:
        """Over IPv6 too."""
        handle = self._socket(socket.AF_INET6)
        apply_tcp_options(_Transport(handle), TcpOptions(20, 5, 7, 40.5), draw=max)
        self._assert_options(handle, 1, 20, 5, 7, 40_500, 1)

    def test_the_kernel_holds_little_for_who_does_not_read(self) -> None:
        """Else it takes megabytes of answers before the session hears that nobody reads them."""
        listening, near = self._socket(), self._socket()
        # Of the acceptor: its window is what may be on the way besides.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        near.connect(listening.getsockname())
        apply_tcp_options(_Transport(near), TcpOptions())
        near.setblocking(False)
        taken = 0
        with contextlib.suppress(BlockingIOError):
            while taken < 1 << 20:
                taken += near.send(bytes(4096))
        self.assertGreaterEqual(taken, 1 << 16)
        self.assertLess(taken, 1 << 18)

    def test_minimum_ttl_is_off_unless_configured(self) -> None:
        """GTSM drops silently: nobody gets it unasked."""
        handle = self._socket()
        apply_tcp_options(_Transport(handle), TcpOptions())
        self.assertEqual(handle.getsockopt(socket.IPPROTO_IP, 21), 0)
        apply_tcp_options(_Transport(handle), TcpOptions(minimum_ttl=255))
        self.assertEqual(handle.getsockopt(socket.IPPROTO_IP, 21), 255)

    def test_minimum_hop_limit_of_ipv6(self) -> None:
        """The same option has another name there."""
        handle = self._socket(socket.AF_INET6)
        set_minimum_ttl(handle, 254)
        self.assertEqual(handle.getsockopt(socket.IPPROTO_IPV6, 73), 254)

    def test_who_is_too_far_away_gets_no_connection(self) -> None:
        """The kernel drops the first segment already (RFC 5082)."""
        listening = self._socket()
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        apply_minimum_ttl(_Port(listening), TcpOptions(minimum_ttl=255))
        near, far = self._socket(), self._socket()
        near.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 255)
        near.settimeout(5.0)
        near.connect(listening.getsockname())
        far.settimeout(0.2)
        self.assertRaises(TimeoutError, far.connect, listening.getsockname())

    def test_other_listening_ports_are_left_alone(self) -> None:
        """And all, where nothing is configured."""
        handle = self._socket()
        apply_minimum_ttl(_Port(handle), TcpOptions())
        self.assertEqual(handle.getsockopt(socket.IPPROTO_IP, 21), 0)
        apply_minimum_ttl(object(), TcpOptions(minimum_ttl=255))

    def test_other_transports_are_left_alone(self) -> None:
        """QUIC has no handle, a UNIX socket no TCP options, and UDP is not TCP."""
        udp = self._socket(kind=socket.SOCK_DGRAM)
        for transport in (
            object(),
            _Transport(None),
            _Transport("something of OpenSSL"),
            _Transport(self._socket(socket.AF_UNIX)),
            _Transport(udp),
        ):
            self.assertIsNone(tcp_socket_below(transport))
            apply_tcp_options(transport, TcpOptions())
        self.assertEqual(udp.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE), 0)

    def test_sctp_is_left_alone(self) -> None:
        """Its sockets are of the same families and kinds; the kernel says what they are."""

        class Sctp(socket.socket):
            def getsockopt(self, level: int, option: int) -> int:  # type: ignore
                assert (level, option) == (socket.SOL_SOCKET, socket.SO_PROTOCOL)
                return socket.IPPROTO_SCTP

        with Sctp(socket.AF_INET, socket.SOCK_STREAM) as handle:
            self.assertIsNone(tcp_socket_below(_Transport(handle)))
            apply_tcp_options(_Transport(handle), TcpOptions())

    def test_socket_below_other_transports_is_found(self) -> None:
        """As TLS has its TCP connection: its own handle is no socket."""
        handle = self._socket()
        tls = _Transport("something of OpenSSL", below=_Transport(handle))
        for transport in (tls, _Transport(None, below=tls)):
            self.assertIs(tcp_socket_below(transport), handle)
        apply_tcp_options(tls, TcpOptions(), draw=max)
        self._assert_options(handle, 1, 10, 6, 5, 30_000, 1)

    def test_ring_of_transports_has_no_socket(self) -> None:
        """The search comes to an end."""
        ring = _Transport(None)
        ring.transport = ring
        self.assertIsNone(tcp_socket_below(ring))


class BacklogTests(SynchronousTestCase):
    """Connections that wait to be taken."""

    def _waiting(self, description: str) -> int:
        """Return how many can wait where nobody takes them, of 60."""
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            listening.listen(5)
            widen_backlog(_Port(listening), description)
            clients = [socket.socket() for _ in range(60)]
            for client in clients:
                self.addCleanup(client.close)
                client.setblocking(False)
                client.connect_ex(listening.getsockname())
            return sum(
                client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1) == _ESTABLISHED
                for client in clients
            )

    def test_all_etrs_may_come_at_once(self) -> None:
        """After a restart of their Map-Server."""
        self.assertEqual(self._waiting("tcp:4342"), 60)

    def test_what_the_endpoint_string_says_stays(self) -> None:
        """An operator knows better."""
        self.assertLess(self._waiting("tcp:4342:backlog=5"), 10)

    def test_a_port_without_a_socket_is_left_alone(self) -> None:
        """Those of QUIC and of SCTP in user space."""
        widen_backlog(object(), "quic:4342")


class ReceiveBufferTests(SynchronousTestCase):
    """Buffers for bursts."""

    def _granted(self, octets: int) -> tuple[int, int]:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
            granted = set_receive_buffer(handle, octets)
            return granted, handle.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)

    def test_what_was_asked_for_is_granted_within_the_limit(self) -> None:
        """And the kernel's doubling is not shown."""
        self.assertEqual(self._granted(65_536), (65_536, 131_072))

    def test_what_the_kernel_grants_is_told_not_what_was_asked_for(self) -> None:
        """Beyond rmem_max only with privileges."""
        limit = int(Path("/proc/sys/net/core/rmem_max").read_text())
        granted, doubled = self._granted(limit * 2)
        self.assertEqual(granted, doubled // 2)
        self.assertIn(granted, (limit, limit * 2))

    def test_who_may_not_go_beyond_the_limit_gets_the_limit(self) -> None:
        """Refusal of SO_RCVBUFFORCE is no error."""

        class Unprivileged(socket.socket):
            def setsockopt(self, level: int, option: int, value: int) -> None:  # type: ignore
                if option == 33:
                    raise PermissionError("SO_RCVBUFFORCE")
                super().setsockopt(level, option, value)

        limit = int(Path("/proc/sys/net/core/rmem_max").read_text())
        with Unprivileged(socket.AF_INET, socket.SOCK_DGRAM) as handle:
            self.assertEqual(set_receive_buffer(handle, limit * 2), limit)


class PackAddressTests(SynchronousTestCase):
    """Text to packed addresses."""

    def test_ipv4_and_ipv6(self) -> None:
        """Both families."""
        self.assertEqual(pack_address("192.0.2.1"), bytes([192, 0, 2, 1]))
        self.assertEqual(pack_address("::1"), bytes(15) + b"\1")

    def test_a_zone_does_not_count(self) -> None:
        """It is the kernel's business."""
        self.assertEqual(pack_address("fe80::1%eth0"), pack_address("fe80::1"))

    def test_anything_else_is_no_address(self) -> None:
        """Names, nothing, half addresses."""
        for text in ("", "localhost", "192.0.2", "1.2.3.4.5", "2001:db8", "/run/socket"):
            self.assertIsNone(pack_address(text), text)


class TextTests(SynchronousTestCase):
    """Addresses for people."""

    def test_ipv4_is_written_as_ipv4(self) -> None:
        """Where it came mapped into IPv6, too; what only looks like it stays."""
        for host, written in (
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("::ffff:0:1", "::ffff:0:1"),
            ("::ffff:x", "::ffff:x"),
        ):
            self.assertEqual(plain_host(host), written)

    def test_an_end_is_address_and_port(self) -> None:
        """In brackets where it has colons; nothing where there is nothing."""
        for host, text in (
            ("::ffff:192.0.2.1", "192.0.2.1:4342"),
            ("2001:db8::1", "[2001:db8::1]:4342"),
            ("", ":4342"),
        ):
            self.assertEqual(end_text(SimpleNamespace(host=host, port=4342)), text)
        self.assertEqual(end_text(SimpleNamespace(name="/run/socket")), "")
        self.assertEqual(end_text(None), "")
