"""One-to-one SCTP sockets of the Linux kernel (RFC 6458 §4), set up for one byte stream.

What each option is set to, and the figures by which a dead path is noticed. The addresses of a
multi-homed end are bound by pysctp: it is needed for nothing else.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import sctp

from lispmsrt.transports.interfaces import StreamAddress, TransportUnavailable

__all__ = [
    "IPPROTO_SCTP",
    "Liveness",
    "allow_paths",
    "bound_socket",
    "listen",
    "no_delay",
    "round_trip_time",
    "set_no_delay",
    "stream_address",
]

IPPROTO_SCTP = 132

_RTOINFO, _ASSOCINFO, _INITMSG, _NODELAY, _PEER_ADDR_PARAMS, _EVENTS = 0, 1, 2, 3, 9, 11
_STATUS = 14
_RECVRCVINFO, _PR_SUPPORTED, _RECONFIG_SUPPORTED, _ASCONF_SUPPORTED = 32, 113, 117, 128

_RTO = struct.Struct("=iIII")  # association, initial, maximum, minimum in milliseconds
_ASSOCIATION = struct.Struct("=iHHIII")  # association, retransmissions, ...: 0 leaves a field
_PATH = struct.Struct("=i128sIHIIIIBx")  # association, address, heartbeat in ms, retransmissions
_INIT = struct.Struct("=HHHH")  # outbound and inbound streams, attempts, longest RTO
_SWITCH = struct.Struct("=iI")  # association, on or off

_SRTT = struct.Struct("=164xI8x")
"""Of struct sctp_status: the primary path's smoothed round-trip time in ms."""

_HEARTBEATS_ON = 1
_WATCHED_EVENTS = bytes([0, 1, 1])
"""Of struct sctp_event_subscribe: not the old form of ancillary data, but SCTP_ASSOC_CHANGE and
SCTP_PEER_ADDR_CHANGE.
"""

_RETRANSMISSIONS = 5
"""Unanswered packets in a row after which an association is given up, as RFC 9260 §16 has it for a
path.
"""

_NO_SUCH_PROTOCOL = frozenset(
    {errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT, errno.EPFNOSUPPORT, errno.ENOPROTOOPT}
)


@dataclass(frozen=True, slots=True)
class Liveness:
    """When a path that swallows everything is given up: within four heartbeats, at the latest.

    Idle, Linux sends a heartbeat every ``heartbeat`` plus 0.5 to 1.5 RTO. The first that stays
    unanswered makes the path "potentially failed", and from then on there is one every 0.5 to 1.5
    RTO. With N retransmissions allowed and an RTO of at most R that makes 2 (heartbeat + 1.5 R) +
    N * 1.5 R, which for N = 5 and R = heartbeat / 6 is 3.75 heartbeats. With data outstanding N +
    1 timeouts pass, of R at most: one heartbeat. This counts on the sysctl net.sctp.pf_enable,
    which is on unless somebody turned it off.
    """

    heartbeat: float
    "seconds"

    @property
    def rto_max(self) -> int:
        """Milliseconds."""
        return int(self.heartbeat * 1000 / 6)

    @property
    def rto_min(self) -> int:
        """Milliseconds. RFC 9260 §16 has a second."""
        return min(1000, self.rto_max)

    def apply(self, handle: socket.socket) -> None:
        """Set the figures for the associations to come of this socket."""
        rto_initial = min(3000, self.rto_max)
        interval = int(self.heartbeat * 1000)
        for option, value in (
            (_RTOINFO, _RTO.pack(0, rto_initial, self.rto_max, self.rto_min)),
            (_ASSOCINFO, _ASSOCIATION.pack(0, _RETRANSMISSIONS, 0, 0, 0, 0)),
            (
                _PEER_ADDR_PARAMS,
                _PATH.pack(0, b"", interval, _RETRANSMISSIONS, 0, 0, _HEARTBEATS_ON, 0, 0),
            ),
        ):
            handle.setsockopt(IPPROTO_SCTP, option, value)


def bound_socket(
    addresses: Sequence[str], port: int, liveness: Liveness, *, reuse: bool = False
) -> socket.socket:
    """Return a non-blocking socket on these addresses.

    Raise TransportUnavailable where the kernel has no SCTP, OSError if it can't be bound.
    """
    handle = _open(socket.AF_INET6 if ":" in addresses[0] else socket.AF_INET)
    try:
        _set_options(handle, liveness)
        if reuse:
            handle.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _bind(handle, addresses, port)
    except BaseException:
        handle.close()
        raise
    return handle


def listen(handle: socket.socket, backlog: int) -> None:
    """Listen. Raise TransportUnavailable where the kernel can't make cookies, OSError otherwise."""
    try:
        handle.listen(backlog)
    except OSError as failure:
        if failure.errno != errno.ENOSYS:
            raise
        raise TransportUnavailable(
            "this kernel's SCTP can't sign its cookies:"
            " load the module `hmac` and the hash of the sysctl net.sctp.cookie_hmac_alg"
        ) from failure


def allow_paths(handle: socket.socket, count: int) -> None:
    """Let each of an association's paths have its retransmissions."""
    value = _ASSOCIATION.pack(0, min(_RETRANSMISSIONS * count, 0xFFFF), 0, 0, 0, 0)
    with suppress(OSError):  # it has just ended
        handle.setsockopt(IPPROTO_SCTP, _ASSOCINFO, value)


def stream_address(address: Sequence[object]) -> StreamAddress:
    """Return what a socket calls an address: IPv4 as such, IPv6 with the zone it needs."""
    host, port = str(address[0]), address[1]
    assert isinstance(port, int)
    if host.startswith("::ffff:") and "." in host:
        host = host.removeprefix("::ffff:")
    zone = address[3] if len(address) == 4 else 0
    if isinstance(zone, int) and zone and "%" not in host:
        with suppress(OSError):  # the interface has just gone
            host = f"{host}%{socket.if_indextoname(zone)}"
    return StreamAddress("SCTP", host, port)


def no_delay(handle: socket.socket) -> bool:
    """Whether small messages leave at once."""
    return bool(handle.getsockopt(IPPROTO_SCTP, _NODELAY))


def set_no_delay(handle: socket.socket, enabled: bool) -> None:
    """Have small messages leave at once, or not."""
    handle.setsockopt(IPPROTO_SCTP, _NODELAY, int(enabled))


def round_trip_time(handle: socket.socket) -> float | None:
    """Return the smoothed round-trip time of an association's primary path in seconds; None where
    none was measured, or the association is over.
    """
    try:
        told = handle.getsockopt(IPPROTO_SCTP, _STATUS, _SRTT.size)
    except OSError:
        return None
    (milliseconds,) = _SRTT.unpack(told.ljust(_SRTT.size, b"\0"))
    return milliseconds / 1000 if milliseconds else None


def _open(family: int) -> socket.socket:
    try:
        handle = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK, IPPROTO_SCTP)
    except OSError as failure:
        if failure.errno not in _NO_SUCH_PROTOCOL:
            raise
        raise TransportUnavailable(
            "this kernel has no SCTP: load its module `sctp`,"
            " or run SCTP in user space with stack=usrsctp, over UDP at both ends"
        ) from failure
    return handle


def _set_options(handle: socket.socket, liveness: Liveness) -> None:
    """Set what an association inherits from the socket that it is made by."""
    # One stream each way: a DATA chunk on another is refused by the kernel already.
    handle.setsockopt(IPPROTO_SCTP, _INITMSG, _INIT.pack(1, 1, 0, 0))
    set_no_delay(handle, True)
    handle.setsockopt(IPPROTO_SCTP, _RECVRCVINFO, 1)
    # Without it an abort arrives as EPOLLERR alone, which reads like a clean close.
    handle.setsockopt(IPPROTO_SCTP, _EVENTS, _WATCHED_EVENTS)
    # A peer may not move its primary address to one that is not armed, add streams, nor leave
    # holes in the stream. These are off on most machines; kernels before 5.5 lack the first switch.
    for option in (_ASCONF_SUPPORTED, _RECONFIG_SUPPORTED, _PR_SUPPORTED):
        with suppress(OSError):
            handle.setsockopt(IPPROTO_SCTP, option, _SWITCH.pack(0, 0))
    liveness.apply(handle)


def _bind(handle: socket.socket, addresses: Sequence[str], port: int) -> None:
    if len(addresses) > 1:
        # The port that 0 stood for at the first address holds for the others.
        multi_homed = sctp.sctpsocket_tcp(handle.family, handle)
        multi_homed.bindx([(address, port) for address in addresses])
    elif handle.family == socket.AF_INET6:
        found = socket.getaddrinfo(
            addresses[0], port, socket.AF_INET6, socket.SOCK_STREAM, 0, socket.AI_NUMERICHOST
        )
        handle.bind(found[0][4])
    else:
        handle.bind((addresses[0], port))
