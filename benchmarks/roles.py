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

from benchmarks.processes import Role, resident_octets
from benchmarks.replies import Record
from lispmsrt import Address, EidPrefix, Etr, Locator, MappingRecord, MapServer, NullListener
from lispmsrt.config import SocketAddress, parse
from lispmsrt.mapping.etr_registrations import EtrRegistrations
from lispmsrt.mapping.etr_states import EtrState
from lispmsrt.services.requester import Answer, NoAnswerError, Pace, Requester
from lispmsrt.session.base import CloseReason, SessionState
from lispmsrt.tap import tune_garbage_collector

__all__ = [
    "SECRET",
    "Asked",
    "AskerRole",
    "EchoRole",
    "EtrsRole",
    "MapServerRole",
    "etr_address",
]

SECRET = "benchmark secret"

_MAP_SERVER = """
[map-server]
control = ["127.0.0.1:0"]
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

_ETR = """
[etr]
control = "{address}:0"
xtr-id = "{number:032x}"
site-id = 1

[[etr.map-server]]
address = "127.0.0.1:{udp_port}"
key = {{ algorithm = "hmac-sha-256-128", secret = "{secret}" }}
transports = {endpoints}
"""

_TTL_MINUTES = 1440
_OUTSTANDING = 128
"""Questions without an answer at a time: no more, for a default receive buffer holds fewer than
200.
"""

_LOOK_INTERVAL = 0.001
_PATIENCE = 60.0
"""Seconds for a cold start."""

_ANY_TCP_PORT = "tcp:0:interface=127.0.0.1"


def etr_address(etr: int) -> str:
    """Return the address of an ETR by its number."""
    return f"127.{1 + etr // 62_500}.{etr // 250 % 250}.{etr % 250 + 1}"


def _usage() -> dict[str, float]:
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

    def __init__(self, reactor: Any, endpoint: str = _ANY_TCP_PORT) -> None:
        config = parse(_MAP_SERVER.format(endpoints=json.dumps([endpoint]), secret=SECRET))
        assert config.map_server is not None
        tune_garbage_collector()
        self._server = MapServer(config.map_server, config.site, reactor)
        self._server.startService()
        self._ends = _Ends()
        globalLogPublisher.addObserver(self._ends)
        self.commands = {
            "ports": lambda: tuple(address.port for address in self._server.addresses),
            "count": lambda: len(self._server.database),
            "usage": _usage,
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


class _Losses(NullListener):
    def __init__(self) -> None:
        self.lost: list[str] = []
        self.rejected_eids: list[str] = []
        self.notifications = 0

    def session_down(self, map_server: str, reason: CloseReason) -> None:
        """Remember why."""
        self.lost.append(reason.value)

    def rejected(self, map_server: str, eid: EidPrefix, reason: int) -> None:
        """Remember what."""
        self.rejected_eids.append(f"{eid} for reason {reason}")

    def mapping_notified(self, map_server: str, notification: object) -> None:
        """Count."""
        self.notifications += 1


class EtrsRole(Role):
    """A group of ETRs that share a process and nothing else."""

    def __init__(self, reactor: Any, udp_port: int, endpoint: str) -> None:
        self._reactor = reactor
        self._server = {"udp_port": udp_port, "endpoints": json.dumps([endpoint])}
        self._etrs: list[Etr] = []
        self._listener = _Losses()
        self._is_stopping = False
        self.commands = {
            "add": self._add,
            "start": self._start,
            "progress": self._progress,
            "stable": self._stable,
            "seconds to register": self._seconds_to_register,
        }

    def stop(self) -> Deferred[None]:
        """Stop every ETR that was started."""
        stopping = [etr.stopService() for etr in self._etrs if etr.running]
        return gatherResults(stopping).addCallback(lambda _: None)

    def _add(self, number: int, prefixes: list[str]) -> None:
        """Make an ETR that means to register these EID-prefixes, and don't start it yet."""
        address = etr_address(number)
        text = _ETR.format(address=address, number=number + 1, secret=SECRET, **self._server)
        config = parse(text).etr
        assert config is not None
        etr = Etr(config, self._reactor, listener=self._listener)
        locators = (Locator(Address.from_text(address)),)
        # One Deferred for each of a million would cost more than the registrations.
        register = etr.links[0].register
        for prefix in prefixes:
            eid = EidPrefix.from_text(prefix)
            register(MappingRecord(eid, _TTL_MINUTES, locators, authoritative=True), awaited=False)
        self._etrs.append(etr)

    def _start(self) -> None:
        for etr in self._etrs:
            etr.startService()

    def _progress(self) -> dict[str, Any]:
        """Tell how many registrations a session has acknowledged, and what went wrong."""
        up = [link for etr in self._etrs for link in etr.links if _is_established(link.session)]
        return {
            "sessions": len(up),
            "acknowledged": sum(_answered(link.registrations) for link in up),
            "lost": self._listener.lost,
            "rejected": self._listener.rejected_eids[:3],
            "notifications": self._listener.notifications,
        }

    def _stable(self) -> int:
        """Count what is acknowledged, one by one."""
        return sum(
            entry.state is EtrState.STABLE
            for etr in self._etrs
            for entry in etr.links[0].registrations.entries.values()
        )

    def _seconds_to_register(self) -> Deferred[float]:
        """Start, and answer how long it took until the last ACK."""
        done: Deferred[float] = Deferred()
        began = time.perf_counter()
        wanted = sum(len(etr.links[0].registrations.entries) for etr in self._etrs)

        def look() -> None:
            took = time.perf_counter() - began
            progress = self._progress()
            if progress["acknowledged"] == wanted:
                done.callback(took)
            elif took > _PATIENCE:
                done.errback(RuntimeError(f"after {took:.0f} s no more than this: {progress}"))
            else:
                self._reactor.callLater(_LOOK_INTERVAL, look)

        self._start()
        look()
        return done


def _is_established(session: Any) -> bool:
    return session is not None and session.state is SessionState.ESTABLISHED


def _answered(registrations: EtrRegistrations) -> int:
    return len(registrations.entries) - registrations.outstanding - len(registrations.due)


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
        self.commands = {"ports": lambda: (self._port.getHost().port,), "usage": _usage}

    def stop(self) -> Deferred[None]:
        """Close the port."""
        stopped: Deferred[None] = Deferred()
        self._port.stopListening().addBoth(lambda _: stopped.callback(None))
        return stopped
