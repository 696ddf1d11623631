"""Times and ages as texts, the way routers write them: 00:05:12, 1d03h, 2w1d."""

from __future__ import annotations

import argparse
import re
import time
from datetime import UTC, datetime

from lispmsrt.wire.records import NO_EXPIRY

__all__ = ["age", "milliseconds", "moment", "since", "timestamp", "ttl"]

_MINUTE, _HOUR, _DAY, _WEEK, _YEAR = 60, 3600, 86_400, 604_800, 365 * 86_400
_UNITS = {"s": 1, "m": _MINUTE, "h": _HOUR, "d": _DAY, "w": _WEEK}
_SPAN = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")


def age(seconds: float) -> str:
    """Return how long; what clocks that differ make negative is nothing."""
    whole = max(0, int(seconds))
    if whole < _DAY:
        return f"{whole // _HOUR:02}:{whole % _HOUR // _MINUTE:02}:{whole % _MINUTE:02}"
    if whole < _WEEK:
        return f"{whole // _DAY}d{whole % _DAY // _HOUR:02}h"
    if whole < _YEAR:
        return f"{whole // _WEEK}w{whole % _WEEK // _DAY}d"
    return f"{whole // _YEAR}y{whole % _YEAR // _WEEK}w"


def ttl(minutes: int) -> str:
    """Return a record TTL."""
    return "no expiry" if minutes == NO_EXPIRY else age(minutes * _MINUTE)


def milliseconds(seconds: float | None) -> str:
    """Return a round-trip time without its unit; empty where it is not known."""
    if seconds is None:
        return ""
    return f"{1000 * seconds:.2f}" if seconds < 0.01 else f"{1000 * seconds:.1f}"


def moment(at: float, is_utc: bool) -> str:
    """Return a time in seconds since 1970 as ISO 8601, local with its offset, or UTC."""
    when = datetime.fromtimestamp(at, UTC)
    if is_utc:
        return when.isoformat(timespec="seconds").replace("+00:00", "Z")
    return when.astimezone().isoformat(timespec="seconds")


def timestamp(at: float, is_utc: bool) -> str:
    """Return a time in seconds since 1970 with milliseconds and without its offset, which a table
    says once.
    """
    when = datetime.fromtimestamp(at, UTC)
    plain = (when if is_utc else when.astimezone()).replace(tzinfo=None)
    return plain.isoformat(" ", "milliseconds")


def since(text: str) -> float:
    """Parse an option: so long ago (90s, 5m, 2h, 1d, 1w), or an ISO time; return seconds since
    1970.
    """
    if span := _SPAN.fullmatch(text):
        return round(time.time() - float(span[1]) * _UNITS[span[2]], 3)
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither a span (90s, 5m, 2h, 1d, 1w) nor a time (2026-01-31T08:00)"
        ) from None
