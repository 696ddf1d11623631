"""A second socket at a UDP port, for datagrams that others are not to crowd out.

Where more comes to a socket than is read, the kernel drops what comes then, whatever it is. So it
sorts, by the first octet, before it queues: two sockets at one address are a group, to which a
filter is attached (socket(7), SO_ATTACH_REUSEPORT_CBPF, Linux 4.5). Of datagrams that one sender
has sent by one call, and the kernel carries as one, it sees the first: all go where that goes.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort

from lispmsrt.transports.turns import Turn
from lispmsrt.transports.udp.port import BatchPort

__all__ = ["listen_beside"]

_ATTACH_FILTER = getattr(socket, "SO_ATTACH_REUSEPORT_CBPF", 51)

_LOAD_OCTET = 0x30
_SHIFT_RIGHT = 0x74
_JUMP_IF_EQUAL = 0x15
_RETURN = 0x06
"""Instructions of classic BPF (linux/filter.h)."""

_INSTRUCTION = struct.Struct("=HBBI")

_FIRST, _SECOND = 0, 1
"""The sockets, in the order in which they were bound."""


class _PortBeside(BatchPort):
    def createInternetSocket(self) -> socket.socket:
        made: socket.socket = super().createInternetSocket()
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        return made


def listen_beside(
    port: IListeningPort, protocol: Any, kinds: Sequence[int], turn: Turn | None = None
) -> BatchPort | None:
    """Open a second socket at the address of one that :func:`listen_udp` has opened, for datagrams
    whose first four bits are one of ``kinds``. None where that can't be: the first has all then.

    The first was bound alone, so that an address that is somebody else's was noticed; now it is
    shared, which the kernel allows processes of the same user only.
    """
    if not isinstance(port, BatchPort):
        return None
    first = port.socket
    beside = _PortBeside(
        port.getHost().port, protocol, port.interface, port.maxPacketSize, port.reactor, turn
    )
    try:
        first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        beside.startListening()
        _attach(beside.socket, _program(kinds))
    except (CannotListenError, OSError, ImportError):
        with suppress(OSError):
            first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 0)
        if beside.connected:
            beside.stopListening()
        return None
    return beside


def _program(kinds: Sequence[int]) -> bytes:
    """Return a filter that says which socket a datagram goes to; an empty one goes to the first,
    for where there is nothing to load a program ends with 0.
    """
    instructions = [(_LOAD_OCTET, 0, 0, 0), (_SHIFT_RIGHT, 0, 0, 4)]
    for behind, kind in zip(reversed(range(len(kinds))), kinds, strict=True):
        instructions.append((_JUMP_IF_EQUAL, behind + 1, 0, kind))
    instructions += [(_RETURN, 0, 0, _FIRST), (_RETURN, 0, 0, _SECOND)]
    return b"".join(_INSTRUCTION.pack(*each) for each in instructions)


def _attach(handle: socket.socket, program: bytes) -> None:
    # Not every Python has it.
    import ctypes

    instructions = ctypes.create_string_buffer(program, len(program))
    length = len(program) // _INSTRUCTION.size
    option = struct.pack("@HP", length, ctypes.addressof(instructions))
    handle.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, option)
