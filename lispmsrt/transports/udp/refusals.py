"""A client's UDP socket that is connected to its one peer: the kernel filters and reports refusals.

Twisted's reactors take such a report for the end of the socket.
"""

from __future__ import annotations

import errno
import socket
from typing import Any

from twisted.internet.udp import Port
from twisted.python.failure import Failure

__all__ = ["outlive_refusals"]


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
        number = port.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)  # reading clears it
        port.startReading()
        # "Too long" comes from a router on the way: the kernel fragments what is sent from now on.
        if number != errno.EMSGSIZE:
            protocol: Any = port.protocol
            protocol.connectionRefused()

    port.connectionLost = connection_lost  # type: ignore[method-assign]
