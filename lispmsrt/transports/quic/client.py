"""A client's connection: one UDP port of its own, from the first packet to the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from aioquic.quic.events import HandshakeCompleted
from aioquic.quic.packet import QuicErrorCode, QuicFrameType
from aioquic.tls import AlertDescription
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import (
    ConnectError,
    ConnectingCancelledError,
    ConnectionLost,
    ConnectionRefusedError,
    MessageLengthError,
    NoProtocol,
)
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IReactorTime
from twisted.internet.protocol import DatagramProtocol
from twisted.python.failure import Failure

from lispmsrt.transports.certificates import has_pin, pin_of
from lispmsrt.transports.handshakes import HandshakeLimits
from lispmsrt.transports.interfaces import StreamAddress
from lispmsrt.transports.quic.connection import CloseCode, StreamConnection
from lispmsrt.transports.quic.driver import Address, Driver
from lispmsrt.transports.quic.settings import ClientSettings
from lispmsrt.transports.quic.sockets import enlarge_buffers
from lispmsrt.transports.quic.stream import ClientStream
from lispmsrt.transports.udp import outlive_refusals

__all__ = ["QuicClient"]


class QuicClient(DatagramProtocol):
    """One attempt to connect, and the connection that comes of it."""

    noisy = False

    def __init__(
        self,
        factory: IProtocolFactory,
        settings: ClientSettings,
        clock: IReactorTime,
        server: Address,
    ) -> None:
        """``server`` is an IP address and a port."""
        self.counters: Counter[str] = Counter()
        self.connected: Deferred[IProtocol] = Deferred(self._cancel)
        "fires with the application's protocol, when its transport can be used"
        self._factory = factory
        self._settings = settings
        self._server = server
        self._udp: Any = None
        self._stream: ClientStream | None = None
        self._driver = Driver(
            StreamConnection(configuration=settings.configuration),
            clock,
            self,
            keepalive=settings.keepalive,
        )

    def start(self, listen: Callable[[DatagramProtocol], Any]) -> None:
        """Open a UDP port with ``listen`` and begin; CannotListenError if that fails."""
        self._udp = listen(self)
        enlarge_buffers(self._udp)
        outlive_refusals(self._udp)
        self._factory.doStart()
        try:
            # From now on the kernel drops what comes from others, and reports a refusal.
            self._udp.connect(*self._server)
        except OSError as failure:
            self._driver.forget()
            self._close(Failure(ConnectError(osError=failure, string=str(failure.strerror))))
            return
        self._driver.connect(self._server)
        timeout = HandshakeLimits().timeout
        self._driver.limit(timeout, f"no QUIC handshake within {timeout:g} s")

    # Datagrams

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self._driver.receive(datagram, self._server)

    def connectionRefused(self) -> None:
        """Nobody listens there (ICMP). That is not authenticated: once the connection stands, the
        server is asked whether it is so.
        """
        if self._stream is None:
            self._fail(ConnectionRefusedError())
        else:
            self.counters["refusals of an established connection"] += 1
            self._driver.doubt("its port is closed, and it does not answer")

    def _fail(self, problem: Exception) -> None:
        self._driver.close(CloseCode.ABORTED, "", Failure(problem))

    def _cancel(self, _connected: object) -> None:
        self._fail(ConnectingCancelledError(StreamAddress("QUIC", *self._server)))

    # What the driver reports

    def send(self, data: bytes, address: Address) -> None:
        # aioquic would also try the "preferred address" of a server (RFC 9000 §9.6).
        if self._udp is None or address != self._server:
            self.counters["datagrams to another address than the server's"] += 1
            return
        try:
            self._udp.write(data)
        except (OSError, MessageLengthError):
            self.counters["datagrams that could not be sent"] += 1

    def handshake_completed(self, event: HandshakeCompleted) -> None:
        pin, certificate = self._settings.pin, self._driver.quic.peer_certificate
        if pin is not None and (certificate is None or not has_pin(certificate, pin)):
            seen = "none" if certificate is None else pin_of(certificate)
            problem = f"the server's public key is not the pinned one, its pin is {seen}"
            code = QuicErrorCode.CRYPTO_ERROR + AlertDescription.bad_certificate
            failure = Failure(ConnectionLost(problem))
            self._driver.close(code, "not the pinned key", failure, QuicFrameType.CRYPTO)
            return
        self._driver.limit(None)
        self._begin()

    def _begin(self) -> None:
        local = self._udp.getHost()
        peer = StreamAddress("QUIC", *self._server)
        protocol = self._factory.buildProtocol(peer)
        if protocol is None:
            self._fail(NoProtocol())
            return
        host = StreamAddress("QUIC", local.host, local.port)
        self._stream = ClientStream(self._driver, host, peer)
        self._stream.begin(protocol)
        self.connected.callback(protocol)

    def received(self, data: bytes, *, is_end: bool) -> None:
        assert self._stream is not None, "the server can't write before this end has"
        self._stream.deliver(data, is_end=is_end)

    def turn_over(self) -> None:
        if self._stream is not None:
            self._stream.turn_over()

    def issued(self, connection_id: bytes) -> None:
        """The port has this connection only."""

    def retired(self, connection_id: bytes) -> None:
        """The port has this connection only."""

    def ended(self, reason: Failure) -> None:
        """Close the port, then tell whoever waits: after that nothing of it is left."""
        self._driver.forget()
        self._close(reason)

    def gone(self) -> None:
        """The port is closed with the connection."""

    def worked(self, seconds: float) -> None:
        """Nobody is kept waiting by whom this end has chosen itself."""

    def _close(self, reason: Failure) -> None:
        udp, self._udp = self._udp, None
        closed: Deferred[Any] = maybeDeferred(udp.stopListening)
        closed.addBoth(lambda _: self._tell(reason))

    def _tell(self, reason: Failure) -> None:
        self._factory.doStop()
        stream, self._stream = self._stream, None
        self._driver.dissolve()
        if stream is not None:
            stream.lose(reason)
        elif not self.connected.called:  # unless it was cancelled
            error = reason.value
            if isinstance(error, ConnectionLost):  # it never stood
                reason = Failure(ConnectError(string=error.args[0]))
            self.connected.errback(reason)
