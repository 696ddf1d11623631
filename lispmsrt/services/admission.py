"""What an operator reads of who was let in and who was not: few lines, however many knock."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from lispmsrt.control.arming import Armory
from lispmsrt.mapping.database import Xtr
from lispmsrt.mapping.interfaces import Replaceable
from lispmsrt.session.map_server import MapServerSession

__all__ = ["Admission", "Refusals"]

_MINUTE = 60.0

_MAX_ADDRESSES = 1024
"""Addresses whose last line is remembered; while all of them are recent no others get a line."""


class Admission:
    """The armory, with a line in the log for every session that finds its xTR."""

    _log = Logger()

    def __init__(self, armory: Armory) -> None:
        self._armory = armory

    def bind(
        self, claim: object, session: Replaceable, site: str, ids: bytes, now: float
    ) -> Xtr | None:
        """Settle the xTR of a session by its first valid Registration; None: it was not armed."""
        xtr = self._armory.bind(claim, session, site, ids, now)
        if xtr is not None and isinstance(session, MapServerSession):
            self._log.info(
                "session with {xtr} from {peer} over {transport} is up",
                xtr=xtr,
                peer=session.peer,
                transport=session.transport,
            )
        return xtr

    def release(self, claim: object, session: Replaceable) -> None:
        """The session is over."""
        self._armory.release(claim, session)


class Refusals:
    """At most one line per address and minute about refused connections: the armory counts all."""

    _log = Logger()

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._latest: dict[str, float] = {}
        self._unsaid: dict[str, int] = {}

    def note(self, address: str, transport: str) -> None:
        """A connection was reset unread, because nobody is armed for its address."""
        now = self._clock.seconds()
        if not self._may_speak(address, now):
            if address in self._latest:
                self._unsaid[address] = self._unsaid.get(address, 0) + 1
            return
        # Oldest first, so that _may_speak finds what it can forget.
        self._latest.pop(address, None)
        self._latest[address] = now
        self._log.info(
            "{transport} connection from {address} refused: no Map-Register has armed it"
            " ({unsaid} more since the last line)",
            transport=transport,
            address=address,
            unsaid=self._unsaid.pop(address, 0),
        )

    def _may_speak(self, address: str, now: float) -> bool:
        latest = self._latest.get(address)
        if latest is not None:
            return now - latest >= _MINUTE
        if len(self._latest) < _MAX_ADDRESSES:
            return True
        oldest = next(iter(self._latest))
        if now - self._latest[oldest] < _MINUTE:
            return False
        del self._latest[oldest]
        self._unsaid.pop(oldest, None)
        return True
