"""Everything that one process can show, whichever roles it has."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace

from lispmsrt.compiled import is_compiled
from lispmsrt.services.etr import Etr
from lispmsrt.services.link import MapServerLink
from lispmsrt.services.map_resolver import MapResolverService
from lispmsrt.services.map_server import MapServer
from lispmsrt.session.base import SessionState
from lispmsrt.version import VERSION
from lispmsrt.views.etr import EtrViews
from lispmsrt.views.map_resolver import MapResolverViews
from lispmsrt.views.map_server import MapServerViews
from lispmsrt.views.overview import control_listeners
from lispmsrt.views.values import (
    EtrMappingState,
    ListenerView,
    OverviewView,
    StatisticView,
    TransportCountView,
)

__all__ = ["NodeViews"]

_NOTHING: Mapping[str, int] = {}


class NodeViews:
    """The views of a process; None for a role that it has not."""

    def __init__(
        self,
        map_server: MapServerViews | None = None,
        etr: EtrViews | None = None,
        map_resolver: MapResolverViews | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """``wall_clock`` returns seconds since 1970."""
        self.map_server = map_server
        self.etr = etr
        self.map_resolver = map_resolver
        self._wall_clock = wall_clock
        self._began = wall_clock()

    @classmethod
    def of(
        cls,
        map_server: MapServer | None = None,
        etr: Etr | None = None,
        map_resolver: MapResolverService | None = None,
    ) -> NodeViews:
        """Return the views of these roles."""
        return cls(
            MapServerViews(map_server) if map_server is not None else None,
            EtrViews(etr) if etr is not None else None,
            MapResolverViews(map_resolver) if map_resolver is not None else None,
        )

    def overview(self) -> OverviewView:
        """Return one look at everything. Where there is a Map-Server, the numbers are its own;
        else they are those of the ETR and the Map-Resolver.
        """
        if self.map_server is not None:
            overview = self.map_server.overview()
            return overview if self.etr is None else _with_role(overview, "etr")
        overview = self._nothing()
        if self.map_resolver is not None:
            overview = self._of_map_resolver(overview, self.map_resolver)
        return overview if self.etr is None else self._of_etr(overview, self.etr)

    def statistics(self) -> tuple[StatisticView, ...]:
        """Return every counter of every role."""
        parts = (self.map_server, self.map_resolver, self.etr)
        return tuple(one for part in parts if part is not None for one in part.statistics())

    def _nothing(self) -> OverviewView:
        return OverviewView(
            version=VERSION,
            roles=(),
            now=self._wall_clock(),
            started=self._began,
            registrations=0,
            eid_prefixes=0,
            reliable_registrations=0,
            sites=0,
            sessions=0,
            established_sessions=0,
            subscriptions=0,
            transports=(),
            listeners=(),
            messages_in=0,
            messages_out=0,
            registrations_taken=0,
            map_requests=0,
            map_replies=0,
            rejections=0,
            history_number=0,
            is_compiled=is_compiled(),
        )

    def _of_map_resolver(self, overview: OverviewView, views: MapResolverViews) -> OverviewView:
        counters = views.service.resolver.counters
        asked = counters["Map-Requests in"]
        forwarded = counters["Map-Requests forwarded to Map-Servers"]
        return replace(
            _with_role(overview, "map-resolver"),
            listeners=(*overview.listeners, *control_listeners(views.service.addresses)),
            messages_in=overview.messages_in + asked,
            messages_out=overview.messages_out + forwarded + counters["Map-Replies out"],
            map_requests=asked,
            map_replies=counters["Map-Replies out"],
        )

    def _of_etr(self, overview: OverviewView, views: EtrViews) -> OverviewView:
        """Add an ETR: what it has registered at its Map-Servers, over which transports."""
        etr = views.service
        seen = views.etr()
        counted = sum(map(_counters, etr.links), Counter())
        sessions = [link.session for link in seen.map_servers if link.session is not None]
        stable = [link.states.get(EtrMappingState.STABLE, 0) for link in seen.map_servers]
        up = [one for one in sessions if one.state == SessionState.ESTABLISHED.value]
        answers = etr.answers.counters if etr.answers is not None else _NOTHING
        listeners: tuple[ListenerView, ...] = control_listeners(
            [etr.address] if etr.address else []
        )
        over = Counter([one.transport for one in sessions])
        registered: Counter[str] = Counter()
        for one in sessions:
            registered[one.transport] += one.registrations
        return replace(
            _with_role(overview, "etr"),
            registrations=seen.mappings,
            eid_prefixes=seen.mappings,
            reliable_registrations=sum(stable),
            sessions=len(sessions),
            established_sessions=len(up),
            transports=tuple(
                TransportCountView(name, over[name], registered[name]) for name in sorted(over)
            ),
            listeners=(*overview.listeners, *listeners),
            messages_in=overview.messages_in + counted["messages in"],
            messages_out=overview.messages_out + counted["messages out"],
            map_requests=overview.map_requests + answers.get("Map-Requests in", 0),
            map_replies=overview.map_replies + answers.get("Map-Replies out", 0),
        )


def _with_role(overview: OverviewView, role: str) -> OverviewView:
    return replace(overview, roles=(*overview.roles, role))


def _counters(link: MapServerLink) -> Counter[str]:
    """Return what the sessions with a Map-Server have counted."""
    session = link.session
    return link.ended + session.counters if session is not None else link.ended
