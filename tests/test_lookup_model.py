"""Lookups against a naive reference: lists of prefixes as text of 0s and 1s, tried one by one."""

from __future__ import annotations

import random
from collections.abc import Collection
from itertools import chain

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.mapping import eid_index, eid_range, lookup
from lispmsrt.mapping.database import Database, Lease, Registration, Xtr
from lispmsrt.mapping.lookup import Found, Hit, Lookup
from lispmsrt.mapping.sites import SitePrefix, Sites, eid_key
from lispmsrt.wire.addresses import Address, Afi, EidPrefix
from tests.builders import site

_WIDTHS = {int(Afi.IPV4): 32, int(Afi.IPV6): 128, int(Afi.MAC): 48}
_LEASE = Lease(Xtr("office", b"", b""), "UDP", "here", is_live=False)
_SITE = site()

Answer = tuple[str, str, str | None, list[str], str | None]
"""Kind, EID, hit, more-specifics, configured prefix."""


class Reference:
    """What :meth:`Lookup.find` says it finds, by trying everything."""

    def __init__(self, width: int, limit: int) -> None:
        self.width = width
        self.limit = limit
        self.registered: set[str] = set()
        self.configured: set[str] = set()

    def find(self, query: str) -> Answer:
        """Answer."""
        hit = _longest(self.registered, query)
        site_prefix = _longest(self.configured, query if hit is None else hit)
        if hit is not None:
            below = self._registered_inside(hit)
            if len(below) <= self.limit:
                return "MAPPED", hit, hit, below, site_prefix
            kind, shortest, others = "MAPPED", len(hit), set(below)
        else:
            kind = "NO_SITE" if site_prefix is None else "NOT_REGISTERED"
            shortest, others = len(site_prefix or ""), self.registered | self.configured
        touchable = [other for other in others if not query.startswith(other)]
        for length in range(shortest, len(query) + 1):
            if not any(other.startswith(query[:length]) for other in touchable):
                return kind, query[:length], hit, [], site_prefix
        if hit is None and any(prefix.startswith(query) for prefix in self.configured):
            kind = "NOT_REGISTERED"
        below = self._registered_inside(query)
        if len(below) <= self.limit:
            return kind, query, hit, below, site_prefix
        return self.find(query.ljust(self.width, "0"))

    def _registered_inside(self, outer: str) -> list[str]:
        inside = (each for each in self.registered if each.startswith(outer) and each != outer)
        return sorted(inside, key=lambda bits: (bits.ljust(self.width, "0"), len(bits)))


def _longest(prefixes: Collection[str], query: str) -> str | None:
    return max((each for each in prefixes if query.startswith(each)), key=len, default=None)


class Tried:
    """A database and its lookup beside the reference."""

    def __init__(self, case: SynchronousTestCase, afi: int, limit: int) -> None:
        self._case = case
        self._afi = afi
        self._width = _WIDTHS[afi]
        self._database = Database()
        self._sites = Sites()
        self._lookup = Lookup(self._database, lambda: self._sites)
        self.reference = Reference(self._width, limit)

    def turn(self, bits: str) -> None:
        """Register the prefix, or withdraw it if it is registered."""
        _instance_id, _afi, length, key = eid_key(self._eid(bits))
        table = self._database.table(9, self._afi)
        if bits in self.reference.registered:
            table.remove(length, key)
        else:
            table.put(length, key, Registration(b"", _LEASE, 0, 0.0, None))
        self.reference.registered ^= {bits}

    def configure(self, prefixes: set[str]) -> None:
        """Replace the sites."""
        self._sites = Sites(SitePrefix.of(_SITE, self._eid(bits), True) for bits in prefixes)
        self.reference.configured = prefixes

    def ask(self, bits: str) -> None:
        """Compare the two."""
        found = self._lookup.find(self._eid(bits))
        self._case.assertEqual(self._answer(found), self.reference.find(bits), bits)

    def _eid(self, bits: str) -> EidPrefix:
        packed = int(bits.ljust(self._width, "0"), 2).to_bytes(self._width // 8, "big")
        return EidPrefix(9, Address(self._afi, packed), len(bits))

    def _answer(self, found: Found) -> Answer:
        configured = found.site_prefix
        return (
            found.kind.name,
            self._bits(eid_key(found.eid)[3]),
            found.hit and self._checked(found.hit),
            [self._checked(hit) for hit in found.more_specifics],
            configured and self._bits(configured.key),
        )

    def _checked(self, hit: Hit) -> str:
        bits = self._bits(hit.key)
        self._case.assertEqual(len(bits), hit.length)
        self._case.assertIs(hit.table.entries[hit.key], hit.registration)
        return bits

    def _bits(self, key: int) -> str:
        return f"{key:b}"[1:]


def _prefixes(width: int) -> st.SearchStrategy[str]:
    """Few and close ones, so that they nest: up to 5 free bits at the beginning, or at the end."""
    free = st.text("01", max_size=5)
    begin = free.map(lambda bits: bits[:5])
    end = st.builds(lambda fixed, bits: fixed * (width - 5) + bits, st.sampled_from("01"), free)
    return st.one_of(begin, end, end.map(lambda bits: bits.ljust(width, "0")))


@st.composite
def _runs(draw: st.DrawFn) -> tuple[int, int, list[tuple[str, str]], list[set[str]]]:
    """Family, limit, operations, and the sites one after the other."""
    afi = draw(st.sampled_from(sorted(_WIDTHS)))
    prefixes = _prefixes(_WIDTHS[afi])
    kinds = st.sampled_from(("turn", "turn", "turn", "ask", "ask", "configure"))
    operations = draw(st.lists(st.tuples(kinds, prefixes), max_size=60))
    return (
        afi,
        draw(st.integers(0, 3)),
        operations,
        draw(st.lists(st.sets(prefixes, max_size=4), min_size=1, max_size=4)),
    )


class LookupModelTests(SynchronousTestCase):
    """Random registrations, withdrawals, sites and questions."""

    @given(_runs())
    def test_finds_what_trying_everything_finds(
        self, run: tuple[int, int, list[tuple[str, str]], list[set[str]]]
    ) -> None:
        """All families; prefixes and hosts; leaves and limits so small that they are passed."""
        afi, limit, operations, configurations = run
        for module, name, value in (
            (eid_range, "_ROW", 2),
            (eid_range, "_SMALL", 1),
            (eid_range, "_FEW", 1),
            (eid_range, "FULL", 4),
            (eid_index, "FULL", 4),
            (eid_index, "_BATCH", 4),
            (eid_index, "_FEW", 1),
            (lookup, "MAX_MORE_SPECIFICS", limit),
        ):
            self.patch(module, name, value)
        tried = Tried(self, afi, limit)
        turned = 0
        for kind, bits in operations:
            if kind == "turn":
                tried.turn(bits)
            elif kind == "ask":
                tried.ask(bits)
            else:
                tried.configure(configurations[turned % len(configurations)])
                turned += 1
        for bits in {bits for _kind, bits in operations}:
            tried.ask(bits)
            tried.ask(bits.ljust(_WIDTHS[afi], "1"))

    def test_finds_it_among_thousands_that_come_and_go(self) -> None:
        """Leaves of their usual size are made, cut and emptied between the questions."""
        chosen = random.Random(20)
        tried = Tried(self, Afi.IPV4, lookup.MAX_MORE_SPECIFICS)

        def prefix(shortest: int) -> str:
            bits = f"{chosen.getrandbits(13):013b}"
            return ("00001010" + bits)[: chosen.randint(shortest, 21)]

        tried.configure({prefix(6) for _number in range(20)})
        for share in chain([1.0] * 4, [0.2] * 4, [0.9] * 4):
            for _number in range(700):
                bits = prefix(12)
                is_there = bits in tried.reference.registered
                if is_there != (chosen.random() < share):
                    tried.turn(bits)
                if chosen.random() < 0.02:
                    tried.ask(prefix(5).ljust(chosen.choice((21, 32)), "0"))
            for _number in range(20):
                tried.ask(prefix(5))
