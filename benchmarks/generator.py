"""The load of ``make bench`` for transports that plain sockets don't have: a process with our own
client's endpoints. It costs more than what it measures; rates count the server's CPU seconds.
"""

from __future__ import annotations

import time
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from benchmarks.load import LoadError, arm
from benchmarks.messages import ADDRESS, host_records, registrations
from benchmarks.processes import Role
from lispmsrt.cli.demo_transports import LoopbackTransport, what_is_missing
from lispmsrt.config.endpoints import with_bind_address
from lispmsrt.transports.interfaces import TransportUnavailable
from lispmsrt.wire.framing import FrameBuffer
from lispmsrt.wire.reliable_transport import MessageType

__all__ = ["LoadRole", "Sender"]

_SECONDS_WITHOUT_ANSWER = 10.0


class LoadRole(Role):
    """Sends the same Registrations to one Map-Server after the other."""

    def __init__(self, reactor: Any, count: int) -> None:
        self._reactor = reactor
        self._count = count
        self._stream = registrations(host_records(count))
        self._sender: Sender | None = None
        self.commands = {
            "missing": self._missing,
            "connect": self._connect,
            "register": self._register,
            "close": self.stop,
        }

    def stop(self) -> Deferred[None]:
        """Close the connection."""
        if self._sender is None:
            return succeed(None)
        sender, self._sender = self._sender, None
        return sender.close()

    def _missing(self, transport: LoopbackTransport) -> Deferred[str]:
        return Deferred.fromCoroutine(self._why_missing(transport))

    async def _why_missing(self, transport: LoopbackTransport) -> str:
        """Return why this machine can't have a transport, nothing if it can."""
        reason = what_is_missing(self._reactor, transport)
        if reason:
            return reason
        try:
            port = await serverFromString(self._reactor, transport.server).listen(Factory())
        except TransportUnavailable as failure:
            return str(failure)
        await port.stopListening()
        return ""

    def _connect(self, udp_port: int, endpoint: str) -> Deferred[None]:
        arm(udp_port)
        client = clientFromString(self._reactor, with_bind_address(endpoint, ADDRESS))
        connecting: Deferred[Any] = client.connect(_Senders(self._reactor))
        return connecting.addCallback(self._connected)

    def _connected(self, sender: Sender) -> None:
        self._sender = sender

    def _register(self) -> Deferred[float]:
        """Write everything, and answer how long it took until the last ACK."""
        assert self._sender is not None
        return self._sender.register(self._stream, self._count)


class _Senders(Factory):
    noisy = False

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def buildProtocol(self, addr: object) -> Sender:
        return Sender(self._reactor)


@implementer(IPushProducer)
class Sender(Protocol):
    """Writes as fast as its transport takes it, and counts ACKs."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._frames = FrameBuffer()
        self._waiting: list[bytes] = []
        self._unanswered = 0
        self._is_paused = False
        self._done: Deferred[float] | None = None
        self._closed: Deferred[None] = Deferred()
        self._began = 0.0
        self._impatience: Any = None
        self._stream: Any = None
        "the transport: whatever connects streams in Twisted's way"

    def register(self, chunks: list[bytes], count: int) -> Deferred[float]:
        """Write Registrations until ``count`` are acknowledged; fires with the seconds."""
        self._began = time.perf_counter()
        self._waiting = chunks[::-1]
        self._unanswered = count
        self._done = Deferred()
        self._impatience = self._reactor.callLater(_SECONDS_WITHOUT_ANSWER, self._give_up)
        self._stream.registerProducer(self, True)
        self._write()
        return self._done

    def close(self) -> Deferred[None]:
        """Reset the connection; fires when it is gone."""
        self._stream.abortConnection()
        return self._closed

    def _write(self) -> None:
        while self._waiting and not self._is_paused:
            self._stream.write(self._waiting.pop())
        if not self._waiting:
            self._stream.unregisterProducer()

    def _give_up(self) -> None:
        self._end(f"the Map-Server stopped with {self._unanswered} answers to come")

    def _end(self, problem: str = "") -> None:
        if self._done is None:
            return
        done, self._done = self._done, None
        if self._impatience.active():
            self._impatience.cancel()
        if problem:
            done.errback(LoadError(problem))
        else:
            done.callback(time.perf_counter() - self._began)

    # Protocol

    def connectionMade(self) -> None:
        self._stream = self.transport

    def dataReceived(self, data: bytes) -> None:
        kinds = [frame[0] for frame in self._frames.receive(data)[1]]
        acks = kinds.count(MessageType.REGISTRATION_ACK)
        if acks + kinds.count(MessageType.REGISTRATION_REFRESH) != len(kinds):
            self._end(f"the Map-Server answered with messages of types {set(kinds)}")
        elif acks and self._done is not None:
            self._unanswered -= acks
            self._impatience.reset(_SECONDS_WITHOUT_ANSWER)
            if not self._unanswered:
                self._end()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._end(f"the session ended: {reason.getErrorMessage()}")
        self._closed.callback(None)

    # IPushProducer

    def pauseProducing(self) -> None:
        self._is_paused = True

    def resumeProducing(self) -> None:
        self._is_paused = False
        self._write()

    def stopProducing(self) -> None:
        self._waiting.clear()
