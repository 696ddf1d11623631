"""The one stream of a QUIC connection as a Twisted transport."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from twisted.internet.error import ConnectionAborted
from twisted.internet.interfaces import (
    IConsumer,
    IProducer,
    IProtocol,
    IPushProducer,
    ITransport,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from lispmsrt.transports.interfaces import ISpeaksFirst, StreamAddress
from lispmsrt.transports.quic.connection import CloseCode
from lispmsrt.transports.quic.driver import FAREWELL_TIMEOUT, Driver

__all__ = ["HIGH_WATER", "LOW_WATER", "ClientStream", "Stream"]

HIGH_WATER = 1 << 18
"""Octets that are not acknowledged when the producer is asked to pause: enough for 5 MB/s at 50 ms
of round trip. Twisted's TCP stops at 64 KiB, but has the kernel's buffer below that.
"""

LOW_WATER = HIGH_WATER // 2
"""... and when it is asked to go on."""


@implementer(ITransport, IConsumer, IPushProducer)
class Stream:
    """What a protocol writes to and reads from."""

    def __init__(self, driver: Driver, host: StreamAddress, peer: StreamAddress) -> None:
        self.connected = True
        self.disconnecting = False
        self._driver = driver
        self._host = host
        self._peer = peer
        self._protocol: IProtocol | None = None
        self._producer: Any = None
        self._is_streaming = True
        self._is_producer_paused = False
        self._is_paused = False
        self._held = bytearray()
        "what arrived while the protocol did not want any; bounded by the window"
        self._is_end_held = False

    def begin(self, protocol: IProtocol) -> None:
        """Connect the application's protocol."""
        self._protocol = protocol
        protocol.makeConnection(self)

    # What the connection's owner reports

    def deliver(self, data: bytes, *, is_end: bool) -> None:
        """Take octets of the peer, and perhaps its last ones."""
        if self.disconnecting or not self.connected:
            return
        if self._is_paused or self._held:  # which turn_over delivers first
            self._held += data
            self._is_end_held = self._is_end_held or is_end
            return
        assert self._protocol is not None
        if data:
            self._driver.consumed(len(data))
            self._protocol.dataReceived(data)
        if not is_end:
            return
        if self._is_paused:  # by what it has just read: it shall hear of the end after resuming
            self._is_end_held = True
        else:
            self.disconnecting = True
            self._driver.finish(FAREWELL_TIMEOUT)

    def turn_over(self) -> None:
        """Let the producer go on when enough was acknowledged, and deliver what was held."""
        producer = self._producer
        is_waiting = self._is_producer_paused or not self._is_streaming
        if producer is not None and is_waiting and self._driver.unacknowledged <= LOW_WATER:
            self._is_producer_paused = False
            producer.resumeProducing()
        if not self._is_paused and (self._held or self._is_end_held):
            data, self._held = bytes(self._held), bytearray()
            is_end, self._is_end_held = self._is_end_held, False
            self.deliver(data, is_end=is_end)

    def lose(self, reason: Failure) -> None:
        """Tell the protocol that it is over."""
        protocol, self._protocol = self._protocol, None  # which holds this
        assert protocol is not None
        try:
            if self._is_end_held and not self.disconnecting:
                # All of it arrived before the end, but nobody will resume what is over.
                protocol.dataReceived(bytes(self._held))
        finally:
            self._held.clear()
            self.connected = False
            producer, self._producer = self._producer, None
            if producer is not None:
                producer.stopProducing()
            protocol.connectionLost(reason)

    # ITransport

    def write(self, data: bytes) -> None:
        """Queue octets; they leave when this turn of the reactor is over."""
        if not isinstance(data, bytes):
            raise TypeError(f"data must be bytes, not {type(data).__name__}")
        if not data or self.disconnecting or not self.connected:
            return
        self._driver.write(data)
        if (
            self._producer is not None
            and self._is_streaming
            and not self._is_producer_paused
            and self._driver.unacknowledged > HIGH_WATER
        ):
            self._is_producer_paused = True
            self._producer.pauseProducing()

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        self.write(b"".join(iovec))

    def loseConnection(self) -> None:
        """Deliver what was written, then end; nothing more is read."""
        if self.connected and not self.disconnecting:
            self.disconnecting = True
            self._held.clear()
            self._driver.finish()

    def abortConnection(self) -> None:
        """Drop the connection, whatever was not delivered yet."""
        if self.connected:
            self.disconnecting = True
            self._driver.close(CloseCode.ABORTED, "", Failure(ConnectionAborted()))

    def getHost(self) -> StreamAddress:
        return self._host

    def getPeer(self) -> StreamAddress:
        return self._peer

    def round_trip_time(self) -> float | None:
        """Return the smoothed round-trip time in seconds; None before one was measured."""
        return self._driver.round_trip_time

    @property
    def queued_octets(self) -> int:
        """What was written and the peer has not acknowledged."""
        return self._driver.unacknowledged

    # IConsumer

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        if self._producer is not None:
            raise RuntimeError(f"{producer}: {self._producer} is registered already")
        if not self.connected:
            producer.stopProducing()
            return
        self._producer = producer
        self._is_streaming = streaming
        self._is_producer_paused = False
        self._driver.wake()

    def unregisterProducer(self) -> None:
        self._producer = None

    # IPushProducer

    def pauseProducing(self) -> None:
        """Deliver nothing more, and let the peer send no more than its window."""
        self._is_paused = True

    def resumeProducing(self) -> None:
        """Deliver what was held, and go on."""
        if not self._is_paused or not self.connected or self.disconnecting:
            return
        self._is_paused = False
        self._driver.wake()

    def stopProducing(self) -> None:
        self.loseConnection()


@implementer(ISpeaksFirst)
class ClientStream(Stream):
    """The client's end: the server hears nothing of it before it writes."""
