"""SCTP in user space and the kernel's SCTP talk to each other over UDP (RFC 6951)."""

from __future__ import annotations

import errno
import os
import socket
import struct
import subprocess
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import (
    ConnectionAborted,
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from lispmsrt.transports.sctp.usrsctp.endpoints import client_endpoint, server_endpoint

_SETTINGS = Path("/proc/sys/net/sctp")
_KERNEL_UDP, _OUR_UDP = 9899, 9900
_SCTP = 132
_DATA = os.urandom(1 << 20)


class Ours(Protocol):
    """Our end: keeps what it hears, or says it again."""

    echoes = False

    def __init__(self) -> None:
        self.data = bytearray()
        self.wanted = 0
        self.up: Deferred[None] = Deferred()
        self.complete: Deferred[None] = Deferred()
        self.ending: Deferred[type[BaseException]] = Deferred()

    def connectionMade(self) -> None:
        self.up.callback(None)

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        if self.echoes:
            self.transport.write(data)
        self.data += data
        if len(self.data) == self.wanted:
            self.complete.callback(None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ending.callback(reason.type)


def _kernel_socket() -> socket.socket:
    opened = socket.socket(socket.AF_INET, socket.SOCK_STREAM, _SCTP)
    opened.settimeout(30)
    return opened


def _say_and_hear(peer: socket.socket, data: bytes) -> bytes:
    """Send data in messages, reading between them; return what came back."""
    heard = bytearray()
    for start in range(0, len(data), 10_000):
        peer.sendall(data[start : start + 10_000])
        while len(heard) < start:
            heard += peer.recv(65536)
    while len(heard) < len(data):
        heard += peer.recv(65536)
    return bytes(heard)


def _serve(listener: socket.socket) -> str:
    """Accept one, say what it says, and tell how it ended."""
    peer, _address = listener.accept()
    with peer:
        peer.settimeout(30)
        try:
            while data := peer.recv(65536):
                for start in range(0, len(data), 10_000):
                    peer.sendall(data[start : start + 10_000])
        except OSError as failure:
            return errno.errorcode[failure.errno or 0]
        return "closed"


class KernelPeerTests(TestCase):
    """One end is ours, one the kernel's."""

    timeout = 60

    def setUp(self) -> None:
        """Have the kernel put its SCTP into UDP, and no segmentation offload.

        It loses packets that it means to segment later, once they are in UDP: "dropped" in
        /proc/net/dev.
        """
        subprocess.run(["ip", "link", "set", "lo", "gso_max_size", "1500"], check=True)
        (_SETTINGS / "encap_port").write_text(str(_OUR_UDP))
        (_SETTINGS / "udp_port").write_text(str(_KERNEL_UDP))

    def tearDown(self) -> None:
        """Undo it: other tests run in this guest."""
        subprocess.run(["ip", "link", "set", "lo", "gso_max_size", "65536"], check=True)
        (_SETTINGS / "udp_port").write_text("0")
        (_SETTINGS / "encap_port").write_text("0")

    def _kernel_server(self) -> tuple[socket.socket, int]:
        listener = _kernel_socket()
        self.addCleanup(listener.close)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        return listener, listener.getsockname()[1]

    def _connect(self, port: int) -> Deferred[Any]:
        factory = Factory.forProtocol(Ours)
        factory.noisy = False
        return client_endpoint(reactor, "127.0.0.1", port, None, _OUR_UDP, _KERNEL_UDP, 10).connect(
            factory
        )

    async def _our_server(self) -> tuple[int, Ours]:
        ours = Ours()
        factory = Factory()
        factory.noisy = False
        factory.buildProtocol = lambda addr: ours  # type: ignore[method-assign]
        listening = server_endpoint(reactor, 0, "127.0.0.1", _OUR_UDP, 10)
        port: Any = await listening.listen(factory)
        self.addCleanup(port.stopListening)
        return port.getHost().port, ours

    async def test_our_client_and_a_kernel_server(self) -> None:
        """A megabyte comes back as it was, and both end cleanly."""
        listener, port = self._kernel_server()
        serving = deferToThread(_serve, listener)
        ours = await self._connect(port)
        ours.wanted = len(_DATA)
        ours.transport.write(_DATA)
        await ours.complete
        self.assertEqual(bytes(ours.data), _DATA)
        ours.transport.loseConnection()
        self.assertIs(await ours.ending, ConnectionDone)
        self.assertEqual(await serving, "closed")

    async def test_our_client_aborts(self) -> None:
        """The kernel says so."""
        listener, port = self._kernel_server()
        serving = deferToThread(_serve, listener)
        ours = await self._connect(port)
        ours.wanted = 1
        ours.transport.write(b"x")
        await ours.complete
        ours.transport.abortConnection()
        self.assertIs(await ours.ending, ConnectionAborted)
        self.assertEqual(await serving, "ECONNRESET")

    async def test_a_kernel_that_does_not_listen_refuses(self) -> None:
        """At once."""
        listener, port = self._kernel_server()
        listener.close()
        await self.assertFailure(self._connect(port), ConnectionRefusedError)

    async def test_a_kernel_client_and_our_server(self) -> None:
        """A megabyte comes back as it was, and the kernel's close is a clean end."""
        port, ours = await self._our_server()
        ours.echoes = True
        with _kernel_socket() as peer:
            await deferToThread(peer.connect, ("127.0.0.1", port))
            self.assertEqual(await deferToThread(_say_and_hear, peer, _DATA), _DATA)
        self.assertIs(await ours.ending, ConnectionDone)

    async def test_a_kernel_client_aborts(self) -> None:
        """Our end is a lost connection."""
        port, ours = await self._our_server()
        with _kernel_socket() as peer:
            await deferToThread(peer.connect, ("127.0.0.1", port))
            await ours.up
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.assertIs(await ours.ending, ConnectionLost)

    async def test_our_server_closes(self) -> None:
        """What it wrote before is read first."""
        port, ours = await self._our_server()
        with _kernel_socket() as peer:
            await deferToThread(peer.connect, ("127.0.0.1", port))
            await ours.up
            assert ours.transport is not None
            ours.transport.write(b"last words")
            ours.transport.loseConnection()
            self.assertEqual(await deferToThread(peer.recv, 100), b"last words")
            self.assertEqual(await deferToThread(peer.recv, 100), b"")
        self.assertIs(await ours.ending, ConnectionDone)
