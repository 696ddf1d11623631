"""Counters of the management endpoint: who reads all the others."""

from __future__ import annotations

from lispmsrt.views.meanings.groups import Group

__all__ = ["MANAGEMENT"]

MANAGEMENT = Group(
    "management",
    ("web/access.py", "web/connections.py", "web/stream.py"),
    {
        "connections": "HTTP connections to the management endpoint.",
        "connections refused: too many": "HTTP connections beyond 256 on one endpoint; reset.",
        "connections timed out": "HTTP connections that were idle, or did not finish a request.",
        "requests answered with *": (
            "Requests that were refused, by status: 401 without the token, 413 too long a body, 503"
            " too many; 500 is a bug."
        ),
        "requests refused: Host header": (
            "Requests to a host name that is not ours: see allowed-hosts; or DNS rebinding."
        ),
        "requests refused: page of another site": (
            "Requests that a browser has sent for a page that is not ours."
        ),
        "requests refused: wrong token": "Requests with a wrong token.",
        "streams": "Live streams that were opened, as by the page in a browser.",
        "streams refused: too many": "Live streams beyond 64 at a time.",
        "streams dropped: failed": "Live streams that were ended by a bug of ours: see the log.",
        "streams dropped: not read": "Live streams whose reader left everything unread for 30 s.",
    },
)
