"""Each transport, and the control plane, over a path with delay: relays between both ends."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from tests.faults_ground import FaultGround
from tests.faults_relay import Path, TcpRelay, UdpRelay
from tests.rim import ETR_HOST, MAP_SERVER_HOST
from tests.session_transports import OverQuic, OverTcp, OverTls, OverUserSctp

_BAD = Path(delay=0.01, jitter=0.05, loss=0.05, duplication=0.05)
_SLOW = Path(delay=0.01, jitter=0.02)


class DelayTests(FaultGround):
    """What the ETR speaks to is the relays."""

    stream_relay: Any = TcpRelay
    stream_path = _SLOW

    def setUp(self) -> None:
        """Relays listen before there is anything behind them."""
        super().setUp()
        self.relays: list[Any] = []
        self.near_port, self.near_stream_port = (
            self._relay(UdpRelay, _BAD, self.port),
            self._relay(self.stream_relay, self.stream_path, self.stream_port),
        )

    def _relay(self, kind: Any, path: Path, far_port: int) -> int:
        while (near := self.other_port()) == self.stream_port:
            pass
        relay = kind(reactor, path, (MAP_SERVER_HOST, near), ETR_HOST, (MAP_SERVER_HOST, far_port))
        self.relays.append(relay)
        self.addCleanup(relay.close)
        return near

    def client_strings(self, *, quick: bool = False) -> list[str]:
        """The ETR connects to a relay."""
        return [self.client_string(self.near_stream_port, ETR_HOST, quick=quick)]

    def etr_text(self, *mappings: str, quick: bool = False, options: str = "") -> str:
        """The ETR registers at a relay."""
        text = super().etr_text(*mappings, quick=quick, options=options)
        there, here = f'"{MAP_SERVER_HOST}:{self.port}"', f'"{MAP_SERVER_HOST}:{self.near_port}"'
        assert there in text
        return text.replace(there, here)

    async def test_it_converges_however_late_things_come(self) -> None:
        """Up, changes, withdrawals, a reset, and everything is in the database in the end."""
        await self.live_through_faults()
        for relay in self.relays:
            self.assertGreater(relay.counters["carried"], 0)


class DelayOverTcpTests(OverTcp, DelayTests, TestCase):
    """Over TCP."""


class DelayOverTlsTests(OverTls, DelayTests, TestCase):
    """Over TLS."""


class DelayOverQuicTests(OverQuic, DelayTests, TestCase):
    """Over QUIC, whose datagrams are lost, duplicated and overtaken besides."""

    stream_relay = UdpRelay
    stream_path = _BAD


class DelayOverUserSctpTests(OverUserSctp, DelayTests, TestCase):
    """Over SCTP in user space, likewise. Where an ABORT is lost, that is noticed as a dead path
    is.
    """

    quick = True
    stream_relay = UdpRelay
    stream_path = _BAD

    def client_strings(self, *, quick: bool = False) -> list[str]:
        """The relay is a UDP port: that of SCTP stays what it is."""
        (text,) = super().client_strings(quick=quick)
        near, far = self.near_stream_port, self.stream_port
        return [text.replace(f":{near}:", f":{far}:", 1)]
