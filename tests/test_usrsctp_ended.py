"""Peers of the stack in user space that go on with an association which has ended."""

from __future__ import annotations

import struct

from twisted.internet.error import ConnectionLost, ConnectionRefusedError

from lispmsrt.transports.sctp.usrsctp import ended
from lispmsrt.transports.sctp.usrsctp.stack import the_stack
from tests.test_usrsctp_legs import RawPeer, chunk, packet
from tests.test_usrsctp_network import CLIENT, SERVER, UDP_PORT, UsrsctpTestCase

_SACK, _HEARTBEAT, _ABORT, _SHUTDOWN, _SHUTDOWN_ACK = 3, 4, 6, 7, 8
_COOKIE_ACK, _SHUTDOWN_COMPLETE = 11, 14
_TAG_IS_REFLECTED = 1
_REFUSED = "packets refused: nobody is admitted from there"
_ANSWERED = "packets of associations that have ended"
_ONE = {"handshakes begun": 1, "associations": 1}
"""What the association counted before it ended."""


class EndedAssociationTests(UsrsctpTestCase):
    """Nobody is admitted any more, as where each connection uses a token up."""

    def _ended(self, port: int = 1000) -> RawPeer:
        """Return a peer whose association was aborted."""
        peer = RawPeer(self, port=port)
        self.server.refused.discard(CLIENT)
        peer.set_up()
        self.server.refused.add(CLIENT)
        self.server.built[-1].stream.abortConnection()
        self.network.run(0.1)
        self.assertEqual(peer.chunks[-1], _ABORT)
        del peer.heard[:]
        return peer

    def test_a_peer_that_missed_the_abort_is_told_again(self) -> None:
        """Whatever it says, once for each packet, as RFC 9260 §8.4 has it, and nothing is kept."""
        peer = self._ended()
        asked: list[str] = []
        self.patch(self.port._leg, "_admits", asked.append)
        peer.data(b"x")
        peer.say(chunk(_HEARTBEAT, struct.pack("!HHI", 1, 8, 0)))
        peer.say(chunk(_SACK, bytes(12)))
        peer.say(chunk(_SHUTDOWN, bytes(4)))
        self.assertEqual(peer.chunks, [_ABORT] * 4)
        for data in peer.heard:
            self.assertEqual(data[13], _TAG_IS_REFLECTED)
            self.assertEqual(struct.unpack_from("!I", data, 4), (peer.tag,))
        self.assertEqual(asked, [])
        self.assertEqual(self.port.counters, {**_ONE, _ANSWERED: 4})
        self.assertEqual((len(the_stack()), the_stack().handles_in_use), (0, 0))

    def test_a_client_whose_abort_was_lost_knows_with_its_next_packet(self) -> None:
        """It need not wait for its own HEARTBEATs to stay unanswered."""
        client, server = self.connect()
        self.server.refused.add(CLIENT)
        self.network.lost_by = lambda data: data[12] == _ABORT
        server.stream.abortConnection()
        self.network.run(1)
        self.assertEqual(client.reasons, [])
        self.network.lost_by = lambda data: False
        client.stream.write(b"x")
        self.network.run(0.1)
        self.assertIs(client.ending, ConnectionLost)
        self.assertNotIn(_REFUSED, self.port.counters)

    def test_an_idle_client_knows_with_its_first_heartbeat(self) -> None:
        """After 10 s."""
        client, server = self.connect()
        self.server.refused.add(CLIENT)
        self.network.lost_by = lambda data: data[12] == _ABORT
        server.stream.abortConnection()
        self.network.run(1)
        self.network.lost_by = lambda data: False
        self.network.run(11)
        self.assertIs(client.ending, ConnectionLost)

    def test_a_late_shutdown_ack_is_answered(self) -> None:
        """It is SHUTDOWN COMPLETE that was lost."""
        peer = self._ended()
        peer.say(chunk(_SHUTDOWN_ACK))
        self.assertEqual(peer.chunks, [_SHUTDOWN_COMPLETE])

    def test_a_repeated_cookie_makes_no_association(self) -> None:
        """Nor is it a refused one: COOKIE ACK was lost, and all that followed."""
        peer = RawPeer(self)
        peer.init()
        cookie = peer.take_cookie()
        peer.say(cookie)
        self.server.refused.add(CLIENT)
        self.server.built[-1].stream.abortConnection()
        self.network.run(0.1)
        del peer.heard[:]
        peer.say(cookie)
        self.assertEqual(peer.chunks, [_ABORT])
        self.assertIsNone(self.port._leg._listening.accept())
        forged = bytearray(packet(peer.port, peer.tag, cookie))
        forged[8] ^= 1
        peer.socket.write(bytes(forged), (SERVER, UDP_PORT))
        self.network.run(0.1)
        self.assertEqual(len(peer.heard), 1)
        self.assertEqual(len(self.server.built), 1)
        self.assertNotIn(_REFUSED, self.port.counters)
        self.assertEqual((len(the_stack()), the_stack().handles_in_use), (0, 0))

    def test_a_client_that_missed_cookie_ack_and_abort_is_refused(self) -> None:
        """At its next try, not at the end of its patience."""
        self.network.lost_by = lambda data: data[12] in (_COOKIE_ACK, _ABORT)
        connecting = self.client().connect(self.clients)
        self.network.run(0.2)
        self.server.refused.add(CLIENT)
        self.server.built[-1].stream.abortConnection()
        self.network.run(0.1)
        self.network.lost_by = lambda data: False
        took = self.network.run(10, until=lambda: connecting.called)
        self.failureResultOf(connecting, ConnectionRefusedError)
        self.assertLess(took, 2)

    def test_what_ends_an_association_is_never_answered(self) -> None:
        """Nor is it a knock, whoever sends it: an answer to our last packet, perhaps."""
        peer, stranger = self._ended(), RawPeer(self)
        for kind in (_ABORT, _SHUTDOWN_COMPLETE):
            peer.say(chunk(kind))
            stranger.say(chunk(kind, flags=_TAG_IS_REFLECTED), tag=5)
        self.assertEqual(peer.heard + stranger.heard, [])
        self.assertEqual(self.port.counters, {**_ONE, "packets of no association": 4})

    def test_who_does_not_know_the_tag_is_a_stranger(self) -> None:
        """Its address may be forged."""
        peer = self._ended()
        peer.say(chunk(_SHUTDOWN_ACK), tag=peer.tag ^ 1)
        peer.say(chunk(_HEARTBEAT, bytes(8)), tag=0)
        self.assertEqual(peer.heard, [])
        self.assertEqual(self.port.counters[_REFUSED], 2)

    def test_a_wrong_checksum_is_not_answered(self) -> None:
        """Nor does it count as refused."""
        peer = self._ended()
        data = bytearray(packet(peer.port, peer.tag, chunk(_SHUTDOWN_ACK)))
        data[8] ^= 1
        peer.socket.write(bytes(data), (SERVER, UDP_PORT))
        self.network.run(0.1)
        self.assertEqual(peer.heard, [])
        self.assertNotIn(_REFUSED, self.port.counters)

    def test_its_udp_port_may_be_another_but_not_its_host(self) -> None:
        """A NAT that forgot about it may be why the ABORT was lost."""
        peer = self._ended()
        moved, other = RawPeer(self), RawPeer(self, host="192.0.2.66")
        self.server.refused.add("192.0.2.66")
        for each in (moved, other):
            each.tag = peer.tag
            each.data(b"x")
        self.assertEqual((moved.chunks, other.chunks), ([_ABORT], []))

    def test_a_new_association_needs_admission(self) -> None:
        """As anybody's."""
        peer = self._ended()
        peer.init()
        self.assertEqual(peer.heard, [])
        self.assertEqual(self.port.counters[_REFUSED], 1)

    def test_it_is_answered_though_nobody_else_is_accepted(self) -> None:
        """While other associations keep the UDP port open."""
        peer = self._ended()
        self.connect("192.0.2.9")
        self.port.stopListening()
        peer.data(b"x")
        self.assertEqual(peer.chunks, [_ABORT])

    def test_it_is_forgotten_after_a_minute(self) -> None:
        """Long after the peer has given up."""
        peer = self._ended()
        self.network.run(59)
        peer.data(b"x")
        self.network.run(1)
        peer.data(b"x")
        self.assertEqual(peer.chunks, [_ABORT])
        self._ended(port=1001)
        self.assertEqual(len(self.port._leg._ended), 1)

    def test_only_so_many_are_remembered(self) -> None:
        """The latest."""
        self.patch(ended, "_MAX_REMEMBERED", 2)
        peers = [self._ended(port=1000 + number) for number in range(3)]
        for peer in peers:
            peer.data(b"x")
        self.assertEqual([peer.chunks for peer in peers], [[], [_ABORT], [_ABORT]])
        self.assertEqual(self.port.counters["ended associations forgotten early"], 1)
