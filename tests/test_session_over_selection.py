"""An ETR with several transports: the first that works carries the session, and until one does
registration goes on over UDP, whole.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from twisted.trial.unittest import TestCase

from lispmsrt import Etr
from lispmsrt.mapping.verdicts import Change
from lispmsrt.services.snapshots import TransportSnapshot, TransportState
from lispmsrt.transports.sctp import sockets
from tests.rim import ETR_HOST, MAP_SERVER_HOST, Listener
from tests.session_blackhole import Blackhole
from tests.session_certificates import map_server_certificate, other_pin
from tests.session_ground import SessionGround
from tests.session_transports import OverQuic, OverTcp, OverTls, OverUserSctp

_PREFIXES = tuple(f"10.1.{number}.0/24" for number in range(40))
"""More than fit into one Map-Register."""


class SelectionTests(SessionGround, TestCase):
    """What a transport may do that does not work, and what comes of it."""

    def setUp(self) -> None:
        super().setUp()
        self.listens: list[str] = []
        self.tries: list[str] = []
        self.lost: list[Change] = []

    def server_strings(self, *, quick: bool = False) -> list[str]:
        return self.listens

    def client_strings(self, *, quick: bool = False) -> list[str]:
        return self.tries

    def _have(self, over: Any, *, works: bool = True) -> int:
        """Add a transport to both lists, or just to the ETR's; return its port."""
        port = self.other_port()
        if works:
            self.listens.append(over().server_string(port, quick=True))
        self.tries.append(over().client_string(port, ETR_HOST, quick=True))
        return port

    def _start(self, **options: float) -> tuple[Etr, Listener]:
        """Start both; whatever is unregistered is noted."""
        server = self.start_server()
        changed = server.registrar._on_changes
        assert changed is not None

        def note(changes: Sequence[Change]) -> None:
            self.lost += [change for change in changes if change.after is None]
            changed(changes)

        server.registrar._on_changes = note
        text = {"registration-period": 0.3, "transport-timeout": 0.5, **options}
        return self.start_etr(
            *_PREFIXES, options="\n".join(f"{name} = {value}" for name, value in text.items())
        )

    def _transports(self, etr: Etr) -> tuple[TransportSnapshot, ...]:
        return etr.snapshot().map_servers[0].transports

    async def _assert_goes_on_to_tcp(self, **options: float) -> str:
        """The second transport is TCP, works, and is used; return what was wrong with the first."""
        self._have(OverTcp)
        etr, listener = self._start(**options)
        await self.until_registered(etr)
        self.assertEqual([event[::2] for event in listener.heard], [("up", "TCP")])
        self.assertEqual(self.held(), set(_PREFIXES))
        self.assertEqual(self.lost, [])
        first, second = self._transports(etr)
        self.assertEqual(
            (first.state, second.state), (TransportState.FAILED, TransportState.IN_USE)
        )
        self.assertGreaterEqual(first.failures, 1)
        self.assertEqual(second.reason, "")
        return first.reason

    @contextmanager
    def _silence(self, kind: int) -> Iterator[int]:
        """Give a port that is taken, and never answers."""
        hole = Blackhole()
        with socket.socket(socket.AF_INET, kind) as silent:
            silent.bind((MAP_SERVER_HOST, 0))
            if kind == socket.SOCK_STREAM:
                silent.listen()
            where = silent.getsockname()
            self.assertEqual(hole.open(lambda each: each.getsockname() == where), 1)
            yield where[1]

    async def test_a_refused_tcp_gives_way_at_once(self) -> None:
        """The other TCP port is nobody's."""
        self._have(OverTcp, works=False)
        reason = await self._assert_goes_on_to_tcp(**{"transport-timeout": 1000.0})
        self.assertIn("refused", reason)

    async def test_a_refused_tls_gives_way_at_once(self) -> None:
        """Nobody listens there."""
        self._have(OverTls, works=False)
        reason = await self._assert_goes_on_to_tcp(**{"transport-timeout": 1000.0})
        self.assertIn("refused", reason)

    async def test_a_refused_quic_gives_way_at_once(self) -> None:
        """The kernel says so by ICMP."""
        self._have(OverQuic, works=False)
        reason = await self._assert_goes_on_to_tcp(**{"transport-timeout": 1000.0})
        self.assertIn("refused", reason)

    async def test_a_silent_tcp_gives_way_after_its_time(self) -> None:
        """Its SYN is not answered."""
        await self._assert_silence_is_left(OverTcp, socket.SOCK_STREAM)

    async def test_a_silent_tls_gives_way_after_its_time(self) -> None:
        """The same."""
        await self._assert_silence_is_left(OverTls, socket.SOCK_STREAM)

    async def test_a_tls_that_never_shakes_hands_gives_way_after_its_time(self) -> None:
        """TCP connects, and that is all."""
        with socket.socket() as silent:
            silent.bind((MAP_SERVER_HOST, 0))
            silent.listen()
            self.tries.append(OverTls().client_string(silent.getsockname()[1], ETR_HOST))
            reason = await self._assert_goes_on_to_tcp()
        self.assertEqual(reason, "no connection within 0.5 s")

    async def test_a_silent_quic_gives_way_after_its_time(self) -> None:
        """Its Initial is not answered."""
        await self._assert_silence_is_left(OverQuic, socket.SOCK_DGRAM)

    async def test_a_silent_sctp_gives_way_after_its_time(self) -> None:
        """Its INIT, over UDP, is not answered."""
        await self._assert_silence_is_left(OverUserSctp, socket.SOCK_DGRAM)

    async def _assert_silence_is_left(self, over: Any, kind: int) -> None:
        with self._silence(kind) as port:
            self.tries.append(over().client_string(port, ETR_HOST, quick=True))
            reason = await self._assert_goes_on_to_tcp()
        self.assertEqual(reason, "no connection within 0.5 s")

    async def test_a_kernel_without_sctp_gives_way_at_once(self) -> None:
        """At both ends, which say why; the Map-Server goes on with what it can."""
        self.patch(sockets, "IPPROTO_SCTP", 253)  # for experiments (RFC 3692): nobody has it
        self.listens.append(f"sctp:{self.other_port()}:interface={MAP_SERVER_HOST}")
        self.tries.append(f"sctp:{MAP_SERVER_HOST}:{self.other_port()}")
        reason = await self._assert_goes_on_to_tcp(**{"transport-timeout": 1000.0})
        self.assertIn("this kernel has no SCTP", reason)
        tcp, sctp = self.server.snapshot().listeners
        self.assertEqual((tcp.transport, tcp.sessions, sctp.address), ("TCP", 1, ""))
        self.assertIn("this kernel has no SCTP", sctp.reason)

    async def test_a_tls_server_that_is_not_the_pinned_one_gives_way(self) -> None:
        """And the log says which key it has."""
        await self._assert_other_key_is_left("tls13")

    async def test_a_quic_server_that_is_not_the_pinned_one_gives_way(self) -> None:
        """And the log says which key it has."""
        await self._assert_other_key_is_left("quic")

    async def _assert_other_key_is_left(self, prefix: str) -> None:
        mine, port = map_server_certificate(), self.other_port()
        self.listens.append(
            f"{prefix}:{port}:interface={MAP_SERVER_HOST}"
            f":certificate={mine.certificate}:privateKey={mine.key}"
        )
        self.tries.append(
            f"{prefix}:{MAP_SERVER_HOST}:{port}:bindAddress={ETR_HOST}:pin={other_pin()}"
        )
        reason = await self._assert_goes_on_to_tcp()
        self.assertIn("not the pinned", reason)
        self.assertIn(mine.pin, reason)

    async def test_a_tls_server_that_demands_a_certificate_gives_way(self) -> None:
        """Its refusal comes after the client's end of the handshake is over (RFC 8446 §4.4.2.4)."""
        mine, port = map_server_certificate(), self.other_port()
        self.listens.append(OverTls().server_string(port))
        self.tries.append(f"tls13:{MAP_SERVER_HOST}:{port}:bindAddress={ETR_HOST}:pin={mine.pin}")
        reason = await self._assert_goes_on_to_tcp()
        self.assertIn("certificate", reason)

    async def test_while_nothing_works_udp_registers_everything(self) -> None:
        """Period after period, with complete records; what works at last takes over."""
        for over in (OverQuic, OverTls):
            self._have(over, works=False)
        port = self._have(OverTcp)
        etr, listener = self._start()
        hole = Blackhole()
        self.addCleanup(hole.close)
        hole.open(lambda each: each.getsockname() == (MAP_SERVER_HOST, port))
        counters = self.server.mapping.registrations.counters
        await self.until(lambda: self.held() == set(_PREFIXES), "UDP has registered all")
        registers = counters["Map-Registers in"]
        await self.until(
            lambda: all(each.failures > 1 for each in self._transports(etr)),
            "all were tried again",
        )
        await self.until(lambda: counters["Map-Registers in"] > registers + 20, "UDP goes on")
        self.assertEqual(listener.names(), [])
        for each in self.server.database.registrations():
            self.assertEqual(len(each.decode().locators), 1)
            self.assertFalse(each.lease.is_live)
        hole.close()
        await self.until_registered(etr)
        self.assertEqual([event[::2] for event in listener.heard], [("up", "TCP")])
        self.assertEqual((self.held(), self.lost), (set(_PREFIXES), []))
        states = [each.state.name for each in self._transports(etr)]
        self.assertEqual(states, ["FAILED", "FAILED", "IN_USE"])

    async def test_after_a_lost_session_the_first_has_its_turn_again(self) -> None:
        """It works by now."""
        port = self._have(OverQuic)
        self._have(OverTcp)
        etr, listener = self._start()
        hole = Blackhole()
        self.addCleanup(hole.close)
        hole.open(lambda each: each.getsockname() == (MAP_SERVER_HOST, port))
        await self.until_registered(etr)
        hole.close()
        self.stream_of(etr).abortConnection()
        await self.until(lambda: listener.names().count("up") == 2, "it is up again")
        await self.until_registered(etr)
        self.assertEqual(
            [event[2] for event in listener.heard if event[0] == "up"], ["TCP", "QUIC"]
        )
        self.assertEqual((self.held(), self.lost), (set(_PREFIXES), []))
        states = [each.state.name for each in self._transports(etr)]
        self.assertEqual(states, ["IN_USE", "IDLE"])

    async def test_a_transport_that_dies_gives_way_to_the_next(self) -> None:
        """The session is cut, and where it was nothing answers any more."""
        port = self._have(OverQuic)
        self._have(OverTcp)
        etr, listener = self._start()
        await self.until_registered(etr)
        hole = Blackhole()
        self.addCleanup(hole.close)
        hole.open(lambda each: each.getsockname() == (MAP_SERVER_HOST, port))
        self.stream_of(etr).abortConnection()
        await self.until(lambda: listener.names().count("up") == 2, "it is up again")
        await self.until_registered(etr)
        self.assertEqual(
            [event[2] for event in listener.heard if event[0] == "up"], ["QUIC", "TCP"]
        )
        self.assertEqual((self.held(), self.lost), (set(_PREFIXES), []))
