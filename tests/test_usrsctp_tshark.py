"""tshark dissects what the stack in user space sends: an oracle that shares no code."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.pcap import PcapWriter, skip_without_tshark
from tests.test_usrsctp_network import CLIENT, UsrsctpTestCase

_FIELDS = ("sctp.chunk_type", "sctp.checksum.status", "_ws.malformed", "_ws.expert.severity")
_GOOD = "1"
_ERROR = 0x00800000


class TsharkTests(UsrsctpTestCase):
    """A whole association."""

    def test_every_packet_is_well_formed_and_has_the_right_checksum(self) -> None:
        """UDP port 9899 is SCTP to tshark, too."""
        skip_without_tshark()
        client, server = self.connect()
        client.stream.write(b"registration" * 500)
        server.stream.write(b"acknowledgement" * 20)
        self.network.run(15)
        client.stream.loseConnection()
        self.network.run(1)
        other, _server = self.connect()
        other.stream.abortConnection()
        self.network.run(1)
        path = Path(self.mktemp())
        with PcapWriter(path) as capture:
            for source, to, data in self.network.sent:
                capture.udp(source, to, data)
        packets = self._dissect(path)
        self.assertEqual(len(packets), len(self.network.sent))
        seen = set()
        for packet in packets:
            seen |= set(packet["sctp.chunk_type"].split(","))
            self.assertEqual(packet["sctp.checksum.status"], _GOOD, packet)
            self.assertEqual(packet["_ws.malformed"], "", packet)
            severities = packet["_ws.expert.severity"].split(",")
            self.assertNotIn(str(_ERROR), severities, packet)
        # DATA, INIT, INIT ACK, SACK, HEARTBEAT and its answer, ABORT, SHUTDOWN and its two answers,
        # COOKIE ECHO and its answer.
        self.assertEqual({int(kind) for kind in seen}, {0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 14})
        self.assertIn(CLIENT, {source[0] for source, _to, _data in self.network.sent})

    def _dissect(self, path: Path) -> list[dict[str, str]]:
        command = ["tshark", "-n", "-r", str(path), "-o", "sctp.checksum:CRC-32C", "-T", "fields"]
        for field in _FIELDS:
            command += ["-e", field]
        result = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
        return [
            dict(zip(_FIELDS, line.split("\t"), strict=True)) for line in result.stdout.splitlines()
        ]
