"""What another configuration changes for the sessions that are up
(draft-kouvelas-lisp-map-server-reliable-transport-07 §6.1.3, §6.1.4).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from lispmsrt.mapping.database import EidTable, Xtr
from lispmsrt.mapping.interfaces import Replaceable
from lispmsrt.mapping.publisher import eid_of_key
from lispmsrt.mapping.registrar import Registrar
from lispmsrt.mapping.sites import Site, SitePrefix, Sites
from lispmsrt.session.base import CloseReason
from lispmsrt.session.map_server import MapServerSession
from lispmsrt.wire.addresses import EidPrefix
from lispmsrt.wire.reliable_transport import RefreshScope, RegistrationRefresh

__all__ = ["Reconfiguration", "judge", "part"]

_REJECTED_ONLY = RegistrationRefresh(RefreshScope.EVERYTHING, rejected_only=True)


@dataclass(frozen=True, slots=True)
class Reconfiguration:
    """The difference between two configurations of sites."""

    rekeyed: frozenset[str]
    "names of sites whose keys have changed"
    deconfigured: dict[str, list[EidPrefix]]
    "EID-prefixes that are gone or went to another site, by the site that had them"

    @classmethod
    def between(cls, earlier: Sites, later: Sites) -> Reconfiguration:
        """Compare."""
        before, after = earlier.by_name(), later.by_name()
        rekeyed = (
            name
            for name in before.keys() & after.keys()
            if not _same_keys(before[name], after[name])
        )
        kept = set(map(_place, later.prefixes))
        gone: dict[str, list[EidPrefix]] = {}
        for prefix in earlier.prefixes:
            if _place(prefix) not in kept:
                table = EidTable(prefix.instance_id, prefix.afi)
                gone.setdefault(prefix.site.name, []).append(eid_of_key(table, prefix.key))
        return cls(frozenset(rekeyed), gone)

    def tell(self, session: MapServerSession, now: float) -> None:
        """Send the Refreshes that the change calls for."""
        site = session.lease.xtr.site if session.lease is not None else ""
        if site in self.rekeyed:
            session.demand_confirmation(now)
            return
        # What was refused may be welcome now.
        session.refresh(_REJECTED_ONLY)
        # K07 §6.1.4: a Refresh too when an EID-prefix is deconfigured.
        for eid in self.deconfigured.get(site, ()):
            session.refresh(RegistrationRefresh(RefreshScope.COVERED, eid=eid))


def part(sessions: Iterable[MapServerSession], sites: Sites, now: float) -> None:
    """Close the sessions of sites that are gone: their ETRs may well have another one now. And
    those of xTRs that now must show a certificate which they have not.
    """
    names = sites.by_name()
    for session in sessions:
        if session.lease is None:
            continue
        site = names.get(session.lease.xtr.site)
        if site is None:
            session.close(CloseReason.SITE_REMOVED, now)
        elif not site.allows_session(session.lease.xtr.ids, session.proven):
            session.close(CloseReason.CERTIFICATE, now)


def judge(registrar: Registrar, session_of: Callable[[Xtr], Replaceable | None]) -> Iterator[None]:
    """Take out what the sites in force refuse, and tell the session of whose it was. Yields between
    batches.
    """
    for withdrawals in registrar.reexamine():
        for withdrawal in withdrawals:
            # Asked for now: sessions come and go while this goes on.
            session = session_of(withdrawal.lease.xtr)
            if isinstance(session, MapServerSession):
                session.withdraw(withdrawal.record, withdrawal.reason)
        yield


def _place(prefix: SitePrefix) -> tuple[str, int, int, int]:
    return prefix.site.name, prefix.instance_id, prefix.afi, prefix.key


def _same_keys(one: Site, other: Site) -> bool:
    return len(one.keys) == len(other.keys) and all(
        key.has_same_secret(match) for key, match in zip(one.keys, other.keys, strict=True)
    )
