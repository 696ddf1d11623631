"""Everything that needs a kernel with SCTP, in one boot of the guest that has one."""

from __future__ import annotations

import os
import subprocess
from collections import Counter

from twisted.trial.unittest import SynchronousTestCase

from tests.guest.boot import SCRIPT, guest_run, skip_without_guest
from tests.pcap import run_tshark, skip_without_tshark

_FIELDS = (
    "_ws.malformed",
    "_ws.expert.severity",
    "frame.protocols",
    "ip.src",
    "sctp.checksum.status",
    "sctp.chunk_type",
    "sctp.data_payload_proto_id",
    "sctp.data_sid",
    "sctp.data_u_bit",
    "sctp.init_nr_in_streams",
    "sctp.init_nr_out_streams",
)
_DATA, _INIT, _INIT_ACK, _SACK, _ABORT = "0", "1", "2", "3", "6"
_SHUTDOWN, _SHUTDOWN_ACK, _COOKIE_ECHO, _COOKIE_ACK, _SHUTDOWN_COMPLETE = "7", "8", "10", "11", "14"


class GuestTests(SynchronousTestCase):
    """The kernel's SCTP."""

    def setUp(self) -> None:
        """Need the guest."""
        skip_without_guest()

    def test_everything_passes_on_a_kernel_with_sctp(self) -> None:
        """Some tests ran, none was skipped; else the guest's whole output is shown."""
        run = guest_run("sctp")
        self.assertEqual(run.code, 0, run.output)
        self.assertGreater(run.counts.get("successes", 0), 0, run.output)
        self.assertEqual(set(run.counts), {"successes"}, run.output)

    def test_tshark_sees_a_whole_association_on_one_stream(self) -> None:
        """In a capture from the guest: nothing malformed, all in order, stream and protocol 0."""
        skip_without_tshark()
        run = guest_run("sctp")
        capture = run.folder / "association.pcap"
        self.assertTrue(capture.exists(), run.output)
        packets = run_tshark(capture, _FIELDS)
        for packet in packets:
            self.assertEqual(packet["_ws.malformed"], [])
            self.assertIn("sctp", packet["frame.protocols"][0])
        chunks = Counter(kind for packet in packets for kind in packet["sctp.chunk_type"])
        for once in (_INIT, _INIT_ACK, _COOKIE_ECHO, _COOKIE_ACK):
            self.assertEqual(chunks[once], 1)
        for seen in (_DATA, _SACK, _SHUTDOWN, _SHUTDOWN_ACK, _SHUTDOWN_COMPLETE):
            self.assertGreater(chunks[seen], 0)
        self.assertEqual(chunks[_ABORT], 0)
        self._assert_only(packets, "sctp.data_sid", "0x0000")
        self._assert_only(packets, "sctp.data_payload_proto_id", "0")
        self._assert_only(packets, "sctp.data_u_bit", "0")
        self._assert_only(packets, "sctp.init_nr_in_streams", "1")
        self._assert_only(packets, "sctp.init_nr_out_streams", "1")
        sources = {packet["ip.src"][0] for packet in packets if _DATA in packet["sctp.chunk_type"]}
        self.assertEqual(sources, {"127.0.0.1", "127.0.0.5"})

    def test_a_missing_guest_is_said_in_one_sentence(self) -> None:
        """It names what to install."""
        done = subprocess.run(
            [SCRIPT, "true"],
            env={**os.environ, "UML": "/nowhere/linux.uml"},
            capture_output=True,
            text=True,
        )
        self.assertEqual(done.returncode, 125)
        self.assertIn("user-mode-linux", done.stderr)
        self.assertEqual(len(done.stderr.splitlines()), 1)

    def test_a_command_has_its_exit_code_and_its_output(self) -> None:
        """And the environment, but no folder of the host's to write to."""
        done = subprocess.run(
            [SCRIPT, 'echo "$WORDS"; test ! -w / && test ! -w "$PWD" && exit 42'],
            env={**os.environ, "WORDS": "two words", "GUEST_RW": "", "GUEST_TIMEOUT": "60"},
            capture_output=True,
            text=True,
        )
        self.assertEqual((done.returncode, done.stdout), (42, "two words\n"), done.stderr)

    def _assert_only(self, packets: list[dict[str, list[str]]], field: str, value: str) -> None:
        values = {each.strip() for packet in packets for each in packet[field]}
        self.assertEqual(values, {value}, field)
