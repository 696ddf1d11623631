"""One look at a whole Map-Server."""

from __future__ import annotations

from collections.abc import Iterable

from lispmsrt.compiled import is_compiled
from lispmsrt.services.map_server import MapServer
from lispmsrt.sockets import end_text
from lispmsrt.version import VERSION
from lispmsrt.views.site_prefixes import SitePrefixes
from lispmsrt.views.statistics import session_totals
from lispmsrt.views.tally import LIFETIME, Tallies
from lispmsrt.views.times import Times
from lispmsrt.views.values import ListenerView, OverviewView, TransportCountView

__all__ = ["Overview", "control_listeners"]

_SENT = frozenset(
    {
        "Map-Replies out",
        "Map-Referrals out",
        "Map-Requests forwarded to ETRs",
        "Map-Requests forwarded to Map-Servers",
    }
)
"What goes out for Map-Requests."


class Overview:
    """Made at most twice a second, whoever asks."""

    def __init__(
        self, server: MapServer, tallies: Tallies, prefixes: SitePrefixes, times: Times
    ) -> None:
        self._server = server
        self._tallies = tallies
        self._prefixes = prefixes
        self._times = times
        self._latest: OverviewView | None = None
        self._until = float("-inf")

    def view(self) -> OverviewView:
        """Return it; it may be half a second old."""
        now = self._times.now
        if self._latest is None or now >= self._until:
            # Nobody is to be told for half a second that nothing listens, who asked too early.
            self._until = now + LIFETIME if self._server.running else now
            self._latest = self._make()
        return self._latest

    def _make(self) -> OverviewView:
        server, tally = self._server, self._tallies.latest
        mapping, registrar = server.mapping, server.registrar
        requests = mapping.requests.counters
        messages_in, messages_out = self._messages()
        roles = ("map-server", "map-resolver") if mapping.resolver else ("map-server",)
        return OverviewView(
            version=VERSION,
            roles=roles,
            now=self._times.wall_now,
            started=self._times.wall(server.started),
            registrations=registrar.count,
            eid_prefixes=len(registrar.database),
            reliable_registrations=tally.reliable,
            sites=len(self._prefixes.names),
            sessions=tally.sessions.total(),
            established_sessions=tally.established,
            subscriptions=len(mapping.subscriptions) if mapping.subscriptions else 0,
            transports=tuple(
                TransportCountView(name, tally.sessions[name], tally.registrations[name])
                for name in sorted({*tally.sessions, *tally.registrations})
            ),
            listeners=self._listeners(),
            messages_in=messages_in,
            messages_out=messages_out,
            registrations_taken=registrar.accepted,
            map_requests=requests["Map-Requests in"],
            map_replies=requests["Map-Replies out"],
            rejections=registrar.rejections.count,
            history_number=mapping.history.number,
            is_compiled=is_compiled(),
        )

    def _messages(self) -> tuple[int, int]:
        """Return how many were received and sent, over UDP and sessions."""
        mapping = self._server.mapping
        sessions = session_totals(self._server)
        registering, requests = mapping.registrations.counters, mapping.requests.counters
        retransmissions = mapping.retransmissions.counters
        received = (
            registering["Map-Registers in"]
            + retransmissions["Map-Notify-Acks in"]
            + requests["Map-Requests in"]
        )
        sent = (
            registering["Map-Notifies out"]
            + retransmissions["Map-Notifies out"]
            + sum([count for name, count in requests.items() if name in _SENT])
        )
        return sessions["messages in"] + received, sessions["messages out"] + sent

    def _listeners(self) -> tuple[ListenerView, ...]:
        server = self._server
        reliable = [
            ListenerView(one.endpoint, one.transport, one.address, one.reason, one.sessions)
            for one in server.snapshot().listeners
        ]
        return (*control_listeners(server.udp.addresses), *reliable)


def control_listeners(addresses: Iterable[object]) -> tuple[ListenerView, ...]:
    """Return the UDP sockets of the control plane."""
    return tuple(ListenerView("control", "UDP", end_text(one), "", 0) for one in addresses)
