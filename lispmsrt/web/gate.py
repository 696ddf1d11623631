"""What every request goes through before it is answered: headers, Host, access, size."""

from __future__ import annotations

from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET

from lispmsrt.web.access import Access
from lispmsrt.web.connections import MAX_BODY, ManagementRequest
from lispmsrt.web.errors import ApiError
from lispmsrt.web.rendering import error_body
from lispmsrt.web.static_files import StaticFiles

__all__ = ["Gate"]

_HEADERS = {
    "server": "lispmsrt",
    "cache-control": "no-store",
    "content-security-policy": (
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}

ACTIONS_ALLOWED = "lispmsrt-actions"
"""A header that says ``allowed`` where actions go without a token, so that the page offers them."""

_ACTING = b"POST"
"""The method of every action. Those that no path has are answered with 405, to who may read."""


class Gate(Resource):
    """The root of a site: lets files through to everybody, and other requests to the API."""

    isLeaf = True

    def __init__(self, access: Access, files: StaticFiles, api: IResource) -> None:
        super().__init__()
        self._access = access
        self._files = files
        self._api = api

    def render(self, request: ManagementRequest) -> int:
        """Answer a request, or let the API do it."""
        for name, value in _HEADERS.items():
            request.setHeader(name, value)
        try:
            body = self._answer(request)
        except ApiError as refusal:
            body = error_body(request, refusal)
        if body is not None:
            # Written here: of a body that is returned for HEAD Twisted writes a warning to the log.
            request.write(body)
            request.finish()
        return NOT_DONE_YET

    def _answer(self, request: ManagementRequest) -> bytes | None:
        """Return the body; None where the API answers."""
        self._access.check_host(request)
        try:
            path = b"/".join([b"", *(request.postpath or ())]).decode()
        except UnicodeDecodeError:
            path = ""
        if path in self._files:
            return self._files.render(path, request)
        self._access.check(request, is_action=request.method == _ACTING)
        if not path:
            raise ApiError(400, "the path is not UTF-8 text")
        if request.is_too_long:
            request.setHeader("connection", "close")
            raise ApiError(413, f"the body has more than {MAX_BODY} octets")
        if request.is_local:
            request.setHeader(ACTIONS_ALLOWED, "allowed")
        self._api.render(request)
        return None
