"""Every route of the endpoint, and the document about them."""

from __future__ import annotations

from collections import Counter
from typing import Any

from twisted.internet.defer import Deferred

from lispmsrt.services.operations import Operations
from lispmsrt.views.node import NodeViews
from lispmsrt.web import metrics
from lispmsrt.web.actions import action_routes
from lispmsrt.web.api import read_routes
from lispmsrt.web.declarations import API, Asked, Route
from lispmsrt.web.openapi import make_document
from lispmsrt.web.parameters import NUMBER, Parameter
from lispmsrt.web.stream import StreamLine, Streams

__all__ = ["NDJSON", "make_routes"]

NDJSON = "application/x-ndjson"


def make_routes(
    views: NodeViews, operations: Operations, streams: Streams, counters: Counter[str]
) -> tuple[Route, ...]:
    """Declare everything that is answered, but for files."""
    routes = (
        *read_routes(views, counters),
        *action_routes(operations),
        _stream_route(streams),
        _metrics_route(views, counters),
    )
    return (*routes, _document_route(routes, views.overview().version))


def _stream_route(streams: Streams) -> Route:
    def answer(asked: Asked) -> Deferred[None] | bytes:
        if asked.request.method == b"HEAD":
            return b""
        asked.request.setHeader("content-type", NDJSON)
        return streams.open(asked.request, asked.values.get("history"))

    history = Parameter("history", NUMBER, "the newest line of the history that is known already")
    return Route(
        "GET",
        f"{API}/stream",
        "stream",
        "Such an object each second, in a line of its own, for as long as somebody reads",
        StreamLine,
        answer,
        (history,),
        media=NDJSON,
        errors={503: "there are too many streams"},
    )


def _metrics_route(views: NodeViews, counters: Counter[str]) -> Route:
    def answer(asked: Asked) -> bytes:
        accept = (asked.request.getHeader(b"accept") or b"").decode("latin-1")
        asked.request.setHeader("content-type", metrics.content_type(accept))
        return metrics.render(views, accept, counters)

    return Route(
        "GET", "/metrics", "metrics", "Metrics for Prometheus", str, answer, media="text/plain"
    )


def _document_route(routes: tuple[Route, ...], version: str) -> Route:
    document: dict[str, Any] = {}
    route = Route(
        "GET",
        f"{API}/openapi.json",
        "openapi",
        "This document",
        dict[str, Any],
        lambda asked: document,
    )
    document.update(make_document((*routes, route), version))
    return route
