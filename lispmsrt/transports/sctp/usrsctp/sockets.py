"""A socket of the user-space stack: one-to-one style, never blocking, all errors as OSError."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
from enum import Enum, IntEnum
from typing import TYPE_CHECKING

from lispmsrt.transports.sctp.usrsctp.library import (
    ADDRESS_SIZE,
    AF_CONN,
    AssociationChange,
    AssociationParameters,
    ConnAddress,
    EventSubscription,
    InitMessage,
    Linger,
    PathParameters,
    ReceiveInfo,
    RetransmissionTimes,
    SendInfo,
    Status,
)

if TYPE_CHECKING:
    from lispmsrt.transports.sctp.usrsctp.stack import Stack

__all__ = ["MAX_MESSAGE", "Change", "Nothing", "Socket"]

MAX_MESSAGE = 16384
"""Octets sent in one message, as over a kernel's SCTP."""

_SCTP = 132
_SNDINFO = 1
_MSG_NOTIFICATION = 0x2000
_UNORDERED = 0x0400
_EVENT_ERROR = 4


class _Option(IntEnum):
    RTOINFO = 1
    ASSOCINFO = 2
    INITMSG = 3
    NODELAY = 4
    PEER_ADDR_PARAMS = 10
    EVENT = 30
    RECVRCVINFO = 31
    STATUS = 256


_ASSOC_CHANGE, _SHUTDOWN_EVENT = 1, 5

_HB_DISABLE, _HB_DEMAND, _PMTUD_DISABLE = 2, 4, 16

_MTU = 1200
"""Octets of chunks in a packet. With headers of SCTP, UDP and IPv6 that is 1260: no link that IPv6
may use fragments it (RFC 8200 §5), tunnels of 1280 and LISP's own headers on Ethernet included.
"""

_RETRANSMISSION = RetransmissionTimes(initial=1000, max=2000, min=500)
"""Milliseconds. Not RFC 9260's 1 s to 60 s: a peer that is silent for a while is given up, and
until then there should be many attempts. Above the 0.2 s by which a peer may delay a SACK.
"""

_MAX_RETRANSMISSIONS = 65535
"""In a row: no limit. A peer's silence is measured by the clock; and the stack counts what it sends
into a closed window, whose owner need only be slow.
"""

_INIT = InitMessage(outbound_streams=1, inbound_streams=2, attempts=20, max_timeout=2000)
"""One stream is sent on. Two may be received, so that who uses another than the first is seen."""

_NONE = ctypes.c_uint32(0)
_BUFFER = ctypes.create_string_buffer(1 << 16)
"""One for all: what is read is copied at once."""


class Change(IntEnum):
    """sac_state: what became of an association."""

    UP = 1
    LOST = 2
    RESTART = 3
    SHUTDOWN_COMPLETE = 4
    CANNOT_START = 5


class Nothing(Enum):
    """Why there was nothing to read."""

    YET = "nothing has come"
    SHUTDOWN = "the peer has said all it had to say"
    MORE = "there will never be any more"
    FOREIGN = "a message that is not part of the stream"


class Socket:
    """Owns one socket in C until it is closed."""

    def __init__(self, stack: Stack, pointer: int) -> None:
        self._stack = stack
        self._functions = stack.functions
        self._pointer: int | None = pointer
        self._functions.usrsctp_set_non_blocking(pointer, 1)

    @classmethod
    def open(cls, stack: Stack) -> Socket:
        """Make a new socket."""
        pointer = stack.functions.usrsctp_socket(
            AF_CONN, socket.SOCK_STREAM, _SCTP, None, None, 0, None
        )
        if not pointer:
            raise _os_error("socket")
        opened = cls(stack, pointer)
        opened._set_up()
        return opened

    def _set_up(self) -> None:
        """Set what concerns the association to come, or all to be accepted."""
        self._set(_Option.NODELAY, ctypes.c_int(1))
        self._set(_Option.RECVRCVINFO, ctypes.c_int(1))
        self._set(_Option.INITMSG, _INIT)
        self._set(_Option.RTOINFO, _RETRANSMISSION)
        parameters = AssociationParameters(max_retransmissions=_MAX_RETRANSMISSIONS)
        self._set(_Option.ASSOCINFO, parameters)
        for event in (_ASSOC_CHANGE, _SHUTDOWN_EVENT):
            self._set(_Option.EVENT, EventSubscription(type=event, on=1))
        self._set(
            _Option.PEER_ADDR_PARAMS,
            PathParameters(
                address=ConnAddress(AF_CONN, 0, None),
                mtu=_MTU,
                flags=_HB_DISABLE | _PMTUD_DISABLE,
                max_retransmissions=_MAX_RETRANSMISSIONS,
            ),
        )

    def _set(self, option: int, value: ctypes.Structure | ctypes.c_int, level: int = _SCTP) -> None:
        with self._stack.inside():
            failed = self._functions.usrsctp_setsockopt(
                self._pointer, level, int(option), ctypes.byref(value), ctypes.sizeof(value)
            )
        if failed:
            raise _os_error(f"option {option}")

    def listen(self, port: int, backlog: int) -> None:
        """Take associations to a port from any address."""
        address = ConnAddress(AF_CONN, socket.htons(port), None)
        if self._functions.usrsctp_bind(self._pointer, ctypes.byref(address), ADDRESS_SIZE):
            raise _os_error("bind")
        if self._functions.usrsctp_listen(self._pointer, backlog):
            raise _os_error("listen")

    def accept(self) -> Socket | None:
        """Return the next association that has come up; None: there is none."""
        pointer = self._functions.usrsctp_accept(self._pointer, None, None)
        if not pointer:
            return None
        accepted = Socket(self._stack, pointer)
        try:
            accepted._set_up()
        except OSError:  # it is over already: ABORT came in the same packet
            accepted.close()
            return None
        return accepted

    def connect(self, handle: int, port: int) -> None:
        """Begin to set up an association."""
        address = ConnAddress(AF_CONN, socket.htons(port), handle)
        with self._stack.inside():
            failed = self._functions.usrsctp_connect(
                self._pointer, ctypes.byref(address), ADDRESS_SIZE
            )
            number = ctypes.get_errno()
        if failed and number != errno.EINPROGRESS:
            raise OSError(number, f"connect: {os.strerror(number)}")

    def send(self, message: bytes) -> bool:
        """Send a message on stream 0; False: there is no room for it now."""
        assert 0 < len(message) <= MAX_MESSAGE
        info = SendInfo()
        with self._stack.inside():
            sent = self._functions.usrsctp_sendv(
                self._pointer,
                message,
                len(message),
                None,
                0,
                ctypes.byref(info),
                ctypes.sizeof(info),
                _SNDINFO,
                0,
            )
            number = ctypes.get_errno()
        if sent >= 0:
            return True
        if number in (errno.EWOULDBLOCK, errno.ENOBUFS):
            return False
        raise OSError(number, f"send: {os.strerror(number)}")

    def receive(self) -> bytes | Change | Nothing:
        """Return octets, or what became of the association, or why there is neither."""
        info, flags = ReceiveInfo(), ctypes.c_int(0)
        size, kind = ctypes.c_uint32(ctypes.sizeof(info)), ctypes.c_uint(0)
        with self._stack.inside():
            got: int = self._functions.usrsctp_recvv(
                self._pointer,
                _BUFFER,
                len(_BUFFER),
                None,
                ctypes.byref(_NONE),
                ctypes.byref(info),
                ctypes.byref(size),
                ctypes.byref(kind),
                ctypes.byref(flags),
            )
            number = ctypes.get_errno()
        if got < 0:
            if number == errno.EWOULDBLOCK:
                return Nothing.YET
            raise OSError(number, f"receive: {os.strerror(number)}")
        if got == 0:
            return Nothing.MORE
        if flags.value & _MSG_NOTIFICATION:
            return self._change(got)
        if info.stream or info.flags & _UNORDERED:
            return Nothing.FOREIGN
        return ctypes.string_at(_BUFFER, got)

    def _change(self, size: int) -> Change | Nothing:
        change = AssociationChange.from_buffer_copy(
            ctypes.string_at(_BUFFER, size).ljust(ctypes.sizeof(AssociationChange), b"\0")
        )
        return Nothing.SHUTDOWN if change.type == _SHUTDOWN_EVENT else Change(change.state)

    def has_failed(self) -> bool:
        """Whether an error is to be read."""
        return bool(self._functions.usrsctp_get_events(self._pointer) & _EVENT_ERROR)

    def waits_for_acknowledgement(self) -> bool:
        """Whether something is on its way to a peer that could take it."""
        status = self._status()
        return bool(status.unacknowledged) and status.peer_window >= MAX_MESSAGE

    def round_trip_time(self) -> float | None:
        """Return the smoothed round-trip time in seconds; None before one was measured."""
        milliseconds = self._status().path.round_trip_time
        return milliseconds / 1000 if milliseconds else None

    def _status(self) -> Status:
        """Return how the association stands; all 0 where there is none."""
        status, size = Status(), ctypes.c_uint32(ctypes.sizeof(Status))
        failed = self._functions.usrsctp_getsockopt(
            self._pointer, _SCTP, int(_Option.STATUS), ctypes.byref(status), ctypes.byref(size)
        )
        return Status() if failed else status

    def demand_heartbeat(self, handle: int, port: int) -> None:
        """Have the peer answer."""
        self._set(
            _Option.PEER_ADDR_PARAMS,
            PathParameters(
                address=ConnAddress(AF_CONN, socket.htons(port), handle), flags=_HB_DEMAND
            ),
        )

    def shut_down(self) -> None:
        """Say that all has been said: SHUTDOWN follows what is still to be delivered."""
        with self._stack.inside():
            self._functions.usrsctp_shutdown(self._pointer, socket.SHUT_WR)

    def close(self) -> None:
        """Give the socket back to C, once; an association that is still there is aborted."""
        pointer, self._pointer = self._pointer, None
        if pointer is None:
            return
        linger = Linger(on=1, seconds=0)
        with self._stack.inside():
            self._functions.usrsctp_setsockopt(
                pointer,
                socket.SOL_SOCKET,
                socket.SO_LINGER,
                ctypes.byref(linger),
                ctypes.sizeof(linger),
            )
            self._functions.usrsctp_close(pointer)


def _os_error(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{what}: {os.strerror(number)}")
