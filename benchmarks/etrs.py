"""A process of real ETRs: the service, its sessions, and nothing that is prepared."""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred, gatherResults

from benchmarks.processes import Role
from benchmarks.roles import SECRET, etr_address, usage
from lispmsrt import Address, EidPrefix, Etr, Locator, MappingRecord, NullListener
from lispmsrt.config import parse
from lispmsrt.mapping.etr_registrations import EtrRegistrations
from lispmsrt.mapping.etr_states import EtrState
from lispmsrt.session.base import CloseReason, SessionState
from lispmsrt.tap import tune_garbage_collector

__all__ = ["EtrsRole", "Registered"]

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
_LOOK_INTERVAL = 0.001
_PATIENCE = 300.0
"""Seconds for all registrations."""


class Registered(NamedTuple):
    """How long registering took, until the last ACK."""

    seconds: float
    "from the start, arming and connecting included"
    on_session: float
    "from when the session was established"


class _Losses(NullListener):
    def __init__(self) -> None:
        self.lost: list[str] = []
        self.rejected_eids: list[str] = []
        self.notifications = 0
        self.up_since = 0.0

    def session_up(self, map_server: str, transport: str) -> None:
        """Remember when."""
        self.up_since = time.perf_counter()

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
        tune_garbage_collector()
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
            "register": self._register,
            "counters": self._counters,
            "usage": usage,
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

    def _counters(self) -> dict[str, int]:
        """Tell what the sessions have counted, together."""
        sessions = [link.session for etr in self._etrs for link in etr.links if link.session]
        return sum((session.counters for session in sessions), Counter())

    def _stable(self) -> int:
        """Count what is acknowledged, one by one."""
        return sum(
            entry.state is EtrState.STABLE
            for etr in self._etrs
            for entry in etr.links[0].registrations.entries.values()
        )

    def _register(self) -> Deferred[Registered]:
        """Start, and answer how long it took until the last ACK."""
        done: Deferred[Registered] = Deferred()
        began = time.perf_counter()
        wanted = sum(len(etr.links[0].registrations.entries) for etr in self._etrs)

        def look() -> None:
            now = time.perf_counter()
            links = [etr.links[0] for etr in self._etrs]
            up = [link for link in links if _is_established(link.session)]
            if sum(_answered(link.registrations) for link in up) == wanted:
                done.callback(Registered(now - began, now - self._listener.up_since))
            elif now - began > _PATIENCE:
                problem = f"after {now - began:.0f} s no more than this: {self._progress()}"
                done.errback(RuntimeError(problem))
            else:
                self._reactor.callLater(_LOOK_INTERVAL, look)

        self._start()
        look()
        return done


def _is_established(session: Any) -> bool:
    return session is not None and session.state is SessionState.ESTABLISHED


def _answered(registrations: EtrRegistrations) -> int:
    return len(registrations.entries) - registrations.outstanding - len(registrations.due)
