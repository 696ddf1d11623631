"""How a route is declared. The routing and the OpenAPI document both come from these."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lispmsrt.web.connections import ManagementRequest
from lispmsrt.web.parameters import Parameter
from lispmsrt.web.rendering import JSON

__all__ = ["API", "READING_ERRORS", "Asked", "Route"]

API = "/api/v1"

READING_ERRORS: Mapping[int, str] = {
    400: "a parameter is wrong, unknown or missing",
    401: "the token is missing or wrong",
    403: "a page of another site asks",
    421: "the Host header names another host",
    500: "a bug, which the log has",
}
"""What any route may answer in place of its result."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request whose parameters and body have been read."""

    values: Mapping[str, Any]
    body: Any
    request: ManagementRequest


@dataclass(frozen=True, slots=True)
class Route:
    """One path, how it is asked, and what it answers."""

    method: str
    path: str
    "as the OpenAPI document writes it: /sessions/{id}"
    name: str
    summary: str
    result: Any
    "type of the answer"
    answer: Callable[[Asked], object]
    "returns the result, or a Deferred of it"
    parameters: tuple[Parameter, ...] = ()
    body: Any = None
    "type of the body; None where there is none"
    media: str = JSON
    "another type than JSON: the result is octets, or None where everything has been written"
    errors: Mapping[int, str] = field(default_factory=dict)
    "beside READING_ERRORS: when"
