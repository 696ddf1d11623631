"""Registrations and their records."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LocatorView", "PartView", "RecordView", "RegistrationView"]


@dataclass(frozen=True, slots=True)
class LocatorView:
    """One RLOC of a record."""

    rloc: str
    state: str
    "up or down (R bit)"
    priority: int
    weight: int
    multicast_priority: int
    multicast_weight: int
    local: bool
    probe: bool


@dataclass(frozen=True, slots=True)
class RecordView:
    """A mapping record (RFC 9301 §5.4)."""

    eid_prefix: str
    instance_id: int
    ttl: int
    "minutes"
    action: str
    authoritative: bool
    map_version: int
    locators: tuple[LocatorView, ...]


@dataclass(frozen=True, slots=True)
class PartView:
    """What one xTR has registered."""

    site: str
    xtr_id: str
    site_id: str
    source: str
    "address and port that its message came from"
    transport: str
    "UDP, or the transport of its session"
    state: str
    "session, UDP, or session lost: waiting to be confirmed"
    session: int | None
    "id of the live session that holds it"
    since: float
    "when this record was first registered"
    expires_in: float | None
    "seconds until it ends unless it is confirmed; None while a session holds it"
    flags: tuple[str, ...]
    "proxy-reply, merge, use-ttl, map-notify, security, eid-notify"
    record: RecordView
    key: str
    """key ID and algorithm that the xTR's newest accepted message was made with, as `show site` has
    them; empty where not known"""
    restored: bool = False
    "known from before the Map-Server was started, and not confirmed by the xTR since"


@dataclass(frozen=True, slots=True)
class RegistrationView:
    """One registered EID-prefix."""

    eid_prefix: str
    instance_id: int
    afi: str
    site: str
    configured_prefix: str
    "the site's EID-prefix that allows it; empty if the configuration changed meanwhile"
    merged: bool
    since: float
    "when what stands there now was registered"
    expires_in: float | None
    last_registered_by: str
    "address and port"
    transport: str
    "of the newest part"
    reliable: bool
    "whether a live session holds a part of it"
    proxy_reply: bool
    record: RecordView
    "merged of all parts where there are several"
    parts: tuple[PartView, ...]
    "newest last"
    restored: bool = False
    "whether that is true of every part"
