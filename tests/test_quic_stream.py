"""One QUIC stream as a transport: life, end, back-pressure, faults; two ends in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IConsumer, IPushProducer, ITransport
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from lispmsrt.transports.interfaces import ISpeaksFirst, StreamAddress
from lispmsrt.transports.quic.stream import HIGH_WATER, LOW_WATER
from tests.quic_raw import RawPeer, raw_client, raw_server
from tests.quic_rim import CLIENT_HOST, SERVER_HOST, Noting, Pair, make_credentials


class _Paired(SynchronousTestCase):
    def setUp(self) -> None:
        directory = Path(self.mktemp())
        directory.mkdir()
        self.credentials = make_credentials(directory)
        self.pair = Pair(self.credentials)
        self.network = self.pair.network

    def conditions(self, **conditions: Any) -> None:
        """Start over on another network."""
        self.pair = Pair(self.credentials, **conditions)
        self.network = self.pair.network

    def establish(self) -> tuple[Any, Any]:
        """Return both protocols' transports, the client's first."""
        client, server = self.pair.establish()
        return client.transport, server.transport

    def raw_client(self) -> RawPeer:
        """Return a bare client with a protocol of ours at the other end."""
        self.pair.listen()
        peer = raw_client(self.network)
        self.addCleanup(peer.stop)
        peer.connect()
        self.network.run(0.2)
        peer.send(b"first")
        self.network.run(0.2)
        return peer

    def raw_server(self, **options: str) -> RawPeer:
        """Return a bare server with a protocol of ours at the other end."""
        peer = raw_server(self.network, self.credentials)
        self.addCleanup(peer.stop)
        self.pair.connect(**options)
        self.network.run(0.2)
        transport: Any = self.pair.client.transport
        transport.write(b"first")
        self.network.run(0.2)
        return peer

    def assert_lost(self, protocol: Noting, kind: type[Exception], *words: str) -> None:
        """It heard of the end, once, last, with these words."""
        assert protocol.reason is not None, "still connected"
        self.assertEqual(protocol.events.count("lost"), 1)
        self.assertEqual(protocol.events[-1], "lost")
        self.assertIs(protocol.reason.type, kind, str(protocol.reason))
        for word in words:
            self.assertIn(word, protocol.reason.getErrorMessage())

    def assert_nothing_left(self) -> None:
        """No timers and no ports, once the server's is closed and farewells are over."""
        stopped = self.pair.port.stopListening()
        self.successResultOf(stopped)
        self.assertEqual(self.network.getDelayedCalls(), [])
        self.assertEqual(self.network.ports, [])


class LifeTests(_Paired):
    """Begin, carry, end."""

    def test_the_server_has_no_protocol_before_the_first_octet(self) -> None:
        """A handshake alone does not use up what buildProtocol uses up."""
        self.pair.listen()
        self.pair.connect()
        self.network.run(5)
        self.assertEqual(self.pair.client.events, ["made"])
        self.assertEqual(self.pair.accepting.peers, [])
        transport: Any = self.pair.client.transport
        transport.write(b"x")
        self.network.run(1)
        self.assertEqual(self.pair.server.events, ["made", "data"])

    def test_both_ends_know_each_others_addresses(self) -> None:
        """And name the transport."""
        client, server = self.establish()
        self.assertEqual(server.getHost(), StreamAddress("QUIC", SERVER_HOST, 4343))
        self.assertEqual(client.getPeer(), StreamAddress("QUIC", SERVER_HOST, 4343))
        self.assertEqual(client.getHost(), server.getPeer())
        self.assertEqual(client.getHost().host, CLIENT_HOST)
        self.assertEqual(self.pair.accepting.peers, [server.getPeer()])

    def test_transports_provide_what_they_should(self) -> None:
        """And only the client's speaks first."""
        client, server = self.establish()
        for transport in (client, server):
            for interface in (ITransport, IConsumer, IPushProducer):
                verifyObject(interface, transport)
        self.assertTrue(ISpeaksFirst.providedBy(client))
        self.assertFalse(ISpeaksFirst.providedBy(server))

    def test_octets_arrive_in_order_both_ways(self) -> None:
        """More than a window of them."""
        client, server = self.establish()
        data = bytes(range(256)) * 8000
        client.write(data)
        server.writeSequence([data[:1000], data[1000:]])
        self.network.run(30)
        self.assertEqual(bytes(self.pair.server.received), b"first" + data)
        self.assertEqual(bytes(self.pair.client.received), data)

    def test_the_round_trip_time_is_measured(self) -> None:
        """On a path of 50 ms each way; on both ends."""
        self.conditions(latency=0.05)
        client, server = self.establish()
        for end in (client, server):
            self.assertAlmostEqual(end.round_trip_time(), 0.1, delta=0.04)

    def test_what_is_not_acknowledged_is_queued(self) -> None:
        """Until it is."""
        client, _server = self.establish()
        self.network.run(1)
        self.assertEqual(client.queued_octets, 0)
        client.write(b"x" * 1000)
        self.assertEqual(client.queued_octets, 1000)
        self.network.run(1)
        self.assertEqual(client.queued_octets, 0)

    def test_what_is_written_in_one_turn_leaves_together(self) -> None:
        """One datagram for twenty writes."""
        client, _server = self.establish()
        self.network.run(5)
        before = len(self.network.sent)
        for _write in range(20):
            client.write(b"0123456789")
        self.network.advance(0)
        self.assertEqual(len(self.network.sent), before + 1)

    def test_only_bytes_can_be_written(self) -> None:
        """As with Twisted's own transports."""
        client, _server = self.establish()
        self.assertRaises(TypeError, client.write, bytearray(b"x"))
        self.assertRaises(TypeError, client.write, "x")

    def test_losing_the_connection_delivers_what_was_written(self) -> None:
        """Both ends call it a clean end, and nothing is left."""
        client, _server = self.establish()
        client.write(b"y" * 300_000)
        client.loseConnection()
        client.write(b"too late")
        self.network.run(30)
        self.assertEqual(bytes(self.pair.server.received), b"first" + b"y" * 300_000)
        self.assert_lost(self.pair.client, ConnectionDone)
        self.assert_lost(self.pair.server, ConnectionDone)
        self.assert_nothing_left()

    def test_the_server_can_lose_the_connection_too(self) -> None:
        """The same the other way."""
        _client, server = self.establish()
        server.write(b"y" * 300_000)
        server.loseConnection()
        self.network.run(30)
        self.assertEqual(bytes(self.pair.client.received), b"y" * 300_000)
        self.assert_lost(self.pair.client, ConnectionDone)
        self.assert_lost(self.pair.server, ConnectionDone)
        self.assert_nothing_left()

    def test_both_may_leave_at_once(self) -> None:
        """Neither waits for the other."""
        client, server = self.establish()
        client.loseConnection()
        server.loseConnection()
        self.network.run(2)
        self.assert_lost(self.pair.client, ConnectionDone)
        self.assert_lost(self.pair.server, ConnectionDone)
        self.assert_nothing_left()

    def test_aborting_is_told_to_the_peer_in_a_later_turn(self) -> None:
        """As with TCP, connectionLost does not come from within abortConnection."""
        for who, other in ((0, 1), (1, 0)):
            self.setUp()
            ends = self.establish()
            protocols = self.pair.client, self.pair.server
            ends[who].write(b"never")
            ends[who].abortConnection()
            ends[who].abortConnection()
            self.assertIsNone(protocols[who].reason)
            self.network.run(1)
            self.assert_lost(protocols[who], ConnectionAborted)
            self.assert_lost(protocols[other], ConnectionLost, "application error ABORTED")
            self.assertNotIn(b"never", bytes(protocols[other].received))
            self.assert_nothing_left()

    def test_a_client_that_says_nothing_can_leave(self) -> None:
        """The server had no protocol for it, and needs none."""
        self.pair.listen()
        self.pair.connect()
        self.network.run(1)
        transport: Any = self.pair.client.transport
        transport.loseConnection()
        self.network.run(2)
        self.assert_lost(self.pair.client, ConnectionDone)
        self.assertEqual(self.pair.accepting.peers, [])
        self.assertEqual(len(self.pair.port.handshakes), 0)
        self.assert_nothing_left()

    def test_nothing_happens_after_the_end(self) -> None:
        """A protocol may still call."""
        client, _server = self.establish()
        client.abortConnection()
        self.network.run(1)
        sent = len(self.network.sent)
        client.write(b"x")
        client.pauseProducing()
        client.resumeProducing()
        client.loseConnection()
        client.abortConnection()
        producer = Noting()
        client.registerProducer(producer, True)
        self.assertEqual(producer.events, ["stop"])
        self.network.run(1)
        self.assertEqual(len(self.network.sent), sent)
        self.assert_nothing_left()

    def test_an_error_in_the_application_ends_its_connection(self) -> None:
        """It is logged, and the peer hears of the end."""

        def fail(data: bytes) -> None:
            raise RuntimeError("oops")

        client, _server = self.establish()
        self.pair.server.on_data = fail
        client.write(b"x")
        self.network.run(1)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assert_lost(self.pair.server, ConnectionLost, "error in this program")
        self.assert_lost(self.pair.client, ConnectionLost, "INTERNAL_ERROR")
        self.assert_nothing_left()

    def test_an_error_in_connection_lost_harms_nobody_else(self) -> None:
        """It is logged, and the connection is gone all the same."""
        client, server = self.establish()
        self.pair.server.events = None  # type: ignore[assignment]
        client.abortConnection()
        self.network.run(1)
        self.assertEqual(len(self.flushLoggedErrors(AttributeError)), 1)
        self.assertFalse(server.connected)
        self.assert_nothing_left()


class PeerEndTests(_Paired):
    """Ends that the peer makes, clean and not."""

    def test_the_peers_end_is_ours_after_what_was_written(self) -> None:
        """An answer in the same turn still gets there; then both are done."""
        peer = self.raw_client()
        transport: Any = self.pair.server.transport
        self.pair.server.on_data = transport.write
        peer.send(b"question", end=True)
        self.network.run(0.5)
        self.assertEqual(peer.received, b"question")
        self.assert_lost(self.pair.server, ConnectionDone)
        self.assertEqual((peer.ending.error_code, peer.ending.frame_type), (0, None))

    def test_a_peer_that_ends_and_does_not_read_is_left_soon(self) -> None:
        """What it does not take can't be delivered; its end was clean."""
        peer = self.raw_client()
        peer.quic._write_connection_limits = lambda builder, space: None
        peer.quic._write_stream_limits = lambda builder, space, stream: None
        transport: Any = self.pair.server.transport
        transport.write(bytes(1 << 22))
        self.network.run(2)
        peer.send(b"", end=True)
        self.network.run(2)
        self.assert_lost(self.pair.server, ConnectionDone)

    def test_a_close_without_an_end_of_the_stream_is_a_loss(self) -> None:
        """Octets may be missing."""
        peer = self.raw_client()
        peer.quic.close()
        peer.flush()
        self.network.run(0.5)
        self.assert_lost(self.pair.server, ConnectionLost, "application error NO_ERROR")

    def test_a_reset_stream_is_a_loss(self) -> None:
        """And closes the connection."""
        peer = self.raw_client()
        peer.quic.reset_stream(0, 99)
        peer.flush()
        self.network.run(0.5)
        self.assert_lost(self.pair.server, ConnectionLost, "the peer reset the stream (error 99)")
        self.assertEqual(peer.ending.error_code, 1)

    def test_a_peer_that_stops_reading_for_good_is_a_loss(self) -> None:
        """STOP_SENDING, while the application writes on."""
        peer = self.raw_client()
        transport: Any = self.pair.server.transport
        peer.quic.stop_stream(0, 98)
        peer.flush()
        self.network.callLater(0.005, transport.write, b"more")
        self.network.run(0.5)
        self.assert_lost(self.pair.server, ConnectionLost, "the peer reset the stream (error 98)")

    def test_a_clean_end_while_paused_waits_for_who_reads(self) -> None:
        """As the kernel would keep it."""
        peer = self.raw_client()
        transport: Any = self.pair.server.transport
        transport.pauseProducing()
        peer.send(b"last", end=True)
        self.network.run(3)
        self.assertIsNone(self.pair.server.reason)
        transport.resumeProducing()
        self.network.run(0.5)
        self.assertEqual(bytes(self.pair.server.received), b"firstlast")
        self.assert_lost(self.pair.server, ConnectionDone)

    def test_what_was_held_comes_before_what_follows(self) -> None:
        """Even when that arrives in the turn of resuming."""
        peer = self.raw_client()
        transport: Any = self.pair.server.transport
        for number in range(20):
            transport.pauseProducing()
            peer.send(b"<%d" % number)
            self.network.run(0.1)
            peer.send(b"%d>" % number)
            self.network.callLater(0.005, transport.resumeProducing)
            self.network.run(0.1)
        expected = b"".join(b"<%d%d>" % (number, number) for number in range(20))
        self.assertEqual(bytes(self.pair.server.received), b"first" + expected)

    def test_a_peer_that_ends_and_goes_leaves_nothing_undelivered(self) -> None:
        """Nobody will resume a connection that is over."""
        peer = self.raw_client()
        transport: Any = self.pair.server.transport
        transport.pauseProducing()
        peer.send(b"last", end=True)
        self.network.run(0.1)
        peer.quic.close()
        peer.flush()
        self.network.run(0.5)
        self.assertEqual(bytes(self.pair.server.received), b"firstlast")
        self.assert_lost(self.pair.server, ConnectionDone)

    def test_an_error_in_the_last_octets_does_not_hide_the_end(self) -> None:
        """It is logged, and the protocol hears of the end all the same."""

        def fail(data: bytes) -> None:
            raise RuntimeError("oops")

        peer = self.raw_client()
        transport: Any = self.pair.server.transport
        transport.pauseProducing()
        self.pair.server.on_data = fail
        peer.send(b"last", end=True)
        self.network.run(0.1)
        peer.quic.close()
        peer.flush()
        self.network.run(0.5)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assert_lost(self.pair.server, ConnectionDone)

    def test_a_pause_while_reading_the_last_octets_holds_the_end(self) -> None:
        """The end comes after resuming."""
        peer = self.raw_client()
        transport: Any = self.pair.server.transport
        self.pair.server.on_data = lambda data: transport.pauseProducing()
        peer.send(b"last", end=True)
        self.network.run(0.5)
        self.assertIsNone(self.pair.server.reason)
        transport.resumeProducing()
        self.network.run(0.5)
        self.assert_lost(self.pair.server, ConnectionDone)

    def test_after_losing_the_connection_nothing_is_read(self) -> None:
        """What the peer still sends is for nobody."""
        peer = self.raw_client()
        transport: Any = self.pair.server.transport
        transport.pauseProducing()
        peer.send(b"held")
        self.network.run(0.1)
        transport.loseConnection()
        transport.resumeProducing()
        peer.send(b"more")
        self.network.run(0.5)
        self.assertEqual(bytes(self.pair.server.received), b"first")

    def test_the_clients_end_hears_all_that_too(self) -> None:
        """Reset and answered end, from a server."""
        peer = self.raw_server()
        peer.send(b"hello", end=True)
        self.network.run(2)
        self.assertEqual(bytes(self.pair.client.received), b"hello")
        self.assert_lost(self.pair.client, ConnectionDone)

    def test_a_server_that_opens_a_stream_is_left(self) -> None:
        """With the reason."""
        peer = self.raw_server()
        peer.send(b"x", stream=1)
        self.network.run(1)
        self.assertEqual((peer.ending.error_code, peer.ending.frame_type), (2, None))
        self.assert_lost(self.pair.client, ConnectionLost, "stream 1 opened")


class BackPressureTests(_Paired):
    """Who writes faster than is acknowledged is asked to pause."""

    def test_a_producer_is_paused_above_the_high_water_mark(self) -> None:
        """Within write, once; and resumed when enough was acknowledged."""
        client, _server = self.establish()
        producer = Noting()
        client.registerProducer(producer, True)
        self.network.run(1)
        client.write(bytes(HIGH_WATER))
        self.assertEqual(producer.events, [])
        client.write(b"x")
        client.write(b"x")
        self.assertEqual(producer.events, ["pause"])
        self.network.run(10)
        self.assertEqual(producer.events, ["pause", "resume"])
        client.unregisterProducer()

    def test_a_producer_may_come_before_the_first_octet(self) -> None:
        """There is no stream yet, and nothing queued."""
        self.pair.listen()
        self.pair.connect()
        self.network.run(1)
        client: Any = self.pair.client.transport
        producer = Noting()
        client.registerProducer(producer, True)
        self.network.run(1)
        client.write(bytes(HIGH_WATER + 1))
        self.network.run(5)
        self.assertEqual(producer.events, ["pause", "resume"])

    def test_octets_count_until_they_are_acknowledged(self) -> None:
        """Having sent them is not enough."""
        client, _server = self.establish()
        producer = Noting()
        client.registerProducer(producer, True)
        client.write(bytes(LOW_WATER))
        self.network.run(3)
        self.network.is_dead = True
        client.write(bytes(HIGH_WATER + 1))
        self.network.run(5)
        self.assertEqual(producer.events, ["pause"])

    def test_a_peer_that_does_not_read_pauses_the_producer(self) -> None:
        """Its window, and the high-water mark on top, is all that is ever queued."""
        client, server = self.establish()
        server.pauseProducing()
        written = []

        class Producer(Noting):
            is_paused = False

            def resumeProducing(self) -> None:
                self.is_paused = False
                while not self.is_paused and sum(written) < 5 << 20:
                    client.write(bytes(10_000))
                    written.append(10_000)

            def pauseProducing(self) -> None:
                self.is_paused = True

        producer = Producer()
        client.registerProducer(producer, True)
        producer.resumeProducing()
        self.network.run(15)
        self.assertTrue(producer.is_paused)
        self.assertLess(sum(written), (1 << 20) + 2 * HIGH_WATER)
        so_far = sum(written)
        server.resumeProducing()
        self.network.run(5)
        self.assertGreater(sum(written), 2 * so_far)
        self.assertEqual(len(self.pair.server.received), 5 + sum(written))
        client.unregisterProducer()

    def test_a_pull_producer_is_asked_for_more(self) -> None:
        """Whenever there is room."""
        client, _server = self.establish()

        class Puller(Noting):
            left = 5

            def resumeProducing(self) -> None:
                self.left -= 1
                client.write(b"part.")
                if not self.left:
                    client.unregisterProducer()

        client.registerProducer(Puller(), False)
        self.network.run(2)
        self.assertEqual(bytes(self.pair.server.received), b"first" + b"part." * 5)

    def test_there_is_one_producer_at_a_time(self) -> None:
        """And it is stopped at the end."""
        client, _server = self.establish()
        producer = Noting()
        client.registerProducer(producer, True)
        self.assertRaises(RuntimeError, client.registerProducer, Noting(), True)
        client.abortConnection()
        self.network.run(1)
        self.assertEqual(producer.events, ["stop"])

    def test_stopping_is_leaving(self) -> None:
        """What IPushProducer calls it."""
        client, _server = self.establish()
        client.stopProducing()
        self.network.run(1)
        self.assert_lost(self.pair.client, ConnectionDone)


class SilenceTests(_Paired):
    """A peer that is not there any more."""

    def test_a_dead_path_is_noticed_at_both_ends_within_the_idle_timeout(self) -> None:
        """Idle or writing, and although keepalives are sent meanwhile."""
        for is_writing in (False, True):
            self.setUp()
            client, server = self.establish()
            self.network.run(33)
            self.network.is_dead = True
            if is_writing:
                self.network.callLater(9, client.write, b"into the dark")
                self.network.callLater(9, server.write, b"into the dark")
            self.network.run(30.5)
            self.assert_lost(self.pair.client, ConnectionLost, "nothing heard from the peer")
            self.assert_lost(self.pair.server, ConnectionLost, "nothing heard from the peer")
            self.assert_nothing_left()

    def test_the_shorter_idle_timeout_counts_at_both_ends(self) -> None:
        """The client's, here."""
        self.pair.listen()
        self.pair.connect(idleTimeout="6", keepalive="3")
        self.network.run(1)
        client: Any = self.pair.client.transport
        client.write(b"x")
        self.network.run(20)
        self.network.is_dead = True
        self.network.run(6.5)
        self.assert_lost(self.pair.client, ConnectionLost, "for 6 s")
        self.assert_lost(self.pair.server, ConnectionLost, "for 6 s")

    def test_an_idle_connection_is_kept_alive_by_pings(self) -> None:
        """For ten minutes, with little traffic."""
        self.establish()
        self.network.run(60)
        before = len(self.network.sent)
        self.network.run(600)
        self.assertIsNone(self.pair.client.reason)
        self.assertIsNone(self.pair.server.reason)
        datagrams = len(self.network.sent) - before
        self.assertGreaterEqual(datagrams, 2 * 600 / 10 - 4)
        self.assertLess(datagrams, 6 * 600 / 10)

    def test_junk_in_the_name_of_the_peer_is_no_sign_of_life(self) -> None:
        """It has the right addresses and connection ID, and must not keep PINGs from being sent."""
        self.establish()
        (client,) = (port.where for port in self.network.ports if port.connected_to)
        (accepted,) = self.pair.port._live
        to_server = b"\x41" + accepted.driver.quic.host_cid + bytes(30)
        to_client = b"\x41" + bytes(38)
        for _time in range(30):
            self.network.run(4)
            self.network.arrive((SERVER_HOST, 4343), client, to_client)
            self.network.arrive(client, (SERVER_HOST, 4343), to_server)
        self.assertIsNone(self.pair.client.reason)
        self.assertIsNone(self.pair.server.reason)

    def test_what_was_changed_on_its_way_says_nothing(self) -> None:
        """A bit of the last octet, in each datagram of either side, which then comes as it was."""
        client, server = self.establish()
        carry = self.network.carry

        def change(source: tuple[str, int], to: tuple[str, int], data: bytes) -> None:
            self.network.arrive(source, to, data[:-1] + bytes((data[-1] ^ 1,)))
            carry(source, to, data)

        self.patch(self.network, "carry", change)
        for number in range(20):
            client.write(bytes((number,)) * 100)
            server.write(bytes((number,)) * 100)
            self.network.run(1)
        expected = b"".join(bytes((number,)) * 100 for number in range(20))
        self.assertEqual(bytes(self.pair.server.received), b"first" + expected)
        self.assertEqual(bytes(self.pair.client.received), expected)
        self.assertIsNone(self.pair.client.reason)
        self.assertIsNone(self.pair.server.reason)

    def test_no_pings_are_sent_while_there_is_traffic(self) -> None:
        """Datagrams in both directions are sign of life enough."""
        client, _server = self.establish()
        self.network.run(1)
        before = len(self.network.sent)
        for _second in range(100):
            client.write(b"x")
            self.network.run(1)
        # Data, and an acknowledgement of it.
        self.assertLessEqual(len(self.network.sent) - before, 210)

    def test_leaving_a_dead_peer_does_not_take_long(self) -> None:
        """What was written last can't be delivered."""
        client, _server = self.establish()
        self.network.is_dead = True
        client.write(b"last words")
        client.loseConnection()
        self.network.run(5.1)
        self.assert_lost(self.pair.client, ConnectionLost, "not delivered within 5 s")

    def test_aborting_needs_no_peer(self) -> None:
        """At once."""
        client, server = self.establish()
        self.network.is_dead = True
        client.abortConnection()
        server.abortConnection()
        self.network.advance(0)
        self.assert_lost(self.pair.client, ConnectionAborted)
        self.assert_lost(self.pair.server, ConnectionAborted)

    def test_a_lost_close_is_repeated_to_a_peer_that_talks_on(self) -> None:
        """But not for every datagram."""
        client, server = self.establish()
        self.network.run(1)
        self.network.is_dead = True
        server.abortConnection()
        self.network.advance(0)
        self.network.is_dead = False
        client.write(b"are you there?")
        self.network.run(0.02)
        self.assert_lost(self.pair.client, ConnectionLost, "ABORTED")
        self.network.run(5)
        self.assert_nothing_left()

    def test_farewells_are_short_even_over_a_slow_path(self) -> None:
        """Three probe timeouts would be many seconds here."""
        self.conditions(latency=2.0)
        self.pair.listen()
        self.pair.connect()
        self.network.run(9.9)
        client: Any = self.pair.client.transport
        client.write(b"first")
        self.network.run(2.5)
        server: Any = self.pair.server.transport
        server.abortConnection()
        self.network.advance(0)
        self.assertNotEqual(self.pair.port._routes, {})
        self.network.run(2.1)
        self.assertEqual(self.pair.port._routes, {})


class FaultTests(_Paired):
    """Loss, duplicates and reordering at once."""

    def test_everything_arrives_over_a_bad_path(self) -> None:
        """Once, in order, from handshake to end."""
        for seed in range(1, 6):
            self.conditions(latency=0.02, jitter=0.03, loss=0.1, duplication=0.1, seed=seed)
            self._exchange(bytes(range(256)) * 400)

    def _exchange(self, data: bytes) -> None:
        client, server = self.pair.establish(data)
        ours: Any = client.transport
        theirs: Any = server.transport
        theirs.write(data)
        self.network.run_until(
            lambda: len(server.received) == len(client.received) == len(data), seconds=300
        )
        self.assertEqual(bytes(server.received), data)
        self.assertEqual(bytes(client.received), data)
        ours.loseConnection()
        self.network.run(31)
        self.assert_lost(client, ConnectionDone)
        self.assertIsNotNone(server.reason)
        self.assert_nothing_left()
