"""What `tls13:` endpoint strings may say, and one sentence for every mistake in them."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa, x25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from OpenSSL import SSL
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.interfaces import IStreamClientEndpoint, IStreamServerEndpoint
from twisted.internet.selectreactor import SelectReactor
from twisted.logger import LogLevel, capturedLogs
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from lispmsrt.transports.key_log import KeyLog
from lispmsrt.transports.tls.endpoints import client_endpoint, server_endpoint
from lispmsrt.transports.tls.failures import TlsFailed, explained, verification_problem
from tests.quic_rim import make_credentials
from tests.rim import Network
from tests.tls_ground import CLIENT, SERVER, TlsGround, files


class OptionsTests(SynchronousTestCase):
    """Values that are refused at once."""

    def _file(self, octets: bytes) -> str:
        path = Path(self.mktemp())
        path.touch(0o600)
        path.write_bytes(octets)
        return str(path)

    def _server(self, **options: str) -> str:
        """Return the sentence about a server's options."""
        options = {**files("server").own, **options}
        return str(self.assertRaises(ValueError, server_endpoint, Network(), **options))

    def _client(self, **options: str) -> str:
        """Return the sentence about a client's options."""
        return str(self.assertRaises(ValueError, client_endpoint, Network(), SERVER, **options))

    def test_strings_make_endpoints(self) -> None:
        """Through Twisted's parsers, with defaults for all that may be left out."""
        reactor, server = SelectReactor(), files("server")
        text = f"tls13:certificate={server.certificate}:privateKey={server.key}"
        verifyObject(IStreamServerEndpoint, serverFromString(reactor, text))
        for host in (SERVER, r"2001\:db8\:\:1", r"fe80\:\:1%lo", "ms.example"):
            endpoint = clientFromString(reactor, f"tls13:{host}:caFile=system")
            verifyObject(IStreamClientEndpoint, endpoint)

    def test_key_in_the_file_of_the_certificate(self) -> None:
        """One file is enough."""
        made = files("server").made
        server_endpoint(Network(), certificate=self._file(made.certificate_pem + made.key_pem))

    def test_server_without_a_certificate(self) -> None:
        """The sentence says what makes one."""
        problem = self.assertRaises(ValueError, server_endpoint, Network())
        self.assertIn("lispmsrt make-certificate", str(problem))

    def test_client_that_would_believe_anybody(self) -> None:
        """It must say how the server is known."""
        self.assertIn("needs caFile= (a file, or the word system) or pin=", self._client())

    def test_numbers_and_addresses(self) -> None:
        """Named with their option."""
        pin = "00" * 32
        for problem, words in (
            (self._server(port="http"), "port=http: not a port number"),
            (self._server(interface="eth0"), "interface=eth0: not an IPv4 or IPv6 address"),
            (self._server(backlog="0"), "backlog=0: not a number from 1 to 65535"),
            (self._client(pin="abc"), "pin=abc: a pin has 64 hexadecimal digits"),
            (self._client(pin=pin, timeout="0"), "timeout=0: not a number of seconds"),
            (self._client(pin=pin, bindAddress="lo"), "bindAddress=lo: not an IPv4 or IPv6"),
            (self._client(pin=pin, serverName="ä.example"), "serverName=ä.example: neither an IP"),
            (self._client(pin=pin, privateKey="x"), "privateKey= needs certificate= beside it"),
        ):
            self.assertIn(words, problem)

    def test_host_that_is_no_name(self) -> None:
        """It is the server's name, if no other is given."""
        problem = self.assertRaises(ValueError, client_endpoint, Network(), "a b", pin="00" * 32)
        self.assertIn("host=a b: neither an IP address nor a DNS name", str(problem))

    def test_files_that_are_not_there(self) -> None:
        """Every option that names one."""
        for name in ("certificate", "privateKey", "clientCA"):
            self.assertIn(
                f"{name}=/no/file: can't be read: No such", self._server(**{name: "/no/file"})
            )
        self.assertIn("caFile=/no/file: can't be read: No such", self._client(caFile="/no/file"))

    def test_files_of_something_else(self) -> None:
        """Text, or the other of the two."""
        text, server = self._file(b"certificate"), files("server")
        for problem, words in (
            (self._server(certificate=text), f"certificate={text}: has no certificates in PEM"),
            (self._server(certificate=server.key), "has no certificates in PEM"),
            (self._server(privateKey=text), f"privateKey={text}: has no private key in PEM"),
            (self._server(privateKey=server.certificate), "has no private key in PEM"),
            (self._server(privateKey=""), f"certificate={server.certificate}: has no private key"),
            (self._server(clientCA=text), f"clientCA={text}: has no certificates in PEM"),
            (self._client(caFile=text), f"caFile={text}: has no certificates in PEM"),
            (
                self._server(privateKey=files("client").key),
                "the private key is not the certificate's",
            ),
        ):
            self.assertIn(words, problem)

    def test_keys_of_no_use(self) -> None:
        """Encrypted, or of an algorithm that signs nothing."""
        encrypted = files("server").made.key.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
        )
        exchange = x25519.X25519PrivateKey.generate().private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        )
        for octets, words in (
            (encrypted, "the private key is encrypted"),
            (exchange, "the private key is not the certificate's"),
        ):
            self.assertIn(words, self._server(privateKey=self._file(octets)))

    def test_keys_that_tls_13_has_no_use_for(self) -> None:
        """Told at once: with such a key every handshake would fail, or make OpenSSL complain."""
        folder = self.mktemp()
        os.mkdir(folder)
        for key, words in (
            (dsa.generate_private_key(2048), "the key must be RSA, ECDSA on P-256"),
            (ec.generate_private_key(ec.SECP256K1()), "the key must be RSA, ECDSA on P-256"),
            (rsa.generate_private_key(65537, 1024), "OpenSSL refuses a certificate or key: "),
        ):
            made = make_credentials(folder, key=key)
            self.assertIn(words, self._server(certificate=made.certificate, privateKey=made.key))

    def test_key_that_others_may_read(self) -> None:
        """Or write. Its group may read it: where the file is root's, the daemon's, say."""
        made = files("server").made
        for both in (False, True):
            path = Path(self._file(made.certificate_pem * both + made.key_pem))
            options = {"certificate": str(path)} if both else {"privateKey": str(path)}
            if both:
                options["privateKey"] = ""
            for mode in (0o604, 0o644, 0o660, 0o602):
                path.chmod(mode)
                problem = self._server(**options)
                self.assertIn(f"={path}: ", problem)
                self.assertTrue(problem.endswith(" (chmod 640, or 600)"), problem)
            path.chmod(0o640)
            server_endpoint(Network(), **{**files("server").own, **options})

    def test_key_log_that_can_not_be_written(self) -> None:
        """Known before the first connection; and nothing is created by looking."""
        folder = self.mktemp()
        os.mkdir(folder)
        for path in (folder, "/no/where/log"):
            self.assertIn(f"keyLog={path}: can't be written", self._server(keyLog=path))
        path = os.path.join(folder, "log")
        server_endpoint(Network(), **files("server").own, keyLog=path)
        self.assertFalse(os.path.exists(path))


class ChainTests(TlsGround, SynchronousTestCase):
    """Certificates with others above them."""

    def test_chain_is_sent(self) -> None:
        """A client gets what the file has."""
        server, ca = files("server"), files("CA")
        path = self.mktemp()
        Path(path).write_bytes(server.made.certificate_pem + ca.made.certificate_pem)
        self.listen(certificate=path, privateKey=server.key)
        self.meet()
        chain = self.connected[0].transport.getHandle().get_peer_cert_chain(as_cryptography=True)
        self.assertEqual(chain, [server.made.certificate, ca.made.certificate])


class _OwnedBy:
    """What is known of a file of somebody's."""

    st_mode = stat.S_IFREG | 0o600

    def __init__(self, user: int) -> None:
        self.st_uid = user


class KeyLogTests(TlsGround, SynchronousTestCase):
    """The secrets of connections, for who must look into them."""

    def test_both_ends_write_the_same_secrets(self) -> None:
        """In files for the owner only, lines as Wireshark reads them."""
        paths = [self.mktemp(), self.mktemp()]
        self.listen(**files("server").own, keyLog=paths[0])
        self.meet(caFile=files("CA").certificate, keyLog=paths[1])
        written = [set(Path(path).read_text().splitlines()) for path in paths]
        self.assertEqual(written[0], written[1])
        for line in written[0]:
            self.assertTrue(re.fullmatch(r"[A-Z_0-9]+ [0-9a-f]{64} [0-9a-f]+", line), line)
        self.assertEqual({os.stat(path).st_mode & 0o777 for path in paths}, {0o600})

    def test_file_that_vanishes_is_told_once(self) -> None:
        """Connections go on."""
        folder = self.mktemp()
        os.mkdir(folder)
        self.listen(**files("server").own, keyLog=os.path.join(folder, "log"))
        os.rmdir(folder)
        with capturedLogs() as logs:
            self.meet()
        self.assertEqual((len(self.connected), self.problems), (1, []))
        (event,) = logs
        self.assertEqual(
            (event["log_level"], event["problem"]), (LogLevel.warn, "No such file or directory")
        )

    def test_file_that_others_may_read_gets_nothing(self) -> None:
        """Nor one that is somebody else's, put there before; it is told once."""
        path = Path(self.mktemp())
        path.touch()
        for mode, kept in ((0o644, ""), (0o640, ""), (0o620, ""), (0o600, "secret\n" * 3)):
            path.chmod(mode)
            log = KeyLog(str(path))
            with capturedLogs() as logs:
                for _line in range(3):
                    log.add(b"secret\n")
            self.assertEqual(path.read_text(), kept)
            problems = [event["problem"] for event in logs]
            told = "others may read it or write to it (chmod 600)"
            self.assertEqual(problems, [] if kept else [told])
        self.patch(os, "fstat", lambda number: _OwnedBy(1 << 16))
        with capturedLogs() as logs:
            KeyLog(str(path)).add(b"another secret\n")
        self.assertEqual([event["problem"] for event in logs], ["it is another user's"])
        self.assertNotIn("another", path.read_text())

    def test_pipe_is_written_to(self) -> None:
        """Whatever its mode: who names one knows who reads it."""
        path = self.mktemp()
        os.mkfifo(path, 0o644)
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, reader)
        KeyLog(path).add(b"secret\n")
        self.assertEqual(os.read(reader, 100), b"secret\n")

    def test_no_option_no_log(self) -> None:
        """Nobody's secrets are written unasked."""
        self.assertIsNone(KeyLog.from_option(""))


class NamesTests(TlsGround, SynchronousTestCase):
    """The Server Name Indication."""

    def _sent(self, **options: str) -> bytes | None:
        self.listen()
        self.meet(pin=files("server").pin, **options)
        name: bytes | None = self.servers.built[0].transport.getHandle().get_servername()
        return name

    def test_dns_name_is_sent(self) -> None:
        """In lower case."""
        self.assertEqual(self._sent(serverName="MS.Example"), b"ms.example")

    def test_address_is_not(self) -> None:
        """RFC 6066 §3."""
        self.assertIsNone(self._sent())
        self.assertEqual(self.servers.addresses[0].host, CLIENT)


class SentenceTests(SynchronousTestCase):
    """OpenSSL's words in ours."""

    def _of(self, *error: object) -> str:
        return explained(Failure(SSL.Error(*error))).getErrorMessage()

    def test_alerts(self) -> None:
        """Known ones and others, as different versions of OpenSSL write them."""
        for words in ("sslv3 alert bad certificate", "ssl/tls alert bad certificate"):
            self.assertEqual(
                self._of([("SSL routines", "", words)]), "the peer does not accept our certificate"
            )
        self.assertEqual(
            self._of([("SSL routines", "", "tlsv1 alert insufficient security")]),
            "the peer refused us with the TLS alert 'insufficient security'",
        )

    def test_other_errors(self) -> None:
        """Whatever they are, there is a sentence."""
        self.assertEqual(
            self._of([("", "", ""), ("SSL routines", "", "unsupported protocol")]),
            "the peer does not offer TLS 1.3",
        )
        self.assertEqual(self._of([("x", "", "odd")]), "TLS failed: odd")
        for empty in ((), ([],), (-1, "EOF")):
            self.assertEqual(self._of(*empty), "TLS failed: OpenSSL gives no reason")

    def test_what_is_no_error_of_tls_stays(self) -> None:
        """The reactor's own reasons."""
        failure = Failure(TlsFailed("words"))
        self.assertIs(explained(failure), failure)

    def test_verification_problems(self) -> None:
        """Of the certificate or above it, known or not."""
        self.assertEqual(verification_problem(10, 0), "the peer's certificate has expired")
        self.assertEqual(
            verification_problem(10, 1), "a CA above the peer's certificate has expired"
        )
        self.assertIn("verification error 999", verification_problem(999, 0))
