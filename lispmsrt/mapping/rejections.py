"""What was refused: the latest in a ring, and everything counted by the rule that refused it.

Whoever sends messages that are refused makes this grow by nothing but numbers: both are bounded,
and a sentence is made when somebody reads it.
"""

from __future__ import annotations

import heapq
import ipaddress
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from lispmsrt.mapping.database import Endpoint
from lispmsrt.mapping.event_numbers import EventNumbers
from lispmsrt.mapping.refusals import Refusal, eid_text
from lispmsrt.mapping.verdicts import Verdict
from lispmsrt.wire.record_walk import RecordSpan

__all__ = [
    "ANNOUNCED_EVERY",
    "MAX_GROUPS",
    "MAX_REJECTIONS",
    "Rejection",
    "RejectionGroup",
    "Rejections",
]

MAX_REJECTIONS = 2000
"""Rejections whose details are kept, newest last: some 2 MB."""

MAX_GROUPS = 4096
"""Pairs of rule and site that are counted apart. Anybody can be refused for every site that is
configured, and each group keeps its last rejection.
"""

ANNOUNCED_EVERY = 60.0
"""Seconds from one announcement of a group to the next."""


class Rejection(NamedTuple):
    """One message or record that was refused."""

    number: int
    "counts up from 1, together with the lines of the history; the ring loses the oldest"
    at: float
    "monotonic seconds"
    verdict: Verdict
    rule: str
    "the exact rule that refused it, in one sentence"
    instance_id: int
    eid: str
    "EID-prefix without instance ID; empty if it can't be read"
    site: str
    "that the rule is about; empty for none"
    ids: bytes
    "xTR-ID and Site-ID as the message said; nobody vouches for them where authentication failed"
    protocol: str
    "UDP, or the transport of the session"
    source: str
    "address and port"
    afi: int = 0
    "family of the EID-prefix"
    key: int = 0
    "its prefix key; 0 where it can't be read"


@dataclass(frozen=True, slots=True)
class RejectionGroup:
    """Everything that one rule has refused for one site."""

    verdict: Verdict
    rule: str
    "in general, without what the messages had in them"
    site: str
    count: int
    last: Rejection


class _Kept(NamedTuple):
    """What is kept of a rejection."""

    number: int
    at: float
    refusal: Refusal
    instance_id: int
    afi: int
    key: int
    ids: bytes
    protocol: str
    source: str | Endpoint

    def read(self) -> Rejection:
        """Make the texts."""
        refusal = self.refusal
        return Rejection(
            self.number,
            self.at,
            refusal.verdict,
            refusal.exact(),
            self.instance_id,
            eid_text(self.instance_id, self.afi, self.key),
            refusal.site,
            self.ids,
            self.protocol,
            self.source if isinstance(self.source, str) else _endpoint_text(self.source),
            self.afi,
            self.key,
        )


class _Group:
    """What is counted together."""

    __slots__ = ("announced_at", "count", "last", "unsaid")

    def __init__(self, last: _Kept) -> None:
        self.count = 0
        self.last = last
        self.announced_at = float("-inf")
        self.unsaid = 0


class Rejections:
    """Take note of what is refused."""

    def __init__(
        self,
        announce: Callable[[Rejection, int], None] | None = None,
        *,
        numbers: EventNumbers | None = None,
    ) -> None:
        """``announce`` hears of each group, by its latest rejection, at most once a minute; and how
        many more there were since. ``numbers`` are those that the history has too.
        """
        self.numbers = EventNumbers() if numbers is None else numbers
        self.count = 0
        "since the start"
        self.per_site: Counter[str] = Counter()
        self.per_verdict: Counter[Verdict] = Counter()
        self.counters: Counter[str] = Counter()
        self._announce = announce
        self._ring: deque[_Kept] = deque(maxlen=MAX_REJECTIONS)
        self._groups: dict[tuple[object, ...], _Group] = {}
        "by rule and site; the verdict is the rule's"

    def note(
        self,
        refusal: Refusal,
        span: RecordSpan,
        ids: bytes,
        protocol: str,
        source: str | Endpoint,
        now: float,
    ) -> None:
        """Take note of a record, or of a whole message by its first one."""
        self.count += 1
        number = self.numbers.take()
        # Half of what _Kept(...) costs.
        kept = tuple.__new__(
            _Kept, (number, now, refusal, span[2], span[3], span[5], ids, protocol, source)
        )
        self._ring.append(kept)
        self.per_verdict[refusal.verdict] += 1
        if refusal.site:
            self.per_site[refusal.site] += 1
        at = refusal[1:3]
        group = self._groups.get(at)
        if group is None:
            if len(self._groups) >= MAX_GROUPS:
                self.counters["rejections of no group, there are too many"] += 1
                return
            group = self._groups[at] = _Group(kept)
        group.count += 1
        group.last = kept
        if self._announce is None:
            return
        if now - group.announced_at < ANNOUNCED_EVERY:
            group.unsaid += 1
            return
        unsaid, group.unsaid, group.announced_at = group.unsaid, 0, now
        self._announce(kept.read(), unsaid)

    def newest_first(
        self,
        before: int | None = None,
        is_about: Callable[[int, int, int], bool] | None = None,
    ) -> Iterator[Rejection]:
        """Yield what is kept in detail, or of that what has a smaller number than ``before``, and
        for whose instance ID, family and prefix key ``is_about`` holds; nothing may be noted
        meanwhile.
        """
        for kept in reversed(self._ring):
            if before is not None and kept.number >= before:
                continue
            if is_about is None or is_about(kept.instance_id, kept.afi, kept.key):
                yield kept.read()

    def groups(self, limit: int = MAX_GROUPS) -> list[RejectionGroup]:
        """Return what is counted together, the rule that was broken last first; so many at most."""
        latest = heapq.nlargest(limit, self._groups.values(), key=lambda group: group.last.number)
        return [
            RejectionGroup(*group.last.refusal[:3], group.count, group.last.read())
            for group in latest
        ]


def _endpoint_text(endpoint: Endpoint) -> str:
    address = ipaddress.ip_address(endpoint[0])
    host = str(address) if address.version == 4 else f"[{address}]"
    return f"{host}:{endpoint[1]}"
