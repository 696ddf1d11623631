"""Sessions of a Map-Server: a page of them, or one with all that it has counted."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice

from lispmsrt.mapping.database import Lease
from lispmsrt.protocols import SessionProtocol
from lispmsrt.services.map_server import MapServer
from lispmsrt.services.session_names import naming
from lispmsrt.session.base import SessionState
from lispmsrt.session.map_server import MapServerSession
from lispmsrt.views.cursors import at_most, number_from
from lispmsrt.views.naming import afi_text, lease_key_text, site_id_text, xtr_id_text
from lispmsrt.views.session_errors import session_errors
from lispmsrt.views.times import Times
from lispmsrt.views.values import Page, SessionFilter, SessionUseView, SessionView
from lispmsrt.wire.addresses import Afi

__all__ = ["MAX_HELD", "MAX_LOOKED_AT", "MAX_USES", "SessionPages", "SeveralSessionsError"]

MAX_LOOKED_AT = 10_000
"""Sessions that a filter is applied to for one page: some 3 ms."""

MAX_HELD = 20_000
"""Registrations of one session that are told apart by instance ID and family: some 5 ms."""

MAX_USES = 1_000
"""Instances and families of which is told what a session is used for."""

_EID_AFI = slice(10, 12)
_INSTANCE_ID, _INNER_AFI = slice(18, 22), slice(22, 24)
"""Where they stand in a record whose EID is in an LCAF of type 2."""

_Up = tuple[MapServerSession, SessionProtocol]


class SeveralSessionsError(LookupError):
    """A text means more than one session. The text of the error is a sentence."""


class SessionPages:
    """Pages of sessions, in the order in which they came up."""

    def __init__(self, server: MapServer, times: Times) -> None:
        self._server = server
        self._times = times

    def page(self, asked: SessionFilter, cursor: str | None, limit: int) -> Page[SessionView]:
        """Return some sessions. Raises CursorError."""
        after = number_from(cursor)
        sessions: Sequence[_Up] = list(self._server.session_protocols.items())
        first = 0 if after is None else bisect_right(sessions, after, key=_id)
        is_from = naming(asked.peer) if asked.peer is not None else None
        since = None if asked.since is None else self._times.monotonic(asked.since)
        limit = at_most(limit)
        items: list[SessionView] = []
        last = 0
        for up in sessions[first : first + MAX_LOOKED_AT]:
            if _matches(asked, since, up[0]) and (is_from is None or is_from(0, up[0].peer)):
                if len(items) >= limit:
                    break
                items.append(self._view(*up))
            last = up[0].id
        is_at_end = not sessions or last == 0 or last == sessions[-1][0].id
        total = len(sessions) if asked == SessionFilter() else None
        if total is None and after is None and is_at_end:
            total = len(items)
        return Page(tuple(items), total, None if is_at_end else str(last))

    def one(self, text: str) -> SessionView | None:
        """Return the session with an ID, or from an address and port, or from an address if it is
        the only one; else SeveralSessionsError.
        """
        found = self.find(text)
        if len(found) > 1:
            raise SeveralSessionsError(
                f"{len(found)} sessions are from {text}: name one by its number or its address and"
                " port"
            )
        return self._view(*found[0], in_full=True) if found else None

    def find(self, text: str) -> list[_Up]:
        """Return the sessions that a text means: one by its ID or address and port, or all from an
        address.
        """
        is_named = naming(text)
        sessions = self._server.session_protocols.items()
        return [up for up in sessions if is_named(up[0].id, up[0].peer)]

    def _view(
        self, session: MapServerSession, protocol: SessionProtocol, *, in_full: bool = False
    ) -> SessionView:
        lease, counters = session.lease, session.counters
        ids = lease.ids if lease is not None else b""
        publisher = self._server.mapping.publisher
        return SessionView(
            id=session.id,
            peer=session.peer,
            local=session.local,
            transport=session.transport,
            role="passive",
            state=session.state.value,
            since=self._times.wall(session.began),
            site=lease.xtr.site if lease is not None else "",
            xtr_id=xtr_id_text(ids),
            site_id=site_id_text(ids),
            rtt=protocol.rtt(),
            messages_in=counters["messages in"],
            messages_out=counters["messages out"],
            octets_in=counters["octets in"],
            octets_out=counters["octets out"],
            registrations=len(lease.held) if lease is not None else 0,
            queued_octets=protocol.queued_octets,
            pending_notifications=publisher.waiting(lease) if lease is not None else 0,
            is_paused=session.is_paused,
            errors=session_errors(counters),
            uses=tuple(islice(self._uses(lease), MAX_USES)) if in_full and lease else (),
            counters=dict(sorted((+counters).items())) if in_full else {},
            key=lease_key_text(lease),
        )

    def _uses(self, lease: Lease) -> Iterator[SessionUseView]:
        members = self._server.mapping.members
        held = Counter([_family(part.record) for part in islice(lease.held, MAX_HELD)])
        is_all = len(lease.held) <= MAX_HELD
        for (instance_id, afi), count in sorted(held.items()):
            kind = "ETR Reliable Registration"
            yield SessionUseView(kind, instance_id, afi_text(afi), count if is_all else -1)
        for (instance_id, afi), family in members.families.items() if members else ():
            if family.is_followed_by(lease.xtr):
                count = len(family.references)
                yield SessionUseView("RLOC membership", instance_id, afi_text(afi), count)


def _id(up: _Up) -> int:
    return up[0].id


def _matches(asked: SessionFilter, since: float | None, session: MapServerSession) -> bool:
    is_established = session.state is SessionState.ESTABLISHED
    site = session.lease.xtr.site if session.lease is not None else ""
    return (
        (asked.site is None or site == asked.site)
        and (asked.transport is None or session.transport.upper() == asked.transport.upper())
        and (asked.established is None or is_established is asked.established)
        and (since is None or session.began >= since)
        and (asked.troubled is None or _is_troubled(session) is asked.troubled)
    )


def _is_troubled(session: MapServerSession) -> bool:
    return session.is_paused or bool(session_errors(session.counters))


def _family(record: bytes) -> tuple[int, int]:
    """Return instance ID and family of a registered record."""
    afi = int.from_bytes(record[_EID_AFI], "big")
    if afi != Afi.LCAF:
        return 0, afi
    instance_id = int.from_bytes(record[_INSTANCE_ID], "big")
    return instance_id, int.from_bytes(record[_INNER_AFI], "big")
