"""How the endpoints of each transport are written for the suite, and where it shows that they
differ.
"""

from __future__ import annotations

import os
from typing import Any

from lispmsrt.transports.sctp.usrsctp import liveness
from tests.rim import MAP_SERVER_HOST
from tests.session_certificates import etr_certificate, map_server_certificate, md5_key, other_pin
from tests.session_ground import SessionGround

__all__ = ["OverQuic", "OverSctp", "OverTcp", "OverTcpMd5", "OverTls", "OverUserSctp"]

_HEARTBEAT = ":heartbeat=2"
"""The shortest that SCTP allows."""

_IDLE = ":idleTimeout=3:keepalive=0.5"


class OverTcp:
    """Twisted's own."""

    name = "TCP"

    def server_string(self, port: int, *, quick: bool = False) -> str:
        return f"tcp:{port}:interface={MAP_SERVER_HOST}"

    def client_string(self, port: int, host: str, *, quick: bool = False) -> str:
        return f"tcp:{MAP_SERVER_HOST}:{port}:bindAddress={host}"


class OverTcpMd5:
    """TCP with a key."""

    name = "TCP-MD5"

    def server_string(self, port: int, *, quick: bool = False) -> str:
        return f"tcpmd5:{port}:interface={MAP_SERVER_HOST}:key={md5_key()}"

    def client_string(self, port: int, host: str, *, quick: bool = False) -> str:
        return f"tcpmd5:{MAP_SERVER_HOST}:{port}:bindAddress={host}:key={md5_key()}"


class OverTls:
    """TLS with certificates at both ends."""

    name = "TLS"
    refusals = frozenset({"TlsFailed", "ConnectError"})

    def server_string(self, port: int, *, quick: bool = False) -> str:
        mine = map_server_certificate()
        return (
            f"tls13:{port}:interface={MAP_SERVER_HOST}:certificate={mine.certificate}"
            f":privateKey={mine.key}:clientCA={mine.authority}"
        )

    def client_string(self, port: int, host: str, *, quick: bool = False) -> str:
        mine = etr_certificate()
        return (
            f"tls13:{MAP_SERVER_HOST}:{port}:bindAddress={host}:caFile={mine.authority}"
            f":certificate={mine.certificate}:privateKey={mine.key}"
        )

    def distrustful_string(self, port: int, host: str) -> str:
        """It pins another key."""
        return f"{self.client_string(port, host)}:pin={other_pin()}"

    def half_open_string(self, port: int, host: str) -> str:
        """TCP, and nothing more."""
        return f"tcp:{MAP_SERVER_HOST}:{port}:bindAddress={host}"

    def unsent(self, stream: Any) -> int:
        """What waits for TLS, and below it for TCP."""
        waiting = sum(map(len, stream._appSendBuffer))
        return waiting + len(stream.transport.dataBuffer) + stream.transport._tempDataLen

    def socket_of(self, stream: Any) -> Any:
        """That of the TCP below."""
        return stream.transport.getHandle()


class OverQuic:
    """QUIC, with the Map-Server's key pinned. Its server hears nothing of a client before the
    first octet.
    """

    name = "QUIC"
    speaks_first = False

    def server_string(self, port: int, *, quick: bool = False) -> str:
        mine = map_server_certificate()
        return (
            f"quic:{port}:interface={MAP_SERVER_HOST}:certificate={mine.certificate}"
            f":privateKey={mine.key}{_IDLE if quick else ''}"
        )

    def client_string(self, port: int, host: str, *, quick: bool = False) -> str:
        pin = map_server_certificate().pin
        idle = _IDLE if quick else ""
        return f"quic:{MAP_SERVER_HOST}:{port}:bindAddress={host}:pin={pin}{idle}"

    def distrustful_string(self, port: int, host: str) -> str:
        """It pins another key."""
        mine = map_server_certificate().pin
        return self.client_string(port, host).replace(mine, other_pin())

    def half_open_string(self, port: int, host: str) -> str:
        """Before the first octet the server hears nothing of the stream."""
        return self.client_string(port, host)

    def unsent(self, stream: Any) -> int:
        """What the peer has not acknowledged."""
        unacknowledged: int = stream._driver.unacknowledged
        return unacknowledged


class OverSctp:
    """SCTP of the kernel, whose association is up before we are asked."""

    name = "SCTP"
    refusals = frozenset({"ConnectionLost", "ConnectError"})

    def server_string(self, port: int, *, quick: bool = False) -> str:
        return f"sctp:{port}:interface={MAP_SERVER_HOST}{_HEARTBEAT if quick else ''}"

    def client_string(self, port: int, host: str, *, quick: bool = False) -> str:
        heartbeat = _HEARTBEAT if quick else ""
        return f"sctp:{MAP_SERVER_HOST}:{port}:bindAddress={host}{heartbeat}"


class OverUserSctp(SessionGround):
    """SCTP of our own process, over UDP."""

    name = "SCTP"
    registrations = 100_000 if os.environ.get("LISPMSRT_LONG") else 30_000

    def setUp(self) -> None:
        """The time that it gives a silent peer is for paths that lose a lot: loopback does not."""
        self.patch(liveness, "_PROBING", 2.0)
        super().setUp()

    def server_string(self, port: int, *, quick: bool = False) -> str:
        return (
            f"sctp:{port}:interface={MAP_SERVER_HOST}:stack=usrsctp:encapsulation={port}"
            f"{_HEARTBEAT if quick else ''}"
        )

    def client_string(self, port: int, host: str, *, quick: bool = False) -> str:
        return (
            f"sctp:{MAP_SERVER_HOST}:{port}:bindAddress={host}:stack=usrsctp"
            f":encapsulation=0:encapsulationPeer={port}{_HEARTBEAT if quick else ''}"
        )

    def unsent(self, stream: Any) -> int:
        """What the stack has not taken, which has a buffer of its own."""
        return len(stream._buffer)
