"""What has happened: history, rejections, counters."""

from __future__ import annotations

import enum
from dataclasses import dataclass

__all__ = [
    "HistoryEvent",
    "HistoryView",
    "RejectionGroupView",
    "RejectionView",
    "StatisticView",
]


class HistoryEvent(enum.StrEnum):
    """What became of a mapping."""

    REGISTERED = "registered"
    CHANGED = "changed"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"
    DECONFIGURED = "deconfigured"
    "taken out because the configuration changed"
    REJECTED = "rejected"
    RESTORED = "restored"
    "known from before the Map-Server was started"


@dataclass(frozen=True, slots=True)
class HistoryView:
    """One line of the registration history."""

    number: int
    "counts up; gaps are lines that the ring has lost"
    at: float
    event: HistoryEvent
    eid_prefix: str
    instance_id: int
    protocol: str
    "UDP, TCP, TLS, TCP-MD5, QUIC, SCTP"
    site: str
    xtr_id: str
    source: str
    rlocs: tuple[str, ...]
    "of the mapping then; empty where it is gone"
    rule: str
    "the rule that refused it, in one sentence; empty otherwise"
    remaining: tuple[str, ...]
    """where an xTR's part ended: RLOCs that the EID-prefix still had of others; empty when it was
    gone"""


@dataclass(frozen=True, slots=True)
class RejectionView:
    """One message or record that was refused."""

    number: int
    at: float
    reason: str
    "as in a Registration Rejection: not a valid site EID-prefix, authentication failure, ..."
    rule: str
    "the exact rule that refused it, in one sentence"
    eid_prefix: str
    instance_id: int
    site: str
    "empty where none was found"
    xtr_id: str
    protocol: str
    source: str


@dataclass(frozen=True, slots=True)
class RejectionGroupView:
    """Everything that one rule has refused."""

    reason: str
    rule: str
    site: str
    count: int
    "since the start"
    last: RejectionView


@dataclass(frozen=True, slots=True)
class StatisticView:
    """One counter."""

    group: str
    "map-registers, sessions, map-requests, ..."
    name: str
    value: int
    meaning: str
    "one line"
