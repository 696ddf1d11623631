"""An ETR's way to a session: the first transport that works, after a Map-Notify, not too often.

draft-kouvelas-lisp-map-server-reliable-transport-07 §4; transports in order:
draft-ietf-lisp-map-server-reliable-transport-00.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import IProtocol, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure

from lispmsrt.clock import Alarm
from lispmsrt.config import transport_name
from lispmsrt.control.etr import EtrControl
from lispmsrt.protocols import SessionProtocol
from lispmsrt.services.backoff import Backoff
from lispmsrt.services.snapshots import LinkSnapshot, TransportSnapshot, TransportState

__all__ = ["Connector", "Transport"]

_LONG_ENOUGH = 60.0
"""Seconds after which a session counts as a success: the next failure starts with the shortest
wait.
"""


@dataclass(frozen=True, slots=True)
class Transport:
    """One way to the Map-Server."""

    description: str
    "the endpoint string"
    endpoint: IStreamClientEndpoint

    @property
    def name(self) -> str:
        """What it is called: TCP, TLS, QUIC, SCTP."""
        return transport_name(self.description)


class _Phase(enum.Enum):
    IDLE = "waiting for a Map-Notify"
    CONNECTING = "connecting"
    WAITING = "waiting before the next attempt"
    UP = "up"
    STOPPED = "stopped"


class _SessionFactory(Factory):
    noisy = False

    def __init__(self, make_protocol: Callable[[], SessionProtocol]) -> None:
        self._make_protocol = make_protocol

    def buildProtocol(self, addr: object) -> SessionProtocol:
        return self._make_protocol()


class Connector:
    """Keep one session up, or try to."""

    _log = Logger()

    def __init__(
        self,
        *,
        transports: Sequence[Transport],
        make_protocol: Callable[[Transport], SessionProtocol],
        control: EtrControl,
        clock: IReactorTime,
        backoff: Backoff,
        attempt_timeout: float,
        peer: str,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        """``wake`` has the UDP side send what has become due."""
        self.phase = _Phase.IDLE
        self.failures: dict[str, str] = {}
        "transport to why its last attempt failed"
        self.transport: Transport | None = None
        "the one in use"
        self._transports = transports
        self._make_protocol = make_protocol
        self._control = control
        self._clock = clock
        self._backoff = backoff
        self._attempt_timeout = attempt_timeout
        self._peer = peer
        self._wake = wake
        self._up_since = 0.0
        self._next_transport = 0
        self._attempt: Deferred[IProtocol] | None = None
        self._connecting: Transport | None = None
        self._timeout = Alarm(clock, self._give_up_attempt)
        self._retry = Alarm(clock, self._retry_now)
        self._retry_at: float | None = None
        self._failed_attempts: Counter[str] = Counter()
        self._worked: set[str] = set()

    def snapshot(self) -> LinkSnapshot:
        """Return what is in use, what failed and why."""
        retry_in = None
        if self._retry_at is not None:
            retry_in = max(0.0, self._retry_at - self._clock.seconds())
        transports = tuple(map(self._transport_snapshot, self._transports))
        return LinkSnapshot(self._peer, self.phase.value, transports, retry_in)

    def _transport_snapshot(self, transport: Transport) -> TransportSnapshot:
        text = transport.description
        reason = self.failures.get(text, "")
        if transport is self.transport:
            state = TransportState.IN_USE
        elif self.phase is _Phase.CONNECTING and transport is self._connecting:
            state = TransportState.CONNECTING
        elif reason:
            state = TransportState.FAILED
        else:
            state = TransportState.IDLE if text in self._worked else TransportState.UNTRIED
        failures = self._failed_attempts[text]
        return TransportSnapshot(text, transport.name, state, reason, failures)

    def leave_given(self) -> None:
        """A Map-Notify allows a connection."""
        if self.phase is _Phase.IDLE and self._transports:
            self._connect()

    def start(self) -> None:
        """Try from now on."""
        self.phase = _Phase.IDLE
        self._next_transport = 0

    def session_established(self) -> None:
        """The Map-Server speaks: the transport works."""
        if self.transport is not None:
            self.failures.pop(self.transport.description, None)
            self._worked.add(self.transport.description)

    def session_closed(self, why: str, *, has_served: bool, by_map_server: bool = False) -> None:
        """The session is over; ``by_map_server``: it was closed there, in order. A close before the
        first ACK is a failed attempt (docs/draft.rst, "Back-off").
        """
        if self.phase is _Phase.STOPPED:
            return
        now = self._clock.seconds()
        transport, self.transport = self.transport, None
        has_lasted = has_served and now - self._up_since >= _LONG_ENOUGH
        if has_lasted:
            self._backoff.reset()
        if has_served:
            self.phase = _Phase.IDLE
            self._next_transport = 0
            # Two that take each other's session away again and again must not do so sooner.
            self._control.session_lost(now, was_closed=by_map_server and has_lasted)
            return
        if transport is not None:
            self._note_failure(transport, f"nothing acknowledged after connecting: {why}")
        # Something that accepts and closes must not keep the others from their turn.
        self._next_transport = (self._next_transport + 1) % len(self._transports)
        self._control.connect_failed()
        # A Map-Notify may well come before the wait is over: UDP registration goes on.
        self.phase = _Phase.WAITING
        self._control.rearm(self._wait(now))

    def stop(self) -> None:
        """Stop trying. A session that is up is its owner's to close."""
        self.phase = _Phase.STOPPED
        self._timeout.set(None)
        self._retry_at = None
        self._retry.set(None)
        if self._attempt is not None:
            self._attempt.cancel()

    def _connect(self) -> None:
        transport = self._transports[self._next_transport]
        self.phase = _Phase.CONNECTING
        self._connecting = transport
        self._timeout.set(self._clock.seconds() + self._attempt_timeout)
        factory = _SessionFactory(lambda: self._make_protocol(transport))
        # An endpoint that raises must not end the search.
        attempt: Deferred[IProtocol] = maybeDeferred(transport.endpoint.connect, factory)
        self._attempt = attempt
        attempt.addCallbacks(
            self._connected,
            self._failed,
            callbackArgs=(transport,),
            errbackArgs=(transport,),
        )
        attempt.addErrback(lambda failure: self._log.failure("while connecting", failure))

    def _connected(self, protocol: IProtocol, transport: Transport) -> None:
        self._attempt = None
        self._timeout.set(None)
        self._control.connected()

    def session_up(self, transport: Transport) -> None:
        """The connection is there and its session begins."""
        self.phase = _Phase.UP
        self.transport = transport
        self._up_since = self._clock.seconds()
        self._control.session_began(self._up_since)

    def _failed(self, failure: Failure, transport: Transport) -> None:
        self._attempt = None
        self._timeout.set(None)
        if self.phase is _Phase.STOPPED:
            return
        if failure.check(CancelledError, ConnectingCancelledError):
            reason = f"no connection within {self._attempt_timeout:g} s"
        else:
            reason = failure.getErrorMessage()
        self._note_failure(transport, reason)
        self._next_transport += 1
        if self._next_transport < len(self._transports):
            self._connect()
            return
        self.phase = _Phase.WAITING
        self._next_transport = 0
        self._control.connect_failed()
        # The token may be gone: used up half-way, displaced, or by a restart. The next round
        # begins with a Map-Notify of its own.
        self._control.connected()
        self._control.rearm(self._wait(self._clock.seconds()))
        self._wake()

    def _note_failure(self, transport: Transport, reason: str) -> None:
        self.failures[transport.description] = reason
        self._failed_attempts[transport.description] += 1
        self._log.info(
            "{transport} to Map-Server {peer} failed: {reason}",
            transport=transport.name,
            peer=self._peer,
            reason=reason,
        )

    def _wait(self, now: float) -> float:
        """Try again after the next back-off; return when."""
        self._retry_at = now + self._backoff.next_delay()
        self._retry.set(self._retry_at)
        return self._retry_at

    def _give_up_attempt(self) -> None:
        if self._attempt is not None:
            self._attempt.cancel()

    def _retry_now(self) -> None:
        self._retry_at = None
        self.phase = _Phase.IDLE
        if self._control.may_connect(self._clock.seconds()):
            self.leave_given()
