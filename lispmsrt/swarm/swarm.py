"""A whole swarm: starts its ETRs, has them do what the plan says, and tells what came of it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from lispmsrt.clock import Alarm, MonotonicClock
from lispmsrt.services.asking import source_towards
from lispmsrt.swarm.asker import Asker
from lispmsrt.swarm.churn import Churn
from lispmsrt.swarm.connections import DEFAULT_WINDOW, Connections
from lispmsrt.swarm.datagrams import SwarmSockets
from lispmsrt.swarm.eids import EidSpace
from lispmsrt.swarm.etr import Nonces, SwarmEtr
from lispmsrt.swarm.load import IDLE, Load
from lispmsrt.swarm.map_registers import MapRegisters
from lispmsrt.swarm.pacer import Pacer
from lispmsrt.swarm.plan import Plan
from lispmsrt.swarm.roster import Roster
from lispmsrt.swarm.timekeeping import Timekeeping
from lispmsrt.wire.authentication import Key

__all__ = ["DEFAULT_SECONDS", "Swarm"]

DEFAULT_SECONDS = 30.0

_UDP_WINDOW = 128
"""Map-Registers without an answer: a default receive buffer holds fewer than 200."""

_TICK = 0.005
"""Seconds between two looks at what is due."""

_GRACE = 2.0
"""Seconds that answers may take after the load has ended."""

_FAREWELL = 3.0
"""Seconds that sessions may take to close."""


class Swarm:
    """All ETRs of one plan."""

    def __init__(
        self,
        reactor: Any,
        plan: Plan,
        key: Key,
        *,
        clock: IReactorTime | None = None,
        cpu: Callable[[], float] = time.process_time,
        first_nonce: int | None = None,
    ) -> None:
        """Nonces count up from ``first_nonce``, by default nanoseconds since 1970. EidSpaceError
        says what is wrong with the prefixes.
        """
        self.plan = plan
        self.space = EidSpace(plan.prefixes, etrs=plan.etrs, eids=plan.eids, length=plan.length)
        self.load = Load(self.space, key)
        self._nonces = Nonces(time.time_ns() if first_nonce is None else first_nonce)
        self.roster = Roster(plan, self.load, self._nonces)
        self.was_interrupted = False
        self.sessions_at_end = 0
        self._reactor = reactor
        self._clock = clock or MonotonicClock(reactor)
        self._random = Random(plan.seed)
        self._sources = plan.sources
        self.map_registers = MapRegisters(
            self.load,
            self._nonces,
            random=self._random,
            window=plan.window or _UDP_WINDOW,
            records=plan.records,
            needs_r=plan.needs_r,
            on_armed=lambda etr: self.connections.connect(etr),
        )
        self.connections = Connections(
            reactor,
            self._clock,
            load=self.load,
            transport=plan.transport,
            window=plan.window or DEFAULT_WINDOW,
            random=self._random,
            on_over=self._attempt_over,
            arm=self._arm,
        )
        self.churn = Churn(
            self.load, self._random, etrs=self.roster.etrs, is_up=self._is_up, say=self._say
        )
        self.asker = Asker(plan, self.load, self.roster, self._clock)
        self.timekeeping = Timekeeping(self._clock, cpu)
        self._sockets = SwarmSockets(plan.map_server, self._received)
        self._alarm = Alarm(self._clock, self._flush)
        now = self._clock.seconds()
        self.pacers = {
            "ramp": Pacer(plan.ramp, now),
            "moves": Pacer(plan.moves, now),
            "flaps": Pacer(plan.flaps, now),
            "lookups": Pacer(plan.lookups, now),
        }

    @property
    def counters(self) -> Counter[str]:
        """What was counted anywhere."""
        found = self.map_registers.counters + self.connections.counters + self.churn.counters
        return found + self._sockets.counters

    async def run(self, on_tick: Callable[[Swarm], None] = lambda swarm: None) -> None:
        """Do it all. When it is cancelled it ends early, and properly."""
        try:
            self._open()
            await self._load(on_tick)
        except CancelledError:
            self.was_interrupted = True
        finally:
            self.timekeeping.stop(self.load)
            self.sessions_at_end = len(self.connections.sessions)
            await self._close()

    # The parts of a run

    def _open(self) -> None:
        plan = self.plan
        self._sources = plan.sources or (source_towards(plan.map_server),)
        for source in self._sources:
            if plan.uses_sessions:
                self.connections.prepare(source)
            self._sockets.open(self._reactor, source)
        self.asker.open(self._reactor, self._sources[0])

    async def _load(self, on_tick: Callable[[Swarm], None]) -> None:
        plan = self.plan
        self.timekeeping.start()
        began = self._clock.seconds()
        for pacer in self.pacers.values():
            pacer.due(began)
        end = began + (DEFAULT_SECONDS if plan.seconds is None else plan.seconds)
        while (now := self._clock.seconds()) < end:
            if not self.roster.is_complete:
                self._start_etrs(self.pacers["ramp"].due(now))
            self.churn.move(self.pacers["moves"].due(now))
            self.churn.flap(self.pacers["flaps"].due(now), now)
            self.churn.come_back(now)
            self.asker.ask(self.pacers["lookups"].due(now), now)
            self._flush()
            self.timekeeping.look(self.load)
            on_tick(self)
            if plan.ends_by_itself and self.is_settled:
                return
            await deferLater(self._clock, _TICK)
        await self._settle(on_tick)

    async def _settle(self, on_tick: Callable[[Swarm], None]) -> None:
        """Let what is under way be answered, and what is away come back."""
        end = self._clock.seconds() + _GRACE
        while (now := self._clock.seconds()) < end:
            self.churn.come_back(now, all_of_them=True)
            self._flush()
            if self.is_settled and not self.asker.is_waiting and not self.churn.away:
                return
            self.timekeeping.look(self.load)
            on_tick(self)
            await deferLater(self._clock, _TICK)

    async def _close(self) -> None:
        self._alarm.set(None)
        self.map_registers.stop()
        gone = self.connections.close()
        late = self._clock.callLater(_FAREWELL, self.connections.abort)
        try:
            await gone
        finally:
            if late.active():
                late.cancel()
        await self.asker.close()
        await self._sockets.close()

    @property
    def is_settled(self) -> bool:
        """Whether every EID was offered and answered."""
        return not self.load.waiting and not self.load.tally[IDLE]

    # ETRs

    def _start_etrs(self, count: int) -> None:
        now = self._clock.seconds()
        for etr in self.roster.start(count, self._sources):
            if self.plan.uses_sessions:
                self.map_registers.arm(etr, now)
            else:
                self.map_registers.register_periodically(etr, now)

    def _is_up(self, etr: SwarmEtr) -> bool:
        return not self.plan.uses_sessions or etr.number in self.connections.sessions

    def _say(self, etr: SwarmEtr) -> None:
        session = self.connections.sessions.get(etr.number)
        if session is not None:
            session.flush()
        elif not self.plan.uses_sessions:
            self.map_registers.register(etr)

    def _arm(self, etr: SwarmEtr, at: float) -> None:
        self.map_registers.arm(etr, at)
        self._flush_soon()

    def _attempt_over(self, etr: SwarmEtr) -> None:
        self.map_registers.arming_over(etr)
        self._flush_soon()

    # Datagrams

    def _received(self, datagrams: list[bytes]) -> None:
        now = self._clock.seconds()
        for data in datagrams:
            self.map_registers.receive_datagram(data, now)
        self._flush()

    def _flush(self) -> None:
        due = self.map_registers.datagrams_to_send(self._clock.seconds())
        if due:
            self._sockets.send([(etr.source, data) for etr, data in due])
        self._alarm.set(self.map_registers.next_timeout())

    def _flush_soon(self) -> None:
        self._alarm.set(self._clock.seconds())
