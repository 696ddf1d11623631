"""Map-Requests while not all is restored: each for itself, so that what it asks for comes first."""

from __future__ import annotations

from collections.abc import Callable

from lispmsrt.control.plane import Takes
from lispmsrt.mapping.database import Endpoint

__all__ = ["OneByOne"]


class OneByOne:
    """Hands on what it takes: in runs only where nothing is left to be restored."""

    def __init__(self, takes: Takes, is_partial: Callable[[], bool]) -> None:
        self._is_partial = is_partial
        self._run = getattr(takes, "receive_run", None)
        self.receive_run = self._receive_run if self._run is not None else None
        self.receive_datagram = takes.receive_datagram

    def _receive_run(self, batch: list[tuple[bytes, Endpoint]], first: int, now: float) -> int:
        if self._run is None or self._is_partial():
            return 0
        taken: int = self._run(batch, first, now)
        return taken
