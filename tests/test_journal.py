"""Names in the order of their last changes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.mapping.journal import Journal

_names = st.sampled_from([b"a", b"b", b"c", b"d"])
_steps = st.lists(st.tuples(st.booleans(), _names), max_size=300)


class JournalTests(SynchronousTestCase):
    """Against a list."""

    @given(_steps, st.integers(1, 7), st.data())
    def test_a_reader_gets_what_changed_since(
        self, steps: list[tuple[bool, bytes]], limit: int, data: st.DataObject
    ) -> None:
        """Wherever it stands, in pieces, over compactions: each name once, at its last change."""
        journal = Journal()
        model: dict[bytes, int] = {}
        for is_change, name in steps:
            if is_change:
                model.pop(name, None)
                model[name] = journal.note(name)
            elif name in model:
                del model[name]
                journal.forget(name)
        self.assertEqual(len(journal), len(model))
        place = data.draw(st.integers(0, journal.newest))
        expected = [(serial, name) for name, serial in model.items() if serial > place]
        found: list[tuple[int, bytes]] = []
        while place < journal.newest:
            piece, reached = journal.read(place, limit)
            self.assertLessEqual(len(piece), limit)
            self.assertGreater(reached, place)
            found += piece
            place = reached
        self.assertEqual(found, expected)
        self.assertEqual(journal.read(place, limit), ([], journal.newest))

    def test_what_is_out_of_date_does_not_pile_up(self) -> None:
        """One name that changes for ever."""
        journal = Journal()
        for _ in range(10_000):
            journal.note(b"flaps")
        self.assertLess(len(journal._names), 100)
        self.assertEqual(journal.read(0, 1000), ([(10_000, b"flaps")], 10_000))

    def test_forgetting_all_leaves_nothing_to_read(self) -> None:
        """But the place to read on from."""
        journal = Journal()
        journal.note(b"a")
        journal.forget(b"a")
        self.assertEqual(journal.read(0, 5), ([], 1))
