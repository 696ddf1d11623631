"""What all sites and transports have registered, counted by who holds it.

That takes a look at each lease, so it is done at most twice a second, and more rarely where there
are many: streams and metrics must not add up.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass

from lispmsrt.mapping.database import Xtr
from lispmsrt.services.map_server import MapServer
from lispmsrt.session.base import SessionState

__all__ = ["LIFETIME", "SiteTally", "Tallies", "Tally"]

LIFETIME = 0.5
"""Seconds for which everybody is told the same; of more than 10,000 leases in proportion, so that
counting never takes more than some hundredths of the time.
"""

_LEASES_PER_LIFETIME = 10_000


@dataclass(slots=True)
class SiteTally:
    """What one site has."""

    sessions: int = 0
    registrations: int = 0
    "each xTR's part of a merged one counts"
    xtrs: int = 0
    "that have something registered"


@dataclass(slots=True)
class Tally:
    """What there was at one moment."""

    sites: dict[str, SiteTally]
    sessions: Counter[str]
    "by transport"
    established: int
    registrations: Counter[str]
    "by transport, those of lost sessions too"
    reliable: int
    "registrations that live sessions hold"


class Tallies:
    """Count again when the last count is old."""

    def __init__(self, server: MapServer) -> None:
        self._server = server
        self._latest: Tally | None = None
        self._until = float("-inf")

    @property
    def latest(self) -> Tally:
        """The counts, at most :data:`LIFETIME` old where leases are not too many."""
        now = self._server.clock.seconds()
        if self._latest is None or now >= self._until:
            leases = len(self._server.registrar.leases)
            self._until = now + LIFETIME * max(1.0, leases / _LEASES_PER_LIFETIME)
            self._latest = self._count()
        return self._latest

    def of_site(self, name: str) -> SiteTally:
        """Return what a site has."""
        return self.latest.sites.get(name) or SiteTally()

    def _count(self) -> Tally:
        sites: defaultdict[str, SiteTally] = defaultdict(SiteTally)
        sessions: Counter[str] = Counter()
        registrations: Counter[str] = Counter()
        established = reliable = 0
        seen: set[Xtr] = set()
        for session in self._server.sessions:
            sessions[session.transport] += 1
            established += session.state is SessionState.ESTABLISHED
            if session.lease is not None:
                sites[session.lease.xtr.site].sessions += 1
        for lease in self._server.registrar.leases:
            held = len(lease.held)
            site = sites[lease.xtr.site]
            site.registrations += held
            # A set of its own for each of thousands of sites would take as long as all the rest.
            if lease.xtr not in seen:
                seen.add(lease.xtr)
                site.xtrs += 1
            registrations[lease.transport] += held
            if lease.is_live:
                reliable += held
        return Tally(dict(sites), sessions, established, registrations, reliable)
