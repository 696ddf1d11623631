"""The web page's files, from the package. They hold no secrets and go without a token."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from twisted.web.server import Request

from lispmsrt.web.errors import ApiError
from lispmsrt.web.rendering import error_body

__all__ = ["STATIC", "StaticFiles"]

STATIC = Path(__file__).parent / "static"

_TYPES = {
    "": "text/plain; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".md": "text/plain; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}
"""Other files are not served."""


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    kind: str
    etag: bytes


class StaticFiles:
    """The files below a directory: ``/`` is index.html, all are at ``/static/...``. They are read
    once.
    """

    def __init__(self, directory: Path = STATIC) -> None:
        self._files = {
            f"/static/{path.relative_to(directory).as_posix()}": _read(path)
            for path in sorted(directory.rglob("*"))
            if path.is_file() and path.suffix in _TYPES and not path.name.startswith(".")
        }
        if index := self._files.get("/static/index.html"):
            self._files["/"] = index

    def __contains__(self, path: str) -> bool:
        return path in self._files

    def render(self, path: str, request: Request) -> bytes:
        """Answer a request for a file that is there."""
        if request.method not in (b"GET", b"HEAD"):
            return _other_method(request)
        file = self._files[path]
        request.setHeader("cache-control", "no-cache")
        request.setHeader("content-type", file.kind)
        if request.setETag(file.etag):
            return b""
        request.setHeader("content-length", str(len(file.content)))
        return file.content


def _other_method(request: Request) -> bytes:
    allow = {"allow": "GET, HEAD, OPTIONS"}
    if request.method == b"OPTIONS":
        request.setResponseCode(204)
        request.setHeader("allow", allow["allow"])
        return b""
    return error_body(request, ApiError(405, "files can only be read", allow))


def _read(path: Path) -> _File:
    content = path.read_bytes()
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'.encode()
    return _File(content, _TYPES[path.suffix], etag)
