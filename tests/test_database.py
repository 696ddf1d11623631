"""The mapping database against a naive model."""

from __future__ import annotations

import ipaddress

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.mapping.database import Database, Lease, Registration, Xtr
from lispmsrt.wire.addresses import Afi
from lispmsrt.wire.record_walk import prefix_key
from tests.builders import M, record

_WIDTHS = {int(Afi.IPV4): 32, int(Afi.IPV6): 128, int(Afi.MAC): 48}
_LEASE = Lease(Xtr("office", b"", b""), "UDP", "here", is_live=False)

Bits = tuple[int, int, str]
"""Instance ID, family, and the prefix as text of 0s and 1s."""


def _pattern(width: int) -> SearchStrategy[int]:
    """Few and close addresses, so that prefixes nest and collide."""
    near = st.integers(0, 7).map(lambda low: (0b1010 << width - 4) | low)
    far = st.sampled_from((0, (1 << width) - 1, 1 << width - 1))
    return st.one_of(near, far, st.integers(0, (1 << width) - 1))


@st.composite
def _addresses(draw: st.DrawFn) -> Bits:
    instance_id = draw(st.sampled_from((0, 0, 1, 0xFFFFFFFF)))
    afi = draw(st.sampled_from((*_WIDTHS, int(Afi.NAME))))
    if afi == Afi.NAME:
        name = draw(st.text("ab", min_size=1, max_size=3))
        return instance_id, afi, "".join(f"{ord(letter):08b}" for letter in name)
    width = _WIDTHS[afi]
    return instance_id, afi, f"{draw(_pattern(width)):0{width}b}"


@st.composite
def _prefixes(draw: st.DrawFn) -> Bits:
    instance_id, afi, bits = draw(_addresses())
    if afi != Afi.NAME:
        lengths = st.one_of(
            st.sampled_from((0, 1, 4, len(bits) - 1, len(bits))), st.integers(0, 32)
        )
        bits = bits[: draw(lengths)]
    return instance_id, afi, bits


def _key(bits: str) -> int:
    return prefix_key(int(bits or "0", 2), len(bits), len(bits))


def _covers(shorter: Bits, longer: Bits) -> bool:
    """What RFC 9301 and RFC 9735 say, by comparing text."""
    if shorter[:2] != longer[:2]:
        return False
    if shorter[1] == Afi.NAME:
        return shorter[2] == longer[2]
    return longer[2].startswith(shorter[2])


class DatabaseModelTests(SynchronousTestCase):
    """Random operations."""

    @given(
        st.lists(st.tuples(st.booleans(), _prefixes(), st.booleans()), max_size=40),
        st.lists(_addresses(), max_size=12),
    )
    def test_behaves_like_a_list_of_prefixes(
        self, operations: list[tuple[bool, Bits, bool]], queries: list[Bits]
    ) -> None:
        """Put, replace and remove; exact, longest and every covering match; counts."""
        database = Database()
        model: dict[Bits, Registration] = {}
        for is_put, prefix, wants in operations:
            instance_id, afi, bits = prefix
            table = database.table(instance_id, afi)
            if is_put:
                enter = table.replace if prefix in model else table.put
                model[prefix] = Registration(b"", _LEASE, M if wants else 0, 0.0, None)
                enter(len(bits), _key(bits), model[prefix])
            elif prefix in model:
                del model[prefix]
                table.remove(len(bits), _key(bits))
        self.assertEqual(len(database), len(model))
        self.assertEqual(set(map(id, database.registrations())), set(map(id, model.values())))
        for query in [*queries, *(pair[1] for pair in operations)]:
            self._check(database, model, query)
        self._check_counts(database, model)

    def _check(self, database: Database, model: dict[Bits, Registration], query: Bits) -> None:
        instance_id, afi, bits = query
        self.assertIs(database.exact(instance_id, afi, _key(bits)), model.get(query))
        covering = sorted((p for p in model if _covers(p, query)), key=lambda p: -len(p[2]))
        expected = [(_key(prefix[2]), model[prefix]) for prefix in covering]
        table = database.table(instance_id, afi)
        self.assertEqual(list(table.covering(len(bits), _key(bits))), expected)
        if len(bits) == _WIDTHS.get(afi, len(bits)):
            packed = int(bits, 2).to_bytes(len(bits) // 8, "big")
            longest = (len(covering[0][2]), *expected[0]) if covering else None
            self.assertEqual(database.longest_match(instance_id, afi, packed), longest)

    def _check_counts(self, database: Database, model: dict[Bits, Registration]) -> None:
        for (instance_id, afi), table in database.tables.items():
            here = {p[2]: made for p, made in model.items() if p[:2] == (instance_id, afi)}
            lengths = [len(bits) for bits in here]
            self.assertEqual(table.lengths, {n: lengths.count(n) for n in lengths})
            asked = [len(bits) for bits, made in here.items() if made.wants_notification]
            self.assertEqual(table.watching, {n: asked.count(n) for n in asked})


class DatabaseTests(SynchronousTestCase):
    """What the model does not say."""

    def test_empty_tables_match_nothing(self) -> None:
        """Asking makes no table."""
        database = Database()
        self.assertIsNone(database.exact(0, Afi.IPV4, 1))
        self.assertIsNone(database.longest_match(0, Afi.IPV4, bytes(4)))
        self.assertEqual(database.tables, {})

    def test_default_route_matches_everything_of_its_own(self) -> None:
        """A /0 covers its instance and family, and no other."""
        database = Database()
        made = Registration(b"", _LEASE, 0, 0.0, None)
        database.table(5, Afi.IPV6).put(0, 1, made)
        address = ipaddress.ip_address("2001:db8::1").packed
        self.assertEqual(database.longest_match(5, Afi.IPV6, address), (0, 1, made))
        self.assertIsNone(database.longest_match(4, Afi.IPV6, address))
        self.assertIsNone(database.longest_match(5, Afi.IPV4, address[:4]))

    def test_a_registration_decodes(self) -> None:
        """The record as a value, for views."""
        made = Registration(record("10.1.0.0/16", ttl=5), _LEASE, 0, 3.0, 8.0)
        self.assertEqual(str(made.decode().eid), "10.1.0.0/16")
        self.assertEqual((made.since, made.expires, made.wants_notification), (3.0, 8.0, False))

    def test_the_lease_decides_where_a_registration_has_no_deadline(self) -> None:
        """None while a session holds it."""
        lease = Lease(Xtr("office", bytes(24), b""), "TCP", "there", is_live=True)
        made = Registration(b"", lease, M, 0.0, None)
        self.assertIsNone(made.expires)
        lease.deadline = 4.0
        self.assertEqual(made.expires, 4.0)
        self.assertEqual(lease.ids, bytes(24))

    def test_an_xtr_is_named_by_its_id(self) -> None:
        """For people."""
        self.assertEqual(str(Xtr("office", b"\xab" * 24, b"")), "office xTR-ID " + "ab" * 16)
        self.assertEqual(str(Xtr("office", b"", bytes(4))), "office without xTR-ID")
