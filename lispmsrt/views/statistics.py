"""Every counter of a role, with the group that it belongs to and its meaning.

Nothing is counted here: what the parts have counted is read when somebody asks.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from weakref import WeakKeyDictionary

from lispmsrt.mapping.registrar import Registrar
from lispmsrt.mapping.rejections import Rejections
from lispmsrt.mapping.verdicts import Verdict
from lispmsrt.services.etr import Etr
from lispmsrt.services.map_resolver import MapResolverService
from lispmsrt.services.map_server import MapServer
from lispmsrt.views import meanings
from lispmsrt.views.values import StatisticView
from lispmsrt.wire.reliable_transport import reason_text

__all__ = [
    "REJECTION_NAMES",
    "counters_of_port",
    "etr_statistics",
    "management_statistics",
    "map_resolver_statistics",
    "map_server_statistics",
    "session_totals",
    "verdict_counts",
]

_SUMMED_AT_ONCE = 256
"""Sessions whose counters are summed whenever somebody asks: that takes less than 1 ms."""

_SUM_LIFETIME = 0.5
"""Seconds for which a sum of more sessions is told again; of more than 10,000 in proportion, so
that whoever asks all the time takes no more of the reactor than a few hundredths.
"""

_SESSIONS_PER_LIFETIME = 10_000

REJECTION_NAMES: dict[Verdict, str] = {
    verdict: reason_text(verdict) for verdict in Verdict if verdict is not Verdict.ACCEPTED
}
"What was refused, as a Registration Rejection has it."

_NOTHING: Mapping[str, int] = {}

_sums: WeakKeyDictionary[MapServer, tuple[float, Counter[str]]] = WeakKeyDictionary()
"Map-Server to the sum over its sessions, and until when that is told again"


def map_server_statistics(server: MapServer) -> tuple[StatisticView, ...]:
    """Return every counter of a Map-Server."""
    mapping, registrar = server.mapping, server.registrar
    registering = mapping.registrations
    found = [
        *meanings.MAP_REGISTERS.views(registering.counters + registering.nonces.counters),
        *meanings.REGISTRATIONS.views(registrar.counters + registrar.rejections.counters),
        *meanings.VERDICTS.views(_verdicts(registrar)),
        *meanings.ARMING.views(server.armory.counters),
        *meanings.SESSIONS.views(session_totals(server)),
        *meanings.ENDINGS.views(server.endings),
    ]
    for group, part in (
        (meanings.NOTIFICATIONS, mapping.publisher),
        (meanings.MEMBERSHIP, mapping.members),
        (meanings.MAP_REQUESTS, mapping.requests),
        (meanings.LISP_SEC, mapping.security),
        (meanings.MAP_REFERRALS, mapping.referrals),
        (meanings.MAP_NOTIFIES, mapping.notifies),
        (meanings.RETRANSMISSIONS, mapping.retransmissions),
        (meanings.SUBSCRIPTIONS, mapping.subscriptions),
        (meanings.CONTROL_PLANE, mapping.plane),
        (meanings.UDP_SOCKETS, server.udp),
        (meanings.STATE, mapping.memory),
    ):
        if part is not None:
            found += group.views(_counters(part))
    return (*found, *meanings.TRANSPORTS.views(_sum(map(counters_of_port, server.listening_ports))))


def etr_statistics(etr: Etr) -> tuple[StatisticView, ...]:
    """Return every counter of an ETR, those of all its Map-Servers together."""
    links = etr.links
    sessions = [_counters(link.session) for link in links if link.session is not None]
    sessions += [link.ended for link in links]
    found = [
        *meanings.ETR_REGISTERING.views(_sum(link.control.counters for link in links)),
        *meanings.ETR_SESSIONS.views(_sum(sessions)),
    ]
    if etr.answers is not None:
        found += meanings.ETR_ANSWERS.views(etr.answers.counters)
    members = [link.members.counters for link in links if link.members is not None]
    if members:
        found += meanings.ETR_MEMBERSHIP.views(_sum(members))
    return (*found, *meanings.UDP_SOCKETS.views(etr.udp.counters))


def map_resolver_statistics(service: MapResolverService) -> tuple[StatisticView, ...]:
    """Return every counter of a Map-Resolver."""
    security = service.resolver.security
    return (
        *meanings.MAP_REQUESTS.views(service.resolver.counters),
        *(meanings.LISP_SEC.views(security.counters) if security is not None else ()),
        *meanings.CONTROL_PLANE.views(service.plane.counters),
        *meanings.UDP_SOCKETS.views(service.udp.counters),
    )


def management_statistics(counters: Mapping[str, int]) -> tuple[StatisticView, ...]:
    """Return every counter of the management endpoint, which is of no role."""
    return meanings.MANAGEMENT.views(counters)


def session_totals(
    server: MapServer, seconds: Callable[[], float] = time.monotonic
) -> Counter[str]:
    """Return the sum of what the sessions of a Map-Server have counted, those too that have ended;
    of many sessions it may be half a second old. To be read only.
    """
    many, known = len(server.session_protocols), _sums.get(server)
    if known is not None and many > _SUMMED_AT_ONCE and seconds() < known[0]:
        return known[1]
    # Together, or what has just ended would be counted twice.
    total = _sum([session.counters for session in server.sessions] + [server.ended])
    lifetime = _SUM_LIFETIME * max(1.0, many / _SESSIONS_PER_LIFETIME)
    _sums[server] = (seconds() + lifetime, total)
    return total


def verdict_counts(rejections: Rejections) -> dict[Verdict, int]:
    """Return how many Registrations and records of Map-Registers were refused for each reason that
    a Registration Rejection has.
    """
    counts = dict.fromkeys(REJECTION_NAMES, 0)
    counts.update(rejections.per_verdict)
    return counts


def counters_of_port(port: object) -> Counter[str]:
    """Return what a listening port of a reliable transport, and what stands before the sessions
    there, have counted.
    """
    factory = getattr(port, "factory", None)
    parts = [port, factory, getattr(factory, "handshakes", None), getattr(port, "socket", None)]
    return _sum(map(_counters, parts))


def _verdicts(registrar: Registrar) -> dict[str, int]:
    refused = verdict_counts(registrar.rejections)
    counts = {REJECTION_NAMES[verdict]: count for verdict, count in refused.items()}
    return {"accepted": registrar.accepted, **counts}


def _counters(part: object) -> Mapping[str, int]:
    """Return the counters of something, none where it keeps none."""
    counters: Mapping[str, int] = getattr(part, "counters", _NOTHING)
    return counters


def _sum(counters: Iterable[Mapping[str, int]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for one in counters:
        for name, value in one.items():
            total[name] += value
    return total
