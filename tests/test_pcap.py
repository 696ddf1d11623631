"""The capture writer that other tests rely on: tshark must find its packets faultless."""

from __future__ import annotations

import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.pcap import PcapWriter, run_tshark, skip_without_tshark

_GOOD = "1"
_FIELDS = ("ip.checksum.status", "tcp.checksum.status", "tcp.stream", "tcp.len")


class PcapTests(SynchronousTestCase):
    """PcapWriter and TcpStream."""

    def test_tcp_streams(self) -> None:
        """Handshake, segments in order, both directions, both IP versions, good checksums."""
        skip_without_tshark()
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "tcp.pcap"
            with PcapWriter(path) as pcap:
                first = pcap.tcp(("192.0.2.1", 50000), ("192.0.2.2", 9))
                first.from_client(b"x" * 2500)
                first.from_server(b"answer", segment=4)
                second = pcap.tcp(("2001:db8::1", 50000), ("2001:db8::2", 9), handshake=False)
                second.from_server(b"odd")
            packets = run_tshark(path, _FIELDS)
        lengths = [packet["tcp.len"] for packet in packets]
        expected = [0, 0, 0, 1200, 1200, 100, 4, 2, 3]
        self.assertEqual(lengths, [[str(length)] for length in expected])
        self.assertEqual([packet["tcp.stream"] for packet in packets], [["0"]] * 8 + [["1"]])
        for packet in packets:
            self.assertEqual(packet["tcp.checksum.status"], [_GOOD])
        self.assertEqual([packet["ip.checksum.status"] for packet in packets[:8]], [[_GOOD]] * 8)
