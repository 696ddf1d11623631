"""Many prefixes looked up together."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.compiled import twin
from lispmsrt.mapping.eid_entries import eid_entries
from lispmsrt.wire.afi import Afi
from lispmsrt.wire.record_walk import prefix_key

_compiled = twin("lispmsrt.mapping._many_entries")


def _keys(width: int) -> st.SearchStrategy[int]:
    return st.builds(
        lambda number, length: prefix_key(number % (1 << width), width, length),
        st.one_of(st.integers(0, 1 << width), st.integers(0, 700).map(lambda n: n << width - 10)),
        st.integers(0, width),
    )


class FindTests(SynchronousTestCase):
    """They are found as they are one by one."""

    if _compiled is None:
        skip = "nothing is compiled here"

    def check(self, afi: int, kept: list[int], asked: list[int]) -> None:
        """Compare with asking for each."""
        assert _compiled is not None
        entries, _order = eid_entries(afi, object)
        for key in kept:
            entries[key] = object()
        for first in range(0, len(asked), 32):
            keys = asked[first : first + 32]
            found = _compiled.values_of(entries, keys)
            self.assertEqual(found, [entries.get(key) for key in keys])

    def test_nothing_is_kept(self) -> None:
        """Nor found."""
        for afi in (Afi.IPV4, Afi.IPV6, Afi.MAC):
            self.check(afi, [], [])
            self.check(afi, [], [1, 2, 3])

    def test_any_number_of_them(self) -> None:
        """Whatever a leaf holds, in whichever order they came; what is not there is beside it."""
        for afi, width in ((Afi.IPV4, 32), (Afi.IPV6, 128), (Afi.MAC, 48)):
            for count in (1, 2, 3, 31, 127, 128, 129, 256, 3000):
                keys = [prefix_key(number << width - 16, width, 24) for number in range(count)]
                beside = [key + 1 for key in keys] + [key - 1 for key in keys]
                self.check(afi, keys, keys + beside)
                self.check(afi, keys[::-1], keys + beside)
                self.check(afi, sorted(keys, key=lambda key: key * 7919 % 65537), keys + beside)

    def test_however_they_are_spread(self) -> None:
        """A guess of where one stands may be wrong, to both sides, by all of a leaf."""
        spreads: list[Callable[[int], int]] = [
            lambda number: number**3 // 64,
            lambda number: (1 << 31) - number**3 // 64,
            lambda number: number + (number // 100 << 20),
            lambda number: (number // 100 << 20) - number % 100,
        ]
        for spread in spreads:
            numbers = [spread(number) % (1 << 31) for number in range(4000)]
            keys = [prefix_key(number << 1, 32, 31) for number in numbers]
            self.check(Afi.IPV4, keys[::2], keys)
            for gone in (3, 7):
                self.check(Afi.IPV4, [key for at, key in enumerate(keys) if at % gone], keys)

    @given(st.lists(_keys(32), max_size=600), st.lists(_keys(32), max_size=32))
    def test_any_of_ipv4(self, kept: list[int], asked: list[int]) -> None:
        """Of any length, those that are there and others."""
        self.check(Afi.IPV4, kept, asked + kept)

    @given(st.lists(_keys(48), max_size=300), st.lists(_keys(48), max_size=32))
    def test_any_of_mac(self, kept: list[int], asked: list[int]) -> None:
        """Of any length, those that are there and others."""
        self.check(Afi.MAC, kept, asked + kept)

    @given(st.lists(_keys(128), max_size=100), st.lists(_keys(128), max_size=32))
    def test_any_of_ipv6(self, kept: list[int], asked: list[int]) -> None:
        """Of any length, those that are there and others."""
        self.check(Afi.IPV6, kept, asked + kept)
