"""Paging through what is registered while it changes."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.mapping.database import Database, Lease, Registration, Xtr
from lispmsrt.views import name_order, registration_walk
from lispmsrt.views.cursors import BEGINNING, CursorError, Position
from lispmsrt.views.name_order import NameOrder
from lispmsrt.views.registration_walk import Range, Walk, is_inside, merged_ranges, place
from lispmsrt.wire.addresses import Afi
from lispmsrt.wire.record_walk import prefix_key

_LEASE = Lease(Xtr("office", b"", b""), "UDP", "here", is_live=False)
_WIDTHS = {Afi.IPV4: 32, Afi.IPV6: 128, Afi.MAC: 48}

Key = tuple[int, int, int]
"""Instance ID, family, prefix key."""


class _Ground(SynchronousTestCase):
    def setUp(self) -> None:
        """An empty database."""
        self.database = Database()
        self.names = NameOrder()

    def turn(self, one: Key) -> None:
        """Register it, or end it if it is there."""
        instance_id, afi, key = one
        table = self.database.table(instance_id, afi)
        length = key.bit_length() - 1
        if key in table.entries:
            table.remove(length, key)
        else:
            table.put(length, key, Registration(b"", _LEASE, 0, 0.0, None))

    def families(self) -> list[Range]:
        """Return everything that there is."""
        return [Range(*at, 0, 1) for at in sorted(self.database.tables)]

    def page(
        self, after: Position, limit: int, ranges: list[Range] | None = None
    ) -> tuple[list[Key], Position | None]:
        """Return some of what follows, and where to go on."""
        walk = Walk(self.database, self.names, self.families() if ranges is None else ranges, after)
        found: list[Key] = []
        for entry in walk.entries():
            found.append((entry.table.instance_id, entry.table.afi, entry.key))
            if len(found) == limit:
                return found, entry.position
        return found, walk.position

    def all(self, limit: int = 3, ranges: list[Range] | None = None) -> list[Key]:
        """Return everything, page by page, cursors as texts between them."""
        found, position = self.page(BEGINNING, limit, ranges)
        while position is not None:
            more, position = self.page(Position.from_text(str(position)), limit, ranges)
            found += more
        return found


class WalkTests(_Ground):
    """Without changes."""

    def setUp(self) -> None:
        """Some of every family in two instances."""
        super().setUp()
        self.keys: list[Key] = [
            (instance_id, afi, key)
            for instance_id in (0, 9)
            for afi, width in _WIDTHS.items()
            for key in (
                prefix_key(0, width, 0),
                prefix_key(10 << width - 8, width, 8),
                prefix_key(10 << width - 8, width, 16),
                prefix_key(11 << width - 8, width, width),
            )
        ]
        self.keys += [(0, Afi.NAME, 1 << 8 | ord(letter)) for letter in "abc"]
        self.keys.sort(key=lambda one: place(*one))
        for one in reversed(self.keys):
            self.turn(one)

    def test_everything_is_in_order(self) -> None:
        """However many there are on a page."""
        for limit in (1, 2, 5, 100):
            self.assertEqual(self.all(limit), self.keys)

    def test_so_many_are_looked_at_and_no_more(self) -> None:
        """A page may be short, or empty, and there is more."""
        for most in (1, 2, 3, 7):
            self.patch(registration_walk, "MAX_LOOKED_AT", most)
            for at in range(100, 150):
                self.database.table(at, Afi.IPV4)
            self.assertEqual(self.all(100), self.keys)
            found, position = self.page(BEGINNING, 100)
            self.assertLessEqual(len(found), most)
            self.assertIsNotNone(position)

    def test_what_lies_in_ranges(self) -> None:
        """With what covers them where that is asked for; ranges inside others count once."""
        ten = prefix_key(10 << 24, 32, 8)
        inside = [one for one in self.keys if one[:2] == (0, 1) and is_inside(one[2], ten)]
        covering = [(0, 1, 1), *inside]
        for limit in (1, 2, 9):
            self.assertEqual(self.all(limit, [Range(0, 1, 8, ten)]), inside)
            self.assertEqual(self.all(limit, [Range(0, 1, 8, ten, True)]), covering)
            ranges = [Range(0, 1, 8, ten), Range(0, 1, 9, ten << 1), Range(7, 1, 0, 1)]
            ranges += [Range(0, 1, 8, prefix_key(11 << 24, 32, 8)), Range(0, Afi.NAME, 8, 353)]
            eleven = (0, 1, prefix_key(11 << 24, 32, 32))
            name = (0, int(Afi.NAME), 353)
            expected = [*inside, eleven, name]
            self.assertEqual(self.all(limit, merged_ranges(ranges)), expected)
            self.patch(registration_walk, "MAX_LOOKED_AT", 1)
            self.assertEqual(self.all(limit, merged_ranges(ranges)), expected)
            self.patch(registration_walk, "MAX_LOOKED_AT", 5000)

    def test_many_names_are_read_from_a_list(self) -> None:
        """As they stood when it was begun, without those that are gone."""
        self.patch(name_order, "MAX_SORTED", 2)
        self.assertEqual(sorted(self.all(2)), sorted(self.keys))
        found, position = self.page(Position(0, Afi.NAME, 0), 1)
        assert position is not None
        (gone,) = {353, 354, 355} - {found[0][2]} - {353 + (found[0][2] == 353)}
        self.turn((0, Afi.NAME, gone))
        self.turn((0, Afi.NAME, 356))
        rest, _position = self.page(position, 100)
        names = [key for _iid, afi, key in found + rest if afi == Afi.NAME]
        self.assertEqual(set(names), {353, 354, 355} - {gone})
        self.assertEqual(len(names), 2)

    def test_a_list_that_was_dropped_is_told_of(self) -> None:
        """So is one of another process."""
        self.patch(name_order, "MAX_SORTED", 2)
        _found, position = self.page(Position(0, Afi.NAME, 0), 1)
        assert position is not None and position.reading
        for _other in range(name_order.MAX_LISTS):
            self.page(position, 1)
            self.page(Position(0, Afi.NAME, 0), 1)
        self.assertRaises(CursorError, self.page, position, 1)


_KEYS = st.one_of(
    [
        st.builds(
            lambda iid, afi, bits, length: (
                iid,
                int(afi),
                prefix_key(bits << _WIDTHS[afi] - 5 >> 0, _WIDTHS[afi], length),
            ),
            st.sampled_from((0, 1, 5)),
            st.sampled_from(sorted(_WIDTHS)),
            st.integers(0, 31),
            st.integers(0, 8),
        ),
        st.builds(
            lambda iid, letter: (iid, int(Afi.NAME), 1 << 8 | letter),
            st.sampled_from((0, 5)),
            st.integers(97, 122),
        ),
    ]
)


class ChangingTests(_Ground):
    """Beside a plain set."""

    @settings(deadline=None)
    @given(st.data())
    def test_what_is_there_throughout_is_seen_once(self, data: st.DataObject) -> None:
        """Whatever comes and goes between pages; nothing twice but names that came back."""
        self.patch(registration_walk, "MAX_LOOKED_AT", data.draw(st.sampled_from((1, 3, 50))))
        self.patch(registration_walk, "_AT_ONCE", data.draw(st.sampled_from((1, 4))))
        self.patch(name_order, "MAX_SORTED", data.draw(st.sampled_from((0, 3, 50))))
        self.database = Database()
        present: set[Key] = set()

        def turn(ones: list[Key]) -> set[Key]:
            for one in ones:
                self.turn(one)
                present.symmetric_difference_update({one})
            return set(ones)

        turn(data.draw(st.lists(_KEYS, max_size=40)))
        at_first, changed = set(present), set()
        seen: list[Key] = []
        position: Position | None = BEGINNING
        pages = 0
        while position is not None:
            limit = data.draw(st.integers(1, 5))
            found, after = self.page(Position.from_text(str(position)), limit)
            self.assertTrue(set(found) <= present)
            seen += found
            position = after
            pages += 1
            if pages < 20:
                changed |= turn(data.draw(st.lists(_KEYS, max_size=6)))
        throughout = at_first - changed
        self.assertEqual(len(seen), len(set(seen)))
        self.assertTrue(throughout <= set(seen))
        ordered = [one for one in seen if one[1] != Afi.NAME]
        self.assertEqual(ordered, sorted(ordered, key=lambda one: place(*one)))
