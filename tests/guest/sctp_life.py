"""Life and end of an association on the kernel's SCTP, between ours and plain sockets."""

from __future__ import annotations

import errno
import os
import socket
import struct
from typing import Any

import sctp
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from tests.guest.associations import (
    IPPROTO_SCTP,
    AssociationTestCase,
    Taking,
    associations,
    send_message,
)

_UNORDERED = 1
_MEGABYTE = 1 << 20


def _read_all(peer: socket.socket) -> bytes:
    """Read until the other end closes."""
    data = bytearray()
    while chunk := peer.recv(65536):
        data += chunk
    return bytes(data)


def _exchange(peer: socket.socket, messages: list[bytes]) -> bytes:
    """Send each message and read as much again."""
    received = bytearray()
    for message in messages:
        peer.sendall(message)
        wanted = len(received) + len(message)
        while len(received) < wanted:
            received += peer.recv(65536)
    return bytes(received)


def _echo(listener: socket.socket) -> str:
    """Accept one, return to it what it sends, and say how it ended."""
    peer, _address = listener.accept()
    with peer:
        peer.settimeout(20)
        try:
            while data := peer.recv(65536):
                peer.sendall(data)
        except OSError as failure:
            return errno.errorcode[failure.errno or 0]
        return "closed"


def _linger_zero(peer: socket.socket) -> None:
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class OurPairTests(AssociationTestCase):
    """Our server and our client."""

    async def test_a_megabyte_comes_back_as_it_was(self) -> None:
        """And the last octet before the end."""
        _port, near, far = await self.pair()
        far.echoes = True
        data = os.urandom(_MEGABYTE)
        near.transport.write(data)
        await self.until(lambda: len(near.received) >= len(data))
        self.assertEqual(bytes(near.received), data)
        near.transport.loseConnection()
        await self.until(lambda: near.reason and far.reason)
        self.assertEqual((near.reason, far.reason), ("ConnectionDone", "ConnectionDone"))

    async def test_addresses_are_those_of_both_ends(self) -> None:
        """With SCTP as their type."""
        port, near, far = await self.pair(client="bindAddress=127.0.0.5")
        (server, client), (peer, host) = near.hosts, far.hosts
        self.assertEqual((server.type, server.host), ("SCTP", "127.0.0.1"))
        self.assertEqual((peer.type, peer.host), ("SCTP", "127.0.0.5"))
        self.assertEqual((server, client), (host, peer))
        self.assertEqual(port.getHost(), host)
        self.assertEqual(port.factory.addresses, [peer])

    async def test_over_ipv6(self) -> None:
        """And an IPv4 peer of an IPv6 port has an IPv4 address."""
        port = await self.listening(r"interface=\:\:")
        await self.connected(port, host=r"\:\:1")
        await self.connected(port, host="127.0.0.1", options="bindAddress=127.0.0.5")
        await self.until(lambda: len(port.factory.made) == 2)
        self.assertEqual([each.host for each in port.factory.addresses], ["::1", "127.0.0.5"])

    async def test_last_words_arrive_before_the_end(self) -> None:
        """Closing does not overtake what was written."""
        _port, near, far = await self.pair()
        near.transport.write(bytes(300_000))
        near.transport.loseConnection()
        await self.until(lambda: far.reason)
        self.assertEqual((len(far.received), far.reason), (300_000, "ConnectionDone"))
        self.assertEqual(near.reason, "ConnectionDone")

    async def test_an_abort_is_a_lost_connection(self) -> None:
        """On the side that did not ask for it."""
        _port, near, far = await self.pair()
        far.transport.abortConnection()
        await self.until(lambda: near.reason and far.reason)
        self.assertEqual((near.reason, far.reason), ("ConnectionLost", "ConnectionAborted"))

    async def test_an_abort_is_noticed_by_who_does_not_read_but_writes(self) -> None:
        """As a session does whose peer does not read."""
        _port, near, far = await self.pair()
        far.transport.pauseProducing()
        near.transport.pauseProducing()
        near.transport.write(bytes(_MEGABYTE))
        far.transport.abortConnection()
        await self.until(lambda: near.reason)
        self.assertEqual(near.reason, "ConnectionLost")

    async def test_nobody_listening_is_said_at_once(self) -> None:
        """By the kernel of the other end."""
        failure = await self._failure_of(self.connected(9))
        self.assertIn("Connection was refused", str(failure))

    async def test_an_address_of_somebody_else_can_not_be_bound(self) -> None:
        """Neither to listen nor to connect."""
        for attempt in (
            self.listening("interface=192.0.2.1"),
            self.listening("interface=127.0.0.1,192.0.2.1"),
            self.connected(9, "bindAddress=192.0.2.1"),
            self.connected(9, "bindAddress=127.0.0.1,192.0.2.1"),
        ):
            self.assertIn("assign requested address", str(await self._failure_of(attempt)))

    async def test_a_port_in_use_is_said(self) -> None:
        """As for TCP."""
        taken = self.plain("127.0.0.1")
        taken.listen(1)
        from twisted.internet import reactor
        from twisted.internet.endpoints import serverFromString

        text = f"sctp:{taken.getsockname()[1]}:interface=127.0.0.1"
        endpoint: Any = serverFromString(reactor, text)
        failure = await self._failure_of(endpoint.listen(Taking()))
        self.assertIn("in use", str(failure))

    async def test_both_ends_have_the_figures(self) -> None:
        """An accepted association inherits those of the listening socket."""
        _port, near, far = await self.pair("interface=127.0.0.1:heartbeat=6", "heartbeat=6")
        for end in (near, far):
            handle = end.transport.getHandle()
            rto = struct.unpack("=iIII", handle.getsockopt(IPPROTO_SCTP, 0, 16))
            self.assertEqual(rto[1:], (1000, 1000, 1000))
            self.assertEqual(
                struct.unpack_from("=iH", handle.getsockopt(IPPROTO_SCTP, 1, 20))[1], 5
            )
            peer = (end.hosts[0].host, end.hosts[0].port)
            path = sctp.sctpsocket_tcp(socket.AF_INET, handle).get_paddrparams(0, peer)
            self.assertEqual((path.hbinterval, path.pathmaxrxt), (6000, 5))
            init = struct.unpack("=HHHH", handle.getsockopt(IPPROTO_SCTP, 2, 8))
            self.assertEqual(init[:2], (1, 1))
            self.assertTrue(end.transport.getTcpNoDelay())

    async def _failure_of(self, attempt: Any) -> BaseException:
        try:
            await attempt
        except Exception as failure:
            return failure
        raise AssertionError("it did not fail")


class PlainPeerTests(AssociationTestCase):
    """Plain kernel sockets at one end."""

    async def _accepted(self, *addresses: str, **how: Any) -> tuple[Any, socket.socket, Any]:
        port = await self.listening()
        peer = self.plain(*(addresses or ("127.0.0.5",)), **how)
        await deferToThread(peer.connect, ("127.0.0.1", port.getHost().port))
        await self.until(lambda: port.factory.made)
        return port, peer, port.factory.made[0]

    async def test_messages_of_any_size_are_a_stream_of_bytes(self) -> None:
        """To our server."""
        _port, peer, notes = await self._accepted()
        notes.echoes = True
        messages = [os.urandom(size) for size in (1, 2, 100, 1452, 16384, 65536, 100_000)]
        received = await deferToThread(_exchange, peer, messages)
        self.assertEqual(received, b"".join(messages))

    async def test_small_messages_arrive_together(self) -> None:
        """The protocol is called once for what was waiting, not once for each."""
        _port, peer, notes = await self._accepted()
        notes.transport.pauseProducing()
        for _message in range(50):
            peer.sendall(b"twelve bytes")
        notes.transport.resumeProducing()
        await self.until(lambda: len(notes.received) == 600)
        self.assertLess(notes.chunks, 10)

    async def test_our_client_talks_to_a_plain_server(self) -> None:
        """Which echoes, until we close."""
        listener = self.plain("127.0.0.1")
        listener.listen(5)
        ended = deferToThread(_echo, listener)
        near = await self.connected(listener.getsockname()[1])
        data = os.urandom(200_000)
        near.transport.write(data)
        await self.until(lambda: len(near.received) >= len(data))
        near.transport.loseConnection()
        self.assertEqual(bytes(near.received), data)
        self.assertEqual(await ended, "closed")

    async def test_our_client_aborts_a_plain_server(self) -> None:
        """Which hears of it as of a reset."""
        listener = self.plain("127.0.0.1")
        listener.listen(5)
        ended = deferToThread(_echo, listener)
        near = await self.connected(listener.getsockname()[1])
        near.transport.write(b"accepted?")
        await self.until(lambda: near.received)
        near.transport.abortConnection()
        self.assertEqual(await ended, "ECONNRESET")

    async def test_a_peer_that_closes_is_done(self) -> None:
        """SHUTDOWN, not ABORT."""
        _port, peer, notes = await self._accepted()
        peer.sendall(b"farewell")
        peer.close()
        await self.until(lambda: notes.reason)
        self.assertEqual((notes.received, notes.reason), (b"farewell", "ConnectionDone"))

    async def test_a_peer_that_aborts_is_lost(self) -> None:
        """What it had sent before is read."""
        _port, peer, notes = await self._accepted()
        peer.sendall(b"farewell")
        await self.until(lambda: notes.received)
        _linger_zero(peer)
        peer.close()
        await self.until(lambda: notes.reason)
        self.assertEqual(notes.reason, "ConnectionLost")

    async def test_our_last_words_reach_the_peer(self) -> None:
        """And then its end of file."""
        _port, peer, notes = await self._accepted()
        notes.transport.write(bytes(100_000))
        notes.transport.loseConnection()
        self.assertEqual(len(await deferToThread(_read_all, peer)), 100_000)
        peer.close()
        await self.until(lambda: notes.reason)
        self.assertEqual(notes.reason, "ConnectionDone")

    async def test_a_peer_that_shuts_down_while_we_write_is_done(self) -> None:
        """It said farewell, whatever we still had to say."""
        _port, peer, notes = await self._accepted()
        peer.sendall(b"farewell")
        peer.shutdown(socket.SHUT_RDWR)
        notes.transport.write(bytes(_MEGABYTE))
        reading: Deferred[bytes] = deferToThread(_read_all, peer)
        await self.until(lambda: notes.reason)
        self.assertEqual((notes.received, notes.reason), (b"farewell", "ConnectionDone"))
        await reading

    async def test_an_unordered_message_aborts_the_association(self) -> None:
        """It belongs to no stream of bytes."""
        port, peer, notes = await self._accepted()
        send_message(peer, b"in order")
        await self.until(lambda: notes.received)
        send_message(peer, b"beside it", flags=_UNORDERED)
        await self.until(lambda: notes.reason)
        self.assertEqual((notes.received, notes.reason), (b"in order", "ConnectionLost"))
        self.assertEqual(port.counters["messages beside the stream"], 1)
        with self.assertRaises(ConnectionResetError):
            await deferToThread(peer.recv, 100)

    async def test_a_peer_that_wants_ten_streams_gets_one(self) -> None:
        """Its own kernel does not let it use another."""
        _port, peer, notes = await self._accepted(streams=10)
        with self.assertRaises(OSError) as caught:
            send_message(peer, b"elsewhere", stream=1)
        self.assertEqual(caught.exception.errno, errno.EINVAL)
        send_message(peer, b"here", stream=0)
        await self.until(lambda: notes.received == b"here")

    async def test_nothing_stays_in_the_kernel(self) -> None:
        """Once both have closed."""
        _port, peer, notes = await self._accepted()
        peer.close()
        await self.until(lambda: notes.reason)
        await self.until(lambda: not associations())
