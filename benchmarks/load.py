"""The load of ``make bench``: the loops that send prepared messages and count the answers.

Plain sockets: a generator must be cheaper than what it measures, so answers are counted by their
length while the clock runs, and read when it has stopped.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from typing import NamedTuple

from benchmarks.datagrams import Datagrams
from benchmarks.messages import ADDRESS, CHUNK, host_records, map_registers, registrations, xtr_ids
from benchmarks.roles import etr_address
from lispmsrt.wire.framing import MESSAGE_OVERHEAD, FrameBuffer
from lispmsrt.wire.map_register import RegisterFlag
from lispmsrt.wire.reliable_transport import MessageType

__all__ = [
    "ACK_LENGTH",
    "MAP_SERVER",
    "Exchanged",
    "LoadError",
    "Session",
    "arm",
    "exchange",
    "nonce_of",
]

MAP_SERVER = "127.0.0.1"

_SECONDS_WITHOUT_ANSWER = 1.0
"""A datagram that has no answer by then is sent again, as every ETR and ITR does."""

_TRIES = 10
_WINDOW = 512
"""Datagrams unanswered at a time: bursts that fit every receive buffer of a few megabytes."""

_LAST_EID = (1 << 24) - 1
_NONCE = slice(4, 12)
_EID_BYTES = 7
"""Octets of an IPv4 EID-prefix in an ACK: length, AFI, address."""

ACK_LENGTH = MESSAGE_OVERHEAD + _EID_BYTES
"""Octets of an ACK of an IPv4 EID."""


class LoadError(Exception):
    """What came back is not what was to come; the text says so in one sentence."""


# UDP


class Exchanged(NamedTuple):
    """What became of datagrams."""

    seconds: float
    "from the first that was sent to the last answer"
    repeated: int
    "lost, and sent again"
    answers: list[bytes]
    "one for each datagram, in any order"


def nonce_of(message: bytes) -> bytes:
    """Return the nonce of a Map-Register, Map-Notify or Map-Reply."""
    return message[_NONCE]


def exchange(
    port: int,
    messages: Sequence[bytes],
    *,
    question_nonce: Callable[[bytes], bytes] = nonce_of,
    window: int = _WINDOW,
    clients: Sequence[socket.socket] = (),
) -> Exchanged:
    """Send messages until each has an answer with its nonce.

    What has none after a second is sent again, ten times before LoadError. ``question_nonce`` finds
    the nonce of what is sent, where that is not where answers have it. ``clients`` send in turn; by
    default it is a socket of its own.
    """
    with ExitStack() as stack:
        if not clients:
            own = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            own.bind((ADDRESS, 0))
            clients = [own]
        udp = stack.enter_context(closing(Datagrams((MAP_SERVER, port), clients)))
        began = time.perf_counter()
        found: dict[bytes, bytes] = {}
        repeated, waiting = 0, messages
        for _attempt in range(_TRIES):
            last, answers = _send_and_receive(udp, waiting, window)
            found |= {nonce_of(answer): answer for answer in answers}
            waiting = [one for one in waiting if question_nonce(one) not in found]
            if not waiting:
                return Exchanged(last - began, repeated, list(found.values()))
            repeated += len(waiting)
    raise LoadError(f"{len(waiting):,} datagrams of {len(messages):,} were never answered")


def _send_and_receive(
    udp: Datagrams, messages: Sequence[bytes], window: int
) -> tuple[float, list[bytes]]:
    """Send each once; return when the last answer came, and all answers."""
    count = len(messages)
    answers: list[bytes] = []
    sent, last = 0, time.perf_counter()
    while len(answers) < count:
        room = min(len(answers) + window, count)
        if sent < room:
            sent += udp.send(messages, sent, room)
        received = udp.receive(_SECONDS_WITHOUT_ANSWER)
        if not received:
            if sent == count:
                break
            # What is lost must not narrow the window for ever: the rest is sent anyway.
            window += window
            continue
        answers += received
        last = time.perf_counter()
    return last, answers


@contextmanager
def open_clients(count: int) -> Iterator[list[socket.socket]]:
    """Open UDP sockets, each at an address of its own."""
    with ExitStack() as stack:
        clients = []
        for number in range(count):
            client = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            client.bind((etr_address(number), 0))
            clients.append(client)
        yield clients


def arm(
    port: int, address: str = ADDRESS, ids: bytes = xtr_ids(1), record: bytes | None = None
) -> None:
    """Register a record, by default a /32 that nobody else does, the last one; the Map-Notify
    allows one connection.
    """
    records = [record] if record else host_records(1, _LAST_EID, address)
    messages = map_registers(records, flags=RegisterFlag.RELIABLE_TRANSPORT, ids=ids)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind((address, 0))
        exchange(port, messages, clients=[client])


# TCP


class Session:
    """A session with the Map-Server: armed over UDP, then whatever frames it is given."""

    def __init__(
        self,
        udp_port: int,
        tcp_port: int,
        address: str = ADDRESS,
        ids: bytes = xtr_ids(1),
        record: bytes | None = None,
    ) -> None:
        """``record`` is what it arms itself with, as in :func:`arm`, and registers first."""
        record = record or next(host_records(1, _LAST_EID, address))
        arm(udp_port, address, ids, record)
        self._socket = socket.create_connection(
            (MAP_SERVER, tcp_port), source_address=(address, 0), timeout=10.0
        )
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._expect_refresh()
        # What is registered over UDP only would end after three minutes, and be notified.
        self._socket.sendall(b"".join(registrations([record], ids)))
        if not self._socket.recv(CHUNK):
            raise LoadError("the Map-Server closed the session")
        self._socket.setblocking(False)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *reason: object) -> None:
        self._socket.close()

    def _expect_refresh(self) -> None:
        data = self._socket.recv(CHUNK)
        if not data:
            raise LoadError("the Map-Server closed the session")
        kinds = [frame[0] for frame in FrameBuffer().receive(data)[1]]
        if kinds != [MessageType.REGISTRATION_REFRESH]:
            raise LoadError(f"the Map-Server began with messages of types {kinds}")

    def register(self, chunks: Sequence[bytes], count: int, octets: int = 0) -> float:
        """Write Registrations until ``count`` are acknowledged; return the seconds.

        ``octets`` are those of all ACKs, by default as many as for IPv4 EIDs.
        """
        poll = select.poll()
        wanted = octets or count * ACK_LENGTH
        waiting = [memoryview(chunk) for chunk in reversed(chunks)]
        received: list[bytes] = []
        began = time.perf_counter()
        while wanted > 0:
            poll.register(self._socket, select.POLLIN | (select.POLLOUT if waiting else 0))
            ready = poll.poll(10_000)
            if not ready:
                break
            if ready[0][1] & select.POLLOUT:
                self._write(waiting)
            if ready[0][1] & ~select.POLLOUT:
                data = self._socket.recv(4 * CHUNK)
                if not data:
                    raise LoadError("the Map-Server closed the session")
                received.append(data)
                wanted -= len(data)
        seconds = time.perf_counter() - began
        check_acks(b"".join(received), count)
        return seconds

    def _write(self, waiting: list[memoryview]) -> None:
        chunk = waiting.pop()
        written = self._socket.send(chunk)
        if written < len(chunk):
            waiting.append(chunk[written:])


def check_acks(received: bytes, count: int) -> None:
    """Raise LoadError unless these are so many ACKs and nothing else."""
    ack = int(MessageType.REGISTRATION_ACK).to_bytes(2, "big")
    # All of IPv4, in the most frequent case: every message is as long as the first.
    if len(received) == count * ACK_LENGTH and all(
        received[at::ACK_LENGTH] == octet.to_bytes(1, "big") * count
        for at, octet in enumerate(ack + ACK_LENGTH.to_bytes(2, "big"))
    ):
        return
    kinds = [frame[0] for frame in FrameBuffer().receive(received)[1]]
    if kinds.count(MessageType.REGISTRATION_ACK) != len(kinds):
        raise LoadError(f"the Map-Server answered with messages of types {set(kinds)}")
    if len(kinds) != count:
        raise LoadError(f"the Map-Server stopped after {len(kinds):,} of {count:,} ACKs")
