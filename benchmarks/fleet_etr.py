"""One ETR of :mod:`benchmarks.fleet`: arming over UDP, a session, and what follows its loss."""

from __future__ import annotations

import enum
import select
import socket
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from random import Random
from typing import Protocol

from benchmarks.load import ACK_LENGTH, MAP_SERVER
from benchmarks.messages import CHUNK, host_records, map_registers, registrations, xtr_ids
from benchmarks.roles import etr_address
from lispmsrt.services.backoff import Backoff
from lispmsrt.wire.map_register import NotifyFlag, RegisterFlag
from lispmsrt.wire.messages import ControlType
from lispmsrt.wire.reliable_transport import (
    MessageType,
    RefreshScope,
    RegistrationRefresh,
    encode_registration_refresh,
)

__all__ = ["Link", "Loop"]

_RETRANSMISSION = 1.0
_MAX_RETRANSMISSION = 60.0
_ATTEMPT_TIMEOUT = 5.0
_REFRESH_TIMEOUT = 10.0
_FIRST_OVER_UDP = 5.0
_PERIOD = 60.0
_RECORDS = 20
"""Of a Map-Register that the period brings: as many as fit the datagram of a real ETR."""

_REFRESH = len(encode_registration_refresh(RegistrationRefresh(RefreshScope.EVERYTHING), 0))
"""Octets of a Refresh of everything, with which a session begins."""


class Loop(Protocol):
    """Who has the clock and the sockets."""

    def call_later(self, seconds: float, call: Callable[[], None]) -> None:
        """Call once."""

    def watch(self, number: int, events: int, ready: Callable[[int], None]) -> None:
        """Call whenever there is something."""

    def unwatch(self, number: int) -> None:
        """Call no more."""


class _Phase(enum.Enum):
    WAITING = "before the next Map-Register"
    ARMING = "a Map-Register is on its way"
    CONNECTING = "a connection is being made"
    UP = "connected"


class Link:
    """An ETR and its Map-Server."""

    def __init__(
        self,
        loop: Loop,
        ports: tuple[int, int],
        number: int,
        eids: int,
        random: Random,
        rearm_delay: float,
    ) -> None:
        self.done_at: float | None = None
        "when the last ACK came"
        self.counters: Counter[str] = Counter()
        self._loop = loop
        self._tcp_port = ports[1]
        self._address = etr_address(number)
        self._ids = xtr_ids(number + 1)
        self._records = list(host_records(eids, number * eids, self._address))
        self._stream = b"".join(registrations(self._records, self._ids))
        self._wanted = eids * ACK_LENGTH
        self._random = random
        self._rearm_delay = rearm_delay
        self._backoff = Backoff(random)
        self._phase = _Phase.WAITING
        self._turn = 0
        "counts phases, so that a timer of an earlier one does nothing"
        self._session: socket.socket | None = None
        self._sent = 0
        self._received = 0
        self._udp = _open_udp(self._address, ports[0])
        loop.watch(self._udp.fileno(), select.EPOLLIN, self._on_datagram)

    @property
    def state(self) -> str:
        """How far it is, for people."""
        if self._phase is not _Phase.UP:
            return str(self._phase.value)
        if self._sent < len(self._stream):
            return "writing" if self._sent else "waiting for the Refresh"
        return "waiting for ACKs"

    def start(self, spread: float) -> None:
        """Arm within so many seconds."""
        self._enter(_Phase.WAITING)
        self._later(self._random.uniform(0.0, spread), self._arm)

    def close(self) -> None:
        """Close its sockets."""
        self._enter(_Phase.WAITING)
        self._drop()
        self._loop.unwatch(self._udp.fileno())
        self._udp.close()

    def _enter(self, phase: _Phase) -> None:
        self._phase = phase
        self._turn += 1

    def _later(self, seconds: float, call: Callable[..., None], *arguments: object) -> None:
        """Call in this phase only."""
        turn = self._turn

        def due() -> None:
            if turn == self._turn:
                call(*arguments)

        self._loop.call_later(seconds, due)

    # Over UDP

    def _arm(self, attempt: int = 0) -> None:
        if self._phase is not _Phase.ARMING:
            self._enter(_Phase.ARMING)
        self.counters["Map-Registers repeated"] += attempt > 0
        self._register(self._records[:1], RegisterFlag.RELIABLE_TRANSPORT)
        wait = min(_MAX_RETRANSMISSION, _RETRANSMISSION * 2 ** min(attempt, 10))
        self._later(wait, self._arm, attempt + 1)

    def _register(self, records: list[bytes], flags: int = 0) -> None:
        (message,) = map_registers(records, flags=flags, ids=self._ids, each=len(records))
        with suppress(BlockingIOError, ConnectionRefusedError):
            self._udp.send(message)

    def _on_datagram(self, events: int) -> None:
        with suppress(BlockingIOError, ConnectionRefusedError):
            while True:
                word = int.from_bytes(self._udp.recv(CHUNK)[:4], "big")
                is_notify = word >> 28 == ControlType.MAP_NOTIFY
                is_leave = is_notify and word & NotifyFlag.RELIABLE_TRANSPORT
                if is_leave and self._phase is _Phase.ARMING:
                    self._connect()

    def _over_udp(self) -> None:
        """Register with the period until there is a session."""
        for first in range(0, len(self._records), _RECORDS):
            at = self._random.uniform(0.0, _PERIOD - _FIRST_OVER_UDP)
            self._loop.call_later(at, partial(self._send_periodic, first))

    def _send_periodic(self, first: int) -> None:
        if self._phase is not _Phase.UP:
            self.counters["over UDP meanwhile"] += 1
            self._register(self._records[first : first + _RECORDS])

    # The session

    def _connect(self) -> None:
        self._enter(_Phase.CONNECTING)
        self._later(_ATTEMPT_TIMEOUT, self._failed)
        session = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        session.setblocking(False)
        session.bind((self._address, 0))
        self._session = session
        with suppress(BlockingIOError):
            session.connect((MAP_SERVER, self._tcp_port))
        self._loop.watch(session.fileno(), select.EPOLLOUT, self._on_connected)

    def _on_connected(self, events: int) -> None:
        assert self._session is not None
        if self._session.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._failed()
            return
        self._enter(_Phase.UP)
        self._sent = self._received = 0
        self._later(_REFRESH_TIMEOUT, self._no_refresh)
        self._loop.watch(self._session.fileno(), select.EPOLLIN, self._on_session)

    def _on_session(self, events: int) -> None:
        if events & select.EPOLLOUT:
            self._write()
        if not events & ~select.EPOLLOUT or self._session is None:
            return
        try:
            data = self._session.recv(CHUNK)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if not data:
            self._lost()
            return
        if not self._received and data[:2] == int(MessageType.REGISTRATION_REFRESH).to_bytes(2):
            self._write()
        self._received += len(data)
        if self._received >= self._wanted + _REFRESH and self.done_at is None:
            self.done_at = time.perf_counter()

    def _no_refresh(self) -> None:
        """Register unasked. Where the Map-Server's queue was full it knows of no connection, and
        resets it now.
        """
        if not self._received:
            self.counters["no Refresh in time"] += 1
            self._write()

    def _write(self) -> None:
        session = self._session
        assert session is not None
        with suppress(BlockingIOError, ConnectionError):
            while self._sent < len(self._stream):
                self._sent += session.send(self._stream[self._sent : self._sent + CHUNK])
        events = (
            select.EPOLLIN if self._sent == len(self._stream) else select.EPOLLIN | select.EPOLLOUT
        )
        self._loop.watch(session.fileno(), events, self._on_session)

    def _lost(self) -> None:
        self.counters["sessions lost"] += 1
        has_served = self._received > _REFRESH
        self._drop()
        if not has_served:
            self._wait()
            return
        self._enter(_Phase.WAITING)
        self._later(self._random.uniform(0.0, self._rearm_delay), self._arm)
        self._loop.call_later(_FIRST_OVER_UDP, self._without_session)

    def _without_session(self) -> None:
        if self._phase is not _Phase.UP:
            self._over_udp()

    def _failed(self) -> None:
        self._drop()
        self._wait()

    def _wait(self) -> None:
        """Wait before the next attempt, which begins with a Map-Register."""
        self._enter(_Phase.WAITING)
        self._later(self._backoff.next_delay(), self._arm)

    def _drop(self) -> None:
        if self._session is not None:
            self._loop.unwatch(self._session.fileno())
            self._session.close()
            self._session = None


def _open_udp(address: str, port: int) -> socket.socket:
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind((address, 0))
    udp.connect((MAP_SERVER, port))
    udp.setblocking(False)
    return udp
