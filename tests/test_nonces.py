"""Replayed nonces: lenient, strict, off."""

from __future__ import annotations

import random

from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.control import nonces
from lispmsrt.control.nonces import (
    ANSWER_LIFETIME,
    ANSWERS,
    INCREASES,
    MAX_ANSWER,
    REMEMBERED,
    NonceCheck,
    NonceMemory,
)

_SITE = "office"


class LenientTests(SynchronousTestCase):
    """The default."""

    def setUp(self) -> None:
        """Nothing seen yet."""
        self.memory = NonceMemory()

    def see(self, *values: int, who: str = "xtr") -> list[bool]:
        """Show nonces."""
        return [self.memory.is_fresh(_SITE, who, value) for value in values]

    def test_an_exact_repeat_is_none_of_the_fresh(self) -> None:
        """Nonce 0 and the greatest included."""
        greatest = (1 << 64) - 1
        self.assertEqual(self.see(0, 5, greatest, 3), [True] * 4)
        self.assertEqual(self.see(0, 5, greatest, 3), [False] * 4)

    def test_random_nonces_are_all_fresh(self) -> None:
        """Deployed ETRs draw them."""
        draw = random.Random(1).getrandbits
        drawn = [draw(64) for _ in range(3000)]
        self.assertTrue(all(self.see(*drawn)))
        self.assertFalse(any(self.see(*drawn)))

    def test_one_site_makes_no_other_forget(self) -> None:
        """However many xTRs its key holders invent."""
        self.patch(nonces, "MAX_XTRS", 2)
        self.see(7)
        for number in range(9):
            self.memory.is_fresh("elsewhere", number, 7)
        self.assertEqual(self.see(7), [False])
        self.assertEqual(self.memory.counters["xTRs forgotten"], 7)

    def test_nonces_of_a_site_are_bounded_in_all(self) -> None:
        """Who was heard of longest ago is forgotten; who counts up takes no room."""
        self.patch(nonces, "MAX_NONCES", 10)
        for who in ("old", "new"):
            self.see(9, 8, 7, 6, 5, 4, who=who)
        self.assertEqual(self.see(9, who="new"), [False])
        self.assertEqual(self.see(9, who="old"), [True])
        self.see(*range(100, 140), who="counting")
        self.assertLessEqual(self.memory.memory(_SITE).nonces, 10)

    def test_only_the_last_4096_are_remembered(self) -> None:
        """Per xTR: its memory is bounded. Falling nonces never count as counting up."""
        top = REMEMBERED + 10
        self.assertTrue(all(self.see(*range(top, 9, -1))))
        self.assertEqual(self.see(10, 9 + REMEMBERED), [False, False])
        self.assertEqual(self.see(top), [True])

    def test_sixteen_increases_bind_an_xtr_to_counting_up(self) -> None:
        """From then on nothing below its highest is fresh, seen or not."""
        self.assertTrue(all(self.see(*range(100, 100 + 2 * INCREASES + 2, 2))))
        self.assertEqual(self.see(101, 50, 132, 133), [False, False, False, True])

    def test_fifteen_increases_do_not(self) -> None:
        """The first nonce is no increase."""
        self.assertTrue(all(self.see(*range(100, 100 + 2 * INCREASES, 2))))
        self.assertEqual(self.see(101), [True])

    def test_a_decrease_starts_the_count_anew(self) -> None:
        """In a row, that is."""
        self.see(*range(100, 100 + INCREASES))
        self.assertEqual(self.see(50), [True])
        self.see(*range(200, 200 + INCREASES - 1))
        self.assertEqual(self.see(51), [True])

    def test_xtrs_do_not_concern_each_other(self) -> None:
        """Nor do keys."""
        self.see(*range(100), who="one")
        self.assertEqual(self.see(5, who="two"), [True])

    def test_xtrs_heard_of_longest_ago_are_forgotten(self) -> None:
        """A bound on all of them together."""
        self.patch(nonces, "MAX_XTRS", 2)
        self.see(1, who="a")
        self.see(1, who="b")
        self.see(2, who="a")
        self.see(1, who="c")
        self.assertEqual(self.see(1, who="a"), [False])
        self.assertEqual(self.memory.counters["xTRs forgotten"], 1)
        self.assertEqual(self.see(1, who="b"), [True])


class StrictTests(SynchronousTestCase):
    """RFC 9301 §5.6 to the letter."""

    def test_must_increase_from_the_start(self) -> None:
        """Equal is not greater."""
        memory = NonceMemory(NonceCheck.STRICT)
        seen = [memory.is_fresh(_SITE, "xtr", nonce) for nonce in (7, 7, 6, 8, 1 << 63, 9)]
        self.assertEqual(seen, [True, False, False, True, True, False])


class OffTests(SynchronousTestCase):
    """Not compared."""

    def test_everything_is_fresh_and_nothing_kept(self) -> None:
        """For a laboratory."""
        memory = NonceMemory(NonceCheck.OFF)
        self.assertTrue(all(memory.is_fresh(_SITE, "xtr", 1) for _ in range(3)))
        memory.keep_answer(_SITE, "xtr", 1, "here", 0.0, b"answer")
        self.assertIsNone(memory.answer_again(_SITE, "xtr", 1, "here", 0.0))


class AnswerTests(SynchronousTestCase):
    """The Map-Notify that was lost."""

    def setUp(self) -> None:
        """One xTR."""
        self.memory = NonceMemory()
        self.memory.is_fresh(_SITE, "xtr", 1)
        self.memory.keep_answer(_SITE, "xtr", 1, "here", 10.0, b"answer")

    def test_same_source_gets_it_again_for_a_minute(self) -> None:
        """As often as it asks."""
        for now in (10.0, 40.0, 10.0 + ANSWER_LIFETIME):
            self.assertEqual(self.memory.answer_again(_SITE, "xtr", 1, "here", now), b"answer")
        self.assertIsNone(self.memory.answer_again(_SITE, "xtr", 1, "here", 10.1 + ANSWER_LIFETIME))

    def test_nobody_else_gets_it(self) -> None:
        """Other source, nonce, xTR."""
        self.assertIsNone(self.memory.answer_again(_SITE, "xtr", 1, "elsewhere", 11.0))
        self.assertIsNone(self.memory.answer_again(_SITE, "xtr", 2, "here", 11.0))
        self.assertIsNone(self.memory.answer_again(_SITE, "other", 1, "here", 11.0))

    def test_few_are_kept(self) -> None:
        """The oldest goes first."""
        for nonce in range(2, ANSWERS + 2):
            self.memory.keep_answer(_SITE, "xtr", nonce, "here", 10.0, b"%d" % nonce)
        self.assertIsNone(self.memory.answer_again(_SITE, "xtr", 1, "here", 10.0))
        self.assertEqual(self.memory.answer_again(_SITE, "xtr", 2, "here", 10.0), b"2")

    def test_a_large_one_is_not_kept(self) -> None:
        """4 of 1500 octets are what an xTR may cost."""
        self.assertEqual((ANSWERS, MAX_ANSWER), (4, 1500))
        for nonce, size in ((2, MAX_ANSWER), (3, MAX_ANSWER + 1)):
            self.memory.keep_answer(_SITE, "xtr", nonce, "here", 10.0, bytes(size))
        self.assertEqual(self.memory.answer_again(_SITE, "xtr", 2, "here", 10.0), bytes(MAX_ANSWER))
        self.assertIsNone(self.memory.answer_again(_SITE, "xtr", 3, "here", 10.0))
