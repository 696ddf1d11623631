"""The OpenAPI 3.1 document, made from the declarations of the routes and the types they name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from typing import Any, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter
from pydantic.json_schema import JsonSchemaMode

from lispmsrt.web.declarations import READING_ERRORS, Route
from lispmsrt.web.descriptions import field_descriptions
from lispmsrt.web.errors import Error
from lispmsrt.web.parameters import Parameter
from lispmsrt.web.rendering import JSON, adapter_of

__all__ = ["make_document"]

_REF = "#/components/schemas/{model}"
_READING: JsonSchemaMode = "validation"
_WRITING: JsonSchemaMode = "serialization"

_ABOUT = (
    "What a lispmsrt shows and lets do. Times are seconds since 1970 where they say when, and"
    " seconds where they say how long. Lists are answered in pages: ask again with next_cursor"
    " until there is none. Over the Unix socket no token is needed."
)


def make_document(routes: Sequence[Route], version: str) -> dict[str, Any]:
    """Return the document."""
    keys, components = _schemas(routes)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, keys)
    return {
        "openapi": "3.1.0",
        "info": {"title": "lispmsrt", "version": version, "description": _ABOUT},
        "servers": [{"url": "/"}],
        "security": [{"token": []}, {}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _schemas(routes: Sequence[Route]) -> tuple[dict[Any, Any], dict[str, Any]]:
    """Return the schema of every result and body, by mode and name of the route, and what they
    refer to.
    """
    inputs: list[tuple[Any, JsonSchemaMode, TypeAdapter[Any]]] = [
        ("error", _WRITING, adapter_of(Error))
    ]
    for route in routes:
        if route.result is not None:
            inputs.append((route.name, _WRITING, adapter_of(route.result)))
        if route.body is not None:
            inputs.append((route.name, _READING, adapter_of(route.body)))
    keys, rest = TypeAdapter.json_schemas(inputs, ref_template=_REF)
    components = rest.get("$defs", {})
    kinds: dict[str, type[Any]] = {}
    for route in routes:
        _gather(route.result, kinds)
        _gather(route.body, kinds)
    for name, schema in components.items():
        _describe(schema, kinds.get(name.split("_")[0]))
    return dict(keys), components


def _gather(kind: Any, found: dict[str, type[Any]]) -> None:
    """Find every class with fields that a type is made of, by its name."""
    origin = get_origin(kind) or kind
    has_fields = is_dataclass(origin) or hasattr(origin, "model_fields")
    if isinstance(origin, type) and has_fields and origin.__name__ not in found:
        found[origin.__name__] = origin
        for hint in get_type_hints(origin).values():
            _gather(hint, found)
    for part in get_args(kind):
        _gather(part, found)


def _describe(schema: dict[str, Any], kind: type[Any] | None) -> None:
    """Say of every field what the code says of it."""
    said = field_descriptions(kind) if kind is not None else {}
    for name, field in schema.get("properties", {}).items():
        field.pop("title", None)
        if text := said.get(name.replace("-", "_")):
            field["description"] = text


def _operation(route: Route, keys: Mapping[Any, Any]) -> dict[str, Any]:
    schema = keys.get((route.name, _WRITING), {"type": "string"})
    good = {"description": route.summary, "content": {route.media: {"schema": schema}}}
    errors = {**READING_ERRORS, **route.errors}
    refused = {"content": {JSON: {"schema": keys["error", _WRITING]}}}
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "responses": {
            "200": good,
            **{str(code): {"description": why, **refused} for code, why in sorted(errors.items())},
        },
    }
    if route.parameters:
        operation["parameters"] = [_parameter(parameter) for parameter in route.parameters]
    if route.body is not None:
        body = keys[route.name, _READING]
        operation["requestBody"] = {"required": True, "content": {JSON: {"schema": body}}}
    return operation


def _parameter(parameter: Parameter) -> dict[str, Any]:
    schema = dict(parameter.kind.schema)
    if parameter.default is not None:
        schema["default"] = parameter.default
    return {
        "name": parameter.name,
        "in": parameter.place,
        "description": parameter.meaning,
        "required": parameter.is_required,
        "schema": schema,
    }
