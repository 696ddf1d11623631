"""The Map-Server as a whole: overview, listeners, sites, RLOC membership, subscriptions."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "ListenerView",
    "MemberFamilyView",
    "MembershipView",
    "OverviewView",
    "SitePrefixView",
    "SiteView",
    "SubscriptionView",
    "TransportCountView",
]


@dataclass(frozen=True, slots=True)
class ListenerView:
    """Where it listens."""

    endpoint: str
    transport: str
    address: str
    "empty where it does not listen"
    reason: str
    "why it does not, or what peers may object to in its certificate"
    sessions: int


@dataclass(frozen=True, slots=True)
class TransportCountView:
    """What comes by one transport."""

    transport: str
    sessions: int
    registrations: int
    "with UDP: those that no session holds; those of lost sessions count for their transport"


@dataclass(frozen=True, slots=True)
class OverviewView:
    """One look at everything."""

    version: str
    roles: tuple[str, ...]
    "map-server, map-resolver, etr"
    now: float
    started: float
    "when the process began"
    registrations: int
    "each xTR's part of a merged one counts"
    eid_prefixes: int
    reliable_registrations: int
    "held by live sessions"
    sites: int
    sessions: int
    established_sessions: int
    subscriptions: int
    transports: tuple[TransportCountView, ...]
    listeners: tuple[ListenerView, ...]
    messages_in: int
    "since the start, over UDP and sessions, those that have ended too"
    messages_out: int
    registrations_taken: int
    "Registrations and records of Map-Registers that were accepted since the start"
    map_requests: int
    map_replies: int
    rejections: int
    history_number: int
    "the newest line of the history"
    is_compiled: bool
    "whether the hot paths run compiled; else in pure Python, several times slower"


@dataclass(frozen=True, slots=True)
class SitePrefixView:
    """One EID-prefix that a site may register."""

    eid_prefix: str
    instance_id: int
    accept_more_specifics: bool
    up: str
    "yes, yes# (held by a session), no"
    last_registered: float | None
    "when it was first registered as it stands; None for never"
    who_last_registered: str
    registrations: int
    "EID-prefixes registered below it, itself too; -1 for more than could be counted"


@dataclass(frozen=True, slots=True)
class SiteView:
    """One configured site."""

    name: str
    keys: tuple[str, ...]
    "key ID and algorithm, never the key"
    allowed_rlocs: tuple[str, ...]
    allowed_itrs: tuple[str, ...]
    xtrs: int
    "xTRs that have something registered"
    sessions: int
    registrations: int
    rejections: int
    "since the start"
    eid_prefixes: tuple[SitePrefixView, ...]
    "at most 1000"
    prefixes: int
    "how many EID-prefixes it has"


@dataclass(frozen=True, slots=True)
class MemberFamilyView:
    """RLOC membership of one EID family of one instance ID."""

    instance_id: int
    afi: str
    members: int
    subscribers: int
    rlocs: tuple[str, ...]
    "of the members, at most 1000"


@dataclass(frozen=True, slots=True)
class MembershipView:
    """RLOC membership."""

    enabled: bool
    families: tuple[MemberFamilyView, ...]


@dataclass(frozen=True, slots=True)
class SubscriptionView:
    """One subscription (RFC 9437)."""

    eid_prefix: str
    instance_id: int
    site: str
    xtr_id: str
    rlocs: tuple[str, ...]
    "where it is told, in the order of trying"
    nonce: str
    "of the last publication, 16 hexadecimal digits"
    is_acknowledged: bool
    unanswered: int
    "publications in a row that were not acknowledged"
