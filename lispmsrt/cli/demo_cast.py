"""Who plays in the demo: a Map-Server with three sites, and an ETR for each, on loopback
addresses.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_network
from itertools import islice
from typing import Any

from twisted.internet.interfaces import IReactorTime

from lispmsrt.config import parse
from lispmsrt.services.etr import Etr, NullListener
from lispmsrt.services.map_server import MapServer
from lispmsrt.session.base import CloseReason
from lispmsrt.session.etr import EtrSession
from lispmsrt.wire.addresses import Address, EidPrefix
from lispmsrt.wire.records import Locator, MappingRecord

__all__ = ["SITES", "Actor", "DemoSite", "EtrEvents", "make_map_server"]

MAP_SERVER_ADDRESS = "127.0.0.1"

REARM_DELAY = 1.0
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
    count: int
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
    DemoSite("campus", "127.0.0.2", "10.1.0.0/16", 0, 32, 334),
    DemoSite("branch", "127.0.0.3", "2001:db8:2::/48", 0, 64, 333),
    DemoSite("tenant", "127.0.0.4", "10.0.0.0/8", 7, 24, 333),
)

_MAP_SERVER = f"""
[map-server]
control = ["{MAP_SERVER_ADDRESS}:0"]
reliable-transport = ["tcp:0:interface={MAP_SERVER_ADDRESS}"]
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

_ETR = """
[etr]
control = "{site.address}:0"
xtr-id = "{xtr_id}"
site-id = 1
rearm-delay = {rearm_delay}

[[etr.map-server]]
address = "{udp}"
key = {{ id = 0, algorithm = "hmac-sha-256-128", secret = "{site.secret}" }}
transports = ["tcp:{tcp}:bindAddress={site.address}"]
"""


def make_map_server(reactor: Any, clock: IReactorTime, sites: Sequence[DemoSite]) -> MapServer:
    """Build the Map-Server; the kernel chooses its ports when it starts."""
    config = parse(_MAP_SERVER + "".join(_SITE.format(site=site) for site in sites))
    assert config.map_server is not None
    return MapServer(config.map_server, config.site, reactor, clock)


class EtrEvents:
    """Who hears what an ETR of the demo hears."""

    def authenticated(self, actor: Actor) -> None:
        """A Map-Notify with r came."""

    def session_up(self, actor: Actor) -> None:
        """Its session is up."""

    def session_down(self, actor: Actor, reason: CloseReason) -> None:
        """Its session is over."""


class Actor(NullListener):
    """One ETR: its service, what it means to register, and what it has counted."""

    def __init__(
        self, site: DemoSite, map_server: MapServer, events: EtrEvents, reactor: Any, clock: Any
    ) -> None:
        udp, tcp = map_server.addresses
        self.site = site
        self.meant: dict[EidPrefix, MappingRecord] = {}
        "what the Map-Server must hold in the end"
        self.sessions: list[EtrSession] = []
        "those that were established, the last one perhaps still up"
        self._events = events
        text = _ETR.format(
            site=site,
            xtr_id=site.xtr_id.hex(),
            rearm_delay=REARM_DELAY,
            udp=f"{udp.host}:{udp.port}",
            tcp=f"{tcp.host}:{tcp.port}",
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

    # EtrListener

    def leave_given(self, map_server: str) -> None:
        """A Map-Notify with r came over UDP."""
        self._events.authenticated(self)

    def session_up(self, map_server: str, transport: str) -> None:
        """The first Refresh came on a session."""
        session = self.etr.links[0].session
        assert session is not None
        self.sessions.append(session)
        self._events.session_up(self)

    def session_down(self, map_server: str, reason: CloseReason) -> None:
        """The session is over."""
        self._events.session_down(self, reason)
