"""The hand of an ITR: it makes Map-Requests, plain and in ECMs, and reads what comes back."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from lispmsrt.control.lisp_sec import MapServerSecurity
from lispmsrt.control.map_requests import MapRequests, Refers, Subscribes
from lispmsrt.control.map_resolver import MapResolver, Target, Targets
from lispmsrt.control.questions import Questions
from lispmsrt.control.request_limits import RequestLimits
from lispmsrt.mapping.lookup import Lookup
from lispmsrt.wire.addresses import Address, EidPrefix
from lispmsrt.wire.encapsulated import (
    EncapsulatedControlMessage,
    decode_encapsulated,
    encode_encapsulated,
)
from lispmsrt.wire.map_reply import MapReply, decode_map_reply
from lispmsrt.wire.map_request import MapRequest, RequestedEid, encode_map_request
from lispmsrt.wire.records import MappingRecord
from tests.builders import Etr, M, MapServer, P, ip

__all__ = [
    "ITR",
    "ITR_PORT",
    "NONCE",
    "OUTER",
    "Sent",
    "asker",
    "ecm",
    "forwarded",
    "map_request",
    "only_record",
    "records_of",
    "register",
    "registered",
    "resolver",
]

NONCE = 0x0123456789ABCDEF
ITR = "203.0.113.9"
ITR_PORT = 61_000
OUTER = (ip("198.51.100.53"), 4342)
"""Where ECMs come from: a Map-Resolver."""

_NONCES = itertools.count(1)

Sent = list[tuple[bytes, tuple[bytes, int]]]


def map_request(
    *eids: str | EidPrefix,
    itr: str | Iterable[Any] = ITR,
    nonce: int = NONCE,
    **flags: Any,
) -> MapRequest:
    """Return a Map-Request for these EIDs; ``itr``: one ITR-RLOC, or several, LCAFs too."""
    rlocs = (itr,) if isinstance(itr, str) else itr
    return MapRequest(
        nonce,
        tuple(Address.from_text(rloc) if isinstance(rloc, str) else rloc for rloc in rlocs),
        tuple(RequestedEid(_eid(eid)) for eid in eids),
        **flags,
    )


def _eid(eid: str | EidPrefix) -> EidPrefix:
    if isinstance(eid, EidPrefix):
        return eid
    if "/" not in eid and not eid.startswith("name:"):
        eid += "/128" if eid.count(":") > 1 else "/32"
    return EidPrefix.from_text(eid)


def ecm(
    payload: MapRequest | bytes,
    *,
    source: str = ITR,
    destination: str | None = None,
    port: int = ITR_PORT,
    to_port: int = 4342,
    **flags: Any,
) -> bytes:
    """Return an ECM around a Map-Request, or around anything else."""
    inside = encode_map_request(payload) if isinstance(payload, MapRequest) else payload
    if destination is None:
        destination = "2001:db8::53" if ":" in source else "198.51.100.53"
    message = EncapsulatedControlMessage(
        Address.from_text(source), Address.from_text(destination), port, to_port, inside
    )
    return encode_encapsulated(replace(message, **flags))


def registered(*records: bytes, flags: int = P | M, etr: Etr | None = None) -> MapServer:
    """Return a Map-Server for 10/8 with these records registered over UDP."""
    server = MapServer()
    register(server, *records, flags=flags, etr=etr)
    return server


def register(
    server: MapServer,
    *records: bytes,
    flags: int = P | M,
    etr: Etr | None = None,
    now: float = 0.0,
) -> None:
    """Register these records over UDP."""
    etr = etr or Etr()
    for one in records:
        etr.nonce = next(_NONCES)
        assert server.hear(etr, etr.map_register(one, flags=flags), now), "not registered"


@dataclass
class Asker:
    """Somebody who asks a Map-Server or Map-Resolver."""

    part: MapRequests | MapResolver

    def send(self, data: bytes, source: tuple[bytes, int] = OUTER, now: float = 0.0) -> Sent:
        """Send a datagram and return what is sent thereupon."""
        self.part.receive_datagram(data, source, now)
        return self.part.datagrams_to_send(now)

    def ask(self, *eids: str | EidPrefix, now: float = 0.0, **options: Any) -> MapReply:
        """Ask in an ECM and return the Map-Reply, which must come to the ITR."""
        ((data, to),) = self.send(ecm(map_request(*eids, **options)), now=now)
        reply = decode_map_reply(data)
        assert to == (ip(ITR), ITR_PORT), to
        assert reply.nonce == NONCE
        return reply

    def counted(self, what: str) -> int:
        """Return how often that was counted."""
        return self.part.counters[what]


def asker(
    server: MapServer,
    *,
    rate: float = 0.0,
    can_reach: Callable[[int], bool] = lambda afi: True,
    own_addresses: Collection[bytes] = (),
    subscriptions: Subscribes | None = None,
    security: MapServerSecurity | None = None,
    referrals: Refers | None = None,
) -> Asker:
    """Return one who asks a Map-Server."""
    return Asker(
        MapRequests(
            Lookup(server.registrar.database, lambda: server.registrar.sites),
            lambda: server.registrar.sites,
            Questions(RequestLimits(Random(1), rate=rate, burst=4), can_reach),
            can_reach=can_reach,
            own_addresses=own_addresses,
            subscriptions=subscriptions,
            security=security,
            referrals=referrals,
        )
    )


def resolver(
    *targets: Target,
    server: MapServer | None = None,
    can_reach: Callable[[int], bool] = lambda afi: True,
    own_addresses: Collection[bytes] = (),
    security: MapServerSecurity | None = None,
) -> Asker:
    """Return one who asks a Map-Resolver, on its own or together with a Map-Server."""
    map_server = None
    if server is not None:
        part = asker(server, own_addresses=own_addresses, can_reach=can_reach).part
        assert isinstance(part, MapRequests)
        map_server = part
    return Asker(
        MapResolver(
            Targets(targets),
            Questions(RequestLimits(Random(1), rate=0), can_reach),
            can_reach=can_reach,
            own_addresses=own_addresses,
            map_server=map_server,
            security=security,
        )
    )


def only_record(reply: MapReply) -> MappingRecord:
    """Return the one record of a Map-Reply."""
    (record,) = reply.records
    return record


def records_of(reply: MapReply) -> list[tuple[str, int, int, int]]:
    """Return EID-prefix, TTL, number of locators and action of each record."""
    return [(str(one.eid), one.ttl, len(one.locators), one.action) for one in reply.records]


def forwarded(sent: Sent) -> tuple[EncapsulatedControlMessage, tuple[bytes, int]]:
    """Return the one ECM that was sent, and where to."""
    ((data, to),) = sent
    return decode_encapsulated(data), to
