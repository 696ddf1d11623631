"""Socket options that Twisted has no words for: keepalive times, buffer sizes, the TTL check."""

from __future__ import annotations

import math
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from random import randint

__all__ = [
    "TcpOptions",
    "apply_minimum_ttl",
    "apply_tcp_options",
    "end_text",
    "pack_address",
    "plain_host",
    "queued_octets",
    "set_receive_buffer",
    "tcp_round_trip_time",
    "tcp_socket_below",
    "widen_backlog",
]

_IP_MINTTL = 21
_IPV6_MINHOPCOUNT = 73

_TCP_NOTSENT_LOWAT = 25

_MAX_UNSENT = 1 << 16
"""Octets that the kernel may hold unsent: with the 2 MB that it would take by itself, a peer that
never reads has 100,000 Registrations acknowledged before anybody sees that.
"""

_RTT = struct.Struct("=68xI")
"""Of struct tcp_info: tcpi_rtt, the smoothed round-trip time in microseconds."""

_BACKLOG = 4096
"""Connections that wait to be taken; the kernel has its own limit besides (net.core.somaxconn)."""

_MAX_WRAPPERS = 8
"""More transports are never stacked; a ring of them must not hold us."""


_LEAST_PROBES = 3
"""Before the user timeout: one or two may be lost for no reason."""

_MAX_PROBES = 127
"""Linux takes no more (MAX_TCP_KEEPCNT)."""


@dataclass(frozen=True, slots=True)
class TcpOptions:
    """How a dead peer is noticed (docs/draft.rst, "Keepalive"), and who is too far away. Times in
    seconds.
    """

    keepalive_idle: int = 10
    "at most"
    keepalive_interval: int = 10
    "at most"
    keepalive_probes: int = 3
    "at the longest interval"
    user_timeout: float = 30.0
    minimum_ttl: int = 0
    "GTSM (RFC 5082): drop segments that crossed more than 255 minus this many routers; 0 is off"


def tcp_socket_below(transport: object) -> socket.socket | None:
    """Return the TCP socket that a transport runs over, through wrappers (TLS) that have it as
    their ``transport``; None where there is none.
    """
    for _wrapper in range(_MAX_WRAPPERS):
        handle = getattr(transport, "getHandle", lambda: None)()
        if isinstance(handle, socket.socket):
            protocol = handle.getsockopt(socket.SOL_SOCKET, socket.SO_PROTOCOL)
            return handle if protocol == socket.IPPROTO_TCP else None
        transport = getattr(transport, "transport", None)
    return None


def tcp_round_trip_time(transport: object) -> float | None:
    """Return the smoothed round-trip time that the kernel has measured on the TCP connection below
    a transport, in seconds; None where there is no connection, or nothing was measured.
    """
    try:
        handle = tcp_socket_below(transport)
        if handle is None:
            return None
        told = handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _RTT.size)
    except OSError:  # closed meanwhile
        return None
    if len(told) < _RTT.size:
        return None
    (microseconds,) = _RTT.unpack(told)
    return microseconds / 1e6 if microseconds else None


def queued_octets(transport: object) -> int:
    """Return how much a stream transport was given and has not passed on yet: what it says itself,
    or what one of Twisted's has in its buffers; 0 where that is not known.
    """
    told = getattr(transport, "queued_octets", None)
    if isinstance(told, int):
        return told
    # A wrapper (TLS) answers with the attributes of what it wraps.
    buffer, offset, later = (
        getattr(transport, name, 0) for name in ("dataBuffer", "offset", "_tempDataLen")
    )
    if not isinstance(buffer, bytes) or not isinstance(offset, int) or not isinstance(later, int):
        return 0
    return len(buffer) - offset + later


def apply_tcp_options(
    transport: object, options: TcpOptions, draw: Callable[[int, int], int] = randint
) -> None:
    """Set the options on the TCP connection below a transport; leave other transports alone.

    ``draw`` returns a number of two and what is between: how often each connection probes.
    """
    handle = tcp_socket_below(transport)
    if handle is None:
        return
    idle, interval, probes = _keepalive(options, draw)
    for level, option, value in (
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, idle),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, interval),
        (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, probes),
        (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(options.user_timeout * 1000)),
        # A chunk of ACKs is small and the ETR's window waits for it.
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
        (socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, _MAX_UNSENT),
    ):
        handle.setsockopt(level, option, value)
    if options.minimum_ttl:
        set_minimum_ttl(handle, options.minimum_ttl)


def _keepalive(options: TcpOptions, draw: Callable[[int, int], int]) -> tuple[int, int, int]:
    """Return seconds of silence, seconds between probes, and probes of one connection: the times
    are between a half and all of what they are at most, and it bears as long a silence as any.

    Thousands that fell silent together would probe together, again and again: more than the queues
    on the way hold. The kernel ends a connection after the user timeout, however many probes are
    left, so that some are to fit into that.
    """
    silence = options.keepalive_idle + options.keepalive_interval * options.keepalive_probes
    idle = draw((options.keepalive_idle + 1) // 2, options.keepalive_idle)
    longest = options.keepalive_interval
    if options.user_timeout:
        longest = max(1, min(longest, int(options.user_timeout - idle) // _LEAST_PROBES))
    shortest = max((longest + 1) // 2, math.ceil((silence - idle) / _MAX_PROBES))
    interval = draw(min(shortest, longest), longest)
    return idle, interval, min(math.ceil((silence - idle) / interval), _MAX_PROBES)


def apply_minimum_ttl(port: object, options: TcpOptions) -> None:
    """Set the TTL check on a listening TCP port; leave others alone."""
    handle = getattr(port, "socket", None)
    if options.minimum_ttl and isinstance(handle, socket.socket):
        set_minimum_ttl(handle, options.minimum_ttl)


def set_minimum_ttl(handle: socket.socket, minimum: int) -> None:
    """Have the kernel drop what comes with a smaller TTL or hop limit."""
    if handle.family == socket.AF_INET6:
        handle.setsockopt(socket.IPPROTO_IPV6, _IPV6_MINHOPCOUNT, minimum)
    else:
        handle.setsockopt(socket.IPPROTO_IP, _IP_MINTTL, minimum)


def set_receive_buffer(handle: socket.socket, octets: int) -> int:
    """Ask for a receive buffer; return what the kernel granted, in octets."""
    handle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, octets)
    # Beyond net.core.rmem_max only the privileged may go.
    with suppress(PermissionError):
        handle.setsockopt(socket.SOL_SOCKET, getattr(socket, "SO_RCVBUFFORCE", 33), octets)
    # Linux doubles the figure to allow for its own bookkeeping.
    return handle.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2


def widen_backlog(port: object, description: str) -> None:
    """Let more connections wait to be taken than Twisted's 50, where its endpoint string does not
    say how many: a Map-Server that begins anew has all its ETRs at the door.
    """
    handle = getattr(port, "socket", None)
    if not isinstance(handle, socket.socket) or "backlog=" in description:
        return
    if handle.type == socket.SOCK_STREAM:
        handle.listen(_BACKLOG)


def plain_host(host: str) -> str:
    """Return an address as it is written: a socket of both families has IPv4 mapped into IPv6."""
    mapped = host.removeprefix("::ffff:")
    return mapped if mapped != host and pack_address(mapped) is not None else host


def end_text(address: object) -> str:
    """Return address and port of an end, as Twisted has them, for people; empty where there are
    none.
    """
    host, port = getattr(address, "host", None), getattr(address, "port", None)
    if host is None or port is None:
        return ""
    host = plain_host(host)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def pack_address(host: str) -> bytes | None:
    """Return the packed form of an IPv4 or IPv6 address, without its zone; None for other text."""
    try:
        if ":" in host:
            return socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
        return socket.inet_pton(socket.AF_INET, host)
    except OSError:
        return None
