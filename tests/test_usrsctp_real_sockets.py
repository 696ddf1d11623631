"""SCTP in user space over UDP sockets of this machine."""

from __future__ import annotations

import random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import (
    ConnectBindError,
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from lispmsrt.transports.sctp.usrsctp.endpoints import client_endpoint, server_endpoint
from lispmsrt.transports.sctp.usrsctp.stack import the_stack
from tests.running import free_port
from tests.test_usrsctp_network import Server

_MEGABYTE = random.Random(3).randbytes(1 << 20)


class Collector(Protocol):
    """Waits for a number of octets, and for the end."""

    def __init__(self) -> None:
        self.data = b""
        self.wanted = 0
        self.complete: Deferred[bytes] = Deferred()
        self.ending: Deferred[type[BaseException]] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.data += data
        if self.wanted and len(self.data) >= self.wanted and not self.complete.called:
            self.complete.callback(self.data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ending.callback(reason.type)

    def expect(self, octets: int) -> Deferred[bytes]:
        """Return what fires with all octets once there are so many."""
        self.wanted = octets
        self.dataReceived(b"")
        return self.complete


class Echo(Collector):
    """Says what it hears."""

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)


class RealSocketTests(TestCase):
    """On loopback."""

    timeout = 60

    async def _listen(self, host: str, protocol: type[Protocol]) -> tuple[Any, Server]:
        from twisted.internet import reactor

        factory = Server()
        factory.make = protocol
        port: Any = await server_endpoint(reactor, 0, host, 0, 10.0).listen(factory)
        self.addCleanup(port.stopListening)
        return port, factory

    async def _connect(self, host: str, port: Any, **settings: Any) -> Any:
        from twisted.internet import reactor

        factory = Factory.forProtocol(Collector)
        factory.noisy = False
        wanted = {"bind_address": None, "encapsulation": 0} | settings
        wanted = {"peer_encapsulation": port.encapsulation, "heartbeat": 10.0} | wanted
        number = port.getHost().port
        return await client_endpoint(reactor, host, number, **wanted).connect(factory)

    async def _assert_echo(self, host: str) -> None:
        port, factory = await self._listen(host, Echo)
        client = await self._connect(host, port)
        self.assertEqual(client.transport.getPeer().host, host)
        self.assertEqual(client.transport.getHost().host, host)
        self.assertEqual(factory.built[0].transport.getPeer().host, host)
        client.transport.write(_MEGABYTE)
        self.assertEqual(await client.expect(len(_MEGABYTE)), _MEGABYTE)
        client.transport.loseConnection()
        for end in (client, factory.built[0]):
            self.assertIs(await end.ending, ConnectionDone)

    async def test_a_megabyte_comes_back_over_ipv4(self) -> None:
        """As it was."""
        await self._assert_echo("127.0.0.1")

    async def test_a_megabyte_comes_back_over_ipv6(self) -> None:
        """As it was."""
        await self._assert_echo("::1")

    async def test_an_ipv4_peer_of_an_ipv6_socket_has_its_ipv4_address(self) -> None:
        """It is that which is admitted."""
        port, factory = await self._listen("::", Echo)
        client = await self._connect("127.0.0.1", port)
        self.assertEqual(factory.built[0].transport.getPeer().host, "127.0.0.1")
        client.transport.write(b"mapped")
        self.assertEqual(await client.expect(6), b"mapped")
        client.transport.abortConnection()
        await client.ending
        self.assertIs(await factory.built[0].ending, ConnectionLost)

    async def test_a_closed_udp_port_is_a_refusal(self) -> None:
        """ICMP says so at once. The attempt has closed its own port by then."""
        from twisted.internet import reactor

        for host in ("127.0.0.1", "::1"):
            port, _factory = await self._listen(host, Echo)
            number, encapsulation = port.getHost().port, port.encapsulation
            await port.stopListening()
            own = free_port()
            for _attempt in range(2):
                endpoint = client_endpoint(
                    reactor, host, number, None, own, encapsulation, heartbeat=10.0
                )
                attempt = endpoint.connect(Factory.forProtocol(Collector))
                await self.assertFailure(attempt, ConnectionRefusedError)

    async def test_a_clients_socket_is_for_its_server_only(self) -> None:
        """What others send to it the kernel drops."""
        port, _factory = await self._listen("127.0.0.1", Echo)
        client = await self._connect("127.0.0.1", port)
        handle = client.transport._leg.transport.socket
        self.assertEqual(handle.getpeername(), ("127.0.0.1", port.encapsulation))
        client.transport.abortConnection()
        await client.ending

    async def test_a_network_that_refuses_is_a_lost_packet(self) -> None:
        """Nothing is raised into the reactor's loop; no route, in this case."""
        port, factory = await self._listen("127.0.0.1", Echo)
        client = await self._connect("127.0.0.1", port)
        server = factory.built[0]
        address, server.transport.peer.address = server.transport.peer.address, "::1"
        server.transport.write(b"to nowhere")
        await self._turns(3)
        server.transport.peer.address = address
        self.assertEqual(await client.expect(10), b"to nowhere")
        server.transport.abortConnection()
        await server.ending
        await client.ending

    async def _turns(self, count: int) -> None:
        from twisted.internet import reactor

        for _ in range(count):
            turn: Deferred[None] = Deferred()
            reactor.callLater(0, turn.callback, None)
            await turn

    async def test_an_address_that_is_not_ours_can_not_be_bound(self) -> None:
        """And the error says so."""
        port, _factory = await self._listen("127.0.0.1", Echo)
        attempt = Deferred.fromCoroutine(
            self._connect("127.0.0.1", port, bind_address="192.0.2.200")
        )
        failure = await self.assertFailure(attempt, ConnectBindError)
        self.assertIn("192.0.2.200", str(failure))

    async def test_many_associations_at_once(self) -> None:
        """Fifty, each with its own octets."""
        port, factory = await self._listen("127.0.0.1", Echo)
        clients = [await self._connect("127.0.0.1", port) for _ in range(50)]
        for number, client in enumerate(clients):
            client.transport.write(b"%05d" % number * 1000)
        for number, client in enumerate(clients):
            self.assertEqual(await client.expect(5000), b"%05d" % number * 1000)
            client.transport.loseConnection()
        for end in (*clients, *factory.built):
            self.assertIs(await end.ending, ConnectionDone)
        self.assertEqual(len(the_stack()), 0)
