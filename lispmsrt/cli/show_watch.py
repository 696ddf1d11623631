"""Look at a view again and again: redrawn on a terminal, added below elsewhere."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator

from lispmsrt.cli.api_client import Api, ApiError
from lispmsrt.cli.blocks import Block, Line, Tone
from lispmsrt.cli.complaint import complain
from lispmsrt.cli.durations import moment
from lispmsrt.cli.find_daemon import connect
from lispmsrt.cli.screens import Screen
from lispmsrt.cli.show_view import Look, Memory, View, parsed
from lispmsrt.views.values.system import OverviewView

__all__ = ["watch"]

_FRAME_LINES = 8
"""Lines of a terminal that headings and remarks need."""

_FIRST_LINES = 20
"""Lines that stand already when one begins to wait for new ones."""

_Redraw = Callable[[Iterable[Block]], None]


def watch(
    view: View,
    arguments: argparse.Namespace,
    screen: Screen,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.time,
) -> int:
    """Look until somebody interrupts; a daemon that is away for a while is waited for."""
    watcher = _Watcher(view, arguments, screen, clock)
    if arguments.json:
        while True:
            watcher.look(_print_json)
            sleep(arguments.watch)
    with screen.redrawing() as redraw:
        while True:
            watcher.look(lambda look: redraw(watcher.blocks(look)))
            sleep(arguments.watch)


class _Watcher:
    def __init__(
        self, view: View, arguments: argparse.Namespace, screen: Screen, clock: Callable[[], float]
    ) -> None:
        self._view, self._arguments, self._screen, self._clock = view, arguments, screen, clock
        self._follows = view.follows and (screen.height is None or arguments.json)
        self._api: Api | None = None
        self._memory = Memory()
        self._complaint = ""

    def look(self, show: Callable[[Look], None]) -> None:
        """Show how it is now."""
        try:
            if self._api is None:
                self._api = connect(self._arguments, self._view.roles)
            show(self._look(self._api))
            self._complaint = ""
        except ApiError as failure:
            self._api = None
            if str(failure) != self._complaint:
                self._complaint = str(failure)
                complain(failure)
        sys.stdout.flush()

    def blocks(self, look: Look) -> Iterator[Block]:
        """Yield a view, and when it was looked at."""
        if self._follows:
            yield from self._view.draw(look)
            return
        when = moment(look.now, self._arguments.utc)
        yield Line(f"{when}, every {self._arguments.watch:g} s", Tone.FAINT)
        yield from self._view.draw(look)
        if self._screen.height is None:
            yield Line()

    def _look(self, api: Api) -> Look:
        if self._memory.number is not None:
            # A daemon that was restarted meanwhile counts its lines from nought.
            newest = parsed(OverviewView, api.get("/overview")).history_number
            self._memory.number = self._memory.number if newest >= self._memory.number else 0
        now = self._clock()
        return Look(
            api, self._view, self._arguments, now, self._limit(), self._memory, self._follows
        )

    def _limit(self) -> int | None:
        if self._follows and self._memory.number is not None:
            return None
        limit: int | None = getattr(self._arguments, "limit", None)
        if limit is None and self._follows:
            return _FIRST_LINES
        if limit is None and self._screen.height is not None and not self._arguments.json:
            return max(1, self._screen.height - _FRAME_LINES)
        return limit


def _print_json(look: Look) -> None:
    """Print a view as one line."""
    if not look.view.is_list:
        print(json.dumps(look.raw()))
        return
    listing = look.raw_items()
    items = list(listing)
    if look.appends:
        look.remember(int(str(item.get("number", 0))) for item in items)
    end = {"total": listing.total, "next_cursor": listing.next_cursor}
    print(json.dumps({"items": items, **end}))
