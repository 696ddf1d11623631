"""Connections from addresses that nobody has armed, and from those of a compromised ETR, which arms
itself, connects, and comes again.
"""

from __future__ import annotations

import enum
import select
import socket
import ssl
import struct
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import cycle

from benchmarks.floods.datagrams import COMPROMISED_EIDS, FIRST_SOURCE
from benchmarks.load import MAP_SERVER
from benchmarks.messages import CHUNK, host_records, map_registers, xtr_ids
from benchmarks.roles import etr_address
from lispmsrt.wire.map_register import RegisterFlag

__all__ = ["Attacker", "Attackers", "Knocks", "Phase", "Returns", "client_hello"]

_BIND_ADDRESS_NO_PORT = 24
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: closing resets, and leaves no port waiting."""

_READ = select.EPOLLIN | select.EPOLLRDHUP
_MOST_OPEN = 2000
"""Connections that wait for the Map-Server at a time; beyond, the oldest is given up."""

_MOST_KNOCKING = 256
"""The same where none is to be given up: it is asked how many a Map-Server can take."""

_ETRS = 4000
_IMPATIENCE = 1.0
"""Seconds after which a compromised ETR begins anew, whatever it waits for."""

_WINDOW = 16
"""ETRs that wait at a time where it is asked how many a Map-Server can take: more than it answers
within their patience would leave it with connections that nobody waits for.
"""


def client_hello() -> bytes:
    """Return what a TLS client says first: an attacker need not compute it again."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing).do_handshake()
    return outgoing.read()


def connecting(address: str, port: int, receive_buffer: int = 0) -> socket.socket:
    """Begin a connection from this address; ``receive_buffer`` is in octets, 0 as it comes."""
    stream = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    stream.setblocking(False)
    stream.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    if receive_buffer:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    stream.bind((address, 0))
    stream.connect_ex((MAP_SERVER, port))
    return stream


class Knocks:
    """Connections from ever other addresses, none of which is armed."""

    def __init__(self, port: int) -> None:
        self.handled: int | None = 0
        "those that the Map-Server has ended"
        self._port = port
        self._sources = map(etr_address, cycle(range(FIRST_SOURCE, 4 * FIRST_SOURCE)))
        self._open: dict[int, socket.socket] = {}
        self._poll = select.epoll()

    @property
    def room(self) -> int:
        """How many more may begin where none is given up."""
        return max(0, _MOST_KNOCKING - len(self._open))

    def offer(self, number: int) -> int:
        """Begin so many."""
        begun = 0
        for _ in range(number):
            if len(self._open) >= _MOST_OPEN:
                self._end(next(iter(self._open)))
            try:
                stream = connecting(next(self._sources), self._port)
            except OSError:
                break
            self._open[stream.fileno()] = stream
            self._poll.register(stream.fileno(), _READ)
            begun += 1
        return begun

    def look(self) -> None:
        """See which have ended."""
        assert self.handled is not None
        for number, _events in self._poll.poll(0, _MOST_OPEN):
            self._end(number)
            self.handled += 1

    def close(self) -> None:
        """Close everything."""
        for stream in self._open.values():
            stream.close()
        self._poll.close()

    def _end(self, number: int) -> None:
        # Closing takes it out of the poll.
        self._open.pop(number).close()


class Phase(enum.Enum):
    """Where an attacker is."""

    IDLE = "nothing begun"
    ARMING = "a Map-Register is on its way"
    CONNECTING = "a connection was begun"
    UP = "the Map-Server has said something"


class Attacker:
    """One compromised ETR: at an address of its own, with an xTR-ID and a key."""

    def __init__(
        self, poll: select.epoll, ports: tuple[int, int], number: int, receive_buffer: int = 0
    ) -> None:
        """``ports``: of Map-Registers, and of the connections."""
        self._receive_buffer = receive_buffer
        self.phase = Phase.IDLE
        self.since = self.began = 0.0
        self.address = etr_address(FIRST_SOURCE + number)
        self.ids = xtr_ids(FIRST_SOURCE + number)
        self.stream: socket.socket | None = None
        (self.record,) = host_records(1, COMPROMISED_EIDS + number, self.address)
        self._poll = poll
        self._port = ports[1]
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind((self.address, 0))
        self.udp.connect((MAP_SERVER, ports[0]))
        self.udp.setblocking(False)
        poll.register(self.udp.fileno(), select.EPOLLIN)

    def arm(self) -> None:
        """Begin anew: authenticate over UDP."""
        self.leave()
        self.phase, self.since = Phase.ARMING, time.perf_counter()
        self.began = self.since
        flags = RegisterFlag.RELIABLE_TRANSPORT
        with suppress(OSError):
            self.udp.send(map_registers([self.record], flags=flags, ids=self.ids)[0])

    def heard(self) -> bool:
        """Read what came over UDP; tell whether it was the Map-Notify that was waited for."""
        with suppress(OSError):
            while self.udp.recv(CHUNK):
                if self.phase is Phase.ARMING:
                    return True
        return False

    def connect(self, hello: bytes) -> None:
        """Use what it was armed for, and say the first words."""
        self.phase, self.since = Phase.CONNECTING, time.perf_counter()
        with suppress(OSError):
            self.stream = connecting(self.address, self._port, self._receive_buffer)
            self._poll.register(self.stream.fileno(), _READ)
            if hello:
                # On loopback the connection is made by now.
                self.stream.send(hello)

    def leave(self) -> None:
        """Reset the connection, if there is one."""
        self.phase = Phase.IDLE
        if self.stream is not None:
            self.stream.close()
            self.stream = None

    def close(self) -> None:
        """Close everything."""
        self.leave()
        self.udp.close()


class Attackers:
    """Many of them, and who of them has heard what."""

    def __init__(
        self,
        ports: tuple[int, int],
        number: int,
        hello: bytes = b"",
        receive_buffer: int = 0,
        make: type[Attacker] = Attacker,
    ) -> None:
        """``hello`` is what each says first on its connection."""
        self._hello = hello
        self.poll = select.epoll()
        self.all = [make(self.poll, ports, each, receive_buffer) for each in range(number)]
        self._by_udp = {each.udp.fileno(): each for each in self.all}
        self._by_stream: dict[int, Attacker] = {}

    def look(self) -> Iterator[tuple[Attacker, int]]:
        """Connect those that are armed; yield those whose stream has something, with the events."""
        for number, events in self.poll.poll(0, 2 * len(self.all)):
            attacker = self._by_udp.get(number)
            if attacker is None:
                attacker = self._by_stream[number]
                if attacker.stream is not None and attacker.stream.fileno() == number:
                    yield attacker, events
            elif attacker.heard():
                attacker.connect(self._hello)
                if attacker.stream is not None:
                    self._by_stream[attacker.stream.fileno()] = attacker

    def close(self) -> None:
        """Close everything."""
        for attacker in self.all:
            attacker.close()
        self.poll.close()


class Returns:
    """Compromised ETRs that arm themselves, connect, say ``hello``, leave at the first answer, and
    come again.
    """

    def __init__(
        self,
        ports: tuple[int, int],
        hello: Callable[[], bytes] = bytes,
        number: int = _ETRS,
        make: type[Attacker] = Attacker,
    ) -> None:
        self.handled: int | None = 0
        "connections that the Map-Server has answered"
        self._attackers = Attackers(ports, number, hello(), make=make)
        self._idle = deque(self._attackers.all)
        self._waiting: dict[Attacker, None] = {}
        "who has waited longest is first"

    @property
    def room(self) -> int:
        """How many more may begin where they are to be answered in time."""
        return max(0, _WINDOW - len(self._waiting))

    def offer(self, number: int) -> int:
        """Have so many begin, where so many do not wait for something."""
        self._lose_patience()
        begun = min(number, len(self._idle))
        for _ in range(begun):
            attacker = self._idle.popleft()
            self._waiting[attacker] = None
            attacker.arm()
        return begun

    def _lose_patience(self) -> None:
        now = time.perf_counter()
        while self._waiting:
            attacker = next(iter(self._waiting))
            if now - attacker.began < _IMPATIENCE:
                return
            self._leave(attacker)

    def _leave(self, attacker: Attacker) -> None:
        attacker.leave()
        del self._waiting[attacker]
        self._idle.append(attacker)

    def look(self) -> None:
        """Go on with those that have heard something."""
        assert self.handled is not None
        for attacker, events in self._attackers.look():
            if not self._is_answered(attacker, events):
                continue
            self.handled += bool(events & select.EPOLLIN)
            self._leave(attacker)

    def close(self) -> None:
        """Close everything."""
        self._attackers.close()

    def _is_answered(self, attacker: Attacker, events: int) -> bool:
        """Whether it has got as far as it will."""
        return True
