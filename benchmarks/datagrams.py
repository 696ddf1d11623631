"""UDP sockets of the load: prepared datagrams out, answers in.

One system call for each: `sendmmsg` and `recvmmsg` were tried and spared the load a seventh only,
for it is to deliver a datagram on loopback that takes the time. And none are merged on the way
(UDP_SEGMENT, UDP_GRO), which our own transport could do: it would spare the Map-Server more than
half of its work, and strangers' datagrams don't come merged.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Sequence
from contextlib import suppress

from lispmsrt.sockets import set_receive_buffer

__all__ = ["RECEIVE_BUFFER", "Datagrams"]

RECEIVE_BUFFER = 4 * 1024 * 1024
"""Octets of receive buffer asked for: what our Map-Server asks for by default."""

_MAX_DATAGRAM = 65_535
_BATCH = 256
"""Answers that are read of one socket before anything is sent again."""


class Datagrams:
    """Sockets that send to one peer in turn, and what comes back."""

    def __init__(self, peer: tuple[str, int], clients: Sequence[socket.socket]) -> None:
        """Connect the sockets. Whoever made them closes them."""
        for udp in clients:
            set_receive_buffer(udp, RECEIVE_BUFFER)
            udp.connect(peer)
            udp.setblocking(False)
        self._clients = clients
        self._by_number = {udp.fileno(): udp for udp in clients}
        self._poll = select.epoll()
        for number in self._by_number:
            self._poll.register(number, select.EPOLLIN)

    def close(self) -> None:
        """Watch the sockets no longer."""
        self._poll.close()

    def send(self, messages: Sequence[bytes], first: int, last: int) -> int:
        """Send of these as many as the kernel takes, from ``first`` on; return how many."""
        sends = [udp.send for udp in self._clients]
        count = len(sends)
        sent = first
        with suppress(BlockingIOError):
            while sent < last:
                sends[sent % count](messages[sent])
                sent += 1
        return sent - first

    def receive(self, patience: float) -> list[bytes]:
        """Return what has come, after waiting so many seconds at most; nothing in that case."""
        found: list[bytes] = []
        for number, _events in self._poll.poll(patience):
            receive = self._by_number[number].recv
            most = len(found) + _BATCH
            # ConnectionRefusedError: an ICMP message says that nobody listens, at this moment.
            with suppress(BlockingIOError, ConnectionRefusedError):
                while len(found) < most:
                    found.append(receive(_MAX_DATAGRAM))
        return found
