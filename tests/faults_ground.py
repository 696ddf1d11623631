"""An ETR whose mind changes while its path misbehaves, and what its Map-Server must hold then."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError
from twisted.internet.task import deferLater
from twisted.logger import Logger, LogLevel, globalLogPublisher
from twisted.python.failure import Failure

from lispmsrt import Etr
from lispmsrt.clock import MonotonicClock
from lispmsrt.session.map_server import MapServerSession
from lispmsrt.wire.addresses import EidPrefix
from lispmsrt.wire.records import encode_record
from tests.rim import Listener, mapping
from tests.session_ground import SessionGround

__all__ = ["FaultGround"]

_LOOK = 0.01
_IS_LONG = bool(os.environ.get("LISPMSRT_LONG"))


class FaultGround(SessionGround):
    """Mix it into a TestCase together with how the transport's endpoints are written."""

    timeout = 400
    mappings = 120
    "of the ETR at the start"
    rounds = 20 if _IS_LONG else 6
    "of changes before the session is lost, without it and after it; up to a sixth of the mappings"
    quick = False
    "whether the transport's options are those that notice a dead path within seconds"
    patience = 120.0
    "seconds after which something will never come about, however slow the machine is"

    _log = Logger()

    def setUp(self) -> None:
        """Whatever is logged as an error fails the test."""
        self.errors: list[dict[str, Any]] = []
        globalLogPublisher.addObserver(self._note_error)
        self.addCleanup(self._check_errors)
        self._clock = MonotonicClock(reactor)
        self._since = self._clock.seconds()
        self.awake = 0.0
        super().setUp()

    def _note_error(self, event: Any) -> None:
        if event.get("log_level", LogLevel.info) >= LogLevel.error:
            self.errors.append(event)

    def _check_errors(self) -> None:
        globalLogPublisher.removeObserver(self._note_error)
        assert not self.errors, [event.get("log_format") for event in self.errors]

    async def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait for what must come about."""
        await self._look_until(condition, what)
        self._say(what)

    async def _look_until(self, condition: Callable[[], object], what: str) -> None:
        """Look again and again; ``awake`` counts the seconds in which this process could look."""
        end = self._clock.seconds() + self.patience
        while not condition():
            looked = self._clock.seconds()
            assert looked < end, f"it never came to this: {what}"
            await deferLater(reactor, _LOOK)
            self.awake += min(self._clock.seconds() - looked, 10 * _LOOK)

    def _say(self, what: str) -> None:
        passed = self._clock.seconds() - self._since
        self._log.info("{name}, {passed:.1f} s: {what}", name=self.name, passed=passed, what=what)

    # What the ETR means

    def begin(self, *, quick: bool = False, options: str = "") -> tuple[Etr, Listener]:
        """Start both services; the ETR means nothing yet."""
        self.meaning: dict[EidPrefix, bytes] = {}
        self._all_eids = self.eids(2 * self.mappings)
        self._version = 0
        self.start_server(quick=quick)
        self.etr, self.listener = self.start_etr(quick=quick, options=options)
        return self.etr, self.listener

    def register(self, numbers: Iterable[int]) -> None:
        """Mean to register these, each in a way that it was not before."""
        self._version += 1
        for number in numbers:
            eid = self._all_eids[number]
            record = mapping(str(eid), priority=self._version)
            self.meaning[eid] = encode_record(record)
            self.etr.register(record).addErrback(_superseded)

    def withdraw(self, numbers: Iterable[int]) -> None:
        """Mean to register these no more."""
        for number in numbers:
            del self.meaning[self._all_eids[number]]
            self.etr.withdraw(self._all_eids[number]).addErrback(_superseded)

    def has_converged(self) -> bool:
        """Whether the Map-Server holds what the ETR means, no more and no less, on a session."""
        registrations = self.etr.links[0].registrations
        if registrations.unanswered or registrations.due:
            return False
        database = self.server.database
        if len(database) != len(self.meaning):
            return False
        held = {each.decode().eid: each for each in database.registrations()}
        return {eid: each.record for eid, each in held.items()} == self.meaning and all(
            each.lease.is_live for each in held.values()
        )

    def _bound(self) -> list[MapServerSession]:
        return [each for each in self.server.sessions if each.lease]

    async def live_through_faults(self) -> None:
        """Come up, change, withdraw, add, lose the session once, and have it all in the end."""
        self.begin(quick=self.quick)
        self.register(range(self.mappings))
        await self.until(lambda: "up" in self.listener.names(), "the session is up")
        await self._change_its_mind(range(self.rounds))
        await self.until(self._bound, "a session is bound")
        self.server.reset(self._bound()[0])
        await self._change_its_mind(range(self.rounds, 2 * self.rounds))
        await self.until(lambda: "down" in self.listener.names(), "the ETR notices a reset")
        await self.until(lambda: self.listener.names().count("up") > 1, "the session is up again")
        await self._change_its_mind(range(2 * self.rounds, 3 * self.rounds))
        await self.until(self.has_converged, "the Map-Server holds what the ETR means")
        self.assertEqual(len(self.meaning), self.mappings)
        self.assertNotIn("rejected", self.listener.names())
        await self.etr.stopService()
        await self.until(lambda: not self.server.sessions, "the Map-Server notices a farewell")
        await self.stop(self.server)

    async def _change_its_mind(self, rounds: range) -> None:
        """Withdraw one each time, bring another one and change two, the second of which must have
        arrived before the next time.
        """
        for number in rounds:
            last = self.mappings - 1 - number
            self.withdraw([number])
            self.register([self.mappings + number, self.mappings // 2, last])
            eid = self._all_eids[last]
            await self._look_until(
                lambda: self._held(eid) == self.meaning[eid],  # noqa: B023
                f"change {number} has arrived",
            )
        self._say(f"change {rounds[-1]} has arrived")

    def _held(self, eid: EidPrefix) -> bytes:
        for each in self.server.database.registrations():
            if each.decode().eid == eid:
                return each.record
        return b""


def _superseded(failure: Failure) -> None:
    failure.trap(CancelledError)
