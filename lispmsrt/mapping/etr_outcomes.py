"""Who hears how an ETR's registrations fare."""

from __future__ import annotations

from typing import Protocol

__all__ = ["EtrOutcomes"]


class EtrOutcomes(Protocol):
    """Who wants to know how registrations fare. EID-prefixes come in wire form."""

    def acknowledged(self, eid: bytes) -> None:
        """An awaited registration or withdrawal holds at the Map-Server."""

    def rejected(self, eid: bytes, reason: int) -> None:
        """The Map-Server refuses, or has withdrawn, a registration."""

    def taken_over(self, eid: bytes) -> None:
        """Another xTR registers it now, and it is left to that one."""
