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
from functools import cache
from itertools import cycle
from typing import NamedTuple

from aioquic.buffer import Buffer, size_uint_var
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.crypto import CryptoPair
from aioquic.quic.packet import (
    QuicFrameType,
    QuicPacketType,
    QuicProtocolVersion,
    encode_long_header_first_byte,
    pull_quic_header,
)

from benchmarks.floods.attackers import Attacker, Phase, Returns
from benchmarks.load import MAP_SERVER
from benchmarks.messages import CHUNK
from lispmsrt.transports.quic.settings import ALPN

__all__ = ["QuicReturns", "initials"]

_PREPARED = 256
"""Initials that are computed before the flood; they are repeated."""

_RETRY = 0xF0
"""The first four bits of a Retry (RFC 9000 §17.2.5); what else comes is longer than that."""

_VERSION = QuicProtocolVersion.VERSION_1
_INITIAL_OCTETS = 1200
_PACKET_NUMBER = 1
_PACKET_NUMBER_OCTETS = 2
_TAG_OCTETS = 16


class _Hello(NamedTuple):
    """What a client begins with: an attacker need not compute it again."""

    initial: bytes
    "the first datagram, without a token"
    source_cid: bytes
    crypto: bytes
    "the TLS ClientHello, which names that connection ID"

    @classmethod
    def made(cls) -> _Hello:
        """Return one of aioquic's."""
        configuration = QuicConfiguration(alpn_protocols=[ALPN], verify_mode=ssl.CERT_NONE)
        quic = QuicConnection(configuration=configuration)
        quic.connect(("192.0.2.1", 4343), time.monotonic())
        initial: bytes = quic.datagrams_to_send(time.monotonic())[0][0]
        buffer = Buffer(data=initial)
        header = pull_quic_header(buffer)
        server = CryptoPair()
        server.setup_initial(cid=header.destination_cid, is_client=False, version=_VERSION)
        packet = initial[: header.packet_length]
        payload = Buffer(data=server.decrypt_packet(packet, buffer.tell(), 0)[1])
        assert payload.pull_uint_var() == QuicFrameType.CRYPTO
        assert payload.pull_uint_var() == 0
        return cls(initial, header.source_cid, payload.pull_bytes(payload.pull_uint_var()))

    def with_token(self, retry: bytes) -> bytes:
        """Return the first datagram once more, with the token of a Retry (RFC 9000 §17.2.2)."""
        header = pull_quic_header(Buffer(data=retry))
        plain = Buffer(capacity=_INITIAL_OCTETS)
        plain.push_uint8(
            encode_long_header_first_byte(
                _VERSION, QuicPacketType.INITIAL, _PACKET_NUMBER_OCTETS - 1
            )
        )
        plain.push_uint32(_VERSION)
        for connection_id in (header.source_cid, self.source_cid):
            plain.push_uint8(len(connection_id))
            plain.push_bytes(connection_id)
        plain.push_uint_var(len(header.token))
        plain.push_bytes(header.token)
        rest = _INITIAL_OCTETS - plain.tell() - size_uint_var(_INITIAL_OCTETS)
        plain.push_uint_var(rest)
        plain.push_uint16(_PACKET_NUMBER)
        payload = Buffer(capacity=_INITIAL_OCTETS)
        payload.push_uint_var(QuicFrameType.CRYPTO)
        payload.push_uint_var(0)
        payload.push_uint_var(len(self.crypto))
        payload.push_bytes(self.crypto)
        padded = payload.data.ljust(rest - _PACKET_NUMBER_OCTETS - _TAG_OCTETS, bytes(1))
        client = CryptoPair()
        client.setup_initial(cid=header.source_cid, is_client=True, version=_VERSION)
        datagram: bytes = client.encrypt_packet(plain.data, padded, _PACKET_NUMBER)
        return datagram


@cache
def _hellos() -> list[_Hello]:
    return [_Hello.made() for _ in range(_PREPARED)]


def initials() -> Iterator[bytes]:
    """Yield what QUIC clients say first."""
    return cycle([hello.initial for hello in _hellos()])


class _QuicAttacker(Attacker):
    """Connects over QUIC. Its stream is a UDP socket."""

    _hello: _Hello

    def connect(self, hello: bytes) -> None:
        """Use what it was armed for."""
        self.phase, self.since = Phase.CONNECTING, time.perf_counter()
        self.stream = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.stream.setblocking(False)
        self.stream.bind((self.address, 0))
        self.stream.connect((MAP_SERVER, self._port))
        self._poll.register(self.stream.fileno(), select.EPOLLIN)
        self._hello = _hellos()[int.from_bytes(self.ids[:16], "big") % _PREPARED]
        self._send(self._hello.initial)

    def is_answered(self) -> bool:
        """Read what has come; tell whether it was more than a Retry, which is obeyed."""
        assert self.stream is not None
        with suppress(OSError):
            datagram = self.stream.recv(CHUNK)
            if datagram[0] & 0xF0 != _RETRY:
                return True
            self._send(self._hello.with_token(datagram))
        return False

    def _send(self, datagram: bytes) -> None:
        assert self.stream is not None
        with suppress(OSError):
            self.stream.send(datagram)


class QuicReturns(Returns):
    """As over TCP. They leave without a word, with the handshake half done."""

    def __init__(self, ports: tuple[int, int]) -> None:
        super().__init__(ports, make=_QuicAttacker)

    def _is_answered(self, attacker: Attacker, events: int) -> bool:
        assert isinstance(attacker, _QuicAttacker)
        return attacker.is_answered()
