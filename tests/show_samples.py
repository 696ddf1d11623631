"""Fixed values of every view, as two daemons might have them: a Map-Server and an ETR."""

from __future__ import annotations

import dataclasses

from lispmsrt.views.values import (
    Answered,
    EidView,
    EtrMappingState,
    EtrMappingView,
    EtrView,
    Explanation,
    ExplanationStep,
    HistoryEvent,
    HistoryView,
    ListenerView,
    LocatorView,
    MapServerLinkView,
    MemberFamilyView,
    MembershipView,
    OverviewView,
    PartView,
    RecordView,
    RegistrationView,
    RejectionGroupView,
    RejectionView,
    SessionUseView,
    SessionView,
    SitePrefixView,
    SiteView,
    StatisticView,
    SubscriptionView,
    TransportCountView,
    TransportView,
)

__all__ = ["ETR_SAMPLES", "NOW", "SAMPLES"]

NOW = 1767258312.5
"""2026-01-01T09:05:12.5Z, when all of this is looked at."""

_XTR_ONE = "0a0b0c0d000000000000000000000001"
_XTR_TWO = "0a0b0c0d000000000000000000000002"

OVERVIEW = OverviewView(
    version="0.1.0",
    roles=("map-server",),
    now=NOW,
    started=NOW - 100_000,
    registrations=1_000_003,
    eid_prefixes=1_000_002,
    reliable_registrations=1_000_000,
    sites=2,
    sessions=3,
    established_sessions=2,
    subscriptions=2,
    transports=(
        TransportCountView("TCP", 1, 500_000),
        TransportCountView("QUIC", 2, 500_000),
        TransportCountView("UDP", 0, 3),
    ),
    listeners=(
        ListenerView("tcp:4342", "TCP", "[::]:4342", "", 1),
        ListenerView("quic:4342", "QUIC", "[::]:4342", "", 2),
        ListenerView("sctp:4342", "SCTP", "", "the kernel has no SCTP", 0),
    ),
    messages_in=1_234_567,
    messages_out=1_234_000,
    registrations_taken=1_200_000,
    map_requests=4_321,
    map_replies=4_300,
    rejections=7,
    history_number=2_000_000,
    is_compiled=True,
)

_ESTABLISHED = SessionView(
    id=17,
    peer="192.0.2.7:51234",
    local="198.51.100.1:4342",
    transport="TCP",
    role="passive",
    state="established",
    since=NOW - 312,
    site="campus",
    xtr_id=_XTR_ONE,
    site_id="5",
    rtt=0.00123,
    messages_in=500_010,
    messages_out=500_012,
    octets_in=44_000_880,
    octets_out=16_000_384,
    registrations=500_000,
    queued_octets=0,
    pending_notifications=0,
    is_paused=False,
    errors={},
    uses=(),
    counters={},
    key="ID 1, hmac-sha256-128+hkdf-sha256",
)

SESSIONS = (
    _ESTABLISHED,
    dataclasses.replace(
        _ESTABLISHED,
        id=18,
        peer="[2001:db8::7]:4342",
        local="[2001:db8::1]:4342",
        transport="QUIC",
        since=NOW - 97_300,
        xtr_id=_XTR_TWO,
        rtt=0.0312,
        is_paused=True,
        errors={"rejections": 2},
    ),
    dataclasses.replace(
        _ESTABLISHED,
        id=19,
        peer="192.0.2.9:4342",
        local="",
        transport="QUIC",
        state="starting",
        since=NOW - 2,
        site="",
        xtr_id="",
        site_id="",
        rtt=None,
        messages_in=0,
        messages_out=0,
        registrations=0,
        key="",
    ),
)

SESSION = dataclasses.replace(
    _ESTABLISHED,
    queued_octets=65_536,
    pending_notifications=12,
    is_paused=True,
    errors={"wrong record": 2, "unknown message type": 1},
    uses=(
        SessionUseView("ETR Reliable Registration", 7, "IPv4", 499_000),
        SessionUseView("ETR Reliable Registration", 7, "MAC", 1_000),
        SessionUseView("RLOC membership", 7, "IPv4", 12),
    ),
    counters={"registrations taken": 500_003, "refreshes sent": 1},
)


def _locator(rloc: str, state: str = "up", weight: int = 100) -> LocatorView:
    return LocatorView(rloc, state, 1, weight, 255, 0, True, False)


def _record(eid_prefix: str, *locators: LocatorView, ttl: int = 1440) -> RecordView:
    action = "no-action" if locators else "drop"
    return RecordView(eid_prefix, 7, ttl, action, True, 0, locators)


_RECORD = _record("10.1.1.0/24", _locator("192.0.2.7"))

_PART = PartView(
    site="campus",
    xtr_id=_XTR_ONE,
    site_id="5",
    source="192.0.2.7:51234",
    transport="TCP",
    state="session",
    session=17,
    since=NOW - 300,
    expires_in=None,
    flags=("proxy-reply", "map-notify"),
    record=_RECORD,
    key="ID 1, hmac-sha256-128+hkdf-sha256",
)

_REGISTRATION = RegistrationView(
    eid_prefix="10.1.1.0/24",
    instance_id=7,
    afi="IPv4",
    site="campus",
    configured_prefix="10.1.0.0/16",
    merged=False,
    since=NOW - 300,
    expires_in=None,
    last_registered_by="192.0.2.7:51234",
    transport="TCP",
    reliable=True,
    proxy_reply=True,
    record=_RECORD,
    parts=(_PART,),
)

_MERGED_PARTS = (
    dataclasses.replace(
        _PART,
        xtr_id=_XTR_TWO,
        source="192.0.2.8:4342",
        transport="UDP",
        state="UDP",
        session=None,
        since=NOW - 100_000,
        expires_in=120.5,
        flags=("merge", "map-notify"),
        record=_record("10.1.2.0/24", _locator("192.0.2.8", "down", 50), ttl=15),
        key="",
    ),
    dataclasses.replace(
        _PART,
        flags=("proxy-reply", "merge"),
        record=_record("10.1.2.0/24", _locator("192.0.2.7", weight=50)),
    ),
)

_MERGED = dataclasses.replace(
    _REGISTRATION,
    eid_prefix="10.1.2.0/24",
    merged=True,
    record=_record(
        "10.1.2.0/24", _locator("192.0.2.7", weight=50), _locator("192.0.2.8", "down", 50)
    ),
    parts=_MERGED_PARTS,
)

REGISTRATIONS = (
    _REGISTRATION,
    _MERGED,
    dataclasses.replace(
        _REGISTRATION,
        eid_prefix="2001:db8:1:2::/64",
        site="branch",
        afi="IPv6",
        since=NOW - 1_000_000,
        expires_in=179.9,
        last_registered_by="[2001:db8::9]:4342",
        transport="UDP",
        reliable=False,
        proxy_reply=False,
        record=_record("2001:db8:1:2::/64"),
        parts=(),
    ),
)

CAMPUS = SiteView(
    name="campus",
    keys=("ID 1, hmac-sha256-128+hkdf-sha256", "ID 2, hmac-sha-1-96"),
    allowed_rlocs=("192.0.2.0/24", "2001:db8::/32"),
    allowed_itrs=(),
    xtrs=2,
    sessions=2,
    registrations=1_000_000,
    rejections=7,
    eid_prefixes=(
        SitePrefixView("10.1.0.0/16", 7, True, "yes#", NOW - 300, "192.0.2.7:51234", 1_000),
        SitePrefixView("10.9.0.0/16", 7, False, "no", None, "", 0),
    ),
    prefixes=1_002,
)

SITES = (
    CAMPUS,
    dataclasses.replace(
        CAMPUS,
        name="branch",
        keys=("ID 1, hmac-sha-1-96",),
        allowed_rlocs=(),
        xtrs=1,
        sessions=0,
        registrations=-1,
        rejections=0,
        eid_prefixes=(
            SitePrefixView(
                "2001:db8:1::/48", 0, True, "yes", NOW - 1_000_000, "[2001:db8::9]:4342", -1
            ),
        ),
        prefixes=1,
    ),
    dataclasses.replace(CAMPUS, name="empty", eid_prefixes=(), prefixes=0),
)

EID = EidView(
    eid="10.1.2.5/32",
    instance_id=7,
    found="mapped",
    covered="10.1.2.0/24",
    site="campus",
    configured_prefix="10.1.0.0/16",
    accept_more_specifics=True,
    registration=_MERGED,
    covering=("10.1.0.0/20",),
    more_specifics=("10.1.2.128/25",),
    answer=Answered(
        "mapping",
        (_MERGED.record,),
        (),
        "The Map-Server answers itself: the ETRs asked for proxy replies.",
    ),
    other_instances=(0, 9),
)

EXPLANATION = Explanation(
    eid="10.9.1.1/32",
    instance_id=7,
    resolves=False,
    summary="10.9.1.1/32 in instance 7 does not resolve: nobody has registered it.",
    steps=(
        ExplanationStep("site", "10.9.0.0/16 of the site campus covers it.", "ok"),
        ExplanationStep("registration", "Nothing is registered that covers it.", "problem"),
        ExplanationStep(
            "rejections",
            "192.0.2.9:4342 was refused 7 times: authentication failure, key ID 2.",
            "problem",
        ),
        ExplanationStep("other instances", "It is registered in instance ID 9.", "note"),
    ),
    remedies=("Give the ETR at 192.0.2.9 the key with ID 2 of the site campus.",),
)

HISTORY = (
    HistoryView(
        105,
        NOW - 1.25,
        HistoryEvent.REJECTED,
        "10.9.1.0/24",
        7,
        "UDP",
        "campus",
        "",
        "192.0.2.9:4342",
        (),
        "No key with ID 2 of the site campus verifies it.",
        (),
    ),
    HistoryView(
        104,
        NOW - 30,
        HistoryEvent.EXPIRED,
        "10.1.3.0/24",
        7,
        "UDP",
        "campus",
        _XTR_TWO,
        "192.0.2.8:4342",
        (),
        "",
        (),
    ),
    HistoryView(
        103,
        NOW - 40.5,
        HistoryEvent.WITHDRAWN,
        "10.1.2.0/24",
        7,
        "TCP",
        "campus",
        _XTR_TWO,
        "192.0.2.8:51235",
        (),
        "",
        ("192.0.2.7", "192.0.2.9"),
    ),
    HistoryView(
        102,
        NOW - 300,
        HistoryEvent.CHANGED,
        "10.1.2.0/24",
        7,
        "TCP",
        "campus",
        _XTR_ONE,
        "192.0.2.7:51234",
        ("192.0.2.7", "192.0.2.8"),
        "",
        (),
    ),
    HistoryView(
        101,
        NOW - 300.004,
        HistoryEvent.REGISTERED,
        "name:\x1b[31mred",
        7,
        "UDP",
        "campus",
        _XTR_ONE,
        "192.0.2.7:4342",
        ("192.0.2.7",),
        "",
        (),
    ),
)

REJECTIONS = (
    RejectionView(
        7,
        NOW - 1.25,
        "authentication failure",
        "No key with ID 2 of the site campus verifies it.",
        "10.9.1.0/24",
        7,
        "campus",
        "",
        "UDP",
        "192.0.2.9:4342",
    ),
    RejectionView(
        6,
        NOW - 3_700,
        "not a valid site EID-prefix",
        "No site may register 172.16.0.0/12 in instance ID 7.",
        "172.16.0.0/12",
        7,
        "",
        _XTR_ONE,
        "TCP",
        "192.0.2.7:51234",
    ),
)

REJECTION_GROUPS = (
    RejectionGroupView("authentication failure", REJECTIONS[0].rule, "campus", 6, REJECTIONS[0]),
    RejectionGroupView("not a valid site EID-prefix", REJECTIONS[1].rule, "", 1, REJECTIONS[1]),
)

STATISTICS = (
    StatisticView("map-registers", "received", 1_234, "Map-Registers that came over UDP"),
    StatisticView("map-registers", "refused", 7, "of them, those refused as a whole"),
    StatisticView("map-registers", "dropped", 0, "too many at a time"),
    StatisticView("sessions", "established", 3, "sessions that came up since the start"),
)

MEMBERSHIP = MembershipView(
    enabled=True,
    families=(
        MemberFamilyView(7, "IPv4", 6, 2, tuple(f"192.0.2.{number}" for number in range(7, 13))),
        MemberFamilyView(9, "MAC", 0, 1, ()),
    ),
)

SUBSCRIPTIONS = (
    SubscriptionView(
        "10.1.1.0/24", 7, "campus", _XTR_ONE, ("192.0.2.7",), "00000000deadbeef", True, 0
    ),
    SubscriptionView(
        "10.1.2.0/24",
        9,
        "branch",
        _XTR_TWO,
        ("192.0.2.8", "2001:db8::8"),
        "00000000deadbef0",
        False,
        3,
    ),
)

ETR = EtrView(
    xtr_id=_XTR_ONE,
    site_id="5",
    address="192.0.2.7:4342",
    mappings=500_000,
    answers_map_requests=True,
    map_servers=(
        MapServerLinkView(
            map_server="198.51.100.1:4342",
            phase="up",
            retry_in=None,
            session=dataclasses.replace(
                _ESTABLISHED, role="active", peer="198.51.100.1:4342", local="192.0.2.7:51234"
            ),
            transports=(TransportView("tcp:198.51.100.1:4342", "TCP", "in use", "", 0),),
            last_map_notify=NOW - 315,
            states={"stable": 499_999, "rejected": 1, "ack-wait": 0},
            key="ID 1, hmac-sha256-128+hkdf-sha256",
            last_end=NOW - 318,
            last_end_reason="the peer closed the connection",
        ),
        MapServerLinkView(
            map_server="203.0.113.1:4342",
            phase="waiting to try again",
            retry_in=12.4,
            session=None,
            transports=(
                TransportView("quic:203.0.113.1:4342", "QUIC", "failed", "no answer in 5 s", 3),
                TransportView("tcp:203.0.113.1:4342", "TCP", "failed", "connection refused", 3),
            ),
            last_map_notify=None,
            states={"periodic": 500_000},
            key="ID 1, hmac-sha-1-96",
            last_end=None,
            last_end_reason="",
        ),
        MapServerLinkView(
            map_server="203.0.113.2:4342",
            phase="waiting for a Map-Notify",
            retry_in=None,
            session=None,
            transports=(TransportView("tcp:203.0.113.2:4342", "TCP", "not tried yet", "", 0),),
            last_map_notify=NOW - 100,
            states={"periodic": 500_000},
            key="ID 1, hmac-sha-1-96",
            last_end=NOW - 95,
            last_end_reason="the connection was lost",
        ),
    ),
)

MAPPINGS = (
    EtrMappingView(
        "10.1.1.0/24", 7, "198.51.100.1:4342", EtrMappingState.STABLE, "", False, _RECORD
    ),
    EtrMappingView(
        "10.1.1.0/24", 7, "203.0.113.1:4342", EtrMappingState.PERIODIC, "", True, _RECORD
    ),
    EtrMappingView(
        "172.16.0.0/12",
        7,
        "198.51.100.1:4342",
        EtrMappingState.REJECTED,
        "not a valid site EID-prefix",
        False,
        _record("172.16.0.0/12"),
    ),
)

SAMPLES: dict[str, object] = {
    "/overview": OVERVIEW,
    "/sessions": SESSIONS,
    "/sessions/192.0.2.7": SESSION,
    "/sites": SITES,
    "/sites/campus": CAMPUS,
    "/registrations": REGISTRATIONS,
    "/eid": EID,
    "/explain": EXPLANATION,
    "/history": HISTORY,
    "/rejections": REJECTIONS,
    "/rejection-groups": REJECTION_GROUPS,
    "/statistics": STATISTICS,
    "/membership": MEMBERSHIP,
    "/subscriptions": SUBSCRIPTIONS,
}
"""What a Map-Server answers at each path."""

ETR_SAMPLES: dict[str, object] = {
    "/overview": dataclasses.replace(OVERVIEW, roles=("etr",), sessions=1, established_sessions=1),
    "/statistics": STATISTICS,
    "/etr": ETR,
    "/etr/mappings": MAPPINGS,
}
"""What an ETR answers."""
