"""A path in memory that dies without a word, in one direction or both, while nobody has anything to
say: in virtual time every figure is exact.
"""

from __future__ import annotations

from tests.faults_weather import BOUND, CLOCK, EIDS, World

__all__ = ["DeadPathTests"]


class DeadPathTests:
    """Mix it into a TestCase that says what the world runs on and how long silence is borne."""

    keepalive: float
    "seconds within which both ends have noticed that nothing arrives anywhere"
    one_way: float
    "the same where one of them still hears the other one"
    farewell: float
    "seconds until an end that goes on sending knows of an end whose farewell was lost"
    silence: float
    "seconds that are survived"

    def make_world(self) -> World:
        """Return both services over the transport."""
        raise NotImplementedError

    def setUp(self) -> None:
        """All is registered, and all is quiet."""
        self.world = self.make_world()
        self.addCleanup(self.world.__exit__, None, None, None)
        for eid in EIDS:
            self.world.register(eid)
        self.world.run(100.0)
        self.link = self.world.etr.links[0]
        assert self.link.session is not None
        self.assertEqual(self._expiries(), [None] * len(EIDS))

    def _expiries(self) -> list[float | None]:
        return [each.expires for each in self.world.server.database.registrations()]

    def pass_silence(self) -> None:
        """Let nothing be heard for as long as that is survived."""
        self.world.run(self.silence)

    def test_both_ends_notice_a_dead_path_within_the_keepalive_time(self) -> None:
        """Whenever it dies, counted from the last sign of life; then registrations have a clock."""
        for pause in (0.0, 2.0, 5.0, 9.9):
            self.world.run(pause)
            self._check_notice("all", self.keepalive)

    def test_both_ends_notice_where_one_direction_is_dead(self) -> None:
        """The one who hears nothing first."""
        for kind in ("there", "back"):
            self._check_notice(kind, self.one_way)

    def _check_notice(self, kind: str, bound: float) -> None:
        world, now = self.world, self.world.network.seconds()
        self.assertEqual(set(self._expiries()), {None})
        world.perform("partition", kind)
        world.run(bound, lambda: not self.link.session and not world.server.sessions)
        self.assertIsNone(self.link.session)
        self.assertEqual(world.server.sessions, [])
        self.assertEqual(len(self._expiries()), len(EIDS))
        for expiry in self._expiries():
            assert expiry is not None
            self.assertTrue(now < expiry - CLOCK <= world.network.seconds(), expiry - now)
        world.converge(BOUND)

    def test_registration_goes_on_over_udp_as_long_as_it_takes(self) -> None:
        """Where only the session's port is dead nothing expires, and the session comes back."""
        self.world.perform("partition", "session")
        self.world.run(self.keepalive)
        self.world.withdraw(EIDS[0])
        self.world.register(EIDS[1])
        for _minute in range(30):
            self.world.run(60.0)
            self.assertEqual(len(self._expiries()), len(EIDS) - 1)
            self.assertNotIn(None, self._expiries())
        ((transport,),) = (each.transports for each in self.world.etr.snapshot().map_servers)
        self.assertEqual(transport.reason, "no connection within 5 s")
        self.world.converge(75.0 + 60.0)

    def test_a_short_silence_is_survived(self) -> None:
        """What is meant meanwhile arrives on the same session."""
        self.world.perform("partition", "all")
        self.world.register(EIDS[0])
        self.pass_silence()
        self.world.converge(30.0)
        self.assertEqual(self.world.listener.names(), ["up"])

    def test_a_farewell_that_is_lost_is_made_up_for(self) -> None:
        """The Map-Server resets the session, and the path recovers before the ETR writes again."""
        self.world.perform("partition", "all")
        self.world.perform("reset")
        self.world.run(0.1)
        self.world.perform("partition", "none")
        self.world.register(EIDS[0])
        self.world.run(self.farewell, lambda: self.link.session is None)
        self.assertIsNone(self.link.session)
        self.world.converge(BOUND)
