"""A session of one ETR of a swarm, over whatever carries a stream."""

from __future__ import annotations

from collections import Counter
from struct import Struct
from typing import Any
from typing import Protocol as TypingProtocol

from twisted.internet.interfaces import IPushProducer, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from lispmsrt.clock import Alarm
from lispmsrt.sockets import TcpOptions, apply_tcp_options
from lispmsrt.swarm.etr import SwarmEtr
from lispmsrt.swarm.load import Load
from lispmsrt.transports.interfaces import ISpeaksFirst
from lispmsrt.wire.errors import WireError
from lispmsrt.wire.framing import END_MARKER, MESSAGE_OVERHEAD
from lispmsrt.wire.reliable_transport import (
    MessageType,
    RegistrationRefresh,
    decode_error_notification,
    decode_registration_refresh,
)

__all__ = ["SessionOwner", "SwarmSession"]

_HEADER = Struct("!HHI")
_MARKER = END_MARKER.to_bytes(4, "big")
_CHUNK = 65_536
"""Octets written at one go: as much as Twisted's transports take before they ask to wait."""

_CHUNKS_A_TURN = 4
"""Then others have their turn: a transport in memory may never ask to wait."""

_REFRESH_TIMEOUT = 10.0
"""Seconds without a Refresh after which an ETR registers unasked."""


class SessionOwner(TypingProtocol):
    """Who started a session."""

    load: Load
    counters: Counter[str]

    def ticks(self) -> int:
        """Return the time."""

    def session_open(self, session: SwarmSession) -> None:
        """The Map-Server has spoken, or will not before we do."""

    def session_ended(self, session: SwarmSession, reason: str) -> None:
        """It is over."""


@implementer(IPushProducer)
class SwarmSession(Protocol):
    """Registers what its ETR has due, and reads the answers."""

    def __init__(
        self, etr: SwarmEtr, owner: SessionOwner, clock: IReactorTime, window: int
    ) -> None:
        """``window`` is how many Registrations may be unanswered."""
        self.etr = etr
        self.is_open = False
        "whether the Map-Server has asked for Registrations, or was registered with unasked"
        self._owner = owner
        self._clock = clock
        self._window = window
        self._tail: list[bytes] = []
        self._missing = 0
        self._is_paused = False
        self._is_over = False
        self._awaits_first_refresh = False
        self._soon = Alarm(clock, self.flush)
        self._impatience = Alarm(clock, self._register_unasked)
        self._stream: Any = None
        "the transport: whatever connects streams in Twisted's way"

    # Protocol

    def connectionMade(self) -> None:
        self._stream = self.transport
        apply_tcp_options(self._stream, TcpOptions())
        self._stream.registerProducer(self, True)
        self.etr.session_began()
        if ISpeaksFirst.providedBy(self._stream):
            self._awaits_first_refresh = True
            self._open()
            self.etr.offer_everything()
            self.flush()
        else:
            self._impatience.set(self._clock.seconds() + _REFRESH_TIMEOUT)

    def dataReceived(self, data: bytes) -> None:
        if self._tail:
            self._tail.append(data)
            self._missing -= len(data)
            if self._missing > 0:
                return
            data = b"".join(self._tail)
            self._tail = []
        self._read(data)
        if not self._is_over:
            self.flush()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._is_over = True
        self._soon.set(None)
        self._impatience.set(None)
        self._owner.session_ended(self, reason.getErrorMessage())

    # IPushProducer

    def pauseProducing(self) -> None:
        self._is_paused = True

    def resumeProducing(self) -> None:
        self._is_paused = False
        self.flush()

    def stopProducing(self) -> None:
        self._is_paused = True

    # Ours

    def flush(self) -> None:
        """Write what is due, as far as the transport takes it."""
        etr = self.etr
        for _chunk in range(_CHUNKS_A_TURN):
            if self._is_paused or self._is_over or not self.is_open or not etr.due:
                return
            if etr.unanswered >= self._window:
                return
            data = etr.write(self._owner.ticks(), _CHUNK, self._window - etr.unanswered)
            if data:
                self._stream.write(data)
        self._soon.set(self._clock.seconds())

    def close(self) -> None:
        """Close the connection."""
        if not self._is_over:
            self._stream.unregisterProducer()
            self._stream.loseConnection()

    def abort(self) -> None:
        """Reset the connection."""
        if not self._is_over:
            self._stream.abortConnection()

    # Inside

    def _read(self, data: bytes) -> None:
        owner, etr = self._owner, self.etr
        at, now = 0, owner.ticks()
        while at < len(data):
            at, acks, rejections, strays = owner.load.read_answers(data, at, etr.number, now)
            # What is answered twice, or unasked, must not make room for ever.
            etr.unanswered = max(0, etr.unanswered - acks - rejections)
            if acks:
                owner.counters["ACKs"] += acks
            if rejections:
                owner.counters["Rejections"] += rejections
            if strays:
                owner.counters["answers about EIDs of others"] += strays
            if at < len(data):
                after = self._read_other(data, at)
                if not after:
                    return
                at = after

    def _read_other(self, data: bytes, at: int) -> int:
        """Take the message that begins here; return its end, 0 where it is not whole or none."""
        size = len(data) - at
        if size < _HEADER.size:
            return self._keep(data, at, _HEADER.size - size)
        kind, length, _message_id = _HEADER.unpack_from(data, at)
        if length < MESSAGE_OVERHEAD:
            return self._misunderstood()
        end: int = at + length
        if length > size:
            return self._keep(data, at, length - size)
        if data[end - 4 : end] != _MARKER:
            return self._misunderstood()
        try:
            self._take(kind, data[at + 8 : end - 4])
        except WireError:
            self._owner.counters["malformed messages on sessions"] += 1
        return end

    def _keep(self, data: bytes, at: int, missing: int) -> int:
        self._tail, self._missing = [data[at:]], missing
        return 0

    def _misunderstood(self) -> int:
        self._owner.counters["framing errors on sessions"] += 1
        self._is_paused = True
        self._stream.abortConnection()
        return 0

    def _take(self, kind: int, body: bytes) -> None:
        counters = self._owner.counters
        if kind == MessageType.REGISTRATION_REFRESH:
            counters["Refreshes"] += 1
            self._refresh(decode_registration_refresh(body))
        elif kind == MessageType.MAPPING_NOTIFICATION:
            counters["Mapping Notifications"] += 1
        elif kind == MessageType.ERROR_NOTIFICATION:
            error = decode_error_notification(body)
            counters[f"Error Notifications, code {error.code}"] += 1
        else:
            counters["messages of other types on sessions"] += 1

    def _refresh(self, refresh: RegistrationRefresh) -> None:
        if self._awaits_first_refresh:
            # Everything has been on its way since the start.
            self._awaits_first_refresh = False
            return
        self._open()
        self.etr.refresh(refresh)

    def _register_unasked(self) -> None:
        self._owner.counters["sessions without a Refresh in time"] += 1
        self._open()
        self.etr.offer_everything()
        self.flush()

    def _open(self) -> None:
        self._impatience.set(None)
        if not self.is_open:
            self.is_open = True
            self._owner.session_open(self)
