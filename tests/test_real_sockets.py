"""Both services over loopback: what only a kernel's sockets can show, of UDP and TCP.

What every transport must show is in tests/session_suite.py.
"""

from __future__ import annotations

import gc
import os
import resource
import socket

from twisted.internet.threads import deferToThread
from twisted.logger import capturedLogs
from twisted.trial.unittest import TestCase

from lispmsrt.sockets import TcpOptions
from tests.rim import MAP_SERVER_HOST, mapping
from tests.session_ground import STRANGER, SessionGround
from tests.session_transports import OverTcp

_CONNECTIONS = 10_000 if os.environ.get("LISPMSRT_LONG") else 2_000


def _knock(port: int, count: int) -> dict[str, int]:
    """Connect as a stranger, again and again, and say what became of it."""
    ends: dict[str, int] = {}
    for _connection in range(count):
        with socket.socket() as knocking:
            knocking.bind((STRANGER, 0))
            knocking.settimeout(10)
            try:
                knocking.connect((MAP_SERVER_HOST, port))
                knocking.sendall(bytes(64))
                end = f"{len(knocking.recv(100))} octets"
            except OSError as failure:
                end = type(failure).__name__
            ends[end] = ends.get(end, 0) + 1
    return ends


class RealSocketTests(OverTcp, SessionGround, TestCase):
    """A Map-Server, and who comes to it."""

    async def test_granted_receive_buffers_are_shown(self) -> None:
        """By both services, as the kernel granted them."""
        etr, _listener = await self.start_both()
        (granted,) = self.server.udp.granted.values()
        self.assertGreaterEqual(granted, 65_536)
        self.assertEqual(etr.receive_buffer, granted)

    async def test_strangers_are_reset_unread_and_cost_nothing(self) -> None:
        """Thousands of connections; the session that is there takes no harm."""
        etr, listener = await self.start_both("10.1.1.0/24")
        await etr.register(mapping("10.1.2.0/24"))
        await deferToThread(_knock, self.stream_port, 50)
        gc.collect()
        before, objects = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, len(gc.get_objects())
        with capturedLogs() as events:
            ends = await deferToThread(_knock, self.stream_port, _CONNECTIONS)
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

    async def test_connections_get_the_configured_options(self) -> None:
        """On both ends."""
        etr, _listener = await self.start_both("10.1.1.0/24")
        (session,) = self.server.sessions
        for transport in (self.stream_of(etr), self.server_end(session).transport):
            handle = transport.getHandle()
            idle = handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
            self.assertIn(idle, range(5, TcpOptions().keepalive_idle + 1))
