"""[map-server.tcp] and [etr.tcp]: how a dead TCP peer is noticed."""

from __future__ import annotations

from pydantic import Field

from lispmsrt.config.section import Section
from lispmsrt.config.values import Octet, Seconds, Whole
from lispmsrt.sockets import TcpOptions

__all__ = ["TcpConfig"]


class TcpConfig(Section):
    """How a dead TCP peer is noticed."""

    # Linux takes no more (MAX_TCP_KEEPIDLE and so on), and an int of milliseconds.
    keepalive_idle: Whole = Field(default=10, gt=0, le=32_767)
    keepalive_interval: Whole = Field(default=10, gt=0, le=32_767)
    keepalive_probes: Whole = Field(default=3, gt=0, le=127)
    user_timeout: Seconds = Field(default=30.0, le=2_000_000)
    minimum_ttl: Octet = 0

    def options(self) -> TcpOptions:
        """Return the socket options."""
        return TcpOptions(**self.model_dump())
