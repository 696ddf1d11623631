"""The Map-Server that is flooded: as it comes, with two sites, of which one is the attacker's."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred

from benchmarks.processes import Role
from benchmarks.roles import SECRET
from lispmsrt import MapServer
from lispmsrt.config import parse
from lispmsrt.tap import tune_garbage_collector

__all__ = ["FloodedRole", "Tally"]

_CONFIG = """
[map-server]
control = ["127.0.0.1:0"]
reliable-transport = {endpoints}
state = "off"

[map-server.subscriptions]
enabled = true

[[site]]
name = "honest"
keys = [{{ algorithm = "hmac-sha-256-128", secret = "{secret}" }}]
eid-prefix = [{{ prefix = "10.0.0.0/8", accept-more-specifics = true }}]

[[site]]
name = "compromised"
keys = [{{ algorithm = "hmac-sha-256-128", secret = "{secret}" }}]
eid-prefix = [{{ prefix = "11.0.0.0/8", accept-more-specifics = true }}]
"""
"""Every limit is the default: limits are what is measured. Both sites have the same secret only so
that one function builds all messages.
"""

Tally = tuple[float, int]
"""CPU seconds of the process so far, and datagrams that it has taken from the kernel; of QUIC's
those that have no connection.
"""


class _Counted:
    """The batches of a port, counted."""

    def __init__(self, batches: Any) -> None:
        self._batches = batches
        self.send = batches.send
        self.close = batches.close
        self.datagrams = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batches, name)

    def receive(self, *limits: Any) -> list[Any]:
        batch: list[Any] = self._batches.receive(*limits)
        self.datagrams += len(batch)
        return batch


class FloodedRole(Role):
    """The real service, on free ports."""

    def __init__(self, reactor: Any, endpoints: Sequence[str]) -> None:
        config = parse(_CONFIG.format(endpoints=json.dumps(list(endpoints)), secret=SECRET))
        assert config.map_server is not None
        tune_garbage_collector()
        self._server = MapServer(config.map_server, config.site, reactor)
        self._server.startService()
        self._counted = _counted(self._server)
        self.commands = {
            "ports": lambda: tuple(address.port for address in self._server.addresses),
            "tally": self._tally,
            "counters": self._counters,
        }

    def stop(self) -> Deferred[None]:
        """Stop the service."""
        return self._server.stopService()

    def _tally(self) -> Tally:
        taken = (
            sum(each.datagrams for each in self._counted)
            if self._counted
            else sum(self._server.mapping.registrations.counters.values())
        )
        return time.process_time(), taken + sum(_over_quic(self._server).values())

    def _counters(self) -> dict[str, int]:
        server = self._server
        found: Counter[str] = Counter()
        parts = [
            server.mapping.plane,
            server.mapping.registrations,
            server.mapping.requests,
            server.mapping.subscriptions,
            server.registrar,
            server.armory,
            server.udp,
            *server.sessions,
        ]
        for part in parts:
            if part is not None:
                found.update(part.counters)
        found.update(server.ended)
        found.update(_over_quic(server))
        return {"sessions": len(server.sessions), **found, **dict(server.endings)}


def _over_quic(server: MapServer) -> Counter[str]:
    """Return what the ports of QUIC have counted."""
    counters = (getattr(port, "counters", None) for port in server.listening_ports)
    return sum((found for found in counters if isinstance(found, Counter)), Counter())


def _counted(server: MapServer) -> list[_Counted]:
    """Count what the UDP ports take from the kernel; nothing where they are Twisted's own."""
    found = []
    for port in server.udp.ports:
        batches = getattr(port, "_batches", None)
        if batches is not None:
            port._batches = counted = _Counted(batches)  # type: ignore[attr-defined]
            found.append(counted)
    return found
