"""How much work is done for messages that may prove nothing (RFC 9301 §9 on denial of service).

To find out that a message is not authentic costs a hash, or several, and a search for its site.
Whoever sends wrong ones pays for that work afterwards, and once all is spent what comes is dropped
before it is begun. Who proves itself pays nothing, ever.

There are two purses, for anybody may write anybody's address on a datagram:

* *strangers*, by the source address, and all together. Who floods from one address meets the first
  limit and is nothing to others; who makes up addresses meets the second, and then strangers are
  heard by chance, one in as many as there are.
* *known xTRs*, those that have proven themselves before, by what they are known by: IDs, the
  address that they did so from, and a nonce that is not used up. Strangers can't empty this purse.
  Who writes both the IDs and the address of a known xTR spends what that xTR has; where that is
  faster than the limit, it too is heard by chance. An xTR that moves is a stranger once.

Sessions are nothing to any of this.

Times are monotonic seconds.
"""

from __future__ import annotations

import enum
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

__all__ = ["MAX_NAMES", "Excess", "Unproven", "UnprovenLimits", "hash_work", "network"]

MAX_NAMES = 65_536
"""Sources, and known xTRs, whose failures are remembered: some 15 MB each. Beyond, whoever failed
longest ago has a full purse again, and only the limit on all holds.
"""

_OCTETS = 1024
"""Octets that may be hashed at the price of one hash."""


class Excess(enum.Enum):
    """Which limit is reached; the value ends the sentence that is counted."""

    OF_SOURCE = "too many failures from their source"
    OF_STRANGERS = "too many failures from unknown sources"
    OF_XTR = "too many failures in the name of their xTR"
    OF_XTRS = "too many failures in the names of known xTRs"


@dataclass(frozen=True, slots=True)
class UnprovenLimits:
    """Hashes a second that may be done for nothing, of up to 1 KiB each, and how many at once.

    What is around a hash costs ten times as much as the hash: all together 20,000 a second keep a
    quarter of a core busy.
    """

    rate: float = 200.0
    "of one source: an IPv4 address or an IPv6 network of 64 bits, as a subscriber has it"
    burst: float = 400.0
    "of one source: a site's ETRs behind one NAT, all with an old key"
    rate_of_strangers: float = 10_000.0
    burst_of_strangers: float = 10_000.0
    rate_of_xtr: float = 1000.0
    """in the name of one known xTR, at its address: a few percent of a core. A lower one would only
    make it cheaper to have that xTR heard by chance.
    """
    burst_of_xtr: float = 2000.0
    rate_of_xtrs: float = 10_000.0
    burst_of_xtrs: float = 10_000.0


class Unproven:
    """What strangers and known xTRs may still fail."""

    def __init__(self, limits: UnprovenLimits | None = None) -> None:
        limits = limits or UnprovenLimits()
        self._strangers = _Purse(
            limits.rate, limits.burst, limits.rate_of_strangers, limits.burst_of_strangers
        )
        self._known = _Purse(
            limits.rate_of_xtr, limits.burst_of_xtr, limits.rate_of_xtrs, limits.burst_of_xtrs
        )

    def __len__(self) -> int:
        """How many names are remembered."""
        return len(self._strangers) + len(self._known)

    def is_wary(self, now: float) -> bool:
        """Whether anybody has failed lately: only then there is anything to ask."""
        return now < self._strangers.full_at or now < self._known.full_at

    def is_wary_of_xtrs(self, now: float) -> bool:
        """Whether anybody has failed lately in the name of a known xTR."""
        return now < self._known.full_at

    def excess(self, source: Hashable, xtr: Hashable | None, now: float) -> Excess | None:
        """Return the limit that forbids to look at a message from this source, None where there is
        none. ``xtr`` is the known one that it claims to be of.
        """
        if xtr is not None:
            if self._known.is_empty(now):
                return Excess.OF_XTRS
            return Excess.OF_XTR if self._known.is_empty_for(xtr, now) else None
        if self._strangers.is_empty(now):
            return Excess.OF_STRANGERS
        return Excess.OF_SOURCE if self._strangers.is_empty_for(source, now) else None

    def failed(self, source: Hashable, xtr: Hashable | None, cost: int, now: float) -> None:
        """Have a message paid for that proved nothing: ``cost`` hashes of 1 KiB."""
        if xtr is not None:
            self._known.pay(xtr, cost, now)
        else:
            self._strangers.pay(source, cost, now)

    def proved(self, source: Hashable, xtr: Hashable | None, cost: int) -> None:
        """Give back what was paid in advance."""
        if xtr is not None:
            self._known.give_back(xtr, cost)
        else:
            self._strangers.give_back(source, cost)


class _Purse:
    """Token buckets: one for each name, and one for all. They may be overdrawn, by who had one
    token: else what costs more than one would never get its turn.
    """

    def __init__(self, rate: float, burst: float, rate_of_all: float, burst_of_all: float) -> None:
        self.full_at = float("-inf")
        "when everybody has all again"
        self._rate, self._burst = rate, burst
        self._rate_of_all, self._burst_of_all = rate_of_all, burst_of_all
        # OrderedDict: a plain dict walks over all it has lost to find its first.
        self._paid: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()
        "tokens left, and when that was"
        self._left, self._since = burst_of_all, float("-inf")

    def __len__(self) -> int:
        return len(self._paid)

    def is_empty(self, now: float) -> bool:
        """Whether all together have spent what they had."""
        return self._left_of_all(now) <= 0

    def is_empty_for(self, name: Hashable, now: float) -> bool:
        """Whether this one has."""
        return self._left_of(name, now) <= 0

    def pay(self, name: Hashable, cost: int, now: float) -> None:
        """Take tokens away."""
        if now >= self.full_at:
            self._paid.clear()
        left = self._left_of(name, now) - cost
        self._paid[name] = (left, now)
        self._paid.move_to_end(name)
        if len(self._paid) > MAX_NAMES:
            self._paid.popitem(last=False)
        self._left, self._since = self._left_of_all(now) - cost, now
        self.full_at = max(
            self.full_at,
            now + (self._burst - left) / self._rate,
            now + (self._burst_of_all - self._left) / self._rate_of_all,
        )

    def give_back(self, name: Hashable, cost: int) -> None:
        """Put tokens back that were taken."""
        if name in self._paid:
            left, since = self._paid[name]
            self._paid[name] = (min(left + cost, self._burst), since)
        self._left = min(self._left + cost, self._burst_of_all)

    def _left_of(self, name: Hashable, now: float) -> float:
        left, since = self._paid.get(name, (self._burst, now))
        return min(left + (now - since) * self._rate, self._burst)

    def _left_of_all(self, now: float) -> float:
        return min(self._left + (now - self._since) * self._rate_of_all, self._burst_of_all)


def network(address: bytes) -> bytes:
    """Return whom a packed source address stands for: of IPv6 a host has at least 64 bits."""
    return address[:8] if len(address) == 16 else address


def hash_work(hashes: int, octets: int) -> int:
    """Return what so many hashes of so many octets cost; at least 1, for what is around them."""
    return max(1, hashes * (1 + octets // _OCTETS))
