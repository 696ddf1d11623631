"""What an operator reads of who was let in and who was not: few lines, however many knock."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from lispmsrt.control.arming import Armory
from lispmsrt.mapping.database import Xtr
from lispmsrt.mapping.interfaces import Replaceable
from lispmsrt.mapping.rejections import ANNOUNCED_EVERY, Rejection
from lispmsrt.services.sparse_lines import more_text
from lispmsrt.session.map_server import MapServerSession

__all__ = ["Admission", "Refusals", "RejectionLog", "identity_of"]

_MINUTE = 60.0

_MAX_ADDRESSES = 1024
"""Addresses whose last line is remembered; while all of them are recent no others get a line."""


_MAX_REJECTION_LINES = 60
"""Lines about rejections in a minute: somebody may be refused for each of ten thousand sites."""


def identity_of(session: MapServerSession, xtr: Xtr | None = None) -> dict[str, object]:
    """Return the fields of a log line that say which session it is about; ``xtr`` is whose it is
    before it has a lease.
    """
    if session.lease is not None:
        xtr = session.lease.xtr
    return {
        "session": session.id,
        "peer": session.peer,
        "transport": session.transport,
        "site": xtr.site if xtr is not None else "",
        "xtr": xtr.ids[:16].hex() if xtr is not None else "",
    }


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
                "session {session} with {who} from {peer} over {transport} is up",
                who=xtr,
                **identity_of(session, xtr),
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
        unsaid = self._unsaid.pop(address, 0)
        self._log.info(
            "{transport} connection from {address} refused: no Map-Register has armed it{more}",
            transport=transport,
            address=address,
            unsaid=unsaid,
            more=more_text(unsaid),
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


class RejectionLog:
    """A line for a rejection: at most one per site, rule and minute, and so many in all that they
    can be read.
    """

    _log = Logger()

    def __init__(self, find: Callable[[str, str], MapServerSession | None]) -> None:
        """``find`` returns the session from a peer's address and port over a transport."""
        self._find = find
        self._began = float("-inf")
        self._lines = 0
        self._dropped = 0

    def note(self, rejection: Rejection, unsaid: int) -> None:
        """Say what was refused, and how many others there were of the same site and rule since the
        last line.
        """
        if rejection.at - self._began >= ANNOUNCED_EVERY:
            self._tell_dropped()
            self._began, self._lines = rejection.at, 0
        self._lines += 1
        if self._lines > _MAX_REJECTION_LINES:
            if not self._dropped:
                self._log.info("further rejections of this minute get no line, but are counted")
            self._dropped += 1 + unsaid
            return
        session = self._find(rejection.source, rejection.protocol)
        whose = f"session {session.id} with " if session is not None else ""
        fields: dict[str, object] = {
            "session": session.id if session is not None else None,
            "peer": rejection.source,
            "transport": rejection.protocol,
            "site": rejection.site,
            "xtr": rejection.ids[:16].hex(),
        }
        self._log.info(
            "rejected {eid} in instance {instance_id} of {whose}{peer} over {transport}: {rule}"
            "{more}",
            eid=rejection.eid or "an EID that can't be read",
            instance_id=rejection.instance_id,
            whose=whose,
            rule=rejection.rule,
            reason=rejection.verdict.name,
            unsaid=unsaid,
            more=more_text(unsaid),
            **fields,
        )

    def _tell_dropped(self) -> None:
        """Say how many got no line."""
        dropped, self._dropped = self._dropped, 0
        if dropped:
            self._log.info(
                "{dropped} rejections more than these got no line: there were rejections by more"
                " than {limit} rules and sites in a minute",
                dropped=dropped,
                limit=_MAX_REJECTION_LINES,
            )
