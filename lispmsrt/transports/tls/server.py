"""The listening end of ``tls13:`` endpoint strings."""

from __future__ import annotations

import math
from typing import Any

from cryptography.x509 import Certificate
from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.interfaces import (
    IDelayedCall,
    IListeningPort,
    IOpenSSLServerConnectionCreator,
    IProtocol,
    IProtocolFactory,
    IStreamServerEndpoint,
)
from twisted.internet.protocol import Factory
from twisted.internet.ssl import CertificateOptions
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from lispmsrt.sockets import plain_host
from lispmsrt.transports.gate import Gate, Reset
from lispmsrt.transports.handshakes import HandshakeLimits, Handshakes
from lispmsrt.transports.interfaces import (
    IAdmission,
    ITakesTurns,
    admission_of,
    turn_of,
)
from lispmsrt.transports.tls.failures import TlsFailed
from lispmsrt.transports.tls.stream import SecuredStream
from lispmsrt.transports.tls.transport import TlsFactory

__all__ = ["TlsGate", "TlsServerEndpoint"]

_LOG_INTERVAL = 1.0
"""Seconds between two lines about failed handshakes: whoever is admitted can fail without end."""


@implementer(IStreamServerEndpoint)
class TlsServerEndpoint:
    """Listens for TLS connections."""

    def __init__(
        self,
        reactor: Any,
        port: int,
        interface: str,
        contexts: CertificateOptions,
        *,
        backlog: int = 50,
        limits: HandshakeLimits | None = None,
    ) -> None:
        self._reactor = reactor
        self._tcp = TCP4ServerEndpoint(reactor, port, backlog, interface)
        self._contexts = contexts
        self._limits = limits

    @property
    def certificate(self) -> Certificate | None:
        """What it shows to clients."""
        shown = self._contexts.certificate
        return shown.to_cryptography() if shown is not None else None

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        gate = TlsGate(protocolFactory, self._contexts, self._reactor, self._limits)
        listening: Deferred[IListeningPort] = self._tcp.listen(gate)
        return listening


@implementer(IAdmission, ITakesTurns)
class TlsGate(Gate):
    """Who comes in by TCP gets a TLS connection, or a reset before a single octet of TLS."""

    _log = Logger()

    def __init__(
        self,
        application: IProtocolFactory,
        contexts: CertificateOptions,
        reactor: Any,
        limits: HandshakeLimits | None = None,
    ) -> None:
        super().__init__(application)
        self.handshakes = Handshakes(limits, reactor.seconds)
        self.turn = turn_of(application)
        self._admits = admission_of(application)
        self._reactor = reactor
        self._tls = TlsFactory(_Contexts(contexts), False, _Streams(self), reactor)
        self._tls.turn = self.turn
        self._latest_line = -math.inf
        self._under_way: dict[_Handshake, None] = {}

    def doStop(self) -> None:
        """The port is closed: who is in a handshake must not get a connection any more."""
        for handshake in list(self._under_way):
            handshake.give_up("the port was closed")
        super().doStop()

    def admits(self, host: str) -> bool:
        """Whether the application admits this address, and there may be one more handshake."""
        return self._admits(host) and self.handshakes.may_begin(host)

    def buildProtocol(self, addr: Any) -> IProtocol:
        if not (self._admits(addr.host) and self.handshakes.begin(addr.host)):
            return Reset()
        return self._tls.buildProtocol(addr)

    def stream(self, addr: Any) -> SecuredStream:
        """Return what TLS is to carry for a peer whose handshake has been counted."""
        handshake = _Handshake(self, addr)
        self._under_way[handshake] = None
        return handshake.stream

    def build(self, addr: Any) -> IProtocol | None:
        """Ask the application for its protocol."""
        return self.application.buildProtocol(addr)

    def over(self, handshake: _Handshake, reason: Failure | None) -> None:
        """One handshake less, and why it failed."""
        del self._under_way[handshake]
        addr = handshake.addr
        self.handshakes.end(addr.host)
        if reason is None:
            return
        self.handshakes.counters["handshakes failed"] += 1
        now = self._reactor.seconds()
        # The reactor's clock may be stepped back.
        if not 0.0 <= now - self._latest_line < _LOG_INTERVAL:
            self._latest_line = now
            self._log.info(
                "TLS handshake with {host} port {port} failed: {reason}",
                host=plain_host(addr.host),
                port=addr.port,
                reason=reason.getErrorMessage(),
            )

    def call_later(self, ring: Any) -> IDelayedCall:
        """Ring when a handshake has taken too long."""
        call: IDelayedCall = self._reactor.callLater(self.handshakes.limits.timeout, ring)
        return call


@implementer(IOpenSSLServerConnectionCreator)
class _Contexts:
    """Makes the TLS connection of each client."""

    def __init__(self, options: CertificateOptions) -> None:
        self._options = options

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        connection = self._options.serverConnectionForTLS(tlsProtocol)
        stream = tlsProtocol.wrappedProtocol
        assert isinstance(stream, SecuredStream)
        stream.watch_verification(connection)
        return connection


class _Streams(Factory):
    """The factory that TLS asks, once a connection was let in."""

    noisy = False

    def __init__(self, gate: TlsGate) -> None:
        self._gate = gate

    def buildProtocol(self, addr: Any) -> SecuredStream:
        return self._gate.stream(addr)


class _Handshake:
    """One handshake: it ends by success, failure or the clock."""

    def __init__(self, gate: TlsGate, addr: Any) -> None:
        self._gate = gate
        self.addr = addr
        self._timeout = gate.call_later(self._too_late)
        self.stream = SecuredStream(
            # OpenSSL has verified what was asked for, before it calls a handshake complete.
            check=lambda connection: None,
            build=lambda: gate.build(addr),
            ready=lambda protocol: self._over(None),
            failed=self._over,
        )

    def give_up(self, why: str) -> None:
        """Reset the connection."""
        self.stream.give_up(Failure(TlsFailed(why)))

    def _too_late(self) -> None:
        self.give_up(f"it was not over within {self._gate.handshakes.limits.timeout:g} s")

    def _over(self, reason: Failure | None) -> None:
        if self._timeout.active():
            self._timeout.cancel()
        self._gate.over(self, reason)
