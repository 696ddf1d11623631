"""The endpoints on which a Map-Server takes sessions, and which of them this machine can't have."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.logger import Logger
from twisted.python.failure import Failure

from lispmsrt.config import transport_name
from lispmsrt.services.certificate_dates import CertificateDates
from lispmsrt.services.listening import ListenError, endpoint_from, stop_listening
from lispmsrt.services.snapshots import ListenerSnapshot
from lispmsrt.sockets import TcpOptions, apply_minimum_ttl, end_text, widen_backlog
from lispmsrt.transports.doorway import guard
from lispmsrt.transports.interfaces import TransportUnavailable

__all__ = ["Listeners"]


class Listeners:
    """Open endpoint strings, each with the factory that it is given."""

    _log = Logger()

    def __init__(
        self, reactor: Any, tcp: TcpOptions, wall_clock: Callable[[], float] = time.time
    ) -> None:
        """``wall_clock`` returns seconds since 1970: certificates go by that."""
        self._reactor = reactor
        self._wall_clock = wall_clock
        self._certificates = CertificateDates()
        self._tcp = tcp
        self._ports: dict[str, IListeningPort] = {}
        self._missing: dict[str, str] = {}

    @property
    def addresses(self) -> list[Any]:
        """What is listened on, in the order in which it was opened."""
        return [port.getHost() for port in self._ports.values()]

    @property
    def ports(self) -> list[IListeningPort]:
        """What was opened, in that order."""
        return list(self._ports.values())

    def snapshot(self, sessions: dict[str, int]) -> tuple[ListenerSnapshot, ...]:
        """Return how every endpoint stands; ``sessions`` counts those of each endpoint string."""
        wall, certificates = self._wall_clock(), self._certificates
        opened = (
            ListenerSnapshot(
                text,
                transport_name(text),
                _shown(port),
                certificates.problem(text, wall),
                sessions.get(text, 0),
                certificates.end(text),
            )
            for text, port in self._ports.items()
        )
        missing = (
            ListenerSnapshot(text, transport_name(text), "", reason)
            for text, reason in self._missing.items()
        )
        return (*opened, *missing)

    def listen(self, description: str, factory: IProtocolFactory) -> None:
        """Open one. ListenError when that fails, but for what this machine can't do at all: that is
        logged and left out.
        """
        endpoint = endpoint_from(serverFromString, self._reactor, description, "reliable-transport")
        self._certificates.note(description, endpoint)
        failures: list[Failure] = []
        endpoint.listen(factory).addCallbacks(
            self._opened, failures.append, callbackArgs=(description, factory)
        )
        for failure in failures:
            self._failed(description, failure)

    def look(self) -> None:
        """Say which certificates have expired meanwhile, or are about to."""
        self._certificates.look(self._wall_clock())

    def check(self) -> None:
        """ListenError when there were endpoints to open and all are missing."""
        if self._missing and not self._ports:
            raise ListenError("; ".join(self._missing.values()))

    def close(self) -> Deferred[Any]:
        """Close all; fires when they are closed."""
        ports, self._ports = list(self._ports.values()), {}
        self._missing.clear()
        return gatherResults([stop_listening(port) for port in ports])

    def _opened(self, port: IListeningPort, description: str, factory: IProtocolFactory) -> None:
        self._ports[description] = port
        guard(port, factory)
        # Already the handshake is refused to who is too far away.
        apply_minimum_ttl(port, self._tcp)
        widen_backlog(port, description)
        self._log.info("reliable transport on {description}", description=description)

    def _failed(self, description: str, failure: Failure) -> None:
        reason = f"reliable-transport {description}: {failure.getErrorMessage()}"
        if not failure.check(TransportUnavailable):
            raise ListenError(reason)
        self._missing[description] = reason
        self._log.warn("{reason}; going on without", reason=reason)


def _shown(port: IListeningPort) -> str:
    address = port.getHost()
    return end_text(address) or str(address)
