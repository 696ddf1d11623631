"""A view of `lispmsrt show`: what it asks the daemon for, and how that is drawn."""

from __future__ import annotations

import argparse
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from lispmsrt.cli.api_client import Api, ApiError
from lispmsrt.cli.blocks import Block
from lispmsrt.cli.durations import age, moment, timestamp
from lispmsrt.cli.find_daemon import MAP_SERVER_FIRST
from lispmsrt.cli.show_options import Option
from lispmsrt.views.values.page import Page

__all__ = ["Listing", "Look", "Memory", "View", "parsed"]

_T = TypeVar("_T")

_Narrow = Callable[[Any, argparse.Namespace], Any]

_KEPT_RATES = 30

_ODD_ANSWER = "the daemon does not answer as this lispmsrt expects: is it another version?"


@dataclass(frozen=True, slots=True)
class View:
    """One thing to show."""

    name: str
    summary: str
    path: Callable[[argparse.Namespace], str]
    "what JSON is asked for, below /api/v1"
    draw: Callable[[Look], Iterator[Block]]
    options: tuple[Option, ...] = ()
    roles: tuple[str, ...] = MAP_SERVER_FIRST
    is_list: bool = False
    "whether the answer comes in pages"
    narrow: _Narrow | None = None
    """filters, in place, what the API has no filter for: one item of a list, or the whole; None for
    an item that is not wanted"""
    follows: bool = False
    "whether to watch it means to wait for new lines at the end"


@dataclass(slots=True)
class Memory:
    """What is kept from one look to the next."""

    number: int | None = None
    "of the newest line that was shown"
    _last: dict[str, tuple[float, int]] = field(default_factory=dict)
    _rates: dict[str, deque[float]] = field(default_factory=dict)

    def rate(self, name: str, value: int, at: float) -> float | None:
        """Return how much a counter has grown a second since the last look."""
        earlier = self._last.get(name)
        self._last[name] = (at, value)
        # A daemon that has started anew counts from nought.
        if earlier is None or at <= earlier[0] or value < earlier[1]:
            return None
        rate = (value - earlier[1]) / (at - earlier[0])
        self._rates.setdefault(name, deque(maxlen=_KEPT_RATES)).append(rate)
        return rate

    def rates(self, name: str) -> tuple[float, ...]:
        """Return the last rates, oldest first."""
        return tuple(self._rates.get(name, ()))


class Listing(Generic[_T]):
    """The items of a list, as pages bring them."""

    def __init__(self, pages: Iterator[Page[_T]]) -> None:
        self._pages = pages
        self.shown = 0
        self.total: int | None = None
        self.next_cursor: str | None = None

    def __iter__(self) -> Iterator[_T]:
        for page in self._pages:
            self.total, self.next_cursor = page.total, page.next_cursor
            for item in page.items:
                self.shown += 1
                yield item


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a view: whom to ask, what for, and when."""

    api: Api
    view: View
    arguments: argparse.Namespace
    now: float
    "seconds since 1970"
    limit: int | None
    "items of a list"
    memory: Memory | None = None
    "where the view is watched"
    appends: bool = False
    "whether what is drawn stands below what was drawn before"

    def get(self, path: str, kind: type[_T], **parameters: object) -> _T:
        """Return one value; raise ApiError."""
        given = {name: value for name, value in parameters.items() if value is not None}
        body = self.api.get(path, given)
        if self._narrows and not self.view.is_list and path == self.path:
            body = json.dumps(self._narrowed(parsed(object, body))).encode()
        value: _T = parsed(kind, body)
        return value

    def items(self, kind: type[_T]) -> Listing[_T]:
        """Return the list that the view is about."""
        parse: Callable[[bytes], Page[_T]] = partial(parsed, Page[kind])  # type: ignore[valid-type]
        if self._narrows:
            parse = partial(self._parse_narrowed, kind)
        return Listing(self.api.pages(self.path, self.parameters(), self.limit, parse))

    def others(
        self, path: str, kind: type[_T], limit: int, parameters: Mapping[str, object]
    ) -> Listing[_T]:
        """Return another list."""
        parse: Callable[[bytes], Page[_T]] = partial(parsed, Page[kind])  # type: ignore[valid-type]
        return Listing(self.api.pages(path, parameters, limit, parse))

    def raw_items(self) -> Listing[dict[str, object]]:
        """Return the list that the view is about, as JSON has it."""
        return Listing(self.api.pages(self.path, self.parameters(), self.limit, self._raw_page))

    def raw(self) -> object:
        """Return what the view is about, as JSON has it."""
        return self._narrowed(parsed(object, self.api.get(self.path, self.parameters())))

    @property
    def path(self) -> str:
        """Return what is asked for."""
        return self.view.path(self.arguments)

    def parameters(self) -> dict[str, object]:
        """Return the filters that the API knows."""
        found: dict[str, object] = {}
        for option in self.view.options:
            value = getattr(self.arguments, option.name, None)
            if value is not None and option.parameter:
                found[option.parameter] = option.as_parameter(value)
        if self.memory is not None and self.memory.number is not None:
            found["after"] = self.memory.number
        return found

    def remember(self, numbers: Iterable[int]) -> None:
        """Ask only for lines with greater numbers from now on."""
        if self.memory is not None:
            self.memory.number = max((self.memory.number or 0, *numbers))

    def age(self, at: float) -> str:
        """Return how long ago that was."""
        return age(self.now - at)

    def moment(self, at: float) -> str:
        """Return when that was."""
        return moment(at, self.arguments.utc)

    def timestamp(self, at: float) -> str:
        """Return when that was, for a column of such."""
        return timestamp(at, self.arguments.utc)

    @property
    def _narrows(self) -> bool:
        given = (getattr(self.arguments, each.name, None) for each in self.view.options)
        return self.view.narrow is not None and any(value is not None for value in given)

    def _narrowed(self, value: Any) -> Any:
        if self.view.narrow is None:
            return value
        try:
            return self.view.narrow(value, self.arguments)
        except (KeyError, TypeError):
            raise ApiError(_ODD_ANSWER) from None

    def _raw_page(self, body: bytes) -> Page[dict[str, object]]:
        page: Page[dict[str, object]] = parsed(Page[dict[str, object]], body)
        if not self._narrows:
            return page
        narrowed = [self._narrowed(item) for item in page.items]
        return Page(tuple(item for item in narrowed if item is not None), None, page.next_cursor)

    def _parse_narrowed(self, kind: type[_T], body: bytes) -> Page[_T]:
        page = self._raw_page(body)
        items = parsed(tuple[kind, ...], json.dumps(page.items).encode())  # type: ignore[valid-type]
        return Page(items, page.total, page.next_cursor)


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def parsed(kind: Any, body: bytes) -> Any:
    """Return the value that JSON means; raise ApiError."""
    try:
        return _adapter(kind).validate_json(body)
    except ValidationError:
        raise ApiError(_ODD_ANSWER) from None
