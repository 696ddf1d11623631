"""One association as a stream transport: stream 0 each way, ordered, bytes (RFC 9260).

Everything happens in turns of the reactor, never within a call from C: what packets and timers have
done to the socket is read and acted upon in the next turn, once for all of them.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

from twisted.internet.error import (
    ConnectError,
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,
    TimeoutError,
)
from twisted.internet.interfaces import IProtocol, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from lispmsrt.transports.sctp.usrsctp.liveness import Liveness
from lispmsrt.transports.sctp.usrsctp.packets import Chunk, Header
from lispmsrt.transports.sctp.usrsctp.peers import Leg, Peer
from lispmsrt.transports.sctp.usrsctp.sockets import Change, Nothing, Socket
from lispmsrt.transports.sctp.usrsctp.stack import Stack
from lispmsrt.transports.sctp.usrsctp.stream import CLOSE_TIMEOUT, State, Stream

__all__ = ["Association"]

_CONNECT_TIMEOUT = 10.0
"""Seconds until an association must be up."""

_CONFIRM_TIMEOUT = 5.0
"""Seconds to wait for SHUTDOWN COMPLETE, the last packet: both sides have everything by then."""

_READ_AT_ONCE = 1 << 16
"""Octets for one dataReceived(), about."""

_NOT_WRITABLE = frozenset({errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN, errno.ESHUTDOWN})
"""The association is ending: how, reading tells."""


class Association(Stream):
    """An ITransport. ``on_up`` is called once when a client's is set up, and must call start();
    ``on_failure`` when it could not be.
    """

    _log = Logger()

    def __init__(
        self,
        stack: Stack,
        connection: Socket,
        *,
        handle: int,
        peer: Peer,
        leg: Leg,
        clock: IReactorTime,
        heartbeat: float,
        local_port: int = 0,
        tag: int = 0,
        on_up: Callable[[Association], None] = lambda association: None,
        on_failure: Callable[[Failure], None] = lambda reason: None,
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(peer=peer, leg=leg, clock=clock, local_port=local_port)
        self.handle = handle
        self.tag = tag
        "verification tag of the packets from the peer; 0 while it is not known"
        self.protocol: IProtocol | None = None
        self._stack = stack
        self._socket = connection
        self._on_up = on_up
        self._on_failure = on_failure
        self._on_end = on_end
        self._has_confirmed = False
        self._is_broken = False
        self._is_refused = False
        self._reason: Failure | None = None
        self._liveness = Liveness(heartbeat, clock.seconds())
        stack.add(handle, self, clock)

    # Life

    def connect(self) -> None:
        """Begin to set up the association."""
        self._limit.set(self._clock.seconds() + _CONNECT_TIMEOUT)
        try:
            self._socket.connect(self.handle, self.peer.port)
        except OSError as failure:
            self._end(Failure(ConnectError(failure.errno, str(failure))))

    def start(self, protocol: IProtocol) -> None:
        """The association is up: hand it to the application."""
        self._state = State.OPEN
        self._limit.set(None)
        self.protocol = protocol
        self._wake()
        self._call(lambda: protocol.makeConnection(self))

    def _call(self, application: Callable[[], object]) -> None:
        """Call the application: a bug in it ends its own connection, as Twisted does it."""
        try:
            application()
        except Exception:
            self._log.failure("while calling the protocol of {peer}", peer=self.getPeer())
            self._end(Failure())

    def _end(self, reason: Failure) -> None:
        """Close the socket, which aborts what is left in it; tell the application next turn."""
        if self._state is State.CLOSED:
            return
        self._state = State.CLOSED
        self._reason = reason
        self._limit.set(None)
        self._socket.close()
        self._stack.remove(self.handle)
        self._stack.give_back_handle(self.handle)
        self._buffer.clear()
        self._wake()

    def _tell(self) -> None:
        """Say that it is over, once."""
        reason, self._reason = self._reason, None
        if reason is None:
            return
        closing = self._leg.ended(self)
        if closing is None:
            self._part(reason)
        else:
            # Who hears of the end may look whether anything is still open, or use the port again.
            closing.addCallback(lambda _: self._part(reason))

    def _part(self, reason: Failure) -> None:
        self._on_end()
        if self.protocol is None:
            self._on_failure(reason)
            return
        if self._buffer.producer is not None:
            self._call(self._buffer.producer.stopProducing)
            self._buffer.unregister()
        protocol = self.protocol
        self._call(lambda: protocol.connectionLost(reason))

    def round_trip_time(self) -> float | None:
        """Return the smoothed round-trip time in seconds; None before one was measured."""
        return self._socket.round_trip_time() if self._state is not State.CLOSED else None

    # From the stack and its packets

    def heard(self, header: Header) -> None:
        """A packet of the peer's has been given to the stack."""
        if header.tag == self.tag:
            self._liveness.heard(header, self._clock.seconds())
        self._wake()

    def refused(self) -> None:
        """Nobody listens at the peer's UDP port (ICMP)."""
        self._is_refused = True
        self._wake()

    def send_packet(self, packet: bytes) -> None:
        """Send one of the stack's packets to the peer."""
        if packet[12] == Chunk.SHUTDOWN_ACK and not self._has_confirmed:
            self._has_confirmed = True
            if self._state is State.CLOSING:
                self._limit.set(self._clock.seconds() + _CONFIRM_TIMEOUT)
        elif packet[12] == Chunk.INIT:
            self.local_port = int.from_bytes(packet[:2], "big")
            self.tag = int.from_bytes(packet[16:20], "big")
        self._leg.send(packet, self.peer)

    def look(self) -> None:
        """See whether a timer ended the association, or the peer is gone."""
        if self._state is State.CLOSED:
            return
        now, waits = self._clock.seconds(), self._socket.waits_for_acknowledgement()
        why = self._liveness.why_dead(now, waits=waits)
        if self._socket.has_failed():
            self._wake()
        elif self._state is State.CONNECTING:
            return
        elif why:
            self._lose(why)
        elif self._liveness.wants_heartbeat(now):
            self._probe()

    def _probe(self) -> None:
        try:
            self._socket.demand_heartbeat(self.handle, self.peer.port)
        except OSError:
            self._wake()  # it is over: reading tells how

    def fail(self) -> None:
        """A packet was lost in our own hands: end it, once we are out of the stack."""
        self._is_broken = True
        self._wake()

    def _lose(self, why: str) -> None:
        self._end(Failure(ConnectionLost(why)))

    def _too_late(self) -> None:
        if self._state is State.CONNECTING:
            self._end(Failure(TimeoutError(string="no answer")))
        elif self._has_confirmed:
            self._end(Failure(ConnectionDone()))
        else:
            self._lose("the peer did not let the association end")

    # A turn

    def _turn(self) -> None:
        if self._is_broken:
            self._lose("an internal error")
        if self._state is not State.CLOSED:
            self._read()
        if self._is_refused:
            self._doubt()
        if self._state is not State.CLOSED:
            self._flush()
        if self._state is State.CLOSED:
            self._tell()

    def _doubt(self) -> None:
        """Take a refusal for the answer to an INIT; it is not authenticated: whoever has answered
        is asked whether it is so.
        """
        self._is_refused = False
        if self._state is State.CONNECTING:
            self._end(Failure(ConnectionRefusedError(string="its UDP port is closed")))
        elif self._state is State.CLOSED or self._has_confirmed:
            return
        elif self._liveness.doubt(self._clock.seconds()):
            self._probe()

    def _read(self) -> None:
        if not self._is_reading and self._state is not State.CLOSING:
            if self._socket.has_failed():
                self._lose("the peer aborted the association")
            return
        octets: list[bytes] = []
        size = 0
        event: Change | Nothing | OSError = Nothing.YET
        while size < _READ_AT_ONCE:
            got = self._receive()
            if not isinstance(got, bytes):
                event = got
                break
            octets.append(got)
            size += len(got)
        else:
            self._wake()
        self._deliver(b"".join(octets))
        self._react(event)

    def _receive(self) -> bytes | Change | Nothing | OSError:
        try:
            return self._socket.receive()
        except OSError as failure:
            return failure

    def _deliver(self, data: bytes) -> None:
        if data and self._state in (State.OPEN, State.DRAINING):
            protocol: Any = self.protocol
            self._call(lambda: protocol.dataReceived(data))

    def _react(self, event: Change | Nothing | OSError) -> None:
        if self._state is State.CLOSED or event is Nothing.YET:
            return
        if event is Nothing.SHUTDOWN:
            self._wake()  # how it ends may be there already
            self._peer_is_done()
        elif event is Nothing.MORE:
            self._peer_is_done()
        elif event is Nothing.FOREIGN:
            self._lose("the peer sent a message that is not part of the stream")
        elif event is Change.SHUTDOWN_COMPLETE:
            self._end(Failure(ConnectionDone()))
        elif event is Change.UP:
            self._wake()  # there may be more to read
            if self._state is State.CONNECTING:
                self._on_up(self)
        else:
            self._fall(event)

    def _fall(self, event: object) -> None:
        """The association broke."""
        if self._state is State.CONNECTING:
            self._end(Failure(ConnectionRefusedError(string="the peer refused the association")))
        elif self._has_confirmed and event is Change.LOST:
            self._end(Failure(ConnectionDone()))
        elif event is Change.RESTART:
            self._lose("the peer restarted the association")
        else:
            self._lose("the peer aborted the association")

    def _peer_is_done(self) -> None:
        """RFC 9260 §9.2: after SHUTDOWN nothing new may be sent. There is no half-closed state."""
        self._buffer.clear()
        if self._state is not State.CLOSING:
            self._state = State.CLOSING
            patience = _CONFIRM_TIMEOUT if self._has_confirmed else CLOSE_TIMEOUT
            self._limit.set(self._clock.seconds() + patience)

    def _flush(self) -> None:
        has_sent = False
        while len(self._buffer):
            message = self._buffer.head()
            try:
                if not self._socket.send(message):
                    break  # room comes with a SACK, and that with a packet, which wakes us
            except OSError as failure:
                if failure.errno not in _NOT_WRITABLE:
                    self._lose(f"sending failed: {failure.strerror}")
                    return
                self._buffer.clear()
                break
            self._buffer.drop(len(message))
            has_sent = True
        if self._state is State.DRAINING and has_sent:
            self._limit.set(self._clock.seconds() + CLOSE_TIMEOUT)
        if not len(self._buffer):
            self._drained()

    def _drained(self) -> None:
        if self._state in (State.OPEN, State.DRAINING) and self._buffer.has_more_to_come:
            self._call(self._buffer.resume)
        elif self._state is State.DRAINING:
            self._state = State.CLOSING
            self._limit.set(self._clock.seconds() + CLOSE_TIMEOUT)
            self._socket.shut_down()
            self._wake()
