"""Who is to be asked to register again, and for what
(draft-kouvelas-lisp-map-server-reliable-transport-07 §6.1.4).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lispmsrt.mapping.sites import SitePrefix, Sites, eid_key
from lispmsrt.services.map_server import MapServer
from lispmsrt.session.base import SessionState
from lispmsrt.session.map_server import MapServerSession
from lispmsrt.wire.addresses import NO_ADDRESS, Afi, EidPrefix
from lispmsrt.wire.reliable_transport import RefreshScope, RegistrationRefresh

__all__ = ["NotConfiguredError", "RefreshRequest", "refresh_sessions"]

_TAKES = {
    "everything": (),
    "site": ("site",),
    "instance": ("instance_id",),
    "eid": ("eid_prefix", "instance_id"),
}
"""Scope to the values that it is told by; the first must be there."""


class NotConfiguredError(ValueError):
    """The configuration has no such site, instance or EID-prefix. The text is a sentence."""


@dataclass(frozen=True, slots=True)
class RefreshRequest:
    """Which registrations are to be made again. ValueError says what does not fit."""

    scope: str = "everything"
    "everything, site, instance, eid"
    site: str | None = None
    "for scope site: all that the sessions of this site have registered"
    instance_id: int | None = None
    "for scopes instance and eid; of an EID-prefix it is 0 where nothing is said"
    eid_prefix: str | None = None
    "for scope eid: this EID-prefix and what lies inside"
    rejected_only: bool = False
    "only what was refused"

    def __post_init__(self) -> None:
        if self.scope not in _TAKES:
            raise ValueError(f"there is no scope {self.scope!r}; there are {', '.join(_TAKES)}")
        takes = _TAKES[self.scope]
        for name in ("site", "instance_id", "eid_prefix"):
            if getattr(self, name) is not None and name not in takes:
                raise ValueError(f"scope {self.scope} takes no {name.replace('_', '-')}")
        if takes and getattr(self, takes[0]) is None:
            name = takes[0].replace("_", "-")
            raise ValueError(f"scope {self.scope} needs a{'n' * (name[0] in 'ei')} {name}")
        if not 0 <= (self.instance_id or 0) < 1 << 32:
            raise ValueError(f"instance ID {self.instance_id} does not fit 32 bits")
        self.eid()

    def eid(self) -> EidPrefix | None:
        """Return the EID-prefix of scope eid."""
        if self.eid_prefix is None:
            return None
        return EidPrefix.from_text(self.eid_prefix, self.instance_id or 0)

    def message(self) -> RegistrationRefresh:
        """Return what the ETRs are told."""
        eid = self.eid()
        if eid is not None:
            return RegistrationRefresh(RefreshScope.COVERED, self.rejected_only, eid)
        if self.instance_id is not None:
            instance = EidPrefix(self.instance_id, NO_ADDRESS, 0)
            return RegistrationRefresh(RefreshScope.INSTANCE, self.rejected_only, instance)
        return RegistrationRefresh(RefreshScope.EVERYTHING, self.rejected_only)


def refresh_sessions(server: MapServer, request: RefreshRequest) -> int:
    """Ask whoever may have registered such a thing to register it again; return how many sessions
    were asked. NotConfiguredError where the configuration has no such site, instance or EID-prefix.
    """
    names = _sites_of(server.registrar.sites, request)
    message = request.message()
    asked = 0
    for session in server.sessions:
        if _is_of(session, names):
            session.refresh(message)
            asked += 1
    return asked


def _is_of(session: MapServerSession, names: set[str] | None) -> bool:
    if session.state is SessionState.CLOSED:
        return False
    # Who has had nothing accepted yet is of no site, and may well be asked for everything.
    return names is None or (session.lease is not None and session.lease.xtr.site in names)


def _sites_of(sites: Sites, request: RefreshRequest) -> set[str] | None:
    """Return the names of the sites whose ETRs are to be asked; None for all. ValueError where
    there are none.
    """
    if request.site is not None:
        matches = _is_of_site(request.site)
        missing = f"site {request.site!r}"
    elif (eid := request.eid()) is not None:
        matches = _overlaps(eid)
        missing = f"EID-prefix that has to do with {eid}"
    elif request.instance_id is not None:
        matches = _is_of_instance(request.instance_id)
        missing = f"EID-prefix of instance ID {request.instance_id}"
    else:
        return None
    names = {prefix.site.name for prefix in sites.prefixes if matches(prefix)}
    if not names:
        raise NotConfiguredError(f"there is no {missing} in the configuration")
    return names


def _is_of_site(name: str) -> Callable[[SitePrefix], bool]:
    return lambda prefix: prefix.site.name == name


def _is_of_instance(instance_id: int) -> Callable[[SitePrefix], bool]:
    return lambda prefix: prefix.instance_id == instance_id


def _overlaps(eid: EidPrefix) -> Callable[[SitePrefix], bool]:
    """Return what tells whether something inside both EID-prefixes can be registered."""
    instance_id, afi, length, key = eid_key(eid)

    def overlaps(prefix: SitePrefix) -> bool:
        if (prefix.instance_id, prefix.afi) != (instance_id, afi):
            return False
        if afi == Afi.NAME:
            return prefix.key == key
        shorter = min(length, prefix.length)
        return key >> length - shorter == prefix.key >> prefix.length - shorter

    return overlaps
