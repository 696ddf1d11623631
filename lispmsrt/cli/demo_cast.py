"""Who plays in the demo: a Map-Server, and an ETR for each of its sites, on loopback addresses."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_network
from itertools import islice
from typing import Any

from twisted.internet.interfaces import IReactorTime

from lispmsrt.cli.demo_transports import MAP_SERVER_ADDRESS, LoopbackTransport
from lispmsrt.config import parse
from lispmsrt.mapping.etr_states import EtrState
from lispmsrt.services.etr import Etr, NullListener
from lispmsrt.services.map_server import MapServer
from lispmsrt.services.snapshots import TransportState
from lispmsrt.session.base import CloseReason
from lispmsrt.session.etr import EtrSession
from lispmsrt.wire.addresses import Address, EidPrefix
from lispmsrt.wire.records import Locator, MappingRecord
from lispmsrt.wire.reliable_transport import MappingNotification, eid_wire_form

__all__ = ["EIDS", "ITR_XTR_ID", "SITES", "Actor", "DemoSite", "EtrEvents", "make_map_server"]

EIDS = 200
"""EID-prefixes that an ETR registers."""

REARM_DELAY = 0.5
"""Seconds within which an ETR authenticates anew: shorter than the default, which is for a thousand
of them.
"""


@dataclass(frozen=True, slots=True)
class DemoSite:
    """A site, and what its ETR registers."""

    name: str
    address: str
    "of its ETR"
    prefix: str
    instance_id: int
    length: int
    "of the EID-prefixes that are registered"
    count: int = EIDS
    merge: bool = False
    "whether its ETR registers with the a bit"
    xtr_id: bytes = field(default_factory=lambda: secrets.token_bytes(16))
    secret: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)

    def eids(self) -> Iterator[EidPrefix]:
        """Yield the EID-prefixes to register."""
        subnets = ip_network(self.prefix).subnets(new_prefix=self.length)
        # Not from the first on, so that prefixes look like what they are.
        for subnet in islice(subnets, 1, self.count + 1):
            yield EidPrefix.from_text(str(subnet), self.instance_id)

    def record(self, eid: EidPrefix, rloc: str = "") -> MappingRecord:
        """Return a mapping to the ETR's address, or to another RLOC."""
        locator = Locator(Address.from_text(rloc or self.address), priority=1, weight=100)
        return MappingRecord(eid, 1440, (locator,), authoritative=True)


SITES = (
    DemoSite("campus", "127.0.0.2", "10.1.0.0/16", 0, 32),
    DemoSite("branch", "127.0.0.3", "2001:db8:2::/48", 0, 64),
    DemoSite("tenant", "127.0.0.4", "10.0.0.0/8", 7, 24),
    DemoSite("plant", "127.0.0.5", "2001:db8:5::/48", 0, 56),
    DemoSite("depot", "127.0.0.6", "10.6.0.0/16", 0, 28),
    DemoSite("mobile", "127.0.0.7", "10.7.0.0/16", 8, 32, merge=True),
)
"""One for each transport, and one for the ETR that tries several and shares an EID-prefix later."""

ITR_XTR_ID = secrets.token_bytes(16)
"""Of the ITR that subscribes; it belongs to the last site."""

_MAP_SERVER = """
[map-server]
control = ["{address}:0"]
reliable-transport = {endpoints}
subscriptions = {{ enabled = true }}
"""

_SITE = """
[[site]]
name = "{site.name}"
keys = [{{ id = 0, algorithm = "hmac-sha-256-128", secret = "{site.secret}" }}]
allowed-rlocs = ["127.0.0.0/8"]
  [[site.eid-prefix]]
  prefix = "{site.prefix}"
  instance-id = {site.instance_id}
  accept-more-specifics = true
"""

_ITR = """
  [[site.xtr]]
  xtr-id = "{xtr_id}"
"""

_ETR = """
[etr]
control = "{site.address}:0"
xtr-id = "{xtr_id}"
site-id = 1
rearm-delay = {rearm_delay}

[[etr.map-server]]
address = "{udp}"
key = {{ id = 0, algorithm = "hmac-sha-256-128", secret = "{site.secret}" }}
transports = {transports}
merge = {merge}
"""


def make_map_server(
    reactor: Any, clock: IReactorTime, transports: Sequence[LoopbackTransport]
) -> MapServer:
    """Build the Map-Server; the kernel chooses its ports when it starts."""
    endpoints = [transport.server for transport in transports]
    text = _MAP_SERVER.format(address=MAP_SERVER_ADDRESS, endpoints=_toml(endpoints))
    text += "".join(_SITE.format(site=site) for site in SITES)
    config = parse(text + _ITR.format(xtr_id=ITR_XTR_ID.hex()))
    assert config.map_server is not None
    return MapServer(config.map_server, config.site, reactor, clock)


def _toml(value: Sequence[str] | bool) -> str:
    return json.dumps(value, ensure_ascii=False)


class EtrEvents:
    """Who hears what an ETR of the demo hears."""

    def authenticated(self, actor: Actor) -> None:
        """A Map-Notify with r came."""

    def session_up(self, actor: Actor) -> None:
        """Its session is up."""

    def session_down(self, actor: Actor, reason: CloseReason) -> None:
        """Its session is over."""

    def mapping_notified(self, actor: Actor, notification: MappingNotification) -> None:
        """It was told what is registered now."""


class Actor(NullListener):
    """One ETR: its service, what it means to register, and what it has counted."""

    def __init__(
        self,
        site: DemoSite,
        transport: LoopbackTransport,
        endpoints: Sequence[str],
        *,
        map_server: MapServer,
        events: EtrEvents,
        reactor: Any,
        clock: IReactorTime,
    ) -> None:
        """``endpoints`` are those that the ETR tries; ``transport`` is the one that will work."""
        self.site = site
        self.transport = transport
        self.meant: dict[EidPrefix, MappingRecord] = {}
        "what the Map-Server must hold in the end"
        self.sessions: list[EtrSession] = []
        "those that were established, the last one perhaps still up"
        self.up_after: float | None = None
        "seconds from the Map-Notify to the Refresh of the last session"
        self.rate: float | None = None
        "Registrations a second from the Map-Notify to the last ACK, connecting included"
        self._events = events
        self._clock = clock
        self._notified_at: float | None = None
        udp = map_server.addresses[0]
        text = _ETR.format(
            site=site,
            xtr_id=site.xtr_id.hex(),
            rearm_delay=REARM_DELAY,
            udp=f"{udp.host}:{udp.port}",
            transports=_toml(endpoints),
            merge=_toml(site.merge),
        )
        config = parse(text)
        assert config.etr is not None
        self.etr = Etr(config.etr, reactor, clock, listener=self)

    @property
    def is_up(self) -> bool:
        """Whether its session is established."""
        session = self.etr.links[0].session
        return session is not None and session.was_established

    @property
    def failed(self) -> list[tuple[str, str]]:
        """Transports whose last attempt failed, and why."""
        return [
            (each.transport, each.reason)
            for each in self.etr.snapshot().map_servers[0].transports
            if each.state is TransportState.FAILED
        ]

    @property
    def map_registers(self) -> int:
        """Map-Registers sent over UDP so far."""
        return self.etr.links[0].control.counters["Map-Registers out"]

    @property
    def registrations(self) -> int:
        """Registrations sent on sessions so far; an ETR sends nothing else but errors."""
        return self._count("messages out") - self._count("errors out")

    @property
    def rejections(self) -> int:
        """Rejections received so far."""
        return self._count("rejections in")

    @property
    def acks(self) -> int:
        """ACKs received so far: what is none of the other messages."""
        others = ("refreshes in", "rejections in", "notifications in", "errors in")
        return self._count("messages in") - sum(map(self._count, others))

    def _count(self, counter: str) -> int:
        return sum(session.counters[counter] for session in self.sessions)

    def gave_way(self, eid: EidPrefix) -> bool:
        """Whether it has left an EID-prefix to the xTR that has taken it over."""
        entry = self.etr.links[0].registrations.find(eid_wire_form(eid))
        return entry is not None and entry.state is EtrState.ROAMED

    def finished(self, acks: int) -> float:
        """Note that so many ACKs have come since the Map-Notify; return the seconds it took."""
        assert self._notified_at is not None
        took = self._clock.seconds() - self._notified_at
        self.rate = acks / took
        return took

    # EtrListener

    def leave_given(self, map_server: str) -> None:
        """A Map-Notify with r came over UDP: the first of each session counts."""
        if self._notified_at is None:
            self._notified_at = self._clock.seconds()
            self._events.authenticated(self)

    def session_up(self, map_server: str, transport: str) -> None:
        """The first Refresh came on a session."""
        session = self.etr.links[0].session
        assert session is not None and self._notified_at is not None
        self.sessions.append(session)
        self.up_after = self._clock.seconds() - self._notified_at
        self._events.session_up(self)

    def session_down(self, map_server: str, reason: CloseReason) -> None:
        """The session is over."""
        self._notified_at = None
        self._events.session_down(self, reason)

    def mapping_notified(self, map_server: str, notification: MappingNotification) -> None:
        """Somebody else has changed what is registered."""
        self._events.mapping_notified(self, notification)
