"""QUIC: Initials from addresses that nobody has armed, and compromised ETRs that arm themselves,
prove their address, have the Map-Server do its part of the handshake, and come again.
"""

from __future__ import annotations

import select
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import cycle
from typing import Any

from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection

from benchmarks.floods.attackers import Attacker, Phase, Returns
from benchmarks.load import MAP_SERVER
from benchmarks.messages import CHUNK
from lispmsrt.transports.quic.settings import ALPN

__all__ = ["QuicReturns", "initials"]

_PREPARED = 256
"""Initials that are computed before the flood; they are repeated."""

_RETRY = 0xF0
"""The first four bits of a Retry (RFC 9000 §17.2.5); what else comes is longer than that."""


def initials() -> Iterator[bytes]:
    """Yield what QUIC clients say first."""
    prepared = []
    for _ in range(_PREPARED):
        quic = _client(("192.0.2.1", 4343))
        prepared.append(quic.datagrams_to_send(time.monotonic())[0][0])
    return cycle(prepared)


def _client(server: tuple[str, int]) -> Any:
    """Return a connection that has begun and sent nothing."""
    configuration = QuicConfiguration(alpn_protocols=[ALPN], verify_mode=ssl.CERT_NONE)
    quic = QuicConnection(configuration=configuration)
    quic.connect(server, time.monotonic())
    return quic


class _QuicAttacker(Attacker):
    """Connects over QUIC. Its stream is a UDP socket."""

    _quic: Any = None

    def connect(self, hello: bytes) -> None:
        """Use what it was armed for."""
        self.phase, self.since = Phase.CONNECTING, time.perf_counter()
        self.stream = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.stream.setblocking(False)
        self.stream.bind((self.address, 0))
        self.stream.connect((MAP_SERVER, self._port))
        self._poll.register(self.stream.fileno(), select.EPOLLIN)
        self._quic = _client((MAP_SERVER, self._port))
        self._send()

    def is_answered(self) -> bool:
        """Read what has come; tell whether it was more than a Retry, which is obeyed."""
        assert self.stream is not None
        with suppress(OSError):
            datagram = self.stream.recv(CHUNK)
            if datagram[0] & 0xF0 != _RETRY:
                return True
            self._quic.receive_datagram(datagram, (MAP_SERVER, self._port), time.monotonic())
            self._send()
        return False

    def _send(self) -> None:
        assert self.stream is not None
        for datagram, _address in self._quic.datagrams_to_send(time.monotonic()):
            with suppress(OSError):
                self.stream.send(datagram)


class QuicReturns(Returns):
    """As over TCP. They leave without a word, with the handshake half done."""

    def __init__(self, ports: tuple[int, int], number: int) -> None:
        super().__init__(ports, number=number, make=_QuicAttacker)

    def _is_answered(self, attacker: Attacker, events: int) -> bool:
        assert isinstance(attacker, _QuicAttacker)
        return attacker.is_answered()
