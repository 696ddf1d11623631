"""The one SCTP stack of this process: packets in and out, its timers, its listening sockets.

C is entered here only, and calls back to one function, which collects packets. What C has to say
is asked for after it has returned: nothing here calls an application.
"""

from __future__ import annotations

import ctypes
import os
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from lispmsrt.clock import Alarm
from lispmsrt.transports.sctp.usrsctp import library
from lispmsrt.transports.sctp.usrsctp.sockets import Socket

__all__ = ["OUT_OF_THE_BLUE", "Path", "Stack", "Watched", "the_stack"]

_TICK = 0.1
"""Seconds between runs of the stack's timers while there are associations. The shortest of them is
the delayed SACK, 0.2 s, then the retransmission, 0.5 s: they may be late by this much.
"""

_TICKS_PER_LOOK = 10
"""An association that a timer has ended is noticed within a second."""

OUT_OF_THE_BLUE = 1
"""The address of whoever sent a packet that belongs to no association."""

_BACKLOG = 16
"""Accepted at once, each after the packet that made it: never more than one is waiting."""


class Path(Protocol):
    """Where packets for an address of the stack's go."""

    def send_packet(self, packet: bytes) -> None:
        """Send a packet, or lose it."""


class Watched(Path, Protocol):
    """What has a socket in the stack, and wants to know what became of it."""

    def look(self) -> None:
        """Ask the socket, and the clock, whether all is well."""

    def fail(self) -> None:
        """Something of ours went wrong on the way to it: end it."""


class Stack:
    """One for each process, because C has but one. Not for several threads."""

    _log = Logger()

    def __init__(self, functions: ctypes.CDLL) -> None:
        self.counters: Counter[str] = Counter()
        self.functions = functions
        self._process = os.getpid()
        self._associations: dict[int, Watched] = {}
        self._clocks: dict[int, IReactorTime] = {}
        self._users: dict[IReactorTime, int] = {}
        "clock to how many associations live by it, oldest first"
        self._outbox: list[tuple[int, bytes]] = []
        self._answers: tuple[int, Path] | None = None
        self._failed: set[int] = set()
        self._free_handles: deque[int] = deque()
        self._latest_handle = OUT_OF_THE_BLUE
        self._depth = 0
        self._listening: dict[int, tuple[Socket, int]] = {}
        "SCTP port to its socket and how many UDP ports it serves"
        self._clock: IReactorTime | None = None
        "which the timers go by: that of the oldest association"
        self._alarm: Alarm | None = None
        self._ticked_at = 0.0
        self._ticks = 0
        # C keeps the pointer as long as the process lives.
        self._output = library.OUTPUT(self._collect)
        library.initialise(functions, self._output)

    def __len__(self) -> int:
        return len(self._associations)

    # Into C

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Enter C; send what it gave out once it has been left."""
        self._depth += 1
        try:
            if self._depth == 1:
                self._pass_time()
            yield
        finally:
            self._depth -= 1
            if not self._depth:
                self._send()

    def receive(self, packet: bytes, handle: int, path: Path) -> None:
        """Give a packet from a peer to the stack; answers to it go ``path``'s way."""
        assert os.getpid() == self._process, "SCTP in user space does not live through fork()"
        self._answers = (handle, path)
        try:
            with self.inside():
                self.functions.usrsctp_conninput(handle, packet, len(packet), 0)
        finally:
            self._answers = None

    def checksum(self, packet: bytes) -> bytes:
        """Return the CRC32C of a packet as it belongs into the packet."""
        value: int = self.functions.usrsctp_crc32c(packet, len(packet))
        return value.to_bytes(4, "little")

    # Out of C

    def _collect(self, handle: int | None, data: int, size: int, _tos: int, _df: int) -> int:
        """Take a packet from C, which must not see an exception."""
        try:
            self._outbox.append((handle or 0, ctypes.string_at(data, size)))
        except Exception:
            self._log.failure("while taking a packet from libusrsctp")
            self._failed.add(handle or 0)
        return 0

    def _send(self) -> None:
        while self._outbox:
            outbox, self._outbox = self._outbox, []
            for handle, packet in outbox:
                self._send_one(handle, packet)
        while self._failed:
            association = self._associations.get(self._failed.pop())
            if association is not None:
                association.fail()

    def _send_one(self, handle: int, packet: bytes) -> None:
        if handle in self._associations:
            self._associations[handle].send_packet(packet)
        elif self._answers is not None and self._answers[0] == handle:
            self._answers[1].send_packet(packet)
        else:
            self.counters["packets to nobody"] += 1

    # Associations

    def take_handle(self) -> int:
        """Return an address for a peer that nobody else has.

        It is registered with the stack once and for all, and given to others later: without its
        threads the stack never frees what deregistering leaves behind.
        """
        if self._free_handles:
            return self._free_handles.popleft()
        self._latest_handle += 1
        self.functions.usrsctp_register_address(self._latest_handle)
        return self._latest_handle

    def give_back_handle(self, handle: int) -> None:
        """The stack has no association with this peer any more."""
        assert handle not in self._associations
        self._free_handles.append(handle)

    @property
    def handles(self) -> int:
        """How many there are, in use or not: as many as were ever in use at the same time."""
        return self._latest_handle - OUT_OF_THE_BLUE

    @property
    def handles_in_use(self) -> int:
        """How many peers have one."""
        return self.handles - len(self._free_handles)

    def add(self, handle: int, association: Watched, clock: IReactorTime) -> None:
        """Send what C has for ``handle`` to this association, and run the timers for it."""
        assert handle not in self._associations
        self._associations[handle] = association
        self._clocks[handle] = clock
        self._users[clock] = self._users.get(clock, 0) + 1
        self._keep_time()

    def remove(self, handle: int) -> None:
        """C has forgotten the handle, or will send nothing more to it."""
        if self._associations.pop(handle, None) is None:
            return
        clock = self._clocks.pop(handle)
        self._users[clock] -= 1
        if not self._users[clock]:
            del self._users[clock]
        self._keep_time()

    # Time

    def _keep_time(self) -> None:
        """Run the timers by one clock, and by none while nobody needs them.

        Several reactors in one process happen in tests: whose associations are gone must not keep
        the others' time.
        """
        if self._clock in self._users:
            return
        if self._alarm is not None:
            self._alarm.set(None)
        self._clock = next(iter(self._users), None)
        if self._clock is not None:
            self._ticked_at = self._clock.seconds()
            self._alarm = Alarm(self._clock, self._tick)
            self._alarm.set(self._ticked_at + _TICK)

    def _pass_time(self) -> None:
        """Tell C how late it is, before it starts a timer.

        A timer that started from an old time would ring early, and then the stack finds that what
        it is for has not been outstanding for long enough, and waits for twice as long.
        """
        if self._clock is None:
            return
        milliseconds = int((self._clock.seconds() - self._ticked_at) * 1000)
        if milliseconds > 0:
            self._ticked_at += milliseconds / 1000
            self.functions.usrsctp_handle_timers(milliseconds)

    def _tick(self) -> None:
        assert self._clock is not None and self._alarm is not None
        self._alarm.set(self._clock.seconds() + _TICK)
        with self.inside():
            pass  # on entry
        self._ticks += 1
        if self._ticks % _TICKS_PER_LOOK == 0:
            for association in list(self._associations.values()):
                association.look()

    # Listening

    def listen(self, port: int) -> Socket:
        """Return the socket that takes associations to an SCTP port, one for all UDP ports."""
        listening, users = self._listening.get(port) or (self._new_listening(port), 0)
        self._listening[port] = (listening, users + 1)
        return listening

    def is_listening(self, port: int) -> bool:
        """Whether somebody takes associations to an SCTP port."""
        return port in self._listening

    def _new_listening(self, port: int) -> Socket:
        listening = Socket.open(self)
        try:
            listening.listen(port, _BACKLOG)
        except OSError:
            listening.close()
            raise
        return listening

    def stop_listening(self, port: int) -> None:
        """One UDP port less uses this SCTP port."""
        listening, users = self._listening.pop(port)
        if users > 1:
            self._listening[port] = (listening, users - 1)
        else:
            listening.close()


_stack: Stack | None = None


def the_stack() -> Stack:
    """Return the stack of this process; TransportUnavailable without the library."""
    global _stack
    if _stack is None:
        _stack = Stack(library.load())
    return _stack
