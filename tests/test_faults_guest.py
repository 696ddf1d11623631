"""Every transport over paths that netem makes bad, in a boot of the guest whose kernel has it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.guest.boot import guest_run, skip_without_guest


class GuestTests(SynchronousTestCase):
    """The host's kernel has neither netem nor, often, SCTP."""

    def test_every_transport_converges_over_bad_paths(self) -> None:
        """Some tests ran, none was skipped; else the guest's whole output is shown."""
        skip_without_guest()
        run = guest_run("faults")
        self.assertEqual(run.code, 0, run.output)
        self.assertEqual(set(run.counts), {"successes"}, run.output)
        self.assertGreaterEqual(run.counts["successes"], 6)
