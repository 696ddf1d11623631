"""The sessions of a Map-Server: which there are, what those that have ended had counted, and how
far away the peers are.
"""

from __future__ import annotations

import itertools
from collections import Counter

from twisted.logger import Logger

from lispmsrt.histogram import ROUND_TRIP_BOUNDS, Histogram
from lispmsrt.protocols import SessionProtocol
from lispmsrt.services.admission import identity_of
from lispmsrt.session.base import SessionState
from lispmsrt.session.map_server import MapServerSession

__all__ = ["SAMPLED_EVERY", "SAMPLES", "SessionBook"]

SAMPLED_EVERY = 1.0
"""Seconds from one sample of round-trip times to the next."""

SAMPLES = 64
"""Sessions whose round-trip time is asked for in one sample: each takes a system call."""

_MINUTE = 60.0

_MAX_NAMELESS_LINES = 60
"""Lines in a minute about sessions that end before they are any xTR's."""


class SessionBook:
    """Keep count of sessions."""

    _log = Logger()

    def __init__(self) -> None:
        self.protocols: dict[SessionProtocol, str] = {}
        "to the endpoint string that it came by"
        self.sessions: dict[MapServerSession, SessionProtocol] = {}
        "those that are up, bound to an xTR or not, in the order in which they came up"
        self._by_peer: dict[tuple[str, str], MapServerSession] = {}
        "address and port, and transport"
        self.ended: Counter[str] = Counter()
        "what the sessions that have ended had counted, together"
        self.endings: Counter[str] = Counter()
        "how many ended for which reason"
        self.round_trips = Histogram(ROUND_TRIP_BOUNDS)
        "seconds, of established sessions, sampled"
        self._ids = itertools.count(1)
        self._turn: list[SessionProtocol] = []
        "sessions that are still to be asked, the next one last"
        self._sampled_at = float("-inf")
        self._nameless = 0
        "sessions that have ended before they were any xTR's, since:"
        self._nameless_since = float("-inf")

    def next_id(self) -> int:
        """Return a number for a session that no other one has had."""
        return next(self._ids)

    def find(self, peer: str, transport: str) -> MapServerSession | None:
        """Return the session from an address and port over a transport."""
        return self._by_peer.get((peer, transport))

    def began(self, protocol: SessionProtocol, description: str) -> None:
        """A connection has come up."""
        self.protocols[protocol] = description
        session = protocol.session
        if isinstance(session, MapServerSession):
            self.sessions[session] = protocol
            self._by_peer[session.peer, session.transport] = session

    def closed(self, protocol: SessionProtocol) -> None:
        """A connection is gone, and its session with it."""
        self.protocols.pop(protocol, None)
        session = protocol.session
        if not isinstance(session, MapServerSession):
            return
        self.sessions.pop(session, None)
        if self._by_peer.get((session.peer, session.transport)) is session:
            del self._by_peer[session.peer, session.transport]
        self.ended.update(session.counters)
        reason = session.close_reason.value if session.close_reason else ""
        self.endings[reason] += 1
        if session.lease is None and not self._has_line(protocol.clock.seconds()):
            return
        self._log.info(
            "session {session} with {who} from {peer} over {transport} ended: {reason}",
            who=session.lease.xtr if session.lease is not None else "no xTR yet",
            reason=reason,
            **identity_of(session),
        )

    def _has_line(self, now: float) -> bool:
        """Whether there is a line for one more session that was no xTR's: whoever may connect can
        do so without end.
        """
        if now - self._nameless_since >= _MINUTE:
            self._nameless, self._nameless_since = 0, now
        self._nameless += 1
        if self._nameless == _MAX_NAMELESS_LINES + 1:
            self._log.info(
                "further sessions of this minute that end without an xTR get no line, but are"
                " counted"
            )
        return self._nameless <= _MAX_NAMELESS_LINES

    def sample(self, now: float) -> None:
        """Ask some sessions for their round-trip times, in turn; at most once a second."""
        if now < self._sampled_at + SAMPLED_EVERY:
            return
        self._sampled_at = now
        if not self._turn:
            self._turn = list(self.protocols)
        turn, self._turn = self._turn[-SAMPLES:], self._turn[:-SAMPLES]
        for protocol in turn:
            session = protocol.session
            if session is None or session.state is not SessionState.ESTABLISHED:
                continue
            rtt = protocol.rtt()
            if rtt is not None:
                self.round_trips.observe(rtt)
