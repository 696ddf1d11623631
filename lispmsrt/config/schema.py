"""A whole configuration file. Values are frozen once they are validated."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from lispmsrt.config.etr import EtrConfig
from lispmsrt.config.management import ManagementConfig
from lispmsrt.config.map_resolver import MapResolverConfig
from lispmsrt.config.map_server import MapServerConfig
from lispmsrt.config.section import Section
from lispmsrt.config.sites import SiteConfig, make_sites

__all__ = ["Config"]


class Config(Section):
    """A whole file: one role or both."""

    map_server: MapServerConfig | None = None
    site: tuple[SiteConfig, ...] = ()
    map_resolver: MapResolverConfig | None = None
    etr: EtrConfig | None = None
    management: ManagementConfig | None = None

    def roles(self) -> tuple[Section | None, ...]:
        """Return the sections that make a role."""
        return self.map_server, self.map_resolver, self.etr

    @model_validator(mode="after")
    def _has_role(self) -> Self:
        if self.map_server is None and self.map_resolver is None and self.etr is None:
            raise ValueError(
                "the file configures no role: it needs [map-server], [map-resolver] or [etr]"
            )
        if self.site and self.map_server is None:
            raise ValueError("[[site]] is for a Map-Server: add [map-server]")
        make_sites(self.site)
        self._check_map_resolver()
        return self

    def _check_map_resolver(self) -> None:
        resolver = self.map_resolver
        if resolver is None or self.map_server is not None:
            return
        # RFC 9301 §8.4: a Map-Resolver that is no Map-Server knows nothing itself.
        if not resolver.map_servers:
            raise ValueError(
                "[map-resolver] without [map-server] has nobody to ask:"
                " add [[map-resolver.map-server]]"
            )
