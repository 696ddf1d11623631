"""Replayed Map-Registers (RFC 9301 §5.6, read leniently: docs/draft.rst, "Nonces").

Some ETRs count their nonces up, as RFC 9301 asks; others draw them at random. Both get protection
against exact repeats; who has shown that it counts is held to it.
"""

from __future__ import annotations

import enum
from collections import Counter, OrderedDict
from collections.abc import Hashable

__all__ = ["NonceCheck", "NonceMemory"]

REMEMBERED = 4096
"""Nonces remembered of an xTR that draws them at random."""

INCREASES = 16
"""Increases in a row after which an xTR is held to counting up."""

MAX_ANSWER = 1500
"""Octets of a Map-Notify that is kept: one datagram that needs no fragments."""

ANSWERS = 4
"""Map-Notifies kept per xTR, for an ETR that repeats a Map-Register because its Map-Notify was
lost.
"""

ANSWER_LIFETIME = 60.0
"""Seconds during which a repeat from the same source gets its Map-Notify again."""

MAX_ORIGINS = 65_536
"""Messages of a site's xTRs that are known by nothing but their address: some 13 MB."""

MAX_XTRS = 65_536
"""(xTR, key) pairs remembered of a site; beyond, the ones heard of longest ago are forgotten."""

MAX_NONCES = 1_000_000
"""Nonces remembered of a site, of all its xTRs together: some 120 MB; beyond, likewise."""


class NonceCheck(enum.Enum):
    """How strictly nonces are compared."""

    LENIENT = "lenient"
    STRICT = "strict"
    OFF = "off"


class _History:
    __slots__ = ("answers", "highest", "increases", "seen")

    def __init__(self) -> None:
        # OrderedDict: a plain dict walks over all it has lost to find its first.
        self.seen: OrderedDict[int, None] = OrderedDict()
        self.highest = -1
        self.increases = 0
        self.answers: OrderedDict[int, tuple[object, float, bytes]] = OrderedDict()


class _SiteMemory:
    """What has been seen of one site. Its key holders can make only their own be forgotten."""

    __slots__ = ("histories", "nonces", "origins")

    def __init__(self) -> None:
        self.histories: OrderedDict[Hashable, _History] = OrderedDict()
        self.origins: OrderedDict[bytes, bytes] = OrderedDict()
        self.nonces = 0
        "in all histories"


class NonceMemory:
    """What has been seen, per site and (xTR, key)."""

    def __init__(self, check: NonceCheck = NonceCheck.LENIENT) -> None:
        self.counters: Counter[str] = Counter()
        self._check = check
        self._sites: dict[str, _SiteMemory] = {}

    def is_fresh(self, site: str, who: Hashable, nonce: int) -> bool:
        """Whether this is not a repeat; it is one from now on. ``who`` is one xTR with one key."""
        if self._check is NonceCheck.OFF:
            return True
        memory = self._memory(site)
        history = self._history(memory, who)
        counts_up = self._check is NonceCheck.STRICT or history.increases >= INCREASES
        if nonce <= history.highest if counts_up else nonce in history.seen:
            return False
        if nonce > history.highest:
            # The first nonce is no increase.
            history.increases += history.highest >= 0
            history.highest = nonce
        else:
            history.increases = 0
        if self._check is NonceCheck.STRICT or history.increases >= INCREASES:
            memory.nonces -= len(history.seen)
            history.seen.clear()
        else:
            history.seen[nonce] = None
            memory.nonces += 1
            if len(history.seen) > REMEMBERED:
                history.seen.popitem(last=False)
                memory.nonces -= 1
            self._forget(memory)
        return True

    def _memory(self, site: str) -> _SiteMemory:
        memory = self._sites.get(site)
        if memory is None:
            memory = self._sites[site] = _SiteMemory()
        return memory

    def _history(self, memory: _SiteMemory, who: Hashable) -> _History:
        history = memory.histories.get(who)
        if history is None:
            history = memory.histories[who] = _History()
            self._forget(memory)
        else:
            memory.histories.move_to_end(who)
        return history

    def _forget(self, memory: _SiteMemory) -> None:
        """Keep to the site's limits; who was heard of last stays."""
        while len(memory.histories) > 1 and (
            len(memory.histories) > MAX_XTRS or memory.nonces > MAX_NONCES
        ):
            _who, history = memory.histories.popitem(last=False)
            memory.nonces -= len(history.seen)
            self.counters["xTRs forgotten"] += 1

    def is_from_origin(self, site: str, mac: bytes, address: bytes) -> bool:
        """Whether the message with this MAC comes from where it first came from.

        For xTRs that are known by their address only: caught and sent from elsewhere, their
        messages would make another xTR, which has no history yet.
        """
        if self._check is NonceCheck.OFF or not mac:
            return True
        origins = self._memory(site).origins
        origin = origins.setdefault(mac, address)
        if len(origins) > MAX_ORIGINS:
            origins.popitem(last=False)
        return origin == address

    def keep_answer(
        self, site: str, who: Hashable, nonce: int, source: object, now: float, answer: bytes
    ) -> None:
        """Remember what was answered, in case the same message comes again."""
        history = self._memory(site).histories.get(who)
        if history is None or len(answer) > MAX_ANSWER:
            return
        history.answers[nonce] = (source, now, answer)
        if len(history.answers) > ANSWERS:
            history.answers.popitem(last=False)

    def answer_again(
        self, site: str, who: Hashable, nonce: int, source: object, now: float
    ) -> bytes | None:
        """Return what was answered to the same message from the same source a short while ago."""
        history = self._memory(site).histories.get(who)
        kept = history.answers.get(nonce) if history is not None else None
        if kept is None or kept[0] != source or now - kept[1] > ANSWER_LIFETIME:
            return None
        return kept[2]
