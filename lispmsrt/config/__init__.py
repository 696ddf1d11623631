"""The configuration file: TOML to frozen, validated values. Every default is here."""

from __future__ import annotations

from lispmsrt.config.endpoints import (
    DEFAULT_PORTS,
    SocketAddress,
    transport_name,
    with_default_port,
)
from lispmsrt.config.etr import (
    EtrConfig,
    EtrMapServerConfig,
    LocatorConfig,
    MappingConfig,
    make_record,
)
from lispmsrt.config.keys import KeyConfig
from lispmsrt.config.management import ManagementConfig
from lispmsrt.config.map_resolver import (
    MapResolverConfig,
    ResolverMapServerConfig,
    ServedPrefixConfig,
)
from lispmsrt.config.map_server import DdtConfig, MapServerConfig, SubscriptionsConfig
from lispmsrt.config.membership import RlocMembershipConfig, membership_families
from lispmsrt.config.reading import ConfigError, load, parse
from lispmsrt.config.schema import Config
from lispmsrt.config.sites import SiteConfig, SitePrefixConfig, SiteXtrConfig, make_sites
from lispmsrt.config.tcp import TcpConfig

__all__ = [
    "DEFAULT_PORTS",
    "Config",
    "ConfigError",
    "DdtConfig",
    "EtrConfig",
    "EtrMapServerConfig",
    "KeyConfig",
    "LocatorConfig",
    "ManagementConfig",
    "MapResolverConfig",
    "MapServerConfig",
    "MappingConfig",
    "ResolverMapServerConfig",
    "RlocMembershipConfig",
    "ServedPrefixConfig",
    "SiteConfig",
    "SitePrefixConfig",
    "SiteXtrConfig",
    "SocketAddress",
    "SubscriptionsConfig",
    "TcpConfig",
    "load",
    "make_record",
    "make_sites",
    "membership_families",
    "parse",
    "transport_name",
    "with_default_port",
]
