"""Everything of a Map-Server and Map-Resolver that has no socket: what is registered, who is
answered, who must hear of changes. The one place that joins these parts.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from random import Random

from lispmsrt.config import (
    DdtConfig,
    KeyConfig,
    MapResolverConfig,
    MapServerConfig,
    SocketAddress,
    membership_families,
)
from lispmsrt.control.arming import Armory
from lispmsrt.control.lisp_sec import MapServerSecurity
from lispmsrt.control.map_notifies import MapNotifies
from lispmsrt.control.map_requests import MapRequests
from lispmsrt.control.map_resolver import MapResolver, Target, Targets
from lispmsrt.control.map_server import MapServerControl
from lispmsrt.control.nonces import NonceCheck, NonceMemory
from lispmsrt.control.plane import ControlPlane, Sends, Takes
from lispmsrt.control.publications import PublicationPace
from lispmsrt.control.questions import LISP_CONTROL_PORT, Questions
from lispmsrt.control.referrals import Referrals
from lispmsrt.control.request_limits import RequestLimits
from lispmsrt.control.retransmission import Retransmissions
from lispmsrt.control.subscriptions import SubscriptionLimits, Subscriptions
from lispmsrt.control.unproven import Unproven
from lispmsrt.mapping.database import EidTable, Lease
from lispmsrt.mapping.event_numbers import EventNumbers
from lispmsrt.mapping.history import History
from lispmsrt.mapping.lookup import Lookup
from lispmsrt.mapping.publisher import Publisher
from lispmsrt.mapping.registrar import Registrar
from lispmsrt.mapping.rejections import Rejection, Rejections
from lispmsrt.mapping.restoring import RecallingLookup
from lispmsrt.mapping.rloc_members import RlocMembers
from lispmsrt.mapping.sites import Sites
from lispmsrt.mapping.verdicts import Change
from lispmsrt.services.xtr_keys import XtrKeys
from lispmsrt.storage.asking import OneByOne
from lispmsrt.storage.memory import Memory
from lispmsrt.wire.addresses import Address
from lispmsrt.wire.authentication import Key
from lispmsrt.wire.messages import ControlType

__all__ = ["MappingService", "Remembers", "make_resolver", "make_security", "own_addresses"]

Hears = Callable[[Sequence[Change]], None]
Remembers = Callable[[Registrar, NonceMemory], Memory]


class MappingService:
    """A Map-Server without its sockets and sessions."""

    def __init__(
        self,
        config: MapServerConfig,
        sites: Sites,
        resolver: MapResolverConfig | None,
        *,
        can_reach: Callable[[int], bool],
        wake: Callable[[], None],
        random: Random,
        wall_clock_ns: Callable[[], int] = time.time_ns,
        clock: Callable[[], float] = time.monotonic,
        on_rejection: Callable[[Rejection, int], None] | None = None,
        remembers: Remembers | None = None,
    ) -> None:
        """``can_reach``: whether there is a socket for addresses of this family (Afi); ``wake`` is
        called when there is something to send that answers nobody, ``on_rejection`` for some
        rejections (:class:`lispmsrt.mapping.rejections.Rejections`). ``clock`` returns monotonic
        seconds. ``remembers`` makes what outlives the process.
        """
        self._config = config
        self._can_reach = can_reach
        self._wake = wake
        # Growing across restarts too, so that xTRs can tell what is old.
        self._nonces = itertools.count(wall_clock_ns())
        self._unproven = Unproven()
        self.retransmissions = Retransmissions(unproven=self._unproven)
        self.notifies = MapNotifies(
            self.retransmissions, lambda: next(self._nonces) % (1 << 64), wake=wake
        )
        self.publisher = Publisher(self.notifies.tell)
        numbers = EventNumbers()
        self.history = History(clock, numbers=numbers)
        self._hearers: list[Hears] = [self.publisher.changed, self.history.changed]
        self.registrar = Registrar(
            sites,
            on_changes=self._changed,
            timeout=config.registration_timeout,
            limit=config.max_registrations,
            rejections=Rejections(on_rejection, numbers=self.history.numbers),
            recall=self._recall,
            on_nonce=self._note_nonce if config.nonce_check is NonceCheck.STRICT else None,
        )
        self.armory = Armory(config.armory_limits(), config.trusted_addresses())
        self.memory: Memory | None = None
        self.lookup = self._make_lookup(is_partial=remembers is not None)
        self.members = self._make_members()
        self.subscriptions = self._make_subscriptions()
        self.security = make_security([*config.itr_keys, *(resolver.itr_keys if resolver else ())])
        self.referrals = _make_referrals(config.ddt) if config.ddt is not None else None
        self.registrations = self._make_registrations()
        if remembers is not None:
            self.memory = remembers(self.registrar, self.registrations.nonces)
            self._hearers.append(self.memory.changed)
        questions = Questions(
            RequestLimits(random, rate=config.request_rate, burst=config.request_burst), can_reach
        )
        own = own_addresses([*config.control, *(resolver.control if resolver else ())])
        self.requests = self._make_requests(questions, own)
        self.resolver = (
            make_resolver(resolver, questions, can_reach, own, self.security, self.requests)
            if resolver
            else None
        )
        self.plane = self._make_plane()

    def _sites(self) -> Sites:
        return self.registrar.sites

    def _changed(self, changes: Sequence[Change]) -> None:
        for hear in self._hearers:
            hear(changes)

    def _recall(self, table: EidTable, key: int) -> None:
        if self.memory is not None:
            self.memory.recall(table, key)

    def _note_nonce(self, lease: Lease, nonce: int) -> None:
        """Have a Registration be a repeat where somebody who has caught it sends it over UDP.

        Only who demands that nonces count up can say that: an ETR may count those of its sessions
        by themselves, or not at all (docs/draft.rst, "Nonces").
        """
        if lease.key is not None:
            who = (lease.xtr, lease.key.fingerprint)
            self.registrations.nonces.is_fresh(lease.xtr.site, who, nonce)

    def _is_partial(self) -> bool:
        return self.memory is not None and self.memory.is_partial

    def _make_lookup(self, *, is_partial: bool) -> Lookup:
        database = self.registrar.database
        if not is_partial:
            return Lookup(database, self._sites)
        return RecallingLookup(database, self._sites, self._recall, self._is_partial)

    def _make_members(self) -> RlocMembers | None:
        families = membership_families(self._config.rloc_membership)
        if not families:
            return None
        members = RlocMembers(families, self._sites)
        self._hearers.append(members.changed)
        return members

    def _make_subscriptions(self) -> Subscriptions | None:
        options = self._config.subscriptions
        if not options.enabled:
            return None
        keys = XtrKeys(self._sites)
        subscriptions = Subscriptions(
            self.registrar.database,
            self.lookup,
            self._sites,
            self.retransmissions,
            keys.find,
            limits=SubscriptionLimits(
                max_subscriptions=options.max_subscriptions,
                max_per_xtr=options.max_subscriptions_per_xtr,
                pace=PublicationPace(interval=options.publication_interval),
            ),
            can_reach=self._can_reach,
            wake=self._wake,
        )
        self._hearers += [keys.changed, subscriptions.changed]
        return subscriptions

    def _make_registrations(self) -> MapServerControl:
        config = self._config
        return MapServerControl(
            self.registrar,
            self.armory,
            nonce_check=config.nonce_check,
            notify_to_control_port=config.notify_to_control_port,
            offers_sessions=bool(config.reliable_transport),
            retransmissions=self.retransmissions,
            notifies=self.notifies,
            acknowledge=self.subscriptions.acknowledge if self.subscriptions else None,
            unproven=self._unproven,
        )

    def _make_requests(self, questions: Questions, own: frozenset[bytes]) -> MapRequests:
        return MapRequests(
            self.lookup,
            self._sites,
            questions,
            can_reach=self._can_reach,
            own_addresses=own,
            subscriptions=self.subscriptions,
            security=self.security,
            referrals=self.referrals,
        )

    def _make_plane(self) -> ControlPlane:
        asked: Takes = self.resolver or self.requests
        if self.memory is not None:
            asked = OneByOne(asked, self._is_partial)
        takes: dict[int, Takes] = {
            ControlType.MAP_REGISTER: self.registrations,
            ControlType.MAP_NOTIFY_ACK: self.registrations,
            ControlType.MAP_NOTIFY: self.registrations,
            ControlType.MAP_REPLY: self.registrations,
            ControlType.MAP_REQUEST: asked,
            ControlType.ENCAPSULATED: asked,
        }
        sends: list[Sends] = [self.resolver or self.requests]
        if self.subscriptions is not None:
            sends.append(self.subscriptions)
        # Last: it sends what the others have handed to the retransmissions.
        sends.append(self.registrations)
        return ControlPlane(takes, sends)


def make_resolver(
    config: MapResolverConfig,
    questions: Questions,
    can_reach: Callable[[int], bool],
    own: frozenset[bytes],
    security: MapServerSecurity | None,
    map_server: MapRequests | None = None,
) -> MapResolver:
    """Return the Map-Resolver role."""
    targets = Targets(
        Target(
            (server.address.packed, server.address.port),
            tuple(prefix.eid() for prefix in server.eid_prefix),
            server.key.to_key() if server.key is not None else None,
        )
        for server in config.map_servers
    )
    return MapResolver(
        targets,
        questions,
        can_reach=can_reach,
        own_addresses=own,
        map_server=map_server,
        security=security,
    )


def make_security(keys: Sequence[KeyConfig]) -> MapServerSecurity | None:
    """Return LISP-SEC with ITRs that share these keys; None where there are none."""
    if not keys:
        return None
    by_id: dict[int, list[Key]] = {}
    for key in keys:
        by_id.setdefault(key.id, []).append(key.to_key())
    return MapServerSecurity(lambda key_id: by_id.get(key_id, ()))


def _make_referrals(config: DdtConfig) -> Referrals:
    return Referrals(
        [delegation.eid() for delegation in config.delegation],
        [Address.from_text(text) for text in config.map_servers],
    )


def own_addresses(sockets: Sequence[SocketAddress]) -> frozenset[bytes]:
    """Return the packed addresses at which whoever sends to port 4342 reaches ourselves."""
    return frozenset(
        socket.packed
        for socket in sockets
        if socket.port == LISP_CONTROL_PORT and any(socket.packed)
    )
