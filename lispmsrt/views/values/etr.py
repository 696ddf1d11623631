"""The ETR's side."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from lispmsrt.views.values.registrations import RecordView
from lispmsrt.views.values.sessions import SessionView

__all__ = [
    "EtrMappingState",
    "EtrMappingView",
    "EtrView",
    "MapServerLinkView",
    "TransportView",
]


class EtrMappingState(enum.StrEnum):
    """State of one EID-prefix at one Map-Server
    (draft-kouvelas-lisp-map-server-reliable-transport-07 §6.2).
    """

    PERIODIC = "periodic"
    "registered over UDP, again and again"
    STABLE = "stable"
    "acknowledged on the session"
    ACK_WAIT = "ack-wait"
    REJECTED = "rejected"
    ROAMED = "roamed"
    "left to the xTR that has taken it over"
    WITHDRAWN = "withdrawn"
    "on its way out"


@dataclass(frozen=True, slots=True)
class TransportView:
    """One way to a Map-Server."""

    endpoint: str
    transport: str
    state: str
    reason: str
    "why the last attempt failed"
    failures: int


@dataclass(frozen=True, slots=True)
class MapServerLinkView:
    """An ETR's way to one Map-Server."""

    map_server: str
    phase: str
    "what is being done about a session, in words"
    retry_in: float | None
    session: SessionView | None
    transports: tuple[TransportView, ...]
    last_map_notify: float | None
    "when the last Map-Notify came; None for never"
    states: dict[str, int]
    "state (EtrMappingState) to how many EID-prefixes"
    key: str
    "key ID and algorithm"
    last_end: float | None
    "when an established session ended last; None for never"
    last_end_reason: str
    "why it did; empty for never"


@dataclass(frozen=True, slots=True)
class EtrView:
    """An ETR as a whole."""

    xtr_id: str
    site_id: str
    address: str
    mappings: int
    answers_map_requests: bool
    map_servers: tuple[MapServerLinkView, ...]


@dataclass(frozen=True, slots=True)
class EtrMappingView:
    """One mapping of an ETR at one Map-Server."""

    eid_prefix: str
    instance_id: int
    map_server: str
    state: EtrMappingState
    reason: str
    "why it was rejected; empty otherwise"
    over_udp: bool
    "whether UDP registration goes on"
    record: RecordView
