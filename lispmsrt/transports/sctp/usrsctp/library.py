"""What is used of libusrsctp 0.9.5: its structures, constants and functions, as ctypes has them.

Knows usrsctp.h and nothing of what is done with it.
"""

from __future__ import annotations

import ctypes
from typing import Any

from lispmsrt.transports.interfaces import TransportUnavailable

__all__ = [
    "ADDRESS_SIZE",
    "AF_CONN",
    "OUTPUT",
    "AssociationChange",
    "AssociationParameters",
    "ConnAddress",
    "EventSubscription",
    "InitMessage",
    "Linger",
    "PathParameters",
    "ReceiveInfo",
    "RetransmissionTimes",
    "SendInfo",
    "Status",
    "initialise",
    "load",
]

_LIBRARY = "libusrsctp.so.2"

AF_CONN = 123
"""The family of addresses that mean something to the caller only: a number for each peer."""

OUTPUT = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_void_p,
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_uint8,
    ctypes.c_uint8,
)
"""int conn_output(void *addr, void *buffer, size_t length, uint8_t tos, uint8_t set_df)"""


class ConnAddress(ctypes.Structure):
    """struct sockaddr_conn; the port is in network order."""

    _fields_ = (
        ("family", ctypes.c_uint16),
        ("port", ctypes.c_uint16),
        ("handle", ctypes.c_void_p),
    )


ADDRESS_SIZE = ctypes.sizeof(ConnAddress)


class SendInfo(ctypes.Structure):
    """struct sctp_sndinfo"""

    _fields_ = (
        ("stream", ctypes.c_uint16),
        ("flags", ctypes.c_uint16),
        ("payload_protocol", ctypes.c_uint32),
        ("context", ctypes.c_uint32),
        ("association", ctypes.c_uint32),
    )


class ReceiveInfo(ctypes.Structure):
    """struct sctp_rcvinfo"""

    _fields_ = (
        ("stream", ctypes.c_uint16),
        ("sequence", ctypes.c_uint16),
        ("flags", ctypes.c_uint16),
        ("payload_protocol", ctypes.c_uint32),
        ("tsn", ctypes.c_uint32),
        ("cumulative_tsn", ctypes.c_uint32),
        ("context", ctypes.c_uint32),
        ("association", ctypes.c_uint32),
    )


class AssociationChange(ctypes.Structure):
    """struct sctp_assoc_change without the information that may follow it."""

    _fields_ = (
        ("type", ctypes.c_uint16),
        ("flags", ctypes.c_uint16),
        ("length", ctypes.c_uint32),
        ("state", ctypes.c_uint16),
        ("error", ctypes.c_uint16),
        ("outbound_streams", ctypes.c_uint16),
        ("inbound_streams", ctypes.c_uint16),
        ("association", ctypes.c_uint32),
    )


class EventSubscription(ctypes.Structure):
    """struct sctp_event"""

    _fields_ = (
        ("association", ctypes.c_uint32),
        ("type", ctypes.c_uint16),
        ("on", ctypes.c_uint8),
    )


class InitMessage(ctypes.Structure):
    """struct sctp_initmsg; the time is in milliseconds."""

    _fields_ = (
        ("outbound_streams", ctypes.c_uint16),
        ("inbound_streams", ctypes.c_uint16),
        ("attempts", ctypes.c_uint16),
        ("max_timeout", ctypes.c_uint16),
    )


class RetransmissionTimes(ctypes.Structure):
    """struct sctp_rtoinfo; milliseconds."""

    _fields_ = (
        ("association", ctypes.c_uint32),
        ("initial", ctypes.c_uint32),
        ("max", ctypes.c_uint32),
        ("min", ctypes.c_uint32),
    )


class AssociationParameters(ctypes.Structure):
    """struct sctp_assocparams; the cookie's life is in milliseconds."""

    _fields_ = (
        ("association", ctypes.c_uint32),
        ("peer_window", ctypes.c_uint32),
        ("local_window", ctypes.c_uint32),
        ("cookie_life", ctypes.c_uint32),
        ("max_retransmissions", ctypes.c_uint16),
        ("destinations", ctypes.c_uint16),
    )


class PathParameters(ctypes.Structure):
    """struct sctp_paddrparams, whose address is in a sockaddr_storage of 128 octets."""

    _fields_ = (
        ("address", ConnAddress),
        ("padding", ctypes.c_uint8 * (128 - ADDRESS_SIZE)),
        ("association", ctypes.c_uint32),
        ("heartbeat_interval", ctypes.c_uint32),
        ("mtu", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("flow_label", ctypes.c_uint32),
        ("max_retransmissions", ctypes.c_uint16),
        ("dscp", ctypes.c_uint8),
    )


class Path(ctypes.Structure):
    """struct sctp_paddrinfo; the address is left as it is."""

    _fields_ = (
        ("address", ctypes.c_uint64 * 16),
        ("association", ctypes.c_uint32),
        ("state", ctypes.c_int32),
        ("congestion_window", ctypes.c_uint32),
        ("round_trip_time", ctypes.c_uint32),
        ("retransmission_time", ctypes.c_uint32),
        ("mtu", ctypes.c_uint32),
    )


class Status(ctypes.Structure):
    """struct sctp_status, with the primary path."""

    _fields_ = (
        ("association", ctypes.c_uint32),
        ("state", ctypes.c_int32),
        ("peer_window", ctypes.c_uint32),
        ("unacknowledged", ctypes.c_uint16),
        ("pending", ctypes.c_uint16),
        ("inbound_streams", ctypes.c_uint16),
        ("outbound_streams", ctypes.c_uint16),
        ("fragmentation_point", ctypes.c_uint32),
        ("path", Path),
    )


class Linger(ctypes.Structure):
    """struct linger"""

    _fields_ = (("on", ctypes.c_int), ("seconds", ctypes.c_int))


_INT, _UINT32, _POINTER = ctypes.c_int, ctypes.c_uint32, ctypes.c_void_p
_ADDRESS = ctypes.POINTER(ConnAddress)

_FUNCTIONS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "usrsctp_init_nothreads": (None, (ctypes.c_uint16, OUTPUT, _POINTER)),
    "usrsctp_socket": (_POINTER, (_INT, _INT, _INT, _POINTER, _POINTER, _UINT32, _POINTER)),
    "usrsctp_bind": (_INT, (_POINTER, _ADDRESS, _UINT32)),
    "usrsctp_connect": (_INT, (_POINTER, _ADDRESS, _UINT32)),
    "usrsctp_listen": (_INT, (_POINTER, _INT)),
    "usrsctp_accept": (_POINTER, (_POINTER, _POINTER, _POINTER)),
    "usrsctp_close": (None, (_POINTER,)),
    "usrsctp_shutdown": (_INT, (_POINTER, _INT)),
    "usrsctp_set_non_blocking": (_INT, (_POINTER, _INT)),
    "usrsctp_get_events": (_INT, (_POINTER,)),
    "usrsctp_setsockopt": (_INT, (_POINTER, _INT, _INT, _POINTER, _UINT32)),
    "usrsctp_getsockopt": (_INT, (_POINTER, _INT, _INT, _POINTER, ctypes.POINTER(_UINT32))),
    "usrsctp_sendv": (
        ctypes.c_ssize_t,
        (
            _POINTER,
            ctypes.c_char_p,
            ctypes.c_size_t,
            _POINTER,
            _INT,
            ctypes.POINTER(SendInfo),
            _UINT32,
            ctypes.c_uint,
            _INT,
        ),
    ),
    "usrsctp_recvv": (
        ctypes.c_ssize_t,
        (
            _POINTER,
            _POINTER,
            ctypes.c_size_t,
            _POINTER,
            ctypes.POINTER(_UINT32),
            ctypes.POINTER(ReceiveInfo),
            ctypes.POINTER(_UINT32),
            ctypes.POINTER(ctypes.c_uint),
            ctypes.POINTER(_INT),
        ),
    ),
    "usrsctp_conninput": (None, (_POINTER, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint8)),
    "usrsctp_register_address": (None, (_POINTER,)),
    "usrsctp_handle_timers": (None, (_UINT32,)),
    "usrsctp_crc32c": (_UINT32, (ctypes.c_char_p, ctypes.c_size_t)),
}

_SETTINGS = {
    # What a session does not need is what a peer can't get at: chunks of extensions that change
    # addresses, streams or what counts as delivered.
    "sctp_asconf_enable": 0,
    "sctp_auto_asconf": 0,
    "sctp_auth_enable": 0,
    "sctp_pr_enable": 0,
    "sctp_reconfig_enable": 0,
    "sctp_nrsack_enable": 0,
    "sctp_pktdrop_enable": 0,
    "sctp_ecn_enable": 0,
    # A peer that keeps its window closed is sent the same chunk again and again.
    "sctp_max_retran_chunk": 0,
    "sctp_sendspace": 1 << 18,
    "sctp_recvspace": 1 << 18,
}
"""Octets a socket may hold each way; a listening socket hands them on to what it accepts."""


def load(name: str = _LIBRARY) -> ctypes.CDLL:
    """Load the library and declare its functions; TransportUnavailable says what to install."""
    try:
        library = ctypes.CDLL(name, use_errno=True)
        for function, (result, arguments) in _FUNCTIONS.items():
            prototype = getattr(library, function)
            prototype.restype, prototype.argtypes = result, arguments
        for setting in _SETTINGS:
            getattr(library, f"usrsctp_sysctl_set_{setting}").argtypes = (_UINT32,)
    except (OSError, AttributeError) as failure:
        raise TransportUnavailable(
            f"SCTP in user space needs {name}: install Debian's package libusrsctp2 ({failure})"
        ) from None
    return library


def initialise(library: ctypes.CDLL, output: Any) -> None:
    """Start the stack of this process, once: without threads, without sockets of its own."""
    library.usrsctp_init_nothreads(0, output, None)
    for setting, value in _SETTINGS.items():
        if getattr(library, f"usrsctp_sysctl_set_{setting}")(value):
            raise RuntimeError(f"libusrsctp refuses {setting}={value}")
