"""What an SCTP association does with what its socket tells it, without a kernel that has SCTP."""

from __future__ import annotations

import errno
import socket
import struct
from collections import Counter
from types import SimpleNamespace
from typing import Any

from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.transports.sctp.association import ServerAssociation
from lispmsrt.transports.sctp.paths import Paths
from lispmsrt.transports.sctp.sockets import round_trip_time

_SCTP = 132
_NOTIFICATION = 0x8000
_COMM_UP, _COMM_LOST, _RESTART, _SHUTDOWN_COMP, _CANT_START = range(5)
_AVAILABLE, _UNREACHABLE, _REMOVED = range(3)
_CONFIRMED = 5
_LIMIT = 1
"""The socket option SCTP_ASSOCINFO."""

_FIRST, _SECOND, _LISTED = (bytes([each]) * 128 for each in range(3))


class _Handle:
    """A socket that says what it is told to, and notes down what is done to it."""

    def __init__(self) -> None:
        self.incoming: list[Any] = []
        self.sent: list[bytes] = []
        self.refusals: list[int] = []
        self.options: list[tuple[int, int, Any]] = []
        self.done: list[str] = []

    def setblocking(self, flag: bool) -> None:
        """It never blocks."""

    def fileno(self) -> int:
        return 99

    def recvmsg(self, size: int, ancillary: int) -> Any:
        if not self.incoming:
            raise BlockingIOError(errno.EAGAIN, "nothing there")
        found = self.incoming.pop(0)
        if isinstance(found, OSError):
            raise found
        return (*found, ("192.0.2.1", 7))

    def send(self, data: Any) -> int:
        if self.refusals:
            raise OSError(self.refusals.pop(0), "refused")
        self.sent.append(bytes(data))
        return len(data)

    def setsockopt(self, level: int, option: int, value: Any) -> None:
        self.options.append((level, option, value))

    def shutdown(self, how: int) -> None:
        self.done.append("shutdown")

    def close(self) -> None:
        self.done.append("close")

    # What the kernel would do

    def message(self, data: bytes, *, stream: int = 0, flags: int = 0) -> None:
        """Have a message arrive."""
        information = struct.pack("=HHHxxIIIII", stream, 0, flags, 0, 0, 0, 0, 0)
        self.incoming.append((data, [(_SCTP, 3, information)], socket.MSG_EOR))

    def association(self, state: int) -> None:
        """Have an SCTP_ASSOC_CHANGE arrive."""
        self.incoming.append(
            (struct.pack("=HHIHHHHi", 0x8001, 0, 20, state, 0, 1, 1, 3), [], 0x8080)
        )

    def path(self, address: bytes, state: int) -> None:
        """Have an SCTP_PEER_ADDR_CHANGE arrive."""
        data = struct.pack("=HHI128siii", 0x8002, 0, 148, address, state, 0, 3)
        self.incoming.append((data, [], _NOTIFICATION))


class _Notes(Protocol):
    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self.reason = ""

    def dataReceived(self, data: bytes) -> None:
        self.chunks.append(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.reason = reason.type.__name__


class RoundTripTests(SynchronousTestCase):
    """What struct sctp_status of Linux tells."""

    def setUp(self) -> None:
        """A socket that tells it."""
        self.told = b""
        self.handle: Any = SimpleNamespace(getsockopt=self._getsockopt)

    def _getsockopt(self, level: int, option: int, size: int) -> bytes:
        self.assertEqual((level, option, size), (_SCTP, 14, 176))
        if not self.told:
            raise OSError(errno.ENOTCONN, "not connected")
        return self.told

    def status(self, milliseconds: int) -> bytes:
        """Return the structure: the primary path is its last part."""
        path = struct.pack("=i128siIIII", 5, _FIRST, 2, 4380, milliseconds, 1000, 1452)
        return struct.pack("=iiIHHHHI", 5, 3, 65536, 0, 0, 1, 1, 1452) + path

    def test_milliseconds_are_seconds(self) -> None:
        """Of the primary path."""
        self.told = self.status(250)
        self.assertEqual(round_trip_time(self.handle), 0.25)

    def test_nothing_measured_is_no_time(self) -> None:
        """Nor is there one for what is over, or from a kernel that tells less."""
        self.assertIsNone(round_trip_time(self.handle))
        for told in (self.status(0), self.status(250)[:100]):
            self.told = told
            self.assertIsNone(round_trip_time(self.handle))


class AssociationTests(SynchronousTestCase):
    """One that was accepted."""

    def setUp(self) -> None:
        """Set it up."""
        self.handle = _Handle()
        self.reactor = MemoryReactorClock()
        self.counters: Counter[str] = Counter()
        self.notes = _Notes()
        port = SimpleNamespace(counters=self.counters, _realPortNumber=4342)
        handle: Any = self.handle
        self.association: Any = ServerAssociation(
            handle, self.notes, ("192.0.2.1", 7), port, 0, self.reactor
        )
        self.notes.makeConnection(self.association)

    def _read(self) -> str:
        """Do what a reactor does; return why the connection is over, if it is."""
        reason = self.association.doRead()
        if reason is not None:
            self.association.connectionLost(Failure(reason))
        return type(reason).__name__ if reason is not None else ""

    def _was_aborted(self) -> bool:
        linger = (socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return linger in self.handle.options and self.handle.done == ["close"]

    def test_messages_of_one_turn_are_one_chunk(self) -> None:
        """Whatever their boundaries, and whatever the association's news between them."""
        self.handle.message(b"one ")
        self.handle.association(_COMM_UP)
        self.handle.message(b"two")
        self.assertEqual(self._read(), "")
        self.assertEqual(self.notes.chunks, [b"one two"])

    def test_a_turn_has_an_end(self) -> None:
        """By messages and by octets: others want to be read too."""
        for _message in range(100):
            self.handle.message(b"x")
        self._read()
        self.assertEqual(len(self.notes.chunks[0]), 64)
        self._read()
        for _message in range(10):
            self.handle.message(bytes(16384))
        self._read()
        self.assertEqual(len(self.notes.chunks[2]), 65536)

    def test_the_end_comes_after_what_was_sent_before(self) -> None:
        """Cleanly or not."""
        self.handle.message(b"farewell")
        self.handle.association(_COMM_LOST)
        self.assertEqual(self._read(), "ConnectionLost")
        self.assertEqual(self.notes.chunks, [b"farewell"])

    def test_every_end_has_its_reason(self) -> None:
        """An association that ends, and a socket that does."""
        for event, reason in (
            (lambda: self.handle.association(_COMM_LOST), "ConnectionLost"),
            (lambda: self.handle.association(_CANT_START), "ConnectionLost"),
            (lambda: self.handle.association(_SHUTDOWN_COMP), "ConnectionDone"),
            (lambda: self.handle.incoming.append((b"", [], 0)), "ConnectionDone"),
            (lambda: self.handle.incoming.append(ConnectionResetError(104, "x")), "ConnectionLost"),
        ):
            self.setUp()
            event()
            self.assertEqual(self._read(), reason)
            self.assertEqual(self.notes.reason, reason)
            self.assertFalse(self._was_aborted())

    def test_a_restarted_peer_is_aborted_and_counted(self) -> None:
        """It must come anew."""
        self.handle.message(b"before")
        self.handle.association(_RESTART)
        self.handle.message(b"of somebody else")
        self.assertEqual(self._read(), "ConnectionLost")
        self.assertEqual(self.notes.chunks, [b"before"])
        self.assertTrue(self._was_aborted())
        self.assertEqual(self.counters, {"restarts of the peer": 1})

    def test_a_message_beside_the_stream_is_aborted_and_counted(self) -> None:
        """On another stream, out of order, or of unknown place."""
        for arrive in (
            lambda: self.handle.message(b"x", stream=1),
            lambda: self.handle.message(b"x", flags=1),
            lambda: self.handle.incoming.append((b"x", [], socket.MSG_EOR)),
        ):
            self.setUp()
            arrive()
            self.assertEqual(self._read(), "ConnectionLost")
            self.assertEqual(self.notes.chunks, [])
            self.assertTrue(self._was_aborted())
            self.assertEqual(self.counters, {"messages beside the stream": 1})

    def test_unknown_and_short_notifications_are_passed_over(self) -> None:
        """A later kernel may know more."""
        for data in (b"\x09\x80", b"\x01\x80\x00", b"\x02\x80" + bytes(20)):
            self.handle.incoming.append((data, [], _NOTIFICATION))
        self.assertEqual(self._read(), "")

    def test_a_confirmed_path_gets_its_share_of_retransmissions(self) -> None:
        """Once."""
        for _time in range(2):
            self.handle.path(_SECOND, _CONFIRMED)
        self.assertEqual(self._read(), "")
        limits = [value for level, option, value in self.handle.options if option == _LIMIT]
        self.assertEqual([struct.unpack_from("=iH", each) for each in limits], [(0, 10)])

    def test_a_peer_without_a_path_left_is_aborted_and_counted(self) -> None:
        """As long as one is alive it is not."""
        self.handle.path(_SECOND, _CONFIRMED)
        self.handle.path(_FIRST, _UNREACHABLE)
        self.assertEqual(self._read(), "")
        self.handle.path(_SECOND, _UNREACHABLE)
        self.assertEqual(self._read(), "ConnectionLost")
        self.assertTrue(self._was_aborted())
        self.assertEqual(self.counters, {"peers without a path left": 1})

    def test_a_message_has_at_most_16_kib(self) -> None:
        """The rest goes in the next."""
        self.association.write(bytes(40_000))
        while self.association in self.reactor.writers:
            self.assertIsNone(self.association.doWrite())
        self.assertEqual([len(each) for each in self.handle.sent], [16384, 16384, 7232])

    def test_a_full_kernel_takes_it_later(self) -> None:
        """Nothing is lost or sent twice."""
        self.handle.refusals = [errno.EAGAIN, errno.ENOBUFS]
        self.association.write(b"in the end")
        for _time in range(3):
            self.assertIsNone(self.association.doWrite())
        self.assertEqual(self.handle.sent, [b"in the end"])

    def test_reading_tells_why_nothing_can_be_sent_any_more(self) -> None:
        """The kernel's word for it when sending is not the reason."""
        self.handle.refusals = [errno.EPIPE]
        self.association.write(b"too late")
        self.assertIsNone(self.association.doWrite())
        self.handle.association(_SHUTDOWN_COMP)
        self.assertEqual(self._read(), "ConnectionDone")

    def test_without_reading_sending_tells(self) -> None:
        """Nobody else would."""
        self.association.pauseProducing()
        self.handle.refusals = [errno.EPIPE]
        self.association.write(b"too late")
        self.assertEqual(type(self.association.doWrite()).__name__, "ConnectionLost")

    def test_closing_sends_no_empty_message(self) -> None:
        """SCTP has none."""
        self.association.loseConnection()
        self.assertEqual(type(self.association.doWrite()).__name__, "ConnectionDone")
        self.assertEqual(self.handle.sent, [])


class PathTests(SynchronousTestCase):
    """Which addresses of a peer are alive."""

    def test_an_address_that_never_answered_says_nothing(self) -> None:
        """Nor does one that came back, or that is gone."""
        allowed: list[int] = []
        paths = Paths(allowed.append)
        self.assertFalse(paths.all_dead)
        for address, change in (
            (_LISTED, _REMOVED),
            (_SECOND, _CONFIRMED),
            (_SECOND, _UNREACHABLE),
            (_SECOND, _AVAILABLE),
            (_FIRST, _UNREACHABLE),
        ):
            paths.changed(address, change)
            self.assertFalse(paths.all_dead)
        paths.changed(_SECOND, _UNREACHABLE)
        self.assertTrue(paths.all_dead)
        self.assertEqual(allowed, [2])
