"""What a UDP socket needs for carrying whole streams: larger buffers, and to outlive refusals."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.udp import Port
from twisted.python.failure import Failure

from lispmsrt.sockets import set_receive_buffer

__all__ = ["enlarge_buffers", "outlive_refusals"]

_RECEIVE_BUFFER = 1 << 22
"""Octets asked for: what comes in while this process is busy with something else. The kernel counts
about twice a datagram's size.
"""

_SEND_BUFFER = 1 << 20


def enlarge_buffers(port: object) -> None:
    """Ask the kernel for buffers; what it grants is its business. Leave test doubles alone."""
    handle = getattr(port, "socket", None)
    if isinstance(handle, socket.socket):
        set_receive_buffer(handle, _RECEIVE_BUFFER)
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)


def outlive_refusals(port: object) -> None:
    """Have a connected port tell its protocol of a refusal (ICMP), and go on.

    The kernel reports an error and nothing to read, which Twisted's reactors take for the end of
    the socket. Leave test doubles alone.
    """
    if not isinstance(port, Port):
        return
    close = port.connectionLost

    def connection_lost(reason: Failure | None = None) -> None:
        if reason is None or not port.connected:
            close(reason)  # as asked for
            return
        port.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)  # reading it clears it
        port.startReading()
        protocol: Any = port.protocol
        protocol.connectionRefused()

    port.connectionLost = connection_lost  # type: ignore[method-assign]
