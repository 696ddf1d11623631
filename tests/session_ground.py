"""A Map-Server and an ETR as services on loopback, over whatever transport a subclass names."""

from __future__ import annotations

import gc
import os
import socket
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.endpoints import clientFromString
from twisted.internet.task import deferLater

from lispmsrt import Etr, MapServer, parse_config
from lispmsrt.clock import MonotonicClock
from lispmsrt.mapping.etr_states import EtrState
from lispmsrt.protocols import SessionProtocol
from lispmsrt.services.link import MapServerLink
from lispmsrt.session.map_server import MapServerSession
from lispmsrt.transports.handshakes import HandshakeLimits, Handshakes
from lispmsrt.wire.addresses import Address, EidPrefix
from lispmsrt.wire.records import Locator, MappingRecord
from tests.builders import Etr as EtrHand
from tests.builders import Secret, eid, locator, record
from tests.rim import ETR_HOST, MAP_SERVER_HOST, Listener, etr_text, site_text
from tests.running import free_port
from tests.session_blackhole import internet_sockets
from tests.session_peers import RawPeer, raw_peers

__all__ = ["ACK", "HAND_HOST", "REFRESH", "STRANGER", "Hand", "SessionGround"]

HAND_HOST = "127.0.0.3"
"""Where peers are whose every octet is a test's."""

STRANGER = "127.0.0.99"
_KEY = Secret(0, 2, b"campus secret")
_PATIENCE = 90.0
"""Seconds after which something will never come about, however slow the machine is."""

_LOCATORS = (Locator(Address.from_text(ETR_HOST), 1, 100, local=True, reachable=True),)

_SMALL_BUFFER = 65_536
_QUICK_TCP = """
keepalive-idle = 1
keepalive-interval = 1
keepalive-probes = 2
user-timeout = 2.0
"""


def _toml(strings: list[str]) -> str:
    # Literal strings: an endpoint string may have backslashes.
    return "[" + ", ".join(f"'{each}'" for each in strings) + "]"


REFRESH, ACK = 15, 19
"""Octets of a Refresh of everything, and of an ACK for a Hand's Registration."""


class Hand(EtrHand):
    """The hand of an ETR with one EID-prefix of its own."""

    def __init__(self, host: str, number: int) -> None:
        super().__init__(host, key=_KEY, xtr_id=1000 + number)
        self.eid = f"10.9.{number}.0/24"
        self.record = record(eid(self.eid), locator(host))
        self.withdrawal = record(eid(self.eid), ttl=0)

    def one(self) -> bytes:
        """Return a Registration."""
        return self.registration(self.record)


class SessionGround:
    """What a test needs; mixed into a TestCase. Subclasses say how their endpoints are written."""

    timeout = 200

    name = "TCP"
    "what the transport is called in events and leases"
    speaks_first = True
    "whether a Map-Server's session can begin before its peer has written anything"
    registrations = 100_000
    "of an ETR that brings many"

    # For subclasses

    def server_string(self, port: int, *, quick: bool = False) -> str:
        """Return how a Map-Server listens on this port; ``quick``: it notices a dead path within
        seconds.
        """
        raise NotImplementedError

    def client_string(self, port: int, host: str, *, quick: bool = False) -> str:
        """Return how a peer at this address connects."""
        raise NotImplementedError

    def server_strings(self, *, quick: bool = False) -> list[str]:
        """Return all that the Map-Server listens on."""
        return [self.server_string(self.stream_port, quick=quick)]

    def client_strings(self, *, quick: bool = False) -> list[str]:
        """Return all that the ETR tries, in its order."""
        return [self.client_string(self.stream_port, ETR_HOST, quick=quick)]

    def unsent(self, stream: Any) -> int:
        """Return how many octets a transport holds that its network has not taken."""
        return len(stream.dataBuffer) + stream._tempDataLen

    def socket_of(self, stream: Any) -> socket.socket | None:
        """Return the socket that is a transport's alone, if there is one."""
        handle: socket.socket | None = getattr(stream, "getHandle", lambda: None)()
        return handle

    # Services

    def setUp(self) -> None:
        """Nothing is open that will not be closed again."""
        before = self.sockets()
        self.addCleanup(self._until_closed, before)
        self.port = free_port(MAP_SERVER_HOST, ETR_HOST)
        self.stream_port = self.other_port()
        self.hands = 0
        self.peers: list[RawPeer] = []

    def other_port(self) -> int:
        """Return a port that is free and not the control plane's."""
        while (port := free_port(MAP_SERVER_HOST, ETR_HOST)) == self.port:
            pass
        return port

    def sockets(self) -> list[tuple[int, Any]]:
        """Return kind and address of all that is open."""
        return sorted((each.type, each.getsockname()) for each in internet_sockets())

    async def _until_closed(self, before: list[tuple[int, Any]]) -> None:
        await self.until(lambda: self.sockets() == before, "every socket was closed")

    async def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait for what must come about."""
        clock = MonotonicClock(reactor)
        end = clock.seconds() + _PATIENCE
        while not condition():
            assert clock.seconds() < end, f"it never came to this: {what}"
            await deferLater(reactor, 0.005)

    def server_text(self, *, quick: bool = False) -> str:
        """Return the Map-Server's configuration."""
        sites = site_text("campus", "10.0.0.0/8", "7 10.1.0.0/16", "2001:db8::/32")
        return f"""
[map-server]
control = ["{MAP_SERVER_HOST}:{self.port}"]
reliable-transport = {_toml(self.server_strings(quick=quick))}
[map-server.tcp]
{_QUICK_TCP if quick else ""}
{sites}
"""

    def etr_text(self, *mappings: str, quick: bool = False, options: str = "") -> str:
        """Return the ETR's configuration: it is in no hurry over UDP, but comes back at once."""
        text = etr_text(
            *mappings,
            options="rearm-delay = 0.02\nbackoff-initial = 0.02\nbackoff-maximum = 0.1\n"
            f"{options}\n[etr.tcp]\n{_QUICK_TCP if quick else ''}",
            server_options="transports = []",
        )
        # Endpoint strings come last: a port of theirs may have these digits.
        text = text.replace(":4342", f":{self.port}")
        return text.replace("[]", _toml(self.client_strings(quick=quick)))

    def start_server(self, *, quick: bool = False, **limits: float) -> MapServer:
        """Start a Map-Server with these limits of a session."""
        config = parse_config(self.server_text(quick=quick))
        assert config.map_server is not None
        self.server = MapServer(config.map_server, config.site, reactor)
        self.server._limits = replace(self.server._limits, **limits)  # type: ignore[arg-type]
        self.server.startService()
        self.addCleanup(self.stop, self.server)
        return self.server

    def start_etr(
        self,
        *mappings: str,
        quick: bool = False,
        options: str = "",
        many: int = 0,
        **limits: float,
    ) -> tuple[Etr, Listener]:
        """Start an ETR with so many more mappings, and with these limits of a session."""
        config = parse_config(self.etr_text(*mappings, quick=quick, options=options))
        listener = Listener()
        assert config.etr is not None
        etr = Etr(config.etr, reactor, listener=listener)
        link = etr.links[0]
        link._limits = replace(link._limits, **limits)  # type: ignore[arg-type]
        for prefix in self.eids(many):
            link.register(self.mapping_of(prefix), awaited=False)
        etr.startService()
        self.addCleanup(self.stop, etr)
        return etr, listener

    async def stop(self, service: Etr | MapServer) -> None:
        """Stop a service, if it is running; a Map-Server has nobody on its books any more then."""
        if service.running:
            await service.stopService()
        if isinstance(service, MapServer):
            self.assertEqual((service.armory._claimed, service.sessions), (0, []))

    async def start_both(
        self, *mappings: str, quick: bool = False, **limits: float
    ) -> tuple[Etr, Listener]:
        """Start both and wait for their session."""
        self.start_server(quick=quick)
        etr, listener = self.start_etr(*(mappings or ("10.1.1.0/24",)), quick=quick, **limits)
        await self.until_registered(etr)
        return etr, listener

    async def until_registered(self, etr: Etr) -> None:
        """Wait until everything that the ETR means is acknowledged on a session, and live."""
        link = etr.links[0]
        await self.until(
            lambda: (
                link.session is not None
                and link.session.was_established
                and not link.registrations.unanswered
                and not link.registrations.due
                and self._are_live(link)
            ),
            "everything is registered on a session",
        )

    def _are_live(self, link: MapServerLink) -> bool:
        entries = link.registrations.entries.values()
        if any(entry.state is EtrState.ACK_WAIT for entry in entries):
            return False
        held = list(self.server.database.registrations())
        wanted = sum(entry.state is EtrState.STABLE for entry in entries)
        return len(held) >= wanted and all(each.lease.is_live for each in held)

    def held(self) -> set[str]:
        """Return the EID-prefixes in the database."""
        return {str(each.decode().eid) for each in self.server.database.registrations()}

    def stream_of(self, etr: Etr) -> Any:
        """Return the transport of an ETR's session."""
        protocol = etr.links[0].protocol
        assert protocol is not None and protocol.transport is not None
        return protocol.transport

    def server_end(self, session: MapServerSession) -> SessionProtocol:
        """Return what a session of the Map-Server runs in."""
        return self.server.session_protocols[session]

    def handshakes(self) -> Handshakes:
        """Return what counts them at the Map-Server; an idle one where there are none."""
        for port in self.server._listeners._ports.values():
            for holder in (port, getattr(port, "factory", None)):
                if isinstance(found := getattr(holder, "handshakes", None), Handshakes):
                    return found
        return Handshakes()

    def hurry_handshakes(self, seconds: float) -> None:
        """Have the Map-Server wait so long for them."""
        self.handshakes().limits = HandshakeLimits(timeout=seconds)

    # Peers by hand

    def hand(self, host: str = HAND_HOST) -> Hand:
        """Return the hand of an ETR that nobody has seen before."""
        self.hands += 1
        return Hand(host, self.hands)

    async def arm(self, hand: Hand) -> None:
        """Authenticate over UDP: the next connection from the hand's address is let in."""
        host = socket.inet_ntoa(hand.source[0])
        counters = self.server.armory.counters
        earlier = counters["tokens"]
        register = hand.map_register(hand.record)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.bind((host, 0))
            udp.sendto(register, (MAP_SERVER_HOST, self.port))
            await self.until(lambda: counters["tokens"] > earlier, "the peer is armed")

    async def connect(self, host: str = HAND_HOST, text: str = "") -> RawPeer:
        """Connect, armed or not, by this endpoint string if there is one."""
        text = text or self.client_string(self.stream_port, host)
        endpoint = clientFromString(reactor, text)
        peer: RawPeer = await endpoint.connect(raw_peers(reactor, lambda peer: None))
        if not self.peers:
            # Before services stop: one that reads nothing is waited for.
            self.addCleanup(self._part)
        self.peers = [each for each in self.peers if each.is_connected]
        self.peers.append(peer)
        return peer

    async def _part(self) -> None:
        for peer in self.peers:
            if peer.is_connected:
                peer.stream.abortConnection()
        await self.until(
            lambda: not any(peer.is_connected for peer in self.peers), "connections have ended"
        )

    async def session_by_hand(
        self, hand: Hand | None = None
    ) -> tuple[RawPeer, Hand, MapServerSession]:
        """Have a session whose peer is a test's, bound by one Registration."""
        hand = hand or self.hand()
        await self.arm(hand)
        earlier = self.server.sessions
        peer = await self.connect()
        peer.stream.write(hand.one())

        def bound() -> list[MapServerSession]:
            sessions = self.server.sessions
            return [each for each in sessions if each.lease and each not in earlier]

        await self.until(bound, "the session is bound")
        (session,) = bound()
        await self.until(lambda: self.is_answered(peer, 1), "the Registration is answered")
        return peer, hand, session

    def is_answered(self, peer: RawPeer, count: int) -> bool:
        """Whether this many Registrations of a peer were acknowledged."""
        return len(peer.received) >= self.answered_size(count)

    def answered_size(self, count: int) -> int:
        """Return how much a peer has read when that is all."""
        return REFRESH + count * ACK

    def mapping_of(self, prefix: EidPrefix) -> MappingRecord:
        """Return a mapping of an EID-prefix."""
        return MappingRecord(prefix, 1440, _LOCATORS)

    def shrink_buffers(self, *streams: Any) -> None:
        """Have the kernel hold less, where it holds anything: it gives way to a test sooner."""
        for stream in streams:
            handle = self.socket_of(stream)
            if handle is not None:
                for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                    handle.setsockopt(socket.SOL_SOCKET, option, _SMALL_BUFFER)

    # The process

    def garbage_free_objects(self) -> int:
        """Return how many objects the collector knows once it has collected, and trial forgotten
        the warnings that it keeps: what is below OpenSSL's wrapper issues them by the connection.
        """
        self.flushWarnings()
        gc.collect()
        return len(gc.get_objects())

    def resident_memory(self) -> int:
        """Return what the process occupies, in octets."""
        pages = Path("/proc/self/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def eids(self, count: int) -> list[EidPrefix]:
        """Return different ones, 10.16.0.0/32 and so on."""
        first = struct.unpack("!I", socket.inet_aton("10.16.0.0"))[0]
        return [
            EidPrefix.from_text(f"{socket.inet_ntoa(struct.pack('!I', first + number))}/32")
            for number in range(count)
        ]
