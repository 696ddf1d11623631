"""Twisted's UDP port reads so many octets before anybody else has a turn, and an empty datagram has
none: whoever sends these as fast as they are read would have it read for ever.
"""

from __future__ import annotations

import errno
import socket
from typing import Any

from twisted.internet.udp import Port

__all__ = ["read_few"]


class _Counted(socket.socket):
    """A UDP socket that has nothing more to read after some datagrams, for now."""

    left = 0

    def recvfrom(self, *limits: Any) -> Any:
        if self.left <= 0:
            raise BlockingIOError(errno.EAGAIN, "enough for this turn")
        self.left -= 1
        return super().recvfrom(*limits)


def read_few(port: object, most: int) -> None:
    """Have a port read no more than so many datagrams in a turn of the reactor; the socket stays
    readable. Leave test doubles alone.
    """
    if not isinstance(port, Port):
        return
    handle = port.socket
    counted = port.socket = _Counted(
        handle.family, handle.type, handle.proto, fileno=handle.detach()
    )
    counted.setblocking(False)
    # The reactor knows it by its number, and that stays.
    port.fileno = counted.fileno  # type: ignore[method-assign]
    read = port.doRead

    def read_some() -> None:
        counted.left = most
        read()

    port.doRead = read_some  # type: ignore[method-assign]
