"""TLS judged by others: the `openssl` command at the other end, and tshark on the path."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SkipTest, SynchronousTestCase, TestCase

from lispmsrt.transports.certificates import pin_of
from lispmsrt.transports.tls.endpoints import client_endpoint, server_endpoint
from lispmsrt.transports.tls.failures import TlsFailed
from lispmsrt.transports.tls.identity import certificate_names
from tests.pcap import PcapWriter, run_tshark, skip_without_tshark
from tests.rim import (
    ETR_HOST,
    MAP_SERVER_HOST,
    Network,
    etr_of,
    etr_text,
    map_server_of,
    map_server_text,
)
from tests.running import Child
from tests.tls_ground import SERVER, Ear, Ears, TlsGround, files

_OPENSSL = shutil.which("openssl")


def _skip_without_openssl() -> None:
    """Skip the test where the command is missing, but never under CI."""
    if _OPENSSL is None and not os.environ.get("CI"):
        raise SkipTest("openssl is not installed")


def _tshark(path: str, fields: tuple[str, ...], *options: str) -> list[dict[str, list[str]]]:
    """Dissect a capture with TLS on port 4342; return each packet's fields."""
    command = ["tshark", "-n", "-r", path, "-T", "fields", "-E", "occurrence=a"]
    command += ["-E", "aggregator=|", "-d", "tcp.port==4342,tls", "-d", "tls.port==4342,data"]
    for field in fields:
        command += ["-e", field]
    done = subprocess.run([*command, *options], check=True, capture_output=True, timeout=60)
    lines = [line.split("\t") for line in done.stdout.decode().splitlines()]
    return [
        {
            field: value.split("|") if value else []
            for field, value in zip(fields, line, strict=True)
        }
        for line in lines
    ]


class _Echo(Ears):
    """Answers in capitals and closes."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[frozenset[str]] = []

    def buildProtocol(self, addr: Any) -> Any:
        echo = super().buildProtocol(addr)

        def answer(data: bytes) -> None:
            self.names.append(certificate_names(echo.transport))
            echo.transport.write(data.upper())
            echo.transport.loseConnection()

        echo.dataReceived = answer
        return echo


class ClientOfOpensslTests(TestCase):
    """`openssl s_client` and our server."""

    timeout = 100

    def setUp(self) -> None:
        """Nothing listens yet."""
        _skip_without_openssl()
        self.echo = _Echo()

    async def _client(self, *arguments: str, words: bytes = b"hello", **server: str) -> str:
        """Return what the command prints, after it has sent some words."""
        options = server or files("server").own
        port = await server_endpoint(reactor, "0", SERVER, **options).listen(self.echo)
        self.addCleanup(port.stopListening)
        command = [str(_OPENSSL), "s_client", "-connect", f"{SERVER}:{port.getHost().port}"]
        command += ["-CAfile", files("CA").certificate, "-verify_return_error", "-ign_eof"]
        done = await deferToThread(
            subprocess.run,
            [*command, *arguments],
            input=words,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=60,
        )
        return done.stdout.decode(errors="replace")

    async def test_handshake_is_tls_1_3_and_verified(self) -> None:
        """And an answer comes back."""
        said = await self._client("-verify_ip", SERVER)
        self.assertRegex(said, r"New, TLSv1\.3, Cipher is TLS_\w+")
        self.assertIn("Verify return code: 0 (ok)", said)
        self.assertIn("HELLO", said)

    async def test_earlier_versions_are_refused(self) -> None:
        """No application meets them."""
        for version in ("-tls1_2", "-tls1_1"):
            said = await self._client(version, "-cipher", "ALL:@SECLEVEL=0")
            self.assertIn("alert protocol version", said)
        self.assertEqual(self.echo.built, [])

    async def test_every_cipher_of_tls_1_3(self) -> None:
        """OpenSSL's own list: AES-GCM in two sizes and ChaCha20."""
        for cipher in (
            "TLS_AES_256_GCM_SHA384",
            "TLS_CHACHA20_POLY1305_SHA256",
            "TLS_AES_128_GCM_SHA256",
        ):
            said = await self._client("-ciphersuites", cipher)
            self.assertIn(f"Cipher is {cipher}", said)

    async def test_client_certificate(self) -> None:
        """It is verified, and the application knows whose it is."""
        client = files("client")
        said = await self._client(
            "-cert",
            client.certificate,
            "-key",
            client.key,
            **files("server").own,
            clientCA=files("CA").certificate,
        )
        self.assertIn("HELLO", said)
        self.assertEqual(
            self.echo.names,
            [frozenset({"etr1.example", "127.0.0.2", f"sha256:{client.pin}"})],
        )

    async def test_client_without_a_certificate(self) -> None:
        """It is told by an alert, and no application meets it."""
        said = await self._client(**files("server").own, clientCA=files("CA").certificate)
        self.assertIn("alert certificate required", said)
        self.assertEqual(self.echo.built, [])

    async def test_no_session_is_resumed(self) -> None:
        """A ticket must not stand for a client certificate."""
        client, kept = files("client"), self.mktemp()
        server = {**files("server").own, "clientCA": files("CA").certificate}
        own = ("-cert", client.certificate, "-key", client.key)
        await self._client(*own, "-sess_out", kept, **server)
        self.assertTrue(Path(kept).exists(), "the server sent no ticket to try")
        said = await self._client(*own, "-sess_in", kept, **server)
        self.assertIn("New, TLSv1.3", said)
        self.assertNotIn("Reused", said)
        said = await self._client("-sess_in", kept, **server)
        self.assertIn("alert certificate required", said)

    async def test_compression_and_early_data_are_off(self) -> None:
        """As the command sees it."""
        said = await self._client()
        self.assertIn("Compression: NONE", said)
        self.assertNotRegex(said, r"Early data was accepted|Max Early Data: [1-9]")


class ServerOfOpensslTests(TestCase):
    """Our client and `openssl s_server`."""

    timeout = 100

    def setUp(self) -> None:
        """Nothing is started yet."""
        _skip_without_openssl()

    async def _server(self, *arguments: str, name: str = "server") -> int:
        """Start one that sends every line back reversed; return its port."""
        child = Child()
        command = ["openssl", "s_server", "-accept", f"{SERVER}:0", "-rev"]
        command += ["-cert", files(name).certificate, "-key", files(name).key]
        reactor.spawnProcess(child, _OPENSSL, [*command, *arguments], env=os.environ)

        def finish() -> Deferred[int]:
            child.kill()
            return child.ended

        self.addCleanup(finish)
        await child.says("\n")
        found = re.search(rf"ACCEPT {SERVER}:(\d+)", await child.says("ACCEPT"))
        assert found is not None, child.output
        return int(found[1])

    async def _connect(self, port: int, **options: str) -> Ear:
        options = options or {"caFile": files("CA").certificate}
        ear: Ear = await client_endpoint(reactor, SERVER, str(port), **options).connect(Ears())
        return ear

    async def test_words_are_exchanged(self) -> None:
        """By CA and name, or by pin."""
        port = await self._server("-tls1_3")
        for options in ({}, {"pin": pin_of(files("server").made.certificate)}):
            ear = await self._connect(port, **options)
            heard: Deferred[bytes] = Deferred()
            ear.dataReceived = heard.callback  # type: ignore[method-assign]
            ear.transport.write(b"hello\n")
            self.assertEqual(await heard, b"olleh\n")
            ear.transport.loseConnection()
            await ear.ended

    async def test_earlier_version_is_not_accepted(self) -> None:
        """The sentence says what is missing."""
        port = await self._server("-tls1_2")
        failure = await self.assertFailure(Deferred.fromCoroutine(self._connect(port)), TlsFailed)
        self.assertIn("has no TLS 1.3", str(failure))

    async def test_server_that_demands_a_certificate(self) -> None:
        """Known to us after our own handshake was over; with the certificate it is content."""
        ca = files("CA").certificate
        port = await self._server("-Verify", "1", "-verify_return_error", "-CAfile", ca)
        ear = await self._connect(port)
        await ear.ended
        self.assertEqual(ear.farewell, "the peer demands a certificate and we showed none")
        ear = await self._connect(port, caFile=ca, **files("client").own)
        heard: Deferred[bytes] = Deferred()
        ear.dataReceived = heard.callback  # type: ignore[method-assign]
        ear.transport.write(b"hello\n")
        self.assertEqual(await heard, b"olleh\n")
        ear.transport.loseConnection()
        await ear.ended

    async def test_garbage_instead_of_a_server(self) -> None:
        """A server of something else."""
        talks = Ears(lambda ear: ear.transport.write(b"220 mail.example ESMTP\r\n"))
        port = reactor.listenTCP(0, talks, interface=SERVER)
        self.addCleanup(port.stopListening)
        failure = await self.assertFailure(
            Deferred.fromCoroutine(self._connect(port.getHost().port)), TlsFailed
        )
        self.assertIn("does not speak TLS", str(failure))
        await talks.built[0].ended


class TsharkTests(TlsGround, SynchronousTestCase):
    """What an observer of the path sees, without and with the key log."""

    def _capture(self, packets: list[tuple[str, bytes]], port: int) -> str:
        """Write one connection, of which each piece comes from the client or the server."""
        path = self.mktemp()
        with PcapWriter(path) as writer:
            stream = writer.tcp((ETR_HOST, 50_000), (MAP_SERVER_HOST, port))
            for source, data in packets:
                (stream.from_client if source == ETR_HOST else stream.from_server)(data)
        return path

    def _session(self, log: str) -> list[tuple[str, bytes]]:
        """Let an ETR register over TLS; return what went over TCP."""
        network = Network()
        own = ":".join(f"{name}={path}" for name, path in files("server").own.items())
        listening = f"tls13:4342:interface={MAP_SERVER_HOST}:{own}:keyLog={log}"
        plain = f"tcp:4342:interface={MAP_SERVER_HOST}"
        server = map_server_of(network, map_server_text().replace(plain, listening))
        connecting = f"tls13:{MAP_SERVER_HOST}:4342:caFile={files('CA').certificate}"
        options = f'transports = ["{connecting}"]'
        etr = etr_of(network, etr_text("10.1.1.0/24", server_options=options))
        for service in (server, etr):
            service.startService()
        network.run(60.0)
        self.assertEqual([each.transport for each in server.sessions], ["TLS"])
        for service in (etr, server):
            service.stopService()
        network.run(60.0)
        self.assertEqual(network.pipes, [])
        return [(each.source[0], each.data) for each in network.packets if each.protocol == "tcp"]

    def test_session_within_tls_1_3(self) -> None:
        """Nothing is in the clear but the hellos; who has the key log reads a LISP session."""
        skip_without_tshark()
        log = self.mktemp()
        path = self._capture(self._session(log), 4342)
        version, kind = "tls.handshake.extensions.supported_version", "tls.handshake.type"
        blind = _tshark(path, (version, kind, "data.data"))
        self.assertEqual([each[kind] for each in blind if each[kind]], [["1"], ["2"]])
        self.assertEqual([each[version] for each in blind if "2" in each[kind]], [["0x0304"]])
        self.assertEqual([each for each in blind if each["data.data"]], [])

        self.assertEqual(os.stat(log).st_mode & 0o777, 0o600)
        read = _tshark(path, ("ip.src", "data.data"), "-o", f"tls.keylog_file:{log}")
        inside = [
            (each["ip.src"][0], bytes.fromhex(data)) for each in read for data in each["data.data"]
        ]
        types = "lisp-tcp.message.type"
        dissected = run_tshark(self._capture(inside, 4342), ("_ws.malformed", types))
        self.assertEqual([each for each in dissected if each["_ws.malformed"]], [])
        # Registration, Registration ACK, Refresh.
        self.assertLessEqual({"17", "18", "20"}, {each for one in dissected for each in one[types]})
