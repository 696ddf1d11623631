"""The routes on Klein: reads what is asked, and writes the answer or one sentence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import IResource

from lispmsrt.web.bodies import read_body
from lispmsrt.web.connections import ManagementRequest
from lispmsrt.web.declarations import Asked, Route
from lispmsrt.web.errors import ApiError
from lispmsrt.web.parameters import read_parameter, read_parameters
from lispmsrt.web.rendering import JSON, error_body, to_json

if TYPE_CHECKING:
    from klein import Klein
    from werkzeug.routing import BaseConverter

__all__ = ["make_resource"]

_log = Logger()


def make_resource(routes: Sequence[Route], wall_clock: Callable[[], float]) -> IResource:
    """Return what answers all routes."""
    # Klein imports, and so installs, the global reactor: it may do that once there is one.
    from klein import Klein

    app = Klein()
    # A redirect would repeat what the Host header says.
    app.url_map.merge_slashes = False
    app.url_map.converters["rest"] = _rest_converter()
    for route in routes:
        _add(app, route, wall_clock)
    _add_refusals(app)
    resource: IResource = app.resource()
    return resource


def _add(app: Klein, route: Route, wall_clock: Callable[[], float]) -> None:
    def answer(request: ManagementRequest, **path: str) -> Any:
        values = read_parameters(route.parameters, request.args or {}, wall_clock())
        for parameter in route.parameters:
            if parameter.place == "path":
                given = path[parameter.name].encode()
                values[parameter.name] = read_parameter(parameter, given, wall_clock())
        body = None if route.body is None else read_body(request, route.body)
        result = route.answer(Asked(values, body, request))
        if isinstance(result, Deferred):
            return result.addCallback(lambda value: _body(request, route, value))
        return _body(request, route, result)

    url = route.path.replace("{", "<rest:").replace("}", ">")
    app.route(url, methods=[route.method], endpoint=route.name)(answer)


def _rest_converter() -> type[BaseConverter]:
    """Return what takes the rest of a path: names of sites and addresses have slashes and colons,
    also in front, where werkzeug's own does not take them.
    """
    from werkzeug.routing import BaseConverter

    class Rest(BaseConverter):
        regex = ".+"
        part_isolating = False

    return Rest


def _body(request: ManagementRequest, route: Route, result: Any) -> bytes | None:
    if result is None:
        return None
    body: bytes = result if route.media != JSON else to_json(route.result, result)
    if not request.responseHeaders.hasHeader("content-type"):
        request.setHeader("content-type", route.media)
    request.setHeader("content-length", str(len(body)))
    return body


def _add_refusals(app: Klein) -> None:
    from werkzeug.exceptions import HTTPException, MethodNotAllowed

    def refused(request: Any, failure: Failure) -> bytes:
        assert isinstance(failure.value, ApiError)
        return error_body(request, failure.value)

    def other_method(request: Any, failure: Failure) -> bytes:
        allowed = {*(getattr(failure.value, "valid_methods", None) or ()), "OPTIONS"}
        allow = {"allow": ", ".join(sorted(allowed))}
        if request.method == b"OPTIONS":
            request.setResponseCode(204)
            request.setHeader("allow", allow["allow"])
            return b""
        return error_body(request, ApiError(405, "this method is not for this path", allow))

    def nowhere(request: Any, failure: Failure) -> bytes:
        return error_body(request, ApiError(404, "there is nothing at this path"))

    def failed(request: Any, failure: Failure) -> bytes:
        _log.failure(
            "while answering {path}", failure, path=request.path.decode("ascii", "replace")
        )
        return error_body(request, ApiError(500, "this request failed; the log says why"))

    app.handle_errors(ApiError)(refused)
    app.handle_errors(MethodNotAllowed)(other_method)
    app.handle_errors(HTTPException)(nowhere)
    app.handle_errors(Exception)(failed)
