"""The xTRs behind what is kept: a number for each, and when it was heard last.

Confirming a registration is no change and nobody is told, so leases are looked at in turns: what
has moved is written then.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import NamedTuple

from lispmsrt.mapping.database import Lease, Xtr
from lispmsrt.mapping.soft_state import SoftState
from lispmsrt.wire.served_records import record_ttl

__all__ = ["XtrRow", "Xtrs"]

_STEP = 10.0
"""Seconds by which what is kept of an xTR may be behind, besides the time of a pass."""

_PASS = 60
"""Turns in which all leases are looked at, however many there are."""

_AT_LEAST = 500
"""Leases that are looked at in a turn: some 0.5 ms."""


class XtrRow(NamedTuple):
    """What is kept of an xTR."""

    number: int
    site: str
    ids: bytes
    address: bytes
    transport: str
    source: str
    key: bytes
    "fingerprint of the key of its newest message"
    heard: float | None
    "in the file's seconds; None while it has a live session"


class _Known:
    __slots__ = ("heard", "numbers", "row", "seen")

    def __init__(self, number: int, row: XtrRow | None = None) -> None:
        self.numbers = [number]
        "by which rows name it; the first is for new ones"
        self.row = row
        "as it was written"
        self.seen = -1
        "in which pass"
        self.heard: float | None = 0.0
        "in that pass"


class Xtrs:
    """Numbers xTRs, and knows what is to be written of them."""

    def __init__(self, leases: Mapping[Lease, None], timeout: float, first: int = 1) -> None:
        """``leases`` are all that hold something; ``first`` is the least number that is free."""
        self._leases = leases
        self._lasts = SoftState(timeout).lasts
        self._timeout = timeout
        self._known: dict[Xtr, _Known] = {}
        self._numbers: dict[Lease, int] = {}
        self._next = first
        self._changed: dict[int, XtrRow] = {}
        self._gone: list[int] = []
        self._pass = 0
        self._walk: Iterator[Lease] = iter(())
        self._portion = _AT_LEAST

    def restore(self, row: XtrRow, xtr: Xtr) -> None:
        """Go on with the number that an xTR had."""
        known = self._known.get(xtr)
        if known is None:
            known = self._known[xtr] = _Known(row.number, row)
        elif row.number not in known.numbers:
            # It was back before all of it was restored.
            known.numbers.append(row.number)
            known.row = None
        known.seen = self._pass

    def forget(self, number: int) -> None:
        """Have a number removed by which no row names anybody."""
        self._gone.append(number)

    def number(self, lease: Lease, now: float, offset: float) -> int:
        """Return the number of a lease's xTR, which will be written if it is new."""
        number = self._numbers.get(lease)
        if number is not None:
            return number
        known = self._known.get(lease.xtr)
        if known is None:
            known = self._known[lease.xtr] = _Known(self._next)
            self._next += 1
        known.seen = self._pass
        number = self._numbers[lease] = known.numbers[0]
        self._look_at(lease, now, offset)
        return number

    def look(self, now: float, offset: float, *, is_partial: bool) -> None:
        """Look at some leases; ``offset`` makes monotonic seconds the file's. ``is_partial``: some
        who have nothing yet may have something still.
        """
        looked = 0
        for lease in islice(self._walk, self._portion):
            looked += 1
            if lease.held:
                self._look_at(lease, now, offset)
        if looked < self._portion:
            self._end_pass(is_partial)

    def look_at_all(self, now: float, offset: float) -> None:
        """Look at every lease: the process is about to end."""
        for lease in list(self._leases):
            self._look_at(lease, now, offset)

    @property
    def has_changed(self) -> bool:
        """Whether :meth:`take` has something."""
        return bool(self._changed or self._gone)

    def take(self) -> tuple[list[XtrRow], list[int]]:
        """Return what is to be written, and the numbers of those that are gone; forget both."""
        changed, gone = list(self._changed.values()), self._gone
        self._changed, self._gone = {}, []
        return changed, gone

    def put_back(self, changed: list[XtrRow], gone: list[int]) -> None:
        """What was taken could not be written."""
        self._changed = {row.number: row for row in changed} | self._changed
        self._gone = gone + self._gone

    def _end_pass(self, is_partial: bool) -> None:
        """Forget who has nothing any more, and begin anew."""
        unseen = [xtr for xtr, known in self._known.items() if known.seen < self._pass - 1]
        if unseen and not is_partial:
            # What it has may have gone from lease to lease, each time to one that was not walked.
            holding = {lease.xtr for lease in self._leases if lease.held}
            for xtr in unseen:
                if xtr not in holding:
                    self._forget_xtr(xtr)
        if self._gone:
            self._numbers = {lease: n for lease, n in self._numbers.items() if lease.held}
        self._pass += 1
        leases = list(self._leases)
        self._walk = iter(leases)
        self._portion = max(_AT_LEAST, len(leases) // _PASS + 1)

    def _forget_xtr(self, xtr: Xtr) -> None:
        for number in self._known.pop(xtr).numbers:
            self._changed.pop(number, None)
            self._gone.append(number)

    def _look_at(self, lease: Lease, now: float, offset: float) -> None:
        known = self._known.get(lease.xtr)
        if known is None:
            return
        heard = None if lease.is_live else self._heard(lease, now) + offset
        is_first = known.seen != self._pass or known.row is None
        known.seen = self._pass
        if not is_first and _is_later(known.heard, heard):
            return
        known.heard = heard
        xtr = lease.xtr
        key = lease.key.fingerprint if lease.key is not None else b""
        row = XtrRow(
            known.numbers[0],
            xtr.site,
            xtr.ids,
            xtr.address,
            lease.transport,
            lease.source,
            key,
            heard,
        )
        if known.row is None or _differs(known.row, row):
            known.row = row
            for number in known.numbers:
                self._changed[number] = row._replace(number=number)

    def _heard(self, lease: Lease, now: float) -> float:
        """Return when a lease without a session was heard last, or lost its session."""
        if lease.deadline is not None:
            return lease.deadline - self._timeout
        newest = None
        # Of many, that were registered together, the oldest and the newest tell enough.
        for one in (next(iter(lease.held), None), next(reversed(lease.held), None)):
            if one is not None and one.deadline is not None:
                at = one.deadline - self._lasts(one.flags, record_ttl(one.record))
                newest = at if newest is None else max(newest, at)
        return now if newest is None else newest


def _is_later(one: float | None, other: float | None) -> bool:
    """Whether an xTR that has several leases is known better by the first one's time."""
    return one is None or (other is not None and other <= one)


def _differs(kept: XtrRow, row: XtrRow) -> bool:
    if kept[:-1] != row[:-1] or kept.heard is None or row.heard is None:
        return kept != row
    return abs(kept.heard - row.heard) > _STEP
