"""HTTP connections and requests with limits: how many, how long, and how large a body."""

from __future__ import annotations

import socket
import struct
from collections import Counter
from contextlib import suppress
from io import BytesIO
from typing import Any

from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IProtocol
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from twisted.web.resource import IResource
from twisted.web.server import Request, Site

from lispmsrt.protocols import RefusalProtocol
from lispmsrt.web.errors import ApiError
from lispmsrt.web.rendering import write_error

__all__ = ["MAX_BODY", "MAX_CONNECTIONS", "ManagementRequest", "ManagementSite"]

MAX_BODY = 64 * 1024
"""Octets of a request's body: a mapping with 255 locators has 40 kB."""

MAX_DRAINED = 1 << 20
"""Octets of a body that are read and dropped, so that who sent too much may still see why."""

MAX_CONNECTIONS = 256
"""Of one endpoint, each of which may hold an answer that nobody reads (1 MB). Each endpoint has its
own, so that strangers at a TCP port can't lock the operator out of the Unix socket.
"""

IDLE_TIMEOUT = 60.0
"""Seconds that a connection may wait for a request, in which the request must then be there whole,
and in which its answer must be taken: or 256 clients that send or read an octet now and then lock
everybody else out.
"""

_GRACE = 1.0
"""Seconds that readers have to take what was written, when the endpoint closes."""

_MAX_DIGITS = 18
"""Of a Content-Length; Python takes 4300 for a number, and more for a mistake of its own."""

_TOO_LARGE, _TOO_LONG, _HEADER_TOO_LONG = 413, 414, 431
_NAMES = {413: "Content Too Large", 414: "URI Too Long", 431: "Request Header Fields Too Large"}
_REFUSED = 400
"""The first status that says that there is no answer."""

_CREDENTIALS = struct.Struct("3i")  # struct ucred: process, user, group


class ManagementRequest(Request):
    """A request whose body has a limit, and which shows nobody a traceback."""

    _log = Logger()
    is_too_long = False
    "whether the body went over MAX_BODY; what is above was dropped"
    _received = 0

    def gotLength(self, length: int | None) -> None:
        """Keep the body in memory: it is small."""
        self.content = BytesIO()
        if length is not None and length > MAX_DRAINED:
            self.is_too_long = True
            self._connection.refuse(_TOO_LARGE)

    def handleContentChunk(self, data: bytes) -> None:
        """Keep a part of the body, up to the limit."""
        self._received += len(data)
        if self._received > MAX_DRAINED:
            self.channel.loseConnection()
        if self._received <= MAX_BODY:
            super().handleContentChunk(data)
        else:
            self.is_too_long = True

    def process(self) -> None:
        """Answer the request."""
        if self.path == b"*":
            self.path = b"/*"  # Twisted has an answer of its own for "OPTIONS *"
        super().process()

    def processingFailed(self, reason: Failure) -> None:
        """Log a bug, and say no more than that there was one."""
        self._log.failure(
            "while answering {path}", reason, path=self.path.decode("ascii", "replace")
        )
        if self.startedWriting:
            self.abort()
        else:
            write_error(self, ApiError(500, "this request failed; the log says why"))

    def finish(self) -> None:
        """Count a refusal; the answer is complete."""
        if self.code >= _REFUSED and self.channel is not None:
            self._connection.site.note_refusal(self.code)
        super().finish()

    def abort(self) -> None:
        """Cut the connection."""
        self._transport.abortConnection()

    @property
    def _transport(self) -> Any:
        return self.channel.transport

    @property
    def _connection(self) -> _Connection:
        assert isinstance(self.channel, _Connection)
        return self.channel

    @property
    def is_local(self) -> bool:
        """Whether it came over a Unix socket."""
        return isinstance(self.getHost(), UNIXAddress)

    @property
    def who(self) -> str:
        """Who sends it, for the log: a user ID, or an address."""
        if self.is_local:
            handle: socket.socket = self._transport.getHandle()
            with suppress(OSError):
                packed = handle.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
                return f"user ID {_CREDENTIALS.unpack(packed)[1]}"
            return "somebody at the Unix socket"
        return str(self.getClientAddress().host)


class _Connection(HTTPChannel):
    """A connection that its site knows of."""

    site: ManagementSite
    _next: IDelayedCall | None = None
    _has_begun = False
    "whether some of a request is there"

    def connectionMade(self) -> None:
        self.site.connections.add(self)
        super().connectionMade()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._next is not None:
            self._next.cancel()
            self._next = None
        super().connectionLost(reason)
        self.site.lost(self)

    def requestDone(self, request: Request) -> None:
        """Answer one request in a turn of the reactor, and none while the peer does not take its
        answers: a thousand requests fit what is read at once, and each may be answered by 1 MB.
        """
        self.paused = True
        self._has_begun = False
        super().requestDone(request)
        if not self.persistent:
            # Twisted would wait for ever until the last answer is taken.
            self.setTimeout(self.site.timeOut)
        if self._waitingForTransport:
            self._networkProducer.pauseProducing()
        else:
            self._go_on_soon()

    def resumeProducing(self) -> None:
        """Go on: the peer has taken its answers."""
        super().resumeProducing()
        if self.paused:
            self._go_on_soon()

    def _go_on_soon(self) -> None:
        if self._next is None:
            self._next = self.callLater(0, self._go_on)

    def _go_on(self) -> None:
        self._next = None
        if not self._waitingForTransport:
            self.paused = False
            LineReceiver.dataReceived(self, b"")

    def resetTimeout(self) -> None:
        """Begin to wait for a whole request, when its first octets are there."""
        if not self._has_begun:
            self._has_begun = True
            super().resetTimeout()

    def headerReceived(self, line: bytes) -> bool:
        """Take a header; one of a length that nobody means is refused before it is counted with."""
        name, _colon, value = line.partition(b":")
        if name.strip().lower() == b"content-length" and len(value.strip()) > _MAX_DIGITS:
            self.refuse(_TOO_LARGE)
            return False
        is_good: bool = super().headerReceived(line)
        return is_good

    def timeoutConnection(self) -> None:
        """Close a connection on which nothing comes. Not a line in the log: browsers leave them."""
        self.site.counters["connections timed out"] += 1
        self._abortingCall = self.callLater(self.abortTimeout, self.forceAbortClient)
        self.loseConnection()

    def lineLengthExceeded(self, line: bytes) -> None:
        """Refuse a request line or header of more than 16 kB, which Twisted would do in silence."""
        self.refuse(_HEADER_TOO_LONG if self.requests else _TOO_LONG)

    def refuse(self, status: int) -> None:
        """Answer what is not even read to its end, and close the connection."""
        self.site.note_refusal(status)
        head = f"HTTP/1.1 {status} {_NAMES[status]}\r\nConnection: close\r\nContent-Length: 0"
        transport: Any = self.transport
        transport.write(f"{head}\r\n\r\n".encode())
        self.loseConnection()

    def _respondToBadRequestAndDisconnect(self) -> None:
        """Count what Twisted answers by itself."""
        self.site.note_refusal(_REFUSED)
        super()._respondToBadRequestAndDisconnect()

    def cut(self) -> None:
        """Close the connection, whatever is still to be written."""
        transport: Any = self.transport
        transport.abortConnection()


class ManagementSite(Site):
    """What one endpoint serves. Logs no requests."""

    noisy = False
    protocol = _Connection  # type: ignore[assignment]  # HTTP/2 is not for here

    def __init__(self, resource: IResource, reactor: Any, counters: Counter[str]) -> None:
        super().__init__(
            resource,
            requestFactory=ManagementRequest,
            parsePOSTFormSubmission=False,
            timeout=IDLE_TIMEOUT,
            reactor=reactor,
        )
        self.counters = counters
        self.connections: set[_Connection] = set()
        self._all_lost: list[Deferred[None]] = []

    def startFactory(self) -> None:
        """Start nothing: Twisted would keep a clock for a log of requests."""

    def stopFactory(self) -> None:
        """Stop nothing."""

    def log(self, request: object) -> None:
        """Log nothing: a page asks every second."""

    def acceptableProtocols(self) -> list[bytes]:
        """Return what a TLS client may choose."""
        return [b"http/1.1"]

    def buildProtocol(self, addr: Any) -> IProtocol:  # type: ignore[override]
        """Return the protocol of a connection, or one that resets it if there are too many."""
        if len(self.connections) >= MAX_CONNECTIONS:
            self.counters["connections refused: too many"] += 1
            return RefusalProtocol()
        self.counters["connections"] += 1
        connection: IProtocol = super().buildProtocol(addr)
        return connection

    def note_refusal(self, status: int) -> None:
        """Count a request that is refused, or has failed."""
        self.counters[f"requests answered with {status}"] += 1

    def lost(self, connection: _Connection) -> None:
        """Forget a connection."""
        self.connections.discard(connection)
        if not self.connections:
            waiting, self._all_lost = self._all_lost, []
            for deferred in waiting:
                deferred.callback(None)

    def close(self) -> Deferred[None]:
        """Close every connection; fires when they are closed."""
        if not self.connections:
            return succeed(None)
        closed: Deferred[None] = Deferred()
        self._all_lost.append(closed)
        cut = self.reactor.callLater(_GRACE, self._cut)
        closed.addCallback(lambda _: cut.cancel() if cut.active() else None)
        for connection in list(self.connections):
            connection.loseConnection()
        return closed

    def _cut(self) -> None:
        for connection in list(self.connections):
            connection.cut()
