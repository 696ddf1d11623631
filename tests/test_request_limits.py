"""Rate limits, and that nobody can use them to silence somebody else."""

from __future__ import annotations

from collections import Counter
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.control.request_limits import LEAST_CHANCE, Outgoing, RequestLimits
from tests.builders import ip

_SOURCE, _RLOC = ip("198.51.100.53"), ip("203.0.113.9")


class _Never(Random):
    """The worst luck there is."""

    def random(self) -> float:
        """Return the greatest number there is."""
        return 1 - 2**-53


class RateTests(SynchronousTestCase):
    """Token buckets."""

    def test_a_burst_is_admitted_down_to_half(self) -> None:
        """Then luck begins."""
        limits = RequestLimits(_Never(), rate=10, burst=100)
        admitted = [limits.admits(_SOURCE, _RLOC, 0.0) for _ in range(200)]
        self.assertEqual(admitted, [True] * 51 + [False] * 149)

    def test_tokens_come_back(self) -> None:
        """At the rate, and no more than the burst."""
        limits = RequestLimits(_Never(), rate=10, burst=100)
        for wait, expected in ((0.0, 51), (1.0, 10), (3.0, 30), (3600.0, 51)):
            now = getattr(self, "now", 0.0) + wait
            self.now = now
            admitted = sum(limits.admits(_SOURCE, _RLOC, now) for _ in range(200))
            self.assertEqual(admitted, expected, wait)

    def test_a_steady_flood_gets_the_rate(self) -> None:
        """100 times too much for 20 seconds; the burst comes on top."""
        limits = RequestLimits(Random(7), rate=100, burst=50)
        admitted = sum(limits.admits(_SOURCE, _RLOC, step / 10_000) for step in range(200_000))
        self.assertGreater(admitted, 100 * 20 * 0.9)
        self.assertLess(admitted, 100 * 20 + 50 + 200_000 * LEAST_CHANCE * 2)

    def test_who_shares_a_flooded_bucket_is_not_shut_out(self) -> None:
        """An ITR that asks once a second beside somebody who writes its addresses 1,000 times."""
        limits = RequestLimits(Random(7), rate=100, burst=100)
        heard = 0
        for second in range(200):
            for step in range(1000):
                limits.admits(_SOURCE, _RLOC, second + step / 1001)
            heard += limits.admits(_SOURCE, _RLOC, second + 1000 / 1001)
        # Its share is that of all: a tenth.
        self.assertGreater(heard, 5)
        self.assertLess(heard, 60)

    def test_even_an_empty_bucket_gives_a_chance(self) -> None:
        """All at one moment, so that no token comes back."""
        limits = RequestLimits(Random(7), rate=1, burst=10)
        for _ in range(50_000):
            limits.admits(_SOURCE, _RLOC, 0.0)
        admitted = sum(limits.admits(_SOURCE, _RLOC, 0.0) for _ in range(50_000))
        self.assertGreater(admitted, 50_000 * LEAST_CHANCE / 3)

    def test_other_pairs_have_buckets_of_their_own(self) -> None:
        """A flood for one victim, or from one source, concerns nobody else."""
        limits = RequestLimits(_Never(), rate=1, burst=10)
        for _ in range(100):
            limits.admits(_SOURCE, _RLOC, 0.0)
        self.assertFalse(limits.admits(_SOURCE, _RLOC, 0.0))
        self.assertTrue(limits.admits(_SOURCE, ip("203.0.113.10"), 0.0))
        self.assertTrue(limits.admits(ip("198.51.100.54"), _RLOC, 0.0))

    def test_ever_new_pairs_make_old_ones_be_forgotten(self) -> None:
        """And forgotten means a full bucket, never a closed one."""
        limits = RequestLimits(_Never(), rate=1, burst=10, max_pairs=100)
        for _ in range(100):
            limits.admits(_SOURCE, _RLOC, 0.0)
        for number in range(1000):
            limits.admits(number.to_bytes(4, "big"), _RLOC, 0.0)
            self.assertLessEqual(len(limits), 100)
        self.assertTrue(limits.admits(_SOURCE, _RLOC, 0.0))

    def test_who_asks_often_is_not_forgotten_first(self) -> None:
        """Least recently heard of goes first."""
        limits = RequestLimits(_Never(), rate=1, burst=10, max_pairs=10)
        for number in range(200):
            limits.admits(number.to_bytes(4, "big"), _RLOC, 0.0)
            limits.admits(_SOURCE, _RLOC, 0.0)
        self.assertFalse(limits.admits(_SOURCE, _RLOC, 0.0))

    def test_no_rate_is_no_limit(self) -> None:
        """And remembers nothing."""
        limits = RequestLimits(_Never(), rate=0, burst=1)
        self.assertTrue(all(limits.admits(_SOURCE, _RLOC, 0.0) for _ in range(100)))
        self.assertEqual(len(limits), 0)


class OutgoingTests(SynchronousTestCase):
    """What waits to be sent."""

    def test_in_order_and_once(self) -> None:
        """Taken is forgotten."""
        outgoing = Outgoing(Counter())
        for data in (b"one", b"two"):
            self.assertTrue(outgoing.put(data, (_RLOC, 1)))
        self.assertEqual(outgoing.take(), [(b"one", (_RLOC, 1)), (b"two", (_RLOC, 1))])
        self.assertEqual(outgoing.take(), [])

    def test_too_many_are_dropped_and_counted(self) -> None:
        """The newest ones: those that came first have waited longest."""
        counters: Counter[str] = Counter()
        outgoing = Outgoing(counters, limit=2)
        accepted = [outgoing.put(bytes((number,)), (_RLOC, 1)) for number in range(3)]
        self.assertEqual(accepted, [True, True, False])
        self.assertEqual(counters, {"dropped, too many to send at once": 1})
        self.assertEqual([data for data, _to in outgoing.take()], [b"\0", b"\1"])
