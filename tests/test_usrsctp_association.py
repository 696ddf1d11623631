"""An association of the stack in user space as a stream transport."""

from __future__ import annotations

import random
from typing import Any

from twisted.internet.error import (
    ConnectionAborted,
    ConnectionDone,
    ConnectionLost,
)

from lispmsrt.transports.interfaces import StreamAddress
from lispmsrt.transports.sctp.usrsctp.stack import the_stack
from tests.test_usrsctp_network import (
    CLIENT,
    PORT,
    SERVER,
    UDP_PORT,
    Recorder,
    UsrsctpTestCase,
    clock_of_c,
)

_MEGABYTE = random.Random(7).randbytes(1 << 20)


class Producer:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def pauseProducing(self) -> None:
        self.told.append("pause")

    def resumeProducing(self) -> None:
        self.told.append("resume")

    def stopProducing(self) -> None:
        self.told.append("stop")


class StreamTests(UsrsctpTestCase):
    """Octets go in and come out."""

    def test_octets_arrive_in_order_both_ways(self) -> None:
        """Whatever was written before the other end was up too."""
        client, server = self.connect()
        client.stream.write(b"abc")
        client.stream.writeSequence([b"d", b"ef"])
        server.stream.write(b"xyz")
        self.network.run(1)
        self.assertEqual((server.data, client.data), (b"abcdef", b"xyz"))

    def test_addresses_are_those_of_the_ends(self) -> None:
        """SCTP ports, not those of UDP."""
        client, server = self.connect()
        self.assertEqual(client.stream.getPeer(), StreamAddress("SCTP", SERVER, PORT))
        self.assertEqual(server.stream.getHost(), StreamAddress("SCTP", SERVER, PORT))
        self.assertEqual(server.stream.getPeer().host, CLIENT)
        self.assertEqual(server.stream.getPeer().port, client.stream.getHost().port)
        self.assertNotEqual(server.stream.getPeer().port, 0)

    def test_the_round_trip_time_is_measured(self) -> None:
        """Of what was delivered; of what is over there is none."""
        client, _server = self.connect()
        client.stream.write(b"x")
        self.network.run(1)
        found = client.stream.round_trip_time()
        assert found is not None
        self.assertTrue(0 < found < 1, found)
        client.stream.abortConnection()
        self.network.run(1)
        self.assertIsNone(client.stream.round_trip_time())

    def test_what_the_stack_has_not_taken_is_queued(self) -> None:
        """Until the turn is over."""
        client, _server = self.connect()
        client.stream.write(b"x" * 100)
        self.assertEqual(client.stream.queued_octets, 100)
        self.network.run(1)
        self.assertEqual(client.stream.queued_octets, 0)

    def test_what_is_written_in_a_turn_leaves_in_one_message(self) -> None:
        """A hundred small writes are not a hundred packets."""
        client, server = self.connect()
        del self.network.sent[:]
        for _ in range(100):
            client.stream.write(b"0123456789")
        self.network.run(0.05)
        self.assertEqual(server.data, b"0123456789" * 100)
        packets = [data for source, _to, data in self.network.sent if source[0] == CLIENT]
        self.assertEqual(len(packets), 1)

    def test_a_megabyte_gets_through_where_packets_are_lost_doubled_and_overtaken(self) -> None:
        """Every fifth packet is lost, both ways."""
        self.network.loss, self.network.doubles = 0.2, 0.05
        self.network.delay, self.network.jitter = 0.02, 0.03
        client, server = self.connect()
        client.stream.write(_MEGABYTE)
        server.stream.write(_MEGABYTE[::-1])
        took = self.network.run(
            600, until=lambda: len(server.data) == len(client.data) == len(_MEGABYTE)
        )
        self.assertEqual(server.data, _MEGABYTE)
        self.assertEqual(client.data, _MEGABYTE[::-1])
        self.assertLess(took, 500)

    def test_packets_do_not_fragment(self) -> None:
        """With the headers of UDP and IPv6 none is longer than 1280 octets."""
        client, server = self.connect()
        client.stream.write(_MEGABYTE)
        self.network.run(20, until=lambda: len(server.data) == len(_MEGABYTE))
        self.assertEqual(len(server.data), len(_MEGABYTE))
        longest = max(len(data) for _source, _to, data in self.network.sent)
        self.assertLessEqual(longest, 1280 - 40 - 8)
        self.assertGreater(longest, 1150)


class BackPressureTests(UsrsctpTestCase):
    """Who does not read is not sent more."""

    def test_a_reader_that_pauses_stops_the_writer(self) -> None:
        """And who resumes gets everything."""
        client, server = self.connect()
        producer = Producer()
        client.stream.registerProducer(producer, True)
        server.stream.pauseProducing()
        client.stream.write(_MEGABYTE)
        self.network.run(30)
        self.assertEqual(producer.told, ["pause"])
        self.assertEqual(server.data, b"")
        sent = sum(len(data) for source, _to, data in self.network.sent if source[0] == CLIENT)
        self.assertLess(sent, 600_000)
        server.stream.resumeProducing()
        self.network.run(60, until=lambda: len(server.data) == len(_MEGABYTE))
        self.assertEqual(server.data, _MEGABYTE)
        self.assertEqual(producer.told, ["pause", "resume"])

    def test_a_paused_reader_keeps_the_association(self) -> None:
        """A closed window is no silence."""
        client, server = self.connect()
        server.stream.pauseProducing()
        client.stream.write(_MEGABYTE)
        self.network.run(200)
        self.assertEqual((client.reasons, server.reasons), ([], []))

    def test_a_reader_may_pause_in_the_middle(self) -> None:
        """No octet is lost or comes before resumeProducing()."""
        client, server = self.connect()
        client.stream.write(_MEGABYTE)
        server.on_data = lambda data: server.stream.pauseProducing()
        chunks = 0
        while len(server.data) < len(_MEGABYTE) and chunks < 2000:
            before = len(server.data)
            self.network.run(5, until=lambda before=before: len(server.data) > before)
            had = len(server.data)
            self.network.run(0.1)
            self.assertEqual(len(server.data), had)
            server.stream.resumeProducing()
            chunks += 1
        self.assertEqual(server.data, _MEGABYTE)

    def test_a_pull_producer_is_asked_until_it_is_done(self) -> None:
        """One piece whenever all has been sent."""
        client, server = self.connect()
        pieces = [b"one", b"two", b"three"]

        class Pull:
            def resumeProducing(self) -> None:
                client.stream.write(pieces.pop(0))
                if not pieces:
                    client.stream.unregisterProducer()
                    client.stream.loseConnection()

            def stopProducing(self) -> None:
                """Not called."""

        client.stream.registerProducer(Pull(), False)
        self.network.run(2)
        self.assertEqual(server.data, b"onetwothree")
        self.assertIs(server.ending, ConnectionDone)

    def test_there_is_one_producer(self) -> None:
        """As over TCP."""
        client, _server = self.connect()
        client.stream.registerProducer(Producer(), True)
        self.assertRaises(RuntimeError, client.stream.registerProducer, Producer(), True)

    def test_a_producer_is_stopped_when_the_association_ends(self) -> None:
        """Or at once when it already has."""
        client, server = self.connect()
        producer, late = Producer(), Producer()
        client.stream.registerProducer(producer, True)
        server.stream.abortConnection()
        self.network.run(1)
        self.assertEqual(producer.told, ["stop"])
        client.stream.registerProducer(late, True)
        self.assertEqual(late.told, ["stop"])


class ClosingTests(UsrsctpTestCase):
    """How an association ends."""

    def test_what_was_written_is_delivered_before_the_end(self) -> None:
        """However much it is."""
        client, server = self.connect()
        client.stream.write(_MEGABYTE)
        client.stream.loseConnection()
        self.assertTrue(client.stream.disconnecting)
        client.stream.write(b"too late")
        self.network.run(30, until=lambda: client.reasons and server.reasons)
        self.assertEqual(server.data, _MEGABYTE)
        self.assertIs(client.ending, ConnectionDone)
        self.assertIs(server.ending, ConnectionDone)

    def test_it_ends_cleanly_where_packets_are_lost(self) -> None:
        """SHUTDOWN and its answers are repeated."""
        for seed in range(20):
            self.network._random.seed(seed)
            self.network.loss = 0.0
            client, server = self.connect()
            self.network.loss = 0.3
            client.stream.write(b"last words")
            client.stream.loseConnection()
            self.network.run(40, until=lambda c=client, s=server: c.reasons and s.reasons)
            self.assertEqual(server.data, b"last words")
            self.assertIs(client.ending, ConnectionDone)
            self.assertIs(server.ending, ConnectionDone)

    def test_a_lost_shutdown_complete_is_no_lost_connection(self) -> None:
        """Whoever sent SHUTDOWN ACK knows that both have everything."""
        client, server = self.connect()
        self.network.lost_by = lambda data: data[12] == 14
        client.stream.loseConnection()
        self.network.run(10, until=lambda: client.reasons and server.reasons)
        self.assertIs(client.ending, ConnectionDone)
        self.assertIs(server.ending, ConnectionDone)

    def test_both_may_close_at_once(self) -> None:
        """RFC 9260 §9.2: SHUTDOWNs that cross."""
        client, server = self.connect()
        client.stream.loseConnection()
        server.stream.loseConnection()
        self.network.run(10)
        self.assertIs(client.ending, ConnectionDone)
        self.assertIs(server.ending, ConnectionDone)

    def test_an_abort_is_a_lost_connection(self) -> None:
        """At once; for who aborted, in the next turn."""
        client, server = self.connect()
        client.stream.write(b"never sent")
        client.stream.abortConnection()
        client.stream.abortConnection()
        self.assertEqual(client.reasons, [])
        self.network.run(0.05)
        self.assertIs(client.ending, ConnectionAborted)
        self.assertIs(server.ending, ConnectionLost)
        self.assertEqual(server.data, b"")

    def test_a_paused_reader_hears_of_an_abort(self) -> None:
        """Unread octets do not hide it."""
        client, server = self.connect()
        server.stream.pauseProducing()
        client.stream.write(b"unread")
        self.network.run(0.5)
        client.stream.abortConnection()
        self.network.run(2)
        self.assertIs(server.ending, ConnectionLost)

    def test_a_paused_reader_gets_what_came_before_the_shutdown(self) -> None:
        """Once it reads again."""
        client, server = self.connect()
        server.stream.pauseProducing()
        client.stream.write(b"unread")
        client.stream.loseConnection()
        self.network.run(10)
        self.assertEqual((server.data, server.reasons), (b"", []))
        server.stream.resumeProducing()
        self.network.run(10)
        self.assertEqual(server.data, b"unread")
        self.assertIs(server.ending, ConnectionDone)

    def test_closing_ends_though_the_peer_does_not_read(self) -> None:
        """30 s without progress, and it is aborted."""
        client, server = self.connect()
        server.stream.pauseProducing()
        client.stream.write(_MEGABYTE)
        client.stream.loseConnection()
        took = self.network.run(60, until=lambda: client.reasons)
        self.assertIs(client.ending, ConnectionLost)
        self.assertLess(took, 45)
        self.network.run(2)
        self.assertIs(server.ending, ConnectionLost)

    def test_the_application_may_close_in_any_callback(self) -> None:
        """Nothing is called afterwards but connectionLost."""
        for method in ("loseConnection", "abortConnection"):
            client, server = self.connect()
            server.on_data = lambda data, s=server, m=method: getattr(s.stream, m)()
            client.stream.write(b"x" * 100_000)
            self.network.run(40, until=lambda c=client, s=server: c.reasons and s.reasons)
            self.assertEqual((len(client.reasons), len(server.reasons)), (1, 1))

    def test_refusing_in_make_connection_resets(self) -> None:
        """What a Map-Server does with who is not armed."""

        class Refusal(Recorder):
            def makeConnection(self, transport: Any) -> None:
                self.transport = transport
                transport.abortConnection()

        self.server.make = Refusal
        client, server = self.connect()
        self.network.run(0.1)
        self.assertIs(client.ending, ConnectionLost)
        self.assertIs(server.ending, ConnectionAborted)

    def test_a_bug_in_the_application_ends_its_association_only(self) -> None:
        """It is logged, and the others live on."""
        other_client, other_server = self.connect()
        client, server = self.connect()
        server.on_data = lambda data: 1 // 0
        client.stream.write(b"x")
        self.network.run(1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertIs(server.ending, ZeroDivisionError)
        self.assertIs(client.ending, ConnectionLost)
        other_client.stream.write(b"alive")
        self.network.run(1)
        self.assertEqual(other_server.data, b"alive")

    def test_only_bytes_can_be_written(self) -> None:
        """As Twisted has it."""
        client, _server = self.connect()
        write: Any = client.stream.write
        self.assertRaises(TypeError, write, "text")


class SilenceTests(UsrsctpTestCase):
    """A path that has become a black hole."""

    def test_an_idle_peer_is_noticed(self) -> None:
        """Within 40 s: HEARTBEATs stay unanswered."""
        client, server = self.connect()
        self.network.run(100)
        self.assertEqual((client.reasons, server.reasons), ([], []))
        self.network.loss = 1.0
        took = self.network.run(60, until=lambda: client.reasons and server.reasons)
        self.assertIs(client.ending, ConnectionLost)
        self.assertIs(server.ending, ConnectionLost)
        self.assertIn("nothing was heard", client.reasons[0].getErrorMessage())
        self.assertTrue(20 < took < 40, took)

    def test_a_busy_peer_is_noticed(self) -> None:
        """With octets on their way."""
        client, _server = self.connect()
        self.network.loss = 1.0
        client.stream.write(_MEGABYTE)
        took = self.network.run(60, until=lambda: client.reasons)
        self.assertIs(client.ending, ConnectionLost)
        self.assertTrue(20 < took < 40, took)

    def test_an_idle_association_lives_where_packets_are_lost(self) -> None:
        """Every fifth, for an hour."""
        client, server = self.connect()
        self.network.loss = 0.2
        self.network.is_recording = False
        self.network.run(3600)
        self.assertEqual((client.reasons, server.reasons), ([], []))

    def test_a_step_back_of_the_time_of_day_does_not_stall_it_for_ever(self) -> None:
        """The stack waits with what it should send again until the old time has come."""
        client, server = self.connect()
        self.network.loss = 1.0
        client.stream.write(b"lost")
        self.network.run(0.05)
        self.network.loss = 0.0
        now = clock_of_c().now
        self.patch(clock_of_c(), "now", lambda: now() - 3600)
        took = self.network.run(100, until=lambda: client.reasons)
        self.assertIs(client.ending, ConnectionLost)
        self.assertIn("acknowledges nothing", client.reasons[0].getErrorMessage())
        self.assertLess(took, 40)
        self.network.run(1)
        self.assertIs(server.ending, ConnectionLost)

    def test_a_short_outage_is_survived(self) -> None:
        """And what was written in it arrives soon after."""
        client, server = self.connect()
        self.network.loss = 1.0
        client.stream.write(b"through")
        self.network.run(20)
        self.network.loss = 0.0
        took = self.network.run(10, until=lambda: server.data)
        self.assertEqual(server.data, b"through")
        self.assertLess(took, 3)


class RestTests(UsrsctpTestCase):
    """What an open port costs while nobody comes."""

    def test_no_timer_runs_without_an_association(self) -> None:
        """Neither before the first nor after the last."""
        self.assertEqual(self.network.clock.getDelayedCalls(), [])
        client, server = self.connect()
        self.assertNotEqual(self.network.clock.getDelayedCalls(), [])
        client.stream.loseConnection()
        self.network.run(5)
        self.assertIs(server.ending, ConnectionDone)
        self.assertEqual(self.network.clock.getDelayedCalls(), [])

    def test_a_callback_from_c_lets_no_exception_out(self) -> None:
        """It costs the association whose packet it was."""
        client, server = self.connect()
        other_client, other_server = self.connect()
        stack = the_stack()

        class Broken(list[Any]):
            def append(self, item: Any) -> None:
                raise MemoryError

        stack._outbox = Broken()
        client.stream.write(b"x")
        self.network.clock.advance(0)
        stack._outbox = []
        self.assertEqual(len(self.flushLoggedErrors(MemoryError)), 2)  # DATA, then ABORT
        self.network.run(0.1)
        self.assertIs(client.ending, ConnectionLost)
        other_client.stream.write(b"alive")
        self.network.run(1)
        self.assertEqual(other_server.data, b"alive")
        self.assertEqual(server.data, b"")
        self.assertEqual(self.port.encapsulation, UDP_PORT)
