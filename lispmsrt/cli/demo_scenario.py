"""What happens in the demo, step by step. Every number shown was measured.

It drives the roles through their public names only; whoever embeds them can do the same.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import gatherResults
from twisted.internet.interfaces import IReactorTime

from lispmsrt.cli.demo_cast import SITES, Actor, EtrEvents, make_map_server
from lispmsrt.cli.demo_compare import Comparison, compare
from lispmsrt.cli.demo_director import Director, milliseconds
from lispmsrt.cli.demo_display import Display
from lispmsrt.cli.demo_stage import Stage, StepError
from lispmsrt.services.etr import RegistrationRejected
from lispmsrt.session.base import CloseReason
from lispmsrt.session.map_server import MapServerSession
from lispmsrt.wire.addresses import EidPrefix

__all__ = ["Scenario"]

_SERVER = "map-server"
_FOREIGN_PREFIX = "198.51.100.0/24"
_SECOND_RLOC = "127.0.0.102"


class Scenario(EtrEvents):
    """Three ETRs and a Map-Server, from the first Map-Register to a clean stop."""

    def __init__(
        self, reactor: Any, clock: IReactorTime, display: Display, *, pace: float = 0.0
    ) -> None:
        self._reactor = reactor
        self._clock = clock
        self._director = Director(clock, display, pace)
        self._is_stopping = False
        self._notified: dict[Actor, float] = {}
        "when a Map-Notify gave leave for the session to come"
        self._lost: MapServerSession | None = None
        "the one that was reset"
        self._up_at = 0.0
        "when a session was established last"
        self.stage = Stage(make_map_server(reactor, clock, SITES), clock)

    async def play(self) -> Comparison:
        """Do everything up to the comparison. StepError when a step does not happen."""
        self._start()
        for number, actor in enumerate(self.stage.actors, 1):
            await self._come_up(actor, number)
        held = len(self.stage.map_server.database)
        self._event(_SERVER, f"{held:,} registrations are held by {number} sessions")
        first, second, third = self.stage.actors
        await self._change_locator(first)
        await self._withdraw(third)
        await self._be_refused(second)
        await self._lose_session(second)
        return await self._compare()

    async def stop(self) -> None:
        """Close everything; fires when that is done."""
        self._is_stopping = True
        for service in (*(actor.etr for actor in self.stage.actors), self.stage.map_server):
            if service.running:
                await self._director.within(service.stopService(), "A service did not stop")

    # The steps

    def _start(self) -> None:
        self.stage.map_server.startService()
        udp, tcp = self.stage.map_server.addresses
        self._event(_SERVER, f"listens on UDP {udp.host}:{udp.port} and TCP {tcp.host}:{tcp.port}")
        for site in SITES:
            self.stage.actors.append(
                Actor(site, self.stage.map_server, self, self._reactor, self._clock)
            )
            instance = f" in instance ID {site.instance_id}" if site.instance_id else ""
            self._event(_SERVER, f"site {site.name}: {site.prefix}{instance}, ETR {site.address}")

    async def _come_up(self, actor: Actor, number: int) -> None:
        site = actor.site
        self._director.heading(
            f"Step {number}. {site.address} authenticates over UDP, then registers "
            f"{site.count} EID-prefixes on a session"
        )
        for eid in site.eids():
            actor.meant[eid] = site.record(eid)
        acked = gatherResults(
            [actor.etr.register(record) for record in actor.meant.values()], consumeErrors=True
        )
        actor.etr.startService()
        self._event(
            site.address,
            f"Map-Register with r over UDP from port {actor.etr.address.port}, "
            f"xTR-ID {site.xtr_id.hex()[:8]}...",
        )
        await self._director.within(acked, f"{site.address} did not get all its ACKs")
        self._show_rate(actor, actor.registrations, actor.acks)
        await self._director.pause()

    async def _change_locator(self, actor: Actor) -> None:
        eid = next(iter(actor.meant))
        self._director.heading(f"Step 4. {actor.site.address} changes the locator of {eid}")
        before = self.stage.locators(eid)
        actor.meant[eid] = actor.site.record(eid, _SECOND_RLOC)
        took = await self._director.time(
            actor.etr.register(actor.meant[eid]), "The change was not ACKed"
        )
        self._event(actor.site.address, f"Registration for {eid}, ACK after {took}")
        self._event(_SERVER, f"{eid}: {before} is now {self.stage.locators(eid)}")
        await self._director.pause()

    async def _withdraw(self, actor: Actor) -> None:
        eid = list(actor.meant)[-1]
        self._director.heading(f"Step 5. {actor.site.address} withdraws {eid}")
        del actor.meant[eid]
        took = await self._director.time(actor.etr.withdraw(eid), "The withdrawal was not ACKed")
        self._event(actor.site.address, f"Registration for {eid} with TTL 0, ACK after {took}")
        self._event(
            _SERVER,
            f"{eid}: {self.stage.locators(eid)}; {len(self.stage.map_server.database)} are left",
        )
        await self._director.pause()

    async def _be_refused(self, actor: Actor) -> None:
        eid = EidPrefix.from_text(_FOREIGN_PREFIX)
        self._director.heading(
            f"Step 6. {actor.site.address} tries to register {eid}, outside its site"
        )
        try:
            await self._director.within(
                actor.etr.register(actor.site.record(eid)), "The Rejection did not come"
            )
        except RegistrationRejected as refusal:
            self._event(actor.site.address, f"Rejection (reason {refusal.reason:d}): {refusal}")
        else:
            raise StepError(f"The Map-Server accepted {eid}, which no site has.")
        actor.etr.withdraw(eid)
        self._event(_SERVER, f"{eid}: {self.stage.locators(eid)}")
        await self._director.pause()

    async def _lose_session(self, actor: Actor) -> None:
        self._director.heading(f"Step 7. The TCP connection of {actor.site.address} is reset")
        stage = self.stage
        sent, acked, sessions = actor.registrations, actor.acks, len(actor.sessions)
        self._lost = stage.session_of(actor)
        stage.map_server.reset(self._lost)
        await self._director.until(
            lambda: len(actor.sessions) > sessions and stage.clock_of(actor) is None,
            f"{actor.site.address} did not come back",
        )
        await self._director.until(
            lambda: actor.acks - acked >= len(actor.meant), "Not all registrations were ACKed"
        )
        self._show_rate(actor, actor.registrations - sent, actor.acks - acked)
        self._event(
            _SERVER, f"the session holds all {len(stage.held(actor))} again, and no clock runs"
        )
        await self._director.pause()

    async def _compare(self) -> Comparison:
        self._director.heading("Step 8. Does the Map-Server hold what the ETRs mean to register?")
        for total in self.stage.totals():
            self._event(_SERVER, total)
        return compare(self.stage.meant(), self.stage.map_server.database.registrations())

    # What ETRs hear

    def authenticated(self, actor: Actor) -> None:
        """A Map-Notify with r: show the first of each session to come."""
        if actor in self._notified or actor.is_up:
            return
        self._notified[actor] = self._clock.seconds()
        over_udp = sum(one.lease.transport == "UDP" for one in self.stage.held(actor))
        self._event(
            actor.site.address,
            f"Map-Notify with r over UDP (Map-Register no. {actor.map_registers}, "
            f"EID-prefixes: {over_udp})",
        )

    def session_up(self, actor: Actor) -> None:
        """The Refresh came."""
        peer = self.stage.session_of(actor).peer
        waited = self._clock.seconds() - self._notified.pop(actor, self._clock.seconds())
        self._event(
            actor.site.address,
            f"TCP connected from {peer}, Refresh with scope 0 after {milliseconds(waited)}",
        )
        self._up_at = self._clock.seconds()

    def session_down(self, actor: Actor, reason: CloseReason) -> None:
        """The session is lost: both ends know by now."""
        if self._is_stopping:
            return
        self._event(actor.site.address, f"session ended: {reason.value}")
        if self._lost is not None:
            self._show_loss(actor, self._lost)

    # Showing

    def _event(self, who: str, text: str) -> None:
        self._director.event(who, text)

    def _show_rate(self, actor: Actor, registrations: int, acks: int) -> None:
        took = self._clock.seconds() - self._up_at
        self._event(
            actor.site.address,
            f"{registrations} Registrations, {acks} ACKs in {milliseconds(took)}: "
            f"{acks / took:,.0f}/s",
        )

    def _show_loss(self, actor: Actor, session: MapServerSession) -> None:
        held = self.stage.held(actor)
        left = self.stage.first_end(held) or 0.0
        running = sum(one.expires is not None for one in held)
        reason = session.close_reason.value if session.close_reason is not None else "not yet"
        self._event(_SERVER, f"session with {session.peer} ended: {reason}")
        self._event(
            _SERVER, f"{running} of {len(held)} registrations run the clock: {left:.1f} s left"
        )
