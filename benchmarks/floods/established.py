"""The sessions that were there before the flood: they register as fast as they are answered, and
somebody looks up what they have registered.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import NamedTuple

from benchmarks.fleet_questions import Answers, Lookups
from benchmarks.load import ACK_LENGTH, MAP_SERVER, arm
from benchmarks.messages import CHUNK, host_records, registrations, xtr_ids
from benchmarks.roles import etr_address
from lispmsrt.session.limits import SessionLimits
from lispmsrt.wire.framing import END_MARKER
from lispmsrt.wire.reliable_transport import MessageType

__all__ = ["Established", "Registered", "Registering"]

_WINDOW = SessionLimits().window
"""Registrations of one session that are not answered yet: as many as a real ETR's."""

_EIDS = 1000
"""Of each session, registered again and again."""

_ACK = b"".join(
    number.to_bytes(octets, "big")
    for number, octets in ((END_MARKER, 4), (MessageType.REGISTRATION_ACK, 2), (ACK_LENGTH, 2))
)
"""How an ACK begins, behind the end of the message before it: a Refresh is the first. To count
these takes a fraction of what it takes to cut messages, and the load must outrun the Map-Server.
"""

_PATIENCE = 10.0
_LOOK = 0.02
_READ = select.EPOLLIN
_BOTH = select.EPOLLIN | select.EPOLLOUT


class Registered(NamedTuple):
    """What was acknowledged in some time."""

    acks: int
    seconds: float
    lookups: Answers


class Registering:
    """One session, and the endless stream that it writes."""

    def __init__(self, session: socket.socket, number: int) -> None:
        records = host_records(_EIDS, number * _EIDS, etr_address(number))
        self._stream = memoryview(b"".join(registrations(records, xtr_ids(number + 1))))
        self._each = len(self._stream) // _EIDS
        self._session = session
        self._tail = b""
        "of what was read: an ACK may begin there"
        self._at = 0
        self._written = 0
        self.acks = 0

    @property
    def wants_to_write(self) -> bool:
        """Whether the window is open."""
        return self._written < (self.acks + _WINDOW) * self._each

    @property
    def is_amid_message(self) -> bool:
        """Whether the last message was written in part."""
        return self._at % self._each != 0

    def write(self, *, finishes: bool = False) -> None:
        """Write on; ``finishes`` is no further than to the end of the message."""
        last = min(self._at + CHUNK, len(self._stream))
        if finishes:
            last = self._at + -self._at % self._each
        with suppress(BlockingIOError):
            sent = self._session.send(self._stream[self._at : last])
            self._written += sent
            self._at = (self._at + sent) % len(self._stream)

    def read(self) -> bool:
        """Count answers; tell whether the session is still there."""
        try:
            data = self._session.recv(4 * CHUNK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        read = self._tail + data
        self.acks += read.count(_ACK)
        self._tail = read[1 - len(_ACK) :]
        return bool(data)


class Established:
    """All of them, and their clock: a loop for :class:`Lookups`, too."""

    def __init__(self, ports: tuple[int, ...], count: int) -> None:
        self.lost = 0
        "sessions that the Map-Server, or the kernel, has ended"
        self._acks_of_lost = 0
        self._poll = select.epoll()
        self._on_ready: dict[int, Callable[[int], None]] = {}
        self._timers: list[tuple[float, Callable[[], None]]] = []
        self._sessions: dict[int, Registering] = {}
        self._opened: list[socket.socket] = []
        for number in range(count):
            self._open(ports, number)
        self._lookups = Lookups(self, ports[0], count * _EIDS, Random(7))

    def _open(self, ports: tuple[int, ...], number: int) -> None:
        (record,) = host_records(1, number * _EIDS, etr_address(number))
        address = etr_address(number)
        arm(ports[0], address, xtr_ids(number + 1), record)
        session = socket.create_connection(
            (MAP_SERVER, ports[1]), source_address=(address, 0), timeout=_PATIENCE
        )
        session.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        session.setblocking(False)
        self._opened.append(session)
        self._sessions[session.fileno()] = Registering(session, number)
        self._poll.register(session.fileno(), _BOTH)

    def __enter__(self) -> Established:
        self._lookups.start()
        return self

    def __exit__(self, *reason: object) -> None:
        self._lookups.close()
        for session in self._opened:
            session.close()
        self._poll.close()

    def run(self, seconds: float, is_enough: Callable[[], bool] = bool) -> Registered:
        """Go on for so long, or until it is enough; return what came of it."""
        began = look = time.perf_counter()
        before = self._acks
        while (now := time.perf_counter()) < began + seconds:
            if now >= look:
                if is_enough():
                    break
                look = now + _LOOK
            for timer in [timer for timer in self._timers if timer[0] <= now]:
                self._timers.remove(timer)
                timer[1]()
            wait = min((at for at, _call in self._timers), default=now + _LOOK) - now
            for number, events in self._poll.poll(max(0.0, min(wait, _LOOK)), 256):
                self._serve(number, events)
        ended = time.perf_counter()
        return Registered(self._acks - before, ended - began, self._lookups.between(began, ended))

    def finish(self) -> None:
        """Leave no message half written: who pauses there is not heard of again."""
        end = time.perf_counter() + _PATIENCE
        while time.perf_counter() < end:
            amid = [each for each in self._sessions.values() if each.is_amid_message]
            if not amid:
                break
            for each in amid:
                each.write(finishes=True)
                each.read()
            time.sleep(_LOOK / 10)
        for number in self._sessions:
            self._poll.modify(number, _BOTH)

    def _serve(self, number: int, events: int) -> None:
        session = self._sessions.get(number)
        if session is None:
            self._on_ready[number](events)
            return
        if events & ~select.EPOLLOUT and not session.read():
            self._poll.unregister(number)
            self.lost += 1
            self._acks_of_lost += self._sessions.pop(number).acks
            return
        if events & select.EPOLLOUT:
            session.write()
        self._poll.modify(number, _BOTH if session.wants_to_write else _READ)

    @property
    def _acks(self) -> int:
        return self._acks_of_lost + sum(each.acks for each in self._sessions.values())

    # The loop of Lookups

    def call_later(self, seconds: float, call: Callable[[], None]) -> None:
        """Call once."""
        self._timers.append((time.perf_counter() + seconds, call))

    def watch(self, number: int, events: int, ready: Callable[[int], None]) -> None:
        """Call whenever there is something."""
        self._poll.register(number, events)
        self._on_ready[number] = ready

    def unwatch(self, number: int) -> None:
        """Call no more."""
        self._poll.unregister(number)
        del self._on_ready[number]
