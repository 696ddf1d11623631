"""The figures of being watched: the ratio is that of each round. The run itself is a part of
``python -m benchmarks.bench``.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.figures import figures_of
from benchmarks.observers import LEFT, ROWS, Observed


class RowsTests(SynchronousTestCase):
    """Three rounds."""

    def test_ratio_is_of_each_round(self) -> None:
        """A machine that is slow for a round is slow for both."""
        rounds = [
            Observed(100_000, 90_000, 99_000, 80_000, 9),
            Observed(50_000, 45_000, 46_000, 40_000, 9),
            Observed(80_000, 70_000, 78_000, 60_000, 9),
        ]
        figures = figures_of(one for observed in rounds for one in observed.as_measured())
        self.assertEqual([figure.row for figure in figures], list(ROWS))
        (left,) = [figure for figure in figures if figure.row is LEFT]
        self.assertEqual([round(value, 1) for value in left.values], [99.0, 92.0, 97.5])
        self.assertEqual(round(left.median, 1), 97.5)
        self.assertEqual(figures[0].clock, 70_000)
