"""What can be wrong with bytes, and how far the damage reaches.

An error names the narrowest scope that is safe: a record is rejected, a message is answered by an
Error Notification (or dropped, over UDP), a session is closed. Who catches decides nothing more
than what to answer.
"""

from __future__ import annotations

import enum

__all__ = ["ErrorScope", "WireError"]


class ErrorScope(enum.IntEnum):
    """How much must be given up; the strongest wins."""

    RECORD = 1
    MESSAGE = 2
    SESSION = 3


class WireError(Exception):
    """Bytes that are not what they should be.

    ``reason`` is one sentence without the bytes themselves: it may end up in a log, and bytes may
    hold secrets.
    """

    def __init__(self, reason: str, scope: ErrorScope = ErrorScope.MESSAGE) -> None:
        super().__init__(reason)
        self.reason = reason
        self.scope = scope
