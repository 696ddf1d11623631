"""The endpoint strings of SCTP, and what a machine without SCTP says to them."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.interfaces import IStreamClientEndpoint, IStreamServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from lispmsrt.transports.interfaces import StreamAddress, TransportUnavailable
from lispmsrt.transports.sctp import endpoints, sockets
from lispmsrt.transports.sctp.sockets import Liveness, stream_address

_IMPORTING_PYSCTP = ("association", "kernel", "sockets")


class StringTests(SynchronousTestCase):
    """What is taken and what is refused."""

    def _server(self, text: str) -> Any:
        return serverFromString(MemoryReactorClock(), text)

    def _client(self, text: str) -> Any:
        return clientFromString(MemoryReactorClock(), text)

    def test_a_server_string_gives_an_endpoint(self) -> None:
        """With a port, without, and with every option."""
        for text in (
            "sctp:4342",
            "sctp",
            "sctp:port=0:interface=192.0.2.1",
            r"sctp:interface=2001\:db8\:\:1",
            "sctp:4342:interface=192.0.2.1, 198.51.100.1:heartbeat=2.5:stack=kernel:backlog=4096",
        ):
            verifyObject(IStreamServerEndpoint, self._server(text))

    def test_a_client_string_gives_an_endpoint(self) -> None:
        """With a port, without, and with every option."""
        for text in (
            "sctp:192.0.2.1",
            "sctp:192.0.2.1:4343:heartbeat=300:timeout=0.5",
            r"sctp:2001\:db8\:\:1:bindAddress=2001\:db8\:\:2",
            "sctp:192.0.2.1:bindAddress=192.0.2.2,198.51.100.2",
        ):
            verifyObject(IStreamClientEndpoint, self._client(text))

    def test_what_makes_no_sense_is_refused_in_one_sentence(self) -> None:
        """Which names the option."""
        for text, words in (
            ("sctp:x", "port=x: not a port number"),
            ("sctp:interface=here", "interface=here: not an IPv4 or IPv6 address"),
            ("sctp:interface=192.0.2.1,", "interface=: not an IPv4 or IPv6 address"),
            (r"sctp:interface=192.0.2.1,\:\:1", "several addresses must all be IPv4"),
            ("sctp:interface=192.0.2.1,0.0.0.0", "0.0.0.0 already stands for all"),
            ("sctp:interface=192.0.2.1,192.0.2.1", "the same address twice"),
            ("sctp:interface=" + ",".join(f"192.0.2.{i}" for i in range(9)), "more than 8"),
            ("sctp:heartbeat=1", "heartbeat=1: not a number of seconds from 2 to 300"),
            ("sctp:backlog=0", "backlog=0: not a number from 1 to 4096"),
            ("sctp:backlog=many", "backlog=many: not a number from 1 to 4096"),
            ("sctp:stack=linux", "stack=linux: must be one of kernel, usrsctp"),
            ("sctp:encapsulation=9899", "encapsulation=9899: makes no sense with stack=kernel"),
            ("sctp:stack=usrsctp:backlog=5", "backlog=5: makes no sense with stack=usrsctp"),
            ("sctp:stack=usrsctp:encapsulation=x", "encapsulation=x: not a port number"),
            ("sctp:stack=usrsctp:interface=192.0.2.1,192.0.2.2", "runs on one address"),
            ("sctp:colour=red", "colour"),
        ):
            self._assert_refused(self._server, text, words)

    def test_what_makes_no_sense_for_a_client_is_refused(self) -> None:
        """Which names the option."""
        own = "sctp:192.0.2.1"
        for text, words in (
            ("sctp:there.example", "host=there.example: not an IPv4 or IPv6 address"),
            (f"{own}:0", "port=0: not a port that anything listens on"),
            (rf"{own}:bindAddress=\:\:1", "not of the address family of 192.0.2.1"),
            (f"{own}:bindAddress=a,b", "bindAddress=a: not an IPv4"),
            (f"{own}:timeout=0", "timeout=0: not a number of seconds from 0.1 to 300"),
            (f"{own}:heartbeat=no", "heartbeat=no: not a number of seconds"),
            (f"{own}:encapsulation=1", "encapsulation=1: makes no sense with stack=kernel"),
            (f"{own}:encapsulationPeer=1", "encapsulationPeer=1: makes no sense with"),
            (f"{own}:stack=usrsctp:timeout=5", "timeout=5: makes no sense with stack=usrsctp"),
            (f"{own}:stack=usrsctp:encapsulationPeer=0", "encapsulationPeer=0: not a port that"),
        ):
            self._assert_refused(self._client, text, words)

    def test_without_pysctp_the_extra_is_named(self) -> None:
        """Nothing of it is needed before the endpoint is: an option is judged first."""
        with self._without_pysctp():
            for parse, text in ((self._server, "sctp:4342"), (self._client, "sctp:192.0.2.1")):
                failure = self.assertRaises(ValueError, parse, text)
                self.assertEqual(
                    str(failure), "sctp: needs the extra 'sctp': pip install 'lispmsrt[sctp]'"
                )
            self._assert_refused(self._server, "sctp:heartbeat=1", "heartbeat=1")

    @contextlib.contextmanager
    def _without_pysctp(self) -> Iterator[None]:
        with mock.patch.dict(sys.modules, {"sctp": None}):
            for each in _IMPORTING_PYSCTP:
                sys.modules.pop(f"lispmsrt.transports.sctp.{each}", None)
            yield

    def _assert_refused(self, parse: Any, text: str, words: str) -> None:
        failure = self.assertRaises(ValueError, parse, text)
        self.assertIn(words, str(failure))
        self.assertNotIn("\n", str(failure))


class NoSctpTests(SynchronousTestCase):
    """A kernel that has no SCTP, whether ours does or not."""

    def setUp(self) -> None:
        """Have the kernel refuse."""
        self.code = errno.EPROTONOSUPPORT

        def refuse(*arguments: Any) -> Any:
            raise OSError(self.code, os.strerror(self.code))

        self.patch(sockets, "socket", SimpleNamespace(**{**vars(socket), "socket": refuse}))
        reactor = MemoryReactorClock()
        self.server: Any = serverFromString(reactor, "sctp:4342")
        self.client: Any = clientFromString(reactor, "sctp:192.0.2.1")
        self.factory = Factory.forProtocol(Protocol)

    def test_neither_end_can_be_had_and_the_remedy_is_said(self) -> None:
        """In one sentence."""
        for attempt in (self.server.listen(self.factory), self.client.connect(self.factory)):
            failure = self.failureResultOf(attempt, TransportUnavailable)
            self.assertEqual(
                failure.getErrorMessage(),
                "this kernel has no SCTP: load its module `sctp`,"
                " or run SCTP in user space with stack=usrsctp, over UDP at both ends",
            )

    def test_any_other_trouble_is_not_taken_for_it(self) -> None:
        """Too many open files pass."""
        self.code = errno.EMFILE
        for attempt in (self.server.listen(self.factory), self._connected()):
            failure = self.failureResultOf(attempt)
            self.assertNotIsInstance(failure.value, TransportUnavailable)
            self.assertIn(os.strerror(errno.EMFILE), failure.getErrorMessage())

    def _connected(self) -> Deferred[Any]:
        reactor = MemoryReactorClock()
        client: Any = clientFromString(reactor, "sctp:192.0.2.1")
        attempt: Deferred[Any] = client.connect(self.factory)
        reactor.advance(0)
        return attempt


class CookieTests(SynchronousTestCase):
    """A kernel whose SCTP can't listen for want of a hash."""

    def test_the_missing_module_is_named(self) -> None:
        """listen() says ENOSYS."""

        class Handle:
            def listen(self, backlog: int) -> None:
                raise OSError(self.code, os.strerror(self.code))

        handle: Any = Handle()
        handle.code = errno.ENOSYS
        failure = self.assertRaises(TransportUnavailable, sockets.listen, handle, 5)
        self.assertIn("load the module `hmac`", str(failure))
        handle.code = errno.EADDRINUSE
        self.assertRaises(OSError, sockets.listen, handle, 5)


class AddressTests(SynchronousTestCase):
    """What a socket calls an address."""

    def test_addresses_have_one_form(self) -> None:
        """IPv4 in IPv6 is IPv4; a zone is named where it is needed."""
        zone = socket.if_nameindex()[0]
        for address, host in (
            (("192.0.2.1", 7), "192.0.2.1"),
            (("2001:db8::1", 7, 0, 0), "2001:db8::1"),
            (("::ffff:192.0.2.1", 7, 0, 0), "192.0.2.1"),
            (("fe80::1", 7, 0, zone[0]), f"fe80::1%{zone[1]}"),
            (("fe80::1%x", 7, 0, zone[0]), "fe80::1%x"),
            (("fe80::1", 7, 0, 1 << 30), "fe80::1"),
        ):
            self.assertEqual(stream_address(address), StreamAddress("SCTP", host, 7))


class LivenessTests(SynchronousTestCase):
    """The figures by which a dead path is noticed."""

    def test_the_promise_of_four_heartbeats_holds(self) -> None:
        """For any heartbeat, idle and with data outstanding."""
        for heartbeat in (2.0, 10.0, 300.0):
            liveness = Liveness(heartbeat)
            longest = liveness.rto_max / 1000
            idle = 2 * (heartbeat + 1.5 * longest) + 5 * 1.5 * longest
            self.assertLessEqual(idle, 4 * heartbeat)
            self.assertLessEqual(6 * longest, heartbeat + 0.001)
            self.assertLessEqual(liveness.rto_min, liveness.rto_max)

    def test_a_dead_path_is_noticed_within_forty_seconds_by_default(self) -> None:
        """As over TCP."""
        self.assertEqual(4 * float(endpoints._HEARTBEAT), 40)
