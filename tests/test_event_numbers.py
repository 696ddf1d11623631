"""Numbers that the history and the rejections share."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.mapping.event_numbers import EventNumbers
from lispmsrt.mapping.history import History
from lispmsrt.mapping.rejections import Rejections


class EventNumbersTests(SynchronousTestCase):
    """One sequence."""

    def test_numbers_in_a_row(self) -> None:
        """From 1 on."""
        numbers = EventNumbers()
        self.assertEqual(numbers.newest, 0)
        self.assertEqual([numbers.take(), numbers.take(3), numbers.take()], [1, 2, 5])
        self.assertEqual(numbers.newest, 5)

    def test_the_history_knows_the_newest_of_both(self) -> None:
        """Whoever has read up to it has missed no rejection."""
        history = History(lambda: 0.0)
        rejections = Rejections(numbers=history.numbers)
        rejections.numbers.take()
        self.assertEqual(history.number, 1)
