"""How many peers may be in the middle of a handshake: what they cost before they are anybody."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

__all__ = ["HandshakeLimits", "Handshakes"]


@dataclass(frozen=True, slots=True)
class HandshakeLimits:
    """Limits of one listening port."""

    timeout: float = 10.0
    "seconds from a connection's first packet until it must be ready for use"
    max_handshakes: int = 1024
    "in all: a handshake costs a signature, and up to 100 kB until it is over"
    max_handshakes_per_host: int = 64
    "NAT and simulators put many peers behind one address"


class Handshakes:
    """Count the handshakes of one listening port."""

    def __init__(self, limits: HandshakeLimits | None = None) -> None:
        self.limits = limits or HandshakeLimits()
        self.counters: Counter[str] = Counter()
        self._per_host: Counter[str] = Counter()
        self._all = 0

    def __len__(self) -> int:
        return self._all

    def begin(self, host: str) -> bool:
        """Take note of one more; False when there are too many already, and it must not begin."""
        limits = self.limits
        if self._all >= limits.max_handshakes:
            self.counters["handshakes refused: too many"] += 1
            return False
        if self._per_host[host] >= limits.max_handshakes_per_host:
            self.counters["handshakes refused: too many of one address"] += 1
            return False
        self._per_host[host] += 1
        self._all += 1
        self.counters["handshakes begun"] += 1
        return True

    def end(self, host: str) -> None:
        """One that had begun is over, however it ended."""
        self._all -= 1
        self._per_host[host] -= 1
        if not self._per_host[host]:
            del self._per_host[host]
