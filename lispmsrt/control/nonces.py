"""Replayed Map-Registers (RFC 9301 §5.6, read leniently: docs/draft.rst, "Nonces").

Some ETRs count their nonces up, as RFC 9301 asks; others draw them at random. Both get protection
against exact repeats; who has shown that it counts is held to it.
"""

from __future__ import annotations

import enum
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Mapping
from typing import TYPE_CHECKING

from lispmsrt.compiled import twin

__all__ = ["History", "NonceCheck", "NonceMemory", "SiteMemory"]

NEXT = 1 << 40
"""How far the next nonce of an xTR that counts up may be from its last, for whoever guesses not to
be taken for it: 18 minutes of an xTR that counts nanoseconds. It is no rule, see
:mod:`lispmsrt.control.unproven`.
"""

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


class History:
    """What has been seen of one xTR with one key."""

    __slots__ = ("answers", "highest", "increases", "is_forgotten", "seen")

    def __init__(self) -> None:
        # OrderedDict: a plain dict walks over all it has lost to find its first.
        self.seen: OrderedDict[int, None] = OrderedDict()
        self.highest = -1
        self.increases = 0
        "how many nonces in a row were higher than all before"
        self.answers: list[tuple[int, object, float, bytes]] = []
        "nonce, source, monotonic seconds and Map-Notify, the newest last"
        self.is_forgotten = False


_compiled = twin("lispmsrt.control._nonces")
if not TYPE_CHECKING and _compiled is not None:
    History = _compiled.History


Recalls = Callable[[Hashable], None]
"""Brings back what was seen of an xTR with a key, if anything was."""


class SiteMemory:
    """What has been seen of one site. Its key holders can make only their own be forgotten."""

    __slots__ = ("histories", "latest", "nonces", "origins")

    def __init__(self) -> None:
        self.histories: OrderedDict[Hashable, History] = OrderedDict()
        self.latest: History | None = None
        "the last of them: who was heard of last"
        self.origins: OrderedDict[bytes, bytes] = OrderedDict()
        self.nonces = 0
        "in all histories"


class NonceMemory:
    """What has been seen, per site and (xTR, key)."""

    def __init__(self, check: NonceCheck = NonceCheck.LENIENT) -> None:
        self.counters: Counter[str] = Counter()
        self.check = check
        self._sites: dict[str, SiteMemory] = {}
        self._recall: Recalls | None = None

    def recall_by(self, recall: Recalls | None) -> None:
        """Have brought back what was seen of an xTR before the process began, where that was not
        done yet: whoever is not known is asked for. None: all of it is here.
        """
        self._recall = recall

    def is_fresh(self, site: str, who: Hashable, nonce: int) -> bool:
        """Whether this is not a repeat; it is one from now on. ``who`` is one xTR with one key."""
        if self.check is NonceCheck.OFF:
            return True
        memory = self.memory(site)
        history = self._history(memory, who)
        counts_up = self.check is NonceCheck.STRICT or history.increases >= INCREASES
        if nonce <= history.highest if counts_up else nonce in history.seen:
            return False
        if nonce > history.highest:
            # The first nonce is no increase.
            history.increases += history.highest >= 0
            history.highest = nonce
        else:
            history.increases = 0
        if self.check is NonceCheck.STRICT or history.increases >= INCREASES:
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

    def knows(self, site: str, who: Hashable, nonce: int) -> bool | None:
        """Whether this may well be the nonce of a new message: of who counts up, one of the next.
        None where nothing was seen of this xTR with this key. Nothing changes.
        """
        memory = self._sites.get(site)
        history = memory.histories.get(who) if memory is not None else None
        if history is None:
            return None
        if self.check is NonceCheck.STRICT or history.increases >= INCREASES:
            return history.highest < nonce <= history.highest + NEXT
        return nonce not in history.seen

    @property
    def sites(self) -> Mapping[str, SiteMemory]:
        """What has been seen of every site."""
        return self._sites

    def memory(self, site: str) -> SiteMemory:
        """Return what has been seen of a site."""
        memory = self._sites.get(site)
        if memory is None:
            memory = self._sites[site] = SiteMemory()
        return memory

    def _history(self, memory: SiteMemory, who: Hashable) -> History:
        history = memory.histories.get(who)
        if history is None and self._recall is not None:
            self._recall(who)
            history = memory.histories.get(who)
            if history is not None:
                memory.histories.move_to_end(who)
                memory.latest = history
                self._forget(memory)
        if history is None:
            history = memory.latest = memory.histories[who] = History()
            self._forget(memory)
        elif history is not memory.latest:
            memory.histories.move_to_end(who)
            memory.latest = history
        return history

    def _forget(self, memory: SiteMemory) -> None:
        """Keep to the site's limits; who was heard of last stays."""
        while len(memory.histories) > 1 and (
            len(memory.histories) > MAX_XTRS or memory.nonces > MAX_NONCES
        ):
            _who, history = memory.histories.popitem(last=False)
            memory.nonces -= len(history.seen)
            history.is_forgotten = True
            self.counters["xTRs forgotten"] += 1

    def is_from_origin(self, site: str, mac: bytes, address: bytes) -> bool:
        """Whether the message with this MAC comes from where it first came from.

        For xTRs that are known by their address only: caught and sent from elsewhere, their
        messages would make another xTR, which has no history yet.
        """
        if self.check is NonceCheck.OFF or not mac:
            return True
        origins = self.memory(site).origins
        origin = origins.setdefault(mac, address)
        if len(origins) > MAX_ORIGINS:
            origins.popitem(last=False)
        return origin == address

    def keep_answer(
        self, site: str, who: Hashable, nonce: int, source: object, now: float, answer: bytes
    ) -> None:
        """Remember what was answered, in case the same message comes again."""
        history = self.memory(site).histories.get(who)
        if history is None or len(answer) > MAX_ANSWER:
            return
        answers = history.answers
        kept = (nonce, source, now, answer)
        for at, (earlier, *_) in enumerate(answers):
            if earlier == nonce:
                answers[at] = kept
                return
        answers.append(kept)
        if len(answers) > ANSWERS:
            del answers[0]

    def answer_again(
        self, site: str, who: Hashable, nonce: int, source: object, now: float
    ) -> bytes | None:
        """Return what was answered to the same message from the same source a short while ago."""
        history = self.memory(site).histories.get(who)
        for kept, kept_source, at, answer in history.answers if history is not None else ():
            if kept == nonce and kept_source == source and now - at <= ANSWER_LIFETIME:
                return answer
        return None
