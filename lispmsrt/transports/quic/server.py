"""The server's UDP port: which datagram belongs to which connection, and who may have a new one.

Nothing is answered, and nothing remembered, for an address that the application does not admit. Of
an admitted one its address is validated first, by a Retry that costs no memory (RFC 9000 §8.1.2).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from aioquic.buffer import Buffer  # type: ignore[attr-defined]
from aioquic.quic.events import HandshakeCompleted
from aioquic.quic.packet import QuicHeader, QuicPacketType, pull_quic_header
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.error import ConnectionLost, InvalidAddressError, MessageLengthError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IReactorTime
from twisted.internet.protocol import DatagramProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from lispmsrt.clock import Alarm
from lispmsrt.transports.handshakes import HandshakeLimits, Handshakes
from lispmsrt.transports.interfaces import StreamAddress, admission_of, turn_of
from lispmsrt.transports.quic.connection import CloseCode, StreamConnection
from lispmsrt.transports.quic.driver import FAREWELL_TIMEOUT, Address, Driver, Side
from lispmsrt.transports.quic.retries import CONNECTION_ID, Retries
from lispmsrt.transports.quic.settings import ServerSettings
from lispmsrt.transports.quic.sockets import enlarge_buffers
from lispmsrt.transports.quic.stream import Stream

__all__ = ["QuicPort"]

_MIN_INITIAL = 1200
"""Octets of a datagram that may begin a connection (RFC 9000 §14.1)."""

_HANDSHAKES = HandshakeLimits(total_burst=32, total_rate=80.0)
"""A handshake takes 2 to 4 ms: that is up to a third of the time, and while sessions have work
there is less for it. Who is refused sends again by itself.
"""

_MAX_FAREWELLS = 1024
"""Connections that are over and still say so to who asks. The others' peers wait for their idle
timeout.
"""

_LEAVE_TIME = 2.0
"""Seconds that the application has to end its connections by itself after ``stopListening``."""


class Accepted:
    """A connection at the server's end. Before the first octet it has no protocol."""

    def __init__(
        self, port: QuicPort, address: Address, make_driver: Callable[[Side], Driver]
    ) -> None:
        self.host = address[0]
        self.connection_ids: set[bytes] = set()
        self.driver = make_driver(self)
        self.stream: Stream | None = None
        self.is_in_handshake = True
        self._port = port
        self._address = address

    def send(self, data: bytes, address: Address) -> None:
        self._port.send(data, address)

    def handshake_completed(self, event: HandshakeCompleted) -> None:
        """The deadline stands: it is about the first octet."""

    def received(self, data: bytes, *, is_end: bool) -> None:
        if self.stream is None and data:
            self._port.handshake_over(self)
            self._begin()
        if self.stream is not None:
            self.stream.deliver(data, is_end=is_end)
        elif is_end:
            self.driver.finish(FAREWELL_TIMEOUT)

    def _begin(self) -> None:
        self.driver.limit(None)
        peer = StreamAddress("QUIC", *self._address)
        protocol = self._port.factory.buildProtocol(peer)
        if protocol is None:
            failure = Failure(ConnectionLost("refused"))
            self.driver.close(CloseCode.REFUSED, "", failure)
            return
        self.stream = Stream(self.driver, self._port.getHost(), peer)
        self.stream.begin(protocol)

    def turn_over(self) -> None:
        if self.stream is not None:
            self.stream.turn_over()

    def issued(self, connection_id: bytes) -> None:
        self._port.route(connection_id, self)

    def retired(self, connection_id: bytes) -> None:
        self._port.unroute(connection_id, self)

    def ended(self, reason: Failure) -> None:
        self._port.handshake_over(self)
        try:
            if self.stream is not None:
                self.stream.lose(reason)
        finally:
            self._port.ended(self)

    def gone(self) -> None:
        self._port.forget(self)

    def worked(self, seconds: float) -> None:
        # What ends before it has a stream is paid for to its end.
        if self.stream is None:
            self._port.took(seconds)

    def dissolve(self) -> None:
        """Let go of what holds this."""
        self.driver.dissolve()
        self.stream = None


@implementer(IListeningPort)
class QuicPort(DatagramProtocol):
    """A listening port, and the demultiplexer below it."""

    noisy = False

    def __init__(
        self,
        factory: IProtocolFactory,
        settings: ServerSettings,
        clock: IReactorTime,
        listen: Callable[[QuicPort], Any],
        handshakes: Handshakes | None = None,
    ) -> None:
        """``listen`` opens the UDP port for this protocol and returns it."""
        self.factory = factory
        self.handshakes = handshakes or Handshakes(_HANDSHAKES, clock.seconds)
        self.counters: Counter[str] = self.handshakes.counters
        self._settings = settings
        self._clock = clock
        self._listen = listen
        self._udp: Any = None
        self._host = StreamAddress("QUIC", "", 0)
        self._admits = admission_of(factory)
        self._turn = turn_of(factory)
        self._retries = Retries(self.counters)
        self._routes: dict[bytes, Accepted] = {}
        self._live: dict[Accepted, None] = {}
        self._farewells: dict[Accepted, None] = {}
        self._leave = Alarm(clock, self._end_all)
        self._stopped: Deferred[None] | None = None

    # IListeningPort

    def startListening(self) -> None:
        """Open the UDP port; CannotListenError if that fails."""
        self._udp = self._listen(self)
        enlarge_buffers(self._udp)
        host = self._udp.getHost()
        self._host = StreamAddress("QUIC", host.host, host.port)
        self.factory.doStart()

    def stopListening(self) -> Deferred[None]:
        """Take no new connections; fires when the last one has ended and the UDP port is closed.

        They share that port. The application has a moment to end them by itself; then they are
        flushed and ended here.
        """
        if self._stopped is not None:
            return succeed(None)
        stopped = self._stopped = Deferred()
        for accepted in list(self._live):
            if accepted.is_in_handshake:
                failure = Failure(ConnectionLost("the port was closed"))
                accepted.driver.close(CloseCode.REFUSED, "", failure)
        self._leave.set(self._clock.seconds() + _LEAVE_TIME)
        self._close_if_unused()
        return stopped

    def getHost(self) -> StreamAddress:
        return self._host

    def _end_all(self) -> None:
        for stream in [each.stream for each in self._live if each.stream is not None]:
            stream.loseConnection()

    def _close_if_unused(self) -> None:
        stopped = self._stopped
        if stopped is None or self._live or self._udp is None:
            return
        self._leave.set(None)
        for accepted in list(self._farewells):
            self.forget(accepted)
        udp, self._udp = self._udp, None
        self.factory.doStop()
        closed: Deferred[Any] = maybeDeferred(udp.stopListening)
        closed.addCallback(lambda _: None).chainDeferred(stopped)

    # Datagrams

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        address = (addr[0], addr[1])
        if len(datagram) > CONNECTION_ID and not datagram[0] & 0x80:
            accepted = self._routes.get(datagram[1 : 1 + CONNECTION_ID])
        else:
            header = self._header(datagram)
            if header is None:
                return
            accepted = self._routes.get(header.destination_cid)
            if accepted is None and header.packet_type is QuicPacketType.INITIAL:
                self._initial(datagram, header, address)
                return
        if accepted is None:
            self.counters["datagrams of no connection"] += 1
        elif accepted.host != address[0]:
            # A session stays with the host that it was admitted for (RFC 9000 §9 allows to
            # refuse migration). Another port is the work of a NAT.
            self.counters["datagrams from another host than the connection's"] += 1
        else:
            accepted.driver.receive(datagram, address)

    def _header(self, datagram: bytes) -> QuicHeader | None:
        try:
            header = pull_quic_header(Buffer(data=datagram), host_cid_length=CONNECTION_ID)
        except ValueError:
            self.counters["datagrams that are not QUIC"] += 1
            return None
        if header.version not in self._settings.configuration.supported_versions:
            # No Version Negotiation: it would answer before anybody was asked, and there is
            # only one version. What is Version Negotiation itself is dropped here too.
            self.counters["datagrams of another QUIC version"] += 1
            return None
        return header

    def _initial(self, datagram: bytes, header: QuicHeader, address: Address) -> None:
        if len(datagram) < _MIN_INITIAL or self._stopped is not None:
            self.counters["Initials that are too small or too late"] += 1
            return
        if not self._admits(address[0]):
            self.counters["Initials refused: not admitted"] += 1
            return
        now = self._clock.seconds()
        if not header.token:
            packet = self._retries.packet(header, address, now)
            if packet is not None:
                self.send(packet, address)
            return
        original = self._retries.original(header, address, now)
        if original is None:
            return
        if self._turn is not None and not self._turn.has_time():
            self.counters["handshakes refused: no time left for more"] += 1
        elif self.handshakes.begin(address[0]):
            self._accept(datagram, header, address, original, now)

    def _accept(
        self,
        datagram: bytes,
        header: QuicHeader,
        address: Address,
        original: bytes,
        since: float,
    ) -> None:
        quic = StreamConnection(
            configuration=self._settings.configuration,
            original_destination_connection_id=original,
            retry_source_connection_id=header.destination_cid,
        )
        keepalive = self._settings.keepalive
        accepted = Accepted(
            self, address, lambda side: Driver(quic, self._clock, side, keepalive=keepalive)
        )
        self._live[accepted] = None
        self.route(header.destination_cid, accepted)
        self.route(quic.host_cid, accepted)
        accepted.driver.limit(self.handshakes.limits.timeout, "the handshake took too long")
        self.took(self._clock.seconds() - since)
        accepted.driver.receive(datagram, address)
        if not accepted.driver.is_over and not quic.can_send:
            # An address was validated, but nothing in the datagram makes sense.
            self.counters["Initials that made no sense"] += 1
            accepted.driver.forget()
            accepted.ended(Failure(ConnectionLost("no handshake")))
            accepted.gone()

    def send(self, data: bytes, address: Address) -> None:
        """Send a datagram; what the network refuses is lost, as anything over UDP may be."""
        if self._udp is None:
            return
        try:
            self._udp.write(data, address)
        except (OSError, InvalidAddressError, MessageLengthError):
            self.counters["datagrams that could not be sent"] += 1

    # Connections

    def route(self, connection_id: bytes, accepted: Accepted) -> None:
        """Have what comes for a connection ID go to a connection."""
        self._routes[connection_id] = accepted
        accepted.connection_ids.add(connection_id)

    def unroute(self, connection_id: bytes, accepted: Accepted) -> None:
        """The peer does not use that one any more."""
        self._routes.pop(connection_id, None)
        accepted.connection_ids.discard(connection_id)

    def took(self, seconds: float) -> None:
        """Take note of the time that went to peers whose handshakes are not over."""
        if self._turn is not None:
            self._turn.took(seconds)

    def handshake_over(self, accepted: Accepted) -> None:
        """Its first octet has come, or it has ended."""
        if accepted.is_in_handshake:
            accepted.is_in_handshake = False
            self.handshakes.end(accepted.host)

    def ended(self, accepted: Accepted) -> None:
        """A connection is over; what still comes for it is told so."""
        self._live.pop(accepted, None)
        if len(self._farewells) >= _MAX_FAREWELLS:
            self.forget(accepted)
        else:
            self._farewells[accepted] = None
        self._close_if_unused()

    def forget(self, accepted: Accepted) -> None:
        """Nothing is left to say."""
        self._farewells.pop(accepted, None)
        for connection_id in list(accepted.connection_ids):
            self.unroute(connection_id, accepted)
        accepted.dissolve()
