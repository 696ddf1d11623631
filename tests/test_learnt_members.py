"""What an ETR keeps of what a Map-Server tells."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.mapping.learnt_members import LearntMembers, Member
from lispmsrt.wire.addresses import Address

_A, _B = (0, 1), (7, 1)
_ONE, _TWO = Address.from_text("192.0.2.1"), Address.from_text("2001:db8::2")


def _member(site_id: int, rloc: Address) -> Member:
    return Member(site_id.to_bytes(8, "big"), rloc)


class LearntMembersTests(SynchronousTestCase):
    """Two families of two instances."""

    def setUp(self) -> None:
        self.told: list[tuple[int, int]] = []
        self.make()

    def make(self, limit: int = 100) -> None:
        """Start over."""
        self.learnt = LearntMembers(
            (_B, _A), on_change=lambda *at: self.told.append(at), limit=limit
        )

    def heard(self) -> list[tuple[int, int]]:
        """Return for which families somebody was called back."""
        self.learnt.tell()
        told, self.told = self.told, []
        return sorted(told)

    def test_a_new_one_knows_nothing(self) -> None:
        """And says so."""
        self.assertEqual(self.learnt.families, (_A, _B))
        self.assertEqual(self.learnt.members(*_A), frozenset())
        self.assertEqual(self.learnt.members(99, 1), frozenset())
        self.assertFalse(self.learnt.is_current(*_A))
        self.assertFalse(self.learnt.covers(_ONE))
        self.assertEqual(self.heard(), [])

    def test_members_come_and_go(self) -> None:
        """Once each, however often it is said."""
        for _ in range(2):
            self.learnt.add(_A, _member(1, _ONE))
        self.assertEqual(self.learnt.members(*_A), {_member(1, _ONE)})
        self.assertEqual(self.learnt.members(*_B), frozenset())
        self.assertEqual(self.heard(), [_A])
        for _ in range(2):
            self.learnt.discard(_A, _member(1, _ONE))
        self.assertEqual(self.learnt.members(*_A), frozenset())
        self.assertEqual(self.heard(), [_A])
        self.learnt.discard(_A, _member(1, _ONE))
        self.assertEqual(self.heard(), [])

    def test_an_rloc_is_covered_while_any_site_has_it(self) -> None:
        """In its instance, or in any."""
        self.learnt.add(_A, _member(1, _ONE))
        self.learnt.add(_A, _member(2, _ONE))
        self.learnt.add(_B, _member(1, _TWO))
        self.assertTrue(self.learnt.covers(_ONE) and self.learnt.covers(_TWO))
        self.assertTrue(self.learnt.covers(_ONE, 0) and self.learnt.covers(_TWO, 7))
        self.assertFalse(self.learnt.covers(_ONE, 7) or self.learnt.covers(_TWO, 0))
        self.learnt.discard(_A, _member(1, _ONE))
        self.assertTrue(self.learnt.covers(_ONE, 0))
        self.learnt.discard(_A, _member(2, _ONE))
        self.assertFalse(self.learnt.covers(_ONE, 0) or self.learnt.covers(_ONE))

    def test_the_end_of_a_round_ends_what_was_not_told_in_it(self) -> None:
        """Of that family only."""
        for at in (_A, _B):
            self.learnt.begin_round(at)
            self.learnt.add(at, _member(1, _ONE))
            self.learnt.add(at, _member(2, _TWO))
            self.learnt.end_round(at)
        self.assertTrue(self.learnt.is_current(*_A))
        self.assertEqual(self.heard(), [_A, _B])
        self.learnt.outdated(_A)
        self.assertEqual(self.heard(), [_A])
        self.assertFalse(self.learnt.is_current(*_A))
        self.assertTrue(self.learnt.covers(_TWO, 0))
        self.learnt.begin_round(_A)
        self.learnt.add(_A, _member(2, _TWO))
        self.assertEqual(self.heard(), [])
        self.learnt.end_round(_A)
        self.assertEqual(self.learnt.members(*_A), {_member(2, _TWO)})
        self.assertEqual(len(self.learnt.members(*_B)), 2)
        self.assertEqual(self.heard(), [_A])
        self.learnt.begin_round(_A)
        self.learnt.add(_A, _member(2, _TWO))
        self.learnt.end_round(_A)
        self.assertEqual(self.heard(), [])

    def test_more_than_the_limit_is_not_kept_and_makes_it_incomplete(self) -> None:
        """Over all families together; the next round may be complete."""
        self.make(limit=2)
        self.learnt.begin_round(_A)
        for number in range(3):
            self.learnt.add(_A, _member(number, _ONE))
        self.learnt.add(_A, _member(1, _ONE))
        self.learnt.end_round(_A)
        self.assertEqual(len(self.learnt.members(*_A)), 2)
        self.assertEqual(self.learnt.counters["members beyond the limit"], 1)
        self.assertFalse(self.learnt.is_current(*_A))
        self.learnt.begin_round(_A)
        self.learnt.discard(_A, _member(0, _ONE))
        self.learnt.add(_A, _member(1, _ONE))
        self.learnt.end_round(_A)
        self.assertTrue(self.learnt.is_current(*_A))

    def test_nobody_has_to_listen(self) -> None:
        """The callback is there for who wants it."""
        learnt = LearntMembers([_A])
        learnt.add(_A, _member(1, _ONE))
        learnt.tell()
        self.assertTrue(learnt.covers(_ONE))
