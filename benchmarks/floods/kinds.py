"""Every flood by its name: what it is, and who makes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from typing import Protocol

from benchmarks.floods.attackers import Knocks, Returns, client_hello
from benchmarks.floods.datagrams import (
    MANY,
    Build,
    DatagramFlood,
    armings,
    garbage,
    map_requests,
    subscriptions,
    wrong_macs,
)
from benchmarks.floods.intruders import Intruders, Manner

__all__ = ["KINDS", "Flood", "Kind", "Ports"]

Ports = tuple[int, ...]
"""Of a Map-Server: UDP, TCP, TLS, and QUIC where there is one."""


class Flood(Protocol):
    """What the generator drives. Nothing in it waits."""

    @property
    def handled(self) -> int | None:
        """How much the Map-Server has taken; None where it counts that itself, in datagrams."""

    @property
    def room(self) -> int:
        """How many may be offered at once where nothing is to be in vain."""

    def offer(self, number: int) -> int:
        """Send so many; return how many were sent."""

    def look(self) -> None:
        """See to what has come back."""

    def close(self) -> None:
        """Close everything."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A row of the table."""

    name: str
    unit: str
    make: Callable[[Ports], Flood]
    is_bounded_by_tcp: bool = False
    "whether more can't be offered than the Map-Server reads: TCP holds the rest back"
    needs_quic: bool = False
    has_aim: bool = True
    "whether half is to be left; not where all that comes is valid, and does what it says"


def _over_udp(build: Build, sources: int = 1) -> Callable[[Ports], Flood]:
    return partial(DatagramFlood, build=build, sources=sources)


def _returning(ports: Ports) -> Flood:
    return Returns((ports[0], ports[1]))


def _returning_over_tls(ports: Ports) -> Flood:
    return Returns((ports[0], ports[2]), client_hello)


def _initials(ports: Ports) -> Flood:
    from benchmarks.floods.quic import initials

    return DatagramFlood(ports[3:], initials, sources=MANY)


def _empty_to_quic(ports: Ports) -> Flood:
    return DatagramFlood(ports[3:], lambda: cycle([b""]))


def _returning_over_quic(ports: Ports) -> Flood:
    from benchmarks.floods.quic import QuicReturns

    return QuicReturns((ports[0], ports[3]))


def _sessions(manner: Manner) -> Callable[[Ports], Flood]:
    return lambda ports: Intruders((ports[0], ports[1]), manner)


_wrong_1, _wrong_20 = partial(wrong_macs, 1), partial(wrong_macs, 20)

KINDS: dict[str, Kind] = {
    "garbage": Kind("garbage, one source", "datagrams", _over_udp(garbage)),
    "garbage-many": Kind("garbage, many sources", "datagrams", _over_udp(garbage, MANY)),
    "macs": Kind("Map-Registers, wrong MAC, one source", "datagrams", _over_udp(_wrong_1)),
    "macs-many": Kind(
        "Map-Registers, wrong MAC, many sources", "datagrams", _over_udp(_wrong_1, MANY)
    ),
    "macs20": Kind(
        "Map-Registers of 20 records, wrong MAC, one source", "datagrams", _over_udp(_wrong_20)
    ),
    "macs20-many": Kind(
        "Map-Registers of 20 records, wrong MAC, many sources",
        "datagrams",
        _over_udp(_wrong_20, MANY),
    ),
    "tokens": Kind("Map-Registers that arm and do not connect", "datagrams", _over_udp(armings)),
    "unarmed": Kind("TCP connections, unarmed", "connections", lambda ports: Knocks(ports[1])),
    "unarmed-tls": Kind("TLS connections, unarmed", "connections", lambda ports: Knocks(ports[2])),
    "unarmed-quic": Kind("QUIC connections, unarmed", "Initials", _initials, needs_quic=True),
    "empty-quic": Kind(
        "empty datagrams to the QUIC port", "datagrams", _empty_to_quic, needs_quic=True
    ),
    "armed": Kind("ETRs that arm, connect and leave", "connections", _returning),
    "armed-tls": Kind("ETRs that arm, begin TLS and leave", "connections", _returning_over_tls),
    "armed-quic": Kind(
        "ETRs that arm, begin QUIC and leave", "connections", _returning_over_quic, needs_quic=True
    ),
    "requests": Kind("Map-Requests, one source", "datagrams", _over_udp(map_requests)),
    "requests-many": Kind("Map-Requests, many sources", "datagrams", _over_udp(map_requests, MANY)),
    "subscriptions": Kind(
        "Map-Requests that subscribe, known xTRs", "datagrams", _over_udp(subscriptions, MANY)
    ),
    "trickle": Kind("sessions that trickle", "octets", _sessions(Manner.TRICKLES), True),
    "unread": Kind(
        "sessions that never read", "Registrations", _sessions(Manner.NEVER_READS), True
    ),
    "forged": Kind("sessions, wrong MACs", "Registrations", _sessions(Manner.FORGES), True),
    "takeovers": Kind(
        "sessions that take EIDs from each other",
        "answers",
        _sessions(Manner.TAKES_OVER),
        is_bounded_by_tcp=True,
        has_aim=False,
    ),
}
