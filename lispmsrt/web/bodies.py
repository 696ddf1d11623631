"""The bodies of requests: JSON into validated values, and one sentence for a mistake."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from lispmsrt.web.connections import ManagementRequest
from lispmsrt.web.errors import ApiError
from lispmsrt.web.rendering import JSON, adapter_of

__all__ = ["read_body"]

_MAX_SENTENCE = 500
"""Characters of what is said of a mistake, which may repeat what was sent."""


def read_body(request: ManagementRequest, kind: Any) -> Any:
    """Return the value that the body has; ApiError says what is wrong."""
    media = (request.getHeader(b"content-type") or b"").partition(b";")[0].strip().lower()
    # A page of somebody else can send a form or plain text without asking; JSON it can't.
    if media != JSON.encode():
        raise ApiError(415, f"the body must be {JSON}, and Content-Type say so")
    assert request.content is not None
    request.content.seek(0)
    try:
        return adapter_of(kind).validate_json(request.content.read())
    except ValidationError as failure:
        raise ApiError(400, _sentence(failure)) from None


def _sentence(failure: ValidationError) -> str:
    first = failure.errors(include_url=False, include_input=False, include_context=False)[0]
    message = first["msg"]
    if first["type"] == "value_error":
        message = message.removeprefix("Value error, ")
    else:
        message = message[:1].lower() + message[1:]
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"])
    sentence = f"{place.removeprefix('.') or 'the body'}: {message}"
    if len(sentence) > _MAX_SENTENCE:
        return f"{sentence[:_MAX_SENTENCE]}..."
    return sentence
