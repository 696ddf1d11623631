"""What an operator may see of an ETR: itself, its way to each Map-Server, its mappings there."""

from __future__ import annotations

import time
from collections.abc import Callable

from lispmsrt.config import SocketAddress
from lispmsrt.mapping.etr_states import EtrState
from lispmsrt.services.etr import Etr
from lispmsrt.services.link import MapServerLink
from lispmsrt.services.snapshots import TransportSnapshot
from lispmsrt.views.etr_mappings import STATES, MappingSearch
from lispmsrt.views.etr_session import etr_session_view
from lispmsrt.views.naming import key_text, site_id_text, xtr_id_text
from lispmsrt.views.statistics import etr_statistics
from lispmsrt.views.times import Times
from lispmsrt.views.values import (
    EtrMappingView,
    EtrView,
    MappingFilter,
    MapServerLinkView,
    Page,
    StatisticView,
    TransportView,
)

__all__ = ["EtrViews"]


class EtrViews:
    """One ETR. ``wall_clock`` returns seconds since 1970."""

    def __init__(self, etr: Etr, wall_clock: Callable[[], float] = time.time) -> None:
        self.service = etr
        self._times = Times(etr.clock.seconds, wall_clock)

    def etr(self) -> EtrView:
        """Return the ETR as a whole."""
        etr = self.service
        ids = etr.identity.ids
        control = etr.config.control
        if etr.address is not None:
            control = SocketAddress(etr.address.host, etr.address.port)
        return EtrView(
            xtr_id=xtr_id_text(ids),
            site_id=site_id_text(ids),
            address=str(control),
            mappings=etr.mapping_count,
            answers_map_requests=etr.answers is not None,
            map_servers=tuple(map(self._link_view, etr.links)),
        )

    def mappings(
        self, wanted: MappingFilter, cursor: str | None, limit: int
    ) -> Page[EtrMappingView]:
        """Return mappings, by Map-Server, in the order in which they were registered.

        A call looks at so many at most: a page may be empty, and there may still be more.
        CursorError for what is no cursor, ValueError for a state that there is not.
        """
        return MappingSearch(self.service.links, wanted).page(cursor, limit)

    def statistics(self) -> tuple[StatisticView, ...]:
        """Return every counter."""
        return etr_statistics(self.service)

    def _link_view(self, link: MapServerLink) -> MapServerLinkView:
        snapshot = link.connector.snapshot()
        last = link.control.last_notify
        ended, why = link.last_end or (None, "")
        counts = link.registrations.listing.states
        return MapServerLinkView(
            map_server=link.name,
            phase=snapshot.phase,
            retry_in=None if snapshot.retry_in is None else round(snapshot.retry_in, 3),
            session=etr_session_view(self.service, link, self._times),
            transports=tuple(
                TransportView(
                    one.endpoint, one.transport, one.state.value, one.reason, one.failures
                )
                for one in snapshot.transports
            ),
            last_map_notify=None if last is None else self._times.wall(last),
            states={STATES[state].value: counts[state] for state in EtrState},
            key=key_text(link.key),
            last_end=None if ended is None else self._times.wall(ended),
            last_end_reason=why,
        )


def _transport_view(one: TransportSnapshot) -> TransportView:
    return TransportView(one.endpoint, one.transport, one.state.value, one.reason, one.failures)
