"""A client of QUIC: options, whom it trusts, and how an attempt to connect may fail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aioquic.quic.packet import QuicPreferredAddress
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.error import (
    CannotListenError,
    ConnectError,
    ConnectionLost,
    ConnectionRefusedError,
    DNSLookupError,
    NoProtocol,
)
from twisted.internet.interfaces import IStreamClientEndpoint, IStreamServerEndpoint
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from lispmsrt.transports.quic.endpoints import client_endpoint, server_endpoint
from lispmsrt.transports.quic.resolution import resolve
from tests.quic_raw import raw_server
from tests.quic_rim import CLIENT_HOST, SERVER_HOST, Credentials, Pair, UdpPort, make_credentials


class _WithCredentials(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.credentials = make_credentials(self.directory)
        self.pair = Pair(self.credentials)
        self.network = self.pair.network


class ServerOptionTests(_WithCredentials):
    """``quic:`` as a server's endpoint string."""

    def _server(self, **options: str) -> Any:
        options = {
            "certificate": self.credentials.certificate,
            "privateKey": self.credentials.key,
            **options,
        }
        return server_endpoint(self.network, **options)

    def assert_refused(self, words: str, **options: str) -> None:
        """The options are wrong, and one sentence says how."""
        error = self.assertRaises(ValueError, self._server, **options)
        self.assertIn(words, str(error))
        self.assertNotIn("\n", str(error))

    def _file(self, name: str, data: bytes) -> str:
        (self.directory / name).touch(0o600)
        (self.directory / name).write_bytes(data)
        return str(self.directory / name)

    def test_an_endpoint_string_makes_an_endpoint(self) -> None:
        """With Twisted's own function."""
        endpoint: Any = serverFromString(
            self.network,
            f"quic:4444:interface=\\:\\::certificate={self.credentials.certificate}"
            f":privateKey={self.credentials.key}:idleTimeout=20:keepalive=5:maxDatagram=1350",
        )
        verifyObject(IStreamServerEndpoint, endpoint)
        configuration = endpoint.settings.configuration
        self.assertEqual((endpoint.port, endpoint.interface), (4444, "::"))
        self.assertEqual((configuration.idle_timeout, endpoint.settings.keepalive), (20.0, 5.0))
        self.assertEqual(configuration.max_datagram_size, 1350)
        self.assertEqual(configuration.alpn_protocols, ["lisp-rt"])

    def test_the_port_is_4343_unless_said(self) -> None:
        """On all addresses."""
        endpoint = self._server()
        self.assertEqual((endpoint.port, endpoint.interface), (4343, ""))

    def test_a_certificate_and_its_key_may_be_in_one_file(self) -> None:
        """And with a chain."""
        other = make_credentials(self.directory, "other")
        data = b"".join(
            Path(path).read_bytes()
            for path in (self.credentials.key, self.credentials.certificate, other.certificate)
        )
        endpoint = self._server(certificate=self._file("all.pem", data), privateKey="")
        self.assertEqual(len(endpoint.settings.configuration.certificate_chain), 1)

    def test_a_server_needs_a_certificate(self) -> None:
        """Nothing works without."""
        self.assert_refused("needs certificate=", certificate="")

    def test_files_must_hold_what_they_should(self) -> None:
        """And be there."""
        empty = self._file("empty", b"nothing of that kind")
        self.assert_refused("certificate=/nowhere: can't be read", certificate="/nowhere")
        self.assert_refused("has no certificates in PEM", certificate=empty)
        self.assert_refused("privateKey=/nowhere: can't be read", privateKey="/nowhere")
        self.assert_refused("has no private key in PEM", privateKey=empty)

    def test_the_key_must_be_the_certificates(self) -> None:
        """Or every handshake would fail."""
        other = make_credentials(self.directory, "other")
        self.assert_refused("is not the certificate's", privateKey=other.key)

    def test_an_encrypted_key_is_refused(self) -> None:
        """A daemon can't be asked for its passphrase."""
        key = ec.generate_private_key(ec.SECP256R1())
        text = key.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
        )
        self.assert_refused("is encrypted", privateKey=self._file("secret.key", text))

    def test_keys_of_all_usual_kinds_work(self) -> None:
        """A handshake each."""
        for key in (
            rsa.generate_private_key(65537, 2048),
            ec.generate_private_key(ec.SECP384R1()),
        ):
            pair = Pair(make_credentials(self.directory, "kind", key=key))
            _client, server = pair.establish()
            self.assertEqual(bytes(server.received), b"first")

    def test_keys_that_quic_can_not_use_are_refused(self) -> None:
        """P-521 is for nobody."""
        key = ec.generate_private_key(ec.SECP521R1())
        other = make_credentials(self.directory, "other", key=key)
        self.assert_refused("P-256 or P-384", certificate=other.certificate, privateKey=other.key)

    def test_numbers_and_words_are_checked(self) -> None:
        """Each names its option."""
        for name, value in (
            ("port", "70000"),
            ("interface", "localhost"),
            ("idleTimeout", "soon"),
            ("idleTimeout", "0.5"),
            ("keepalive", "0"),
            ("keepalive", "16"),
            ("alpn", ""),
            ("alpn", "ä"),
            ("maxDatagram", "1199"),
            ("maxDatagram", "x"),
            ("keyLog", "/nowhere/keys"),
            ("keyLog", "/"),
        ):
            self.assert_refused(f"{name}={value}", **{name: value})


class ClientOptionTests(_WithCredentials):
    """``quic:`` as a client's endpoint string."""

    def assert_refused(self, words: str, **options: str) -> None:
        """The options are wrong, and one sentence says how."""
        error = self.assertRaises(ValueError, client_endpoint, self.network, SERVER_HOST, **options)
        self.assertIn(words, str(error))

    def test_an_endpoint_string_makes_an_endpoint(self) -> None:
        """With Twisted's own function."""
        endpoint: Any = clientFromString(
            self.network,
            f"quic:{SERVER_HOST}:4444:caFile={self.credentials.certificate}"
            f":serverName=map-server.example:bindAddress={CLIENT_HOST}",
        )
        verifyObject(IStreamClientEndpoint, endpoint)
        self.assertEqual((endpoint.host, endpoint.port), (SERVER_HOST, 4444))
        self.assertEqual(endpoint.bind_address, CLIENT_HOST)
        self.assertEqual(endpoint.settings.configuration.server_name, "map-server.example")

    def test_somebody_must_vouch_for_the_server(self) -> None:
        """A CA, a pin, or both."""
        self.assert_refused("needs caFile= (a file, or the word system) or pin=")

    def test_the_word_system_is_the_machines_own_trust(self) -> None:
        """As OpenSSL finds it."""
        endpoint = client_endpoint(self.network, SERVER_HOST, caFile="system")
        configuration = endpoint.settings.configuration
        self.assertTrue(configuration.cafile or configuration.capath)
        self.assertIsNone(configuration.verify_mode)

    def test_values_are_checked(self) -> None:
        """Each names its option."""
        pin = self.credentials.pin
        self.assert_refused("pin=abc", pin="abc")
        self.assert_refused("caFile=/nowhere: can't be read", caFile="/nowhere")
        self.assert_refused("has no certificates in PEM", caFile=self.credentials.key)
        self.assert_refused("bindAddress=here", pin=pin, bindAddress="here")
        self.assert_refused("port=x", pin=pin, port="x")
        self.assert_refused("serverName=ä b: neither an IP", pin=pin, serverName="ä b")

    def test_a_host_that_is_no_name_is_refused(self) -> None:
        """A port alone, or what no certificate has: aioquic would fail with each attempt."""
        for host in ("4343", "ä.example", "[2001:db8::1]"):
            error = self.assertRaises(
                ValueError, client_endpoint, self.network, host, pin=self.credentials.pin
            )
            self.assertIn(f"host={host}: neither an IP address nor a DNS name", str(error))

    def test_the_zone_of_an_address_is_in_no_certificate(self) -> None:
        """It is this end's own word for an interface."""
        endpoint = client_endpoint(self.network, "fe80::1%lo", pin=self.credentials.pin)
        self.assertEqual(endpoint.host, "fe80::1%lo")
        self.assertEqual(endpoint.settings.configuration.server_name, "fe80::1")

    def test_a_ca_file_may_have_words_between_its_certificates(self) -> None:
        """As those that come with systems have."""
        path = self.directory / "ca.pem"
        text = Path(self.credentials.certificate).read_text()
        path.write_text(f"# one\n{text}\n# again\n{text}\nThe end.\n")
        self.pair.listen()
        self.pair.connect(caFile=str(path))
        self.network.run(1)
        self.assertEqual(self.pair.results, [self.pair.client])


class TrustTests(_WithCredentials):
    """The server is who it should be, or there is no protocol."""

    def connect(self, **options: str) -> str:
        """Connect; return why that failed, or nothing."""
        self.pair.listen()
        self.pair.connect(**options)
        self.network.run(1)
        (result,) = self.pair.results
        if result in self.pair.connecting.protocols:
            return ""
        self.assertEqual(self.pair.connecting.protocols, [])
        self.assertEqual(self.pair.accepting.protocols, [])
        self.network.run(5)
        self.assertEqual([port.where[0] for port in self.network.ports], [SERVER_HOST])
        self.assertEqual(self.network.getDelayedCalls(), [])
        self.assertIs(result.type, ConnectError)
        return str(result.getErrorMessage())

    def _other(self, **options: Any) -> Credentials:
        return make_credentials(self.directory, "other", **options)

    def test_the_pinned_key_is_trusted(self) -> None:
        """Whatever name is in the certificate."""
        self.pair.credentials = self._other(dns=("elsewhere.example",), addresses=())
        self.assertEqual(self.connect(), "")

    def test_another_key_is_not(self) -> None:
        """The sentence has the pin that was seen."""
        other = self._other()
        words = self.connect(pin=other.pin)
        self.assertIn("the server's public key is not the pinned one", words)
        self.assertIn(self.credentials.pin, words)

    def test_with_a_ca_and_a_pin_both_must_hold(self) -> None:
        """Either alone would do otherwise."""
        own = self.credentials
        self.assertEqual(self.connect(caFile=own.certificate, pin=own.pin), "")

    def test_with_a_ca_the_pin_must_hold_too(self) -> None:
        """It narrows what the CA vouches for."""
        words = self.connect(caFile=self.credentials.certificate, pin=self._other().pin)
        self.assertIn("is not the pinned one", words)

    def test_with_a_pin_the_ca_must_hold_too(self) -> None:
        """It is asked for, so it counts."""
        other = self._other().certificate
        self.assertNotEqual(self.connect(caFile=other, pin=self.credentials.pin), "")

    def test_a_certificate_of_the_ca_is_trusted_for_its_address(self) -> None:
        """The host's, unless a name is given."""
        self.assertEqual(self.connect(caFile=self.credentials.certificate), "")

    def test_a_certificate_of_the_ca_is_trusted_for_its_name(self) -> None:
        """Which the client expects."""
        words = self.connect(caFile=self.credentials.certificate, serverName="map-server.example")
        self.assertEqual(words, "")

    def test_another_name_is_not_trusted(self) -> None:
        """Nor another address."""
        for name in ("other.example", "192.0.2.99"):
            self.setUp()
            words = self.connect(caFile=self.credentials.certificate, serverName=name)
            self.assertIn("the TLS handshake failed", words)
            self.assertIn(name, words)

    def test_a_long_list_of_names_is_cut(self) -> None:
        """The sentence is for one line, and the close fits into its frame."""
        names = tuple(f"host-{number}.example" for number in range(300))
        self.pair.credentials = self._other(dns=names)
        words = self.connect(caFile=self.pair.credentials.certificate, serverName="x.example")
        self.assertIn("'x.example' doesn't match", words)
        self.assertLess(len(words), 500)
        self.assertEqual(len(self.pair.port.handshakes), 0)

    def test_another_ca_is_not_trusted(self) -> None:
        """Even with the right name."""
        words = self.connect(caFile=self._other().certificate)
        self.assertIn("the TLS handshake failed", words)

    def test_a_server_of_another_protocol_is_not_one(self) -> None:
        """The server's alert says so."""
        words = self.connect(alpn="h3")
        self.assertIn("TLS alert no_application_protocol", words)


class AttemptTests(_WithCredentials):
    """What becomes of an attempt."""

    def assert_failed(self, *kinds: type[Exception]) -> str:
        """It failed, with nothing left; return the words."""
        self.network.run(5)
        (failure,) = self.pair.results
        self.assertIn(failure.type, kinds)
        self.assertEqual(self.network.ports, [])
        self.assertEqual(self.network.getDelayedCalls(), [])
        self.assertEqual(self.pair.connecting.protocols, [])
        return str(failure.getErrorMessage())

    def test_a_refusal_is_told_at_once(self) -> None:
        """ICMP's."""
        self.pair.connect()
        self.network.run(0.02)
        self.assertEqual(len(self.pair.results), 1)
        self.assert_failed(ConnectionRefusedError)

    def test_a_refusal_that_comes_from_writing_is_told_too(self) -> None:
        """The kernel may report it with the next datagram."""
        self.pair.connect()
        (port,) = self.network.ports
        port.write = lambda data, to=None: port.protocol.connectionRefused()  # type: ignore[method-assign,assignment]
        self.network.run(0.001)
        self.assert_failed(ConnectionRefusedError)

    def test_a_refusal_ends_no_established_connection(self) -> None:
        """Nobody has authenticated it, and the server answers."""
        self.pair.establish()
        (port,) = [port for port in self.network.ports if port.connected_to]
        port.protocol.connectionRefused()
        port.protocol.connectionRefused()
        self.network.run(60)
        self.assertIsNone(self.pair.client.reason)

    def test_a_server_that_is_gone_is_noticed_soon_after_a_refusal(self) -> None:
        """Long before the idle timeout."""
        client, _server = self.pair.establish()
        self.pair.port._udp.stopListening()
        self.pair.port._udp = None  # as if its process had died
        transport: Any = client.transport
        transport.write(b"hello?")
        self.network.run(3.2)
        assert client.reason is not None
        self.assertIs(client.reason.type, ConnectionLost)
        self.assertIn("its port is closed", str(client.reason.value))

    def test_a_refusal_while_leaving_changes_nothing(self) -> None:
        """The last octets have a deadline of their own."""
        client, server = self.pair.establish()
        transport: Any = client.transport
        transport.write(b"last")
        transport.loseConnection()
        (port,) = [port for port in self.network.ports if port.connected_to]
        port.protocol.connectionRefused()
        self.network.run(1)
        self.assertEqual(bytes(server.received), b"firstlast")

    def test_silence_ends_an_attempt(self) -> None:
        """Ten seconds of it."""
        self.network.is_dead = True
        self.pair.connect()
        self.network.run(9)
        self.assertEqual(self.pair.results, [])
        self.network.run(2)
        self.assertIn("no QUIC handshake within 10 s", self.assert_failed(ConnectError))

    def test_an_attempt_can_be_cancelled(self) -> None:
        """Whenever, and the port is closed."""
        for moment in (0.0, 0.001, 0.011):
            self.setUp()
            self.pair.listen()
            self.pair.connect()
            self.network.run(moment)
            self.pair.attempt.cancel()
            self.network.run(5)
            (failure,) = self.pair.results
            self.assertIs(failure.type, CancelledError)
            self.pair.close()
            self.assertEqual(self.network.ports, [])
            self.assertEqual(self.network.getDelayedCalls(), [])
            self.assertEqual(self.pair.connecting.protocols, [])

    def test_a_factory_that_builds_nothing_fails_the_attempt(self) -> None:
        """As Twisted's endpoints do."""
        self.pair.listen()
        self.pair.connecting.buildProtocol = lambda addr: None  # type: ignore[method-assign]
        self.pair.connect()
        self.network.run(5)
        self.pair.port.stopListening()
        self.assert_failed(NoProtocol)

    def test_an_address_that_is_not_ours_fails_the_attempt(self) -> None:
        """The kernel refuses to bind it."""
        self.network.listenUDP(0, _Nobody(), interface=CLIENT_HOST)

        def refuse(*args: Any, **kwargs: Any) -> UdpPort:
            raise CannotListenError(CLIENT_HOST, 0, OSError(99, "Cannot assign"))

        self.network.listenUDP = refuse  # type: ignore[method-assign]
        self.pair.connect()
        (failure,) = self.pair.results
        self.assertIs(failure.type, CannotListenError)

    def test_a_host_without_a_route_fails_the_attempt(self) -> None:
        """The kernel knows when the socket is connected."""

        def refuse(port: UdpPort, host: str, number: int) -> None:
            raise OSError(101, "Network is unreachable")

        self.patch(UdpPort, "connect", refuse)
        self.pair.connect()
        self.assertIn("unreachable", self.assert_failed(ConnectError))

    def test_what_the_network_refuses_to_send_comes_later(self) -> None:
        """A full buffer is packet loss."""
        self.pair.listen()
        self.pair.connect()
        (port,) = [port for port in self.network.ports if port.connected_to]
        port.write_error = BlockingIOError(11, "Resource temporarily unavailable")
        self.network.run(0.01)
        port.write_error = None
        self.network.run(3)
        self.assertEqual(self.pair.results, [self.pair.client])

    def test_factories_hear_of_start_and_stop(self) -> None:
        """Once each."""
        heard: list[str] = []
        self.pair.connecting.startFactory = lambda: heard.append("start")  # type: ignore[method-assign]
        self.pair.connecting.stopFactory = lambda: heard.append("stop")  # type: ignore[method-assign]
        client, _server = self.pair.establish()
        transport: Any = client.transport
        transport.abortConnection()
        self.network.run(1)
        self.assertEqual(heard, ["start", "stop"])

    def test_a_preferred_address_of_the_server_is_not_tried(self) -> None:
        """The client stays where it was sent."""
        peer = raw_server(self.network, self.credentials)
        self.addCleanup(peer.stop)
        self.pair.connect()
        self.network.run(1)
        transport: Any = self.pair.client.transport
        quic = transport._driver.quic
        quic._remote_preferred_address = QuicPreferredAddress(
            ipv4_address=("192.0.2.77", 4343),
            ipv6_address=None,
            connection_id=b"12345678",
            stateless_reset_token=bytes(16),
        )
        transport.write(b"x")
        self.network.run(1)
        self.assertEqual(
            {to for _from, to, _data in self.network.sent if to[0] == "192.0.2.77"}, set()
        )
        self.assertEqual(peer.received, b"x")

    def test_secrets_are_logged_when_asked_for(self) -> None:
        """In a file for its owner only; a file that can't be written is no reason to fail."""
        path = self.directory / "keys"
        self.pair.listen(keyLog=str(path))
        gone = self.directory / "gone"
        gone.mkdir()
        self.pair.connect(keyLog=str(gone / "keys"))
        gone.rmdir()
        self.network.run(1)
        self.assertEqual(self.pair.results, [self.pair.client])
        labels = [line.split()[0] for line in path.read_text().splitlines()]
        self.assertIn("CLIENT_TRAFFIC_SECRET_0", labels)
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)


class _Nobody:
    def makeConnection(self, transport: Any) -> None:
        """Nothing comes."""

    def doStop(self) -> None:
        """Nothing went."""


class _Names:
    """A reactor's resolver."""

    def __init__(self, *addresses: str) -> None:
        self.nameResolver = self
        self._addresses = addresses

    def resolveHostName(
        self, receiver: Any, host: str, addressTypes: Any, transportSemantics: str
    ) -> None:
        receiver.resolutionBegan(self)
        for address in self._addresses:
            kind = IPv6Address if ":" in address else IPv4Address
            if kind in addressTypes:
                receiver.addressResolved(kind(transportSemantics, address, 0))
        receiver.resolutionComplete()


class ResolutionTests(SynchronousTestCase):
    """UDP sockets take no names."""

    def test_an_address_needs_no_resolver(self) -> None:
        """Of either family."""
        self.assertEqual(self.successResultOf(resolve(None, "192.0.2.1")), "192.0.2.1")
        self.assertEqual(self.successResultOf(resolve(None, "2001:db8::1")), "2001:db8::1")

    def test_an_address_of_another_family_can_not_be_reached(self) -> None:
        """From an address of ours."""
        self.failureResultOf(resolve(None, "192.0.2.1", like="::1"), DNSLookupError)

    def test_a_name_has_its_first_address(self) -> None:
        """Of our family, if we have one."""
        names = _Names("2001:db8::1", "192.0.2.1", "192.0.2.2")
        self.assertEqual(self.successResultOf(resolve(names, "ms.example")), "2001:db8::1")
        found = resolve(names, "ms.example", like=CLIENT_HOST)
        self.assertEqual(self.successResultOf(found), "192.0.2.1")

    def test_a_name_without_addresses_fails(self) -> None:
        """With its name."""
        failure = self.failureResultOf(resolve(_Names(), "ms.example"), DNSLookupError)
        self.assertIn("ms.example", str(failure.value))
