"""What the benchmarks' processes are: a Map-Server, a group of ETRs, who asks for mappings, a bare
UDP echo.
"""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from zope.interface import implementer

from benchmarks.datagrams import RECEIVE_BUFFER
from benchmarks.processes import Role, resident_octets
from benchmarks.replies import Record
from lispmsrt import Address, EidPrefix, MapServer
from lispmsrt.config import SocketAddress, parse
from lispmsrt.services.requester import Answer, NoAnswerError, Pace, Requester
from lispmsrt.sockets import set_receive_buffer
from lispmsrt.tap import tune_garbage_collector

__all__ = [
    "SECRET",
    "Asked",
    "AskerRole",
    "EchoRole",
    "MapServerRole",
    "etr_address",
    "usage",
]

SECRET = "benchmark secret"

_MAP_SERVER = """
[map-server]
control = ["127.0.0.1:{control}"]
reliable-transport = {endpoints}
request-rate = 1000000
request-burst = 1000000

[[site]]
name = "internet"
keys = [{{ algorithm = "hmac-sha-256-128", secret = "{secret}" }}]
allowed-rlocs = ["127.0.0.0/8"]
eid-prefix = [
    {{ prefix = "0.0.0.0/0", accept-more-specifics = true }},
    {{ prefix = "::/0", accept-more-specifics = true }},
]
"""

_OUTSTANDING = 128
"""Questions without an answer at a time: no more, for a default receive buffer holds fewer than
200.
"""

_ANY_TCP_PORT = "tcp:0:interface=127.0.0.1"


def etr_address(etr: int) -> str:
    """Return the address of an ETR by its number."""
    return f"127.{1 + etr // 62_500}.{etr // 250 % 250}.{etr % 250 + 1}"


def usage() -> dict[str, float]:
    """Tell resident memory in octets after a garbage collection, and CPU seconds before and after
    that: whatever is measured ends with the former or begins with the latter.
    """
    cpu = time.process_time()
    gc.collect()
    return {"resident": resident_octets(), "cpu": cpu, "cpu from now on": time.process_time()}


@implementer(ILogObserver)
class _Ends:
    """Remember why sessions ended: only the log has it."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def __call__(self, event: LogEvent) -> None:
        if "ended" in (event.get("log_format") or "") and "reason" in event:
            self.reasons.append(str(event["reason"]))


class MapServerRole(Role):
    """The real service with one site that may register everything, on free ports."""

    def __init__(self, reactor: Any, endpoint: str = _ANY_TCP_PORT, control: int = 0) -> None:
        """``control`` is its UDP port, 0 for any."""
        endpoints = json.dumps([endpoint])
        config = parse(_MAP_SERVER.format(control=control, endpoints=endpoints, secret=SECRET))
        assert config.map_server is not None
        tune_garbage_collector()
        self._server = MapServer(config.map_server, config.site, reactor)
        self._server.startService()
        self._ends = _Ends()
        globalLogPublisher.addObserver(self._ends)
        self.commands = {
            "ports": lambda: tuple(address.port for address in self._server.addresses),
            "count": lambda: len(self._server.database),
            "usage": usage,
            "counters": self._counters,
            "ended": lambda: self._ends.reasons,
        }

    def stop(self) -> Deferred[None]:
        """Stop the service."""
        return self._server.stopService()

    def _counters(self) -> dict[str, int]:
        found = {**self._server.mapping.registrations.counters, **self._server.registrar.counters}
        for session in self._server.sessions:
            for name, count in session.counters.items():
                found[name] = found.get(name, 0) + count
        return {"sessions": len(self._server.sessions), **found}


class Asked(NamedTuple):
    """What became of questions."""

    seconds: float
    repeated: int
    "Map-Requests beyond one for each question"
    replies: list[list[Record]]
    "the records of each Map-Reply; none where there was no Map-Reply"


class AskerRole(Role):
    """Asks a Map-Server, as an ITR does."""

    def __init__(self, reactor: Any, udp_port: int) -> None:
        resolver = SocketAddress("127.0.0.1", udp_port)
        # The first answer takes the time to make an index, and the machine may be busy.
        self._requester = Requester(reactor, resolver, pace=Pace(tries=10))
        self._requester.startService()
        self.commands = {"ask": self._ask}

    def stop(self) -> Deferred[None]:
        """Close its socket."""
        return self._requester.stopService()

    def _ask(self, addresses: list[str]) -> Deferred[Asked]:
        """Ask for each address, many at a time."""
        return Deferred.fromCoroutine(self._ask_all(addresses))

    async def _ask_all(self, addresses: list[str]) -> Asked:
        eids = [_host(address) for address in addresses]
        answers: list[Answer | None] = [None] * len(eids)
        waiting = iter(enumerate(eids))
        before = self._requester.counters["Map-Requests out"]
        began = time.perf_counter()
        await gatherResults(
            [Deferred.fromCoroutine(self._ask_some(waiting, answers)) for _ in range(_OUTSTANDING)]
        )
        seconds = time.perf_counter() - began
        sent = self._requester.counters["Map-Requests out"] - before
        return Asked(seconds, sent - len(eids), list(map(_records, answers)))

    async def _ask_some(
        self, waiting: Iterator[tuple[int, EidPrefix]], answers: list[Answer | None]
    ) -> None:
        """Ask, as often as the answer is there, for another one."""
        for number, eid in waiting:
            with suppress(NoAnswerError):
                answers[number] = await self._requester.ask(eid)


def _host(address: str) -> EidPrefix:
    parsed = Address.from_text(address)
    return EidPrefix(0, parsed, parsed.width)


def _records(answer: Answer | None) -> list[Record]:
    if answer is None:
        return []
    return [
        Record(str(record.eid), tuple(str(locator.rloc) for locator in record.locators))
        for record in answer.reply.records
    ]


class _Echo(DatagramProtocol):
    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        assert self.transport is not None
        self.transport.write(datagram, addr)


class EchoRole(Role):
    """The least that Twisted can do with a datagram: send it back."""

    def __init__(self, reactor: Any) -> None:
        self._port = reactor.listenUDP(0, _Echo(), interface="127.0.0.1", maxPacketSize=65_535)
        # As our Map-Server's, so that the load can be the same.
        set_receive_buffer(self._port.socket, RECEIVE_BUFFER)
        self.commands = {"ports": lambda: (self._port.getHost().port,), "usage": usage}

    def stop(self) -> Deferred[None]:
        """Close the port."""
        stopped: Deferred[None] = Deferred()
        self._port.stopListening().addBoth(lambda _: stopped.callback(None))
        return stopped
