"""Endpoints on the SCTP of the Linux kernel: who is let in, and what an attempt ends with."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, cast

from twisted.internet import tcp
from twisted.internet.defer import CancelledError, Deferred, execute, fail
from twisted.internet.error import CannotListenError, NoProtocol
from twisted.internet.interfaces import (
    IListeningPort,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)
from twisted.internet.protocol import ClientFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from lispmsrt.transports.doorway import Doorway, doorway
from lispmsrt.transports.interfaces import (
    StreamAddress,
    TransportUnavailable,
    admission_of,
    turn_of,
)
from lispmsrt.transports.sctp.association import ClientAssociation, ServerAssociation
from lispmsrt.transports.sctp.sockets import (
    Liveness,
    bound_socket,
    listen,
    stream_address,
)

__all__ = ["KernelClientEndpoint", "KernelServerEndpoint"]


def _host_of(address: Sequence[object]) -> str:
    return stream_address(address).host


class _Port(tcp.Port):
    """A listening port of one or several addresses. ``counters`` are its associations' too."""

    transport = ServerAssociation  # type: ignore[assignment]
    _type = "SCTP"

    def __init__(
        self,
        addresses: Sequence[str],
        port: int,
        factory: IProtocolFactory,
        backlog: int,
        liveness: Liveness,
        reactor: Any,
    ) -> None:
        super().__init__(port, factory, backlog, addresses[0], reactor)
        self.counters: Counter[str] = Counter()
        self._addresses = addresses
        self._liveness = liveness

    def startListening(self) -> None:
        """Listen. Raise CannotListenError or TransportUnavailable."""
        # Twisted's own way to a socket binds to one address.
        self._preexistingSocket = self._listening_socket()
        super().startListening()

    def _listening_socket(self) -> socket.socket:
        port = self.port or 0
        try:
            made = bound_socket(self._addresses, port, self._liveness, reuse=True)
        except OSError as failure:
            raise CannotListenError(",".join(self._addresses), port, failure) from None
        # The kernel has set the association up by then: it answers an INIT by itself, without state
        # until the peer has returned its cookie.
        gate = doorway(
            made, admission_of(self.factory), _host_of, self._refused, turn_of(self.factory)
        )
        try:
            listen(gate, self.backlog)
        except OSError as failure:
            gate.close()
            raise CannotListenError(",".join(self._addresses), port, failure) from None
        except TransportUnavailable:
            gate.close()
            raise
        return gate

    def doRead(self) -> None:
        """Accept what has come, as much as a turn of the reactor has room for."""
        assert isinstance(self.socket, Doorway)
        self.socket.take_turn(self, super().doRead)

    def _refused(self) -> None:
        self.counters["associations refused"] += 1

    def _buildAddr(self, address: Sequence[object]) -> StreamAddress:
        return stream_address(address)

    def getHost(self) -> StreamAddress:
        """Return the first address."""
        return StreamAddress("SCTP", self._addresses[0], self.socket.getsockname()[1])


@implementer(IStreamServerEndpoint)
class KernelServerEndpoint:
    """Listens for associations on all of these addresses."""

    def __init__(
        self,
        reactor: Any,
        addresses: Sequence[str],
        port: int,
        *,
        heartbeat: float,
        backlog: int,
    ) -> None:
        self._reactor = reactor
        self._addresses = tuple(addresses)
        self._port = port
        self._backlog = backlog
        self._liveness = Liveness(heartbeat)

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        return execute(self._listen, protocolFactory)

    def _listen(self, factory: IProtocolFactory) -> IListeningPort:
        port = _Port(
            self._addresses, self._port, factory, self._backlog, self._liveness, self._reactor
        )
        port.startListening()
        return cast(IListeningPort, port)


class _Attempt(ClientFactory):
    """Builds one protocol, and tells when it is connected or why it is not.

    Twisted has the like in endpoints._WrappingFactory, private and with a wrapper around every
    chunk that is received.
    """

    noisy = False

    def __init__(self, factory: IProtocolFactory) -> None:
        self.done: Deferred[IProtocol] = Deferred(self._cancel)
        self._factory = factory
        self._connector: Any = None
        self._protocol: IProtocol | None = None

    def doStart(self) -> None:
        self._factory.doStart()

    def doStop(self) -> None:
        self._factory.doStop()

    def startedConnecting(self, connector: Any) -> None:
        self._connector = connector

    def buildProtocol(self, addr: Any) -> Any:
        try:
            self._protocol = self._factory.buildProtocol(addr)
            if self._protocol is None:
                raise NoProtocol
        except Exception:
            self._fail(Failure())  # and None makes the transport close
        return self._protocol

    def connected(self) -> None:
        """The protocol's connectionMade has run."""
        if not self.done.called:
            assert self._protocol is not None
            self.done.callback(self._protocol)

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        self._fail(reason)

    def _fail(self, reason: Failure) -> None:
        if not self.done.called:
            self.done.errback(reason)

    def _cancel(self, done: Deferred[IProtocol]) -> None:
        done.errback(CancelledError())
        if self._connector is not None:
            self._connector.disconnect()


class _Connector(tcp.Connector):
    def __init__(
        self,
        host: str,
        port: int,
        factory: _Attempt,
        timeout: float,
        make_socket: Callable[[], socket.socket],
        reactor: Any,
    ) -> None:
        super().__init__(host, port, factory, timeout, None, reactor)
        self.make_socket = make_socket
        self.counters: Counter[str] = Counter()
        self._attempt = factory

    def _makeTransport(self) -> ClientAssociation:
        return ClientAssociation(self.host, self.port, self, self.reactor)

    def connected(self) -> None:
        """Called by the transport, after connectionMade."""
        self._attempt.connected()

    def getDestination(self) -> StreamAddress:
        return StreamAddress("SCTP", self.host, self.port)


@implementer(IStreamClientEndpoint)
class KernelClientEndpoint:
    """Sets associations up, from all of the local addresses if there are any."""

    def __init__(
        self,
        reactor: Any,
        host: str,
        port: int,
        *,
        addresses: Sequence[str],
        heartbeat: float,
        timeout: float,
    ) -> None:
        self._reactor = reactor
        self._host = host
        self._port = port
        self._addresses = tuple(addresses) or (("::",) if ":" in host else ("0.0.0.0",))
        self._liveness = Liveness(heartbeat)
        self._timeout = timeout

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        attempt = _Attempt(protocolFactory)
        connector = _Connector(
            self._host, self._port, attempt, self._timeout, self._make_socket, self._reactor
        )
        try:
            connector.connect()
        except TransportUnavailable:
            return fail()
        return attempt.done

    def _make_socket(self) -> socket.socket:
        return bound_socket(self._addresses, 0, self._liveness)
