"""Both services over loopback: real sockets, real time, and peers that behave badly."""

from __future__ import annotations

import gc
import os
import resource
import socket
import struct
from collections.abc import Callable
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.logger import capturedLogs
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from lispmsrt import EidPrefix, Etr, MapServer, RegistrationRejected, parse_config
from lispmsrt.session.limits import SessionLimits
from lispmsrt.sockets import TcpOptions
from tests.builders import Etr as EtrHand
from tests.builders import Secret, eid, frame, locator, record
from tests.rim import Listener, etr_text, map_server_text, mapping, site_text
from tests.running import free_port

_KEY = Secret(0, 2, b"campus secret")
_LOOP = "127.0.0.1"
_STRANGER = "127.0.0.99"
_CONNECTIONS = 10_000 if os.environ.get("LISPMSRT_LONG") else 2_000


class _Quiet(Protocol):
    """A peer that says what it is told and notes how it ended."""

    def __init__(self) -> None:
        self.received = 0
        self.ended: Deferred[str] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.received += len(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ended.callback(reason.type.__name__)


def _knock(port: int, count: int) -> dict[str, int]:
    """Connect as a stranger, again and again, and say what became of it."""
    ends: dict[str, int] = {}
    for _connection in range(count):
        with socket.socket() as knocking:
            knocking.bind((_STRANGER, 0))
            knocking.settimeout(10)
            try:
                knocking.connect((_LOOP, port))
                knocking.sendall(bytes(64))
                end = f"{len(knocking.recv(100))} octets"
            except OSError as failure:
                end = type(failure).__name__
            ends[end] = ends.get(end, 0) + 1
    return ends


class RealSocketTests(TestCase):
    """A Map-Server, and who comes to it."""

    timeout = 100

    def setUp(self) -> None:
        """Start the Map-Server on a free port."""
        self.port = free_port(_LOOP, "127.0.0.2")
        sites = site_text("campus", "10.1.0.0/16", "7 10.1.0.0/16", "2001:db8::/32")
        config = parse_config(map_server_text(sites, port=self.port))
        assert config.map_server is not None
        self.server = MapServer(config.map_server, config.site, reactor)
        self.server.startService()
        self.addCleanup(self.server.stopService)

    def _etr(self, *mappings: str) -> tuple[Etr, Listener]:
        text = etr_text(*mappings, server_options=f'transports = ["tcp:{_LOOP}:{self.port}"]')
        config = parse_config(text.replace("4342", str(self.port)))
        listener = Listener()
        assert config.etr is not None
        etr = Etr(config.etr, reactor, listener=listener)
        etr.startService()
        self.addCleanup(etr.stopService)
        return etr, listener

    async def _until(self, condition: Callable[[], object]) -> None:
        for _turn in range(3000):
            if condition():
                return
            await deferLater(reactor, 0.01)
        raise AssertionError("it never came to that")

    async def _session(self, host: str = "127.0.0.3") -> tuple[_Quiet, EtrHand]:
        """Authenticate over UDP by hand and connect."""
        hand = EtrHand(host, key=_KEY)
        register = hand.map_register(record(eid("10.1.9.0/24"), locator(host)))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.bind((host, 0))
            udp.setblocking(False)
            udp.sendto(register, (_LOOP, self.port))
            await self._until(lambda: self.server.armory.counters["tokens"])
        client = _Quiet()
        endpoint = TCP4ClientEndpoint(reactor, _LOOP, self.port, bindAddress=(host, 0))
        await connectProtocol(endpoint, client)
        await self._until(lambda: client.received)
        return client, hand

    async def test_a_full_life(self) -> None:
        """Authenticate, register, change, be refused, withdraw, lose the session, come back."""
        etr, listener = self._etr("10.1.1.0/24")
        await etr.register(mapping("10.1.2.0/24"))
        await etr.register(mapping("10.1.2.0/24", instance_id=7))
        await etr.register(mapping("2001:db8:1::/48"))
        await etr.register(mapping("10.1.2.0/24", priority=5))
        rejected = await self.assertFailure(
            etr.register(mapping("192.0.2.0/24")), RegistrationRejected
        )
        self.assertEqual(rejected.reason, 1)
        await etr.withdraw(EidPrefix.from_text("10.1.1.0/24"))
        held = {str(r.decode().eid): r for r in self.server.database.registrations()}
        self.assertEqual(set(held), {"10.1.2.0/24", "[7] 10.1.2.0/24", "2001:db8:1::/48"})
        self.assertEqual(held["10.1.2.0/24"].decode().locators[0].priority, 5)
        self.server.reset(self.server.sessions[0])
        await self._until(lambda: listener.names().count("up") == 2)
        self.assertEqual(listener.names()[:4], ["up", "rejected", "down", "up"])
        await self._until(
            lambda: all(r.lease.is_live for r in self.server.database.registrations())
        )
        self.assertEqual(len(self.server.database), 3)

    async def test_granted_receive_buffers_are_shown(self) -> None:
        """By both services, as the kernel granted them."""
        etr, _listener = self._etr()
        (granted,) = self.server.receive_buffers.values()
        self.assertGreaterEqual(granted, 65_536)
        self.assertEqual(etr.receive_buffer, granted)

    async def test_strangers_are_reset_unread_and_cost_nothing(self) -> None:
        """Thousands of connections; the session that is there takes no harm."""
        etr, listener = self._etr("10.1.1.0/24")
        await etr.register(mapping("10.1.2.0/24"))
        await deferToThread(_knock, self.port, 50)
        gc.collect()
        before, objects = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, len(gc.get_objects())
        with capturedLogs() as events:
            ends = await deferToThread(_knock, self.port, _CONNECTIONS)
        self.assertEqual(set(ends) - {"ConnectionResetError", "BrokenPipeError"}, set(), ends)
        self.assertEqual(self.server.armory.counters["connections refused"], _CONNECTIONS + 50)
        gc.collect()
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        self.assertLess(grown, 8 * 1024, "kilobytes")
        self.assertLess(len(gc.get_objects()) - objects, 2000)
        self.assertLess(len(events), 5)
        self.assertEqual(len(self.server.sessions), 1)
        await etr.register(mapping("10.1.3.0/24"))
        self.assertEqual(listener.names(), ["up"])

    async def test_a_peer_that_never_reads_is_bounded_and_dropped(self) -> None:
        """The Map-Server stops reading it too, and gives it up."""
        self.server._limits = SessionLimits(unread_timeout=1.0)
        client, hand = await self._session()
        client.transport.pauseProducing()
        chunk = b"".join(
            hand.registration(record(eid("10.1.9.0/24"), locator("127.0.0.3"))) for _ in range(64)
        )
        client.transport.registerProducer(_Endless(client.transport, chunk), False)
        protocol = next(iter(self.server._protocols))
        session = self.server.sessions[0]
        highest = 0
        while session.close_reason is None:
            await deferLater(reactor, 0.005)
            transport: Any = protocol.transport
            highest = max(highest, len(transport.dataBuffer) + transport._tempDataLen)
        self.assertEqual(session.close_reason.name, "NOT_READING")
        self.assertLess(highest, 1 << 18)
        client.transport.unregisterProducer()
        client.transport.resumeProducing()
        await client.ended
        self.assertEqual(self.server.sessions, [])

    async def test_a_peer_that_sends_a_header_and_stops_is_dropped(self) -> None:
        """It holds memory for nothing."""
        self.server._limits = SessionLimits(message_timeout=0.2)
        client, _hand = await self._session()
        session = self.server.sessions[0]
        client.transport.write(frame(17, bytes(8000))[:8])
        self.assertEqual(await client.ended, "ConnectionLost")
        self.assertEqual(session.close_reason.name, "MESSAGE_TIMEOUT")

    async def test_a_session_that_is_killed_heals(self) -> None:
        """By a reset from outside, ten times over."""
        _etr, listener = self._etr("10.1.1.0/24")
        await self._until(lambda: "up" in listener.names())
        link = _etr.links[0]
        # The wait before the new Map-Register is a random part of this.
        link.control._timers = type(link.control._timers)(rearm_delay=0.02)
        for count in range(2, 12):
            assert link._protocol is not None and link._protocol.transport is not None
            handle = link._protocol.transport.getHandle()  # type: ignore[attr-defined]
            handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            link._protocol.transport.abortConnection()  # type: ignore[attr-defined]
            await self._until(lambda count=count: listener.names().count("up") == count)
            self.assertEqual(len(self.server.database), 1)
        self.assertEqual(len(self.server.sessions), 1)

    async def test_connections_get_the_configured_options(self) -> None:
        """On both ends."""
        etr, _listener = self._etr("10.1.1.0/24")
        await etr.register(mapping("10.1.2.0/24"))
        near = etr.links[0]._protocol
        for protocol in (near, next(iter(self.server._protocols))):
            assert protocol is not None
            handle = protocol.transport.getHandle()
            idle = handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
            self.assertEqual(idle, TcpOptions().keepalive_idle)


class _Endless:
    """A producer of one chunk, again and again."""

    def __init__(self, transport: Any, chunk: bytes) -> None:
        self._transport, self._chunk = transport, chunk

    def resumeProducing(self) -> None:
        self._transport.write(self._chunk)

    def stopProducing(self) -> None:
        pass
