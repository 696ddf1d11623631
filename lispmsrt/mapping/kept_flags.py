"""Which bits of a Map-Register stay with what it registers."""

from __future__ import annotations

from lispmsrt.wire.map_register import RegisterFlag

__all__ = ["kept_flags"]

_KEPT = (
    RegisterFlag.PROXY_REPLY
    | RegisterFlag.SECURITY
    | RegisterFlag.EID_NOTIFY
    | RegisterFlag.USE_TTL
    | RegisterFlag.MERGE
    | RegisterFlag.WANT_MAP_NOTIFY
)

_seen: dict[int, int] = {}


def kept_flags(word: int) -> int:
    """Return of a Map-Register's first word what is kept: one int object for all that are equal."""
    flags = word & _KEPT
    return _seen.setdefault(flags, flags)
