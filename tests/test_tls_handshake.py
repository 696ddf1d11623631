"""TLS handshakes in memory: who is let in, who is believed, and what is said when not."""

from __future__ import annotations

from itertools import count
from random import Random

from cryptography import x509
from twisted.internet.defer import CancelledError
from twisted.internet.testing import StringTransport
from twisted.logger import LogLevel, capturedLogs
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.transports.gate import Reset
from lispmsrt.transports.handshakes import HandshakeLimits
from lispmsrt.transports.tls.contexts import context_options, own_certificate
from lispmsrt.transports.tls.failures import TlsFailed
from lispmsrt.transports.tls.identity import ServerIdentity
from lispmsrt.transports.tls.server import TlsServerEndpoint
from lispmsrt.transports.tls.stream import SecuredStream
from lispmsrt.transports.turns import Turns
from tests.tls_ground import (
    CLIENT,
    PORT,
    SERVER,
    Choosy,
    Ear,
    Ears,
    Patient,
    TlsGround,
    files,
    signed_with,
)


class ServerIdentityTests(TlsGround, SynchronousTestCase):
    """What a client accepts as its server."""

    def _assert_connected(self) -> None:
        self.assertEqual(self.problems, [])
        self.assertEqual(self.connected, self.clients.built)
        self.assertEqual([ear.made for ear in self.connected + self.servers.built], [1, 1])

    def test_server_of_the_ca_by_its_address(self) -> None:
        """The address that is connected to must be in the certificate."""
        self.listen()
        self.meet()
        self._assert_connected()

    def test_octets_go_both_ways(self) -> None:
        """As over any stream."""
        self.listen()
        self.meet()
        self.connected[0].transport.write(b"up")
        self.servers.built[0].transport.write(b"down")
        self.network.run()
        self.assertEqual(
            (self.servers.built[0].received, self.connected[0].received), (b"up", b"down")
        )

    def test_server_by_another_of_its_names(self) -> None:
        """DNS names whatever their case, IPv6 addresses however written."""
        self.listen()
        for name in ("MS.example", "2001:db8:0:0::1"):
            self.meet(caFile=files("CA").certificate, serverName=name)
        self.assertEqual((len(self.connected), self.problems), (2, []))

    def test_server_by_its_pin_alone(self) -> None:
        """Neither CA nor name nor time matter then."""
        for name in ("self-signed", "expired", "other server"):
            gate = self.listen(**files(name).own)
            self.meet(pin=files(name).pin.upper())
            self.network.ports.clear()
            self.assertEqual(len(gate.handshakes), 0)
        self.assertEqual((len(self.connected), self.problems), (3, []))

    def test_server_by_ca_and_pin(self) -> None:
        """Both are satisfied."""
        self.listen()
        self.meet(caFile=files("CA").certificate, pin=files("server").pin)
        self._assert_connected()

    def test_self_signed_certificate_is_its_own_ca_file(self) -> None:
        """As `lispmsrt make-certificate` makes it."""
        self.listen(**files("self-signed").own)
        self.meet(caFile=files("self-signed").certificate)
        self._assert_connected()

    def test_wrong_pin(self) -> None:
        """With or without a CA that would do."""
        for options in ({}, {"caFile": files("CA").certificate}):
            self.setUp()
            self.listen()
            self.meet(pin=files("client").pin, **options)
            self.assertEqual(
                self.problem(),
                f"the server's key is not the pinned one: its pin is {files('server').pin}",
            )
            self.assertEqual(self.servers.built, [])

    def test_right_pin_does_not_replace_the_ca(self) -> None:
        """Who asks for both gets both."""
        self.listen()
        self.meet(caFile=files("other CA").certificate, pin=files("server").pin)
        self.assertIn("not signed by a CA that is trusted here", self.problem())

    def test_other_ca(self) -> None:
        """And the server is told by an alert."""
        with capturedLogs() as logs:
            self.listen()
            self.meet(caFile=files("other CA").certificate)
        self.assertEqual(
            self.problem(), "the peer's certificate is not signed by a CA that is trusted here"
        )
        reasons = [event["reason"] for event in logs if "reason" in event]
        self.assertEqual(reasons, ["the peer does not know the CA of our certificate"])

    def test_cas_of_the_machine_do_not_know_ours(self) -> None:
        """The word `system`."""
        self.listen()
        self.meet(caFile="system")
        self.assertIn("not signed by a CA that is trusted here", self.problem())

    def test_expired_certificate(self) -> None:
        """Or one that is not valid yet."""
        for name, words in (("expired", "has expired"), ("early", "is not valid yet")):
            self.setUp()
            self.listen(**files(name).own)
            self.meet()
            self.assertEqual(self.problem(), f"the peer's certificate {words}")

    def test_certificate_of_another(self) -> None:
        """The sentence names whose it is."""
        self.listen(**files("other server").own)
        self.meet()
        self.assertEqual(
            self.problem(), f"the server's certificate is for other.example, not {SERVER}"
        )
        self.assertEqual(self.servers.built, [])

    def test_certificate_of_nobody(self) -> None:
        """Without a subjectAltName it is no server's, whatever its CA says of its subject."""
        self.listen(**signed_with().own)
        self.meet()
        self.assertIn("for nobody (it has no subjectAltName)", self.problem())

    def test_certificate_that_can_not_be_read(self) -> None:
        """OpenSSL minds less than what checks names."""
        self.listen(
            **signed_with(
                x509.UnrecognizedExtension(
                    x509.SubjectAlternativeName.oid, b"\x30\x04\x82\x02a\xff"
                )
            ).own
        )
        self.meet()
        self.assertIn("the server's certificate can't be read: ", self.problem())

    def test_server_without_a_certificate(self) -> None:
        """TLS 1.3 has none such, but for keys agreed on before."""
        identity = ServerIdentity(SERVER, checks_name=False, pin=None)
        problem = self.assertRaises(TlsFailed, identity.check, None)
        self.assertEqual(str(problem), "the server showed no certificate")

    def test_own_certificate_is_not_shown_to_the_wrong_server(self) -> None:
        """It leaves with the last flight, after the check."""
        self.listen(**files("other server").own, clientCA=files("CA").certificate)
        self.meet(caFile=files("CA").certificate, **files("client").own)
        hello = self.sent_to(SERVER)
        self.assertIn("other.example", self.problem())
        # One record, the ClientHello: type, version, length.
        self.assertEqual(int.from_bytes(hello[3:5], "big") + 5, len(hello))


class ClientIdentityTests(TlsGround, SynchronousTestCase):
    """Whom a server takes that asks for certificates."""

    def _meet(self, **own: str) -> None:
        self.gate = self.listen(**files("server").own, clientCA=files("CA").certificate)
        self.meet(caFile=files("CA").certificate, **own)

    def _assert_refused(self, words: str) -> None:
        """The client's own handshake was over before it could know."""
        (client,) = self.connected
        self.assertEqual((client.made, client.farewell), (1, words))
        self.assertTrue(client.lost.check(TlsFailed))
        self.assertEqual(self.servers.built, [])
        self.assertEqual((len(self.gate.handshakes), self.network.pipes), (0, []))
        self.assertEqual(self.gate.handshakes.counters["handshakes failed"], 1)

    def test_client_of_the_ca(self) -> None:
        """It is known before the application meets it."""
        self._meet(**files("client").own)
        (server,) = self.servers.built
        shown = server.transport.getPeerCertificate().to_cryptography()
        self.assertEqual(shown, files("client").made.certificate)

    def test_client_without_a_certificate(self) -> None:
        """What it wrote meanwhile is heard by nobody."""
        self.clients = Ears(lambda ear: ear.transport.write(b"first words"))
        self._meet()
        self._assert_refused("the peer demands a certificate and we showed none")

    def test_client_of_another_ca(self) -> None:
        """A certificate is not enough."""
        with capturedLogs() as logs:
            self._meet(**files("self-signed").own)
        self._assert_refused("the peer does not know the CA of our certificate")
        self.assertIn(
            "is self-signed and not trusted here",
            next(event["reason"] for event in logs if "reason" in event),
        )

    def test_expired_client(self) -> None:
        """The CA has known it once."""
        self._meet(**files("expired client").own)
        self._assert_refused("the peer finds our certificate expired")

    def test_certificate_is_not_asked_for_without_a_ca(self) -> None:
        """A client that has one keeps it."""
        self.listen()
        self.meet(caFile=files("CA").certificate, **files("client").own)
        self.assertIsNone(self.servers.built[0].transport.getPeerCertificate())


class AdmissionTests(TlsGround, SynchronousTestCase):
    """What is decided before there is any TLS."""

    def test_who_is_not_admitted_is_reset_unread(self) -> None:
        """No octet is sent, and no TLS connection made."""
        gate = self.listen(Choosy(CLIENT))
        pipe = self.network.connect(Ear(), SERVER, PORT, "127.0.0.9")
        self.assertIsInstance(pipe.other.protocol, Reset)
        pipe.write(b"\x16\x03\x01")
        self.network.run()
        self.assertTrue(pipe.other.was_aborted)
        self.assertEqual(self.sent_to("127.0.0.9"), b"")
        self.assertEqual(gate.handshakes.counters, {})

    def test_who_is_admitted_is_asked_for_once(self) -> None:
        """And the application has its own say in buildProtocol, with the peer's address."""
        choosy = Choosy(CLIENT)
        self.listen(choosy)
        self.meet()
        self.assertEqual(choosy.asked, [CLIENT])
        (address,) = choosy.addresses
        self.assertEqual((address.type, address.host), ("TCP", CLIENT))

    def test_too_many_handshakes_of_one_address(self) -> None:
        """The next is reset; another address's is not."""
        gate = self.listen()
        for _knock in range(HandshakeLimits().max_handshakes_per_host):
            self.assertTrue(self.knock().connected)
        self.assertFalse(self.knock().connected)
        self.assertTrue(self.knock(source="127.0.0.8").connected)
        self.assertEqual(gate.handshakes.counters["handshakes refused: too many of one address"], 1)

    def test_limits_are_the_ports_own(self) -> None:
        """As its owner wants them."""
        endpoint = TlsServerEndpoint(
            self.network,
            PORT,
            SERVER,
            context_options(None, **own_certificate(**files("server").own)),
            limits=HandshakeLimits(timeout=1.0, max_handshakes=1),
        )
        endpoint.listen(self.servers)
        first, second = self.knock(), self.knock(source="127.0.0.8")
        self.assertEqual((first.connected, second.connected), (True, False))
        self.network.run(1.0)
        self.assertFalse(first.connected)

    def test_handshakes_have_an_account_and_octets_have_none(self) -> None:
        """Of who comes to the end of it, and of who leaves before."""
        ticks = count(1000.0, 0.001)
        paid: list[float] = []
        servers = Patient(Turns(lambda: next(ticks)).another())
        self.patch(servers.turn, "took", paid.append)
        self.listen(servers)
        self.meet()
        with_handshake = len(paid)
        self.assertGreater(with_handshake, 0)
        self.connected[0].transport.write(b"up")
        self.network.run()
        self.assertEqual(servers.built[0].received, b"up")
        self.connected[0].transport.loseConnection()
        self.network.run()
        self.assertEqual(len(paid), with_handshake)
        self.knock(b"no TLS at all")
        self.network.run()
        self.assertGreater(len(paid), with_handshake)

    def test_what_comes_with_the_end_of_a_handshake_is_the_applications(self) -> None:
        """Though both are in one segment."""
        now = [1000.0]
        servers = Patient(Turns(lambda: now[0]).another())
        took: list[float] = []
        self.patch(servers.turn, "took", took.append)

        def slow(data: bytes) -> None:
            now[0] += 5.0

        def hurry(ear: Ear) -> None:
            ear.transport.write(b"at once")

        servers.on_built = lambda ear: self.patch(ear, "dataReceived", slow)
        self.clients = Ears(hurry)
        self.listen(servers)
        self.meet()
        self.assertEqual(now[0], 1005.0)
        self.assertEqual(sum(took), 0.0)

    def test_application_that_wants_no_protocol(self) -> None:
        """Its answer comes after the handshake; the connection is reset."""

        class Nobody(Ears):
            def buildProtocol(self, addr: object) -> None:
                super().buildProtocol(addr)

        nobody = Nobody()
        gate = self.listen(nobody)
        self.meet()
        self.assertEqual((len(nobody.built), len(gate.handshakes)), (1, 0))
        self.assertEqual(self.network.pipes, [])

    def test_mistake_of_the_application(self) -> None:
        """It is the reactor's to log; the handshake is over all the same."""

        def fail(ear: Ear) -> None:
            raise ZeroDivisionError

        gate = self.listen(Ears(fail))
        self.connect()
        self.assertRaises(ZeroDivisionError, self.network.run)
        self.assertEqual(len(gate.handshakes), 0)
        self.assertEqual(self.network.getDelayedCalls(), [])


class StreamTests(SynchronousTestCase):
    """What TLS carries, by itself."""

    def setUp(self) -> None:
        """Note whatever is called."""
        self.called: list[str] = []
        self.stream = SecuredStream(
            check=lambda connection: self.called.append("check"),
            build=lambda: self.called.append("build"),
            ready=lambda protocol: self.called.append("ready"),
            failed=lambda reason: self.called.append(reason.getErrorMessage()),
        )

    def test_given_up_before_there_was_a_connection(self) -> None:
        """As when OpenSSL could not make one."""
        self.stream.give_up(Failure(TlsFailed("too late")))
        self.assertEqual(self.called, ["too late"])

    def test_handshake_that_ends_too_late(self) -> None:
        """Nobody is asked for a protocol any more, and octets go nowhere."""
        self.stream.makeConnection(StringTransport())
        self.stream.give_up(Failure(TlsFailed("too late")))
        self.stream.handshakeCompleted()
        self.stream.dataReceived(b"octets")
        self.stream.connectionLost()
        self.assertEqual(self.called, ["too late"])


class SilenceTests(TlsGround, SynchronousTestCase):
    """Handshakes that never end by themselves."""

    def test_server_gives_up(self) -> None:
        """After the limit, with a reset."""
        gate = self.listen()
        pipe = self.knock()
        self.network.run(HandshakeLimits().timeout - 0.1)
        self.assertTrue(pipe.connected)
        self.network.run(0.2)
        self.assertTrue(pipe.other.was_aborted)
        self.assertEqual((len(gate.handshakes), self.servers.built), (0, []))
        self.assertEqual(self.network.getDelayedCalls(), [])

    def test_port_that_closes_ends_them(self) -> None:
        """They must not become connections of an application that has stopped; others go on."""
        gate = self.listen()
        self.meet()
        pipe = self.knock()
        (port,) = self.network.ports
        port.stopListening()
        self.network.run()
        self.assertTrue(pipe.other.was_aborted)
        self.assertEqual((len(gate.handshakes), len(self.servers.built)), (0, 1))
        self.assertEqual(self.network.getDelayedCalls(), [])
        self.assertTrue(self.connected[0].transport.connected)

    def test_finished_handshake_has_no_limit(self) -> None:
        """The alarm is off."""
        self.listen()
        self.meet()
        self.assertEqual(self.network.getDelayedCalls(), [])

    def test_client_gives_up_waiting_for_tls(self) -> None:
        """A server that accepts and says nothing."""
        self.network.listenTCP(PORT, Ears(), interface=SERVER)
        self.connect(pin="00" * 32, timeout="3")
        self.network.run(3.0)
        self.assertEqual(self.problem(), "no TLS handshake within 3 s")
        self.assertEqual((self.network.pipes, self.network.getDelayedCalls()), ([], []))

    def test_client_gives_up_waiting_for_tcp(self) -> None:
        """A server that is not there."""
        self.network.silent.add(PORT)
        self.connect(pin="00" * 32, timeout="3")
        self.network.run(3.0)
        self.assertEqual(self.problem(), "no TCP connection within 3 s")
        self.assertEqual(self.network.getDelayedCalls(), [])

    def test_refused_connection(self) -> None:
        """TCP's own reason."""
        self.meet()
        self.assertIn("refused", self.problem())
        self.assertEqual(self.network.getDelayedCalls(), [])

    def test_cancelled_while_tcp_connects(self) -> None:
        """Nothing is left."""
        self.network.silent.add(PORT)
        self.connect().cancel()
        self.network.run()
        self.assertTrue(self.problems[0].check(CancelledError))
        self.assertEqual((self.network.pipes, self.network.getDelayedCalls()), ([], []))

    def test_cancelled_in_the_handshake(self) -> None:
        """The connection is reset."""
        self.network.listenTCP(PORT, Ears(), interface=SERVER)
        attempt = self.connect()
        self.network.run()
        attempt.cancel()
        self.network.run()
        self.assertTrue(self.problems[0].check(CancelledError))
        self.assertEqual((self.network.pipes, self.network.getDelayedCalls()), ([], []))

    def test_client_is_told_who_closed(self) -> None:
        """A server that hangs up on a ClientHello."""
        hangs_up = Ears(lambda ear: ear.transport.loseConnection())
        self.network.listenTCP(PORT, hangs_up, interface=SERVER)
        self.meet()
        self.assertEqual(self.problem(), "the peer closed the connection during the handshake")


class MalformedTests(TlsGround, SynchronousTestCase):
    """Octets that are no TLS."""

    def _client_hello(self) -> bytes:
        """Return what our client begins with."""
        heard = Ears()
        port = self.network.listenTCP(PORT, heard, interface=SERVER)
        self.connect()
        self.network.run()
        port.stopListening()
        return heard.built[0].received

    def test_garbage_closes_quietly(self) -> None:
        """Whatever it is: one line a second tells of it, and none is an error."""
        gate, random = self.listen(), Random(5)
        with capturedLogs() as logs:
            for size in (1, 5, 6, 100, 20_000):
                pipe = self.knock(b"\x00" + random.randbytes(size))
                pipe.loseConnection()
                self.network.run()
                self.assertFalse(pipe.connected)
        self.assertEqual(gate.handshakes.counters["handshakes failed"], 5)
        self.assertEqual((len(gate.handshakes), self.servers.built), (0, []))
        self.assertEqual([event["log_level"] for event in logs], [LogLevel.info])

    def test_garbage_is_told_again_after_a_second(self) -> None:
        """Who is admitted could fill the log otherwise."""
        self.listen()
        with capturedLogs() as logs:
            for _knock in range(3):
                self.knock(b"GET / HTTP/1.0\r\n\r\n")
                self.network.run(0.5)
        self.assertEqual(
            [event["reason"] for event in logs], ["the peer does not speak TLS but HTTP"] * 2
        )

    def test_truncated_hello_closes_quietly(self) -> None:
        """Cut anywhere."""
        hello = self._client_hello()
        gate = self.listen()
        with capturedLogs() as logs:
            for cut in range(1, len(hello), 29):
                pipe = self.knock(hello[:cut])
                pipe.loseConnection()
                self.network.run()
                self.assertEqual(len(gate.handshakes), 0)
        self.assertEqual({event["log_level"] for event in logs}, {LogLevel.info})

    def test_falsified_hello_closes_quietly(self) -> None:
        """One octet is another; some changes are as good as the original, none does harm."""
        hello = self._client_hello()
        gate = self.listen()
        with capturedLogs() as logs:
            for place in range(0, len(hello), 13):
                changed = bytearray(hello)
                changed[place] ^= 0x55
                pipe = self.knock(bytes(changed))
                pipe.loseConnection()
                self.network.run()
                self.assertEqual(len(gate.handshakes), 0)
        self.assertEqual(self.servers.built, [])
        self.assertEqual({event["log_level"] for event in logs}, {LogLevel.info})

    def test_falsified_data_ends_the_connection(self) -> None:
        """The application is told that TLS failed, and nothing of the octets."""
        self.listen()
        self.meet()
        pipe = next(each for each in self.network.pipes if each.host.port != PORT)
        self.connected[0].transport.write(b"words")
        self.network.advance(0)
        pipe.unsent[-1] ^= 1
        self.network.run()
        (server,) = self.servers.built
        self.assertEqual(server.received, b"")
        self.assertTrue(server.lost.check(TlsFailed))
        self.assertIn("bad record mac", self.connected[0].farewell)
