"""The server's port: who gets a connection, whose datagram is whose, and what garbage does."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

from aioquic.buffer import Buffer
from aioquic.quic.packet import (
    QuicPacketType,
    encode_quic_version_negotiation,
    pull_quic_header,
)
from aioquic.tls import Epoch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.error import CannotListenError, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from lispmsrt.transports.handshakes import HandshakeLimits, Handshakes
from lispmsrt.transports.interfaces import StreamAddress
from lispmsrt.transports.quic.endpoints import server_endpoint
from tests.quic_raw import RawPeer, raw_client
from tests.quic_rim import CLIENT_HOST, SERVER_HOST, NotingFactory, Pair, UdpPort, make_credentials

_SERVER = (SERVER_HOST, 4343)
_STRANGER = "198.51.100.7"


class _Served(SynchronousTestCase):
    def setUp(self) -> None:
        directory = Path(self.mktemp())
        directory.mkdir()
        self.credentials = make_credentials(directory)
        self.pair = Pair(self.credentials)
        self.network = self.pair.network

    def raw(self, host: str = CLIENT_HOST, **changes: Any) -> RawPeer:
        """Return a bare client."""
        peer = raw_client(self.network, host, **changes)
        self.addCleanup(peer.stop)
        return peer

    def from_server(self) -> list[bytes]:
        """Return what the server has sent."""
        return [data for source, _to, data in self.network.sent if source == _SERVER]

    def to_server(self) -> list[bytes]:
        """Return what was sent to the server."""
        return [data for _source, to, data in self.network.sent if to == _SERVER]

    def put(self, data: bytes, source: tuple[str, int] = (CLIENT_HOST, 40_000)) -> None:
        """Have a datagram arrive."""
        self.network.arrive(source, _SERVER, data)

    def initial(self, token: bool = False) -> bytes:
        """Return a client's Initial as it was sent, from a connection that came to nothing."""
        peer = self.raw()
        self.network.is_dead = not token
        peer.connect()
        self.network.run(0.1)
        self.network.is_dead = False
        peer.stop()
        sent = [entry for entry in self.network.sent if entry[1] == _SERVER]
        self.initial_source, _to, data = sent[1 if token else 0]
        self.assertGreaterEqual(len(data), 1200)
        return data

    def packet_type(self, data: bytes) -> QuicPacketType:
        """Return the type of a datagram's first packet."""
        return pull_quic_header(Buffer(data=data), host_cid_length=8).packet_type

    def assert_nothing_made(self) -> None:
        """No answer, no connection, no handshake, no timer."""
        self.network.run(0.1)
        self.assertEqual(self.from_server(), [])
        self.assertEqual(len(self.pair.port.handshakes), 0)
        self.assertEqual(self.network.getDelayedCalls(), [])

    def count(self, name: str) -> int:
        """Return one of the port's counters."""
        return int(self.pair.port.counters[name])


class AdmissionTests(_Served):
    """Before there is any state."""

    def test_an_initial_from_a_stranger_is_dropped_unanswered(self) -> None:
        """No Retry either; the factory was asked."""
        self.pair.listen()
        peer = self.raw(_STRANGER)
        peer.connect()
        self.network.run(0.05)
        peer.stop()
        self.assert_nothing_made()
        self.assertEqual(set(self.pair.accepting.asked), {_STRANGER})
        self.assertGreaterEqual(self.count("Initials refused: not admitted"), 1)

    def test_a_stranger_with_another_version_hears_nothing(self) -> None:
        """Nor does anybody: there is one version."""
        self.pair.listen()
        for host in (_STRANGER, CLIENT_HOST):
            peer = self.raw(host, supported_versions=[0x1A2A3A4A])
            # aioquic encodes versions that it does not know like version 1.
            peer.connect()
            self.network.run(0.05)
            peer.stop()
            self.assert_nothing_made()
        self.assertGreaterEqual(self.count("datagrams of another QUIC version"), 2)

    def test_version_negotiation_is_not_answered(self) -> None:
        """Two servers could be set on each other."""
        self.pair.listen()
        packet = encode_quic_version_negotiation(b"12345678", b"87654321", [0x1A2A3A4A])
        self.put(packet)
        self.put(packet + bytes(1200 - len(packet)))
        self.assert_nothing_made()

    def test_an_admitted_address_is_validated_before_anything_is_kept(self) -> None:
        """A Retry, smaller than what it answers, and no state."""
        self.pair.listen()
        self.put(self.initial())
        (retry,) = self.from_server()
        self.assertIs(self.packet_type(retry), QuicPacketType.RETRY)
        self.assertLess(len(retry), 200)
        self.assertEqual(len(self.pair.port.handshakes), 0)
        self.assertEqual(self.network.getDelayedCalls()[1:], [])

    def test_a_token_is_good_for_its_address_only(self) -> None:
        """Another port is another address, and other octets are no token."""
        self.pair.listen()
        datagram = self.initial(token=True)
        self.network.run(15)
        self.network.sent.clear()
        begun = self.count("handshakes begun")
        self.put(datagram, (CLIENT_HOST, 40_001))
        self.assertEqual(self.count("Initials refused: bad token"), 1)
        self.assertEqual(self.count("handshakes begun"), begun)
        self.assert_nothing_made()

    def test_a_token_is_asked_about_again(self) -> None:
        """What admitted the first Initial may be gone by the second."""
        self.pair.listen()
        datagram = self.initial(token=True)
        self.network.run(15)
        self.network.sent.clear()
        self.pair.accepting.hosts = ()
        self.put(datagram)
        self.assert_nothing_made()

    def test_small_initials_make_no_state(self) -> None:
        """Under 1200 octets the answer could be larger than the question."""
        self.pair.listen()
        datagram = self.initial()
        header_end = 60
        cut = bytearray(datagram[:1199])
        # The packet's length in its header, so that it is whole.
        header = pull_quic_header(Buffer(data=datagram), host_cid_length=8)
        at = datagram.index(b"\x00", 6 + 8 + 1 + 8) + 1
        self.assertLess(at, header_end)
        cut[at : at + 2] = (0x4000 | 1199 - at - 2).to_bytes(2, "big")
        whole = pull_quic_header(Buffer(data=bytes(cut)), host_cid_length=8)
        self.assertEqual(whole.destination_cid, header.destination_cid)
        self.put(bytes(cut))
        self.assertEqual(self.count("Initials that are too small or too late"), 1)
        self.assert_nothing_made()

    def test_unknown_connections_are_dropped_and_counted(self) -> None:
        """Short and long headers; no stateless reset."""
        self.pair.listen()
        self.put(b"\x40" + bytes(60))
        self.put(b"\x40" + bytes(3))
        self.put(
            b"\xe0\x00\x00\x00\x01\x08" + bytes(8) + b"\x08" + bytes(8) + b"\x04" + bytes(1300)
        )
        self.put(b"")
        self.assertEqual(self.count("datagrams of no connection"), 2)
        self.assertEqual(self.count("datagrams that are not QUIC"), 2)
        self.assert_nothing_made()

    def test_a_factory_that_builds_nothing_refuses(self) -> None:
        """The client is told."""
        self.pair.listen()
        self.pair.accepting.buildProtocol = lambda addr: None  # type: ignore[method-assign]
        self.pair.connect()
        self.network.run(1)
        transport: Any = self.pair.client.transport
        transport.write(b"x")
        self.network.run(1)
        assert self.pair.client.reason is not None
        self.assertIn("application error REFUSED", str(self.pair.client.reason.value))

    def test_a_factory_without_admission_takes_everybody(self) -> None:
        """As Twisted's endpoints do."""
        self.pair.accepting = NotingFactory()  # type: ignore[assignment]
        self.pair.establish()


class HandshakeTests(_Served):
    """How many, how long, and what about."""

    def test_handshakes_are_limited_per_host(self) -> None:
        """Nobody else is kept out by one host's."""
        self.pair.listen()
        self.pair.port.handshakes = Handshakes(HandshakeLimits(max_handshakes_per_host=2))
        self.pair.accepting.hosts = (CLIENT_HOST, _STRANGER)
        peers = [self.raw() for _peer in range(3)] + [self.raw(_STRANGER)]
        for peer in peers:
            peer.connect()
            self.network.run(0.1)
        done = [peer.quic._handshake_complete for peer in peers]
        self.assertEqual(done, [True, True, False, True])
        self.assertEqual(len(self.pair.port.handshakes), 3)

    def test_a_handshake_lasts_until_the_first_octet(self) -> None:
        """And gives its place to the next one then."""
        self.pair.listen()
        peer = self.raw()
        peer.connect()
        self.network.run(1)
        self.assertEqual(len(self.pair.port.handshakes), 1)
        peer.send(b"x")
        self.network.run(1)
        self.assertEqual(len(self.pair.port.handshakes), 0)
        self.network.run(20)
        self.assertIsNone(peer.ending)

    def test_a_client_that_says_nothing_is_closed(self) -> None:
        """However alive it is."""
        self.pair.listen()
        peer = self.raw()
        peer.connect()
        for _second in range(11):
            peer.quic.send_ping(0)
            peer.flush()
            self.network.run(1)
        self.assertEqual((peer.ending.error_code, peer.ending.frame_type), (4, None))
        self.assertEqual(peer.ending.reason_phrase, "the handshake took too long")
        self.assertEqual(len(self.pair.port.handshakes), 0)
        self.assertEqual(self.pair.accepting.protocols, [])

    def test_a_client_that_goes_no_further_is_forgotten(self) -> None:
        """After its Initial with a token."""
        self.pair.listen()
        self.initial(token=True)
        self.assertEqual(len(self.pair.port.handshakes), 1)
        self.network.is_dead = True
        self.network.run(12)
        self.assertEqual(len(self.pair.port.handshakes), 0)
        self.assertEqual(self.network.getDelayedCalls(), [])

    def test_garbage_behind_a_good_token_keeps_no_place(self) -> None:
        """Its keys are the first that can tell."""
        self.pair.listen()
        datagram = self.initial(token=True)
        self.network.run(15)
        self.network.sent.clear()
        self.put(datagram[:200] + bytes(1000), self.initial_source)
        self.assertEqual(self.count("Initials that made no sense"), 1)
        self.assert_nothing_made()

    def test_another_application_protocol_is_refused(self) -> None:
        """And none at all, which aioquic would take."""
        self.pair.listen()
        for alpn in (["h3"], None):
            peer = self.raw(alpn_protocols=alpn)
            peer.connect()
            self.network.run(1)
            self.assertIsNotNone(peer.ending, alpn)
            self.assertEqual(peer.ending.error_code, 0x100 + 120)
        self.assertEqual(len(self.pair.port.handshakes), 0)

    def test_no_session_tickets_are_given(self) -> None:
        """Without one, no early data can ever be replayed."""
        self.pair.listen()
        tickets: list[Any] = []
        peer = self.raw()
        peer.quic._session_ticket_handler = tickets.append
        peer.connect()
        self.network.run(1)
        peer.send(b"x")
        self.network.run(1)
        self.assertEqual(tickets, [])
        self.assertFalse(self.pair.server.reason)


class MigrationTests(_Served):
    """A connection stays with its host."""

    def _peer(self) -> RawPeer:
        self.pair.listen()
        peer = self.raw()
        peer.connect()
        self.network.run(0.3)
        peer.send(b"first")
        self.network.run(0.3)
        return peer

    def _move(self, peer: RawPeer, host: str) -> None:
        peer.port.stopListening()
        peer.port = self.network.listenUDP(0, peer, interface=host)

    def test_another_port_of_the_host_is_fine(self) -> None:
        """NAT does that."""
        peer = self._peer()
        self._move(peer, CLIENT_HOST)
        peer.send(b" second")
        self.network.run(1)
        transport: Any = self.pair.server.transport
        transport.write(b"answer")
        self.network.run(1)
        self.assertEqual(bytes(self.pair.server.received), b"first second")
        self.assertEqual(peer.received, b"answer")

    def test_another_host_is_not_heard(self) -> None:
        """Not even one that could have a connection of its own."""
        peer = self._peer()
        self.pair.accepting.hosts = (CLIENT_HOST, _STRANGER)
        self._move(peer, _STRANGER)
        self.network.sent.clear()
        peer.send(b" second")
        self.network.run(1)
        self.assertEqual(bytes(self.pair.server.received), b"first")
        self.assertEqual([to for source, to, _data in self.network.sent if to[0] == _STRANGER], [])
        self.assertGreaterEqual(self.count("datagrams from another host than the connection's"), 1)
        self._move(peer, CLIENT_HOST)
        self.network.run(5)
        self.assertEqual(bytes(self.pair.server.received), b"first second")

    def test_connection_ids_may_change(self) -> None:
        """Those issued are known, those retired are not."""
        peer = self._peer()
        for _change in range(20):
            peer.quic.change_connection_id()
            peer.send(b".")
            self.network.run(0.3)
        self.assertEqual(bytes(self.pair.server.received), b"first" + b"." * 20)
        self.assertLessEqual(len(self.pair.port._routes), 11)
        transport: Any = self.pair.server.transport
        transport.loseConnection()
        self.network.run(5)
        self.assertEqual(self.pair.port._routes, {})


class StopTests(_Served):
    """The end of the port."""

    def test_a_port_with_nobody_stops_at_once(self) -> None:
        """And tells its factory, as it did at the start."""
        stopped = []
        self.pair.accepting.stopFactory = lambda: stopped.append(1)  # type: ignore[method-assign]
        self.pair.listen()
        verifyObject(IListeningPort, self.pair.port)
        self.assertEqual(self.pair.port.getHost(), StreamAddress("QUIC", *_SERVER))
        self.successResultOf(self.pair.port.stopListening())
        self.assertEqual((stopped, self.network.ports), ([1], []))
        self.assertEqual(self.network.getDelayedCalls(), [])
        self.successResultOf(self.pair.port.stopListening())
        self.put(self.initial())

    def test_connections_that_the_application_ends_are_flushed_first(self) -> None:
        """The Deferred fires with the last of them, and no timer is left."""
        _client, server = self.pair.establish()
        stopped = self.pair.port.stopListening()
        self.assertNoResult(stopped)
        transport: Any = server.transport
        transport.write(b"goodbye")
        transport.loseConnection()
        self.network.run(1)
        self.successResultOf(stopped)
        self.assertEqual(bytes(self.pair.client.received), b"goodbye")
        assert self.pair.client.reason is not None
        self.assertIs(self.pair.client.reason.type, ConnectionDone)
        self.assertEqual(self.network.getDelayedCalls(), [])
        self.assertEqual(self.network.ports, [])

    def test_connections_that_nobody_ends_are_ended(self) -> None:
        """After a moment."""
        _client, server = self.pair.establish()
        stopped = self.pair.port.stopListening()
        self.network.run(1.5)
        self.assertIsNone(server.reason)
        self.network.run(1.5)
        self.successResultOf(stopped)
        self.assertIsNotNone(server.reason)

    def test_stopping_does_not_wait_for_a_dead_peer_for_long(self) -> None:
        """Nor for its acknowledgement of the last octets."""
        _client, server = self.pair.establish()
        self.network.is_dead = True
        stopped = self.pair.port.stopListening()
        transport: Any = server.transport
        transport.loseConnection()
        self.network.run(5.5)
        self.successResultOf(stopped)

    def test_handshakes_are_given_up(self) -> None:
        """Nobody has a protocol for them."""
        self.pair.listen()
        peer = self.raw()
        peer.connect()
        self.network.run(0.5)
        stopped = self.pair.port.stopListening()
        self.network.run(0.1)
        self.successResultOf(stopped)
        self.assertEqual(peer.ending.error_code, 3)

    def test_nobody_new_is_taken_meanwhile(self) -> None:
        """The others still have the port."""
        self.pair.establish()
        self.pair.port.stopListening()
        peer = self.raw()
        peer.connect()
        self.network.run(1)
        self.assertFalse(peer.quic._handshake_complete)
        self.assertGreaterEqual(self.count("Initials that are too small or too late"), 1)

    def test_a_port_in_use_is_an_error(self) -> None:
        """From listen, for the operator."""
        self.pair.listen()
        endpoint = server_endpoint(
            self.network,
            "4343",
            interface=SERVER_HOST,
            certificate=self.credentials.certificate,
            privateKey=self.credentials.key,
        )
        self.failureResultOf(endpoint.listen(Factory()), CannotListenError)

    def test_what_the_network_refuses_to_send_is_lost(self) -> None:
        """And comes later."""
        client, server = self.pair.establish()
        (port,) = [port for port in self.network.ports if port.where == _SERVER]
        self.assertIsInstance(port, UdpPort)
        port.write_error = OSError(101, "Network is unreachable")
        transport: Any = server.transport
        transport.write(b"late")
        self.network.run(0.5)
        port.write_error = None
        self.network.run(3)
        self.assertEqual(bytes(client.received), b"late")
        self.assertGreaterEqual(self.count("datagrams that could not be sent"), 1)

    def test_there_are_not_too_many_farewells(self) -> None:
        """Who comes when there is no room is forgotten at once."""
        self.patch(
            __import__("lispmsrt.transports.quic.server", fromlist=["x"]), "_MAX_FAREWELLS", 0
        )
        _client, server = self.pair.establish()
        transport: Any = server.transport
        transport.abortConnection()
        self.network.advance(0)
        self.assertEqual(self.pair.port._routes, {})
        self.network.run(1)
        assert self.pair.client.reason is not None
        self.assertIs(self.pair.client.reason.type, ConnectionLost)


class GarbageTests(_Served):
    """Malformed datagrams harm nobody."""

    def setUp(self) -> None:
        super().setUp()
        self.pair.establish()
        self.network.run(1)
        self.samples = self.to_server()

    def _still_works(self) -> None:
        before = len(self.pair.server.received)
        transport: Any = self.pair.client.transport
        transport.write(b"still here")
        self.network.run(2)
        self.assertEqual(bytes(self.pair.server.received[before:]), b"still here")
        self.assertEqual(self.flushLoggedErrors(), [])

    @given(st.lists(st.binary(max_size=1500), max_size=20))
    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    def test_any_octets_at_the_server(self, datagrams: list[bytes]) -> None:
        """From the connection's own host."""
        for data in datagrams:
            self.put(data)
        self._still_works()

    @given(st.integers(0, 1 << 30), st.booleans())
    @settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
    def test_real_datagrams_with_errors(self, seed: int, to_client: bool) -> None:
        """Cut, with flipped bits, spliced: none of it can be decrypted."""
        random = Random(seed)
        samples = self.from_server() if to_client else self.samples
        data = bytearray(random.choice(samples))
        for _flip in range(random.randint(1, 8)):
            data[random.randrange(len(data))] ^= 1 << random.randrange(8)
        if random.random() < 0.3:
            data = data[: random.randrange(len(data))]
        if random.random() < 0.3:
            data += random.choice(samples)
        if to_client:
            transport: Any = self.pair.client.transport
            self.network.arrive(
                _SERVER, (transport.getHost().host, transport.getHost().port), bytes(data)
            )
        else:
            self.put(bytes(data))
        self._still_works()

    @given(st.binary(min_size=1, max_size=200))
    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    def test_any_octets_in_a_packet_of_a_peer_with_keys(self, frames: bytes) -> None:
        """They end its own connection, or not; ours goes on."""
        peer = self.raw()
        peer.connect()
        self.network.run(0.1)
        peer.send(b"x")
        self.network.run(0.1)
        peer.quic._write_application = lambda builder, network_path, now: self._stuff(
            peer, builder, frames
        )
        peer.flush()
        self.network.run(0.1)
        peer.stop()
        self._still_works()

    def _stuff(self, peer: RawPeer, builder: Any, frames: bytes) -> None:
        del peer.quic._write_application
        builder.start_packet(QuicPacketType.ONE_RTT, peer.quic._cryptos[Epoch.ONE_RTT])
        builder.start_frame(0x01, capacity=1 + len(frames)).push_bytes(frames)

    def test_an_error_in_aioquic_ends_one_connection(self) -> None:
        """Logged once, and nobody else notices."""
        peer = self.raw()
        peer.connect()
        self.network.run(0.1)
        peer.send(b"x")
        self.network.run(0.1)
        server = self.pair.accepting.protocols[1]
        transport: Any = server.transport

        def fail(*args: Any) -> None:
            raise IndexError("pop from empty list")

        transport._driver.quic.receive_datagram = fail
        peer.send(b"y")
        peer.send(b"y")
        self.network.run(0.1)
        self.assertEqual(len(self.flushLoggedErrors(IndexError)), 1)
        assert server.reason is not None
        self.assertIs(server.reason.type, ConnectionLost)
        self._still_works()
