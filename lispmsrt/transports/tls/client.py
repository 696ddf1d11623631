"""The connecting end of ``tls13:`` endpoint strings."""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
)
from twisted.internet.ssl import CertificateOptions
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from lispmsrt.sockets import pack_address
from lispmsrt.transports.gate import Gate
from lispmsrt.transports.tls.failures import TlsFailed
from lispmsrt.transports.tls.identity import ServerIdentity
from lispmsrt.transports.tls.stream import SecuredStream
from lispmsrt.transports.tls.transport import TlsFactory

__all__ = ["TlsClientEndpoint"]


@implementer(IStreamClientEndpoint)
class TlsClientEndpoint:
    """Connects by TLS, to a server that must be the one that is meant."""

    def __init__(
        self,
        reactor: Any,
        tcp: IStreamClientEndpoint,
        contexts: CertificateOptions,
        identity: ServerIdentity,
        *,
        timeout: float,
    ) -> None:
        """``timeout`` is for TCP connection and handshake together, in seconds."""
        self._reactor = reactor
        self._tcp = tcp
        self._contexts = _Contexts(contexts, identity)
        self._identity = identity
        self._timeout = timeout

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        attempt = _Attempt(protocolFactory, self._identity)
        tls = TlsFactory(self._contexts, True, attempt, self._reactor)
        attempt.start(self._tcp, tls, self._reactor, self._timeout)
        return attempt.result


@implementer(IOpenSSLClientConnectionCreator)
class _Contexts:
    """Makes the TLS connection of each attempt.

    Twisted's optionsForClientTLS would not do: it can't go by a pin, and accepts a certificate
    without a subjectAltName for every name (service_identity's CertificateError is only logged).
    """

    def __init__(self, options: CertificateOptions, identity: ServerIdentity) -> None:
        self._options = options
        self._name = identity.name

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        connection = self._options.clientConnectionForTLS(tlsProtocol)
        # RFC 6066 §3: no addresses in the Server Name Indication.
        if pack_address(self._name) is None:
            connection.set_tlsext_host_name(self._name.encode("ascii"))
        stream = tlsProtocol.wrappedProtocol
        assert isinstance(stream, SecuredStream)
        stream.watch_verification(connection)
        return connection


class _Attempt(Gate):
    """One attempt to connect; the factory of the stream that TLS carries."""

    def __init__(self, application: IProtocolFactory, identity: ServerIdentity) -> None:
        super().__init__(application)
        self.result: Deferred[IProtocol] = Deferred(lambda _: self._stop())
        self._identity = identity
        self._tcp: Deferred[IProtocol] | None = None
        self._stream: SecuredStream | None = None
        self._timeout: Any = None
        self._is_over = False

    def start(
        self, tcp: IStreamClientEndpoint, tls: TlsFactory, reactor: Any, timeout: float
    ) -> None:
        """Connect by TCP; the rest follows."""
        self._timeout = reactor.callLater(timeout, self._too_late, timeout)
        self._tcp = tcp.connect(tls)
        self._tcp.addCallbacks(lambda _protocol: None, self._failed)

    def buildProtocol(self, addr: Any) -> SecuredStream:
        self._stream = SecuredStream(
            check=lambda connection: self._identity.check(
                connection.get_peer_certificate(as_cryptography=True)
            ),
            build=lambda: self.application.buildProtocol(addr),
            ready=self._ready,
            failed=self._failed,
        )
        return self._stream

    def _ready(self, protocol: IProtocol) -> None:
        self._end()
        self.result.callback(protocol)

    def _failed(self, reason: Failure) -> None:
        if self._end():
            self.result.errback(reason)

    def _too_late(self, timeout: float) -> None:
        what = "TCP connection" if self._stream is None else "TLS handshake"
        self._failed(Failure(TlsFailed(f"no {what} within {timeout:g} s")))
        self._tear_down()

    def _stop(self) -> None:
        # The one who cancels gets his CancelledError from the Deferred.
        self._end()
        self._tear_down()

    def _tear_down(self) -> None:
        if self._stream is not None:
            self._stream.give_up(Failure(TlsFailed("given up")))
        else:
            assert self._tcp is not None
            self._tcp.cancel()

    def _end(self) -> bool:
        """Whether this is the first end."""
        if self._is_over:
            return False
        self._is_over = True
        if self._timeout.active():
            self._timeout.cancel()
        return True
