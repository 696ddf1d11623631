"""Which key a Map-Server shares with an xTR that it knows by its IDs only (RFC 9437 §5)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

from lispmsrt.control.subscription_table import SecurityAssociation
from lispmsrt.mapping.database import Lease
from lispmsrt.mapping.new_mappings import NewMappings
from lispmsrt.mapping.sites import Site, Sites
from lispmsrt.mapping.verdicts import Change
from lispmsrt.wire.authentication import AlgorithmId, Key

__all__ = ["MAX_KNOWN_XTRS", "XtrKeys"]

MAX_KNOWN_XTRS = 65_536
"""xTRs that are remembered by what they registered, some 20 MB; beyond, of the site that has most
whoever registered longest ago has to be configured, or to register again.
"""


class XtrKeys:
    """The site of each xTR: the one where it is configured, else the one where it registered."""

    def __init__(self, sites: Callable[[], Sites], limit: int = MAX_KNOWN_XTRS) -> None:
        self._sites = sites
        self._limit = limit
        self._leases: dict[bytes, Lease] = {}
        "by xTR-ID and Site-ID: what each registered with last"
        self._by_site: dict[str, OrderedDict[bytes, None]] = {}
        self._latest: Lease | None = None
        self._of_sites: Sites | None = None
        self._by_name: dict[str, Site] = {}
        self._configured: dict[bytes, Site] = {}

    def find(self, ids: bytes) -> SecurityAssociation | None:
        """Return what is shared with an xTR-ID and Site-ID (24 octets); None for who is not
        known.
        """
        self._take_in_sites()
        site = self._configured.get(ids[:16])
        if site is not None:
            name = site.name
        elif (lease := self._leases.get(ids)) is not None:
            name = lease.xtr.site
        else:
            return None
        association = SecurityAssociation(name, self._key_of)
        return association if association.key() is not None else None

    def changed(self, changes: Sequence[Change]) -> None:
        """Learn from what is registered; an xTR-ID counts only where a MAC covered it."""
        # New registrations of a chunk are all of one lease.
        told = changes[:1] if isinstance(changes, NewMappings) else changes
        for change in told:
            after = change.after
            if after is not None and after.lease is not self._latest and after.lease.xtr.ids:
                self._latest = after.lease if self._note(after.lease) else None

    def _key_of(self, name: str) -> Key | None:
        self._take_in_sites()
        site = self._by_name.get(name)
        if site is None:
            return None
        # Of several keys the first is the one that is to stay: the others are being rotated out.
        return next((key for key in site.keys if key.algorithm_id is not AlgorithmId.NONE), None)

    def _note(self, lease: Lease) -> bool:
        """Remember who registered; not a second site, while what the first registered is there."""
        ids, site = lease.xtr.ids, lease.xtr.site
        earlier = self._leases.get(ids)
        if earlier is not None:
            if earlier.xtr.site != site and earlier.held:
                return False
            self._forget(ids, earlier.xtr.site)
        elif len(self._leases) >= self._limit:
            # The site that has most pays, with its oldest: nobody uses up everyone's.
            fullest = max(self._by_site, key=lambda name: len(self._by_site[name]))
            self._forget(next(iter(self._by_site[fullest])), fullest)
        self._leases[ids] = lease
        self._by_site.setdefault(site, OrderedDict())[ids] = None
        return True

    def _forget(self, ids: bytes, site: str) -> None:
        del self._leases[ids]
        of_site = self._by_site[site]
        del of_site[ids]
        if not of_site:
            del self._by_site[site]

    def _take_in_sites(self) -> None:
        sites = self._sites()
        if sites is self._of_sites:
            return
        self._of_sites = sites
        self._by_name = sites.by_name()
        self._configured = {
            xtr_id: site for site in self._by_name.values() for xtr_id in site.certificates
        }
