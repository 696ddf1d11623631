"""What is wrong with a configuration, in words: one sentence each, with its place in the file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from lispmsrt.config.places import locate

__all__ = ["sentences"]

_TABLE = "must be a table"
_SENTENCES: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "missing": lambda context: "is missing",
    "extra_forbidden": lambda context: "is not an option; is it spelt right?",
    "enum": lambda context: f"must be one of {context['expected']}",
    "literal_error": lambda context: f"must be one of {context['expected']}",
    "too_short": lambda context: "is empty",
    "too_long": lambda context: f"has more than {context['max_length']} elements",
    "string_too_short": lambda context: "is empty",
    "tuple_type": lambda context: "must be a list",
    "model_type": lambda context: _TABLE,
    "model_attributes_type": lambda context: _TABLE,
    "string_type": lambda context: "must be a text in quotes",
    "path_type": lambda context: "must be a text in quotes",
    "bool_type": lambda context: "must be true or false",
    "bool_parsing": lambda context: "must be true or false",
    "int_type": lambda context: "must be a whole number",
    "int_parsing": lambda context: "must be a whole number",
    "int_from_float": lambda context: "must be a whole number",
    "float_type": lambda context: "must be a number",
    "float_parsing": lambda context: "must be a number",
    "greater_than": lambda context: f"must be greater than {context['gt']:g}",
    "greater_than_equal": lambda context: f"must be at least {context['ge']:g}",
    "less_than": lambda context: f"must be less than {context['lt']}",
    "less_than_equal": lambda context: f"must be at most {context['le']}",
}
"""What is wrong, per kind of mistake. None may show the value, which may be a secret."""


def sentences(failure: ValidationError, text: str) -> list[str]:
    """Put every mistake into words, in the order of the file."""
    errors = failure.errors(include_url=False)
    # Pydantic counts the right elements of a list only, and says "too short" of one whose every
    # element is wrong.
    real = [
        error for error in errors if error["type"] != "too_short" or not _any_below(error, errors)
    ]
    real.sort(key=lambda error: locate(text, error["loc"]))
    return [_sentence(error, text) for error in real]


def _any_below(error: Any, errors: Sequence[Any]) -> bool:
    place = error["loc"]
    return any(len(e["loc"]) > len(place) and e["loc"][: len(place)] == place for e in errors)


def _sentence(error: Any, text: str) -> str:
    place = _place(error["loc"])
    say = _SENTENCES.get(error["type"])
    message = say(error.get("ctx", {})) if say else error["msg"].removeprefix("Value error, ")
    line = locate(text, error["loc"])
    return f"line {line}: {place}: {message}" if place else message


def _place(parts: Sequence[str | int]) -> str:
    """Write ``site[0].keys[1].id``."""
    words = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
    return "".join(words).removeprefix(".")
