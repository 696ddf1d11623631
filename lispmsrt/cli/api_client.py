"""The management endpoint's client: HTTP over a Unix socket or TCP, with the standard library only.

Whatever goes wrong is an ApiError of one sentence.
"""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPConnection, HTTPException, HTTPResponse, RemoteDisconnected
from typing import TypeVar
from urllib.parse import quote, urlencode

from lispmsrt.views.values.page import MAX_LIMIT, Page

__all__ = ["Api", "ApiError", "UnixConnection", "path_of"]

TIMEOUT = 10.0
"""Seconds that an answer may take."""

ACTION_TIMEOUT = 40.0
"""Seconds that an action may take: the daemon waits for Map-Servers, and gives up after 30."""

_BASE = "/api/v1"
_LAPSED = (RemoteDisconnected, BrokenPipeError, ConnectionResetError)
"""What becomes of a connection that the server has closed because it was idle."""

_T = TypeVar("_T")


class ApiError(Exception):
    """Why there is no answer, in one sentence."""

    def __init__(self, sentence: str, status: int = 0) -> None:
        super().__init__(sentence)
        self.status = status
        "of HTTP; 0 where nobody answered"


class UnixConnection(HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        """Connect; raise OSError."""
        link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            link.settimeout(self.timeout)
            link.connect(self._path)
        except OSError:
            link.close()
            raise
        self.sock = link


class Api:
    """Everything that the daemon can be asked; one connection, opened when it is needed."""

    def __init__(
        self,
        make_connection: Callable[[], HTTPConnection],
        place: str,
        *,
        token: str = "",
        prefix: str = "",
    ) -> None:
        self._make_connection = make_connection
        self.place = place
        "for people: where it connects to"
        self._prefix = prefix + _BASE
        self._headers = {"Accept": "application/json"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._connection: HTTPConnection | None = None

    def get(self, path: str, parameters: Mapping[str, object] | None = None) -> bytes:
        """Return what a read view has, as JSON; raise ApiError."""
        query = urlencode(parameters or {}, quote_via=quote)
        return self._ask("GET", f"{path}?{query}" if query else path, None)

    def post(self, path: str, body: Mapping[str, object]) -> dict[str, object]:
        """Do an action; return what it says; raise ApiError."""
        try:
            answer = json.loads(self._ask("POST", path, json.dumps(body).encode()))
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise ApiError(f"{self.place} did not answer as a lispmsrt does")
        return answer

    def pages(
        self,
        path: str,
        parameters: Mapping[str, object],
        limit: int | None,
        parse: Callable[[bytes], Page[_T]],
    ) -> Iterator[Page[_T]]:
        """Yield the pages of a list, in all at most ``limit`` items; raise ApiError."""
        left, cursor = limit, None
        while True:
            asked = dict(parameters)
            asked["limit"] = MAX_LIMIT if left is None else min(left, MAX_LIMIT)
            if cursor is not None:
                asked["cursor"] = cursor
            page = parse(self.get(path, asked))
            yield page
            if left is not None:
                left -= len(page.items)
            if page.next_cursor is None or (left is not None and left <= 0):
                return
            if page.next_cursor == cursor:
                raise ApiError(f"{self.place} gives the same part of {path} again and again")
            cursor = page.next_cursor

    def close(self) -> None:
        """Give the connection up."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _ask(self, method: str, path: str, body: bytes | None) -> bytes:
        try:
            try:
                response, answer = self._exchange(method, path, body)
            except _LAPSED:
                # Only a question may be put twice: an action may have been done.
                if method != "GET":
                    raise
                self.close()
                response, answer = self._exchange(method, path, body)
        except (OSError, HTTPException) as failure:
            self.close()
            raise ApiError(self._why(failure, _timeout_of(method))) from None
        if response.status != 200:
            raise ApiError(self._refusal(response, answer), response.status)
        return answer

    def _exchange(self, method: str, path: str, body: bytes | None) -> tuple[HTTPResponse, bytes]:
        if self._connection is None:
            self._connection = self._make_connection()
        seconds = self._connection.timeout = _timeout_of(method)
        if self._connection.sock is not None:
            self._connection.sock.settimeout(seconds)
        headers = dict(self._headers)
        if body is not None:
            headers["Content-Type"] = "application/json"
        self._connection.request(method, self._prefix + path, body, headers)
        response = self._connection.getresponse()
        return response, response.read()

    def _refusal(self, response: HTTPResponse, answer: bytes) -> str:
        try:
            sentence = json.loads(answer)["error"]
        except (ValueError, KeyError, TypeError):
            sentence = f"{self.place} answered {response.status} {response.reason}"
        if response.status == 401:
            sentence = f"{sentence} (--token-file FILE names the token)"
        return str(sentence)

    def _why(self, failure: OSError | HTTPException, timeout: float) -> str:
        """Say why nobody answered, and what to do."""
        if isinstance(failure, TimeoutError):
            return f"{self.place} has not answered for {timeout:g} s"
        if isinstance(failure, ssl.SSLCertVerificationError):
            reason = failure.verify_message
            return f"{self.place} can't be trusted: {reason} (--ca-file FILE says whom to trust)"
        if isinstance(failure, PermissionError):
            return f"{self.place} may not be opened: run as root, or as the user of the daemon"
        if isinstance(failure, (FileNotFoundError, ConnectionRefusedError)):
            return f"nobody answers at {self.place}: is the daemon running?"
        if isinstance(failure, OSError):
            return f"{self.place} can't be asked: {failure.strerror or failure}"
        return f"{self.place} did not answer as a lispmsrt does"


def _timeout_of(method: str) -> float:
    return TIMEOUT if method == "GET" else ACTION_TIMEOUT


def path_of(*parts: str) -> str:
    """Return a path; whatever a name holds stays one part of it."""
    return "".join(f"/{quote(part, safe='')}" for part in parts)
