"""Which datagrams reach the stack in user space, and who may set up an association."""

from __future__ import annotations

import struct
from typing import Any

from twisted.internet.error import ConnectionDone, ConnectionLost

from lispmsrt.transports.sctp.usrsctp import legs
from lispmsrt.transports.sctp.usrsctp.stack import the_stack
from tests.test_usrsctp_network import (
    CLIENT,
    PORT,
    SERVER,
    UDP_PORT,
    Port,
    Recorder,
    UsrsctpTestCase,
)

_DATA, _INIT, _INIT_ACK, _ABORT, _SHUTDOWN, _SHUTDOWN_ACK = 0, 1, 2, 6, 7, 8
_COOKIE_ECHO, _COOKIE_ACK, _SHUTDOWN_COMPLETE = 10, 11, 14
_UNORDERED, _WHOLE = 4, 3


def chunk(kind: int, body: bytes = b"", flags: int = 0) -> bytes:
    """Return a chunk, padded."""
    octets = struct.pack("!BBH", kind, flags, 4 + len(body)) + body
    return octets + bytes(-len(octets) % 4)


def packet(source: int, tag: int, *chunks: bytes, destination: int = PORT) -> bytes:
    """Return a packet with its checksum."""
    head = struct.pack("!HHI", source, destination, tag)
    rest = b"".join(chunks)
    return head + the_stack().checksum(head + bytes(4) + rest) + rest


class RawPeer:
    """A peer that is written out by hand."""

    def __init__(self, test: UsrsctpTestCase, host: str = CLIENT, udp: int = 0, port: int = 1000):
        self.network = test.network
        self.port = port
        self.heard: list[bytes] = []
        self.tag = 0
        "that the server wants to be addressed by"
        self.own_tag = 7
        self.cumulative = 0
        "the TSN before the server's first"
        self.socket: Port = self.network.listen(host, udp, self)
        self._associations: dict[Any, Any] = {}
        test.addCleanup(self.network.ports.pop, self.socket.address)

    def makeConnection(self, transport: Any) -> None:
        """As any protocol."""

    def datagramReceived(self, data: bytes, addr: Any) -> None:
        self.heard.append(data)

    @property
    def chunks(self) -> list[int]:
        """The first chunk of each packet that came."""
        return [data[12] for data in self.heard]

    def say(self, *chunks: bytes, tag: int | None = None, **settings: Any) -> None:
        """Send a packet, and let it arrive."""
        data = packet(self.port, self.tag if tag is None else tag, *chunks, **settings)
        self.socket.write(data, (SERVER, UDP_PORT))
        self.network.run(0.1)

    def init(self, own_tag: int = 7) -> None:
        """Send INIT."""
        self.own_tag = own_tag
        self.say(chunk(_INIT, struct.pack("!IIHHI", own_tag, 1 << 16, 5, 5, 100)), tag=0)

    def take_cookie(self) -> bytes:
        """Return the chunk that the INIT ACK asks for."""
        answer = next(data for data in reversed(self.heard) if data[12] == _INIT_ACK)
        (self.tag,) = struct.unpack_from("!I", answer, 16)
        at = 32
        while True:
            kind, size = struct.unpack_from("!HH", answer, at)
            if kind == 7:
                (first,) = struct.unpack_from("!I", answer, 28)
                self.cumulative = (first - 1) % 2**32
                return chunk(_COOKIE_ECHO, answer[at + 4 : at + size])
            at += size + -size % 4

    def set_up(self) -> None:
        """Have an association."""
        self.init()
        self.say(self.take_cookie())

    def data(self, text: bytes, number: int = 0, stream: int = 0, flags: int = 0) -> None:
        """Send a message."""
        body = struct.pack("!IHHI", 100 + number, stream, 0 if stream else number, 0) + text
        self.say(chunk(_DATA, body, flags=flags | _WHOLE))


class AdmissionTests(UsrsctpTestCase):
    """Who may knock."""

    def test_who_is_not_admitted_costs_nothing_and_hears_nothing(self) -> None:
        """Whatever it sends."""
        self.server.refused.add(CLIENT)
        peer = RawPeer(self)
        peer.init()
        peer.say(chunk(_COOKIE_ECHO, bytes(100)), tag=5)
        peer.say(chunk(_SHUTDOWN_ACK), tag=5)
        peer.data(b"x")
        self.assertEqual(peer.heard, [])
        self.assertEqual(the_stack().handles_in_use, 0)
        self.assertEqual(self.port.counters, {"packets refused: nobody is admitted from there": 4})

    def test_who_is_admitted_no_more_keeps_its_association(self) -> None:
        """Until it ends."""
        client, server = self.connect()
        self.server.refused.add(CLIENT)
        client.stream.write(b"still here")
        self.network.run(0.5)
        self.assertEqual(server.data, b"still here")

    def test_a_raw_peer_is_heard(self) -> None:
        """What the other tests rely on."""
        peer = RawPeer(self)
        peer.set_up()
        peer.data(b"hello")
        self.assertEqual(self.server.built[0].data, b"hello")
        self.assertIn(_COOKIE_ACK, peer.chunks)

    def test_what_is_no_packet_is_counted(self) -> None:
        """And goes no further."""
        peer = RawPeer(self)
        for data in (b"", b"x" * 15, bytes(16), packet(1000, 1, b"\x00\x03\x00\x03")):
            peer.socket.write(data, (SERVER, UDP_PORT))
        peer.socket.write(packet(1000, 1, b"\x00\x03\x00\x20"), (SERVER, UDP_PORT))
        self.network.run(0.1)
        self.assertEqual(peer.heard, [])
        self.assertEqual(self.port.counters, {"datagrams that are no SCTP packets": 5})

    def test_another_port_is_not_answered(self) -> None:
        """Even when another server in this process listens to it."""
        peer = RawPeer(self)
        peer.say(chunk(_INIT, bytes(16)), tag=0, destination=PORT + 1)
        self.assertEqual(peer.heard, [])
        self.assertEqual(self.port.counters, {"packets to another port": 1})

    def test_a_wrong_checksum_is_dropped(self) -> None:
        """The stack computes it."""
        peer = RawPeer(self)
        init = chunk(_INIT, struct.pack("!IIHHI", 7, 1 << 16, 5, 5, 100))
        data = bytearray(packet(1000, 0, init))
        data[8] ^= 1
        peer.socket.write(bytes(data), (SERVER, UDP_PORT))
        self.network.run(0.1)
        self.assertEqual(peer.heard, [])

    def test_the_peer_of_an_association_that_is_gone_is_told(self) -> None:
        """By ABORT, as long as it is admitted: it need not wait for a timeout."""
        peer = RawPeer(self)
        peer.tag = 99
        peer.data(b"x")
        self.assertEqual(peer.chunks, [_ABORT])


class HandshakeTests(UsrsctpTestCase):
    """Half of an association."""

    def test_a_handshake_that_is_not_finished_is_forgotten(self) -> None:
        """After ten seconds, with its handle."""
        peer = RawPeer(self)
        peer.init()
        cookie = peer.take_cookie()
        self.assertEqual(the_stack().handles_in_use, 1)
        self.network.run(11)
        self.assertEqual(the_stack().handles_in_use, 0)
        self.assertEqual(self.port.counters["handshakes not finished"], 1)
        peer.say(cookie)
        self.assertEqual(self.server.built, [])
        self.assertEqual(self.port.counters["cookies refused"], 1)
        self.assertEqual(self.network.clock.getDelayedCalls(), [])

    def test_a_repeated_init_is_the_same_handshake(self) -> None:
        """The answer was lost."""
        peer = RawPeer(self)
        for _ in range(5):
            peer.init()
        self.assertEqual(peer.chunks, [_INIT_ACK] * 5)
        self.assertEqual(the_stack().handles_in_use, 1)
        peer.say(peer.take_cookie())
        self.assertEqual(len(self.server.built), 1)

    def test_a_repeated_cookie_makes_no_second_association(self) -> None:
        """COOKIE ACK was lost."""
        peer = RawPeer(self)
        peer.init()
        cookie = peer.take_cookie()
        for _ in range(3):
            peer.say(cookie)
        self.assertEqual(peer.chunks.count(_COOKIE_ACK), 3)
        self.assertEqual(len(self.server.built), 1)

    def test_an_association_may_be_over_with_its_first_packet(self) -> None:
        """Whatever follows COOKIE ECHO in it: ABORT, or SHUTDOWN."""
        for number, last in enumerate((chunk(_ABORT), chunk(_SHUTDOWN, bytes(4)))):
            peer = RawPeer(self, port=3000 + number)
            peer.init()
            peer.say(peer.take_cookie(), last)
            self.network.run(40)
            self.assertEqual(len(the_stack()), 0)
            self.assertEqual(the_stack().handles_in_use, 0)

    def test_a_forged_cookie_is_refused(self) -> None:
        """In what it says as in its signature; the true one is still good."""
        peer = RawPeer(self)
        peer.init()
        cookie = peer.take_cookie()
        for place in (8, 150, len(cookie) - 1):
            forged = bytearray(cookie)
            forged[place] ^= 1
            peer.say(bytes(forged))
        self.assertEqual(self.server.built, [])
        self.assertEqual(self.port.counters["cookies refused"], 3)
        peer.say(cookie)
        self.assertEqual(len(self.server.built), 1)

    def test_a_cookie_is_good_for_its_peer_only(self) -> None:
        """Another UDP port is another peer."""
        peer, other = RawPeer(self), RawPeer(self)
        peer.init()
        other.init()
        other.take_cookie()
        other.tag = peer.tag
        other.say(peer.take_cookie(), tag=peer.tag)
        self.assertEqual(self.server.built, [])

    def test_many_handshakes_of_a_host_push_its_oldest_out(self) -> None:
        """Who forges its address must be quick to keep it from setting up an association."""
        socket = RawPeer(self)
        for number in range(200):
            socket.port = 2000 + number
            socket.init()
        self.assertLessEqual(the_stack().handles_in_use, 64)
        peer = RawPeer(self)
        peer.set_up()
        peer.data(b"in")
        self.assertEqual(self.server.built[0].data, b"in")

    def test_a_host_may_have_so_many_associations(self) -> None:
        """Others are not concerned."""
        self.patch(legs, "_MAX_ASSOCIATIONS_PER_HOST", 3)
        peers = [RawPeer(self) for _ in range(4)]
        for peer in peers[:3]:
            peer.set_up()
        peers[3].init()
        self.assertEqual(peers[3].heard, [])
        self.assertEqual(self.port.counters["associations refused: too many of one address"], 1)
        RawPeer(self, host="192.0.2.77").set_up()
        self.assertEqual(len(self.server.built), 4)

    def test_a_port_has_so_many_associations(self) -> None:
        """In all."""
        self.patch(legs, "_MAX_ASSOCIATIONS", 2)
        for number in range(3):
            peer = RawPeer(self, host=f"192.0.2.{number + 10}")
            peer.init()
            if peer.heard:
                peer.say(peer.take_cookie())
        self.assertEqual(len(self.server.built), 2)
        self.assertEqual(self.port.counters["associations refused: too many"], 1)


class MovingTests(UsrsctpTestCase):
    """RFC 6951 §5.4: a NAT gives a peer another UDP port."""

    def test_a_peer_may_move_to_another_udp_port(self) -> None:
        """Answers follow it, and it is still the same peer."""
        client, server = self.connect()
        (udp,) = (address for address in self.network.ports if address[0] == CLIENT)
        self.network.nat[udp] = (CLIENT, 61000)
        client.stream.write(b"moved")
        server.stream.write(b"understood")
        self.network.run(2)
        self.assertEqual((server.data, client.data), (b"moved", b"understood"))
        self.assertEqual(self.port.counters["peers that changed their UDP port"], 1)
        client.stream.loseConnection()
        self.network.run(1)
        self.assertTrue(client.reasons and server.reasons)

    def test_a_peer_does_not_move_to_another_host(self) -> None:
        """An association belongs to the address that set it up."""
        peer = RawPeer(self)
        peer.set_up()
        other = RawPeer(self, host="192.0.2.66")
        other.tag = peer.tag
        other.data(b"stolen")
        self.assertEqual(self.server.built[0].data, b"")
        self.assertNotIn("peers that changed their UDP port", self.port.counters)

    def test_a_wrong_tag_or_checksum_moves_nobody(self) -> None:
        """Packets to the peer go on to where it is."""
        peer = RawPeer(self)
        peer.set_up()
        other = RawPeer(self)
        other.tag = peer.tag ^ 1
        other.data(b"wrong tag")
        forged = bytearray(packet(peer.port, peer.tag, chunk(_ABORT)))
        forged[9] ^= 0x10
        other.socket.write(bytes(forged), (SERVER, UDP_PORT))
        self.network.run(0.1)
        self.assertEqual(self.port.counters["packets with a wrong checksum"], 1)
        self.assertNotIn("peers that changed their UDP port", self.port.counters)
        self.assertEqual(self.server.built[0].reasons, [])

    def test_peers_behind_one_nat_may_have_the_same_sctp_port(self) -> None:
        """Their UDP ports tell them apart, also where one has been before."""
        first, second = RawPeer(self, udp=40001), RawPeer(self, udp=40002)
        first.set_up()
        second.set_up()
        moved = RawPeer(self, udp=40003)
        moved.tag = first.tag
        moved.data(b"one")
        third = RawPeer(self, host="192.0.2.5", udp=40001)
        third.set_up()
        second.data(b"two")
        self.assertEqual([each.data for each in self.server.built], [b"one", b"two", b""])
        first.set_up()
        first.data(b"new")
        self.assertEqual(self.server.built[3].data, b"new")


class EndingTests(UsrsctpTestCase):
    """What comes in one turn of the reactor."""

    def test_the_last_packets_may_come_at_once(self) -> None:
        """The end is seen in that turn, not after some timeout."""
        peer = RawPeer(self)
        peer.set_up()
        body = struct.pack("!I", peer.cumulative)
        for last in (chunk(_SHUTDOWN, body), chunk(_SHUTDOWN_COMPLETE)):
            data = packet(peer.port, peer.tag, last)
            self.network.deliver(data, peer.socket.address, (SERVER, UDP_PORT))
        self.network.clock.advance(0)
        self.network.clock.advance(0)
        self.assertIs(self.server.built[0].ending, ConnectionDone)


class StrangeStreamTests(UsrsctpTestCase):
    """What is no part of one ordered stream."""

    def _assert_lost(self, peer: RawPeer) -> None:
        built: Recorder = self.server.built[0]
        self.assertIs(built.ending, ConnectionLost)
        self.assertIn(_ABORT, peer.chunks)

    def test_a_message_on_another_stream_aborts(self) -> None:
        """What came before it is delivered."""
        peer = RawPeer(self)
        peer.set_up()
        peer.data(b"good")
        peer.data(b"bad", number=1, stream=1)
        self.assertEqual(self.server.built[0].data, b"good")
        self._assert_lost(peer)

    def test_an_unordered_message_aborts(self) -> None:
        """Even on stream 0."""
        peer = RawPeer(self)
        peer.set_up()
        peer.data(b"bad", flags=_UNORDERED)
        self.assertEqual(self.server.built[0].data, b"")
        self._assert_lost(peer)

    def test_a_restart_aborts(self) -> None:
        """The peer has forgotten what it was sent: it must begin a new session."""
        peer = RawPeer(self)
        peer.set_up()
        peer.init(own_tag=8)
        peer.say(peer.take_cookie())
        self.assertIs(self.server.built[0].ending, ConnectionLost)
        self.assertIn("restarted", self.server.built[0].reasons[0].getErrorMessage())
        self.assertEqual(len(self.server.built), 1)

    def test_a_long_message_is_delivered_in_parts(self) -> None:
        """No message is too long for a stream of bytes: this one never ends."""
        peer = RawPeer(self)
        peer.set_up()
        for number in range(400):
            body = struct.pack("!IHHI", 100 + number, 0, 0, 0) + b"%04d" % number * 250
            peer.say(chunk(_DATA, body, flags=2 if number == 0 else 0))
        data = self.server.built[0].data
        self.assertGreater(len(data), 100_000)
        self.assertEqual(data, b"".join(b"%04d" % n * 250 for n in range(400))[: len(data)])
        self.assertEqual(self.server.built[0].reasons, [])
