"""A session over QUIC, captured and judged by tshark, which is given the key log."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from tests.pcap import PcapWriter, skip_without_tshark
from tests.rim import ETR_HOST, MAP_SERVER_HOST
from tests.session_ground import SessionGround
from tests.session_judges import JudgeMixin
from tests.session_relay import Relay
from tests.session_transports import OverQuic

_CLIENT, _SERVER = (ETR_HOST, 50_000), (MAP_SERVER_HOST, 4343)
_HOSTS = (ETR_HOST, MAP_SERVER_HOST)
_RELAY = "127.0.0.5"
_FIELDS = (
    "_ws.malformed",
    "ip.src",
    "quic.decryption_failed",
    "quic.long.packet_type",
    "quic.frame_type",
    "quic.stream.stream_id",
    "quic.stream.offset",
    "quic.stream.length",
    "quic.stream_data",
    "tls.handshake.type",
    "tls.handshake.extensions_alpn_str",
)
_INITIAL, _HANDSHAKE, _RETRY = "0", "2", "3"
_CLIENT_HELLO, _SERVER_HELLO, _CERTIFICATE, _FINISHED = "1", "2", "11", "20"


class SessionInTsharkTests(JudgeMixin, OverQuic, SessionGround, TestCase):
    """What an observer with the keys sees."""

    def setUp(self) -> None:
        """Skips where there is no tshark, but never under CI."""
        skip_without_tshark()
        super().setUp()
        self.key_log = Path(self.mktemp()).absolute()

    def client_string(self, port: int, host: str, *, quick: bool = False) -> str:
        """To the relay, with the key log."""
        text = super().client_string(self.relay.port, host, quick=quick)
        return text.replace(MAP_SERVER_HOST, _RELAY) + f":keyLog={self.key_log}"

    async def test_an_observer_with_the_keys_reads_the_session(self) -> None:
        """Retry, handshake, stream 0 and nothing else, and on it the octets of both ends."""
        self.relay = Relay(reactor, _RELAY, ETR_HOST, (MAP_SERVER_HOST, self.stream_port))
        self.addCleanup(self.relay.stop)
        etr, _listener = await self.start_both("10.1.1.0/24", "10.1.2.0/24", "10.1.3.0/24")
        sessions = etr.links[0].session, self.server.sessions[0]
        await self.stop(etr)
        await self.until(lambda: not self.server.sessions, "the session has ended")
        passed = self.relay.datagrams
        knock, retry = self._dissect(passed[:2])
        self.assertEqual(knock["quic.long.packet_type"], [_INITIAL])
        self.assertEqual(retry["quic.long.packet_type"], [_RETRY])
        # The second ClientHello has the octets of the first: tshark takes it for a retransmission,
        # and has no secrets for what follows.
        rows = self._dissect(passed[2:])
        self.assertEqual(len(rows), len(passed) - 2)
        self._assert_handshake(rows)
        streams = [self._stream(rows, host) for host in _HOSTS]
        self.assertEqual(
            [len(stream) for stream in streams],
            [session.counters["octets out"] for session in sessions],
        )
        self.assert_is_a_session(*streams)

    def _dissect(self, datagrams: list[tuple[bool, bytes]]) -> list[dict[str, list[str]]]:
        path = Path(self.mktemp())
        with PcapWriter(path) as writer:
            for from_client, datagram in datagrams:
                ends = (_CLIENT, _SERVER) if from_client else (_SERVER, _CLIENT)
                writer.udp(*ends, datagram)
        self.assertEqual(os.stat(self.key_log).st_mode & 0o777, 0o600)
        command = ["tshark", "-n", "-r", str(path), "-d", "udp.port==4343,quic", "-T", "fields"]
        command += ["-o", f"tls.keylog_file:{self.key_log}", "-E", "aggregator=|"]
        for field in _FIELDS:
            command += ["-e", field]
        ran = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
        return [
            dict(
                zip(
                    _FIELDS,
                    (value.split("|") if value else [] for value in line.split("\t")),
                    strict=True,
                )
            )
            for line in ran.stdout.splitlines()
        ]

    def _assert_handshake(self, rows: list[dict[str, list[str]]]) -> None:
        def seen(field: str, host: str) -> set[str]:
            return {value for row in rows if row["ip.src"] == [host] for value in row[field]}

        for field in ("_ws.malformed", "quic.decryption_failed"):
            self.assertEqual([row for row in rows if row[field]], [])
        for host in _HOSTS:
            self.assertEqual(seen("quic.long.packet_type", host), {_INITIAL, _HANDSHAKE})
        self.assertIn(_CLIENT_HELLO, seen("tls.handshake.type", ETR_HOST))
        self.assertLessEqual(
            {_SERVER_HELLO, _CERTIFICATE, _FINISHED}, seen("tls.handshake.type", MAP_SERVER_HOST)
        )
        self.assertEqual(seen("tls.handshake.extensions_alpn_str", ETR_HOST), {"lisp-rt"})

    def _stream(self, rows: list[dict[str, list[str]]], host: str) -> bytes:
        """Put the octets of one direction in order."""
        pieces: dict[int, bytes] = {}
        for row in rows:
            if row["ip.src"] != [host] or not row["quic.stream.stream_id"]:
                continue
            self.assertEqual(row["quic.stream.stream_id"], ["0"])
            # What begins the stream needs no offset, and what only ends it has no data.
            (offset,) = row["quic.stream.offset"] or ["0"]
            if row["quic.stream.length"] != ["0"]:
                pieces[int(offset)] = bytes.fromhex(row["quic.stream_data"][0])
        octets = b""
        for offset, piece in sorted(pieces.items()):
            self.assertEqual(offset, len(octets))
            octets += piece
        return octets
