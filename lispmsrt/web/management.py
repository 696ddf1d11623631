"""The management endpoint as a Twisted service: opens the sockets, and serves API, metrics and page
on all of them.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger
from twisted.python.failure import Failure

from lispmsrt.config import ManagementConfig
from lispmsrt.config.management import Reach, is_loopback, reach_of, unix_path
from lispmsrt.management_socket import default_socket, socket_role
from lispmsrt.services.listening import ListenError, endpoint_from, stop_listening
from lispmsrt.services.operations import Operations
from lispmsrt.views.node import NodeViews
from lispmsrt.web.access import Access
from lispmsrt.web.connections import ManagementSite
from lispmsrt.web.gate import Gate
from lispmsrt.web.routes import make_routes
from lispmsrt.web.routing import make_resource
from lispmsrt.web.static_files import StaticFiles
from lispmsrt.web.stream import Streams
from lispmsrt.web.unix_sockets import complete, prepare, private_files

__all__ = ["Management"]


class Management(Service):
    """The management endpoint of a process."""

    _log = Logger()

    def __init__(
        self,
        config: ManagementConfig,
        views: NodeViews,
        operations: Operations,
        reactor: Any,
        *,
        is_optional: bool = False,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """``is_optional`` says that nobody asked for it: where its socket can't be opened, a
        warning says so and that is all.
        """
        self.setName("management")
        self.config = config
        self.counters: Counter[str] = Counter()
        self._reactor = reactor
        self._is_optional = is_optional
        self.access = Access(config, reactor, self.counters)
        self.streams = Streams(views, reactor, self.counters)
        routes = make_routes(views, operations, self.streams, self.counters)
        self._gate = Gate(self.access, StaticFiles(), make_resource(routes, wall_clock))
        self._default = default_socket(socket_role(views.map_server, views.etr, views.map_resolver))
        self._ports: list[tuple[IListeningPort, ManagementSite]] = []

    @property
    def addresses(self) -> list[Any]:
        """What is listened on, in the order of the configuration."""
        return [port.getHost() for port, _site in self._ports]

    def startService(self) -> None:
        """Open every socket; ListenError says which one could not be opened."""
        if not self.config.enabled:
            return
        try:
            if not self.config.listen:
                self._listen_at_default()
            for text in self.config.listen:
                self._listen(text)
        except ListenError as failure:
            self._close_ports()
            if not self._is_optional:
                raise
            self._log.warn("management: {reason}; going on without", reason=failure)
        super().startService()

    def stopService(self) -> Deferred[None]:
        """Close sockets, streams and connections; fires when nothing is left open."""
        super().stopService()
        self.streams.stop()
        return self._close_ports()

    def _close_ports(self) -> Deferred[None]:
        ports, self._ports = self._ports, []
        closing = [stop_listening(port) for port, _site in ports]
        closing += [site.close() for _port, site in ports]
        return gatherResults(closing, consumeErrors=True).addCallback(lambda _: None)

    def _listen_at_default(self) -> None:
        path = Path(self._default)
        prepare(path)
        site = self._site()
        try:
            with private_files():
                port = self._reactor.listenUNIX(str(path), site, mode=0o600, wantPID=False)
        except CannotListenError as failure:
            raise ListenError(f"{path}: {failure.socketError}") from None
        self._opened(port, site, str(path))

    def _listen(self, text: str) -> None:
        path = unix_path(text)
        if path is not None:
            prepare(Path(path))
        endpoint = endpoint_from(serverFromString, self._reactor, complete(text), "listen")
        site = self._site()
        failures: list[Failure] = []
        with private_files():
            endpoint.listen(site).addCallbacks(
                self._opened, failures.append, callbackArgs=(site, text)
            )
        for failure in failures:
            raise ListenError(f"listen {text!r}: {failure.getErrorMessage()}")
        if reach_of(text) in (Reach.LOOPBACK, Reach.INHERITED):
            self._check_reach(text)

    def _check_reach(self, text: str) -> None:
        """What the text could not say is seen of the socket."""
        address = self.addresses[-1]
        if not isinstance(address, UNIXAddress) and not is_loopback(address.host):
            raise ListenError(
                f"listen {text!r} is open to other machines at {address.host}, without TLS"
            )

    def _site(self) -> ManagementSite:
        return ManagementSite(self._gate, self._reactor, self.counters)

    def _opened(self, port: IListeningPort, site: ManagementSite, text: str) -> None:
        self._ports.append((port, site))
        self._log.info("management on {endpoint}", endpoint=text)
