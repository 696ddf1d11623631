"""Listening and connecting over the stack in user space: what fails, and how it is said."""

from __future__ import annotations

import ctypes
import errno
from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred
from twisted.internet.error import (
    CannotListenError,
    ConnectBindError,
    ConnectError,
    ConnectingCancelledError,
    ConnectionRefusedError,
    TimeoutError,
)
from twisted.internet.interfaces import (
    IConsumer,
    IListeningPort,
    IPushProducer,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
    ITransport,
)
from twisted.internet.protocol import Factory
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from lispmsrt.transports.interfaces import TransportUnavailable
from lispmsrt.transports.sctp.usrsctp import endpoints, library
from lispmsrt.transports.sctp.usrsctp.endpoints import (
    UsrsctpServerEndpoint,
    client_endpoint,
    server_endpoint,
)
from lispmsrt.transports.sctp.usrsctp.sockets import Socket
from lispmsrt.transports.sctp.usrsctp.stack import the_stack
from tests.test_usrsctp_network import (
    CLIENT,
    PORT,
    SERVER,
    UDP_PORT,
    Host,
    Recorder,
    Server,
    UsrsctpTestCase,
)

_INIT, _ABORT = 1, 6


class ListeningTests(UsrsctpTestCase):
    """Server endpoints."""

    def _endpoint(self, host: str = SERVER, **settings: Any) -> UsrsctpServerEndpoint:
        wanted = {"port": PORT, "interface": host, "encapsulation": UDP_PORT, "heartbeat": 10.0}
        return UsrsctpServerEndpoint(
            Host(self.network, host), self.network.clock, **(wanted | settings)
        )

    def test_a_taken_udp_port_is_an_error(self) -> None:
        """That names it."""
        failure = self.failureResultOf(self._endpoint().listen(Server()), CannotListenError)
        self.assertIn(str(UDP_PORT), failure.getErrorMessage())

    def test_several_udp_ports_share_an_sctp_port(self) -> None:
        """Each has its own factory and admission."""
        other = Server()
        other.refused.add(CLIENT)
        port: Any = self.successResultOf(self._endpoint("192.0.2.3").listen(other))
        self.connect()
        self.assertEqual(other.built, [])
        self.successResultOf(port.stopListening())
        self.connect()
        self.assertEqual(len(self.server.built), 2)

    def test_port_0_is_any_port(self) -> None:
        """Of SCTP and of UDP."""
        port: Any = self.successResultOf(
            self._endpoint("192.0.2.3", port=0, encapsulation=0).listen(Server())
        )
        self.assertNotIn(port.getHost().port, (0, PORT))
        self.assertNotIn(port.encapsulation, (0, UDP_PORT))
        self.successResultOf(port.stopListening())

    def test_an_association_outlives_its_port(self) -> None:
        """No new one is set up meanwhile, and the UDP port closes after the last."""
        client, server = self.connect()
        stopped = self.port.stopListening()
        self.assertIs(self.port.stopListening(), stopped)
        late = self.client().connect(self.clients)
        client.stream.write(b"still here")
        self.network.run(5)
        self.assertEqual(server.data, b"still here")
        self.assertNoResult(stopped)
        self.assertNoResult(late)
        client.stream.loseConnection()
        self.network.run(2)
        self.successResultOf(stopped)
        self.assertNotIn((SERVER, UDP_PORT), self.network.ports)
        self.network.run(10)
        self.failureResultOf(late, TimeoutError)

    def test_a_port_may_be_opened_again(self) -> None:
        """At once."""
        self.successResultOf(self.port.stopListening())
        self.port = self.successResultOf(self._endpoint().listen(self.server))
        self.connect()

    def test_a_factory_may_refuse(self) -> None:
        """By building nothing."""
        self.server.make = lambda: None
        connecting = self.client().connect(self.clients)
        self.network.run(1)
        client: Recorder = self.successResultOf(connecting)
        self.assertEqual(len(client.reasons), 1)

    def test_factories_are_started_and_stopped(self) -> None:
        """Both ends', as with TCP."""
        self.assertEqual(self.server.numPorts, 1)
        client, _server = self.connect()
        self.assertEqual(self.clients.numPorts, 1)
        client.stream.abortConnection()
        self.network.run(1)
        self.assertEqual(self.clients.numPorts, 0)
        self.port.stopListening()
        self.assertEqual(self.server.numPorts, 0)


class ConnectingTests(UsrsctpTestCase):
    """Client endpoints."""

    def _assert_nothing_left(self) -> None:
        self.network.run(0.2)
        self.assertEqual(len(the_stack()), 0)
        self.assertNotIn(CLIENT, {host for host, _port in self.network.ports})
        self.assertEqual(self.clients.numPorts, 0)

    def test_nobody_there(self) -> None:
        """No answer within ten seconds."""
        connecting = self.client(peer_encapsulation=1).connect(self.clients)
        took = self.network.run(60, until=lambda: connecting.called)
        self.failureResultOf(connecting, TimeoutError)
        self.assertTrue(9.9 < took < 10.2, took)
        self._assert_nothing_left()

    def test_nobody_listens_there(self) -> None:
        """An ABORT comes back, and at once it is known: a peer's other SCTP port is closed."""
        peer = self.network.ports[SERVER, UDP_PORT].protocol
        answer = peer.datagramReceived

        def refuse(data: bytes, addr: Any) -> None:
            if data[12] == _INIT:
                head = data[2:4] + data[:2] + data[16:20]
                rest = bytes([_ABORT, 0, 0, 4])
                checksum = the_stack().checksum(head + bytes(4) + rest)
                peer.transport.write(head + checksum + rest, addr)

        peer.datagramReceived = refuse
        connecting = self.client().connect(self.clients)
        took = self.network.run(20, until=lambda: connecting.called)
        self.failureResultOf(connecting, ConnectionRefusedError)
        self.assertLess(took, 0.1)
        peer.datagramReceived = answer
        self._assert_nothing_left()

    def test_an_attempt_may_be_cancelled(self) -> None:
        """Whatever comes later is for nobody."""
        connecting = self.client().connect(self.clients)
        connecting.cancel()
        self.failureResultOf(connecting, ConnectingCancelledError)
        self._assert_nothing_left()
        self.network.run(20)
        self.assertEqual(self.server.built, [])

    def test_a_finished_attempt_can_not_be_cancelled(self) -> None:
        """As with any Deferred."""
        connecting = self.client().connect(self.clients)
        self.network.run(1)
        connecting.cancel()
        client: Recorder = self.successResultOf(connecting)
        self.assertEqual(client.reasons, [])

    def test_a_client_that_wants_no_protocol(self) -> None:
        """Is told so."""

        class Unwilling(Factory):
            noisy = False

            def buildProtocol(self, addr: Any) -> None:
                return None

        connecting = self.client().connect(Unwilling())
        self.network.run(1)
        self.failureResultOf(connecting, endpoints.NoProtocol)
        self._assert_nothing_left()

    def test_a_taken_udp_port_is_an_error(self) -> None:
        """Of our own."""
        self.connect(encapsulation=7000)
        connecting = self.client(encapsulation=7000).connect(self.clients)
        self.failureResultOf(connecting, ConnectBindError)

    def test_the_first_packets_may_be_lost(self) -> None:
        """They are sent again."""
        self.network.loss = 1.0
        connecting = self.client().connect(self.clients)
        self.network.run(3.5)
        self.network.loss = 0.0
        self.network.run(3, until=lambda: connecting.called)
        self.successResultOf(connecting)

    def test_a_stack_that_refuses_is_an_error(self) -> None:
        """Without sockets, or without ports."""
        for function in ("open", "connect"):
            refusal = mock.Mock(side_effect=OSError(errno.ENOBUFS, "No buffer space available"))
            with mock.patch.object(Socket, function, refusal):
                connecting = self.client().connect(self.clients)
                self.network.run(0.1)
            self.failureResultOf(connecting, ConnectError)
            self._assert_nothing_left()

    def test_octets_may_be_written_in_connection_made(self) -> None:
        """By both ends: the transport is ready then."""

        class Greeter(Recorder):
            def connectionMade(self) -> None:
                assert self.transport is not None
                self.transport.write(b"hello")

        self.server.make = Greeter
        factory = Factory.forProtocol(Greeter)
        factory.noisy = False
        connecting = self.client().connect(factory)
        self.network.run(1)
        client: Recorder = self.successResultOf(connecting)
        self.assertEqual((client.data, self.server.built[0].data), (b"hello", b"hello"))

    def test_interfaces(self) -> None:
        """What Twisted asks of each."""
        client, _server = self.connect()
        for interface in (ITransport, IConsumer, IPushProducer):
            verifyObject(interface, client.stream)
        verifyObject(IListeningPort, self.port)
        verifyObject(IStreamClientEndpoint, self.client())


class FunctionTests(SynchronousTestCase):
    """What the endpoint strings call, and a machine without the library."""

    def test_the_functions_make_endpoints(self) -> None:
        """Without touching the library."""
        reactor: Any = object()
        verifyObject(IStreamServerEndpoint, server_endpoint(reactor, 4342, "::", 9899, 10.0))
        client = client_endpoint(reactor, "192.0.2.1", 4342, None, 0, 9899, 10.0)
        verifyObject(IStreamClientEndpoint, client)

    def test_without_the_library_the_error_names_the_package(self) -> None:
        """In one sentence, for both ends."""
        load = library.load
        with (
            mock.patch("lispmsrt.transports.sctp.usrsctp.stack._stack", None),
            mock.patch.object(library, "load", lambda: load("libmissing.so.2")),
        ):
            reactor: Any = object()
            attempts: list[Deferred[Any]] = [
                server_endpoint(reactor, 4342, "::", 9899, 10.0).listen(Factory()),
                client_endpoint(reactor, "192.0.2.1", 4342, None, 0, 9899, 10.0).connect(Factory()),
            ]
            for attempt in attempts:
                failure = self.failureResultOf(attempt, TransportUnavailable)
                self.assertIn("install Debian's package libusrsctp2", failure.getErrorMessage())

    def test_a_library_that_lacks_a_function_is_no_library(self) -> None:
        """Another version, perhaps."""
        self.assertRaises(TransportUnavailable, library.load, "libc.so.6")

    def test_structures_are_as_long_as_in_the_header(self) -> None:
        """usrsctp.h of 0.9.5 on Linux, 64 bits."""
        sizes = {
            library.ConnAddress: 16,
            library.SendInfo: 16,
            library.ReceiveInfo: 28,
            library.AssociationChange: 20,
            library.EventSubscription: 8,
            library.PathParameters: 152,
            library.RetransmissionTimes: 16,
            library.AssociationParameters: 20,
            library.InitMessage: 8,
            library.Status: 176,
        }
        for structure, size in sizes.items():
            self.assertEqual(ctypes.sizeof(structure), size, structure.__name__)
        self.assertEqual(library.PathParameters.dscp.offset, 150)
