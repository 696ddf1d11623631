"""How many peers may be in the middle of a handshake: what they cost before they are anybody."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
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
    burst: int = 256
    "that one address may begin at once, however quickly they end"
    rate: float = 64.0
    "more of them a second: a quarter of a core with QUIC's 4 ms for each"
    max_hosts: int = 4096
    "whose bursts are remembered; who is forgotten has a new one"


class Handshakes:
    """Count the handshakes of one listening port."""

    def __init__(
        self, limits: HandshakeLimits | None = None, seconds: Callable[[], float] | None = None
    ) -> None:
        """``seconds`` tells the time; without it only what goes on at once is limited."""
        self.limits = limits or HandshakeLimits()
        self._seconds = seconds
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        "host to handshakes that it may begin, and when that was so"
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
        if self._seconds is not None and not self._may_begin(host, self._seconds()):
            self.counters["handshakes refused: too often from one address"] += 1
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

    def _may_begin(self, host: str, now: float) -> bool:
        limits = self.limits
        left, since = self._left.pop(host, (float(limits.burst), now))
        # A clock that was stepped back gives nothing.
        left = min(limits.burst, left + max(0.0, now - since) * limits.rate)
        if len(self._left) >= limits.max_hosts:
            self._left.popitem(last=False)
        self._left[host] = (left - 1 if left >= 1 else left, now)
        return left >= 1
