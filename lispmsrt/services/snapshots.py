"""Frozen values that say how a service's transports stand: what is in use, what failed, and why."""

from __future__ import annotations

import enum
from dataclasses import dataclass

__all__ = [
    "EtrSnapshot",
    "LinkSnapshot",
    "ListenerSnapshot",
    "MapServerSnapshot",
    "TransportSnapshot",
    "TransportState",
]


class TransportState(enum.Enum):
    """How one transport of an ETR stands."""

    UNTRIED = "not tried yet"
    CONNECTING = "connecting"
    IN_USE = "in use"
    FAILED = "failed"
    IDLE = "worked when it was last tried"


@dataclass(frozen=True, slots=True)
class TransportSnapshot:
    """One way to a Map-Server."""

    endpoint: str
    "the endpoint string"
    transport: str
    "TCP, TLS, TCP-MD5, QUIC, SCTP"
    state: TransportState
    reason: str = ""
    "why the last attempt failed; empty where it did not"
    failures: int = 0
    "attempts that failed since the start"


@dataclass(frozen=True, slots=True)
class LinkSnapshot:
    """An ETR's way to one Map-Server."""

    map_server: str
    phase: str
    "what is being done about a session, in words"
    transports: tuple[TransportSnapshot, ...]
    "in the order in which they are tried"
    retry_in: float | None = None
    "seconds until the next attempt; None where none is set"


@dataclass(frozen=True, slots=True)
class EtrSnapshot:
    """An ETR's transports."""

    map_servers: tuple[LinkSnapshot, ...]


@dataclass(frozen=True, slots=True)
class ListenerSnapshot:
    """One endpoint string of a Map-Server."""

    endpoint: str
    transport: str
    address: str
    "where it listens; empty where it does not"
    reason: str = ""
    "why it does not, or what peers may object to in its certificate"
    sessions: int = 0
    certificate_end: float | None = None
    "until when that is valid, in seconds since 1970; None where it shows none"


@dataclass(frozen=True, slots=True)
class MapServerSnapshot:
    """A Map-Server's transports."""

    listeners: tuple[ListenerSnapshot, ...]
