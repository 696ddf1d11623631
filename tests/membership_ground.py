"""A Map-Server that distributes RLOC membership and xTRs that follow it, in memory.

Sessions only, no UDP and no arming: a :class:`Line` is a connection that came up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import count

from lispmsrt.mapping.credentials import Credentials
from lispmsrt.mapping.database import Xtr
from lispmsrt.mapping.etr_registrations import EtrRegistrations
from lispmsrt.mapping.family_members import Family
from lispmsrt.mapping.interfaces import Replaceable
from lispmsrt.mapping.learnt_members import LearntMembers, Member
from lispmsrt.mapping.merging import parts_of
from lispmsrt.mapping.publisher import Publisher
from lispmsrt.mapping.registrar import Registrar
from lispmsrt.mapping.rloc_members import Enabled, RlocMembers
from lispmsrt.mapping.sites import Sites
from lispmsrt.session.etr import EtrSession
from lispmsrt.session.limits import SessionLimits
from lispmsrt.session.map_server import MapServerSession
from lispmsrt.wire.addresses import Address, EidPrefix
from lispmsrt.wire.membership import MembershipMessage, decode_membership
from lispmsrt.wire.records import Locator, MappingRecord
from lispmsrt.wire.reliable_transport import MappingNotification
from tests.builders import ANY_IPV4, KEY, Secret, messages, site, sites

__all__ = ["FAMILIES", "Follower", "Line", "Server", "learnt", "membership", "truth"]

FAMILIES: tuple[Family, ...] = ((0, 1), (7, 1), (7, 2))


def membership(data: bytes) -> list[MembershipMessage]:
    """Read the messages of types 22 to 30 in a stream."""
    return [decode_membership(kind, body) for kind, _id, body in messages(data) if 22 <= kind <= 30]


class Server:
    """A Map-Server with one site; it arms everybody."""

    def __init__(
        self,
        enabled: Enabled | None = "all",
        *,
        configured: Sites | None = None,
        limits: SessionLimits | None = None,
    ) -> None:
        office = site()
        self.limits = limits or SessionLimits()
        self.news = Publisher()
        self.registrar = Registrar(
            configured
            or sites((office, ANY_IPV4), (office, ANY_IPV4, 7), (office, "2001:db8::/32", 7)),
            on_changes=lambda changes: self.on_changes(changes),
        )
        self.members = (
            None if enabled is None else RlocMembers(enabled, lambda: self.registrar.sites)
        )
        self.on_changes = self.members.changed if self.members is not None else self.news.changed
        self.database = self.registrar.database

    def session(self, wake: Callable[[], None] = lambda: None) -> MapServerSession:
        """Return the session of a new connection."""
        return MapServerSession(
            registrar=self.registrar,
            arming=self,
            news=self.news,
            claim=None,
            transport="TCP",
            peer="there",
            limits=self.limits,
            wake=wake,
            now=0.0,
            members=self.members,
        )

    def bind(self, claim: object, session: Replaceable, site: str, ids: bytes, now: float) -> Xtr:
        """Everybody is who they say."""
        return Xtr(site, ids, b"")

    def release(self, claim: object, session: Replaceable) -> None:
        """Nothing is kept."""


class Follower:
    """An xTR: what it registers and what it has learnt, over any number of sessions."""

    def __init__(
        self,
        number: int,
        families: Iterable[Family] = FAMILIES,
        *,
        follows: bool = True,
        site_id: int | None = None,
        key: Secret = KEY,
        limits: SessionLimits | None = None,
    ) -> None:
        self.limits = limits or SessionLimits()
        self.ids = bytes(15) + bytes((number,)) + (site_id or number).to_bytes(8, "big")
        self.told: list[Family] = []
        self.families = tuple(families)
        self.learnt = (
            LearntMembers(families, on_change=lambda *at: self.told.append(at)) if follows else None
        )
        self.registrations = EtrRegistrations(self)
        self.credentials = Credentials(key.key(), self.ids, 0, count(1).__next__)

    def register(self, text: str, *rlocs: str, instance_id: int = 0) -> None:
        """Mean to register an EID-prefix with these RLOCs."""
        prefix = EidPrefix.from_text(text, instance_id)
        locators = tuple(Locator(Address.from_text(rloc)) for rloc in sorted(rlocs))
        self.registrations.register(MappingRecord(prefix, 1440, locators))

    def withdraw(self, text: str, instance_id: int = 0) -> None:
        """Mean to register it no longer."""
        self.registrations.withdraw(EidPrefix.from_text(text, instance_id))

    def session(self) -> EtrSession:
        """Return the session of a new connection."""
        return EtrSession(
            registrations=self.registrations,
            credentials=self.credentials,
            listener=self,
            limits=self.limits,
            wake=lambda: None,
            now=0.0,
            members=self.learnt,
        )

    def acknowledged(self, eid: bytes) -> None:
        """Nobody waits."""

    def rejected(self, eid: bytes, reason: int) -> None:
        """Nobody waits."""

    def taken_over(self, eid: bytes) -> None:
        """Nobody asks here."""

    def mapping_notified(self, notification: MappingNotification) -> None:
        """Nobody is interested."""


class Line:
    """A connection between an xTR and the Map-Server, and what was said on it."""

    def __init__(self, server: Server, xtr: Follower, now: float = 0.0) -> None:
        self.wakes = 0
        self.server = server.session(self._woken)
        self.etr = xtr.session()
        self.from_server: list[bytes] = []
        self.from_etr: list[bytes] = []
        for end in (self.server, self.etr):
            end.start(now)

    def _woken(self) -> None:
        self.wakes += 1

    def step(self, now: float = 0.0, *, is_stuck: bool = False) -> bool:
        """Carry what either end has to say, once; return whether there was anything."""
        to_server = self.etr.data_to_send(now)
        self.from_etr.append(to_server)
        self.server.receive_data(to_server, now)
        to_etr = b"" if is_stuck else self.server.data_to_send(now)
        self.from_server.append(to_etr)
        self.etr.receive_data(to_etr, now)
        if self.server.close_reason or self.etr.close_reason:
            # An end that closes takes the connection with it, as SessionProtocol does: else the
            # other one would believe for ever what it is told no longer.
            self.cut(now)
        return bool(to_server or to_etr)

    def settle(self, now: float = 0.0) -> None:
        """Carry everything."""
        while self.step(now):
            pass

    def wait(self, until: float) -> None:
        """Let the xTR's timers fire up to a time."""
        while (due := self.etr.next_timeout()) is not None and due <= until:
            self.etr.handle_timeout(due)
            self.settle(due)

    def cut(self, now: float = 0.0) -> None:
        """The connection is lost."""
        self.etr.connection_lost(now)
        self.server.connection_lost(now)

    def said(self) -> list[MembershipMessage]:
        """Return what the Map-Server has said of membership since the last time."""
        data, self.from_server = b"".join(self.from_server), []
        return membership(data)

    def asked(self) -> list[MembershipMessage]:
        """Return what the xTR has asked of membership since the last time."""
        data, self.from_etr = b"".join(self.from_etr), []
        return membership(data)


def learnt(xtr: Follower, at: Family) -> set[tuple[int, str]]:
    """Return what an xTR believes: Site-ID and RLOC."""
    assert xtr.learnt is not None
    found = xtr.learnt.members(*at)
    return {_readable(one) for one in found}


def _readable(member: Member) -> tuple[int, str]:
    return int.from_bytes(member.site_id, "big"), str(member.rloc)


def truth(server: Server, at: Family) -> set[tuple[int, str]]:
    """Work out from the database who is a member: Site-ID and RLOC."""
    table = server.database.tables.get(at)
    if table is None:
        return set()
    return {
        (int.from_bytes(part.lease.xtr.ids[-8:], "big"), str(locator.rloc))
        for registration in table.entries.values()
        for part in parts_of(registration)
        for locator in part.decode().locators
        if not str(locator.rloc).startswith(("0.", "224.", "ff", "::"))
    }
