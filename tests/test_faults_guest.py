"""Every transport over paths that netem makes bad, in a boot of the guest whose kernel has it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.guest.boot import run_tests_in_guest, skip_without_guest

_TESTS = ("tests.guest.faults_netem", "tests.guest.faults_blackhole")
_KERNEL_MODULES = ("sch_netem", "sch_ingress", "cls_u32", "act_gact")
_SECONDS = 1800 if os.environ.get("LISPMSRT_LONG") else 400


class GuestTests(SynchronousTestCase):
    """The host's kernel has neither netem nor, often, SCTP."""

    def test_every_transport_converges_over_bad_paths(self) -> None:
        """Some tests ran, none was skipped; else the guest's whole output is shown."""
        skip_without_guest()
        folder = Path(tempfile.mkdtemp(dir=Path.cwd()))  # trial's own, which goes with it
        run = run_tests_in_guest(_TESTS, modules=_KERNEL_MODULES, folder=folder, seconds=_SECONDS)
        self.assertEqual(run.code, 0, run.output)
        self.assertEqual(set(run.counts), {"successes"}, run.output)
        self.assertGreaterEqual(run.counts["successes"], 6)
