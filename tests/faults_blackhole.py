"""A path that is dead both ways: who notices it when, and what is done meanwhile."""

from __future__ import annotations

from typing import Protocol

from tests.faults_ground import FaultGround

__all__ = ["BlackholeTests", "Network"]

_CLOCK = 180.0
"""Seconds that a registration lasts once its session is lost."""

_OPTIONS = "transport-timeout = 1.0\nregistration-period = 1.0\n"


class Network(Protocol):
    """A loopback that drops what arrives, and tells nobody."""

    def lose_all(self) -> None:
        """Lose every packet."""

    def lose_port(self, port: int) -> None:
        """Lose every packet to or from a port, of whatever protocol, and no other."""

    def heal(self) -> None:
        """Lose nothing any more."""


class BlackholeTests(FaultGround):
    """Mix it into a TestCase with a ``network``."""

    network: Network

    mappings = 30
    keepalive = 5.0
    "seconds within which a dead path is noticed, of the transport's options for a quick one"

    async def test_a_dead_path_is_noticed_and_survived(self) -> None:
        """Both ends end the session, registrations have a clock, UDP goes on as soon as it can, and
        the session comes back with the path.
        """
        self.begin(quick=True, options=_OPTIONS)
        self.register(range(self.mappings))
        await self.until(self.has_converged, "all is registered")
        self.network.lose_all()
        await self._notice()
        self._check_clocks()
        self.withdraw([0])
        self.register([1, self.mappings])
        self.network.lose_port(self.stream_port)
        await self.until(self._is_over_udp, "UDP registers what has no session")
        await self.until(self._has_failed, "what fails is to be seen, and why")
        self.network.heal()
        await self.until(self.has_converged, "all is on a session again")
        self.assertNotIn("rejected", self.listener.names())

    async def _notice(self) -> None:
        """Wait until both ends have noticed; time in which this process did not run is not theirs
        to answer for.
        """
        start = self.awake
        link = self.etr.links[0]
        await self.until(lambda: link.session is None, "the ETR notices")
        await self.until(lambda: not self.server.sessions, "the Map-Server notices")
        self.assertLess(self.awake - start, self.keepalive + 1.0)

    def _check_clocks(self) -> None:
        now = self._clock.seconds()
        for each in self.server.database.registrations():
            self.assertIsNotNone(each.expires)
            assert each.expires is not None
            self.assertTrue(now < each.expires <= now + _CLOCK, each.expires - now)
        self.assertEqual(len(self.server.database), self.mappings)

    def _is_over_udp(self) -> bool:
        held = {each.decode().eid: each for each in self.server.database.registrations()}
        return {eid: each.record for eid, each in held.items()} == self.meaning and all(
            each.lease.transport == "UDP" and each.expires is not None for each in held.values()
        )

    def _has_failed(self) -> bool:
        (link,) = self.etr.snapshot().map_servers
        return all(each.reason and each.failures for each in link.transports)
