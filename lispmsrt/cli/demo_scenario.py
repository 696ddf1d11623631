"""What happens in the demo, step by step. Every number shown was measured.

It drives the roles through their public names only; whoever embeds them can do the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import gatherResults
from twisted.internet.interfaces import IReactorTime

from lispmsrt.cli.demo_cast import SITES, Actor, DemoSite, EtrEvents, make_map_server
from lispmsrt.cli.demo_chronicle import SERVER, Chronicle
from lispmsrt.cli.demo_compare import Comparison, compare
from lispmsrt.cli.demo_director import Director
from lispmsrt.cli.demo_display import Display, Waiting
from lispmsrt.cli.demo_itr import Itr
from lispmsrt.cli.demo_overlay import Overlay
from lispmsrt.cli.demo_stage import Stage, StepError
from lispmsrt.cli.demo_transports import (
    MAP_SERVER_ADDRESS,
    LoopbackTransport,
    port_that_refuses,
    what_is_missing,
)
from lispmsrt.services.etr import RegistrationRejected
from lispmsrt.wire.addresses import EidPrefix

__all__ = ["Scenario"]

_FOREIGN_PREFIX = "198.51.100.0/24"
_SECOND_RLOC = "127.0.0.102"


class Scenario:
    """A Map-Server and an ETR for each transport, from the first Map-Register to a clean stop."""

    def __init__(
        self,
        reactor: Any,
        clock: IReactorTime,
        display: Display,
        transports: Sequence[LoopbackTransport],
        *,
        directory: Path,
        pace: float = 0.0,
    ) -> None:
        """``directory`` is for a key, and must stay."""
        self._reactor = reactor
        self._clock = clock
        self._director = Director(clock, display, pace)
        self._transports = transports
        self._missing = {each.server: what_is_missing(reactor, each) for each in transports}
        installed = [each for each in transports if not self._missing[each.server]]
        self.stage = Stage(make_map_server(reactor, clock, installed), clock)
        self._chronicle = Chronicle(self._director, self.stage)
        self._itr = Itr(self._director, self.stage.udp_address, directory)
        self._refusing = port_that_refuses()

    async def play(self) -> Comparison:
        """Do everything up to the comparison. StepError when a step does not happen."""
        self._start()
        *steady, choosy = self.stage.actors
        for actor in steady:
            self._director.step(
                f"{actor.site.address} authenticates over UDP, then registers "
                f"{actor.site.count} EID-prefixes over {actor.transport.name}"
            )
            await self._come_up(actor)
        self._director.step(f"{choosy.site.address} tries TCP first, where nothing listens")
        await self._come_up(choosy)
        held = len(self.stage.map_server.database)
        sessions = len(self.stage.map_server.sessions)
        self._event(SERVER, f"{held:,} registrations are held by {sessions} sessions")
        await self._change_locator(steady[0])
        await self._withdraw(steady[1])
        await self._be_refused(choosy)
        await self._lose_session(_over_quic(steady))
        await self._overlay(choosy).play()
        return await self._compare()

    async def stop(self) -> None:
        """Close everything; fires when that is done."""
        self._chronicle.is_over = True
        self.end_children()
        self._refusing.close()
        for service in (*(actor.etr for actor in self.stage.actors), self.stage.map_server):
            if service.running:
                await self._director.within(service.stopService(), "A service did not stop")

    def waiting(self) -> Waiting | None:
        """Return what is waited for, where that takes long."""
        return self._director.waiting()

    def end_children(self) -> None:
        """End child processes at once, if any are left."""
        self._itr.stop()

    # The steps

    def _start(self) -> None:
        self.stage.map_server.startService()
        self._missing |= self.stage.missing()
        self._event(SERVER, f"listens on UDP {self.stage.udp_address()}")
        for site, transport in zip(SITES, self._transports, strict=False):
            if reason := self._missing.get(transport.server):
                self._event(SERVER, f"{transport.name} is skipped: {reason}")
                continue
            port = self.stage.port_of(transport.server)
            self._event(SERVER, f"listens on {transport.name}, port {port}")
            self._enter(site, transport, [transport.client(port)])
        first = f"tcp:{MAP_SERVER_ADDRESS}:{self._refusing.getsockname()[1]}"
        transport = _over_quic(self.stage.actors).transport
        second = transport.client(self.stage.port_of(transport.server))
        self._enter(SITES[-1], transport, [first, second])

    def _enter(
        self,
        site: DemoSite,
        transport: LoopbackTransport,
        endpoints: Sequence[str],
        events: EtrEvents | None = None,
    ) -> Actor:
        actor = Actor(
            site,
            transport,
            endpoints,
            map_server=self.stage.map_server,
            events=events or self._chronicle,
            reactor=self._reactor,
            clock=self._clock,
        )
        self.stage.actors.append(actor)
        return actor

    def _overlay(self, first: Actor) -> Overlay:
        transport = first.transport
        endpoints = [transport.client(self.stage.port_of(transport.server))]
        notices = self._chronicle.notices
        return Overlay(
            first,
            stage=self.stage,
            director=self._director,
            notices=notices,
            itr=self._itr,
            enter=lambda site: self._enter(site, transport, endpoints, notices),
        )

    async def _come_up(self, actor: Actor) -> None:
        site = actor.site
        for eid in site.eids():
            actor.meant[eid] = site.record(eid)
        acked = gatherResults(
            [actor.etr.register(record) for record in actor.meant.values()], consumeErrors=True
        )
        actor.etr.startService()
        self._event(
            site.address,
            f"Map-Register with r over UDP from port {actor.etr.address.port}, "
            f"site {site.name}, xTR-ID {site.xtr_id.hex()[:8]}...",
        )
        try:
            await self._director.within(acked, f"{site.address} did not get all its ACKs")
        except StepError:
            self._chronicle.failures(actor)
            raise
        self._chronicle.registered(actor, actor.registrations, actor.acks)
        await self._director.pause()

    async def _change_locator(self, actor: Actor) -> None:
        eid = next(iter(actor.meant))
        self._director.step(f"{actor.site.address} changes the locator of {eid}")
        before = self.stage.locators(eid)
        actor.meant[eid] = actor.site.record(eid, _SECOND_RLOC)
        took = await self._director.time(
            actor.etr.register(actor.meant[eid]), "The change was not ACKed"
        )
        self._event(actor.site.address, f"Registration for {eid}, ACK after {took}")
        self._event(SERVER, f"{eid}: {before} is now {self.stage.locators(eid)}")
        await self._director.pause()

    async def _withdraw(self, actor: Actor) -> None:
        eid = list(actor.meant)[-1]
        self._director.step(f"{actor.site.address} withdraws {eid}")
        del actor.meant[eid]
        took = await self._director.time(actor.etr.withdraw(eid), "The withdrawal was not ACKed")
        self._event(actor.site.address, f"Registration for {eid} with TTL 0, ACK after {took}")
        self._event(
            SERVER,
            f"{eid}: {self.stage.locators(eid)}; {len(self.stage.map_server.database)} are left",
        )
        await self._director.pause()

    async def _be_refused(self, actor: Actor) -> None:
        eid = EidPrefix.from_text(_FOREIGN_PREFIX)
        self._director.step(f"{actor.site.address} tries to register {eid}, outside its site")
        try:
            await self._director.within(
                actor.etr.register(actor.site.record(eid)), "The Rejection did not come"
            )
        except RegistrationRejected as refusal:
            self._event(actor.site.address, f"Rejection (reason {refusal.reason:d}): {refusal}")
        else:
            raise StepError(f"The Map-Server accepted {eid}, which no site has.")
        actor.etr.withdraw(eid)
        self._event(SERVER, f"{eid}: {self.stage.locators(eid)}")
        await self._director.pause()

    async def _lose_session(self, actor: Actor) -> None:
        self._director.step(
            f"The {actor.transport.name} connection of {actor.site.address} is reset"
        )
        stage = self.stage
        sent, acked, sessions = actor.registrations, actor.acks, len(actor.sessions)
        self._chronicle.lost = stage.session_of(actor)
        stage.map_server.reset(self._chronicle.lost)
        await self._director.until(
            lambda: len(actor.sessions) > sessions and stage.clock_of(actor) is None,
            f"{actor.site.address} did not come back",
        )
        await self._director.until(
            lambda: actor.acks - acked >= len(actor.meant), "Not all registrations were ACKed"
        )
        self._chronicle.registered(actor, actor.registrations - sent, actor.acks - acked)
        self._event(
            SERVER, f"the session holds all {len(stage.held(actor))} again, and no clock runs"
        )
        await self._director.pause()

    async def _compare(self) -> Comparison:
        self._director.step("Does the Map-Server hold what the ETRs mean to register?")
        self._chronicle.summary()
        return compare(self.stage.meant(), self.stage.map_server.database.registrations())

    # Telling

    def _event(self, who: str, text: str) -> None:
        self._director.event(who, text)


def _over_quic(actors: Sequence[Actor]) -> Actor:
    """Return the ETR that uses QUIC, or where there is none the last."""
    return next((each for each in actors if each.transport.name == "QUIC"), actors[-1])
