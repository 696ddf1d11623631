"""The configuration file: TOML to frozen, validated values. Every default is here."""

from __future__ import annotations

from lispmsrt.config.endpoints import (
    DEFAULT_PORTS,
    SocketAddress,
    transport_name,
    with_default_port,
)
from lispmsrt.config.keys import KeyConfig
from lispmsrt.config.reading import ConfigError, load, parse
from lispmsrt.config.schema import (
    Config,
    EtrConfig,
    EtrMapServerConfig,
    LocatorConfig,
    MappingConfig,
    MapServerConfig,
    SiteConfig,
    SitePrefixConfig,
    SiteXtrConfig,
    TcpConfig,
    make_record,
    make_sites,
)

__all__ = [
    "DEFAULT_PORTS",
    "Config",
    "ConfigError",
    "EtrConfig",
    "EtrMapServerConfig",
    "KeyConfig",
    "LocatorConfig",
    "MapServerConfig",
    "MappingConfig",
    "SiteConfig",
    "SitePrefixConfig",
    "SiteXtrConfig",
    "SocketAddress",
    "TcpConfig",
    "load",
    "make_record",
    "make_sites",
    "parse",
    "transport_name",
    "with_default_port",
]
