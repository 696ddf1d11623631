"""[map-resolver]: where questions go that no site of this Map-Server answers."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from lispmsrt.config.endpoints import LISP_CONTROL_PORT, SocketAddress
from lispmsrt.config.keys import KeyConfig
from lispmsrt.config.section import Section, repeated
from lispmsrt.config.values import (
    Count,
    EidPrefixText,
    InstanceId,
    Octets,
    Rate,
    SocketText,
)
from lispmsrt.wire.addresses import EidPrefix

__all__ = ["MapResolverConfig", "ResolverMapServerConfig", "ServedPrefixConfig"]


class ServedPrefixConfig(Section):
    """EIDs that a Map-Server has."""

    prefix: EidPrefixText
    instance_id: InstanceId = 0

    def eid(self) -> EidPrefix:
        """Return the EID-prefix."""
        return EidPrefix.from_text(self.prefix, self.instance_id)


class ResolverMapServerConfig(Section):
    """A Map-Server that Map-Requests are forwarded to."""

    address: SocketText
    eid_prefix: tuple[ServedPrefixConfig, ...] = ()
    "what it is asked for, the longest match of all Map-Servers' prefixes; empty: anything"
    key: KeyConfig | None = None
    "shared with it, to pass secured Map-Requests on (RFC 9303)"


class MapResolverConfig(Section):
    """The Map-Resolver role."""

    control: tuple[SocketText, ...] = ()
    "UDP sockets of its own; empty: those of [map-server]"
    receive_buffer: Octets = 4 * 1024 * 1024
    "octets asked for each UDP socket, for bursts"
    map_servers: tuple[ResolverMapServerConfig, ...] = Field(default=(), alias="map-server")
    request_rate: Rate = 1000.0
    request_burst: Count = 4000
    itr_keys: tuple[KeyConfig, ...] = ()
    "shared with ITRs whose Map-Requests are secured (RFC 9303)"

    def sockets(self) -> tuple[SocketAddress, ...]:
        """Return the UDP sockets of a Map-Resolver that is no Map-Server."""
        return self.control or (SocketAddress("0.0.0.0", LISP_CONTROL_PORT),)

    @model_validator(mode="after")
    def _names_each_map_server_once(self) -> Self:
        if text := repeated(str(server.address) for server in self.map_servers):
            raise ValueError(f"two Map-Servers have the address {text}")
        return self
