"""Who may do what. Over the Unix socket: everything. Over a loopback address without a token: read.
Else: everything with the token, and nothing without.

Any page in the operator's browser can reach a loopback address. It can't read answers, unless its
own name suddenly stands for that address: therefore the Host header is looked at. And it can't send
a token. Browsers say that it was such a page who asked; then it gets nothing, for it could still
have work done and hold streams.
"""

from __future__ import annotations

import hmac
import re
from collections import Counter

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from lispmsrt.config import ManagementConfig
from lispmsrt.config.management import is_loopback, read_token
from lispmsrt.web.connections import ManagementRequest
from lispmsrt.web.errors import ApiError

__all__ = ["Access"]

_HOST = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[^\[\]:/@?#%\s]+))(?::[0-9]*)?")
_ASK = {"www-authenticate": 'Bearer realm="lispmsrt"'}

_OWN_SITES = (b"same-origin", b"none")
"""Of Sec-Fetch-Site: our own page, and what the operator has typed."""

_WARN_EVERY = 60.0
"""Seconds between two log lines about wrong tokens."""


class Access:
    """The access rules of one configuration."""

    _log = Logger()

    def __init__(
        self, config: ManagementConfig, clock: IReactorTime, counters: Counter[str]
    ) -> None:
        self._config = config
        self._clock = clock
        self._counters = counters
        self._token: bytes | None = None
        self._warned: float | None = None
        self.read_token()

    def read_token(self) -> None:
        """Read the token from its file; ValueError leaves the one that was."""
        if self._config.token_file is not None:
            self._token = read_token(self._config.token_file)

    def check_host(self, request: ManagementRequest) -> None:
        """Refuse a request that was meant for somebody else."""
        headers = request.requestHeaders.getRawHeaders(b"host") or []
        if len(headers) != 1:
            raise ApiError(400, "a request has exactly one Host header")
        host = _HOST.fullmatch(headers[0].decode("latin-1"))
        if host is None or not self._is_ours((host["v6"] or host["name"]).lower(), request):
            self._counters["requests refused: Host header"] += 1
            raise ApiError(421, "the Host header names another host; is it among allowed-hosts?")

    def _is_ours(self, host: str, request: ManagementRequest) -> bool:
        if is_loopback(host) or host in self._config.allowed_hosts:
            return True
        return not request.is_local and host == request.getHost().host.removeprefix("::ffff:")

    def check(self, request: ManagementRequest, *, is_action: bool) -> None:
        """Refuse what the sender may not do."""
        if is_action or not _is_followed_link(request):
            self._check_page(request)
        if request.is_local:
            return
        if self._token is not None:
            self._check_token(request, self._token)
        elif not is_loopback(request.getHost().host) and not request.isSecure():
            raise ApiError(401, "nothing is served to other machines in the clear", _ASK)
        elif is_action:
            raise ApiError(401, "actions need the Unix socket, or a token-file and its token", _ASK)

    def _check_page(self, request: ManagementRequest) -> None:
        """Refuse what a page of somebody else has its browser send. Of our own page Origin and Host
        have the same name, whatever proxy or tunnel is between.
        """
        headers = request.requestHeaders
        sites = headers.getRawHeaders(b"sec-fetch-site") or ()
        origins = headers.getRawHeaders(b"origin") or ()
        is_ours = all(site in _OWN_SITES for site in sites) and all(
            self._is_own_origin(origin.decode("latin-1"), request) for origin in origins
        )
        if not is_ours:
            self._counters["requests refused: page of another site"] += 1
            raise ApiError(403, "a page of another site may not ask; is it among allowed-hosts?")

    def _is_own_origin(self, origin: str, request: ManagementRequest) -> bool:
        scheme, separator, place = origin.partition("://")
        host = _HOST.fullmatch(place)
        if not separator or scheme not in ("http", "https") or host is None:
            return False
        return self._is_ours((host["v6"] or host["name"]).lower(), request)

    def _check_token(self, request: ManagementRequest, token: bytes) -> None:
        headers = request.requestHeaders.getRawHeaders(b"authorization")
        if headers is None:
            raise ApiError(401, "the token is missing: Authorization: Bearer TOKEN", _ASK)
        scheme, _space, given = headers[0].partition(b" ")
        is_bearer = len(headers) == 1 and scheme.lower() == b"bearer"
        if not is_bearer or not hmac.compare_digest(given.strip(), token):
            self._note_wrong_token(request)
            raise ApiError(401, "the token is wrong", _ASK)

    def _note_wrong_token(self, request: ManagementRequest) -> None:
        self._counters["requests refused: wrong token"] += 1
        now = self._clock.seconds()
        if self._warned is None or now - self._warned >= _WARN_EVERY:
            self._warned = now
            self._log.warn(
                "management: a wrong token from {who}; {count} since the start",
                who=request.who,
                count=self._counters["requests refused: wrong token"],
            )


def _is_followed_link(request: ManagementRequest) -> bool:
    """Whether somebody has followed a link, perhaps from a page of somebody else."""
    headers = request.requestHeaders
    return headers.getRawHeaders(b"sec-fetch-mode") == [b"navigate"] and headers.getRawHeaders(
        b"sec-fetch-dest"
    ) == [b"document"]
