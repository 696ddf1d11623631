"""EID-prefixes as keys of dicts: back they come, and nobody chooses their hash."""

from __future__ import annotations

from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.mapping.database import EidTable
from lispmsrt.mapping.names import key_of, name_of
from lispmsrt.wire.addresses import Afi

_TABLE = EidTable(0, Afi.IPV6)
_PERIOD = (1 << 61) - 1
"""Python's hash of a number is its remainder by this."""


class NameTests(SynchronousTestCase):
    """A table and a prefix key."""

    @given(st.integers(1, 1 << 2040))
    def test_the_key_comes_back(self, key: int) -> None:
        """Of any length: distinguished names have long ones."""
        name = name_of(_TABLE, key)
        self.assertIs(name[0], _TABLE)
        self.assertEqual(key_of(name), key)

    @given(st.integers(1, 1 << 129), st.integers(1, 1 << 129))
    def test_two_keys_have_two_names(self, one: int, other: int) -> None:
        """And one has one."""
        self.assertEqual(name_of(_TABLE, one) == name_of(_TABLE, other), one == other)

    def test_numbers_of_one_hash_have_names_of_many(self) -> None:
        """A peer that is allowed an IPv6 EID-prefix finds 2^35 such addresses in a /32."""
        first = 1 << 128 | int(ip_address("2001:db8::"))
        keys = [first + turn * _PERIOD for turn in range(1000)]
        self.assertEqual(len(set(map(hash, keys))), 1)
        self.assertEqual(len({hash(name_of(_TABLE, key)) for key in keys}), len(keys))
