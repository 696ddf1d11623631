"""A world: machines with services, what goes wrong on them by a plan, and invariants that watch."""

from __future__ import annotations

import tempfile
import traceback
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from twisted.logger import LogLevel, formatEvent, globalLogPublisher

from lispmsrt.wire.addresses import EidPrefix
from tests.simulate.book import Book
from tests.simulate.convergence import SETTLING, Converges
from tests.simulate.dispatch import Dispatch
from tests.simulate.hosts import EIDS, MODES, EtrHost, ItrHost, MapServerHost, site_of
from tests.simulate.invariants import (
    AcknowledgedIsHeld,
    Invariant,
    NothingUnauthenticated,
    OnlyArmedConnect,
    RepeatsChangeNothing,
)
from tests.simulate.lasting import NothingOutlivesItsTime, RegisteredIsAnswered, WithinLimits
from tests.simulate.machine import Machine
from tests.simulate.network import Network
from tests.simulate.schedule import Event, Plan
from tests.simulate.timeline import Timeline
from tests.simulate.trace import Trace
from tests.simulate.troubles import Troubles
from tests.simulate.wire_reading import network_of

__all__ = ["Violation", "World"]

_LOOK_EVERY = 10.0
_LOOK_EVERY_WHEN_QUIET = 60.0
_ASK_EVERY = 15.0
_ASK_EVERY_WHEN_QUIET = 600.0


class Violation(Exception):  # noqa: N818
    """A promise is broken."""

    def __init__(self, invariant: str, text: str, at: float) -> None:
        super().__init__(f"{invariant}: {text}, after {at:.3f} s")
        self.invariant, self.text, self.at = invariant, text, at


class World:
    """Live through a plan."""

    def __init__(self, plan: Plan, *, directory: Path | None = None) -> None:
        self.plan = plan
        self.timeline = Timeline()
        self.trace = Trace()
        self.counters: Counter[str] = Counter()
        self.violation: Violation | None = None
        self.recovery = 0.0
        "seconds that convergence took after a storm, at most"
        self.seed = str(plan.seed)
        self.random = Random(f"world {plan.seed}")
        self.book = Book(lambda: self.timeline.now)
        kinds = (
            *(NothingUnauthenticated, RepeatsChangeNothing, OnlyArmedConnect),
            *(AcknowledgedIsHeld, NothingOutlivesItsTime, RegisteredIsAnswered, WithinLimits),
        )
        self.invariants: list[Invariant] = [kind(self.book, self.fail) for kind in kinds]
        self.converges = Converges(self)
        taps = Dispatch(self.book, self.invariants, self.trace, self.timeline)
        self.network = Network(self.timeline, plan.seed, taps)
        self.network.high_water = 700 if plan.narrow else 1 << 16
        self.network.cuts_segments = plan.narrow
        self._files = tempfile.TemporaryDirectory(dir=directory or _fastest_directory())
        self.owners: dict[str, EtrHost] = {}
        "EID-prefix to the ETR that is to register it"
        self.servers = [self._server(number) for number in range(1, plan.map_servers + 1)]
        self.etrs = [self._etr(number) for number in range(1, plan.etrs + 1)]
        self.itrs = [self._itr(number) for number in range(1, plan.itrs + 1)]
        self._give_out_eids()
        self.troubles = Troubles(self)
        self.happened: list[tuple[Event, str]] = []
        "events, and what each came to"
        self.is_quiet = True
        self.steps_timers = False
        "whether a step of the wall clock moves what waits, as in Twisted's reactors"

    # What it consists of

    def _machine(self, name: str, address: str) -> Machine:
        machine = Machine(self.network, name, address)
        self.network.add(machine)
        return machine

    def _server(self, number: int) -> MapServerHost:
        machine = self._machine(f"MS{number}", f"192.0.2.{number}")
        state = Path(self._files.name, f"ms{number}", "state") if self.plan.remembers else None
        host = MapServerHost(machine, self.seed, strict=self.plan.strict, state=state, all_keys=[1])
        self.book.servers[host.name] = host
        return host

    def _etr(self, number: int) -> EtrHost:
        machine = self._machine(f"ETR{number}", f"198.51.100.{number}")
        mode = MODES[self.plan.modes[number - 1]]
        state = Path(self._files.name, f"etr{number}")
        host = EtrHost(machine, number, self.seed, state, mode=mode, yields=self.plan.yields)
        host.map_servers = [server.machine.address for server in self.servers]
        self.book.etrs[host.name] = host
        return host

    def _itr(self, number: int) -> ItrHost:
        machine = self._machine(f"ITR{number}", f"203.0.113.{number}")
        servers = [server.machine.address for server in self.servers]
        return ItrHost(machine, number, servers, self.seed)

    def _give_out_eids(self) -> None:
        for site, eids in EIDS.items():
            etrs = [etr for etr in self.etrs if site_of(etr.number) == site]
            for eid in eids:
                self.owners[eid] = self.random.choice(etrs)
                if self.random.random() < 0.7:
                    self.owners[eid].meaning[eid] = 1

    # Life

    def live(self, events: Sequence[Event] | None = None) -> None:
        """Live through it all; what is broken is in :attr:`violation` then."""
        globalLogPublisher.addObserver(self._logged)
        try:
            self.timeline.on_failure = self._raised
            self.timeline.is_over = lambda: self.violation is not None
            for host in (*self.servers, *self.etrs, *self.itrs):
                host.start()
            self._arrange(self.plan.events if events is None else events)
            self.timeline.run(self.plan.duration)
        finally:
            globalLogPublisher.removeObserver(self._logged)
            for server in self.servers:
                server.crash(is_power_cut=False)
            self._files.cleanup()

    def _arrange(self, events: Sequence[Event]) -> None:
        for event in events:
            self.timeline.at(event.at, self._happens, event)
        for rest in self.plan.rests:
            self.timeline.at(rest - SETTLING, self.converges.began_to_settle)
            self.timeline.at(rest, self.converges.must_hold)
        self.timeline.after(_LOOK_EVERY, self._look)
        self.timeline.after(1.0, self._ask)

    def _happens(self, event: Event) -> None:
        self.counters["events"] += 1
        self.is_quiet = False
        self.happened.append((event, self.troubles.happen(event)))

    def _look(self) -> None:
        for invariant in self.invariants:
            invariant.look()
        self.converges.look()
        self.timeline.after(_LOOK_EVERY_WHEN_QUIET if self.is_quiet else _LOOK_EVERY, self._look)

    def _ask(self) -> None:
        host = self.random.choice(self.itrs)
        server = self.random.randrange(len(self.servers))
        eid = self.random.choice(list(self.owners))
        host.ask(server, host_in(eid))
        every = _ASK_EVERY_WHEN_QUIET if self.is_quiet else _ASK_EVERY
        self.timeline.after(self.random.uniform(0.1, 2 * every), self._ask)

    # What goes wrong

    def machines(self) -> list[str]:
        """Return in words who is there."""
        lines = [f"{host.name} at {host.machine.address}" for host in self.servers]
        for etr in self.etrs:
            lines.append(
                f"{etr.name} at {etr.machine.address}, site {etr.site}, session {etr.mode},"
                f" xTR-ID {etr.ids[0]}"
            )
        return [*lines, *(f"{host.name} at {host.machine.address}" for host in self.itrs)]

    def note(self, text: str) -> None:
        """Put something into the trace that is no message."""
        self.trace.note(self.timeline.now, "**", text)

    def fail(self, invariant: str, text: str) -> None:
        """A promise is broken; only the first one counts."""
        if self.violation is None:
            self.violation = Violation(invariant, text, self.timeline.now)
            self.trace.note(self.timeline.now, "BROKEN", f"{invariant}: {text}")
            self.trace.is_over = True

    def _raised(self, failure: Exception) -> None:
        lines = traceback.format_exception(failure)
        self.fail("NothingLoggedAsError", "raised: " + "".join(lines[-3:]))

    def _logged(self, event: dict[str, Any]) -> None:
        level = event.get("log_level")
        self.trace.note(self.timeline.now, "log", (event.get("log_namespace", ""), event))
        if event.get("isError") or (level is not None and level >= LogLevel.error):
            failure = event.get("log_failure")
            text = failure.getTraceback() if failure is not None else ""
            self.fail("NothingLoggedAsError", f"{formatEvent(event)} {text}")


def host_in(eid: str) -> Any:
    """Return the last address of an EID-prefix, as a prefix."""
    network = network_of(eid)
    return EidPrefix.from_text(f"{network[-1]}/{network.max_prefixlen}")


def _fastest_directory() -> Path | None:
    shared = Path("/dev/shm")
    return shared if shared.is_dir() else None
