"""Mappings as a Map-Server tells its subscribers (RFC 9437 §5, §6): what a Map-Reply would say of
them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from lispmsrt.mapping.database import Database, EidTable, Registration
from lispmsrt.mapping.eid_index import WIDTHS, EidIndex
from lispmsrt.mapping.lookup import FoundKind, Lookup
from lispmsrt.mapping.publisher import eid_of_key
from lispmsrt.mapping.sites import Sites, eid_key
from lispmsrt.wire.addresses import Address, Afi, EidPrefix
from lispmsrt.wire.map_register import RegisterFlag
from lispmsrt.wire.records import Action
from lispmsrt.wire.served_records import locator_count, negative_record, served_record

__all__ = [
    "AMPLIFICATION",
    "PublishedRecords",
    "Told",
    "is_proxied",
    "keys_inside",
    "longest_match",
]

AMPLIFICATION = 8
"""Everything that one datagram draws to somebody who has proved nothing is no larger than so many
times that, IP and UDP headers counted.
"""

_NO_SITE_TTL = 15  # minutes (RFC 9301 §8.3)
_NOT_REGISTERED_TTL = 1
_ASK_AGAIN_TTL = 1


class Told(NamedTuple):
    """What a subscriber is told of the EID-prefix that it subscribed to."""

    key: int | None
    "of the mapping; None: there is none"
    record: bytes


class PublishedRecords:
    """What may be told of which mapping, and to whom."""

    def __init__(self, database: Database, lookup: Lookup, sites: Callable[[], Sites]) -> None:
        self._tables = database.tables
        self._lookup = lookup
        self._sites = sites
        self._of_sites: Sites | None = None
        self._families: frozenset[tuple[int, int]] = frozenset()

    def why_not(
        self, instance_id: int, afi: int, length: int, key: int, rlocs: Iterable[bytes]
    ) -> str:
        """Return why who takes answers at these RLOCs can't subscribe to the mapping of this
        EID-prefix; nothing if it can.
        """
        table = self._tables.get((instance_id, afi))
        # Ever new instance IDs must not leave ever new tables behind.
        if table is None and not self._is_configured(instance_id, afi):
            return "no site in that instance"
        match = longest_match(table, length, key)
        if table is None or match is None:
            return ""
        if not self._allows(table, match[0], rlocs):
            return "policy"
        # RFC 9437 §3: Map-Servers answer for the mappings that they publish.
        return "" if is_proxied(match[1]) else "no proxy-reply"

    def told(self, eid: EidPrefix, rlocs: Iterable[bytes], room: int | None = None) -> Told:
        """Return the mapping of an EID-prefix, or that there is none.

        ``room`` is how many octets the record may have; a larger one is only hinted at.
        """
        instance_id, afi, length, key = eid_key(eid)
        table = self._tables.get((instance_id, afi))
        match = longest_match(table, length, key)
        if table is None or match is None:
            # It covers what was asked and no more: what a later publication says is not hidden.
            is_known = self._lookup.find(eid).kind is not FoundKind.NO_SITE
            ttl = _NOT_REGISTERED_TTL if is_known else _NO_SITE_TTL
            return Told(None, negative_record(eid, ttl, Action.NATIVELY_FORWARD))
        record = self.record(table, match[0], rlocs)
        if room is not None and len(record) > room:
            record = _ask_again(eid_of_key(table, match[0]))
        return Told(match[0], record)

    def record(self, table: EidTable, key: int, rlocs: Iterable[bytes]) -> bytes:
        """Return the record of exactly this EID-prefix; that of one nobody registers has TTL 0."""
        registration = table.entries.get(key)
        eid = eid_of_key(table, key)
        if registration is None:
            return negative_record(eid, 0, Action.NO_ACTION)
        if not self._allows(table, key, rlocs):
            return negative_record(eid, _ASK_AGAIN_TTL, Action.DROP_POLICY_DENIED)
        if not is_proxied(registration):
            # Its ETRs want to answer themselves, perhaps not everybody the same.
            return _ask_again(eid)
        return served_record(registration.record, eid)

    def _is_configured(self, instance_id: int, afi: int) -> bool:
        sites = self._sites()
        if sites is not self._of_sites:
            self._of_sites = sites
            self._families = frozenset((each.instance_id, each.afi) for each in sites.prefixes)
        return (instance_id, afi) in self._families

    def _allows(self, table: EidTable, key: int, rlocs: Iterable[bytes]) -> bool:
        length = key.bit_length() - 1
        prefix = self._sites().covering(table.instance_id, table.afi, length, key)
        if prefix is None or not prefix.site.allowed_itrs:
            return True
        return all(
            prefix.site.allows_itr(Address(Afi.IPV4 if len(rloc) == 4 else Afi.IPV6, rloc))
            for rloc in rlocs
        )


def is_proxied(registration: Registration) -> bool:
    """Whether the Map-Server answers for the ETRs (RFC 9301 §5.6, proxy-reply)."""
    if registration.flags & RegisterFlag.PROXY_REPLY:
        return True
    return not locator_count(registration.record)


def longest_match(table: EidTable | None, length: int, key: int) -> tuple[int, Registration] | None:
    """Return key and registration of the longest prefix that covers this one, or is it."""
    return next(table.covering(length, key), None) if table is not None else None


def keys_inside(table: EidTable, length: int, key: int, limit: int) -> list[int]:
    """Return the keys of what is registered inside an EID-prefix; none where it is more than
    ``limit``.
    """
    width = WIDTHS.get(table.afi)
    if width is None or not table.entries:
        return []
    if table.index is None:
        table.index = EidIndex(width, table.entries)
    return table.index.inside((key ^ 1 << length) << width - length, length, limit) or []


def _ask_again(eid: EidPrefix) -> bytes:
    """Return a record that says no more than to send a Map-Request."""
    return negative_record(eid, _ASK_AGAIN_TTL, Action.SEND_MAP_REQUEST)
