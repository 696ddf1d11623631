"""Who has a session, who looks for one, and why one failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import clientFromString
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from lispmsrt.config.endpoints import with_bind_address
from lispmsrt.services.listening import endpoint_from
from lispmsrt.swarm.etr import SwarmEtr
from lispmsrt.swarm.latencies import Latencies, ticks
from lispmsrt.swarm.load import Load
from lispmsrt.swarm.sessions import SwarmSession

__all__ = ["Connections"]

_ATTEMPT = 10.0
"""Seconds that a connection may take."""

_WAIT, _MAX_WAIT = 1.0, 60.0
"""Seconds before an ETR whose connection failed arms itself again, doubled each time."""

_REARM = 5.0
"""Seconds within which an ETR that has lost its session arms itself again, as deployed ones do: a
Map-Server's restart is no storm.
"""

DEFAULT_WINDOW = 16_384
"""Registrations of one session without an answer: some 2 MB, more than any transport takes."""


class _Factory(Factory):
    noisy = False

    def __init__(self, session: SwarmSession) -> None:
        self._session = session

    def buildProtocol(self, addr: object) -> SwarmSession:
        return self._session


class Connections:
    """The sessions of all ETRs."""

    def __init__(
        self,
        reactor: Any,
        clock: IReactorTime,
        *,
        load: Load,
        transport: str,
        window: int,
        random: Random,
        on_over: Callable[[SwarmEtr], None],
        arm: Callable[[SwarmEtr, float], None],
    ) -> None:
        """``on_over`` hears that an attempt is over, one way or the other; ``arm`` has an ETR look
        for leave to connect at a time.
        """
        self.load = load
        self.counters: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.opened = 0
        "sessions that came up"
        self.set_up = Latencies()
        self.sessions: dict[int, SwarmSession] = {}
        "open ones, by the number of their ETR"
        self._reactor = reactor
        self._clock = clock
        self._transport = transport
        self._window = window
        self._random = random
        self._endpoints: dict[str, IStreamClientEndpoint] = {}
        self._connecting: dict[int, float] = {}
        "since when"
        self._attempts: dict[int, Deferred[Any]] = {}
        self._made: set[SwarmSession] = set()
        "all that are not ended"
        self._failed: Counter[int] = Counter()
        self._is_stopped = False
        self._gone: Deferred[None] | None = None
        self._on_over = on_over
        self._arm = arm

    def ticks(self) -> int:
        """Return the time."""
        return ticks(self._clock.seconds())

    def prepare(self, source: str) -> None:
        """Make the endpoint of an address; ListenError says why it can't be."""
        text = with_bind_address(self._transport, source)
        self._endpoints[source] = endpoint_from(
            clientFromString, self._reactor, text, "--transport"
        )

    def connect(self, etr: SwarmEtr) -> None:
        """Connect an ETR that has leave to."""
        session = SwarmSession(etr, self, self._clock, self._window)
        self._connecting[etr.number] = self._clock.seconds()
        # An endpoint that raises must not end the load.
        attempt: Deferred[Any] = maybeDeferred(
            self._endpoints[etr.source].connect, _Factory(session)
        )
        self._attempts[etr.number] = attempt
        attempt.addTimeout(_ATTEMPT, self._clock)
        attempt.addCallbacks(
            self._connected, self._not_connected, callbackArgs=(session,), errbackArgs=(etr,)
        )

    def close(self) -> Deferred[None]:
        """Close all sessions; fires when they are gone."""
        self._is_stopped = True
        for attempt in list(self._attempts.values()):
            attempt.cancel()
        gone = self._gone = Deferred()
        for session in list(self._made):
            session.close()
        self._look_whether_gone()
        return gone

    def abort(self) -> None:
        """Reset what is left."""
        for session in list(self._made):
            session.abort()

    # SessionOwner

    def session_open(self, session: SwarmSession) -> None:
        number = session.etr.number
        since = self._connecting.pop(number, None)
        if since is not None:
            self.set_up.observe(ticks(self._clock.seconds() - since))
        self._failed.pop(number, None)
        self.opened += 1
        self.sessions[number] = session
        self._made.add(session)
        self._on_over(session.etr)

    def session_ended(self, session: SwarmSession, reason: str) -> None:
        self._made.discard(session)
        if self.sessions.get(session.etr.number) is session:
            del self.sessions[session.etr.number]
        if self._is_stopped:
            self._look_whether_gone()
            return
        self.failures[reason] += 1
        now = self._clock.seconds()
        if session.is_open:
            self.counters["sessions lost"] += 1
            self._arm(session.etr, now + self._random.uniform(0.0, _REARM))
        else:
            self._connecting.pop(session.etr.number, None)
            self._over(session.etr)

    # Inside

    def _connected(self, protocol: object, session: SwarmSession) -> None:
        del self._attempts[session.etr.number]
        self._made.add(session)
        if self._is_stopped:
            session.abort()

    def _not_connected(self, failure: Failure, etr: SwarmEtr) -> None:
        del self._attempts[etr.number]
        self._connecting.pop(etr.number, None)
        if self._is_stopped:
            return
        self.counters["connections that failed"] += 1
        self.failures[failure.getErrorMessage()] += 1
        self._over(etr)

    def _wait(self, etr: SwarmEtr) -> float:
        attempt = self._failed[etr.number]
        self._failed[etr.number] += 1
        wait = min(_MAX_WAIT, _WAIT * 2.0 ** min(attempt, 6))
        return wait * self._random.uniform(0.75, 1.25)

    def _over(self, etr: SwarmEtr) -> None:
        """The attempt is over in vain."""
        self._on_over(etr)
        self._arm(etr, self._clock.seconds() + self._wait(etr))

    def _look_whether_gone(self) -> None:
        if self._gone is not None and not self._made:
            gone, self._gone = self._gone, None
            gone.callback(None)
