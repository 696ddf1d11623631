"""How many peers may be in the middle of a handshake: what they cost before they are anybody."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from lispmsrt.bucket import Bucket

__all__ = ["HandshakeLimits", "Handshakes", "Rates"]

_MAX_HOSTS = 4096
"""Whose bursts are remembered; who is forgotten has a new one."""


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
    total_burst: int = 256
    "that all together may begin at once"
    total_rate: float = 200.0
    "more of them a second: a fifth of a core with 1 ms of TLS for each"
    max_hosts: int = _MAX_HOSTS
    "whose bursts are remembered; who is forgotten has a new one"


class Rates:
    """So many of one host, and so many of all."""

    def __init__(
        self,
        burst: float,
        rate: float,
        total_burst: float,
        total_rate: float,
        max_hosts: int = _MAX_HOSTS,
    ) -> None:
        self._each = (burst, rate)
        self._all = (total_burst, total_rate)
        self._total: Bucket | None = None
        self._hosts: OrderedDict[str, Bucket] = OrderedDict()
        self._max_hosts = max_hosts

    def refusal(self, host: str, now: float) -> str | None:
        """Return why one more is too many, if it is; else see :meth:`spend`."""
        if self._total is None:
            self._total = Bucket(*self._all, now)
        bucket = self._hosts.pop(host, None)
        if bucket is None:
            bucket = Bucket(*self._each, now)
            if len(self._hosts) >= self._max_hosts:
                self._hosts.popitem(last=False)
        self._hosts[host] = bucket
        if not bucket.is_left(now):
            return "too often from one address"
        if not self._total.is_left(now):
            return "too often in all"
        return None

    def spend(self, host: str) -> None:
        """Take note of one that was not too many."""
        assert self._total is not None
        self._hosts[host].spend()
        self._total.spend()


class Handshakes:
    """Count the handshakes of one listening port."""

    def __init__(
        self, limits: HandshakeLimits | None = None, seconds: Callable[[], float] | None = None
    ) -> None:
        """``seconds`` tells the time; without it only what goes on at once is limited."""
        self.limits = limits or HandshakeLimits()
        self._seconds = seconds
        self._rates: Rates | None = None
        self.counters: Counter[str] = Counter()
        self._per_host: Counter[str] = Counter()
        self._all = 0

    def __len__(self) -> int:
        return self._all

    def begin(self, host: str) -> bool:
        """Take note of one more; False when there are too many already, and it must not begin."""
        if not self.may_begin(host):
            return False
        if self._rates is not None:
            self._rates.spend(host)
        self._per_host[host] += 1
        self._all += 1
        self.counters["handshakes begun"] += 1
        return True

    def may_begin(self, host: str) -> bool:
        """Whether one more may begin; what may not is counted."""
        limits = self.limits
        if self._all >= limits.max_handshakes:
            self.counters["handshakes refused: too many"] += 1
            return False
        if self._per_host.get(host, 0) >= limits.max_handshakes_per_host:
            self.counters["handshakes refused: too many of one address"] += 1
            return False
        if self._seconds is not None:
            refusal = self._rate(host, self._seconds())
            if refusal is not None:
                self.counters[f"handshakes refused: {refusal}"] += 1
                return False
        return True

    def end(self, host: str) -> None:
        """One that had begun is over, however it ended."""
        self._all -= 1
        self._per_host[host] -= 1
        if not self._per_host[host]:
            del self._per_host[host]

    def _rate(self, host: str, now: float) -> str | None:
        if self._rates is None:
            limits = self.limits
            self._rates = Rates(
                limits.burst, limits.rate, limits.total_burst, limits.total_rate, limits.max_hosts
            )
        return self._rates.refusal(host, now)
