"""`show history`, `show rejections` and `show statistics`."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Sequence
from itertools import chain, groupby
from typing import Any

from lispmsrt.cli.api_client import ApiError, path_of
from lispmsrt.cli.blocks import Block, Cell, Column, Line, Table, Text, Tone
from lispmsrt.cli.show_options import (
    EID_FILTER,
    INSTANCE_ID_FILTER,
    SINCE,
    SITE,
    TRANSPORT,
    Option,
)
from lispmsrt.cli.show_rows import left_out
from lispmsrt.cli.show_view import Look, View
from lispmsrt.views.values.events import (
    HistoryEvent,
    HistoryView,
    RejectionGroupView,
    RejectionView,
    StatisticView,
)

__all__ = ["HISTORY", "REJECTIONS", "REJECTION_GROUPS", "STATISTICS"]

_EVENT = Option(
    "event", "only these", parameter="event", choices=[event.value for event in HistoryEvent]
)
_GROUP = Option("group", "only this group", "NAME")
_NONZERO = Option("nonzero", "only what has happened", is_flag=True)

_MARKS = {
    HistoryEvent.REGISTERED: Cell("+", Tone.GOOD),
    HistoryEvent.CHANGED: Cell("*", Tone.PLAIN),
    HistoryEvent.WITHDRAWN: Cell("-", Tone.WARNING),
    HistoryEvent.EXPIRED: Cell("-", Tone.WARNING),
    HistoryEvent.DECONFIGURED: Cell("-", Tone.WARNING),
    HistoryEvent.REJECTED: Cell("!", Tone.BAD),
}
_LEGEND = "+ = registered, - = withdrawn, expired or deconfigured, * = changed, ! = rejected"

_GROUP_COLUMNS = (
    Column("Count", is_right=True),
    Column("Last"),
    Column("Reason"),
    Column("Site", spare=2),
    Column("Last EID", spare=3),
    Column("Rule", wraps=True),
)


def _columns(look: Look, remark: str) -> tuple[Column, ...]:
    """Return those of lines that say what happened when."""
    return (
        Column(f"Timestamp ({'UTC' if look.arguments.utc else 'local'})"),
        Column("Instance", is_right=True),
        Column("Proto", spare=1),
        Column("EID"),
        Column("Source", spare=2),
        Column("Site", spare=3),
        Column(remark, wraps=True),
    )


def _history(look: Look) -> Iterator[Block]:
    if not look.appends:
        yield Line(_LEGEND, Tone.FAINT)
    listing = look.items(HistoryView)
    columns = _columns(look, "RLOCs or reason")
    if look.appends:
        yield from _news(list(listing), columns, look)
    else:
        yield Table(columns, (_history_row(line, look) for line in listing))
        yield from left_out(listing)


def _news(
    lines: Sequence[HistoryView | RejectionView], columns: Sequence[Column], look: Look
) -> Iterator[Block]:
    """Yield what has come since the last look, oldest first, as ``tail -f`` does."""
    is_first = look.memory is not None and look.memory.number is None
    look.remember(line.number for line in lines)
    rows = [
        _history_row(line, look) if isinstance(line, HistoryView) else _rejection_row(line, look)
        for line in reversed(lines)
    ]
    if rows or is_first:
        yield Table(columns, rows, has_heading=is_first)


def _history_row(line: HistoryView, look: Look) -> tuple[Text, ...]:
    mark = _MARKS[line.event]
    left = f", RLOCs left: {', '.join(line.remaining)}" if line.remaining else ""
    if line.event is HistoryEvent.REJECTED:
        remark: Text = Cell(f"{line.rule}{left}", Tone.BAD)
    elif left:
        remark = f"{line.event.value} for this xTR{left}"
    else:
        remark = ", ".join(line.rlocs) or line.event.value
    return (
        look.timestamp(line.at),
        str(line.instance_id),
        line.protocol,
        Cell(f"{mark.text} {line.eid_prefix}", mark.tone),
        line.source,
        line.site,
        remark,
    )


def _rejections(look: Look) -> Iterator[Block]:
    columns = _columns(look, "Rule")
    if look.appends:
        yield from _news(list(look.items(RejectionView)), columns, look)
        return
    listing = look.items(RejectionView)
    rows = (_rejection_row(each, look) for each in listing)
    first = next(rows, None)
    groups = list(_group_rows(look)) if not set(look.parameters()) - {"site"} else []
    if first is None and not groups:
        yield _nothing(look)
        return
    if groups:
        yield Line("Rejections by rule, since the start", Tone.HEADING)
        yield Table(_GROUP_COLUMNS, groups)
        yield Line()
    yield Line("Rejections, newest first", Tone.HEADING)
    yield Table(columns, rows if first is None else chain((first,), rows))
    yield from left_out(listing)


def _groups(look: Look) -> Iterator[Block]:
    rows = list(_group_rows(look))
    yield Table(_GROUP_COLUMNS, rows) if rows else _nothing(look)


def _nothing(look: Look) -> Line:
    """Say that there are no rejections, or none that were asked for."""
    options = (getattr(look.arguments, option.name, None) for option in look.view.options)
    which = "nothing that matches" if any(value is not None for value in options) else "nothing"
    return Line(f"{which} was rejected since the start")


def _group_rows(look: Look) -> Iterator[tuple[Text, ...]]:
    site = look.arguments.site
    for group in look.get(path_of("rejection-groups"), tuple[RejectionGroupView, ...]):
        if site is None or group.site == site:
            yield (
                str(group.count),
                look.age(group.last.at),
                Cell(group.reason, Tone.BAD),
                group.site,
                group.last.eid_prefix,
                group.rule,
            )


def _rejection_row(line: RejectionView, look: Look) -> tuple[Text, ...]:
    return (
        look.timestamp(line.at),
        str(line.instance_id),
        line.protocol,
        Cell(f"! {line.eid_prefix}", Tone.BAD),
        line.source,
        line.site,
        line.rule,
    )


def _statistics(look: Look) -> Iterator[Block]:
    found = look.get(look.path, tuple[StatisticView, ...])
    for number, (group, statistics) in enumerate(groupby(found, lambda each: each.group)):
        if number:
            yield Line()
        yield Line(group, Tone.HEADING)
        yield Table(
            _statistic_columns(look), [_statistic_row(each, look) for each in statistics], 2
        )


def _statistic_columns(look: Look) -> tuple[Column, ...]:
    rate = () if look.memory is None else (Column("A second", is_right=True),)
    return (Column("Value", is_right=True), *rate, Column("Name"), Column("Meaning", wraps=True))


def _statistic_row(each: StatisticView, look: Look) -> tuple[Text, ...]:
    row: tuple[Text, ...] = (each.name, each.meaning)
    if look.memory is not None:
        rate = look.memory.rate(f"{each.group}/{each.name}", each.value, look.now)
        row = (f"{rate:.1f}" if rate is not None else "", *row)
    return (str(each.value), *row)


def _narrowed_statistics(found: list[dict[str, Any]], arguments: Namespace) -> Any:
    known = dict.fromkeys(each["group"] for each in found)
    if arguments.group is not None and arguments.group not in known:
        raise ApiError(f"there is no group {arguments.group} here, but {', '.join(known)}")
    return [
        each
        for each in found
        if arguments.group in (None, each["group"]) and (each["value"] or not arguments.nonzero)
    ]


def _narrowed_groups(found: list[dict[str, Any]], arguments: Namespace) -> Any:
    return [each for each in found if arguments.site in (None, each["site"])]


HISTORY = View(
    name="history",
    summary="what was registered, changed, withdrawn, expired and rejected, newest first",
    path=lambda _arguments: path_of("history"),
    draw=_history,
    options=(SITE, INSTANCE_ID_FILTER, TRANSPORT, EID_FILTER, SINCE, _EVENT),
    is_list=True,
    follows=True,
)

REJECTIONS = View(
    name="rejections",
    summary="what was refused, by which rule",
    path=lambda _arguments: path_of("rejections"),
    draw=_rejections,
    options=(SITE, INSTANCE_ID_FILTER, TRANSPORT, EID_FILTER, SINCE),
    is_list=True,
    follows=True,
)

REJECTION_GROUPS = View(
    name="rejection-groups",
    summary="what was refused since the start, counted by rule",
    path=lambda _arguments: path_of("rejection-groups"),
    draw=_groups,
    options=(Option("site", "of this site", "NAME"),),
    narrow=_narrowed_groups,
)

STATISTICS = View(
    name="statistics",
    summary="every counter, and what it counts",
    path=lambda _arguments: path_of("statistics"),
    draw=_statistics,
    options=(_GROUP, _NONZERO),
    narrow=_narrowed_statistics,
)
