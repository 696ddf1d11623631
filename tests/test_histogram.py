"""Measured values by their size."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.histogram import LATENCY_BOUNDS, ROUND_TRIP_BOUNDS, Histogram, Latency


class HistogramTests(SynchronousTestCase):
    """Where a value is counted."""

    def test_a_value_is_counted_at_the_first_bound_that_it_does_not_exceed(self) -> None:
        """What exceeds all has a place of its own."""
        histogram = Histogram((1.0, 2.0))
        for value in (0.5, 1.0, 1.5, 2.0, 2.5):
            histogram.observe(value)
        self.assertEqual(histogram.counts, [2, 2, 1])
        self.assertEqual((histogram.count, histogram.sum), (5, 7.5))

    def test_a_value_may_be_seen_many_times(self) -> None:
        """As if it came one by one."""
        histogram = Histogram((1.0,))
        histogram.observe(0.25, 4)
        self.assertEqual((histogram.counts, histogram.count, histogram.sum), ([4, 0], 4, 1.0))

    def test_bounds_rise(self) -> None:
        """Those that are used."""
        for bounds in (LATENCY_BOUNDS, ROUND_TRIP_BOUNDS):
            self.assertEqual(sorted(set(bounds)), list(bounds))


class _Accepting:
    accepted = 7


class LatencyTests(SynchronousTestCase):
    """From arrival to answer."""

    def setUp(self) -> None:
        """A stopwatch that is set by hand."""
        self.now = 100.0
        self.accepting = _Accepting()
        self.histogram = Histogram((0.5, 1.0))
        self.latency = Latency(self.histogram, self.accepting, lambda: self.now)

    def take(self, seconds: float, accepted: int) -> None:
        """Deal with a chunk."""
        self.latency.begin()
        self.now += seconds
        self.accepting.accepted += accepted
        self.latency.end()

    def test_each_registration_of_a_chunk_has_waited_for_all(self) -> None:
        """The time counts as often as there were registrations."""
        self.take(0.25, 3)
        self.take(0.75, 1)
        self.assertEqual(self.histogram.counts, [3, 1, 0])

    def test_a_chunk_without_an_accepted_registration_does_not_count(self) -> None:
        """Nor does what was accepted between chunks."""
        self.take(0.25, 0)
        self.accepting.accepted += 5
        self.take(0.25, 0)
        self.assertEqual(self.histogram.count, 0)
