"""(a) When faults have stopped, every Map-Server comes to hold what the ETRs mean, and no more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.simulate.hosts import EtrHost, MapServerHost
from tests.simulate.invariants import registered
from tests.simulate.wire_reading import Eid, locators_of, network_of

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
        differences = self._differences() + self._missing_sessions() + self._stale_followers()
        if differences:
            world.fail("Converges", "; ".join(differences))

    def is_as_meant(self) -> bool:
        """Whether everything is registered, and every session there, that is meant to be."""
        return not self._differences() and not self._missing_sessions()

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
                    names = [_name(one) for one in (held.get(eid), expected.get(eid))]
                    found.append(
                        f"{server.name} has {eid} of {names[0]}, should have that of {names[1]}"
                    )
        return sorted(found)

    def _is_left(self, server: MapServerHost, eid: Eid) -> bool:
        """Whether an ETR that gives way has left it to another one, and can't be asked whether it
        still means it: the Map-Server has been started since and does not know whom to ask, or the
        session was lost and nothing else is to be registered (docs/reliability.rst).
        """
        world = self._world
        for etr in world.etrs:
            if not etr.yields or str(eid) not in etr.meaning:
                continue
            asked_at = etr.asked_at.get(str(eid), 0.0)
            taken_at = world.book.taken_over_at(server.name, eid, etr.ids, asked_at)
            is_forgotten = taken_at < world.book.started_at.get(server.name, 0.0)
            is_out_of_reach = etr.mode != "off" and not self._has_session(etr, server)
            if taken_at and (is_forgotten or is_out_of_reach):
                world.counters["left to others"] += 1
                return True
        return False

    def _has_session(self, etr: EtrHost, server: MapServerHost) -> bool:
        return any(
            stream.client.machine is etr.machine
            and stream.server.machine is server.machine
            and stream.client.connected
            and stream.server.connected
            for stream in self._world.network.streams
        )

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

    def _stale_followers(self) -> list[str]:
        """Who subscribes knows what is registered for exactly that EID-prefix."""
        found = []
        for server in self._world.servers:
            if server.service is None:
                continue
            held = {str(eid): locators_of(part.record) for eid, part in registered(server.service)}
            for itr in self._world.itrs:
                for eid in itr.FOLLOWED:
                    known = itr.known.get((server.machine.address, eid))
                    if known != held.get(eid):
                        found.append(f"{itr.name} does not know of {server.name} what {eid} is")
        return found

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
                if wants and not self._has_session(etr, server):
                    found.append(f"{etr.name} has no session with {server.name}")
        return found


def _name(registration: tuple[bytes, bytes] | None) -> str:
    return f"xTR {registration[0][0]}" if registration is not None else "nobody"
