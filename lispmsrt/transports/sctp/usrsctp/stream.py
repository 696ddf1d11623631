"""What an application sees of an association: Twisted's transport interfaces."""

from __future__ import annotations

from enum import Enum
from typing import Any

from twisted.internet.error import ConnectionAborted
from twisted.internet.interfaces import IConsumer, IPushProducer, IReactorTime, ITransport
from twisted.python.failure import Failure
from zope.interface import implementer

from lispmsrt.clock import Alarm
from lispmsrt.transports.interfaces import StreamAddress
from lispmsrt.transports.sctp.usrsctp.peers import Leg, Peer
from lispmsrt.transports.sctp.usrsctp.sending import SendBuffer

__all__ = ["CLOSE_TIMEOUT", "State", "Stream"]

CLOSE_TIMEOUT = 30.0
"""Seconds that a peer may take none of what is left for it, or not end the association."""


class State(Enum):
    """Of an association."""

    CONNECTING = "being set up"
    OPEN = "open"
    DRAINING = "asked to close, with octets left to send"
    CLOSING = "SHUTDOWN was sent or received"
    CLOSED = "over"


@implementer(ITransport, IConsumer, IPushProducer)
class Stream:
    """The application's calls: they change the state, and have the rest done in the next turn."""

    def __init__(self, *, peer: Peer, leg: Leg, clock: IReactorTime, local_port: int) -> None:
        self.peer = peer
        self.local_port = local_port
        self._leg = leg
        self._clock = clock
        self._state = State.CONNECTING
        self._buffer = SendBuffer()
        self._is_reading = True
        self._soon = Alarm(clock, self._turn)
        self._limit = Alarm(clock, self._too_late)

    def _turn(self) -> None:
        """Do what there is to do."""
        raise NotImplementedError

    def _too_late(self) -> None:
        """The state lasts for too long."""
        raise NotImplementedError

    def _end(self, reason: Failure) -> None:
        """End the association now."""
        raise NotImplementedError

    def _wake(self) -> None:
        self._soon.set(self._clock.seconds())

    # ITransport

    @property
    def disconnecting(self) -> bool:
        """Whether it will close, or has."""
        return self._state not in (State.CONNECTING, State.OPEN)

    @property
    def connected(self) -> bool:
        """Whether octets may be read."""
        return self._state in (State.OPEN, State.DRAINING)

    def getPeer(self) -> StreamAddress:
        return StreamAddress("SCTP", self.peer.host, self.peer.port)

    def getHost(self) -> StreamAddress:
        return StreamAddress("SCTP", self._leg.host, self.local_port)

    @property
    def queued_octets(self) -> int:
        """What was written and the stack has not taken."""
        return len(self._buffer)

    def write(self, data: bytes) -> None:
        if not isinstance(data, bytes):
            raise TypeError(f"only bytes can be written, not {type(data).__name__}")
        if self._state is State.OPEN and data:
            self._wake()
            self._buffer.add(data)

    def writeSequence(self, iovec: Any) -> None:
        self.write(b"".join(iovec))

    def loseConnection(self) -> None:
        if self._state is State.OPEN:
            self._state = State.DRAINING
            self._limit.set(self._clock.seconds() + CLOSE_TIMEOUT)
            self._wake()

    def abortConnection(self) -> None:
        """Send ABORT; connectionLost follows in a later turn."""
        self._end(Failure(ConnectionAborted()))

    # IConsumer: the application's producer

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        if self._state is State.CLOSED:
            producer.stopProducing()
        else:
            self._buffer.register(producer, is_streaming=streaming)

    def unregisterProducer(self) -> None:
        self._buffer.unregister()
        self._wake()

    # IPushProducer: reading

    def pauseProducing(self) -> None:
        """Stop reading: once 256 KiB wait to be read, the peer may not send more."""
        self._is_reading = False

    def resumeProducing(self) -> None:
        self._is_reading = True
        self._wake()

    def stopProducing(self) -> None:
        self.loseConnection()
