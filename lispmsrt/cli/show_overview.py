"""`show overview`: one look at everything, with rates while it is watched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import lispmsrt
from lispmsrt.cli.api_client import path_of
from lispmsrt.cli.blocks import Block, Cell, Column, Line, Table, Text, Tone
from lispmsrt.cli.show_rows import state_cell
from lispmsrt.cli.show_view import Look, View
from lispmsrt.views.values.system import OverviewView

__all__ = ["OVERVIEW"]

_BARS = "▁▂▃▄▅▆▇█"

_TRANSPORT_COLUMNS = (
    Column("Transport"),
    Column("Sessions", is_right=True),
    Column("Registrations", is_right=True),
)

_LISTENER_COLUMNS = (
    Column("Listening"),
    Column("Transport", spare=1),
    Column("Address"),
    Column("Sessions", is_right=True),
    Column("State"),
)


def _overview(look: Look) -> Iterator[Block]:
    seen = look.get(look.path, OverviewView)
    roles = " and ".join(seen.roles)
    yield Line(f"lispmsrt {seen.version}, {roles}", Tone.HEADING)
    yield Line(f"up {look.age(seen.started)}, since {look.moment(seen.started)}")
    if seen.version != lispmsrt.__version__:
        yield Line(f"this command is of lispmsrt {lispmsrt.__version__}", Tone.WARNING)
    if not seen.is_compiled:
        yield Line("nothing is compiled: the hot paths run in pure Python", Tone.WARNING)
    yield Line()
    is_watched = look.memory is not None
    rates = (Column("A second", is_right=True), Column("Lately", spare=1)) if is_watched else ()
    columns = (Column("What"), Column("Count", is_right=True), *rates, Column("Of which", spare=2))
    yield Table(columns, [_row(each, seen, look) for each in _counts(seen)])
    yield Line()
    transports = [
        (each.transport, f"{each.sessions:,}", f"{each.registrations:,}")
        for each in seen.transports
    ]
    yield Table(_TRANSPORT_COLUMNS, transports)
    yield Line()
    yield Table(_LISTENER_COLUMNS, list(_listeners(seen)))


def _counts(seen: OverviewView) -> Sequence[tuple[str, int, bool, str]]:
    """Return names and numbers, whether they only grow, and what belongs to them."""
    return (
        (
            "Registrations",
            seen.registrations,
            False,
            f"{seen.eid_prefixes:,} EID-prefixes, {seen.reliable_registrations:,} held by sessions",
        ),
        ("Sites", seen.sites, False, ""),
        ("Sessions", seen.sessions, False, f"{seen.established_sessions:,} established"),
        ("Subscriptions", seen.subscriptions, False, ""),
        ("Registrations taken", seen.registrations_taken, True, ""),
        ("Messages in", seen.messages_in, True, ""),
        ("Messages out", seen.messages_out, True, ""),
        ("Map-Requests", seen.map_requests, True, ""),
        ("Map-Replies", seen.map_replies, True, ""),
        ("Rejections", seen.rejections, True, "show rejections" if seen.rejections else ""),
    )


def _row(count: tuple[str, int, bool, str], seen: OverviewView, look: Look) -> tuple[Text, ...]:
    name, number, grows, of_which = count
    shown, remark = f"{number:,}", Cell(of_which, Tone.FAINT)
    if look.memory is None:
        return name, shown, remark
    rate = look.memory.rate(name, number, seen.now) if grows else None
    tone = Tone.BAD if name == "Rejections" and rate else Tone.PLAIN
    written = Cell(f"{rate:,.1f}" if rate is not None else "", tone)
    return name, shown, written, _bars(look.memory.rates(name)), remark


def _bars(rates: Sequence[float]) -> Text:
    """Return a picture of the last rates; the highest fills its line."""
    highest = max(rates, default=0)
    if not highest:
        return Cell("", Tone.PLAIN)
    top = len(_BARS) - 1
    return Cell("".join(_BARS[round(rate / highest * top)] for rate in rates), Tone.GOOD)


def _listeners(seen: OverviewView) -> Iterator[tuple[Text, ...]]:
    for each in seen.listeners:
        state = "up" if each.address else "failed"
        # Something may be wrong though it listens: a certificate has expired.
        said = f"{state}: {each.reason}" if each.reason else state
        cell = Cell(said, Tone.BAD) if each.reason else state_cell(said)
        yield each.endpoint, each.transport, each.address, f"{each.sessions:,}", cell


OVERVIEW = View(
    name="overview",
    summary="one look at everything",
    path=lambda _arguments: path_of("overview"),
    draw=_overview,
)
