"""The configured EID-prefixes of each site, gathered once for each configuration."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lispmsrt.mapping.sites import Site, SitePrefix, Sites
from lispmsrt.views.registration_walk import Range, merged_ranges, place

__all__ = ["SitePrefixes"]

_MAX_RANGES = 16
"""Sites whose EID-prefixes are kept in order, for those who page through their registrations."""


class SitePrefixes:
    """EID-prefixes by site, of the sites in force."""

    def __init__(self, sites: Callable[[], Sites]) -> None:
        self._sites = sites
        self._gathered_of: Sites | None = None
        self._of: dict[str, list[SitePrefix]] = {}
        self._names: list[str] = []
        self._families: list[tuple[int, int]] = []
        self._ranges: dict[str, list[Range]] = {}

    @property
    def names(self) -> Sequence[str]:
        """The names of all sites that have a prefix, in order."""
        self._gather()
        return self._names

    @property
    def families(self) -> Sequence[tuple[int, int]]:
        """Each (instance ID, family) that a site has an EID-prefix in, in order."""
        self._gather()
        return self._families

    def site(self, name: str) -> Site | None:
        """Return the site of this name."""
        prefixes = self.of(name)
        return prefixes[0].site if prefixes else None

    def of(self, name: str) -> Sequence[SitePrefix]:
        """Return a site's EID-prefixes in order."""
        self._gather()
        return self._of.get(name, ())

    def ranges(self, name: str) -> Sequence[Range]:
        """Return where a site's registrations are."""
        self._gather()
        found = self._ranges.get(name)
        if found is None:
            found = merged_ranges(
                [Range(one.instance_id, one.afi, one.length, one.key) for one in self.of(name)]
            )
            if len(self._ranges) >= _MAX_RANGES:
                self._ranges.clear()
            self._ranges[name] = found
        return found

    def _gather(self) -> None:
        sites = self._sites()
        if sites is self._gathered_of:
            return
        self._gathered_of = sites
        self._of, self._ranges = {}, {}
        for prefix in sorted(sites.prefixes, key=_place_of):
            self._of.setdefault(prefix.site.name, []).append(prefix)
        self._names = sorted(self._of)
        self._families = sorted({(one.instance_id, one.afi) for one in sites.prefixes})


def _place_of(prefix: SitePrefix) -> tuple[int, int, int, int]:
    return place(prefix.instance_id, prefix.afi, prefix.key)
