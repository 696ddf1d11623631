"""Every transport on loopback addresses: how its endpoints are written, with certificates made on
the fly, and what it lacks.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from twisted.internet.endpoints import serverFromString

from lispmsrt.config.endpoints import escaped
from lispmsrt.transports.certificates import make_certificate, pin_of

__all__ = [
    "MAP_SERVER_ADDRESS",
    "LoopbackTransport",
    "loopback_transports",
    "port_that_refuses",
    "what_is_missing",
]

MAP_SERVER_ADDRESS = "127.0.0.1"

_ANY_PORT = f"0:interface={MAP_SERVER_ADDRESS}"
_VALIDITY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class LoopbackTransport:
    """How both ends write a transport."""

    name: str
    server: str
    "endpoint string, on any port that is free"
    prefix: str
    "of a client's endpoint string"
    options: str = ""
    "of a client's endpoint string"

    def client(self, port: int) -> str:
        """Return the endpoint string that reaches the server's port."""
        return f"{self.prefix}:{MAP_SERVER_ADDRESS}:{port}{self.options}"


def loopback_transports(directory: Path) -> tuple[LoopbackTransport, ...]:
    """Return all that there are, in the order in which ETRs try them. Their certificate and its
    key lie in ``directory`` and must stay there.
    """
    files, pin = _make_certificate(directory)
    return (
        LoopbackTransport("TCP", f"tcp:{_ANY_PORT}", "tcp"),
        LoopbackTransport("TLS", f"tls13:{_ANY_PORT}{files}", "tls13", pin),
        LoopbackTransport("QUIC", f"quic:{_ANY_PORT}{files}", "quic", pin),
        LoopbackTransport("SCTP", f"sctp:{_ANY_PORT}", "sctp"),
        _user_space_sctp(),
    )


def what_is_missing(reactor: Any, transport: LoopbackTransport) -> str:
    """Return which package a transport lacks, in one sentence; nothing if it lacks none. Whether
    the machine can do it is seen when it listens.
    """
    try:
        serverFromString(reactor, transport.server)
    except ValueError as failure:
        return str(failure)
    return ""


def port_that_refuses() -> socket.socket:
    """Return a TCP socket that does not listen: until it is closed nobody else will at its port."""
    taken = socket.socket()
    taken.bind((MAP_SERVER_ADDRESS, 0))
    return taken


def _make_certificate(directory: Path) -> tuple[str, str]:
    """Return the options of a server and of a client that pins it."""
    now = datetime.now(UTC)
    made = make_certificate(
        [MAP_SERVER_ADDRESS], valid_from=now - _VALIDITY, valid_until=now + _VALIDITY
    )
    certificate, key = directory / "certificate.pem", directory / "key.pem"
    certificate.write_bytes(made.certificate_pem)
    key.touch(mode=0o600)
    key.write_bytes(made.key_pem)
    files = f":certificate={escaped(str(certificate))}:privateKey={escaped(str(key))}"
    return files, f":pin={pin_of(made.certificate)}"


def _user_space_sctp() -> LoopbackTransport:
    """Both ends must know the UDP port of the server's end."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((MAP_SERVER_ADDRESS, 0))
        udp_port = probe.getsockname()[1]
    return LoopbackTransport(
        "user-space SCTP",
        f"sctp:{_ANY_PORT}:stack=usrsctp:encapsulation={udp_port}",
        "sctp",
        f":stack=usrsctp:encapsulation=0:encapsulationPeer={udp_port}",
    )
