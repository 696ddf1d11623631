"""Which of a multi-homed peer's addresses can be reached (RFC 9260 §8, RFC 6458 §6.1.2).

A dead path counts against its association too, and in its first moments faster than the living one
sends what takes it off the count. So the kernel's limit grows with the addresses that the peer has
shown to be its own, and that all of them are dead is found out here.
"""

from __future__ import annotations

import enum
from collections.abc import Callable

__all__ = ["Paths"]


class _Change(enum.IntEnum):
    """What an SCTP_PEER_ADDR_CHANGE notification tells."""

    AVAILABLE = 0
    UNREACHABLE = 1
    CONFIRMED = 5


class Paths:
    """The addresses of one peer: as many as it lists, which its INIT leaves room for."""

    def __init__(self, allow: Callable[[int], None]) -> None:
        """``allow`` is told how many paths there are whenever one is added."""
        self._allow = allow
        self._confirmed: set[bytes] = set()
        "besides the one that the association was set up over"
        self._dead: set[bytes] = set()

    def changed(self, address: bytes, change: int) -> None:
        """An address has been found dead, alive, or to be the peer's at all."""
        if change == _Change.UNREACHABLE:
            self._dead.add(address)
        elif change in (_Change.AVAILABLE, _Change.CONFIRMED):
            self._dead.discard(address)
        if change == _Change.CONFIRMED and address not in self._confirmed:
            self._confirmed.add(address)
            self._allow(1 + len(self._confirmed))

    @property
    def all_dead(self) -> bool:
        """Whether nothing reaches the peer. What it listed and never answered from says nothing."""
        return len(self._dead) > len(self._confirmed)
