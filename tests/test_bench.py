"""``python -m benchmarks.bench`` runs and prints its rows. No figure is asserted."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.bench import ROWS

_CHECKOUT = Path(__file__).parents[1]


class BenchTests(SynchronousTestCase):
    """The command itself."""

    def test_rows_are_printed(self) -> None:
        """Tiny numbers, every row, in the table and in the file."""
        with tempfile.TemporaryDirectory() as directory:
            figures_file = Path(directory) / "figures.json"
            sizes = {"rounds": 1, "registrations": 2000, "datagrams": 500}
            outcome = subprocess.run(
                [sys.executable, "-m", "benchmarks.bench", f"--json={figures_file}"]
                + [f"--{name}={size}" for name, size in sizes.items()],
                cwd=_CHECKOUT,
                capture_output=True,
                text=True,
                timeout=60,
            )
            self.assertEqual((outcome.returncode, outcome.stderr), (0, ""), outcome.stdout)
            figures = json.loads(figures_file.read_text())
        self.assertEqual(list(figures), [row.name for row in ROWS])
        for row in ROWS:
            self.assertIn(row.name, outcome.stdout)
            self.assertIn(row.unit, outcome.stdout)
