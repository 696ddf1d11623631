"""Who gets past a listening socket, and how many in one turn of the reactor.

Twisted takes hundreds of connections in a turn, more with every turn in which there were that
many, and makes a transport and a protocol for each before anybody is asked. Here those who are not
admitted are reset first, and few are taken in a turn: what an idle server lacks in that it makes
up for in turns, and a busy one has its sessions to serve. Where no file descriptor is left all are
reset.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from twisted.logger import Logger

from lispmsrt.transports.interfaces import IAdmission, admission_of, turn_of
from lispmsrt.transports.spare import OUT_OF_DESCRIPTORS, spare
from lispmsrt.transports.turns import Turn

__all__ = ["ACCEPT_COST", "TURN_BUDGET", "Doorway", "doorway", "guard", "reset"]

TURN_BUDGET = 16
"""Connections that are refused in one turn: 0.3 ms."""

ACCEPT_COST = 8
"""What one that is let in counts for: it costs more than to refuse eight. While sessions are busy
turns are long, and few are let in; where nobody has work, they are short, and many.
"""

_LINGER = struct.Struct("ii")

_PAUSE = 1.0
"""Seconds for which nobody is looked for, where not even a reset is possible."""

_LOG_INTERVAL = 60.0
"""Seconds between two lines that no file descriptor is left."""


class Doorway(socket.socket):
    """A listening socket that resets whom it does not admit."""

    _log = Logger()

    admits: Callable[[str], bool]
    host_of: Callable[[Any], str]
    on_refused: Callable[[], None]
    counters: Counter[str]
    turn: Turn | None
    "when there is time for those who knock; None for always"
    _left = TURN_BUDGET
    _port: Any = None
    _said_at = float("-inf")

    def take_turn(self, port: Any, read: Callable[[], None]) -> None:
        """The reactor has come round to the port again: have it read, if there is time."""
        turn = self.turn
        if turn is None:
            self._begin(port)
            read()
        elif turn.begin():
            self._begin(port)
            try:
                read()
            finally:
                turn.end()

    def _begin(self, port: Any) -> None:
        self._left = TURN_BUDGET
        self._port = port
        # Which Twisted raises by 20 after every turn that was full, and lowers after the others.
        port.numberAccepts = TURN_BUDGET

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept one that is admitted; raise BlockingIOError when there is none, or this turn has
        seen enough: the socket stays readable then.
        """
        while self._left > 0 and not self._is_over():
            try:
                handle, address = super().accept()
            except OSError as failure:
                if failure.errno not in OUT_OF_DESCRIPTORS:
                    raise
                self._left -= 1
                self._turn_away(failure)
                continue
            if self.admits(self.host_of(address)):
                self._left -= ACCEPT_COST
                return handle, address
            self._left -= 1
            self.on_refused()
            reset(handle)
        raise BlockingIOError(errno.EAGAIN, "enough for this turn")

    def _is_over(self) -> bool:
        return self.turn is not None and self.turn.is_over()

    def _turn_away(self, why: OSError) -> None:
        """Reset the first who waits: that is told sooner than silence, and nothing goes round and
        round for it. Whoever it is, there is nothing left for.
        """
        self._say(why)
        with spare.lent():
            try:
                handle, _address = super().accept()
            except BlockingIOError:
                raise  # nobody waits any more
            except OSError:
                self._pause()
                raise BlockingIOError(errno.EAGAIN, "not even for a reset") from None
            reset(handle)
        self.counters["connections reset: no file descriptor left"] += 1

    def _pause(self) -> None:
        """Who waits keeps the socket readable: look again later, not at once."""
        port = self._port
        if port is not None:
            port.stopReading()
            port.reactor.callLater(_PAUSE, lambda: port.connected and port.startReading())

    def _say(self, why: OSError) -> None:
        now = self._port.reactor.seconds() if self._port is not None else 0.0
        if now - self._said_at >= _LOG_INTERVAL:
            self._said_at = now
            self._log.error(
                "no file descriptor is left for connections ({reason}): they are reset until some"
                " end; what is up stays so",
                reason=why.strerror,
            )


def guard(port: Any, factory: object) -> None:
    """Put a doorway before a factory that takes connections from some addresses only; leave ports
    alone that have no listening socket of streams, or a doorway already.
    """
    handle = getattr(port, "socket", None)
    if not isinstance(handle, socket.socket) or isinstance(handle, Doorway):
        return
    if handle.type != socket.SOCK_STREAM or handle.family not in (socket.AF_INET, socket.AF_INET6):
        return
    # What is between the two, if anything (TLS), knows more reasons to refuse.
    gate = getattr(port, "factory", factory)
    asked = gate if IAdmission.providedBy(gate) else factory
    door = port.socket = doorway(handle, admission_of(asked), turn=turn_of(asked))
    # The reactor knows it by its number, and that stays.
    port.fileno = door.fileno
    read = port.doRead
    port.doRead = lambda: door.take_turn(port, read)


def doorway(
    handle: socket.socket,
    admits: Callable[[str], bool],
    host_of: Callable[[Any], str] = lambda address: address[0],
    on_refused: Callable[[], None] = lambda: None,
    turn: Turn | None = None,
) -> Doorway:
    """Return a doorway in place of a socket, which is closed without closing what it stood for.

    ``host_of`` finds the host in an address as the socket has it. ``turn`` is when there is time
    for those who knock; without one that is always.
    """
    door = Doorway(handle.family, handle.type, handle.proto, fileno=handle.detach())
    door.setblocking(False)
    door.admits = admits
    door.host_of = host_of
    door.on_refused = on_refused
    door.turn = turn
    door.counters = Counter()
    spare.hold()
    return door


def reset(handle: socket.socket) -> None:
    """Close at once: the peer gets a reset, and what it sent is dropped unread. Nothing lingers."""
    with suppress(OSError):
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER.pack(1, 0))
    handle.close()
