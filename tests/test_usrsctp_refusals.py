"""What ICMP may tell a client of SCTP in user space, who can't know whether it is true."""

from __future__ import annotations

import errno
from unittest import mock

from twisted.internet.error import (
    ConnectError,
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,
    MessageLengthError,
)

from lispmsrt.transports.sctp.usrsctp.stack import the_stack
from tests.test_usrsctp_network import CLIENT, SERVER, UDP_PORT, Port, UsrsctpTestCase

_HEARTBEAT, _SHUTDOWN_COMPLETE = 4, 14


class RefusalTests(UsrsctpTestCase):
    """The server's UDP port is closed, or somebody says so."""

    def _heartbeats(self) -> int:
        sent = [data for source, _to, data in self.network.sent if source[0] == CLIENT]
        return sum(data[12] == _HEARTBEAT for data in sent)

    def test_an_attempt_ends_at_once(self) -> None:
        """As with TCP; nothing of it is left."""
        self.network.closed_ports.add((SERVER, 1))
        connecting = self.client(peer_encapsulation=1).connect(self.clients)
        took = self.network.run(5, until=lambda: connecting.called)
        failure = self.failureResultOf(connecting, ConnectionRefusedError)
        self.assertIn("its UDP port is closed", failure.getErrorMessage())
        self.assertLess(took, 0.1)
        self.assertEqual((len(the_stack()), self.clients.numPorts), (0, 0))
        self.assertNotIn(CLIENT, {host for host, _port in self.network.ports})

    def test_an_association_that_is_up_outlives_lies(self) -> None:
        """The server is asked, and answers; what is written arrives."""
        client, server = self.connect()
        for _ in range(20):
            leg = client.stream._leg
            for _refusal in range(10):
                leg.connectionRefused()  # type: ignore[attr-defined]
            self.network.run(1)
        client.stream.write(b"still here")
        self.network.run(5)
        self.assertEqual((client.reasons, server.data), ([], b"still here"))
        self.assertEqual(self._heartbeats(), 20)

    def test_the_server_is_asked_more_than_once(self) -> None:
        """The first question may be lost."""
        client, _server = self.connect()
        self.network.lost_by = lambda data: data[12] == _HEARTBEAT
        client.stream._leg.connectionRefused()  # type: ignore[attr-defined]
        self.network.run(1.5)
        self.network.lost_by = lambda data: False
        self.network.run(8)
        self.assertEqual(client.reasons, [])

    def test_an_association_ends_when_the_server_is_gone(self) -> None:
        """Within some 3 s, not by keepalive."""
        client, server = self.connect()
        port = self.network.ports.pop((SERVER, UDP_PORT))
        self.network.closed_ports.add((SERVER, UDP_PORT))
        client.stream.write(b"anybody?")
        took = self.network.run(20, until=lambda: client.reasons)
        self.assertIs(client.ending, ConnectionLost)
        self.assertIn("its UDP port is closed", client.reasons[0].getErrorMessage())
        self.assertTrue(3 < took < 4.2, took)
        self.network.ports[SERVER, UDP_PORT] = port
        server.stream.abortConnection()

    def test_a_server_that_closed_its_port_last_has_ended_the_association(self) -> None:
        """SHUTDOWN COMPLETE was lost; everything was delivered."""
        client, server = self.connect()
        self.network.lost_by = lambda data: data[12] == _SHUTDOWN_COMPLETE
        self.network.closed_ports.add((SERVER, UDP_PORT))
        server.stream.write(b"all")
        server.stream.loseConnection()
        self.port.stopListening()
        self.network.run(10)
        self.assertNotIn((SERVER, UDP_PORT), self.network.ports)
        self.assertGreater(client.stream._leg.counters["refusals"], 0)  # type: ignore[attr-defined]
        self.assertEqual(client.data, b"all")
        self.assertIs(client.ending, ConnectionDone)

    def test_no_route_is_an_error_at_once(self) -> None:
        """The kernel knows it before anything is sent."""
        refusal = OSError(errno.ENETUNREACH, "Network is unreachable")
        with mock.patch.object(Port, "connect", side_effect=refusal):
            connecting = self.client().connect(self.clients)
        failure = self.failureResultOf(connecting, ConnectError)
        self.assertIn("Network is unreachable", failure.getErrorMessage())
        self.assertEqual((len(the_stack()), self.clients.numPorts), (0, 0))
        self.assertNotIn(CLIENT, {host for host, _port in self.network.ports})

    def test_what_the_kernel_does_not_send_is_a_lost_packet(self) -> None:
        """Whatever its reason."""
        client, server = self.connect()
        for problem in (OSError(errno.ENETUNREACH, "no"), MessageLengthError("message too long")):
            with mock.patch.object(Port, "write", side_effect=problem):
                client.stream.write(b"lost ")
                self.network.run(0.1)
        self.network.run(5)
        self.assertEqual(server.data, b"lost lost ")
        self.assertEqual(client.reasons, [])

    def test_a_client_does_not_follow_another_udp_port(self) -> None:
        """A server's port is the one that was asked for (RFC 6951 §5.4 is for servers)."""
        client, server = self.connect()
        self.network.nat[SERVER, UDP_PORT] = (SERVER, 61000)
        server.stream.write(b"from elsewhere")
        self.network.run(5)
        self.assertEqual(client.data, b"")
        peer = client.stream.peer
        self.assertEqual((peer.host, peer.udp_port), (SERVER, UDP_PORT))
