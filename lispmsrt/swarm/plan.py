"""What a swarm is to do."""

from __future__ import annotations

from dataclasses import dataclass

from lispmsrt.config import SocketAddress
from lispmsrt.wire.addresses import EidPrefix

__all__ = ["UDP", "Plan"]

UDP = "udp"
"""In place of an endpoint string: no sessions."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that is asked for. Rates are per second, 0 is none; times in seconds."""

    map_server: SocketAddress
    "where Map-Registers and Map-Requests go"
    transport: str
    "an endpoint string with host and port, or UDP"
    prefixes: tuple[EidPrefix, ...]
    "where EIDs are taken from"
    etrs: int = 1
    eids: int = 1
    "of each ETR"
    length: int | None = None
    "of the EID-prefixes; None: all bits of an address"
    ramp: float = 100.0
    "ETRs that are started"
    moves: float = 0.0
    "EIDs that get other locators, or another ETR"
    flaps: float = 0.0
    "EIDs that are withdrawn, and registered again a second later"
    lookups: float = 0.0
    "Map-Requests"
    seconds: float | None = None
    """how long; None: until everything is acknowledged where nothing changes and nothing is looked
    up, else the default
    """
    records: int = 1
    "of a Map-Register"
    window: int | None = None
    """Registrations of a session, or Map-Registers of all ETRs, that are unanswered at a time;
    None: the default
    """
    sources: tuple[str, ...] = ()
    "addresses of the ETRs; none: the one that leads to the Map-Server"
    needs_r: bool = True
    "whether only a Map-Notify with the r bit is leave to connect"
    site_id: int = 1
    seed: int = 1
    "of everything random, and of the xTR-IDs"

    @property
    def uses_sessions(self) -> bool:
        """Whether the ETRs have sessions."""
        return self.transport != UDP

    @property
    def total(self) -> int:
        """EIDs in all."""
        return self.etrs * self.eids

    @property
    def ends_by_itself(self) -> bool:
        """Whether there is nothing left to do when everything is acknowledged."""
        return self.seconds is None and not (self.moves or self.flaps or self.lookups)
