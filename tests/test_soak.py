"""``make soak``: it runs over every transport that there is, and judges what it has seen. How fast
or how large anything is, is not asserted.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.soak.flatness import MIN_RESTS, judge
from tests.test_demo import why_no_kernel_sctp

_CHECKOUT = Path(__file__).parents[1]
_MEGABYTE = float(1 << 20)


class SoakTests(SynchronousTestCase):
    """The command itself."""

    def test_every_transport_works_and_rests(self) -> None:
        """A few short shifts: each transport registers and looks up, and no session is left."""
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory) / "seen.json"
            outcome = subprocess.run(
                [
                    *(sys.executable, "-m", "benchmarks.soak", "--quick"),
                    *("--minutes=0.1", f"--json={file}"),
                ],
                cwd=_CHECKOUT,
                capture_output=True,
                text=True,
                timeout=200,
            )
            self.assertEqual((outcome.returncode, outcome.stderr), (0, ""), outcome.stdout)
            seen = json.loads(file.read_text())
        expected = {"UDP", "TCP", "TLS", "QUIC", "user-space SCTP"}
        if not why_no_kernel_sctp():
            expected.add("SCTP")
        self.assertTrue(seen["shifts"])
        for shift in seen["shifts"]:
            self.assertEqual({done["transport"] for done in shift}, expected)
            for done in shift:
                self.assertGreater(done["answers"], 0, done)
                self.assertEqual(done["wrong"], 0, done)
        self.assertEqual([rest["sessions"] for rest in seen["rests"]], [0] * len(seen["rests"]))
        self.assertEqual(seen["complaints"], [])


class FlatnessTests(SynchronousTestCase):
    """What counts as growth."""

    def test_what_grows_is_found(self) -> None:
        """A megabyte each time, or a file each time."""
        memory = [100 * _MEGABYTE + rest * _MEGABYTE for rest in range(16)]
        files = [20.0 + rest for rest in range(16)]
        self.assertEqual([each.is_flat for each in judge(memory, files)], [False, False])

    def test_warming_up_is_no_growth(self) -> None:
        """What comes in the first quarter stays."""
        memory = [(60 + 10 * min(rest, 4)) * _MEGABYTE for rest in range(16)]
        files = [20.0 + min(rest, 3) for rest in range(16)]
        self.assertEqual([each.is_flat for each in judge(memory, files)], [True, True])

    def test_too_little_is_not_judged(self) -> None:
        """A verdict needs quarters."""
        self.assertEqual(judge([1.0] * (MIN_RESTS - 1), [1.0] * (MIN_RESTS - 1)), [])
        self.assertEqual(len(judge([1.0] * MIN_RESTS, [1.0] * MIN_RESTS)), 2)
