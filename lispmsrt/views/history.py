"""What has happened to mappings, and what was refused, as one list: newest first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from lispmsrt.mapping.history import History, HistoryLine
from lispmsrt.mapping.rejections import Rejection, Rejections
from lispmsrt.mapping.sites import eid_key
from lispmsrt.views.cursors import at_most, number_from
from lispmsrt.views.naming import eid_text, xtr_id_text
from lispmsrt.views.records import view_of
from lispmsrt.views.registration_walk import is_inside
from lispmsrt.views.times import Times
from lispmsrt.views.values import (
    HistoryEvent,
    HistoryFilter,
    HistoryView,
    Page,
    RejectionGroupView,
    RejectionView,
)
from lispmsrt.wire.addresses import Address, Afi, EidPrefix
from lispmsrt.wire.reliable_transport import reason_text

__all__ = ["MAX_LOOKED_AT", "TAKEN_OUT", "HistoryPages"]

MAX_LOOKED_AT = 5_000
"""Lines that are looked at for one page: some 5 ms, where a filter leaves few of them."""

_FOR_REJECTION, _FOR_ITEM = 4, 4
"""How many more lines could be looked at while the sentence of a rejection is made, and while what
is asked for is made an item.
"""

MAX_GROUPS = 1_000
"""Groups of rejections that are told, each of which takes some 25 us: anybody can be refused for
every site that is configured.
"""

TAKEN_OUT = "what its session registered there last was refused, so nothing is left of it"
"""Why a mapping is gone where its own session made the mistake."""

_T = TypeVar("_T", HistoryView, RejectionView)


class _Matches:
    """Whether a line is asked for."""

    def __init__(self, asked: HistoryFilter, times: Times) -> None:
        self._asked = asked
        self._transport = asked.transport.upper() if asked.transport is not None else None
        self._since = times.monotonic(asked.since) if asked.since is not None else None
        self._event = asked.event.lower() if asked.event is not None else None
        self._eid = _key_of(asked.eid) if asked.eid is not None else None

    def line(self, line: HistoryLine | Rejection) -> bool:
        """Whether it is asked for."""
        if isinstance(line, Rejection):
            event, site, protocol = "rejected", line.site, line.protocol
            instance_id = line.instance_id
        else:
            event, site, protocol = line.event, line.lease.xtr.site, line.lease.transport
            instance_id = line.table.instance_id
        asked = self._asked
        return (
            (asked.site is None or site == asked.site)
            and (asked.instance_id is None or instance_id == asked.instance_id)
            and (self._transport is None or protocol.upper() == self._transport)
            and (self._event is None or event == self._event)
            and (self._since is None or line.at >= self._since)
            and (asked.eid is None or self._is_about(line))
        )

    def _is_about(self, line: HistoryLine | Rejection) -> bool:
        place = _place_of(line)
        if place is None or self._eid is None or place[0] != self._eid[0]:
            return False
        key, eid = place[1], self._eid[1]
        if place[0] == Afi.NAME:
            return key == eid
        return is_inside(key, eid) or is_inside(eid, key)


class HistoryPages:
    """Pages of the history and of the rejections."""

    def __init__(self, history: History, rejections: Rejections, times: Times) -> None:
        self._history = history
        self._rejections = rejections
        self._times = times

    def page(self, asked: HistoryFilter, cursor: str | None, limit: int) -> Page[HistoryView]:
        """Return some lines, rejections among them. Raises CursorError."""
        lines = self.lines(asked.after, number_from(cursor))
        return self._page(lines, asked, cursor, limit, self._view)

    def rejections(
        self, asked: HistoryFilter, cursor: str | None, limit: int
    ) -> Page[RejectionView]:
        """Return some rejections. Raises CursorError."""
        lines = self._rejections.newest_first(number_from(cursor))
        return self._page(lines, asked, cursor, limit, self.rejection)

    def groups(self) -> tuple[RejectionGroupView, ...]:
        """Return what was refused by which rule, the rule that was broken last first."""
        groups = self._rejections.groups(MAX_GROUPS)
        return tuple(
            RejectionGroupView(
                reason_text(group.verdict),
                group.rule,
                group.site,
                group.count,
                self.rejection(group.last),
            )
            for group in groups
        )

    def lines(
        self, after: int | None = None, before: int | None = None
    ) -> Iterator[HistoryLine | Rejection]:
        """Yield what is kept and has a number between these, newest first; nothing may happen
        meanwhile.
        """
        kept = self._history.newest_first(after, before)
        refused = self._rejections.newest_first(before)
        line, one = next(kept, None), next(refused, None)
        while one is not None and one.number > (after or 0):
            while line is not None and line.number > one.number:
                yield line
                line = next(kept, None)
            yield one
            one = next(refused, None)
        if line is not None:
            yield line
            yield from kept

    def ends(self) -> Iterator[HistoryLine]:
        """Yield what is kept without the rejections, newest first."""
        return self._history.newest_first()

    def refused(self, is_about: Callable[[int, int, int], bool]) -> Iterator[Rejection]:
        """Yield the rejections for whose instance ID, family and prefix key this holds, newest
        first.
        """
        return self._rejections.newest_first(None, is_about)

    def rejection(self, one: Rejection) -> RejectionView:
        """Return a rejection as a value."""
        return RejectionView(
            number=one.number,
            at=self._times.wall(one.at),
            reason=reason_text(one.verdict),
            rule=one.rule,
            eid_prefix=one.eid,
            instance_id=one.instance_id,
            site=one.site,
            xtr_id=xtr_id_text(one.ids),
            protocol=one.protocol,
            source=one.source,
        )

    def _page(
        self,
        lines: Iterator[HistoryLine | Rejection],
        asked: HistoryFilter,
        cursor: str | None,
        limit: int,
        view: Callable[..., _T],
    ) -> Page[_T]:
        matches = _Matches(asked, self._times)
        limit, last, left = at_most(limit), 0, MAX_LOOKED_AT
        items: list[_T] = []
        for line in lines:
            if asked.after is not None and line.number <= asked.after:
                break
            if left <= 0:
                return Page(tuple(items), None, str(last))
            left -= 1 + _FOR_REJECTION * isinstance(line, Rejection)
            if matches.line(line):
                if len(items) >= limit:
                    return Page(tuple(items), None, str(last))
                items.append(view(line))
                left -= _FOR_ITEM
            last = line.number
        return Page(tuple(items), None if cursor else len(items), None)

    def _view(self, line: HistoryLine | Rejection) -> HistoryView:
        if isinstance(line, Rejection):
            return self._view_of_rejection(line)
        lease = line.lease
        return HistoryView(
            number=line.number,
            at=self._times.wall(line.at),
            event=HistoryEvent(line.event),
            eid_prefix=eid_text(line.table, line.key),
            instance_id=line.table.instance_id,
            protocol=lease.transport,
            site=lease.xtr.site,
            xtr_id=xtr_id_text(lease.ids),
            source=line.source,
            rlocs=_rlocs(line.record),
            rule=TAKEN_OUT if line.event == "rejected" else "",
            remaining=_rlocs(line.remaining),
        )

    def _view_of_rejection(self, one: Rejection) -> HistoryView:
        return HistoryView(
            number=one.number,
            at=self._times.wall(one.at),
            event=HistoryEvent.REJECTED,
            eid_prefix=one.eid,
            instance_id=one.instance_id,
            protocol=one.protocol,
            site=one.site,
            xtr_id=xtr_id_text(one.ids),
            source=one.source,
            rlocs=(),
            rule=one.rule,
            remaining=(),
        )


def _rlocs(record: bytes | None) -> tuple[str, ...]:
    """Return the RLOCs of a record in wire form; none of no record."""
    if record is None:
        return ()
    return tuple([locator.rloc for locator in view_of(record, "", 0).locators])


def _place_of(line: HistoryLine | Rejection) -> tuple[int, int] | None:
    """Return family and prefix key of what a line is about; None where that can't be known."""
    if not isinstance(line, Rejection):
        return line.table.afi, line.key
    return (line.afi, line.key) if line.key else None


def _key_of(eid: EidPrefix) -> tuple[int, int] | None:
    if not isinstance(eid.address, Address):
        return None
    _instance_id, afi, _length, key = eid_key(eid)
    return afi, key
