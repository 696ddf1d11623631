"""The questions that sessions and the UDP control plane ask; they see no more of each other and of
the mapping service.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from lispmsrt.mapping.database import Lease, UdpPath, Xtr
from lispmsrt.mapping.refusals import Refusal
from lispmsrt.mapping.rejections import Rejections
from lispmsrt.mapping.runs import Run
from lispmsrt.mapping.sites import Site
from lispmsrt.mapping.verdicts import Identity, Verdict
from lispmsrt.wire.addresses import EidPrefix
from lispmsrt.wire.map_register import MapRegisterSpan
from lispmsrt.wire.record_walk import RecordSpan

__all__ = ["Arming", "Arms", "News", "Registers", "RegistersOverUdp", "Replaceable"]


class Identifies(Protocol):
    """Knows whose messages are authentic."""

    @property
    def rejections(self) -> Rejections:
        """Takes note of what is refused before it gets to the registrar."""

    def identify(
        self, data: bytes, start: int, end: int, register: MapRegisterSpan
    ) -> Identity | Refusal:
        """Find the site of a Map-Register and check its authentication data."""


class Registers(Identifies, Protocol):
    """Registers for sessions."""

    def register(
        self, lease: Lease, data: bytes, start: int, end: int, register: MapRegisterSpan, now: float
    ) -> Verdict:
        """Register or withdraw the one record of a Registration."""

    def register_run(self, run: Run) -> tuple[int, bytes]:
        """Register as many as are like earlier ones; return how many, and the ACKs."""

    def lose(self, lease: Lease, now: float) -> None:
        """Start the clock of everything that the session registered."""

    def renew(self, lease: Lease, now: float) -> Lease:
        """Demand confirmation of everything that the session registered."""


class RegistersOverUdp(Identifies, Protocol):
    """Registers for Map-Registers over UDP."""

    def enter_over_udp(
        self,
        xtr: Xtr,
        source: str,
        site: Site,
        data: bytes,
        span: RecordSpan,
        word: int,
        now: float,
        path: UdpPath | None = None,
    ) -> Verdict:
        """Register or withdraw one authentic record as soft state."""

    def registered_record(self, instance_id: int, afi: int, key: int) -> bytes | None:
        """Return what everybody is told of an EID-prefix, merged where it is; None when nobody
        has registered it.
        """


class News(Protocol):
    """Knows what changed, per session."""

    def attach(self, lease: Lease, wake: Callable[[], None], is_slow: Callable[[], bool]) -> None:
        """Collect news for the lease."""

    def detach(self, lease: Lease) -> None:
        """Forget the lease."""

    def take(self, lease: Lease, limit: int) -> list[bytes] | None:
        """Hand out news as data of Mapping Notifications; None when too many were left unread."""

    def take_vacant(self, lease: Lease, limit: int) -> list[EidPrefix]:
        """Hand out EID-prefixes that the lease's xTR had before others, and nobody has now."""

    def has_news(self, lease: Lease) -> bool:
        """Whether there is more."""


class Replaceable(Protocol):
    """A session as the arming sees it: something that a newer one of the same xTR ends."""

    def replaced(self, now: float) -> None:
        """Close: a newer session has taken over."""


class Arming(Protocol):
    """Knows which session belongs to which xTR."""

    def bind(
        self, claim: object, session: Replaceable, site: str, ids: bytes, now: float
    ) -> Xtr | None:
        """Settle whose session it is by its first valid Registration; None when not armed."""

    def release(self, claim: object, session: Replaceable) -> None:
        """The session is over."""


class Arms(Protocol):
    """Takes note of who has authenticated over UDP."""

    def arm(self, xtr: Xtr, source: bytes, addresses: Iterable[bytes], now: float) -> bool:
        """Let the xTR connect once from one of the addresses; False when limits forbid."""
