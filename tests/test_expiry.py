"""The expiry wheel."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.mapping.expiry import ExpiryWheel


class ExpiryWheelTests(SynchronousTestCase):
    """Items by the second after their deadline."""

    def setUp(self) -> None:
        """An empty wheel."""
        self.wheel: ExpiryWheel[str] = ExpiryWheel()

    def test_an_empty_wheel_has_nothing_to_do(self) -> None:
        """Nor a time for it."""
        self.assertIsNone(self.wheel.next_due())
        self.assertEqual(self.wheel.due(1e9), [])

    def test_never_early_and_at_most_a_second_late(self) -> None:
        """Also when the deadline is a whole second."""
        for deadline in (5.0, 5.25, 5.999):
            self.wheel.add("item", deadline)
            due = self.wheel.next_due()
            assert due is not None
            self.assertTrue(deadline < due <= deadline + 1)
            self.assertEqual(self.wheel.due(deadline), [])
            self.assertEqual(self.wheel.due(due), ["item"])

    def test_items_that_share_a_deadline_can_be_put_into_its_bucket(self) -> None:
        """As if they had been added one by one."""
        bucket = self.wheel.bucket(10.5)
        bucket["one"] = bucket["two"] = None
        self.wheel.add("three", 10.0)
        self.assertEqual(self.wheel.due(10.9), [])
        self.assertEqual(sorted(self.wheel.due(11.0)), ["one", "three", "two"])

    def test_an_item_is_handed_out_once_per_second_it_is_in(self) -> None:
        """Copies within a second merge; the newest come first, the same way every time."""
        for item in ("b", "a", "b"):
            self.wheel.add(item, 5.5)
        self.assertEqual(self.wheel.due(6.0), ["a", "b"])
        self.assertIsNone(self.wheel.next_due())

    def test_what_is_due_can_be_taken_in_portions(self) -> None:
        """Nothing is handed out twice, nothing is left."""
        for number in range(5):
            self.wheel.add(str(number), 5.5)
        self.wheel.add("later", 6.5)
        portions = [self.wheel.due(7.0, 2) for _ in range(4)]
        self.assertEqual([len(portion) for portion in portions], [2, 2, 2, 0])
        self.assertEqual(
            sorted(item for portion in portions for item in portion),
            ["0", "1", "2", "3", "4", "later"],
        )
        self.assertIsNone(self.wheel.next_due())

    def test_earlier_seconds_come_first(self) -> None:
        """Whatever the order of adding."""
        self.wheel.add("late", 9.0)
        self.wheel.add("early", 2.0)
        self.assertEqual(self.wheel.next_due(), 3)
        self.assertEqual(self.wheel.due(100.0), ["early", "late"])

    @given(st.lists(st.tuples(st.floats(0, 50), st.floats(0, 20)), max_size=30))
    def test_moving_deadlines(self, steps: list[tuple[float, float]]) -> None:
        """As the registrar uses it: write the new deadline, look at it when the item turns up."""
        wheel: ExpiryWheel[int] = ExpiryWheel()
        deadlines: dict[int, float] = {}
        now = 0.0
        for index, (ahead, wait) in enumerate(steps):
            deadlines[index] = now + ahead
            wheel.add(index, deadlines[index])
            for item in list(deadlines)[::2]:
                deadlines[item] += ahead / 2
            now += wait
            self._turn(wheel, deadlines, now)
        while deadlines:
            due = wheel.next_due()
            assert due is not None
            now = max(now, due)
            self._turn(wheel, deadlines, now)

    def _turn(self, wheel: ExpiryWheel[int], deadlines: dict[int, float], now: float) -> None:
        for item in wheel.due(now):
            if deadlines[item] > now:
                wheel.add(item, deadlines[item])
            else:
                del deadlines[item]
        self.assertTrue(all(deadline > now - 1 for deadline in deadlines.values()))
