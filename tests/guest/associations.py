"""Both ends of an association: ours with a protocol that keeps notes, and a peer on plain kernel
sockets that knows nothing of Twisted.
"""

from __future__ import annotations

import ctypes
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import sctp
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from lispmsrt.transports.interfaces import IAdmission

__all__ = [
    "IPPROTO_SCTP",
    "Admitting",
    "AssociationTestCase",
    "Notes",
    "associations",
    "dropping",
    "inside",
    "plain_socket",
    "run",
    "send_message",
]

IPPROTO_SCTP = 132
_CLONE_NEWNET = 0x40000000
_INITMSG = 2
_SNDINFO = 2
_SEND = struct.Struct("=HHIII")  # stream, flags, payload protocol, context, association


class Notes(Protocol):
    """Keeps what it hears, and says so to who waits for it."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.reason: str | None = None
        "why the connection was lost"
        self.echoes = False
        self.chunks = 0
        self.hosts: tuple[Any, Any] = (None, None)
        "peer and ourselves"

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.hosts = (self.transport.getPeer(), self.transport.getHost())

    def dataReceived(self, data: bytes) -> None:
        self.chunks += 1
        self.received += data
        if self.echoes:
            assert self.transport is not None
            self.transport.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.reason = reason.type.__name__


class Taking(Factory):
    """Takes every connection and remembers it."""

    noisy = False

    def __init__(self) -> None:
        self.made: list[Notes] = []
        self.addresses: list[Any] = []
        self.echoes = False

    def buildProtocol(self, addr: Any) -> Notes:
        notes = Notes()
        notes.echoes = self.echoes
        self.made.append(notes)
        self.addresses.append(addr)
        return notes


@implementer(IAdmission)
class Admitting(Taking):
    """Takes connections from these hosts only."""

    def __init__(self, *hosts: str) -> None:
        super().__init__()
        self._hosts = hosts
        self.asked: list[str] = []

    def admits(self, host: str) -> bool:
        self.asked.append(host)
        return host in self._hosts


class AssociationTestCase(TestCase):
    """Endpoints by their strings, closed after the test."""

    timeout = 60

    async def listening(self, options: str = "interface=127.0.0.1", factory: Any = None) -> Any:
        """Listen on a free port; return the port."""
        endpoint: Any = serverFromString(reactor, f"sctp:0:{options}")
        port = await endpoint.listen(factory or Taking())
        self.addCleanup(self._abort_all, port)
        self.addCleanup(port.stopListening)
        return port

    async def connected(self, port: Any, options: str = "", host: str = "127.0.0.1") -> Notes:
        """Connect to a port of ours or of a plain socket."""
        number = port if isinstance(port, int) else port.getHost().port
        text = f"sctp:{host}:{number}" + (f":{options}" if options else "")
        endpoint: Any = clientFromString(reactor, text)
        notes: Notes = await endpoint.connect(Factory.forProtocol(Notes))
        self.addCleanup(self._abort, notes)
        return notes

    async def pair(self, server: str = "interface=127.0.0.1", client: str = "") -> Any:
        """Return port, our client's notes and our server's."""
        port = await self.listening(server)
        near = await self.connected(port, client)
        await self.until(lambda: port.factory.made)
        return port, near, port.factory.made[0]

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until something is so; the test's own time limit is the limit."""
        while not condition():
            await deferLater(reactor, 0.01)

    def plain(self, *addresses: str, streams: int = 1, port: int = 0) -> socket.socket:
        """Return a plain socket on these addresses, closed after the test."""
        made = plain_socket(*addresses, streams=streams, port=port)
        self.addCleanup(made.close)
        return made

    def _abort_all(self, port: Any) -> Deferred[Any]:
        return gatherResults([maybeDeferred(self._abort, each) for each in port.factory.made])

    def _abort(self, notes: Notes) -> Deferred[None] | None:
        if notes.reason is None and notes.transport is not None:
            notes.transport.abortConnection()  # type: ignore[attr-defined]
            return Deferred.fromCoroutine(self.until(lambda: notes.reason is not None))
        return None


def plain_socket(*addresses: str, streams: int = 1, port: int = 0) -> socket.socket:
    """Return a blocking one-to-one socket on these addresses that asks for so many streams."""
    family = socket.AF_INET6 if addresses and ":" in addresses[0] else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM, IPPROTO_SCTP)
    made.settimeout(20)
    made.setsockopt(IPPROTO_SCTP, _INITMSG, struct.pack("=HHHH", streams, streams, 0, 0))
    if len(addresses) > 1:
        sctp.sctpsocket_tcp(family, made).bindx([(address, port) for address in addresses])
    elif addresses:
        made.bind((addresses[0], port))
    return made


def send_message(peer: socket.socket, data: bytes, *, stream: int = 0, flags: int = 0) -> None:
    """Send a message on a stream; flag 1 is unordered."""
    information = _SEND.pack(stream, flags, 0, 0, 0)
    peer.sendmsg([data], [(IPPROTO_SCTP, _SNDINFO, information)])


def associations() -> list[str]:
    """Return the associations that the kernel has, one line for each."""
    with open("/proc/net/sctp/assocs") as table:
        return table.read().splitlines()[1:]


@contextmanager
def dropping(device: str = "lo", namespace: str = "") -> Iterator[None]:
    """Drop what arrives over SCTP at a device without a word to anybody.

    It needs the kernel modules sch_ingress, cls_u32 and act_gact.
    """
    tc = ["ip", "netns", "exec", namespace, "tc"] if namespace else ["tc"]
    match = ["protocol", "ip", "u32", "match", "ip", "protocol", "132", "0xff"]
    run(*tc, "qdisc", "add", "dev", device, "clsact")
    run(*tc, "filter", "add", "dev", device, "ingress", *match, "action", "drop")
    try:
        yield
    finally:
        run(*tc, "qdisc", "del", "dev", device, "clsact")


@contextmanager
def inside(namespace: str) -> Iterator[None]:
    """Make sockets of this thread in a network namespace that `ip netns add` has made."""
    with open("/proc/thread-self/ns/net") as own, open(f"/run/netns/{namespace}") as other:
        _enter(other.fileno())
        try:
            yield
        finally:
            _enter(own.fileno())


def run(*command: str) -> None:
    """Run a command that must not fail."""
    subprocess.run(command, check=True)


def _enter(namespace: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(namespace, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")
