"""The ETR's way to a session: one transport after the other, when it is allowed, not too often."""

from __future__ import annotations

from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from lispmsrt.services.backoff import Backoff
from lispmsrt.services.connector import Connector, Transport
from lispmsrt.session.base import CloseReason


@implementer(IStreamClientEndpoint)
class _Endpoint:
    """Remembers each attempt; the test decides how it ends."""

    def __init__(self) -> None:
        self.attempts: list[Deferred[Any]] = []

    def connect(self, protocolFactory: Any) -> Deferred[Any]:
        self.attempts.append(Deferred())
        return self.attempts[-1]


class _Control:
    """What a connector wants of the UDP side."""

    def __init__(self) -> None:
        self.allowed = True
        self.calls: list[str] = []

    def may_connect(self, now: float) -> bool:
        return self.allowed

    def session_began(self, now: float) -> None:
        """A session has a head start."""

    def connected(self) -> None:
        self.calls.append("connected")

    def connect_failed(self) -> None:
        self.calls.append("failed")

    def session_lost(self, now: float, *, was_closed: bool = False) -> None:
        self.calls.append("closed" if was_closed else "lost")

    def rearm(self, at: float) -> None:
        self.calls.append("rearm")


class ConnectorTests(SynchronousTestCase):
    """Two transports."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.control = _Control()
        self.endpoints = [_Endpoint(), _Endpoint()]
        self.transports = [
            Transport(f"{name}:192.0.2.1", endpoint)
            for name, endpoint in zip(("tcp", "quic"), self.endpoints, strict=True)
        ]
        self.connector = Connector(
            transports=self.transports,
            make_protocol=lambda transport: None,  # type: ignore[arg-type, return-value]
            control=self.control,  # type: ignore[arg-type]
            clock=self.clock,
            backoff=Backoff(Random(1)),
            attempt_timeout=5.0,
            peer="192.0.2.1:4342",
        )

    def _attempts(self) -> list[int]:
        return [len(endpoint.attempts) for endpoint in self.endpoints]

    def _come_up(self, number: int) -> None:
        """The newest attempt of a transport succeeds."""
        self.connector.session_up(self.transports[number])
        self.endpoints[number].attempts[-1].callback(None)

    def test_the_next_is_tried_at_once_on_refusal(self) -> None:
        """And why the first failed is kept."""
        self.connector.leave_given()
        self.endpoints[0].attempts[0].errback(ConnectionRefusedError())
        self.assertEqual(self._attempts(), [1, 1])
        self.assertIn("refused", self.connector.failures["tcp:192.0.2.1"])

    def test_an_endpoint_that_raises_is_a_failed_attempt(self) -> None:
        """A mistake in one transport costs the others nothing."""

        def raise_it(factory: object) -> Deferred[Any]:
            raise RuntimeError("a bug")

        self.patch(self.endpoints[0], "connect", raise_it)
        self.connector.leave_given()
        self.assertEqual(self._attempts(), [0, 1])
        self.assertEqual(self.connector.failures["tcp:192.0.2.1"], "a bug")

    def test_the_next_is_tried_after_the_attempt_timeout(self) -> None:
        """5 s by default."""
        self.connector.leave_given()
        self.clock.advance(4.9)
        self.assertEqual(self._attempts(), [1, 0])
        self.clock.advance(0.2)
        self.assertEqual(self._attempts(), [1, 1])
        self.assertEqual(self.connector.failures["tcp:192.0.2.1"], "no connection within 5 s")

    def test_after_a_full_round_it_waits_and_starts_with_the_first(self) -> None:
        """The wait doubles, around its value by a quarter."""
        self.connector.leave_given()
        for number in (0, 1):
            self.endpoints[number].attempts[-1].errback(ConnectionRefusedError())
        self.assertEqual(self.control.calls, ["failed", "connected", "rearm"])
        self.clock.advance(0.7)
        self.assertEqual(self._attempts(), [1, 1])
        self.clock.advance(0.6)
        self.assertEqual(self._attempts(), [2, 1])
        for number in (0, 1):
            self.endpoints[number].attempts[-1].errback(ConnectionRefusedError())
        self.clock.advance(1.4)
        self.assertEqual(self._attempts(), [2, 2])
        self.clock.advance(1.2)
        self.assertEqual(self._attempts(), [3, 2])

    def _states(self) -> list[tuple[str, str, str, int]]:
        return [
            (one.transport, one.state.name, one.reason, one.failures)
            for one in self.connector.snapshot().transports
        ]

    def test_the_snapshot_says_what_is_in_use_what_failed_and_why(self) -> None:
        """Step by step."""
        self.assertEqual(self._states(), [("TCP", "UNTRIED", "", 0), ("QUIC", "UNTRIED", "", 0)])
        self.connector.leave_given()
        self.assertEqual(self._states()[0], ("TCP", "CONNECTING", "", 0))
        self.clock.advance(5.0)
        failed = ("TCP", "FAILED", "no connection within 5 s", 1)
        self.assertEqual(self._states(), [failed, ("QUIC", "CONNECTING", "", 0)])
        self._come_up(1)
        self.connector.session_established()
        self.assertEqual(self._states(), [failed, ("QUIC", "IN_USE", "", 0)])
        self.assertEqual(self.connector.snapshot().phase, "up")
        self.connector.session_closed(CloseReason.PEER_CLOSED.value, has_served=True)
        self.assertEqual(self._states(), [failed, ("QUIC", "IDLE", "", 0)])
        self.assertEqual(self.connector.snapshot().retry_in, None)

    def test_the_snapshot_tells_of_what_accepts_and_closes(self) -> None:
        """It is a failure like others, and shows when the next attempt is due."""
        self.connector.leave_given()
        self._come_up(0)
        self.connector.session_closed(CloseReason.CONNECTION_LOST.value, has_served=False)
        (first, _second) = self._states()
        reason = "nothing acknowledged after connecting: the connection was lost"
        self.assertEqual(first, ("TCP", "FAILED", reason, 1))
        retry_in = self.connector.snapshot().retry_in
        assert retry_in is not None
        self.assertLessEqual(abs(retry_in - 1.0), 0.25)
        self.clock.advance(0.5)
        self.assertEqual(self.connector.snapshot().retry_in, retry_in - 0.5)

    def test_without_leave_it_waits_for_a_map_notify(self) -> None:
        """Even when the wait is over."""
        self.connector.leave_given()
        for number in (0, 1):
            self.endpoints[number].attempts[-1].errback(ConnectionRefusedError())
        self.control.allowed = False
        self.clock.advance(10.0)
        self.assertEqual(self._attempts(), [1, 1])
        self.connector.leave_given()
        self.assertEqual(self._attempts(), [2, 1])

    def test_what_accepts_and_closes_lets_the_next_have_its_turn(self) -> None:
        """A close before the first ACK is a failed attempt."""
        self.connector.leave_given()
        self._come_up(0)
        self.connector.session_closed(CloseReason.PEER_CLOSED.value, has_served=False)
        self.assertEqual(self.control.calls, ["connected", "failed", "rearm"])
        self.clock.advance(2.0)
        self.assertEqual(self._attempts(), [1, 1])

    def test_a_lost_session_starts_with_the_first_again(self) -> None:
        """After a new Map-Notify."""
        self.connector.leave_given()
        self.endpoints[0].attempts[0].errback(ConnectionRefusedError())
        self._come_up(1)
        self.connector.session_closed(CloseReason.PEER_CLOSED.value, has_served=True)
        self.assertEqual(self.control.calls, ["connected", "lost"])
        self.connector.leave_given()
        self.assertEqual(self._attempts(), [2, 1])

    def test_a_lost_session_waits_for_a_map_notify(self) -> None:
        """However long that takes."""
        self.connector.leave_given()
        self._come_up(0)
        self.connector.session_closed(CloseReason.PEER_CLOSED.value, has_served=True)
        self.clock.advance(1000.0)
        self.assertEqual(self._attempts(), [1, 0])
        self.connector.leave_given()
        self.assertEqual(self._attempts(), [2, 0])

    def test_while_up_a_map_notify_opens_nothing(self) -> None:
        """One session per pair."""
        self.connector.leave_given()
        self._come_up(0)
        self.connector.leave_given()
        self.assertEqual(self._attempts(), [1, 0])

    def test_stopped_it_leaves_nothing_and_can_be_started_again(self) -> None:
        """No delayed call, no attempt; then as new."""
        self.connector.leave_given()
        self.connector.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.connector.leave_given()
        self.assertEqual(self._attempts(), [1, 0])
        self.connector.session_closed(CloseReason.SHUTDOWN.value, has_served=True)
        self.assertEqual(self.control.calls, [])
        self.connector.start()
        self.connector.leave_given()
        self.assertEqual(self._attempts(), [2, 0])


class BackoffTests(SynchronousTestCase):
    """1 s doubling to 60 s, a quarter around."""

    def test_delays(self) -> None:
        """Then from the start again."""
        backoff = Backoff(Random(2))
        for around in (1, 2, 4, 8, 16, 32, 60, 60):
            self.assertLessEqual(abs(backoff.next_delay() - around), around / 4)
        backoff.reset()
        self.assertLessEqual(backoff.next_delay(), 1.25)

    def test_delays_are_jittered(self) -> None:
        """So that many ETRs do not come back at once."""
        delays = [Backoff(Random(seed), 40.0).next_delay() for seed in range(50)]
        self.assertTrue(30.0 <= min(delays) < 34.0 and 46.0 < max(delays) <= 50.0)
