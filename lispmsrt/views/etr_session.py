"""An ETR's end of a session, with the same fields as a Map-Server's."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from lispmsrt.mapping.etr_states import EtrState
from lispmsrt.services.etr import Etr
from lispmsrt.services.link import MapServerLink
from lispmsrt.views.naming import afi_text, key_text, site_id_text, xtr_id_text
from lispmsrt.views.session_errors import session_errors
from lispmsrt.views.sessions import MAX_USES
from lispmsrt.views.times import Times
from lispmsrt.views.values import SessionUseView, SessionView

__all__ = ["etr_session_view"]


def etr_session_view(etr: Etr, link: MapServerLink, times: Times) -> SessionView | None:
    """Return the session with a Map-Server; None where there is none."""
    session, protocol = link.session, link.protocol
    if session is None or protocol is None:
        return None
    counters = session.counters
    return SessionView(
        id=session.id,
        peer=session.peer,
        local=session.local,
        transport=session.transport,
        role="active",
        state=session.state.value,
        since=times.wall(session.began),
        site="",
        xtr_id=xtr_id_text(etr.identity.ids),
        site_id=site_id_text(etr.identity.ids),
        rtt=protocol.rtt(),
        messages_in=counters["messages in"],
        messages_out=counters["messages out"],
        octets_in=counters["octets in"],
        octets_out=counters["octets out"],
        registrations=link.registrations.listing.states[EtrState.STABLE],
        queued_octets=protocol.queued_octets,
        pending_notifications=len(link.registrations.due),
        is_paused=session.is_paused,
        errors=session_errors(counters),
        uses=tuple(islice(_uses(link), MAX_USES)),
        counters=dict(sorted((+counters).items())),
        key=key_text(link.key),
    )


def _uses(link: MapServerLink) -> Iterator[SessionUseView]:
    members = link.members
    if members is not None:
        for instance_id, afi in members.families:
            count = len(members.members(instance_id, afi))
            yield SessionUseView("RLOC membership", instance_id, afi_text(afi), count)
    for (instance_id, afi), count in link.registrations.listing.families.items():
        yield SessionUseView("ETR Reliable Registration", instance_id, afi_text(afi), count)
