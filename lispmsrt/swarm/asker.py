"""Who asks for the EIDs of a swarm: a socket of its own, to which the Map-Replies come."""

from __future__ import annotations

from random import Random
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime

from lispmsrt.sockets import pack_address
from lispmsrt.swarm.datagrams import SwarmSocket
from lispmsrt.swarm.load import Load
from lispmsrt.swarm.lookups import Lookups
from lispmsrt.swarm.plan import Plan
from lispmsrt.swarm.questions import questions
from lispmsrt.swarm.roster import Roster

__all__ = ["Asker"]

_FOR_EVER = 3600.0


class Asker:
    """Asks, where the plan wants lookups."""

    def __init__(self, plan: Plan, load: Load, roster: Roster, clock: IReactorTime) -> None:
        self.lookups: Lookups | None = None
        "None without any"
        self._plan = plan
        self._load = load
        self._roster = roster
        self._clock = clock
        self._socket: SwarmSocket | None = None

    def open(self, reactor: Any, source: str) -> None:
        """Open the socket; ListenError says why it could not be opened."""
        if not self._plan.lookups:
            return
        server, packed = self._plan.map_server, pack_address(source)
        assert packed is not None
        self._socket = SwarmSocket(source, server, self._received)
        self._socket.open(reactor)
        end = (packed, self._socket.number)
        asking = questions(self._load.space, end, (server.packed, server.port))
        random = Random(self._plan.seed)
        self.lookups = Lookups(self._load, asking, rloc_of=self._roster.rloc_of, random=random)

    def ask(self, count: int, now: float) -> None:
        """Send so many Map-Requests."""
        if self.lookups is not None and self._socket is not None and count:
            self._socket.send(self.lookups.ask(count, now))

    @property
    def is_waiting(self) -> bool:
        """Whether an answer is to come."""
        if self.lookups is None:
            return False
        self.lookups.expire(self._clock.seconds())
        return self.lookups.outstanding > 0

    def close(self) -> Deferred[None]:
        """Wait for no answer any more; fires when the socket is closed."""
        if self.lookups is not None:
            self.lookups.expire(self._clock.seconds() + _FOR_EVER)
        if self._socket is None:
            return succeed(None)
        asking, self._socket = self._socket, None
        return asking.close()

    def _received(self, datagrams: list[bytes]) -> None:
        now = self._clock.seconds()
        if self.lookups is not None:
            for data in datagrams:
                self.lookups.receive_datagram(data, now)
