"""Sessions of compromised ETRs, and what they do with them: trickle, write and never read,
register with wrong MACs, take EID-prefixes from each other. Those that the Map-Server ends arm
themselves and come again.
"""

from __future__ import annotations

import enum
import select
import socket
import time
from contextlib import suppress
from itertools import cycle

from benchmarks.floods.attackers import Attacker, Attackers, Phase
from benchmarks.floods.datagrams import COMPROMISED_EIDS, spoiled
from benchmarks.load import LoadError
from benchmarks.messages import CHUNK, host_records, map_registers, registrations
from lispmsrt.wire.framing import FrameBuffer, encode_frame
from lispmsrt.wire.reliable_transport import MessageType

__all__ = ["Intruders", "Manner"]

_SESSIONS = 100
_EIDS = 500
"""Registrations of the stream that a session repeats."""

_AT_ONCE = 16
"""Registrations written to one session before the next one has its turn."""

_SMALL_BUFFER = 4096
"""Octets for answers that nobody reads: with more it would just be an ETR for longer."""

_COMES_BACK = 1.0
_PATIENCE = 20.0
_LEAST = 0.9
"""Share of the sessions that must be up before the flood begins."""


class Manner(enum.Enum):
    """What an intruder does."""

    TRICKLES = "writes single octets"
    NEVER_READS = "writes what it can, and reads nothing"
    FORGES = "registers with wrong MACs"
    TAKES_OVER = "registers what the others have registered"


class _Intruder:
    """A session, and the endless stream that it writes."""

    def __init__(self, attacker: Attacker, number: int, manner: Manner) -> None:
        self.attacker = attacker
        self.answers = 0
        "read, but for the first"
        self._reads = manner is not Manner.NEVER_READS
        self._first = b"".join(registrations([attacker.record], attacker.ids))
        first = COMPROMISED_EIDS + (0 if manner is Manner.TAKES_OVER else (number + 1) * _EIDS)
        records = host_records(_EIDS, first, attacker.address)
        messages = map_registers(records, ids=attacker.ids)
        if manner is Manner.FORGES:
            messages = [spoiled(message) for message in messages]
        frames = [encode_frame(MessageType.REGISTRATION, n, m) for n, m in enumerate(messages)]
        self.octets_each = len(frames[0])
        self._stream = memoryview(b"".join(frames))
        self._at = 0
        self._frames = FrameBuffer()

    def begin(self) -> None:
        """Become established with a valid Registration."""
        assert self.attacker.stream is not None
        self.attacker.phase = Phase.UP
        self._at, self._frames = 0, FrameBuffer()
        with suppress(OSError):
            self.attacker.stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.attacker.stream.send(self._first)

    def write(self, octets: int) -> int:
        """Write on; return how many octets the kernel has taken."""
        stream = self.attacker.stream
        if self.attacker.phase is not Phase.UP or stream is None:
            return 0
        with suppress(OSError):
            sent = stream.send(self._stream[self._at : self._at + octets])
            self._at = (self._at + sent) % len(self._stream)
            return sent
        return 0

    def read(self) -> bool:
        """Read answers; tell whether the session is still there."""
        stream = self.attacker.stream
        if not self._reads or stream is None:
            return True
        try:
            data = stream.recv(4 * CHUNK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        self.answers += len(self._frames.receive(data)[1])
        return bool(data)


class Intruders:
    """All of them. A unit is an octet of those that trickle, a Registration of the others."""

    room = _EIDS

    def __init__(self, ports: tuple[int, int], manner: Manner, number: int = _SESSIONS) -> None:
        """Open the sessions; LoadError where the Map-Server does not let them in."""
        self.ended = 0
        "sessions that the Map-Server has ended"
        self._manner = manner
        reads = manner is not Manner.NEVER_READS
        self._attackers = Attackers(ports, number, receive_buffer=0 if reads else _SMALL_BUFFER)
        everybody = self._attackers.all
        self._intruders = {one: _Intruder(one, n, manner) for n, one in enumerate(everybody)}
        self._turns = cycle(self._intruders.values())
        self._at_once = 1 if manner is Manner.TRICKLES else self._octets_each * _AT_ONCE
        self._written = 0
        end = time.perf_counter() + _PATIENCE
        while self._up < number * _LEAST:
            self.look()
            time.sleep(0.001)
            if time.perf_counter() > end:
                raise LoadError(f"only {self._up} of {number} intruders have a session")

    @property
    def handled(self) -> int | None:
        """Answers read; where none are read, or there is none for each, what TCP has taken."""
        if self._manner in (Manner.FORGES, Manner.TAKES_OVER):
            return sum(each.answers for each in self._intruders.values())
        return self._units(self._written)

    def offer(self, number: int) -> int:
        """Write so many units, as far as TCP takes them."""
        octets = number if self._manner is Manner.TRICKLES else number * self._octets_each
        written, in_vain = 0, 0
        while written < octets and in_vain < len(self._intruders):
            sent = next(self._turns).write(self._at_once)
            written += sent
            in_vain = 0 if sent else in_vain + 1
        self._written += written
        return self._units(written)

    def look(self) -> None:
        """Read, and have those come back that have no session."""
        for attacker, events in self._attackers.look():
            intruder = self._intruders[attacker]
            if attacker.phase is Phase.CONNECTING and events & select.EPOLLIN:
                intruder.begin()
            if not intruder.read() or events & (select.EPOLLHUP | select.EPOLLERR):
                self.ended += attacker.phase is Phase.UP
                attacker.leave()
        now = time.perf_counter()
        for attacker in self._attackers.all:
            if attacker.phase is not Phase.UP and now - attacker.since > _COMES_BACK:
                attacker.arm()

    def close(self) -> None:
        """Close everything."""
        self._attackers.close()

    @property
    def _up(self) -> int:
        return sum(each.phase is Phase.UP for each in self._attackers.all)

    @property
    def _octets_each(self) -> int:
        return next(iter(self._intruders.values())).octets_each

    def _units(self, octets: int) -> int:
        return octets if self._manner is Manner.TRICKLES else octets // self._octets_each
