"""``python -m benchmarks.lookups`` runs and prints its rows. No figure is asserted."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

_CHECKOUT = Path(__file__).parents[1]


class LookupsTests(SynchronousTestCase):
    """The command itself."""

    def test_rows_are_printed(self) -> None:
        """Tiny numbers of made-up networks, in the table and in the file."""
        with tempfile.TemporaryDirectory() as directory:
            figures_file = Path(directory) / "figures.json"
            sizes = {"networks": 5000, "hosts": 2000, "lookups": 3000, "datagrams": 200}
            outcome = subprocess.run(
                [sys.executable, "-m", "benchmarks.lookups", "--random", f"--json={figures_file}"]
                + [f"--{name}={size}" for name, size in sizes.items()],
                cwd=_CHECKOUT,
                capture_output=True,
                text=True,
                timeout=200,
            )
            self.assertEqual((outcome.returncode, outcome.stderr), (0, ""), outcome.stdout)
            figures = json.loads(figures_file.read_text())
        for name in (
            "Twisted UDP echo",
            "hole search",
            "longest match",
            "find IPV4, as they come",
            "find IPV4, as they come, 2,000 /32s besides",
        ):
            self.assertGreater(figures[name]["value"], 0, name)
            self.assertGreater(figures[name]["to_echo"], 0, name)
        self.assertIn("find IPV4, as they come", outcome.stdout)
