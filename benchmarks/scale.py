"""What one node and fleets of them would carry, reckoned from the figures of ``make bench``."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap
from typing import Any, NamedTuple

from benchmarks.figures import Row, shown
from benchmarks.goals import lookups, registering, rest

__all__ = ["FLEETS", "Node", "scale_lines"]

FLEETS = (1, 10, 100, 1000)

_RESTART = 20.0
"""Seconds after which everything is to be registered again."""

_REARM_DELAY = 5.0
_START = 2.0
"""Seconds in which an ETR comes back after a restart at the latest, and a process starts."""

_SESSIONS = 10_000
"""ETRs of a node."""

_SHARE = 0.5
"""Of a core for lookups, the other half for what changes."""

_CHANGE = 3600.0
"""Seconds in which each mapping changes once: a network of hosts that move, not of sites."""

_WIDTH = 106
_REGISTRATION = 112
_ACK = 19
"""Octets on a session, for an IPv4 EID with one IPv4 locator."""


class Node(NamedTuple):
    """What was measured of one core."""

    registrations: float
    "a second, single, over a session"
    lookups: float
    "a second, the routed Internet registered"
    memory: float
    "octets of a mapping"
    session: float
    "octets of a session"

    @classmethod
    def of(cls, figures: Sequence[dict[str, Any]]) -> Node:
        """Take them from the file; ValueError where one was not measured."""
        medians = {figure["name"]: figure["median"] for figure in figures}
        rows = (registering.SESSION, lookups.INTERNET, lookups.MEMORY, rest.SESSION)
        return cls(*(_median(medians, row) for row in rows))

    @property
    def mappings(self) -> float:
        """How many are registered again in time after a restart."""
        return self.registrations * (_RESTART - _REARM_DELAY - _START)

    @property
    def octets(self) -> float:
        """The memory of these, and of the sessions."""
        return self.mappings * self.memory + _SESSIONS * self.session


def _median(medians: dict[str, float], row: Row) -> float:
    if row.name not in medians:
        raise ValueError(f"`{row.name}` was not measured")
    return medians[row.name]


def scale_lines(figures: Sequence[dict[str, Any]]) -> list[str]:
    """Return the arithmetic, and the table of fleets."""
    from benchmarks.page import table_lines

    node = Node.of(figures)
    rows = [
        (
            f"{count:,}",
            _short(count * node.mappings),
            _short(count * node.registrations),
            _short(count * node.mappings / _CHANGE),
            _short(count * node.lookups * _SHARE),
            f"{count * node.octets / 1e9:,.1f} GB",
            _short(count * _SESSIONS),
        )
        for count in FLEETS
    ]
    head = (
        "Map-Servers",
        "mappings",
        "registrations a second, at most",
        "of which changes need",
        "lookups a second",
        "memory",
        "sessions",
    )
    return [*_arithmetic(node), "", *table_lines(head, rows)]


def _arithmetic(node: Node) -> list[str]:
    left = _RESTART - _REARM_DELAY - _START
    changes = node.mappings / _CHANGE
    rate = 8 * node.registrations * (_REGISTRATION + _ACK) / 1e6
    sentences = (
        f"A core takes {shown(node.registrations)} Registrations a second. Everything is to be "
        f"back {_RESTART:.0f} s after a restart, of which {_START:.0f} s go to the start of the "
        f"process and {_REARM_DELAY:.0f} s to ETRs that wait for their turn: {left:.0f} s are "
        f"left, and {left:.0f} x {shown(node.registrations)} = **{_short(node.mappings)} "
        "mappings**.",
        f"Their memory: {_short(node.mappings)} x {shown(node.memory)} octets, and {_SESSIONS:,} "
        f"sessions x {shown(node.session)} octets: **{node.octets / 1e9:.1f} GB**.",
        f"If each changes once an hour, {_short(node.mappings)} / {_CHANGE:,.0f} s = "
        f"{_short(changes)} Registrations a second, "
        f"{changes / node.registrations:.1%} of the core.",
        f"Half of the core answers {_short(node.lookups * _SHARE)} lookups a second.",
        f"The network while everything is registered again: {_REGISTRATION} octets in and {_ACK} "
        f"out for each, without headers, or {rate:,.0f} Mbit/s.",
    )
    return [line for sentence in sentences for line in _bullet(sentence)]


def _bullet(sentence: str) -> list[str]:
    return wrap(sentence, _WIDTH, initial_indent="* ", subsequent_indent="  ")


def _short(number: float) -> str:
    for unit, size in (("billion", 1e9), ("million", 1e6)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{float(f'{number:.2g}'):,.0f}"
