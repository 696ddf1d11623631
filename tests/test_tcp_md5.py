"""TCP whose segments are signed (RFC 2385): real sockets, since the kernel does it all."""

from __future__ import annotations

import errno
import socket
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString, quoteStringArgument, serverFromString
from twisted.internet.error import CannotListenError, ConnectionLost, TimeoutError
from twisted.internet.interfaces import IStreamClientEndpoint, IStreamServerEndpoint
from twisted.internet.selectreactor import SelectReactor
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface.verify import verifyObject

from lispmsrt.sockets import TcpOptions, apply_tcp_options, tcp_socket_below
from lispmsrt.transports.interfaces import TransportUnavailable
from lispmsrt.transports.tcp_md5 import client_endpoint, read_key, server_endpoint
from tests.tls_ground import Ear, Ears

_LOOP, _LOOP6 = "127.0.0.1", "::1"


class _Kernel(socket.socket):
    """A socket of a kernel that answers to the option with an error."""

    refuses = errno.ENOPROTOOPT
    opened: list[socket.socket]

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.opened.append(self)

    def setsockopt(self, *arguments: Any) -> None:
        if arguments[:2] == (socket.IPPROTO_TCP, 32):
            raise OSError(self.refuses, "no")
        super().setsockopt(*arguments)


class _Keys:
    """Mixed into a test case: files with keys."""

    def key(self, octets: bytes = b"secret\n") -> str:
        """Return a file with this key."""
        path = Path(self.mktemp())  # type: ignore[attr-defined]
        path.touch(0o600)
        path.write_bytes(octets)
        return str(path)


class SignedTests(_Keys, TestCase):
    """Who is heard, and who is not."""

    timeout = 60

    def setUp(self) -> None:
        """Nothing listens yet."""
        self.servers = Ears()

    async def _listen(self, **options: str) -> int:
        self.port = await server_endpoint(reactor, "0", **options).listen(self.servers)
        self.addCleanup(self.port.stopListening)
        number: int = self.port.getHost().port
        return number

    async def _connect(self, host: str, port: int, **options: str) -> Ear:
        options.setdefault("key", self.key())
        ear: Ear = await client_endpoint(reactor, host, str(port), **options).connect(Ears())
        return ear

    async def _assert_connects(self, host: str, port: int, **options: str) -> None:
        """Words go through, and both ends go."""
        client = await self._connect(host, port, **options)
        heard: Deferred[bytes] = Deferred()
        client.dataReceived = heard.callback  # type: ignore[method-assign]
        client.transport.write(b"up")
        while not (self.servers.built and self.servers.built[-1].received):
            turn: Deferred[None] = Deferred()
            reactor.callLater(0, turn.callback, None)
            await turn
        server = self.servers.built[-1]
        server.transport.write(b"down")
        self.assertEqual((server.received, await heard), (b"up", b"down"))
        client.transport.loseConnection()
        await client.ended
        await server.ended

    async def _assert_silence(self, attempt: Deferred[Any]) -> None:
        """The kernel drops the first segment already, so nothing can come of it."""
        await self.assertFailure(attempt, TimeoutError)
        self.assertEqual(self.servers.built, [])

    async def test_same_key_on_both_sides(self) -> None:
        """The newline at the end of a key file is none of the key."""
        port = await self._listen(interface=_LOOP, key=self.key(b"secret"))
        await self._assert_connects(_LOOP, port, key=self.key(b"secret\n"))

    async def test_same_key_over_ipv6(self) -> None:
        """Both ends."""
        port = await self._listen(interface=_LOOP6, key=self.key())
        await self._assert_connects(_LOOP6, port)

    async def test_one_socket_for_both_families(self) -> None:
        """A mapped IPv4 address has its key too."""
        port = await self._listen(interface="::", key=self.key())
        await self._assert_connects(_LOOP, port)
        await self._assert_connects(_LOOP6, port)

    async def test_longest_key(self) -> None:
        """Any octets."""
        key = bytes(range(80))
        port = await self._listen(interface=_LOOP, key=self.key(key))
        await self._assert_connects(_LOOP, port, key=self.key(key))

    async def test_other_key_hears_nothing(self) -> None:
        """No connection at the server, and no answer."""
        for interface, host in ((_LOOP, _LOOP), (_LOOP6, _LOOP6), ("::", _LOOP)):
            port = await self._listen(interface=interface, key=self.key())
            other = self._connect(host, port, key=self.key(b"guess"), timeout="0.2")
            await self._assert_silence(Deferred.fromCoroutine(other))

    async def test_no_key_hears_nothing(self) -> None:
        """Plain TCP."""
        port = await self._listen(interface=_LOOP, key=self.key())
        plain = clientFromString(reactor, f"tcp:{_LOOP}:{port}:timeout=1")
        await self._assert_silence(plain.connect(Ears()))

    async def test_server_without_a_key_is_not_talked_to(self) -> None:
        """A client that signs does not fall back."""
        port = reactor.listenTCP(0, self.servers, interface=_LOOP)
        self.addCleanup(port.stopListening)
        signed = self._connect(_LOOP, port.getHost().port, timeout="0.2")
        await self._assert_silence(Deferred.fromCoroutine(signed))

    async def test_peers_within_the_prefixes(self) -> None:
        """Of both families on one socket."""
        peers = "127.0.1.0/24,::1/128"
        port = await self._listen(interface="::", key=self.key(), peers=peers)
        await self._assert_connects(_LOOP, port, bindAddress="127.0.1.9")
        await self._assert_connects(_LOOP6, port)

    async def test_who_is_outside_the_prefixes_is_reset(self) -> None:
        """Though it has the key."""
        for interface in (_LOOP, "::"):
            port = await self._listen(interface=interface, key=self.key(), peers="127.0.1.0/24")
            client = await self._connect(_LOOP, port)
            await client.ended
            self.assertTrue(client.lost.check(ConnectionLost))
            self.assertEqual(self.servers.built, [])
            refused = self.port.factory.counters["connections refused: outside the prefixes"]
            self.assertEqual(refused, 1)

    async def test_who_is_outside_the_prefixes_without_the_key_hears_nothing(self) -> None:
        """As who is inside: the kernel drops what is not signed, wherever it comes from."""
        port = await self._listen(interface=_LOOP, key=self.key(), peers="127.0.1.0/24")
        plain = clientFromString(reactor, f"tcp:{_LOOP}:{port}:timeout=1")
        await self.assertFailure(plain.connect(Ears()), TimeoutError)
        refused = self.port.factory.counters["connections refused: outside the prefixes"]
        self.assertEqual((self.servers.built, refused), ([], 0))

    async def test_tcp_options_reach_the_socket(self) -> None:
        """It is TCP."""
        port = await self._listen(interface=_LOOP, key=self.key())
        client = await self._connect(_LOOP, port)
        apply_tcp_options(client.transport, TcpOptions(keepalive_idle=77), draw=max)
        below = tcp_socket_below(client.transport)
        assert below is not None
        self.assertEqual(below.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE), 77)
        self.assertEqual(client.transport.getPeer().type, "TCP")
        client.transport.loseConnection()
        await client.ended
        while not self.servers.built:
            turn: Deferred[None] = Deferred()
            reactor.callLater(0, turn.callback, None)
            await turn
        await self.servers.built[0].ended

    async def test_port_that_is_taken(self) -> None:
        """As with any TCP port."""
        port = await self._listen(interface=_LOOP, key=self.key())
        again = server_endpoint(reactor, str(port), interface=_LOOP, key=self.key())
        await self.assertFailure(again.listen(Ears()), CannotListenError)

    async def test_connecting_can_be_cancelled(self) -> None:
        """The socket goes."""
        port = await self._listen(interface=_LOOP, key=self.key())
        attempt = client_endpoint(reactor, _LOOP, str(port), key=self.key(b"guess")).connect(Ears())
        attempt.cancel()
        await self.assertFailure(attempt, Exception)
        self.assertEqual(self.servers.built, [])


class KernelTests(_Keys, SynchronousTestCase):
    """Kernels that can't, or won't."""

    def setUp(self) -> None:
        """Keep what is opened, to see it closed."""
        _Kernel.opened = []
        self.patch(socket, "socket", _Kernel)
        self.reactor = SelectReactor()
        self.factory = Ears()

    def _problems(self) -> list[Exception]:
        """Listen and connect; both fail, and leave nothing open."""
        key = self.key()
        server = server_endpoint(self.reactor, "0", key=key).listen(self.factory)
        client = client_endpoint(self.reactor, _LOOP, "1", key=key).connect(self.factory)
        self.reactor.runUntilCurrent()
        problems = [self.failureResultOf(each).value for each in (server, client)]
        self.assertEqual({each.fileno() for each in _Kernel.opened}, {-1})
        self.assertEqual(self.factory.numPorts, 0)
        return problems

    def test_kernel_without_signatures(self) -> None:
        """One sentence, by which others know to go on with the next transport."""
        problems = self._problems()
        self.assertEqual([type(each) for each in problems], [TransportUnavailable] * 2)
        self.assertEqual(
            {str(each) for each in problems},
            {"tcpmd5: the kernel has no TCP MD5 signatures (CONFIG_TCP_MD5SIG)"},
        )

    def test_kernel_without_memory(self) -> None:
        """That is another error, and stays what it is."""
        self.patch(_Kernel, "refuses", errno.ENOMEM)
        server, client = self._problems()
        self.assertIsInstance(server, CannotListenError)
        self.assertIsInstance(client, OSError)


class OptionsTests(_Keys, SynchronousTestCase):
    """What endpoint strings may say."""

    def _server(self, **options: str) -> str:
        """Return the sentence about a server's options."""
        options.setdefault("key", self.key())
        return str(self.assertRaises(ValueError, server_endpoint, SelectReactor(), **options))

    def _client(self, host: str = _LOOP, **options: str) -> str:
        """Return the sentence about a client's options."""
        options.setdefault("key", self.key())
        return str(self.assertRaises(ValueError, client_endpoint, SelectReactor(), host, **options))

    def test_strings_make_endpoints(self) -> None:
        """Through Twisted's parsers."""
        reactor, key = SelectReactor(), quoteStringArgument(self.key())
        server = serverFromString(
            reactor, f"tcpmd5:key={key}:peers=192.0.2.0/24,2001\\:db8\\:\\:/32"
        )
        verifyObject(IStreamServerEndpoint, server)
        client = clientFromString(reactor, f"tcpmd5:2001\\:db8\\:\\:1:4342:key={key}")
        verifyObject(IStreamClientEndpoint, client)

    def test_keys_of_a_wrong_size(self) -> None:
        """Nothing, nothing but a newline, and more than the kernel takes."""
        for octets in (b"", b"\n", bytes(81), bytes(500)):
            self.assertIn("a key has 1 to 80 octets", self._server(key=self.key(octets)))
        self.assertEqual(read_key(self.key(b"\n\n")), b"\n")

    def test_no_key(self) -> None:
        """It is what this is for."""
        for problem in (self._server(key=""), self._client(key="")):
            self.assertEqual(problem, "tcpmd5: needs key=, a file with the key")

    def test_key_that_others_may_read(self) -> None:
        """Or write. Its group may read it: where the file is root's, the daemon's, say."""
        path = Path(self.key())
        for mode in (0o604, 0o644, 0o660, 0o602):
            path.chmod(mode)
            for problem in (self._server(key=str(path)), self._client(key=str(path))):
                self.assertTrue(problem.startswith(f"key={path}: "), problem)
                self.assertTrue(problem.endswith(" (chmod 640, or 600)"), problem)
        for mode in (0o400, 0o640):
            path.chmod(mode)
            self.assertEqual(read_key(str(path)), b"secret")

    def test_key_that_is_not_there(self) -> None:
        """Named with its option."""
        self.assertIn("key=/no/file: can't be read: No such", self._client(key="/no/file"))

    def test_other_values(self) -> None:
        """Each with its option."""
        many = ",".join(["192.0.2.0/24"] * 65)
        for problem, words in (
            (self._server(port="x"), "port=x: not a port number"),
            (self._server(interface="lo"), "interface=lo: not an IPv4 or IPv6 address"),
            (self._server(backlog="no"), "backlog=no: not a number from 1 to 65535"),
            (self._server(peers="192.0.2.1/24"), "peers=192.0.2.1/24: 192.0.2.1/24 has host bits"),
            (self._server(peers="a,b"), "peers=a,b: 'a' does not appear to be"),
            (self._server(peers=many), "more than 64 prefixes"),
            (self._client("ms.example"), "host=ms.example: not an IPv4 or IPv6 address"),
            (self._client(bindAddress="x"), "bindAddress=x: not an IPv4 or IPv6 address"),
            (self._client(timeout="x"), "timeout=x: not a number of seconds"),
        ):
            self.assertIn(words, problem)
