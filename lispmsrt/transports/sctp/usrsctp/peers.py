"""The other end of an association, and the UDP side that leads to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from twisted.internet.defer import Deferred

__all__ = ["Leg", "Peer"]


@dataclass(slots=True)
class Peer:
    """Where the other end of an association is."""

    host: str
    address: str
    "the host as the UDP socket has it: an IPv4 address may come mapped into IPv6"
    udp_port: int
    "of its packets, which a NAT may change"
    port: int

    @property
    def key(self) -> tuple[str, int, int]:
        """What tells it from others."""
        return (self.host, self.udp_port, self.port)


class Leg(Protocol):
    """The UDP side of associations."""

    @property
    def host(self) -> str:
        """Our own address there."""

    def send(self, packet: bytes, peer: Peer) -> None:
        """Send a packet, or lose it."""

    def ended(self, association: Any) -> Deferred[None] | None:
        """An association is over: its peer's packets are not for it any more. A Deferred fires when
        what it alone used is closed.
        """
