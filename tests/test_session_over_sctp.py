"""Sessions over the kernel's SCTP: the suite runs inside the guest, and tshark judges out here."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.guest.boot import guest_run, skip_without_guest
from tests.pcap import run_tshark, skip_without_tshark
from tests.rim import ETR_HOST, MAP_SERVER_HOST
from tests.session_judges import JudgeMixin

_CAPTURE = "session.pcap"
_FIELDS = ("_ws.malformed", "ip.src", "sctp.data_tsn", "sctp.data_sid", "data.data")


class SessionOverSctpTests(JudgeMixin, SynchronousTestCase):
    """What the guest has to say."""

    def setUp(self) -> None:
        """Skips where there is no guest, but never under CI."""
        skip_without_guest()

    def test_the_suite_passes_on_a_kernel_with_sctp(self) -> None:
        """Some tests ran, none was skipped; else the guest's whole output is shown."""
        run = guest_run("sessions")
        self.assertEqual(run.code, 0, run.output)
        self.assertEqual(set(run.counts), {"successes"}, run.output)
        self.assertGreater(run.counts["successes"], 20)

    def test_tshark_reads_a_session(self) -> None:
        """On stream 0, in the user messages of both ends: whole frames, nothing malformed."""
        skip_without_tshark()
        run = guest_run("sessions")
        folder = run.folder
        self.assertTrue((folder / _CAPTURE).exists(), run.output)
        rows = run_tshark(folder / _CAPTURE, _FIELDS)
        self.assertEqual([row for row in rows if row["_ws.malformed"]], [])
        self.assertEqual({sid for row in rows for sid in row["sctp.data_sid"]}, {"0x0000"})
        octets = {ETR_HOST: b"", MAP_SERVER_HOST: b""}
        for row in rows:
            if not row["sctp.data_tsn"]:
                continue  # the control plane's
            for message in row["data.data"]:
                octets[row["ip.src"][0]] += bytes.fromhex(message.replace(":", ""))
        self.assert_is_a_session(octets[ETR_HOST], octets[MAP_SERVER_HOST])
