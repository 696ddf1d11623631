"""What an application may do with a TLS transport, and what it learns from it."""

from __future__ import annotations

import socket
from typing import Any

from cryptography import x509
from twisted.internet import reactor
from twisted.internet._resolver import HostResolution
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString, quoteStringArgument, serverFromString
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHostnameResolver, IPushProducer
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer

from lispmsrt.sockets import TcpOptions, apply_tcp_options, tcp_socket_below
from lispmsrt.transports.tls.identity import certificate_names
from tests.tls_ground import CLIENT, SERVER, Choosy, Ear, Ears, Files, TlsGround, files, signed_with

_CHUNK = bytes(100_000)


@implementer(IPushProducer)
class _Producer:
    """Notes what its consumer wants."""

    def __init__(self) -> None:
        self.wishes: list[str] = []

    def pauseProducing(self) -> None:
        self.wishes.append("pause")

    def resumeProducing(self) -> None:
        self.wishes.append("resume")

    def stopProducing(self) -> None:
        self.wishes.append("stop")


class _Connected(TlsGround, SynchronousTestCase):
    """Both ends are there."""

    def setUp(self) -> None:
        """Connect."""
        super().setUp()
        self.listen()
        self.meet()
        (self.client,), (self.server,) = self.connected, self.servers.built

    def pipe(self, ear: Ear) -> Any:
        """Return the TCP transport below an end."""
        return ear.transport.transport  # type: ignore[union-attr]


class FlowTests(_Connected):
    """Back-pressure in both directions."""

    def test_writer_is_paused_and_resumed(self) -> None:
        """A peer that does not read is noticed by its writer."""
        producer = _Producer()
        self.server.transport.registerProducer(producer, True)
        self.client.transport.pauseProducing()
        self.server.transport.write(_CHUNK)
        self.network.run()
        self.assertEqual((producer.wishes, self.client.received), (["pause"], b""))
        self.client.transport.resumeProducing()
        self.network.run()
        self.assertEqual((producer.wishes, self.client.received), (["pause", "resume"], _CHUNK))

    def test_paused_reader_stops_reading_the_socket(self) -> None:
        """What comes meanwhile stays with its sender."""
        self.server.transport.pauseProducing()
        self.assertFalse(self.pipe(self.server).is_reading)
        self.client.transport.write(_CHUNK)
        self.network.run()
        self.assertEqual(self.server.received, b"")
        self.assertGreater(len(self.pipe(self.client).unsent), len(_CHUNK))

    def test_small_writes_leave_together(self) -> None:
        """In the next turn: a record each would cost more than what is in it."""
        before = len(self.network.packets)
        for _write in range(100):
            self.client.transport.write(b"word")
        self.network.run()
        self.assertEqual(
            (len(self.network.packets) - before, self.server.received), (1, b"word" * 100)
        )

    def test_producer_is_let_go(self) -> None:
        """And hears of nothing any more."""
        producer = _Producer()
        self.server.transport.registerProducer(producer, True)
        self.server.transport.unregisterProducer()
        self.client.transport.pauseProducing()
        self.server.transport.write(_CHUNK)
        self.network.run()
        self.assertEqual(producer.wishes, [])


class EndTests(_Connected):
    """How connections end."""

    def test_close_delivers_what_was_written(self) -> None:
        """And is clean on both sides."""
        self.client.transport.write(_CHUNK)
        self.client.transport.loseConnection()
        self.network.run()
        self.assertEqual(self.server.received, _CHUNK)
        for ear in (self.client, self.server):
            self.assertTrue(ear.lost.check(ConnectionDone), ear.farewell)

    def test_abort_does_not_wait_for_who_does_not_read(self) -> None:
        """The connection is reset at once."""
        self.client.transport.pauseProducing()
        self.server.transport.write(_CHUNK)
        self.network.run()
        self.server.transport.abortConnection()
        self.network.run()
        self.assertTrue(self.server.lost.check(ConnectionLost))
        self.assertTrue(self.client.lost.check(ConnectionLost))
        self.assertEqual((self.network.pipes, self.network.getDelayedCalls()), ([], []))

    def test_nothing_is_heard_after_an_abort(self) -> None:
        """Of what was on its way."""
        self.client.transport.write(b"late")
        self.server.transport.abortConnection()
        self.network.run()
        self.assertEqual(self.server.received, b"")

    def test_end_of_tcp_is_no_clean_end(self) -> None:
        """Without TLS's own end anybody on the path may have cut it."""
        self.pipe(self.client).loseConnection()
        self.network.run()
        self.assertTrue(self.server.lost.check(ConnectionLost))

    def test_application_that_leaves_at_once(self) -> None:
        """In connectionMade, as one does who is not armed."""
        self.network.ports.clear()
        leaving = Ears(lambda ear: ear.transport.abortConnection())
        gate = self.listen(leaving)
        self.meet()
        self.assertTrue(leaving.built[0].lost.check(ConnectionLost))
        self.assertEqual(len(gate.handshakes), 0)


class CertificateNamesTests(TlsGround, SynchronousTestCase):
    """Who the peer is, as texts."""

    def _names(self, shown: Files) -> frozenset[str]:
        """Return what a server learns of a client that shows this."""
        self.listen(**files("server").own, clientCA=files("CA").certificate)
        self.meet(caFile=files("CA").certificate, **shown.own)
        return certificate_names(self.servers.built[0].transport)

    def test_names_and_addresses_of_a_client(self) -> None:
        """In lower case, with the pin."""
        client = files("client")
        self.assertEqual(self._names(client), {"etr1.example", "127.0.0.2", f"sha256:{client.pin}"})

    def test_uris_count_and_other_names_do_not(self) -> None:
        """Nor the subject."""
        uri = x509.UniformResourceIdentifier("lisp://ETR1")
        shown = signed_with(x509.SubjectAlternativeName([uri, x509.RFC822Name("a@b.c")]))
        self.assertEqual(self._names(shown), {"lisp://etr1", f"sha256:{shown.pin}"})

    def test_uri_that_looks_like_a_pin_is_none(self) -> None:
        """A CA may well sign any URI."""
        uri = x509.UniformResourceIdentifier("sha256:" + "0" * 64)
        shown = signed_with(x509.SubjectAlternativeName([uri]))
        self.assertEqual(self._names(shown), {f"sha256:{shown.pin}"})

    def test_certificate_without_names(self) -> None:
        """It has a pin."""
        shown = signed_with()
        self.assertEqual(self._names(shown), {f"sha256:{shown.pin}"})

    def test_extension_that_can_not_be_read(self) -> None:
        """OpenSSL does not mind what it does not need."""
        # A DNS name that is no ASCII.
        garbage = x509.UnrecognizedExtension(
            x509.SubjectAlternativeName.oid, b"\x30\x04\x82\x02a\xff"
        )
        shown = signed_with(garbage)
        self.assertEqual(self._names(shown), {f"sha256:{shown.pin}"})

    def test_client_without_a_certificate(self) -> None:
        """It is nobody."""
        self.listen()
        self.meet()
        self.assertEqual(certificate_names(self.servers.built[0].transport), frozenset())

    def test_server_that_the_ca_knows(self) -> None:
        """The other way round."""
        self.listen()
        self.meet()
        self.assertEqual(
            certificate_names(self.connected[0].transport),
            {SERVER, "ms.example", "2001:db8::1", f"sha256:{files('server').pin}"},
        )

    def test_names_that_nobody_vouches_for(self) -> None:
        """A pin alone proves the key and nothing that its certificate says."""
        self.listen()
        self.meet(pin=files("server").pin)
        self.assertEqual(
            certificate_names(self.connected[0].transport), {f"sha256:{files('server').pin}"}
        )

    def test_transports_without_certificates(self) -> None:
        """TCP, nothing, and a TLS connection that is over."""
        self.listen()
        self.meet()
        (client,) = self.connected
        client.transport.abortConnection()
        self.network.run()
        for transport in (object(), None, client.transport):
            self.assertEqual(certificate_names(transport), frozenset())


@implementer(IHostnameResolver)
class _Hosts:
    """Knows one name."""

    def resolveHostName(
        self,
        resolutionReceiver: Any,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Any = None,
        transportSemantics: str = "TCP",
    ) -> Any:
        assert hostName == "ms-host.example"
        resolution = HostResolution(hostName)
        resolutionReceiver.resolutionBegan(resolution)
        resolutionReceiver.addressResolved(IPv4Address("TCP", SERVER, portNumber))
        resolutionReceiver.resolutionComplete()
        return resolution


class LoopbackTests(TestCase):
    """Over real sockets."""

    timeout = 60

    async def _listen(self, factory: Any, interface: str = SERVER) -> int:
        own = ":".join(
            f"{name}={quoteStringArgument(path)}" for name, path in files("server").own.items()
        )
        text = f"tls13:0:interface={quoteStringArgument(interface)}:{own}"
        port = await serverFromString(reactor, text).listen(factory)
        self.addCleanup(port.stopListening)
        number: int = port.getHost().port
        return number

    async def _connect(self, port: int) -> Ear:
        ca = quoteStringArgument(files("CA").certificate)
        endpoint = clientFromString(
            reactor, f"tls13:{SERVER}:{port}:caFile={ca}:bindAddress={CLIENT}"
        )
        ear: Ear = await endpoint.connect(Ears())
        return ear

    async def test_tcp_options_reach_the_socket_below(self) -> None:
        """On both ends; the client is bound where it was told to be."""
        made: Deferred[Ear] = Deferred()
        client = await self._connect(await self._listen(Ears(made.callback)))
        server = await made
        for ear in (client, server):
            apply_tcp_options(ear.transport, TcpOptions(keepalive_idle=77), draw=max)
            below = tcp_socket_below(ear.transport)
            assert below is not None
            self.assertEqual(below.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE), 77)
        self.assertEqual(server.transport.getPeer().host, CLIENT)
        client.transport.loseConnection()
        await client.ended
        await server.ended

    async def test_server_by_a_dns_name_or_over_ipv6(self) -> None:
        """Names are looked up as Twisted does; the name that is checked is another matter."""
        # Not every machine knows the name that every machine has.
        self.addCleanup(reactor.installNameResolver, reactor.nameResolver)
        reactor.installNameResolver(_Hosts())
        ca = quoteStringArgument(files("CA").certificate)
        for interface, host in ((SERVER, "ms-host.example"), ("::1", "::1")):
            made: Deferred[Ear] = Deferred()
            port = await self._listen(Ears(made.callback), interface)
            where = quoteStringArgument(host)
            text = f"tls13:{where}:{port}:caFile={ca}:serverName=ms.example"
            client: Any = await clientFromString(reactor, text).connect(Ears())
            server = await made
            self.assertEqual(client.transport.getPeer().host, interface)
            client.transport.loseConnection()
            await client.ended
            await server.ended

    async def test_who_is_not_admitted_reads_a_reset_and_nothing_else(self) -> None:
        """Not one octet of TLS."""
        choosy = Choosy(CLIENT)
        port = await self._listen(choosy)

        def knock() -> str:
            with socket.socket() as knocking:
                knocking.settimeout(30)
                try:
                    knocking.connect((SERVER, port))
                    knocking.sendall(b"\x16\x03\x01\x00\x05hello")
                    return f"{len(knocking.recv(100))} octets"
                except OSError as failure:
                    return type(failure).__name__

        self.assertIn(await deferToThread(knock), ("ConnectionResetError", "BrokenPipeError"))
        self.assertEqual((choosy.asked, choosy.built), ([SERVER], []))

    async def test_peer_that_never_reads_pauses_the_writer(self) -> None:
        """And can be got rid of."""
        paused: Deferred[None] = Deferred()
        made: Deferred[Ear] = Deferred()

        class Floods(_Producer):
            def pauseProducing(self) -> None:
                super().pauseProducing()
                paused.callback(None)

        client = await self._connect(await self._listen(Ears(made.callback)))
        client.transport.pauseProducing()
        server = await made
        server.transport.registerProducer(Floods(), True)

        def flood() -> None:
            if not paused.called:
                server.transport.write(_CHUNK)
                reactor.callLater(0, flood)

        flood()
        await paused
        self.assertEqual(client.received, b"")
        server.transport.abortConnection()
        await server.ended
        client.transport.resumeProducing()
        await client.ended
        self.assertTrue(server.lost.check(ConnectionLost))
        self.assertTrue(client.lost.check(ConnectionLost))
