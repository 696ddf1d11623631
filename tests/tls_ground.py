"""Certificates in files, and TLS between two ends on a network in memory."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from lispmsrt.transports.certificates import (
    CertifiedKey,
    make_authority,
    make_certificate,
    pin_of,
)
from lispmsrt.transports.interfaces import IAdmission, ITakesTurns
from lispmsrt.transports.tls.endpoints import client_endpoint, server_endpoint
from lispmsrt.transports.turns import Turn
from tests.rim import Network, Pipe

__all__ = [
    "CLIENT",
    "PORT",
    "SERVER",
    "Choosy",
    "Ear",
    "Ears",
    "Files",
    "TlsGround",
    "files",
    "signed_with",
]

SERVER, PORT, CLIENT = "127.0.0.1", 4342, "127.0.0.2"


@dataclass(frozen=True)
class Files:
    """A certificate and its key, in PEM."""

    made: CertifiedKey
    certificate: str
    key: str

    @property
    def own(self) -> dict[str, str]:
        """The options of who shows it."""
        return {"certificate": self.certificate, "privateKey": self.key}

    @property
    def pin(self) -> str:
        """Of its public key."""
        return pin_of(self.made.certificate)

    @classmethod
    def of(cls, made: CertifiedKey) -> Files:
        """Write both files."""
        folder = Path(tempfile.mkdtemp(dir=Path.cwd()))  # trial's own, which it cleans up
        certificate, key = folder / "certificate.pem", folder / "key.pem"
        certificate.write_bytes(made.certificate_pem)
        key.touch(0o600)
        key.write_bytes(made.key_pem)
        return cls(made, str(certificate), str(key))


@functools.cache
def files(name: str) -> Files:
    """Return one of the cast: CAs, and who they certified."""
    now = datetime.now(UTC)
    day = timedelta(days=1)
    valid = {"valid_from": now - day, "valid_until": now + 30 * day}
    past = {"valid_from": now - 3 * day, "valid_until": now - day}
    future = {"valid_from": now + day, "valid_until": now + 3 * day}
    if name in ("CA", "other CA"):
        return Files.of(make_authority(name, **valid))
    if name == "self-signed":
        return Files.of(make_certificate([SERVER, "ms.example"], **valid))
    ca = files("CA").made
    names, when = {
        "server": ([SERVER, "ms.example", "2001:db8::1"], valid),
        "other server": (["other.example"], valid),
        "expired": ([SERVER], past),
        "early": ([SERVER], future),
        "client": (["ETR1.example", "127.0.0.2"], valid),
        "expired client": (["etr1.example"], past),
    }[name]
    return Files.of(make_certificate(names, authority=ca, **when))


def signed_with(*extensions: x509.ExtensionType) -> Files:
    """Return a certificate of the CA with these extensions only."""
    authority, key = files("CA").made, ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, SERVER)]))
        .issuer_name(authority.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return Files.of(CertifiedKey(builder.sign(authority.key, hashes.SHA256()), key))


class Ear(Protocol):
    """An end that notes what happens to it."""

    def __init__(self) -> None:
        self.received = b""
        self.made = 0
        self.lost: Failure | None = None
        self.ended: Deferred[None] = Deferred()
        self.on_made: Callable[[Ear], object] = lambda ear: None

    def connectionMade(self) -> None:
        self.made += 1
        self.on_made(self)

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = reason
        self.ended.callback(None)

    @property
    def farewell(self) -> str:
        """Why it was lost."""
        assert self.lost is not None
        return self.lost.getErrorMessage()


class Ears(Factory):
    """Makes ears, and keeps them."""

    noisy = False

    def __init__(self, on_made: Callable[[Ear], object] = lambda ear: None) -> None:
        self.built: list[Ear] = []
        self.addresses: list[Any] = []
        self._on_made = on_made

    def buildProtocol(self, addr: Any) -> Any:
        ear = Ear()
        ear.on_made = self._on_made
        self.built.append(ear)
        self.addresses.append(addr)
        return ear


@implementer(IAdmission)
class Choosy(Ears):
    """Takes connections from some addresses only."""

    def __init__(self, *hosts: str) -> None:
        super().__init__()
        self.asked: list[str] = []
        self._hosts = hosts

    def admits(self, host: str) -> bool:
        self.asked.append(host)
        return host in self._hosts


@implementer(ITakesTurns)
class Patient(Ears):
    """Has a turn that pays for who connects."""

    def __init__(self, turn: Turn) -> None:
        super().__init__()
        self.turn = turn
        self.on_built: Callable[[Ear], object] = lambda ear: None

    def buildProtocol(self, addr: Any) -> Any:
        ear = super().buildProtocol(addr)
        self.on_built(ear)
        return ear


class TlsGround:
    """Mixed into a SynchronousTestCase: both endpoints in memory, with a clock that is ours."""

    def setUp(self) -> None:
        """Nothing listens yet."""
        self.network = Network()
        self.servers = Ears()
        self.clients = Ears()
        self.problems: list[Failure] = []
        self.connected: list[Any] = []

    def listen(self, factory: Any = None, **options: str) -> Any:
        """Listen, by default with the server's certificate; return the gate."""
        options = options or files("server").own
        endpoint = server_endpoint(self.network, str(PORT), SERVER, **options)
        listening: list[Any] = []
        endpoint.listen(factory or self.servers).addCallback(listening.append)
        return listening[0].target

    def connect(self, **options: str) -> Deferred[Any]:
        """Begin to connect, by default to whom the CA knows; note what becomes of it."""
        options = options or {"caFile": files("CA").certificate}
        endpoint = client_endpoint(self.network, SERVER, str(PORT), bindAddress=CLIENT, **options)
        attempt = endpoint.connect(self.clients)
        attempt.addCallbacks(self.connected.append, self.problems.append)
        return attempt

    def meet(self, **options: str) -> None:
        """Connect, and let everything happen."""
        self.connect(**options)
        self.network.run()

    def problem(self) -> str:
        """Return why the only attempt failed, of which no application heard."""
        (problem,) = self.problems
        assert not self.connected and not self.clients.built
        return problem.getErrorMessage()

    def knock(self, octets: bytes = b"", source: str = "127.0.0.9") -> Pipe:
        """Connect without TLS and send some octets; return the near end."""
        pipe = self.network.connect(Ear(), SERVER, PORT, source)
        if octets:
            pipe.write(octets)
        self.network.run()
        return pipe

    def sent_to(self, host: str) -> bytes:
        """Return all that the network brought to an address by TCP."""
        return b"".join(each.data for each in self.network.packets if each.destination[0] == host)
