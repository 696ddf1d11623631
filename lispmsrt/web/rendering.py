"""Answers as octets: JSON, refusals, and the headers that every answer has."""

from __future__ import annotations

from functools import cache
from typing import Any

from pydantic import TypeAdapter
from twisted.web.http import RESPONSES
from twisted.web.server import Request

from lispmsrt.web.errors import ApiError, Error

__all__ = ["JSON", "adapter_of", "error_body", "to_json", "write_error"]

JSON = "application/json"

# Twisted has the names that these had before RFC 9110.
RESPONSES.setdefault(413, b"Content Too Large")


@cache
def adapter_of(kind: Any) -> TypeAdapter[Any]:
    """Return what makes JSON, and its schema, of values of a type."""
    return TypeAdapter(kind)


def to_json(kind: Any, value: object) -> bytes:
    """Return a value as JSON."""
    # What a view says of a field is held against its type by tests; an operator is better served
    # by a wrong field than by none.
    return adapter_of(kind).dump_json(value, warnings=False)


def error_body(request: Request, refusal: ApiError) -> bytes:
    """Set status and headers of a refusal, and return its body."""
    request.setResponseCode(refusal.status)
    request.setHeader("content-type", JSON)
    request.setHeader("cache-control", "no-store")
    for name, value in refusal.headers.items():
        request.setHeader(name, value)
    body = to_json(Error, Error(refusal.sentence))
    request.setHeader("content-length", str(len(body)))
    return body


def write_error(request: Request, refusal: ApiError) -> None:
    """Answer a request with a refusal."""
    request.write(error_body(request, refusal))
    request.finish()
