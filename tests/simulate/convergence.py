"""(a) When faults have stopped, every Map-Server comes to hold what the ETRs mean, and no more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.simulate.hosts import EtrHost, MapServerHost
from tests.simulate.invariants import registered
from tests.simulate.wire_reading import Eid, network_of

if TYPE_CHECKING:
    from tests.simulate.world import World

__all__ = ["SETTLING", "Converges"]

_NOTICED = 30.0 + 15.0
_BACK_OFF = 60.0 * 1.25
_PERIOD = 60.0
_PROBATION = 30.0
_ANSWERS = 2 * 15.0
_TIMEOUT = 180.0 + 2.0
SETTLING = _NOTICED + _BACK_OFF + 2 * _PERIOD + _PROBATION + _ANSWERS + _TIMEOUT
"""Seconds: a dead connection is noticed, the longest back-off ends, UDP authenticates anew (its
first try may have been lost with the last fault), a session that says nothing is given up, what is
written to another one is sent again and again not answered, and what nobody confirmed expires.
"""


class Converges:
    """Compare what is registered with what is meant."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._ended: float | None = None

    def began_to_settle(self) -> None:
        """The last fault has ended."""
        self._ended = self._world.timeline.now

    def look(self) -> None:
        """Measure how long it took."""
        world = self._world
        if self._ended is not None and not self._differences():
            world.recovery = max(world.recovery, world.timeline.now - self._ended)
            self._ended = None

    def must_hold(self) -> None:
        """Now is the time."""
        world = self._world
        world.counters["rests"] += 1
        world.is_quiet = True
        differences = self._differences() + self._missing_sessions()
        if differences:
            world.fail("Converges", "; ".join(differences))

    def _differences(self) -> list[str]:
        found = []
        for server in self._world.servers:
            expected = self._expected(server)
            held: dict[Eid, tuple[bytes, bytes]] = {}
            if server.service is not None:
                for eid, part in registered(server.service):
                    held[eid] = part.lease.xtr.ids, part.record
            for eid in expected.keys() | held.keys():
                if expected.get(eid) != held.get(eid) and not self._is_left(server, eid):
                    who = [one[0][0] if one else None for one in (expected.get(eid), held.get(eid))]
                    found.append(
                        f"{server.name} has {eid} of xTR {who[1]}, should have that of {who[0]}"
                    )
        return sorted(found)

    def _is_left(self, server: MapServerHost, eid: Eid) -> bool:
        """Whether another ETR has registered it since its own was told to. The newest holds it, and
        who was replaced does not come back when that one ends (docs/reliability.rst).
        """
        book = self._world.book
        for etr in self._world.etrs:
            asked_at = etr.asked_at.get(str(eid), 0.0)
            is_meant = str(eid) in etr.meaning
            if is_meant and book.has_been_taken_over(server.name, eid, etr.ids, asked_at):
                self._world.counters["left to others"] += 1
                return True
        return False

    def _expected(self, server: MapServerHost) -> dict[Eid, tuple[bytes, bytes]]:
        return {
            network_of(eid): (etr.ids, etr.octets(eid))
            for etr in self._world.etrs
            for eid in etr.meaning
            if self._is_welcome(server, etr, eid)
        }

    def _is_welcome(self, server: MapServerHost, etr: EtrHost, eid: str) -> bool:
        prefixes = [network_of(text) for text in server.prefixes[etr.site]]
        network = network_of(eid)
        return etr.key in server.keys[etr.site] and any(
            network.version == prefix.version and network.subnet_of(prefix)  # type: ignore[arg-type]
            for prefix in prefixes
        )

    def _missing_sessions(self) -> list[str]:
        """Who wants a session, and registers what is welcome, has one by now."""
        found = []
        for server in self._world.servers:
            for etr in self._world.etrs:
                wants = etr.mode != "off" and any(
                    self._is_welcome(server, etr, eid)
                    and not self._is_left(server, network_of(eid))
                    for eid in etr.meaning
                )
                has = any(
                    stream.client.machine is etr.machine
                    and stream.server.machine is server.machine
                    and stream.client.connected
                    and stream.server.connected
                    for stream in self._world.network.streams
                )
                if wants and not has:
                    found.append(f"{etr.name} has no session with {server.name}")
        return found
