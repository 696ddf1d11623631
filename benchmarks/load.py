"""The load of ``make bench``: datagrams and frames, all built before the clock starts, and the
loops that send them and count the answers. Plain sockets: a generator must be cheaper than what it
measures.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterator, Sequence

from benchmarks.roles import SECRET
from lispmsrt import Address, EidPrefix, Locator, MappingRecord
from lispmsrt.wire.authentication import AlgorithmId, Key
from lispmsrt.wire.framing import FrameBuffer, encode_frame
from lispmsrt.wire.map_register import RegisterFlag, write_map_register
from lispmsrt.wire.records import encode_record
from lispmsrt.wire.reliable_transport import MessageType

__all__ = [
    "ADDRESS",
    "FIRST_EID",
    "TTL_MINUTES",
    "LoadError",
    "Session",
    "arm",
    "exchange",
    "registers",
    "registrations",
    "send_and_receive",
]

ADDRESS = "127.0.0.2"
"""The load generator's."""

FIRST_EID = 10 << 24
"""The first address that is registered, as a number; the last is the last of its /8."""

TTL_MINUTES = 1440

_SECONDS_WITHOUT_ANSWER = 1.0
_WINDOW = 128
"""Datagrams unanswered at a time: no more, for a default receive buffer holds fewer than 200."""

_CHUNK = 65_536
_EID = slice(12, 16)
_KEY = Key(0, AlgorithmId.HMAC_SHA_256_128, SECRET.encode())
_IDS = bytes(15) + b"\1" + bytes(7) + b"\1"
# What our own ETR sets by default.
_FLAGS = RegisterFlag.PROXY_REPLY | RegisterFlag.WANT_MAP_NOTIFY


class LoadError(Exception):
    """What came back is not what was to come; the text says so in one sentence."""


# Messages


def _records(count: int, first: int = 0) -> Iterator[bytes]:
    """Yield records of distinct /32s with one locator, from 10.0.0.0 upwards."""
    locator = Locator(Address.from_text(ADDRESS))
    eid = EidPrefix.from_text("10.0.0.0/32")
    model = encode_record(MappingRecord(eid, TTL_MINUTES, (locator,), authoritative=True))
    before, behind = model[: _EID.start], model[_EID.stop :]
    for number in range(FIRST_EID + first, FIRST_EID + first + count):
        yield before + number.to_bytes(4, "big") + behind


def registers(count: int, flags: int = 0, first: int = 0) -> list[bytes]:
    """Build Map-Registers of one record each."""
    nonce = time.time_ns()
    return [
        write_map_register(_FLAGS | flags, nonce + number, [record], _IDS, _KEY)
        for number, record in enumerate(_records(count, first))
    ]


def registrations(count: int, first: int = 0) -> list[bytes]:
    """Build a stream of Registrations in chunks that end anywhere, as TCP's do."""
    frames = b"".join(
        encode_frame(MessageType.REGISTRATION, number, register)
        for number, register in enumerate(registers(count, first=first), first)
    )
    return [frames[at : at + _CHUNK] for at in range(0, len(frames), _CHUNK)]


# UDP


def exchange(port: int, datagrams: Sequence[bytes]) -> float:
    """Send datagrams until each has an answer; return the seconds."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind((ADDRESS, 0))
        udp.connect(("127.0.0.1", port))
        udp.setblocking(False)
        began = time.perf_counter()
        send_and_receive(udp, datagrams)
        return time.perf_counter() - began


def arm(port: int) -> None:
    """Register the last /32, which nobody else does; its Map-Notify allows one connection."""
    exchange(port, registers(1, RegisterFlag.RELIABLE_TRANSPORT, first=(1 << 24) - 1))


def send_and_receive(udp: socket.socket, datagrams: Sequence[bytes]) -> list[bytes]:
    """Send datagrams by a connected socket until each has an answer; return the answers.

    A lost one ends the measurement with LoadError: on loopback it would mean a full buffer.
    """
    poll = select.poll()
    poll.register(udp, select.POLLIN)
    answers: list[bytes] = []
    sent = 0
    while len(answers) < len(datagrams):
        for datagram in datagrams[sent : len(answers) + _WINDOW]:
            udp.send(datagram)
            sent += 1
        if not poll.poll(_SECONDS_WITHOUT_ANSWER * 1000):
            raise LoadError(f"{sent - len(answers)} datagrams of {sent} were not answered")
        try:
            while True:
                answers.append(udp.recv(_CHUNK))
        except BlockingIOError:
            pass
    return answers


# TCP


class Session:
    """A session with the Map-Server: armed over UDP, then whatever frames it is given."""

    def __init__(self, udp_port: int, tcp_port: int) -> None:
        arm(udp_port)
        self._socket = socket.create_connection(
            ("127.0.0.1", tcp_port), source_address=(ADDRESS, 0)
        )
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._frames = FrameBuffer()
        self._socket.settimeout(10.0)
        kinds = self._kinds()
        if kinds != [MessageType.REGISTRATION_REFRESH]:
            raise LoadError(f"the Map-Server began with messages of types {kinds}")
        self._socket.setblocking(False)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *reason: object) -> None:
        self._socket.close()

    def register(self, chunks: Sequence[bytes], count: int) -> float:
        """Write Registrations until ``count`` are acknowledged; return the seconds."""
        poll = select.poll()
        began = time.perf_counter()
        waiting = [memoryview(chunk) for chunk in reversed(chunks)]
        acknowledged = 0
        while acknowledged < count:
            poll.register(self._socket, select.POLLIN | (select.POLLOUT if waiting else 0))
            ready = poll.poll(1000 * 10 * _SECONDS_WITHOUT_ANSWER)
            if not ready:
                raise LoadError(f"the Map-Server stopped after {acknowledged} answers")
            if ready[0][1] & select.POLLOUT:
                self._write(waiting)
            if ready[0][1] & ~select.POLLOUT:
                acknowledged += self._count_acks()
        return time.perf_counter() - began

    def _write(self, waiting: list[memoryview]) -> None:
        chunk = waiting.pop()
        written = self._socket.send(chunk)
        if written < len(chunk):
            waiting.append(chunk[written:])

    def _count_acks(self) -> int:
        kinds = self._kinds()
        if kinds.count(MessageType.REGISTRATION_ACK) != len(kinds):
            raise LoadError(f"the Map-Server answered with messages of types {set(kinds)}")
        return len(kinds)

    def _kinds(self) -> list[int]:
        data = self._socket.recv(_CHUNK)
        if not data:
            raise LoadError("the Map-Server closed the session")
        return [frame[0] for frame in self._frames.receive(data)[1]]
