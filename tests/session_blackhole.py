"""A path that loses everything in silence, or some of it, for sockets of this process.

The kernel is told to drop what arrives, by a socket filter: if it keeps nothing then no packet is
answered any more, neither data nor keepalive nor the first of a new connection, and nobody hears
why. It needs no privileges.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress

__all__ = ["Blackhole", "internet_sockets"]

_ATTACH_FILTER, _DETACH_FILTER = 26, 27
_INSTRUCTION = struct.Struct("=HBBI")  # code, jump if true, jump if false, operand
_LOAD, _JUMP_IF_AT_LEAST, _RETURN = 0x20, 0x35, 0x06
_RANDOM = 0xFFFFF000 + 56
"""Where a filter finds a random number: SKF_AD_OFF + SKF_AD_RANDOM."""

_EVERYTHING = 0xFFFFFFFF


def internet_sockets() -> Iterator[socket.socket]:
    """Yield the IPv4 and IPv6 sockets that this process has open, each through a duplicate that is
    closed again.
    """
    for name in os.listdir("/proc/self/fd"):
        try:
            if not os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                continue
            duplicate = os.dup(int(name))
        except OSError:
            continue  # the one that listed this folder
        with socket.socket(fileno=duplicate) as each:
            if each.family in (socket.AF_INET, socket.AF_INET6):
                yield each


class Blackhole:
    """Open it and nothing arrives anywhere; sockets made later are not affected, but for those that
    a listening one makes.
    """

    def __init__(self, *, lets_through: float = 0.0) -> None:
        """``lets_through`` is the share of packets that arrive all the same."""
        instructions = (
            (_LOAD, 0, 0, _RANDOM),
            (_JUMP_IF_AT_LEAST, 0, 1, int(lets_through * _EVERYTHING)),
            (_RETURN, 0, 0, 0),
            (_RETURN, 0, 0, _EVERYTHING),
        )
        program = b"".join(_INSTRUCTION.pack(*each) for each in instructions)
        self._instructions = ctypes.create_string_buffer(program)
        self._program = struct.pack("HP", len(instructions), ctypes.addressof(self._instructions))

    def open(self, concerns: Callable[[socket.socket], bool] = lambda each: True) -> int:
        """Swallow what is on its way to these sockets; return how many they are."""
        count = 0
        for each in internet_sockets():
            if concerns(each):
                each.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, self._program)
                count += 1
        return count

    def close(self) -> None:
        """Let everything through again."""
        for each in internet_sockets():
            with suppress(OSError):  # it has no filter
                each.setsockopt(socket.SOL_SOCKET, _DETACH_FILTER, 0)
