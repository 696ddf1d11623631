"""An SCTP association of the kernel as a Twisted stream transport.

What the peer sends on stream 0, in order, is one stream of bytes: where its messages end says
nothing. There is no half-close: after loseWriteConnection neither side can send.
"""

from __future__ import annotations

import enum
import errno
import socket
import struct
from collections import Counter
from typing import Any

from twisted.internet import main, tcp
from twisted.internet.error import ConnectionDone, ConnectionLost

from lispmsrt.transports.doorway import reset
from lispmsrt.transports.interfaces import StreamAddress
from lispmsrt.transports.sctp.paths import Paths
from lispmsrt.transports.sctp.sockets import (
    IPPROTO_SCTP,
    allow_paths,
    no_delay,
    round_trip_time,
    set_no_delay,
    stream_address,
)

__all__ = ["ClientAssociation", "ServerAssociation"]

_MSG_NOTIFICATION = 0x8000
_ASSOC_CHANGE, _PEER_ADDR_CHANGE = 0x8001, 0x8002
_RCVINFO = 3
_UNORDERED = 1
_STREAM = struct.Struct("=HHH")  # stream, sequence number, flags: the head of struct sctp_rcvinfo
_KIND = struct.Struct("=H")
_CHANGE = struct.Struct("=HHIH")  # type, flags, length, state: of struct sctp_assoc_change
_PATH_CHANGE = struct.Struct("=HHI128si")  # the same, address, state: struct sctp_paddr_change
_ANCILLARY = socket.CMSG_SPACE(32)

_MAX_MESSAGES = 64
"""Read in one turn of the reactor, so that many small ones reach the protocol as one chunk and
nobody else waits long.
"""

_AGAIN = frozenset({errno.EAGAIN, errno.EWOULDBLOCK, errno.EINTR})
_FULL = _AGAIN | {errno.ENOBUFS, errno.ENOMEM}


class _State(enum.IntEnum):
    """What an SCTP_ASSOC_CHANGE notification tells (RFC 6458 §6.1.1)."""

    COMM_UP = 0
    COMM_LOST = 1
    RESTART = 2
    SHUTDOWN_COMP = 3
    CANT_STR_ASSOC = 4


class _AssociationMixin:
    """Reads, writes and ends of an association, for a Twisted transport of either role."""

    socket: socket.socket
    protocol: Any
    bufferSize = 65536
    SEND_LIMIT = 16384
    """Octets in a message: what does not fit the peer's window waits for a delayed SACK."""

    counters: Counter[str]
    _is_reading = False
    _must_abort = False

    def __init__(self, *arguments: Any) -> None:
        self._paths = Paths(lambda count: allow_paths(self.socket, count))
        super().__init__(*arguments)

    # Reading

    def startReading(self) -> None:
        self._is_reading = True
        super().startReading()  # type: ignore[misc]

    def stopReading(self) -> None:
        self._is_reading = False
        super().stopReading()  # type: ignore[misc]

    def doRead(self) -> ConnectionDone | ConnectionLost | None:
        """Hand over what has arrived as one chunk; return the reason if the association is over."""
        chunks: list[bytes] = []
        reason = self._receive(chunks)
        if chunks:
            self.protocol.dataReceived(b"".join(chunks))
        return reason

    def _receive(self, chunks: list[bytes]) -> ConnectionDone | ConnectionLost | None:
        room = self.bufferSize
        for _message in range(_MAX_MESSAGES):
            try:
                data, ancillary, flags, _source = self.socket.recvmsg(room, _ANCILLARY)
            except OSError as failure:
                return None if failure.errno in _AGAIN else main.CONNECTION_LOST
            if flags & _MSG_NOTIFICATION:
                reason = self._notified(data)
                if reason is not None:
                    return reason
            elif not data:
                return main.CONNECTION_DONE
            elif not self._is_of_the_stream(ancillary):
                return self._abort("messages beside the stream")
            else:
                chunks.append(data)
                room -= len(data)
                if room < _PATH_CHANGE.size:  # what comes next may be a notification
                    break
        return None

    def _notified(self, data: bytes) -> ConnectionDone | ConnectionLost | None:
        (kind,) = _KIND.unpack_from(data)
        if kind == _ASSOC_CHANGE and len(data) >= _CHANGE.size:
            return self._association_changed(_CHANGE.unpack_from(data)[-1])
        if kind == _PEER_ADDR_CHANGE and len(data) >= _PATH_CHANGE.size:
            self._paths.changed(*_PATH_CHANGE.unpack_from(data)[-2:])
            if self._paths.all_dead:
                return self._abort("peers without a path left")
        return None

    def _association_changed(self, state: int) -> ConnectionDone | ConnectionLost | None:
        if state in (_State.COMM_LOST, _State.CANT_STR_ASSOC):
            return main.CONNECTION_LOST
        if state == _State.SHUTDOWN_COMP:
            return main.CONNECTION_DONE
        if state == _State.RESTART:
            # RFC 9260 §5.2: the peer has forgotten everything and goes on in the same association.
            # Whoever it is now must be accepted anew.
            return self._abort("restarts of the peer")
        return None

    def _is_of_the_stream(self, ancillary: list[tuple[int, int, bytes]]) -> bool:
        """Whether a message came in order on stream 0."""
        for level, kind, data in ancillary:
            if (level, kind) == (IPPROTO_SCTP, _RCVINFO):
                stream, _sequence, flags = _STREAM.unpack_from(data)
                return not stream and not flags & _UNORDERED
        return False

    # Writing

    def writeSomeData(self, data: bytes) -> int | ConnectionLost:
        """Send one message, all of it or nothing."""
        message = memoryview(data)[: self.SEND_LIMIT]
        if not message:
            return 0  # Twisted asks before it closes; SCTP knows no empty messages
        try:
            return self.socket.send(message)
        except OSError as failure:
            if failure.errno in _FULL:
                return 0
            if self._is_reading:
                # It is over, and reading is about to find out how: nobody will miss this message.
                return len(message)
            return main.CONNECTION_LOST

    # Ending

    def _abort(self, what: str) -> ConnectionLost:
        self.counters[what] += 1
        self._must_abort = True
        return main.CONNECTION_LOST

    def _closeSocket(self, orderly: bool) -> None:
        if orderly and not self._must_abort:
            super()._closeSocket(True)  # type: ignore[misc]
        else:
            reset(self.socket)

    def round_trip_time(self) -> float | None:
        """Return that of the primary path in seconds; None before one was measured."""
        return round_trip_time(self.socket)

    # What TCP says otherwise

    def getHost(self) -> StreamAddress:
        return stream_address(self.socket.getsockname())

    def getTcpNoDelay(self) -> bool:
        return no_delay(self.socket)

    def setTcpNoDelay(self, enabled: bool) -> None:
        set_no_delay(self.socket, enabled)


class ServerAssociation(_AssociationMixin, tcp.Server):  # type: ignore[misc]
    """One that a peer has set up."""

    def __init__(self, skt: socket.socket, protocol: Any, client: Any, server: Any, *rest: Any):
        self.counters = server.counters
        super().__init__(skt, protocol, client, server, *rest)

    def getPeer(self) -> StreamAddress:
        """Return the address that the association was set up from."""
        return stream_address(self.client)


class ClientAssociation(_AssociationMixin, tcp.Client):  # type: ignore[misc]
    """One that we set up. Its connector makes the socket."""

    connector: Any

    def __init__(self, host: str, port: int, connector: Any, reactor: Any) -> None:
        self.counters = connector.counters
        super().__init__(host, port, None, connector, reactor)

    def createInternetSocket(self) -> socket.socket:
        handle: socket.socket = self.connector.make_socket()
        return handle

    def getPeer(self) -> StreamAddress:
        """Return the address that we connected to."""
        return stream_address(self.realAddress)

    def _connectDone(self) -> None:
        super()._connectDone()
        self.connector.connected()
