"""Sites: who may register which EID-prefixes, with which keys and which RLOCs (RFC 9301 §8.2).

Policy only: it answers questions about what is configured and never sees what is registered.
Values are immutable; a changed configuration is a new :class:`Sites`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from lispmsrt.wire.addresses import Address, Afi, EidPrefix, decode_locator_address, plain_addresses
from lispmsrt.wire.authentication import Key
from lispmsrt.wire.errors import WireError
from lispmsrt.wire.reader import Reader
from lispmsrt.wire.record_walk import prefix_key

__all__ = ["RlocPrefix", "Site", "SitePrefix", "Sites", "eid_key"]

_LOCATOR_FIXED_OCTETS = 6  # priorities, weights and flags before the address

_VETTED_OCTETS = 256
"""Larger locator sets are looked at each time: few have them, and they would fill the memory."""

_VETTED_LIMIT = 4096
"""Locator sets whose verdict a site remembers; a peer that sends ever new ones empties the memory,
nothing more.
"""


def eid_key(eid: EidPrefix) -> tuple[int, int, int, int]:
    """Return instance ID, family, prefix length and prefix key of an EID-prefix whose address is
    no LCAF.
    """
    address = eid.address
    if not isinstance(address, Address):
        raise ValueError(f"{eid} is not an EID-prefix that can be looked up")
    width = 8 * len(address.packed)
    length = width if address.afi == Afi.NAME else eid.length
    key = prefix_key(int.from_bytes(address.packed, "big"), width, length)
    return eid.instance_id, address.afi, length, key


@dataclass(frozen=True, slots=True)
class RlocPrefix:
    """A range of plain addresses that a site's ETRs may use as RLOCs."""

    afi: int
    length: int
    key: int

    @classmethod
    def from_text(cls, text: str) -> RlocPrefix:
        """Parse ``192.0.2.0/24`` or the like."""
        _instance_id, afi, length, key = eid_key(EidPrefix.from_text(text, called="RLOC-prefix"))
        return cls(afi, length, key)

    def covers(self, address: Address) -> bool:
        """Whether the address lies inside."""
        if address.afi != self.afi:
            return False
        width = 8 * len(address.packed)
        return prefix_key(int.from_bytes(address.packed, "big"), width, self.length) == self.key


@dataclass(frozen=True, slots=True, eq=False)
class Site:
    """One site. Several keys may share a key ID, so that a key can be rotated without an outage."""

    name: str
    keys: tuple[Key, ...]
    allowed_rlocs: tuple[RlocPrefix, ...] = ()
    "empty: any"
    require_reliable_transport_bit: bool = True
    "whether only a Map-Register with the r bit arms an ETR"
    certificates: Mapping[bytes, frozenset[str]] = field(default_factory=dict)
    """xTRs known by their xTR-ID, with what a session's client certificate must show one of for it
    to be that xTR's; empty where none is demanded
    """
    allowed_itrs: tuple[RlocPrefix, ...] = ()
    "whose Map-Requests are answered, by their ITR-RLOC; empty: any"
    _vetted: dict[bytes, bool] = field(default_factory=dict, repr=False)

    def allows_locators(self, locators: bytes) -> bool:
        """Whether every RLOC of these records in wire form is allowed.

        An RLOC of a kind that can't be looked into is not, where a site restricts its RLOCs at all.
        """
        if not self.allowed_rlocs:
            return True
        verdict = self._vetted.get(locators)
        if verdict is None:
            if len(self._vetted) >= _VETTED_LIMIT:
                self._vetted.clear()
            verdict = all(map(self.allows_rloc, _rlocs(locators)))
            if len(locators) <= _VETTED_OCTETS:
                self._vetted[locators] = verdict
        return verdict

    def refused_rloc(self, locators: bytes) -> Address | None:
        """Return the first RLOC of these records in wire form that is not allowed; None where it is
        of a kind that can't be looked into.
        """
        return next((rloc for rloc in _rlocs(locators) if not self.allows_rloc(rloc)), None)

    def allows_session(self, ids: bytes, proven: frozenset[str]) -> bool:
        """Whether a session whose peer has proven these names and pins may be that of the xTR with
        these IDs (xTR-ID and Site-ID).
        """
        demanded = self.certificates.get(ids[:16])
        return not demanded or not demanded.isdisjoint(proven)

    def allows_itr(self, rloc: Address) -> bool:
        """Whether an ITR may have mappings of this site sent to this RLOC."""
        return not self.allowed_itrs or any(prefix.covers(rloc) for prefix in self.allowed_itrs)

    def allows_rloc(self, rloc: Address | None) -> bool:
        """Whether the site's configuration covers this plain address; None is an address that
        can't be known.
        """
        return rloc is not None and any(prefix.covers(rloc) for prefix in self.allowed_rlocs)


@dataclass(frozen=True, slots=True, eq=False)
class SitePrefix:
    """An EID-prefix that a site may register."""

    site: Site
    instance_id: int
    afi: int
    length: int
    key: int
    accept_more_specifics: bool = False

    @classmethod
    def of(cls, site: Site, eid: EidPrefix, accept_more_specifics: bool = False) -> SitePrefix:
        """Make one from an EID-prefix value."""
        return cls(site, *eid_key(eid), accept_more_specifics)


class Sites:
    """All sites, and the longest-matching configured prefix of any EID-prefix."""

    def __init__(self, prefixes: Iterable[SitePrefix] = ()) -> None:
        self.prefixes = tuple(prefixes)
        self._by_key: dict[tuple[int, int, int], SitePrefix] = {}
        lengths: dict[tuple[int, int], set[int]] = {}
        for prefix in self.prefixes:
            at = (prefix.instance_id, prefix.afi, prefix.key)
            if at in self._by_key:
                one, other = self._by_key[at].site.name, prefix.site.name
                raise ValueError(
                    f"an EID-prefix stands twice, in site {one!r} and in site {other!r}"
                )
            self._by_key[at] = prefix
            lengths.setdefault(at[:2], set()).add(prefix.length)
        self._lengths: dict[tuple[int, int], Sequence[int]] = {
            family: sorted(found, reverse=True) for family, found in lengths.items()
        }
        self._with_prefixes_inside = {
            outer
            for prefix in self.prefixes
            if prefix.length
            for outer in (self._parent(prefix),)
            if outer is not None
        }

    def by_name(self) -> dict[str, Site]:
        """Return the sites that have a prefix, by their names."""
        return {prefix.site.name: prefix.site for prefix in self.prefixes}

    def is_leaf(self, prefix: SitePrefix) -> bool:
        """Whether no configured prefix lies inside this one."""
        return prefix not in self._with_prefixes_inside

    def covering(self, instance_id: int, afi: int, length: int, key: int) -> SitePrefix | None:
        """Return the longest configured prefix that covers this one, accepting it or not."""
        for shorter in self._lengths.get((instance_id, afi), ()):
            if shorter <= length:
                prefix = self._by_key.get((instance_id, afi, key >> length - shorter))
                if prefix is not None:
                    return prefix
        return None

    def match(self, instance_id: int, afi: int, length: int, key: int) -> SitePrefix | None:
        """Return the configured prefix under which this one may be registered (RFC 9301 §8.2), if
        any.
        """
        prefix = self.covering(instance_id, afi, length, key)
        if prefix is None or not (prefix.accept_more_specifics or prefix.length == length):
            return None
        return prefix

    def _parent(self, prefix: SitePrefix) -> SitePrefix | None:
        return self.covering(prefix.instance_id, prefix.afi, prefix.length - 1, prefix.key >> 1)


def _rlocs(locators: bytes) -> list[Address | None]:
    reader = Reader(locators)
    found: list[Address | None] = []
    try:
        while reader.remaining:
            reader.read(_LOCATOR_FIXED_OCTETS)
            found.extend(plain_addresses(decode_locator_address(reader)) or (None,))
    except WireError:
        found.append(None)
    return found
