"""Configured sites: what they may register, what of it is there, by whom."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import islice

from lispmsrt.mapping.database import EidTable
from lispmsrt.mapping.eid_index import WIDTHS
from lispmsrt.mapping.merging import parts_of
from lispmsrt.mapping.registrar import Registrar
from lispmsrt.mapping.sites import SitePrefix
from lispmsrt.views.cursors import at_most, text_from
from lispmsrt.views.naming import key_text, rloc_prefix_text, site_prefix_text
from lispmsrt.views.site_prefixes import SitePrefixes
from lispmsrt.views.tally import Tallies
from lispmsrt.views.times import Times
from lispmsrt.views.values import Page, SitePrefixView, SiteView

__all__ = ["MAX_BELOW", "MAX_COUNTED", "MAX_PREFIXES", "SitePages"]

MAX_PREFIXES = 1_000
"""EID-prefixes that are told of one site, and of all sites of one page: each takes some 10 us."""

MAX_BELOW = 1_000
"""Registrations below an EID-prefix up to which they are counted."""

MAX_COUNTED = 20_000
"""Registrations that are counted for one page: some 5 ms."""

_MAX_RLOCS = 100
"""RLOC-prefixes of a site that are told."""


class _Room:
    """What is left of what one page may take."""

    def __init__(self) -> None:
        self.prefixes = MAX_PREFIXES
        self.counted = MAX_COUNTED


class SitePages:
    """Pages of sites, in the order of their names."""

    def __init__(
        self, registrar: Registrar, prefixes: SitePrefixes, tallies: Tallies, times: Times
    ) -> None:
        self._registrar = registrar
        self._prefixes = prefixes
        self._tallies = tallies
        self._times = times

    def page(self, cursor: str | None, limit: int) -> Page[SiteView]:
        """Return some sites. Raises CursorError."""
        after = text_from(cursor)
        names = self._prefixes.names
        first = 0 if after is None else bisect_right(names, after)
        room = _Room()
        items: list[SiteView] = []
        for name in islice(names, first, first + at_most(limit)):
            if items and (len(self._prefixes.of(name)) > room.prefixes or room.counted <= 0):
                break
            items.append(self._view(name, room))
        end = first + len(items)
        is_at_end = end >= len(names)
        return Page(tuple(items), len(names), None if is_at_end else names[end - 1].encode().hex())

    def one(self, name: str) -> SiteView | None:
        """Return the site of this name."""
        return self._view(name, _Room()) if self._prefixes.of(name) else None

    def _view(self, name: str, room: _Room) -> SiteView:
        prefixes: Sequence[SitePrefix] = self._prefixes.of(name)
        site = prefixes[0].site
        tally = self._tallies.of_site(name)
        shown = prefixes[: max(1, room.prefixes)]
        room.prefixes -= len(shown)
        return SiteView(
            name=name,
            keys=tuple(map(key_text, site.keys)),
            allowed_rlocs=tuple(map(rloc_prefix_text, site.allowed_rlocs[:_MAX_RLOCS])),
            allowed_itrs=tuple(map(rloc_prefix_text, site.allowed_itrs[:_MAX_RLOCS])),
            xtrs=tally.xtrs,
            sessions=tally.sessions,
            registrations=tally.registrations,
            rejections=self._registrar.rejections.per_site[name],
            eid_prefixes=tuple([self._prefix(one, room) for one in shown]),
            prefixes=len(prefixes),
        )

    def _prefix(self, prefix: SitePrefix, room: _Room) -> SitePrefixView:
        table = self._registrar.database.tables.get((prefix.instance_id, prefix.afi))
        registration = table.entries.get(prefix.key) if table is not None else None
        below = self._below(prefix, table, room) if table is not None else 0
        up, last_registered, who = "no", None, ""
        if registration is not None:
            parts = parts_of(registration)
            up = "yes#" if any([part.lease.is_live for part in parts]) else "yes"
            last_registered = self._times.wall(registration.since)
            who = parts[-1].lease.source
        return SitePrefixView(
            eid_prefix=site_prefix_text(prefix),
            instance_id=prefix.instance_id,
            accept_more_specifics=prefix.accept_more_specifics,
            up=up,
            last_registered=last_registered,
            who_last_registered=who,
            registrations=below if below < 0 else below + (registration is not None),
        )

    def _below(self, prefix: SitePrefix, table: EidTable, room: _Room) -> int:
        """Count what is registered inside an EID-prefix; -1 for more than may be counted."""
        if table.index is None:
            return 0
        limit = min(MAX_BELOW, room.counted)
        network = (prefix.key ^ 1 << prefix.length) << WIDTHS[prefix.afi] - prefix.length
        inside = table.index.inside(network, prefix.length, limit) if limit > 0 else None
        room.counted -= limit if inside is None else len(inside)
        return -1 if inside is None else len(inside)
