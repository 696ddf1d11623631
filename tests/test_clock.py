"""Time is monotonic: whoever steps the wall clock expires nothing, and no alarm is lost."""

from __future__ import annotations

from twisted.internet.defer import gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from lispmsrt.clock import Alarm, MonotonicClock
from tests.rim import Network, etr_of, map_server_of, outcome


class _SteppedReactor(Clock):  # type: ignore[misc]
    """A reactor on wall-clock time, beside true seconds that are never stepped."""

    def __init__(self) -> None:
        super().__init__()
        self.true = 500.0

    def live(self, seconds: float) -> None:
        """Let time go by, on both clocks."""
        self.true += seconds
        self.advance(seconds)

    def step(self, seconds: float) -> None:
        """Somebody sets the wall clock."""
        self.rightNow += seconds
        self.advance(0)


class MonotonicClockTests(SynchronousTestCase):
    """The clock that services get."""

    def setUp(self) -> None:
        """Beside a reactor that may be stepped."""
        self.reactor = _SteppedReactor()
        self.clock = MonotonicClock(self.reactor, lambda: self.reactor.true)

    def test_it_is_a_reactors_time(self) -> None:
        """Anything of Twisted may be given it."""
        self.assertTrue(verifyObject(IReactorTime, self.clock))

    def test_its_seconds_do_not_follow_the_wall_clock(self) -> None:
        """Only true seconds count."""
        self.reactor.step(3600)
        self.assertEqual(self.clock.seconds(), 500.0)

    def test_delayed_calls_are_the_reactors(self) -> None:
        """They are made there and seen there, with their arguments."""
        called = []
        self.clock.callLater(2.0, lambda *args, **kwargs: called.append((args, kwargs)), 1, a=2)
        self.assertEqual(self.clock.getDelayedCalls(), self.reactor.getDelayedCalls())
        self.reactor.live(2.0)
        self.assertEqual(called, [((1,), {"a": 2})])
        self.assertEqual(self.clock.getDelayedCalls(), [])


class AlarmTests(SynchronousTestCase):
    """One delayed call per owner."""

    def setUp(self) -> None:
        """An alarm that notes when it rang."""
        self.reactor = _SteppedReactor()
        self.rang: list[float] = []
        clock = MonotonicClock(self.reactor, lambda: self.reactor.true)
        self.alarm = Alarm(clock, lambda: self.rang.append(self.reactor.true))

    def test_it_rings_once_at_its_time(self) -> None:
        """And leaves nothing behind."""
        self.alarm.set(510.0)
        self.reactor.live(9.5)
        self.assertEqual(self.rang, [])
        self.reactor.live(0.5)
        self.reactor.live(100)
        self.assertEqual(self.rang, [510.0])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_a_time_in_the_past_rings_in_the_next_turn(self) -> None:
        """Never at once: the owner may be in the middle of something."""
        self.alarm.set(1.0)
        self.assertEqual(self.rang, [])
        self.reactor.advance(0)
        self.assertEqual(self.rang, [500.0])

    def test_moving_it_later_costs_no_new_call(self) -> None:
        """The one that is there wakes up early and only arms itself again."""
        self.alarm.set(510.0)
        (call,) = self.reactor.getDelayedCalls()
        for deadline in range(511, 521):
            self.alarm.set(float(deadline))
        self.assertEqual(self.reactor.getDelayedCalls(), [call])
        self.reactor.live(10)
        self.assertEqual(self.rang, [])
        self.assertEqual(len(self.reactor.getDelayedCalls()), 1)
        self.reactor.live(10)
        self.assertEqual(self.rang, [520.0])

    def test_moving_it_earlier_rings_earlier(self) -> None:
        """And only once."""
        self.alarm.set(520.0)
        self.alarm.set(505.0)
        self.assertEqual(len(self.reactor.getDelayedCalls()), 1)
        self.reactor.live(5)
        self.reactor.live(50)
        self.assertEqual(self.rang, [505.0])

    def test_switching_it_off_leaves_no_call(self) -> None:
        """Twice does no harm."""
        self.alarm.set(520.0)
        self.alarm.set(None)
        self.alarm.set(None)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_it_can_be_set_again_while_it_rings(self) -> None:
        """A periodic owner does."""
        clock = MonotonicClock(self.reactor, lambda: self.reactor.true)

        def ring() -> None:
            self.rang.append(self.reactor.true)
            periodic.set(self.reactor.true + 1)

        periodic = Alarm(clock, ring)
        periodic.set(501.0)
        for _second in range(3):
            self.reactor.live(1)
        self.assertEqual(self.rang, [501.0, 502.0, 503.0])

    def test_a_wall_clock_stepped_forward_rings_nothing(self) -> None:
        """The reactor fires everything; the alarm looks at the true time and waits on."""
        self.alarm.set(510.0)
        self.reactor.step(86_400)
        self.assertEqual(self.rang, [])
        self.assertEqual(len(self.reactor.getDelayedCalls()), 1)
        self.reactor.live(10)
        self.assertEqual(self.rang, [510.0])

    def test_a_wall_clock_stepped_back_rings_nothing_early(self) -> None:
        """It rings late, by the step: what fires delayed calls is the reactor's own clock.

        ``twistd lispmsrt`` gives its reactor a monotonic one (tests/test_tap.py).
        """
        self.alarm.set(510.0)
        self.reactor.step(-60)
        self.reactor.live(69)
        self.assertEqual(self.rang, [])
        self.reactor.live(1)
        self.assertEqual(self.rang, [570.0])


class SteppedServiceTests(SynchronousTestCase):
    """Both services while somebody steps the wall clock by a day."""

    def _after_a_step(self, step: float) -> tuple[int, int]:
        """Bring a session up, step the reactor, and return sessions and mappings."""
        network = Network()
        stepped = _Stepped(network)
        clock = MonotonicClock(stepped, network.seconds)
        server, etr = map_server_of(network, clock=clock), etr_of(network, clock=clock)
        server.startService()
        etr.startService()
        network.run(5)
        stepped.step(step)
        network.run(5)
        found = len(server.sessions), len(server.database)
        stopped = outcome(gatherResults([server.stopService(), etr.stopService()]))
        network.run(10)
        self.assertEqual(len(stopped), 1)
        return found

    def test_a_step_forward_expires_nothing(self) -> None:
        """Neither registrations nor the session."""
        self.assertEqual(self._after_a_step(86_400), (1, 1))


class _Stepped:
    """A reactor's time over a network: every delayed call fires when the wall clock is stepped."""

    def __init__(self, network: Network) -> None:
        self._network = network

    def seconds(self) -> float:
        raise AssertionError("nobody asks the wall clock")

    def callLater(self, delay: float, callable: object, *args: object, **kwargs: object) -> object:
        return self._network.callLater(delay, callable, *args, **kwargs)

    def getDelayedCalls(self) -> list[object]:
        return list(self._network.getDelayedCalls())

    def step(self, seconds: float) -> None:
        """Fire what falls into the step, though no true time goes by."""
        for call in list(self._network.getDelayedCalls()):
            if call.getTime() <= self._network.seconds() + seconds:
                call.reset(0)
        self._network.run(0)
