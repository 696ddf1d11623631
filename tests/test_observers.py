"""The figures of being watched: the ratio is that of each round. The run itself is a part of
``python -m benchmarks.bench``.
"""

from __future__ import annotations

from io import StringIO

from rich.console import Console
from twisted.trial.unittest import SynchronousTestCase

from benchmarks.observers import Observed, table_of


class TableTests(SynchronousTestCase):
    """Three rounds."""

    def test_ratio_is_of_each_round(self) -> None:
        """A machine that is slow for a round is slow for both."""
        rounds = [
            Observed(100_000, 90_000, 99_000, 80_000, 9),
            Observed(50_000, 45_000, 46_000, 40_000, 9),
            Observed(80_000, 70_000, 78_000, 60_000, 9),
        ]
        output = StringIO()
        Console(file=output, width=100).print(table_of(rounds))
        lines = [line.replace("│", " ").split() for line in output.getvalue().splitlines()]
        (left,) = [line for line in lines if line[:3] == ["what", "is", "left"]]
        self.assertEqual(left[3:], ["97.5", "92.0", "99.0", "%"])
        (alone,) = [line for line in lines if line[:3] == ["with", "nobody", "watching"]]
        self.assertEqual(alone[3:], ["80,000", "50,000", "100,000", "/CPU", "s"])
