"""How many Map-Requests are answered, and how much may wait to be sent (RFC 9301 §5.3, §5.4).

What is limited is what goes from one outer source address to one ITR-RLOC, by a token bucket each.
Nothing in a Map-Request proves who sent it, so buckets can be emptied by whoever writes the same
two addresses. Therefore an emptied bucket does not close: it admits by chance, at a chance that
sinks as the load rises, and everybody who shares it has the same.

An attacker who can't spoof reaches nobody's share but that of its own address. One who spoofs the
outer source, the ITR-RLOC or both:

* can't silence anybody: a victim's Map-Requests share a bucket only with those that carry both of
  its addresses, and then still get through one by one, with the chance that all in it have, never
  less than :data:`LEAST_CHANCE` (an ITR retries, RFC 9301 §5.3);
* can't send much to one victim from one outer address: that is what the bucket is for;
* can have Map-Replies sent to a victim with ever new outer sources, as with any UDP service; then
  only the bound on amplification holds (:mod:`lispmsrt.control.map_replies`), and what the
  attacker can send itself;
* can't make the table grow: beyond its size the pairs heard of longest ago are forgotten, which
  gives them a full bucket again.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from random import Random

from lispmsrt.mapping.database import Endpoint

__all__ = ["LEAST_CHANCE", "MAX_PAIRS", "MAX_QUEUED", "PLENTY", "Outgoing", "RequestLimits"]

MAX_PAIRS = 65_536
"""Pairs of outer source and ITR-RLOC remembered: some 20 MB."""

LEAST_CHANCE = 1 / 1024
"""By which a Map-Request is admitted at least, whatever the load: of a flood of 100,000 a second
that is 100.
"""

PLENTY = 0.5
"""Share of the burst down to which everything is admitted, by what is compiled too."""

MAX_QUEUED = 4096
"""Datagrams that wait until somebody takes them; a socket's reader takes them once per round."""


class RequestLimits:
    """Token buckets by (outer source, ITR-RLOC)."""

    def __init__(
        self,
        random: Random,
        *,
        rate: float = 1000.0,
        burst: float = 4000.0,
        max_pairs: int = MAX_PAIRS,
    ) -> None:
        """``rate``: Map-Requests a second admitted of each pair; 0 admits everything."""
        self._random = random.random
        self.rate = rate
        self.burst = burst
        self.max_pairs = max_pairs
        # OrderedDict: a plain dict walks over all it has lost to find its first.
        self.buckets: OrderedDict[tuple[bytes, bytes], tuple[float, float]] = OrderedDict()
        "tokens, and when that was; written here and by what is compiled of it"

    def __len__(self) -> int:
        return len(self.buckets)

    def admits(self, source: bytes, rloc: bytes, now: float) -> bool:
        """Whether a Map-Request from this outer source for this ITR-RLOC (both packed) is to be
        answered now.
        """
        if not self.rate:
            return True
        buckets, pair, burst = self.buckets, (source, rloc), self.burst
        kept = buckets.get(pair)
        if kept is None:
            tokens = burst
            if len(buckets) >= self.max_pairs:
                buckets.popitem(last=False)
        else:
            tokens, then = kept
            tokens += (now - then) * self.rate
            if tokens > burst:
                tokens = burst
            buckets.move_to_end(pair)
        plenty = burst * PLENTY
        if tokens < plenty and self._random() >= max(tokens / plenty, LEAST_CHANCE):
            buckets[pair] = (tokens, now)
            return False
        # Below zero: who was admitted on a part of a token pays for the rest of it later.
        buckets[pair] = (tokens - 1 if tokens > 0 else -1.0, now)
        return True


class Outgoing:
    """Datagrams that wait to be sent."""

    def __init__(self, counters: Counter[str], limit: int = MAX_QUEUED) -> None:
        self._counters = counters
        self.limit = limit
        self.waiting: list[tuple[bytes, Endpoint]] = []

    def put(self, data: bytes, destination: Endpoint) -> bool:
        """Queue one, or drop and count it. Queues output."""
        if len(self.waiting) >= self.limit:
            self._counters["dropped, too many to send at once"] += 1
            return False
        self.waiting.append((data, destination))
        return True

    def take(self) -> list[tuple[bytes, Endpoint]]:
        """Return what waits, those of one length together, and forget it."""
        output, self.waiting = self.waiting, []
        if len(output) > 1:
            # Answers of one length to one ITR cross the kernel as one message; their order is
            # nothing to anybody.
            output.sort(key=_octets)
        return output


def _octets(datagram: tuple[bytes, Endpoint]) -> int:
    return len(datagram[0])
