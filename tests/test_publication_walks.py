"""A change that concerns many subscriptions is told to a bounded number at a time."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.control.publication_walks import AT_ONCE, INTERVAL, Walks
from lispmsrt.control.subscription_table import (
    SecurityAssociation,
    Subscriber,
    Subscription,
    SubscriptionTable,
)
from lispmsrt.mapping.database import EidTable

_COVER = 1 << 8 | 10


class WalksTests(SynchronousTestCase):
    """Each of them, once for each change that comes before its turn."""

    def setUp(self) -> None:
        self.woken = 0
        self.eids = EidTable(0, 1)
        self.table = SubscriptionTable()
        self.walks = Walks(self.table, self._wake)

    def _wake(self) -> None:
        self.woken += 1

    def _subscribe(self, count: int, of_each: int = 1) -> list[Subscription]:
        """Subscribe to hosts of 10.0.0.0/8, far from each other."""
        made = []
        for host in range(count):
            for number in range(of_each):
                key = 1 << 32 | 10 << 24 | host * 40_503 % (1 << 24)
                association = SecurityAssociation("office", lambda site: None)
                who = Subscriber("office", number.to_bytes(24, "big"))
                made.append(Subscription(self.eids, 32, key, who, association))
                self.table.add(made[-1])
        return made

    def _begin(self, *, is_new: bool = False) -> list[Subscription]:
        return list(self.walks.begin(self.eids, 8, _COVER, is_new=is_new))

    def _take(self) -> list[list[tuple[Subscription, int, bool]]]:
        batches = []
        while (now := self.walks.next_due()) is not None:
            now = max(now, 0.0)
            batches.append(list(self.walks.take(now)))
            self.assertEqual(list(self.walks.take(now + INTERVAL / 2)), [])
        return batches

    def test_few_are_told_at_once(self) -> None:
        """And nothing is kept."""
        made = self._subscribe(20)
        self.assertEqual(set(self._begin()), set(made))
        self.assertIsNone(self.walks.next_due())

    def test_many_are_told_in_batches(self) -> None:
        """Each once, at every EID-prefix or many at one."""
        for count, of_each in ((5000, 1), (2, 2000)):
            self.setUp()
            made = self._subscribe(count, of_each)
            self.assertEqual(self._begin(is_new=True), [])
            self.assertEqual(self.woken, 1)
            batches = self._take()
            self.assertLessEqual(max(map(len, batches)), AT_ONCE)
            told = [one for batch in batches for one in batch]
            self.assertEqual({one for one, _key, _is_new in told}, set(made))
            self.assertEqual(len(told), len(made))
            self.assertEqual({(key, is_new) for _one, key, is_new in told}, {(_COVER, True)})

    def test_a_change_meanwhile_is_told_to_all_of_them(self) -> None:
        """To those that had their turn once more; many changes cost no more than two."""
        made = self._subscribe(2000)
        self._begin()
        first = list(self.walks.take(0.0))
        for _ in range(10):
            self.assertEqual(self._begin(is_new=True), [])
        rest = [one for batch in self._take() for one in batch]
        self.assertEqual(len(first) + len(rest), 2 * len(made))
        self.assertTrue({one for one, _key, is_new in rest if is_new}.issuperset(made))

    def test_subscriptions_that_end_meanwhile_are_left_out(self) -> None:
        """All of them, too."""
        made = self._subscribe(2000)
        self._begin()
        first = [one for one, _key, _is_new in self.walks.take(0.0)]
        for each in made:
            each.is_over = True
            self.table.remove(each)
        self.assertEqual(len(first), AT_ONCE)
        self.assertEqual(sum(map(len, self._take())), 0)
        self.assertIsNone(self.walks.next_due())
