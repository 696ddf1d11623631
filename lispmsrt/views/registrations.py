"""What is registered, page by page, and what of it matches a filter."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence

from lispmsrt.mapping.database import Lease
from lispmsrt.mapping.merging import parts_of
from lispmsrt.mapping.registrar import Registrar
from lispmsrt.mapping.sites import eid_key
from lispmsrt.views.cursors import Position, at_most
from lispmsrt.views.name_order import NameOrder
from lispmsrt.views.registration_views import RegistrationViews
from lispmsrt.views.registration_walk import (
    MAX_LOOKED_AT,
    Entry,
    Range,
    Walk,
    is_inside,
    place,
)
from lispmsrt.views.site_prefixes import SitePrefixes
from lispmsrt.views.times import Times
from lispmsrt.views.values import Page, RegistrationFilter, RegistrationView
from lispmsrt.wire.addresses import Address, Afi
from lispmsrt.wire.record_walk import walk_records

__all__ = ["MAX_LEASES", "MAX_OCTETS", "MAX_OF_LEASES", "RegistrationPages"]

MAX_LEASES = 20_000
"""Leases that are looked through for those that a filter means: some 3 ms. With more, their
registrations are found among all others.
"""

MAX_OF_LEASES = 2_000
"""Registrations of these leases that are put in order for each page: some 5 ms."""

MAX_OCTETS = 16_384
"""Octets of records that are taken apart for one page: merged ones may be large, and each of their
locators costs some 5 us.
"""

_AS_IF_LONGER = 32
"""Octets that each record counts for besides: what is told of its xTR takes some 30 us."""


class _Matches:
    """Whether a registration is asked for."""

    def __init__(self, asked: RegistrationFilter, times: Times) -> None:
        self._site = asked.site
        self._transport = asked.transport.upper() if asked.transport is not None else None
        self._xtr_id = _xtr_id(asked.xtr_id)
        self._since = times.monotonic(asked.since) if asked.since is not None else None
        self._instance_id = asked.instance_id
        self._eid = eid_key(asked.eid) if asked.eid is not None else None
        by = (self._site, self._transport, self._xtr_id)
        self.asks_for_lease = any([one is not None for one in by])

    def lease(self, lease: Lease) -> bool:
        """Whether what the lease holds may be asked for."""
        return (
            (self._site is None or lease.xtr.site == self._site)
            and (self._transport is None or lease.transport.upper() == self._transport)
            and (self._xtr_id is None or lease.xtr.ids[:16] == self._xtr_id)
        )

    def entry(self, entry: Entry) -> bool:
        """Whether it is asked for, by what can differ inside the ranges of a walk."""
        registration = entry.registration
        if self._since is not None and registration.since < self._since:
            return False
        if not self.asks_for_lease:
            return True
        return any([self.lease(part.lease) for part in parts_of(registration)])

    def place(self, position: Position) -> bool:
        """Whether an EID-prefix is asked for."""
        if self._instance_id is not None and position.instance_id != self._instance_id:
            return False
        if self._eid is None:
            return True
        _instance_id, afi, _length, key = self._eid
        if position.afi != afi or afi == Afi.NAME:
            return position[1:3] == (afi, key)
        return is_inside(position.key, key) or is_inside(key, position.key)


class RegistrationPages:
    """Pages of registrations."""

    def __init__(
        self,
        registrar: Registrar,
        prefixes: SitePrefixes,
        views: RegistrationViews,
        times: Times,
    ) -> None:
        self._registrar = registrar
        self._prefixes = prefixes
        self._database = registrar.database
        self._views = views
        self._times = times
        self._names = NameOrder()
        self._families: list[tuple[int, int]] = []

    def page(
        self, asked: RegistrationFilter, cursor: str | None, limit: int
    ) -> Page[RegistrationView]:
        """Return some registrations. Raises CursorError."""
        after = Position.from_text(cursor)
        if asked.eid is not None and not isinstance(asked.eid.address, Address):
            return Page((), 0, None)
        matches = _Matches(asked, self._times)
        few = self._of_leases(matches)
        if few is not None:
            entries = iter(few[bisect_right(few, place(*after[:3]), key=_place_of) :])
            items, position = self._take(entries, matches, at_most(limit))
            return Page(items, len(few), position and str(position))
        walk = Walk(self._database, self._names, self._ranges(asked, after), after)
        items, position = self._take(walk.entries(), matches, at_most(limit))
        position = position or walk.position
        is_all = cursor is None and position is None
        total = len(items) if is_all else self._total(asked)
        return Page(items, total, position and str(position))

    def _take(
        self, entries: Iterator[Entry], matches: _Matches, limit: int
    ) -> tuple[tuple[RegistrationView, ...], Position | None]:
        """Return what matches, and where to go on if there is no more room."""
        items: list[RegistrationView] = []
        octets, last = 0, None
        for entry in entries:
            if not matches.entry(entry):
                continue
            if last is not None and (len(items) >= limit or octets >= MAX_OCTETS):
                return tuple(items), last
            octets += sum(
                [_AS_IF_LONGER + len(part.record) for part in parts_of(entry.registration)]
            )
            items.append(self._views.view(*entry[1:]))
            last = entry.position
        return tuple(items), None

    def _total(self, asked: RegistrationFilter) -> int | None:
        """Return how many EID-prefixes there are in all, where that is not for counting."""
        tables = self._database.tables
        if asked != RegistrationFilter(instance_id=asked.instance_id):
            return None
        if asked.instance_id is not None:
            return sum(
                [
                    len(tables[asked.instance_id, afi].entries)
                    for afi in Afi
                    if (asked.instance_id, afi) in tables
                ]
            )
        return len(self._database) if len(tables) <= MAX_LOOKED_AT else None

    # Where to look

    def _of_leases(self, matches: _Matches) -> list[Entry] | None:
        """Return all that match, in order, where they are few and found by who holds them."""
        leases = self._registrar.leases
        if not matches.asks_for_lease or len(leases) > MAX_LEASES:
            return None
        held = [lease.held for lease in leases if matches.lease(lease)]
        if sum(map(len, held)) > MAX_OF_LEASES:
            return None
        tables = self._database.tables
        found: dict[Position, Entry] = {}
        for parts in held:
            for part in parts:
                record = part.record
                _, _, instance_id, afi, _, key, *_ = walk_records(record, 0, len(record), 1)[0]
                position = Position(instance_id, afi, key)
                table = tables[instance_id, afi]
                found[position] = Entry(position, table, key, table.entries[key])
        entries = [
            one for one in found.values() if matches.place(one.position) and matches.entry(one)
        ]
        return sorted(entries, key=_place_of)

    def _ranges(self, asked: RegistrationFilter, after: Position) -> Sequence[Range]:
        """Return where everything is that may be asked for."""
        if asked.site is not None and asked.eid is None:
            found = self._prefixes.ranges(asked.site)
            if asked.instance_id is None:
                return found
            return [one for one in found if one.instance_id == asked.instance_id]
        families = self._in_order()
        first = bisect_left(families, after[:2])
        if asked.instance_id is not None:
            first = bisect_left(families, (asked.instance_id, 0))
        # A walk ends before the last of so many.
        families = families[first : first + MAX_LOOKED_AT + 2]
        if asked.instance_id is not None:
            families = [one for one in families if one[0] == asked.instance_id]
        if asked.eid is None:
            return [Range(*family, 0, 1) for family in families]
        _instance_id, afi, length, key = eid_key(asked.eid)
        return [Range(*one, length, key, True) for one in families if one[1] == afi]

    def _in_order(self) -> list[tuple[int, int]]:
        """Return the (instance ID, family) of all tables; there are never fewer."""
        tables = self._database.tables
        if len(self._families) != len(tables):
            self._families = sorted(tables)
        return self._families


def _place_of(entry: Entry) -> tuple[int, int, int, int]:
    return place(*entry.position[:3])


def _xtr_id(text: str | None) -> bytes | None:
    """Return an xTR-ID as octets, colons and dashes left out; nobody has what can't be read."""
    if text is None:
        return None
    try:
        return bytes.fromhex(text.replace(":", "").replace("-", ""))
    except ValueError:
        return b"no xTR-ID"
