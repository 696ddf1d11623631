"""What went wrong on a session, by kind."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["session_errors"]

_KINDS = {
    "framing errors in": "framing",
    "malformed in": "malformed",
    "malformed errors in": "malformed",
    "unsupported in": "unsupported",
    "errors in": "errors told by the peer",
    "rejections out": "rejections",
    "rejections in": "rejections",
    "withdrawals out": "withdrawals by configuration",
    "certificate not of the xTR": "certificate",
    "not armed": "not armed",
}


def session_errors(counters: Mapping[str, int]) -> dict[str, int]:
    """Return kind of error to how many, of those that there were."""
    found: dict[str, int] = {}
    for counter, kind in _KINDS.items():
        count = counters.get(counter, 0)
        if count:
            found[kind] = found.get(kind, 0) + count
    return found
