"""Listening and connecting over the stack in user space, as Twisted's endpoints."""

from __future__ import annotations

import random
from contextlib import suppress
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.error import (
    CannotListenError,
    ConnectBindError,
    ConnectError,
    ConnectingCancelledError,
)
from twisted.internet.interfaces import (
    IListeningPort,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from lispmsrt.clock import MonotonicClock
from lispmsrt.transports.interfaces import StreamAddress, TransportUnavailable, admission_of
from lispmsrt.transports.sctp.usrsctp.association import Association
from lispmsrt.transports.sctp.usrsctp.legs import ClientLeg, ServerLeg
from lispmsrt.transports.sctp.usrsctp.peers import Peer
from lispmsrt.transports.sctp.usrsctp.sockets import Socket
from lispmsrt.transports.sctp.usrsctp.stack import Stack, the_stack
from lispmsrt.transports.udp import read_few

__all__ = ["UsrsctpClientEndpoint", "UsrsctpServerEndpoint", "client_endpoint", "server_endpoint"]

_EPHEMERAL = (49152, 65535)
_ATTEMPTS = 50

_MAX_DATAGRAM = 65536

_DATAGRAMS_AT_ONCE = 256
"""That are read in one turn of the reactor: of empty ones Twisted reads without end."""


class NoProtocol(Exception):  # noqa: N818
    """The factory did not want the connection."""


@implementer(IListeningPort)
class UsrsctpPort:
    """A UDP port that takes associations to one SCTP port."""

    def __init__(
        self,
        stack: Stack,
        factory: Any,
        *,
        reactor: Any,
        clock: IReactorTime,
        port: int,
        interface: str,
        encapsulation: int,
        heartbeat: float,
    ) -> None:
        self._stack = stack
        self._factory = factory
        self._reactor = reactor
        self._clock = clock
        self._wanted_port = port
        self._interface = interface
        self._wanted_encapsulation = encapsulation
        self._heartbeat = heartbeat
        self._udp: Any = None
        self._leg: ServerLeg | None = None
        self._port = 0
        self._stopped: Deferred[None] | None = None

    def startListening(self) -> None:
        """Open the UDP port; CannotListenError when it is taken."""
        listening = self._listen()
        leg = ServerLeg(
            self._stack,
            self._clock,
            self._heartbeat,
            port=self._port,
            listening=listening,
            admits=admission_of(self._factory),
            on_association=self._accept,
            on_ended=self._look_whether_all_ended,
        )
        try:
            self._udp = self._reactor.listenUDP(
                self._wanted_encapsulation, leg, self._interface, _MAX_DATAGRAM
            )
        except BaseException:
            self._stack.stop_listening(self._port)
            raise
        read_few(self._udp, _DATAGRAMS_AT_ONCE)
        self._leg = leg
        self._factory.doStart()

    def _listen(self) -> Socket:
        """Open the SCTP port, any one for 0."""
        if self._wanted_port:
            self._port = self._wanted_port
            return self._listen_on(self._port)
        for _attempt in range(_ATTEMPTS):
            self._port = random.randint(*_EPHEMERAL)
            if not self._stack.is_listening(self._port):
                with suppress(CannotListenError):
                    return self._listen_on(self._port)
        raise CannotListenError(self._interface, 0, OSError("no SCTP port is free"))

    def _listen_on(self, port: int) -> Socket:
        try:
            return self._stack.listen(port)
        except OSError as failure:
            raise CannotListenError(self._interface, port, failure) from None

    def _accept(self, association: Association) -> None:
        protocol = self._factory.buildProtocol(association.getPeer())
        if protocol is None:
            association.abortConnection()
        else:
            association.start(protocol)

    @property
    def encapsulation(self) -> int:
        """The UDP port."""
        return int(self._udp.getHost().port)

    @property
    def counters(self) -> dict[str, int]:
        """What was refused, and why."""
        if self._leg is None:
            return {}
        return dict(self._leg.counters + self._leg.handshakes.counters)

    def getHost(self) -> StreamAddress:
        return StreamAddress("SCTP", self._udp.getHost().host, self._port)

    def stopListening(self) -> Deferred[None]:
        """Take no more associations. Those that there are go on; fires when the last has ended and
        the UDP port, which all of them use, is closed.
        """
        if self._stopped is None:
            self._stopped = Deferred()
            if self._leg is not None:
                self._leg.stop_accepting()
                self._stack.stop_listening(self._port)
                self._factory.doStop()
                self._look_whether_all_ended()
            else:
                self._stopped.callback(None)
        return self._stopped

    def _look_whether_all_ended(self) -> None:
        if self._stopped is None or self._leg is None or len(self._leg):
            return
        udp, self._udp = self._udp, _Closed(self._udp.getHost())
        self._leg = None
        closing = udp.stopListening()
        if closing is None:
            self._stopped.callback(None)
        else:
            closing.addCallback(lambda _: None).chainDeferred(self._stopped)


class _Closed:
    """What a closed UDP port still knows."""

    def __init__(self, host: Any) -> None:
        self._host = host

    def getHost(self) -> Any:
        return self._host


@implementer(IStreamServerEndpoint)
class UsrsctpServerEndpoint:
    """Listens for associations in UDP."""

    def __init__(self, reactor: Any, clock: IReactorTime | None = None, **settings: Any) -> None:
        self._reactor = reactor
        self._clock = clock or MonotonicClock(reactor)
        self._settings = settings

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Errbacks with CannotListenError, or TransportUnavailable without the library."""
        listening: Deferred[IListeningPort] = Deferred()
        try:
            port = UsrsctpPort(
                the_stack(),
                protocolFactory,
                reactor=self._reactor,
                clock=self._clock,
                **self._settings,
            )
            port.startListening()
        except (CannotListenError, TransportUnavailable):
            return fail()
        listening.callback(port)
        return listening


class _Attempt:
    """One connect(): from the UDP socket to the protocol."""

    def __init__(self, leg: ClientLeg, peer: Peer, factory: Any) -> None:
        self.done: Deferred[Any] = Deferred(self._cancel)
        self._factory = factory
        factory.doStart()
        try:
            self._association = leg.connect(
                peer, on_up=self._up, on_failure=self._fail, on_end=factory.doStop
            )
        except OSError as failure:
            # There is no route to it, or the stack has no socket for it.
            leg.close()
            factory.doStop()
            self._errback(Failure(ConnectError(failure.errno, str(failure))))

    def _up(self, association: Association) -> None:
        protocol = self._factory.buildProtocol(association.getPeer())
        if protocol is None:
            association.abortConnection()
            self._errback(Failure(NoProtocol()))
            return
        association.start(protocol)
        done, self.done = self.done, Deferred()
        done.callback(protocol)

    def _fail(self, reason: Failure) -> None:
        self._errback(reason)

    def _cancel(self, done: Deferred[Any]) -> None:
        self._errback(Failure(ConnectingCancelledError(self._association.getPeer())))
        self._association.abortConnection()

    def _errback(self, reason: Failure) -> None:
        if not self.done.called:
            self.done.errback(reason)


@implementer(IStreamClientEndpoint)
class UsrsctpClientEndpoint:
    """Sets associations up in UDP."""

    def __init__(
        self,
        reactor: Any,
        host: str,
        port: int,
        bind_address: str | None,
        encapsulation: int,
        peer_encapsulation: int,
        heartbeat: float,
        clock: IReactorTime | None = None,
    ) -> None:
        self._reactor = reactor
        self._peer = (host, port, peer_encapsulation)
        self._bind_address = bind_address
        self._encapsulation = encapsulation
        self._heartbeat = heartbeat
        self._clock = clock or MonotonicClock(reactor)

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        """Errbacks with ConnectionRefusedError, TimeoutError, ConnectingCancelledError,
        ConnectBindError, ConnectError, or TransportUnavailable without the library.
        """
        host, port, udp_port = self._peer
        wildcard = "::" if ":" in host else "0.0.0.0"
        try:
            leg = ClientLeg(the_stack(), self._clock, self._heartbeat)
            self._reactor.listenUDP(
                self._encapsulation, leg, self._bind_address or wildcard, _MAX_DATAGRAM
            )
        except TransportUnavailable:
            return fail()
        except CannotListenError as failure:
            return fail(ConnectBindError(string=str(failure)))
        return _Attempt(leg, Peer(host, host, udp_port, port), protocolFactory).done


def server_endpoint(
    reactor: Any, port: int, interface: str, encapsulation: int, heartbeat: float
) -> UsrsctpServerEndpoint:
    """Return what listens for associations to ``port`` on UDP port ``encapsulation``."""
    return UsrsctpServerEndpoint(
        reactor,
        port=port,
        interface=interface,
        encapsulation=encapsulation,
        heartbeat=heartbeat,
    )


def client_endpoint(
    reactor: Any,
    host: str,
    port: int,
    bind_address: str | None,
    encapsulation: int,
    peer_encapsulation: int,
    heartbeat: float,
) -> UsrsctpClientEndpoint:
    """Return what sets up an association from UDP port ``encapsulation``, any one if 0."""
    return UsrsctpClientEndpoint(
        reactor, host, port, bind_address, encapsulation, peer_encapsulation, heartbeat
    )
