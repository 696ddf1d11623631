"""Both services in memory, over a transport that runs on UDP, in bad weather and virtual time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Self

from twisted.internet.defer import CancelledError
from twisted.logger import LogLevel, globalLogPublisher
from twisted.python.failure import Failure

from lispmsrt import Etr, MapServer, parse_config
from lispmsrt.wire.addresses import EidPrefix
from lispmsrt.wire.records import encode_record
from tests.quic_rim import CLIENT_HOST, SERVER_HOST, QuicNetwork
from tests.rim import Listener, etr_text, map_server_text, mapping, outcome, site_text

__all__ = ["BOUND", "CLOCK", "EIDS", "PORT", "STEPS", "Step", "Weather", "World"]

PORT = 4343
"""Where the Map-Server takes sessions."""

_CONTROL_PORT = 4342
CLOCK = 180.0
"""Seconds that a registration lasts once nothing stands behind it."""

BOUND = 60.0 + 75.0 + 2 * 60.0 + 30.0 + CLOCK
"""Seconds after which faults are healed: a dead connection is noticed at both ends, the longest
back-off ends, UDP authenticates anew (its first try may be one that was lost), the session
registers, and what nobody confirmed expires.
"""

_FAREWELL = 130.0
"""Seconds after which a service has closed all, though nobody answers: a transport may keep its
port while peers could still ask for its last word.
"""

EIDS = tuple(f"10.1.{number}.0/24" for number in range(12))

Step = tuple[Any, ...]
"""What happens, and how: so that schedules shrink, and can be pasted into code."""

_PERCENT = (0, 0, 5, 20, 50)
STEPS: dict[str, tuple[Sequence[Any], ...]] = {
    "register": (EIDS,),
    "register_many": ((1, 20, 200),),
    "withdraw": (EIDS,),
    "weather": (_PERCENT, _PERCENT, (0, 10, 50, 300, 2000)),
    "partition": (("none", "all", "session", "there", "back"),),
    "reset": (),
    "replace": (("server", "etr"), (False, True)),
    "run": ((0.01, 0.1, 1, 3, 10, 31, 61, 200),),
}
"""The steps and the values that each of their arguments may have."""

Address = tuple[str, int]


@dataclass(eq=False)
class Weather(QuicNetwork):
    """A network that may also fail in one direction, or for one port only."""

    __hash__ = object.__hash__  # a clock is who it is

    is_blocked: Callable[[Address, Address], bool] = lambda source, to: False
    lost: int = field(default=0, init=False)

    def carry(self, source: Address, to: Address, data: bytes) -> None:
        """Bring a datagram to where it goes, or lose it."""
        if self.is_blocked(source, to):
            self.lost += 1
        else:
            super().carry(source, to, data)

    def clear_up(self) -> None:
        """Lose nothing any more; what is on its way still arrives."""
        self.loss = self.duplication = self.jitter = 0.0
        self.is_dead = False
        self.is_blocked = lambda source, to: False


class World:
    """A Map-Server and an ETR, who may be replaced, and what the ETR means."""

    def __init__(
        self, seed: int, *, server_string: str, client_string: str, priority: int = 0
    ) -> None:
        self.network = Weather(seed=seed)
        self.meaning: dict[EidPrefix, bytes] = {}
        self.listener = Listener()
        self._random = Random(seed)
        self._priority = priority
        self._server_config = parse_config(_server_text(server_string))
        self._etr_config = parse_config(_etr_text(client_string))
        self._errors: list[Any] = []
        globalLogPublisher.addObserver(self._note_error)
        self.server = self._new_server()
        self.etr = self._new_etr()

    def _note_error(self, event: Any) -> None:
        if event.get("log_level", LogLevel.info) >= LogLevel.error:
            self._errors.append(event)

    def _new_server(self) -> MapServer:
        config = self._server_config
        assert config.map_server is not None
        server = MapServer(config.map_server, config.site, self.network, self.network)
        server.startService()
        return server

    def _new_etr(self) -> Etr:
        config = self._etr_config
        assert config.etr is not None
        etr = Etr(
            config.etr, self.network, self.network, listener=self.listener, random=self._random
        )
        etr.startService()
        return etr

    # What the ETR means

    def register(self, eid: str) -> None:
        """Mean to register this, in a way that it was not before."""
        self._priority = self._priority % 254 + 1
        record = mapping(eid, CLIENT_HOST, priority=self._priority)
        self.meaning[record.eid] = encode_record(record)
        self.etr.register(record).addErrback(_superseded)

    def withdraw(self, eid: str) -> None:
        """Mean to register it no more, if it was meant."""
        prefix = EidPrefix.from_text(eid)
        if self.meaning.pop(prefix, None) is not None:
            self.etr.withdraw(prefix).addErrback(_superseded)

    # What happens

    def perform(self, *step: Any) -> None:
        """Do one of the steps, and look whether everything is as it must always be."""
        do = getattr(self, f"_do_{step[0]}", None) or getattr(self, step[0])
        do(*step[1:])
        self.check()

    def run(self, seconds: float, stop_when: Callable[[], bool] = lambda: False) -> None:
        """Let this much time go by, and look at everything as it does."""
        end = self.network.seconds() + seconds
        while self.network.seconds() < end and not stop_when():
            self.step(min(1.0, end - self.network.seconds()))
            self.check()

    def step(self, seconds: float) -> None:
        """Let at most a second go by."""
        self.network.run(seconds)

    def _do_register_many(self, count: int) -> None:
        for number in range(count):
            self.register(f"10.1.128.{number}/32")

    def _do_weather(self, loss: int, duplication: int, jitter: int) -> None:
        """In percent and milliseconds."""
        self.network.loss, self.network.duplication = loss / 100, duplication / 100
        self.network.jitter = jitter / 1000

    def _do_partition(self, kind: str) -> None:
        self.network.is_blocked = {
            "none": lambda source, to: False,
            "all": lambda source, to: True,
            "session": lambda source, to: PORT in (source[1], to[1]),
            "there": lambda source, to: to[0] == SERVER_HOST,
            "back": lambda source, to: to[0] == CLIENT_HOST,
        }[kind]

    def _do_reset(self) -> None:
        for session in self.server.sessions:
            self.server.reset(session)

    def _do_replace(self, which: str, in_silence: bool) -> None:
        """Another one takes its place, with nothing but what it means."""
        if which == "server":
            self._stop(self.server, in_silence)
            self.server = self._new_server()
        else:
            self._stop(self.etr, in_silence)
            self.etr = self._new_etr()
            for eid in list(self.meaning):
                self.register(str(eid))

    def _stop(self, service: Etr | MapServer, in_silence: bool) -> None:
        # Whose path is dead can say nothing, as one whose machine has failed.
        was_dead, self.network.is_dead = self.network.is_dead, in_silence or self.network.is_dead
        stopped = outcome(service.stopService())
        self.run(_FAREWELL, stop_when=lambda: bool(stopped))
        assert stopped == [None], f"the service does not stop: {stopped}"
        self.network.is_dead = was_dead

    # What must hold

    def check(self) -> None:
        """Look at what must hold at every moment."""
        assert not self._errors, self._errors
        # A bound lease whose session has ended is live no longer.
        leases = {session.lease for session in self.server.sessions}
        for registration in self.server.database.registrations():
            if registration.expires is None:
                assert registration.lease.is_live, "neither a live session nor a clock"
                assert registration.lease in leases, "held by a session that is gone"

    def converge(self, bound: float) -> None:
        """The faults are over: everything must be as the ETR means within so many seconds."""
        self.network.clear_up()
        self.run(bound)
        held = {each.decode().eid: each for each in self.server.database.registrations()}
        assert {eid: each.record for eid, each in held.items()} == self.meaning
        assert all(each.expires is None for each in held.values()), "not all is on a session"
        assert len(self.server.sessions) <= 1, "earlier sessions are still there"
        assert "rejected" not in self.listener.names()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, problem: object, where: object) -> None:
        """Stop both; nothing must be left."""
        globalLogPublisher.removeObserver(self._note_error)
        if problem is not None:
            return
        stopped = [outcome(each.stopService()) for each in (self.etr, self.server)]
        self.network.run(_FAREWELL)
        assert stopped == [[None], [None]], stopped
        assert not self._errors, self._errors
        assert not self.network.ports, [port.where for port in self.network.ports]
        assert not self.network.getDelayedCalls(), self.network.getDelayedCalls()


def _superseded(failure: Failure) -> None:
    failure.trap(CancelledError)


def _server_text(string: str) -> str:
    sites = site_text(rlocs='"192.0.2.0/24"')
    text = map_server_text(sites, host=SERVER_HOST)
    return text.replace(f'"tcp:{_CONTROL_PORT}:interface={SERVER_HOST}"', f"'{string}'")


def _etr_text(string: str) -> str:
    return etr_text(
        host=CLIENT_HOST, map_servers=(SERVER_HOST,), server_options=f"transports = ['{string}']"
    )
