"""Views of a whole Map-Server on a network in memory, and what they become as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from pydantic import TypeAdapter

from lispmsrt import MapServer
from lispmsrt.views.map_server import MapServerViews
from lispmsrt.views.values import Explanation, Page, RegistrationFilter, RegistrationView
from tests.service_ground import Ground, eid_of, server_text

__all__ = ["NOON", "ViewsGround", "pages_of", "steps_of"]

NOON = 1_700_000_000.0
"""Time of day when the network's clock shows 1000 s."""


class ViewsGround(Ground):
    """A Map-Server and its views."""

    def watched(self, *sites: str, options: str = "") -> MapServerViews:
        """Return the views of a Map-Server that runs, with these sites."""
        self.map_server: MapServer = self.server(server_text(*sites, options=options))
        self.views = MapServerViews(self.map_server, self.wall_clock)
        return self.views

    def wall_clock(self) -> float:
        """Return the time of day."""
        return NOON + self.network.seconds() - 1000.0

    def explained(self, eid: str, instance_id: int = 0) -> Explanation:
        """Return why an EID resolves, or not."""
        return self.views.explain(eid_of(eid, instance_id))

    def prefixes(self, **asked: Any) -> list[str]:
        """Return the registered EID-prefixes that match, in order."""
        page = self.views.registrations(RegistrationFilter(**asked))
        self.assertIsNone(page.next_cursor)
        return [one.eid_prefix for one in page.items]

    def registration(self, eid: str) -> RegistrationView:
        """Return what is registered for exactly this EID-prefix."""
        (found,) = [one for one in self.views.registrations().items if one.eid_prefix == eid]
        return found

    def assert_json(self, value: Any, kind: Any) -> Any:
        """See that a value goes into JSON as its schema says; return it as it is read."""
        adapter: TypeAdapter[Any] = TypeAdapter(kind)
        text = adapter.dump_json(value)
        self.assertEqual(adapter.validate_json(text), value)
        json.dumps(adapter.json_schema())
        return json.loads(text)


def steps_of(explanation: Explanation) -> list[tuple[str, str]]:
    """Return what was looked at, and how it was found."""
    return [(step.check, step.verdict) for step in explanation.steps]


def pages_of(ask: Callable[[str | None], Page[Any]], most: int = 1000) -> list[Any]:
    """Return all items of a list, page by page."""
    items: list[Any] = []
    cursor = None
    for _page in range(most):
        page = ask(cursor)
        items += page.items
        cursor = page.next_cursor
        if cursor is None:
            return items
    raise AssertionError("the list never ends")
