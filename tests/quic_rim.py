"""UDP in memory with latency, loss, duplicates and reordering; certificates; protocols that note.

At a frozen clock aioquic's pacer sends nothing: every hop here takes time.
"""

from __future__ import annotations

import datetime
import heapq
import ipaddress
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from lispmsrt.clock import Alarm
from lispmsrt.transports.certificates import pin_of
from lispmsrt.transports.interfaces import IAdmission
from lispmsrt.transports.quic.endpoints import client_endpoint, server_endpoint

__all__ = [
    "CLIENT_HOST",
    "SERVER_HOST",
    "AdmittingFactory",
    "Credentials",
    "Noting",
    "NotingFactory",
    "Pair",
    "QuicNetwork",
    "UdpPort",
    "make_credentials",
]

SERVER_HOST, CLIENT_HOST = "192.0.2.1", "192.0.2.2"
_MAX_TURNS = 200_000


class UdpPort:
    """A UDP port in memory, as Twisted's behaves."""

    def __init__(self, network: QuicNetwork, host: str, port: int, protocol: Any) -> None:
        self.network, self.where, self.protocol = network, (host, port), protocol
        self.connected_to: tuple[str, int] | None = None
        self.write_error: Exception | None = None

    def getHost(self) -> IPv4Address | IPv6Address:
        kind = IPv6Address if ":" in self.where[0] else IPv4Address
        return kind("UDP", *self.where)

    def connect(self, host: str, port: int) -> None:
        self.connected_to = (host, port)

    def write(self, data: bytes, to: tuple[str, int] | None = None) -> None:
        assert isinstance(data, bytes)
        if self.write_error is not None:
            raise self.write_error
        destination = to or self.connected_to
        assert destination is not None
        self.network.carry(self.where, destination, data)

    def stopListening(self) -> Deferred[None]:
        self.network.ports.remove(self)
        self.protocol.doStop()
        return succeed(None)


@dataclass
class QuicNetwork(Clock):  # type: ignore[misc]
    """What reactor and clock are to the endpoints."""

    latency: float = 0.005
    loss: float = 0.0
    duplication: float = 0.0
    jitter: float = 0.0
    "seconds that a datagram may take longer, so that others overtake it"
    is_dead: bool = False
    "nothing arrives, and nobody says so"
    seed: int = 1
    ports: list[UdpPort] = field(default_factory=list)
    sent: list[tuple[tuple[str, int], tuple[str, int], bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self._random = Random(self.seed)
        self._next_port = 50_000
        self.rightNow = 1000.0
        self.default_host = CLIENT_HOST
        self._flying: list[tuple[float, int, Any, Any, bytes]] = []
        self._count = 0
        self._land = Alarm(self, self._arrivals)

    def listenUDP(
        self, port: int, protocol: Any, interface: str = "", maxPacketSize: int = 8192
    ) -> UdpPort:
        self._next_port += 1
        where = (interface or self.default_host, port or self._next_port)
        if any(other.where == where for other in self.ports):
            raise CannotListenError(*where, OSError(98, "Address already in use"))
        listening = UdpPort(self, *where, protocol)
        self.ports.append(listening)
        protocol.makeConnection(listening)
        return listening

    def carry(self, source: tuple[str, int], to: tuple[str, int], data: bytes) -> None:
        """Bring a datagram to where it goes, or lose it."""
        self.sent.append((source, to, data))
        copies = 1 + (self._random.random() < self.duplication)
        for _copy in range(copies):
            if not self.is_dead and self._random.random() >= self.loss:
                delay = self.latency + self._random.random() * self.jitter
                self._fly(self.seconds() + delay, source, to, data)

    def _fly(self, when: float, source: Any, to: Any, data: bytes) -> None:
        # One delayed call for all: twisted's Clock sorts its calls whenever one is made.
        self._count += 1
        heapq.heappush(self._flying, (when, self._count, source, to, data))
        self._land.set(self._flying[0][0])

    def _arrivals(self) -> None:
        while self._flying and self._flying[0][0] <= self.seconds():
            _when, _count, source, to, data = heapq.heappop(self._flying)
            self.arrive(source, to, data)
        if self._flying:
            self._land.set(self._flying[0][0])

    def arrive(self, source: tuple[str, int], to: tuple[str, int], data: bytes) -> None:
        """Hand a datagram to the port it was sent to."""
        for port in list(self.ports):
            if port.where == to and port.connected_to in (None, source):
                port.protocol.datagramReceived(data, source)
                return
        for port in list(self.ports):
            if port.where == source and port.connected_to == to:
                port.protocol.connectionRefused()

    def run(self, seconds: float) -> None:
        """Let this much time go by, and everything happen that falls into it."""
        end = self.seconds() + seconds
        for _turn in range(_MAX_TURNS):
            due = [call.getTime() for call in self.getDelayedCalls()]
            if not due or min(due) > end:
                break
            self.advance(max(0.0, min(due) - self.seconds()))
        else:
            raise AssertionError("the network never comes to rest")
        self.advance(end - self.seconds())

    def run_until(self, is_reached: Callable[[], bool], seconds: float = 60.0) -> None:
        """Let time go by until something is so."""
        end = self.seconds() + seconds
        while not is_reached():
            due = [call.getTime() for call in self.getDelayedCalls()]
            assert due and min(due) <= end, "it never became so"
            self.advance(max(0.0, min(due) - self.seconds()))


@dataclass(frozen=True)
class Credentials:
    """Files with a certificate and its key, and the pin of that."""

    certificate: str
    key: str
    pin: str


def make_credentials(
    directory: str | Path,
    name: str = "server",
    *,
    dns: tuple[str, ...] = ("map-server.example",),
    addresses: tuple[str, ...] = (SERVER_HOST, "127.0.0.1", "::1"),
    key: Any = None,
) -> Credentials:
    """Write a self-signed certificate, which is its own CA."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    names: list[x509.GeneralName] = [x509.DNSName(text) for text in dns]
    names += [x509.IPAddress(ipaddress.ip_address(text)) for text in addresses]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    where = Path(directory)
    (where / f"{name}.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    (where / f"{name}.key").touch(0o600)
    (where / f"{name}.key").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    return Credentials(str(where / f"{name}.pem"), str(where / f"{name}.key"), pin_of(certificate))


class Noting(Protocol):
    """Notes what happens to it."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.events: list[str] = []
        self.reason: Failure | None = None
        self.on_data: Callable[[bytes], object] = lambda data: None

    def connectionMade(self) -> None:
        self.events.append("made")

    def dataReceived(self, data: bytes) -> None:
        self.events.append("data")
        self.received += data
        self.on_data(data)

    def connectionLost(self, reason: Any = None) -> None:
        assert self.reason is None, "told twice"
        self.events.append("lost")
        self.reason = reason

    def pauseProducing(self) -> None:
        self.events.append("pause")

    def resumeProducing(self) -> None:
        self.events.append("resume")

    def stopProducing(self) -> None:
        self.events.append("stop")


class NotingFactory(Factory):
    """Makes such protocols."""

    noisy = False

    def __init__(self) -> None:
        self.protocols: list[Noting] = []
        self.peers: list[Any] = []

    def buildProtocol(self, addr: Any) -> Any:
        self.peers.append(addr)
        protocol = Noting()
        self.protocols.append(protocol)
        return protocol


@implementer(IAdmission)
class AdmittingFactory(NotingFactory):
    """... for some addresses."""

    def __init__(self, *hosts: str) -> None:
        super().__init__()
        self.hosts = hosts
        self.asked: list[str] = []

    def admits(self, host: str) -> bool:
        self.asked.append(host)
        return host in self.hosts


class Pair:
    """A server and a client that connects to it."""

    def __init__(self, credentials: Credentials, **conditions: Any) -> None:
        self.network = QuicNetwork(**conditions)
        self.credentials = credentials
        self.accepting = AdmittingFactory(CLIENT_HOST)
        self.connecting = NotingFactory()
        self.results: list[Any] = []
        self.port: Any = None
        self.attempt: Any = None

    def listen(self, **options: str) -> None:
        """Open the server's port."""
        options = {
            "interface": SERVER_HOST,
            "certificate": self.credentials.certificate,
            "privateKey": self.credentials.key,
            **options,
        }
        listening = server_endpoint(self.network, "4343", **options).listen(self.accepting)
        ports: list[Any] = []
        listening.addCallback(ports.append)
        (self.port,) = ports

    def connect(self, **options: str) -> None:
        """Begin to connect; what comes of it is in ``results``."""
        options = {"bindAddress": CLIENT_HOST, **options}
        if "caFile" not in options:
            options.setdefault("pin", self.credentials.pin)
        endpoint = client_endpoint(self.network, SERVER_HOST, "4343", **options)
        self.attempt = endpoint.connect(self.connecting)
        self.attempt.addBoth(self.results.append)

    def establish(self, first: bytes = b"first") -> tuple[Noting, Noting]:
        """Bring both protocols up; return the client's and the server's."""
        self.listen()
        self.connect()
        self.network.run_until(lambda: bool(self.results))
        client = self.client
        assert client.transport is not None
        client.transport.write(first)
        self.network.run_until(lambda: bool(self.accepting.protocols))
        return client, self.server

    @property
    def client(self) -> Noting:
        """The first client's protocol."""
        return self.connecting.protocols[0]

    @property
    def server(self) -> Noting:
        """The server's protocol for it."""
        return self.accepting.protocols[0]

    def close(self) -> None:
        """End everything, and wait for it."""
        if self.port is not None:
            self.port.stopListening()
        self.network.run(120)
