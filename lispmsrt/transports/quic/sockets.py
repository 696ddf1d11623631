"""What a UDP socket needs for carrying whole streams: larger buffers."""

from __future__ import annotations

import socket

from lispmsrt.sockets import set_receive_buffer

__all__ = ["enlarge_buffers"]

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
