"""What a Map-Server knows about an EID: the mapping, or how large the hole around it is (RFC 9301
§5.5, §8.3, §8.4).

It finds; how to answer, and whether at all, is decided in control. It never changes anything.
"""

from __future__ import annotations

import enum
from collections import defaultdict
from collections.abc import Callable
from typing import NamedTuple

from lispmsrt.mapping.database import Database, EidTable, Registration
from lispmsrt.mapping.eid_index import WIDTHS, EidIndex
from lispmsrt.mapping.sites import SitePrefix, Sites, eid_key
from lispmsrt.wire.addresses import Address, Afi, EidPrefix

__all__ = ["MAX_MORE_SPECIFICS", "Found", "FoundKind", "Hit", "Lookup"]

_new = tuple.__new__
"Half of what calling a NamedTuple costs."

MAX_MORE_SPECIFICS = 16
"""Registrations below the one that was hit that are listed. With 16 and a locator or two each, a
Map-Reply still fits one datagram and is no weapon against whom a spoofed Map-Request names.
"""


class FoundKind(enum.Enum):
    """Which kind of answer it is."""

    MAPPED = "mapped"
    "somebody registered it"
    NOT_REGISTERED = "not registered"
    "a site may, but nobody did: soon that may change"
    NO_SITE = "no site"
    "no site is configured for it"


_MAPPED = FoundKind.MAPPED


class Hit(NamedTuple):
    """A registration that was found, and what it is called in its table."""

    table: EidTable
    length: int
    key: int
    registration: Registration


class Found(NamedTuple):
    """What there is to say about an EID."""

    kind: FoundKind
    eid: EidPrefix
    "what the answer's first record covers: the prefix that was hit, a part of it, or the hole"
    hit: Hit | None
    more_specifics: tuple[Hit, ...]
    "registrations inside ``eid``, in order; with none listed, none lies inside"
    site_prefix: SitePrefix | None
    "the longest configured prefix that covers the hit, or the query where there is none"


class _Query(NamedTuple):
    eid: EidPrefix
    afi: int
    width: int
    network: int
    length: int

    def key(self, length: int) -> int:
        """Return the key of the prefix of this length that covers the query."""
        return self.network >> self.width - length | 1 << length

    def prefix(self, length: int) -> EidPrefix:
        """Return the prefix of this length that covers the query."""
        eid = self.eid
        if length == self.length:
            return eid
        host_bits = self.width - length
        network = self.network >> host_bits << host_bits
        address = Address(self.afi, network.to_bytes(self.width >> 3, "big"))
        return EidPrefix(eid.instance_id, address, length, eid.explicit_instance)

    def first_host(self) -> EidPrefix:
        """Return the query's network address as a query of its own."""
        eid = self.eid
        return EidPrefix(eid.instance_id, eid.address, self.width, eid.explicit_instance)


class Lookup:
    """Longest match and holes, over all that is registered and configured.

    MAPPED: the longest match. Registrations below it are listed, wherever in it (RFC 9301
    §5.5). Where these are more than :data:`MAX_MORE_SPECIFICS`, ``eid`` is instead the widest
    prefix around the query inside the hit that touches none of them: the hit's locators are
    right for it, and the reply stays small.

    Otherwise the widest prefix around the query that touches nothing that is registered or
    configured, inside the longest configured prefix (NOT_REGISTERED), or anywhere (NO_SITE).

    A query that is a prefix, with more-specifics inside, has no hole around it: the answer
    covers just the query and lists these. Where they are too many the answer is that for its
    network address, the only one that is longer than what was asked. NOT_REGISTERED is said
    too where a site's prefix lies inside the query, for a reply about it must not last long.

    Names match whole and are their own hole. An LCAF can't be looked up: NO_SITE.
    """

    def __init__(self, database: Database, sites: Callable[[], Sites]) -> None:
        self.tables = database.tables
        self._sites = sites
        self._configured_of: Sites | None = None
        self._configured: dict[tuple[int, int], EidIndex] = {}
        "the configured prefixes of each (instance ID, family) of these sites, in order"

    def find(self, eid: EidPrefix) -> Found:
        """Find what is right for every packet to ``Found.eid``, and as wide as can be."""
        address = eid.address
        if not isinstance(address, Address) or address.afi not in WIDTHS:
            return self._find_whole(eid)
        afi = address.afi
        width, network = WIDTHS[afi], int.from_bytes(address.packed, "big")
        table = self.tables.get((eid.instance_id, afi))
        if table is None or table.index is None:
            return self._describe_hole(_Query(eid, afi, width, network, eid.length), None, -1)
        covering, below, above = table.index.neighbours(network, eid.length)
        if covering > above:
            return self._describe_plain_hit(eid, width, network, table, covering)
        query = _new(_Query, (eid, afi, width, network, eid.length))
        nearest = below if below > above else above
        if covering < 0 and below >= 0:
            # What covers the query covers its neighbour below too.
            covering = table.longest_cover(below, query.key(below))
        if covering < 0:
            return self._describe_hole(query, table, nearest)
        return self._describe_hit(query, table, covering, nearest)

    def _describe_plain_hit(
        self, eid: EidPrefix, width: int, network: int, table: EidTable, length: int
    ) -> Found:
        """Answer with a hit that has nothing below it: where most lookups end, at once."""
        host_bits = width - length
        leading = network >> host_bits
        key = leading | 1 << length
        hit = _new(Hit, (table, length, key, table.entries[key]))
        address = Address(table.afi, (leading << host_bits).to_bytes(width >> 3, "big"))
        covered = EidPrefix(eid.instance_id, address, length, eid.explicit_instance)
        site_prefix = self._sites().covering(eid.instance_id, table.afi, length, key)
        return _new(Found, (_MAPPED, covered, hit, (), site_prefix))

    def _describe_hit(self, query: _Query, table: EidTable, length: int, nearest: int) -> Found:
        """Answer with the hit of this prefix length, inside which others are registered.

        ``nearest`` is how many bits the query shares with the nearest of these.
        """
        key = query.key(length)
        hit = _new(Hit, (table, length, key, table.entries[key]))
        site_prefix = self._sites().covering(table.instance_id, table.afi, length, key)
        inside = _inside(table, query, length)
        if inside is not None:
            return Found(_MAPPED, query.prefix(length), hit, inside, site_prefix)
        if nearest < query.length:
            return _new(Found, (_MAPPED, query.prefix(nearest + 1), hit, (), site_prefix))
        inside = _inside(table, query, query.length)
        if inside is not None:
            return Found(_MAPPED, query.eid, hit, inside, site_prefix)
        return self.find(query.first_host())

    def _describe_hole(self, query: _Query, table: EidTable | None, nearest: int) -> Found:
        """Answer with the hole around a query that nothing registered covers.

        ``nearest`` is how many bits it shares with the nearest registered prefix.
        """
        eid, afi = query.eid, query.afi
        sites = self._sites()
        site_prefix = sites.covering(eid.instance_id, afi, query.length, query.key(query.length))
        kind, shortest, nearest_site = FoundKind.NO_SITE, 0, -1
        if site_prefix is not None:
            kind, shortest = FoundKind.NOT_REGISTERED, site_prefix.length
        if site_prefix is None or not sites.is_leaf(site_prefix):
            nearest_site = self._nearest_site(sites, query)
        if nearest < query.length and nearest_site < query.length:
            hole = query.prefix(max(shortest, nearest + 1, nearest_site + 1))
            return _new(Found, (kind, hole, None, (), site_prefix))
        if nearest_site >= query.length:
            kind = FoundKind.NOT_REGISTERED
        inside = () if table is None else _inside(table, query, query.length)
        if inside is None:
            return self.find(query.first_host())
        return Found(kind, eid, None, inside, site_prefix)

    def _nearest_site(self, sites: Sites, query: _Query) -> int:
        """Return how many bits the query shares with the nearest configured prefix that does not
        cover it.
        """
        if sites is not self._configured_of:
            self._configured = _in_order(sites)
            self._configured_of = sites
        configured = self._configured.get((query.eid.instance_id, query.afi))
        if configured is None:
            return -1
        _covering, below, above = configured.neighbours(query.network, query.length)
        return max(below, above)

    def _find_whole(self, eid: EidPrefix) -> Found:
        """Find a name, which matches whole or not at all (RFC 9735)."""
        if not isinstance(eid.address, Address) or eid.address.afi != Afi.NAME:
            return Found(FoundKind.NO_SITE, eid, None, (), None)
        instance_id, afi, length, key = eid_key(eid)
        site_prefix = self._sites().match(instance_id, afi, length, key)
        table = self.tables.get((instance_id, afi))
        if table is not None and key in table.entries:
            hit = Hit(table, length, key, table.entries[key])
            return Found(_MAPPED, eid, hit, (), site_prefix)
        kind = FoundKind.NO_SITE if site_prefix is None else FoundKind.NOT_REGISTERED
        return Found(kind, eid, None, (), site_prefix)


def _inside(table: EidTable, query: _Query, length: int) -> tuple[Hit, ...] | None:
    """Return what is registered inside the prefix of this length that covers the query, in order;
    None for more than :data:`MAX_MORE_SPECIFICS`.
    """
    host_bits = query.width - length
    network = query.network >> host_bits << host_bits
    index = table.index
    inside = index.inside(network, length, MAX_MORE_SPECIFICS) if index is not None else None
    if inside is None:
        return None
    entries = table.entries
    return tuple([_new(Hit, (table, key.bit_length() - 1, key, entries[key])) for key in inside])


def _in_order(sites: Sites) -> dict[tuple[int, int], EidIndex]:
    """Return an index of the configured prefixes of each (instance ID, family)."""
    prefixes: defaultdict[tuple[int, int], dict[int, SitePrefix]] = defaultdict(dict)
    for prefix in sites.prefixes:
        if prefix.afi in WIDTHS:
            prefixes[prefix.instance_id, prefix.afi][prefix.key] = prefix
    return {family: EidIndex(WIDTHS[family[1]], found) for family, found in prefixes.items()}
