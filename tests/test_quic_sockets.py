"""QUIC over real sockets, with aioquic's own client and server in other processes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from twisted.internet import reactor as real_reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.error import (
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,
    ProcessDone,
)
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from tests.quic_rim import Noting, NotingFactory, make_credentials

reactor: Any = real_reactor

_CLIENT = """
import asyncio, ssl, sys
from aioquic.asyncio import connect
from aioquic.quic.configuration import QuicConfiguration

async def main(host, port, ca):
    configuration = QuicConfiguration(
        is_client=True, alpn_protocols=["lisp-rt"], cafile=ca, server_name="127.0.0.1"
    )
    async with connect(host, port, configuration=configuration) as protocol:
        reader, writer = await protocol.create_stream()
        writer.write(b"question" * 1000)
        answer = await reader.readexactly(8000)
        assert answer == b"question" * 1000
        writer.write_eof()
        assert await reader.read() == b""
        await protocol.wait_closed()
    print("done")

asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
"""

_SERVER = """
import asyncio, sys
from aioquic.asyncio import serve
from aioquic.quic.configuration import QuicConfiguration

async def echo(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
    writer.write_eof()

async def main(certificate, key):
    configuration = QuicConfiguration(is_client=False, alpn_protocols=["lisp-rt"])
    configuration.load_cert_chain(certificate, key)
    server = await serve(
        "127.0.0.1", 0, configuration=configuration, retry=True,
        stream_handler=lambda reader, writer: asyncio.ensure_future(echo(reader, writer)),
    )
    print(server._transport.get_extra_info("sockname")[1], flush=True)
    await asyncio.Event().wait()

asyncio.run(main(sys.argv[1], sys.argv[2]))
"""


class _Child(ProcessProtocol):
    """Another Python, what it printed, and its end."""

    def __init__(self) -> None:
        self.output = b""
        self.errors = b""
        self.line: Deferred[bytes] = Deferred()
        self.ended: Deferred[Any] = Deferred()

    def outReceived(self, data: bytes) -> None:
        self.output += data
        if b"\n" in self.output and not self.line.called:
            self.line.callback(self.output.split(b"\n")[0])

    def errReceived(self, data: bytes) -> None:
        self.errors += data

    def processEnded(self, reason: Any) -> None:
        self.ended.callback([reason])


class _Ended(Noting):
    """Tells of its end."""

    def __init__(self) -> None:
        super().__init__()
        self.ended: Deferred[Any] = Deferred()

    def connectionLost(self, reason: Any = None) -> None:
        super().connectionLost(reason)
        self.ended.callback([reason])


class _EndedFactory(NotingFactory):
    def __init__(self) -> None:
        super().__init__()
        self.built: Deferred[_Ended] = Deferred()

    def buildProtocol(self, addr: Any) -> Any:
        protocol = _Ended()
        self.protocols.append(protocol)
        if len(self.protocols) == 1:
            self.built.callback(protocol)
        return protocol


class QuicSocketTests(TestCase):
    """Loopback."""

    timeout = 60  # type: ignore[assignment]

    def setUp(self) -> None:
        directory = Path(self.mktemp())
        directory.mkdir()
        self.credentials = make_credentials(directory)

    async def listen(self, factory: Any, interface: str = "127.0.0.1") -> Any:
        """Return our port."""
        escaped = interface.replace(":", "\\:")
        endpoint = serverFromString(
            reactor,
            f"quic:0:interface={escaped}:certificate={self.credentials.certificate}"
            f":privateKey={self.credentials.key}",
        )
        return await endpoint.listen(factory)

    async def connect(self, factory: Any, port: int, host: str = "127.0.0.1") -> Any:
        """Return our client's protocol."""
        escaped = host.replace(":", "\\:")
        endpoint = clientFromString(
            reactor, f"quic:{escaped}:{port}:caFile={self.credentials.certificate}"
        )
        return await endpoint.connect(factory)

    def spawn(self, program: str, *arguments: str) -> _Child:
        """Start another Python."""
        child = _Child()
        command = [sys.executable, "-c", program, *arguments]
        reactor.spawnProcess(child, sys.executable, command, env=None)
        return child

    async def test_our_two_ends(self) -> None:
        """Half a megabyte each way, then a clean end."""
        await self._exchange("127.0.0.1", "127.0.0.1")

    async def test_our_two_ends_over_ipv6(self) -> None:
        """The same."""
        await self._exchange("::1", "::1")

    async def test_a_dual_stack_port_takes_ipv4(self) -> None:
        """Its peers look as Twisted shows them."""
        server = await self._exchange("::", "127.0.0.1")
        self.assertEqual(server.transport.getPeer().host, "::ffff:127.0.0.1")

    async def _exchange(self, interface: str, host: str) -> Any:
        accepting, connecting = _EndedFactory(), _EndedFactory()
        port = await self.listen(accepting, interface)
        client = await self.connect(connecting, port.getHost().port, host)
        data = bytes(range(256)) * 2000
        client.transport.write(data)
        client.transport.loseConnection()
        server = await accepting.built
        await client.ended
        await server.ended
        self.assertEqual(bytes(server.received), data)
        self.assertIs(client.reason.type, ConnectionDone)
        self.assertIs(server.reason.type, ConnectionDone)
        await port.stopListening()
        return server

    async def test_nobody_there_is_told_at_once(self) -> None:
        """The kernel's ICMP error."""
        port = await self.listen(_EndedFactory())
        number = port.getHost().port
        await port.stopListening()
        with self.assertRaises(ConnectionRefusedError):
            await self.connect(_EndedFactory(), number)

    async def test_a_socket_outlives_a_refusal(self) -> None:
        """A server that comes back in time never was away."""
        accepting = _EndedFactory()
        port = await self.listen(accepting)
        client = await self.connect(_EndedFactory(), port.getHost().port)
        client.transport.write(b"one")
        server = await accepting.built
        refused: Deferred[None] = Deferred()
        quic_client = client.transport._driver._side
        self.patch(
            quic_client,
            "connectionRefused",
            lambda: refused.called or refused.callback(None),
        )
        quic_client._udp.connectionLost(Failure(ConnectionLost()))
        await refused
        client.transport.write(b" two")
        client.transport.loseConnection()
        await server.ended
        await client.ended
        self.assertEqual(bytes(server.received), b"one two")
        await port.stopListening()

    async def test_aioquics_own_client_talks_to_our_server(self) -> None:
        """With the certificate checked, an answer, and an end from either side."""
        accepting = _EndedFactory()
        port = await self.listen(accepting)
        child = self.spawn(
            _CLIENT, "127.0.0.1", str(port.getHost().port), self.credentials.certificate
        )
        server = await accepting.built
        server.on_data = lambda data: server.transport.write(data)
        try:
            (reason,) = await child.ended
        except BaseException:
            child.transport.signalProcess("KILL")  # type: ignore[union-attr]
            raise
        self.assertIs(reason.type, ProcessDone, child.errors)
        self.assertEqual(child.output, b"done\n")
        if server.reason is None:
            await server.ended
        self.assertIs(server.reason.type, ConnectionDone)
        self.assertEqual(bytes(server.received), b"question" * 1000)
        await port.stopListening()

    async def test_our_client_talks_to_aioquics_own_server(self) -> None:
        """Which asks for a Retry, and echoes."""
        child = self.spawn(_SERVER, self.credentials.certificate, self.credentials.key)
        try:
            number = int(await child.line)
            client = await self.connect(_EndedFactory(), number)
            echoed: Deferred[None] = Deferred()

            def count(data: bytes) -> None:
                if len(client.received) == 200_000:
                    echoed.callback(None)

            client.on_data = count
            client.transport.write(b"0123456789" * 20_000)
            await echoed
            client.transport.loseConnection()
            await client.ended
        finally:
            child.transport.signalProcess("KILL")  # type: ignore[union-attr]
            await child.ended
        self.assertEqual(bytes(client.received), b"0123456789" * 20_000)
        self.assertIs(client.reason.type, ConnectionDone)
