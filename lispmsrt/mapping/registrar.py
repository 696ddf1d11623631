"""The one writer of the mapping database: policy first, then the database, then who must hear of
the change.

Registrations come from sessions and from UDP; both end in the same few lines. Times are monotonic
seconds. RFC 9301 §8.2; draft-kouvelas-lisp-map-server-reliable-transport-07 §6.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from lispmsrt.mapping.database import Database, EidTable, Lease, Registration, Xtr
from lispmsrt.mapping.expiry import ExpiryWheel
from lispmsrt.mapping.likeness import Likeness, Likenesses
from lispmsrt.mapping.policy import identify, judge
from lispmsrt.mapping.sites import Site, Sites
from lispmsrt.mapping.verdicts import Change, Identity, Verdict, Withdrawal
from lispmsrt.wire.framing import Frame
from lispmsrt.wire.map_register import MapRegisterSpan, RegisterFlag
from lispmsrt.wire.record_walk import RecordSpan, walk_records
from lispmsrt.wire.records import NO_EXPIRY

__all__ = ["MAX_REGISTRATIONS", "REGISTRATION_TIMEOUT", "Registrar"]

REGISTRATION_TIMEOUT = 180.0
"""Seconds that a registration lasts without its ETR being heard (RFC 9301 §8.2; after a lost
session likewise).
"""

MAX_REGISTRATIONS = 4_000_000
"""What one Map-Server keeps by default: about 1.2 GB, so that no site can exhaust the memory of
all.
"""

EXPIRY_BATCH = 10_000
"""Items, and registrations of one lost session, that are ended at one go: some 30 ms."""

_KEPT_FLAGS = (
    RegisterFlag.PROXY_REPLY
    | RegisterFlag.SECURITY
    | RegisterFlag.EID_NOTIFY
    | RegisterFlag.USE_TTL
    | RegisterFlag.MERGE
    | RegisterFlag.WANT_MAP_NOTIFY
)
_USE_TTL = RegisterFlag.USE_TTL


ACCEPTED = Verdict.ACCEPTED
NO_SITE = Verdict.NOT_A_VALID_SITE_EID_PREFIX
BAD_LOCATORS = Verdict.LOCATOR_SET_NOT_ALLOWED
OTHER = Verdict.OTHER


class Registrar:
    """Decide on registrations, keep them, and end them when their time is over."""

    def __init__(
        self,
        sites: Sites,
        *,
        on_changes: Callable[[Sequence[Change]], None] | None = None,
        timeout: float = REGISTRATION_TIMEOUT,
        limit: int = MAX_REGISTRATIONS,
    ) -> None:
        self.database = Database()
        self.counters: Counter[str] = Counter()
        self._sites = sites
        self._on_changes = on_changes
        self._timeout = timeout
        self._limit = limit
        self._count = 0
        self._over_udp: dict[Xtr, Lease] = {}
        self._wheel: ExpiryWheel[Registration | Lease] = ExpiryWheel()
        self._flags: dict[int, int] = {}
        self._likenesses: dict[Lease, Likenesses] = {}
        "what accepted Registrations of a live session looked like"

    # Who is it

    @property
    def sites(self) -> Sites:
        """The configured sites in force."""
        return self._sites

    def identify(
        self, data: bytes, start: int, end: int, register: MapRegisterSpan
    ) -> Identity | Verdict:
        """Find whose authentic message it is; see :func:`lispmsrt.mapping.policy.identify`."""
        return identify(self._sites, data, start, end, register)

    # From a session

    def register(
        self, lease: Lease, data: bytes, start: int, end: int, register: MapRegisterSpan, now: float
    ) -> Verdict:
        """Register or withdraw the one record of the Registration ``data[start:end]`` for a
        session's lease.
        """
        record = register[5][0]
        identity = self.identify(data, start, end, register)
        if isinstance(identity, Verdict):
            return self._refuse(lease, record, identity)
        if identity.ids != lease.xtr.ids or identity.site.name != lease.xtr.site:
            # Another xTR than the one that the session is bound to: nothing of the bound one is
            # touched.
            return OTHER
        _at, ttl, *_, locators, record_end = record
        if ttl and not identity.site.allows_locators(data[locators:record_end]):
            return self._refuse(lease, record, BAD_LOCATORS)
        verdict = self._enter(lease, data, record, register[0], now, None)
        if verdict is ACCEPTED:
            self._remember_likeness(lease, identity, data, start, end, register)
        return verdict

    def register_run(
        self, lease: Lease, data: bytes, frames: Sequence[Frame], first: int, now: float
    ) -> list[bytes]:
        """Register the Registrations from ``frames[first]`` on, as long as each is like one before.

        Returns the EID wire forms of those that were accepted. The first that differs in any way,
        and whatever is wrong, is left to :meth:`register`.
        """
        accepted: list[bytes] = []
        likenesses = self._likenesses.get(lease)
        if likenesses is None:
            return accepted
        changes: list[Change] = []
        held = lease.held
        room = self._limit - self._count
        for like, length, key, record, eid in likenesses.run(self._sites, data, frames, first):
            table = like.table
            current = table.entries.get(key)
            if current is None:
                if len(changes) >= room:
                    break
                registration = Registration(record, lease, like.flags, now, None)
                table.put(length, key, registration)
                held[registration] = None
                # Half of what Change(...) costs.
                changes.append(
                    tuple.__new__(Change, (table, length, key, None, registration, None))
                )
            elif not _is_held(current, lease, record, like.flags):
                break
            accepted.append(eid)
        self._count += len(changes)
        if changes and self._on_changes is not None:
            self._on_changes(changes)
        return accepted

    def _remember_likeness(
        self,
        lease: Lease,
        identity: Identity,
        data: bytes,
        start: int,
        end: int,
        register: MapRegisterSpan,
    ) -> None:
        """Let the next ones that are like this Registration go by :meth:`register_run`."""
        _at, _ttl, instance_id, afi, *_ = register[5][0]
        table = self.database.table(instance_id, afi)
        flags = register[0] & _KEPT_FLAGS
        flags = self._flags.setdefault(flags, flags)
        like = Likeness.of(
            data, start, end, register, self._sites, identity, table=table, flags=flags
        )
        if like is None:
            return
        self._likenesses.setdefault(lease, Likenesses()).remember(end - start, like)

    # From a session or UDP, authentic and allowed by now

    def _enter(
        self,
        lease: Lease,
        data: bytes,
        span: RecordSpan,
        word: int,
        now: float,
        deadline: float | None,
    ) -> Verdict:
        """Register or withdraw one record; ``deadline`` is None on a live session."""
        start, ttl, instance_id, afi, length, key, _locators, end = span
        table = self.database.table(instance_id, afi)
        if not ttl:
            return self._withdraw(lease, table, length, key)
        record = data[start:end]
        flags = word & _KEPT_FLAGS
        flags = self._flags.setdefault(flags, flags)  # one int object for all
        current = table.entries.get(key)
        if current is not None and (current.lease is lease or current.lease.xtr == lease.xtr):
            if current.record == record and current.flags == flags:
                return self._confirm(current, lease, now, deadline)
            if current.lease.is_live and not lease.is_live:
                # docs/draft.rst, Arming 8: over UDP nobody demotes what the same xTR's live
                # session holds.
                return ACCEPTED
        if current is not None and current.lease.is_live and _is_anonymous_over_udp(lease):
            # docs/draft.rst, Arming 1: its messages could be another's, caught and sent again.
            self.counters["refused, no xTR-ID against a live session"] += 1
            return OTHER
        registration = Registration(record, lease, flags, now, deadline)
        if current is not None:
            self._replace(table, length, key, registration)
        elif self._count < self._limit:
            table.put(length, key, registration)
            self._count += 1
        else:
            self.counters["refused, database full"] += 1
            return OTHER
        lease.held[registration] = None
        if deadline is not None:
            self._add_to_wheel(registration, deadline, now)
        elif flags & _USE_TTL:
            lease.uses_ttl = True
        if self._on_changes is not None:
            self._on_changes([Change(table, length, key, current, registration)])
        return ACCEPTED

    # From UDP

    def enter_over_udp(
        self,
        xtr: Xtr,
        source: str,
        site: Site,
        data: bytes,
        span: RecordSpan,
        word: int,
        now: float,
    ) -> Verdict:
        """Register or withdraw one record as soft state, which lasts 180 s or the record TTL where
        T is set.

        ``source`` is address and port, for people.
        """
        verdict = judge(self._sites, site, data, span)
        if verdict is not ACCEPTED:
            self.counters[f"refused over UDP: {verdict.name}"] += 1
            return verdict
        lease = self._over_udp.get(xtr)
        if lease is None:
            lease = Lease(xtr, "UDP", source, is_live=False)
        lease.source = source
        ttl = span[1]
        # RFC 9301 §5.6, T bit: the record TTL is the timeout.
        lasts = 60.0 * ttl if word & _USE_TTL and ttl != NO_EXPIRY else self._timeout
        verdict = self._enter(lease, data, span, word, now, now + lasts)
        if lease.held:
            self._over_udp[xtr] = lease
        return verdict

    # When a session ends

    def lose(self, lease: Lease, now: float) -> None:
        """Start the clock of everything that a session registered: the session is lost."""
        lease.is_live = False
        self._likenesses.pop(lease, None)
        if not lease.held:
            return
        lease.deadline = now + self._timeout
        self._wheel.add(lease, lease.deadline)
        if not lease.uses_ttl:
            return
        for registration in lease.held:
            if not registration.flags & _USE_TTL:
                continue
            ttl = walk_records(registration.record, 0, len(registration.record), 1)[0][1]
            if 60.0 * ttl < self._timeout:
                registration.deadline = now + 60.0 * ttl
                self._add_to_wheel(registration, registration.deadline, now)

    def renew(self, lease: Lease, now: float) -> Lease:
        """Demand that a live session confirms what it registered, within the time that a lost one
        has.

        Returns the lease that the session goes on with.
        """
        successor = Lease(lease.xtr, lease.transport, lease.source, is_live=True)
        self.lose(lease, now)
        return successor

    def next_expiry(self) -> float | None:
        """When :meth:`expire` may have something to do."""
        return self._wheel.next_due()

    def expire(self, now: float) -> bool:
        """End what nobody confirmed in time; tell whether there is more to end at once.

        A lost session may have held a million: nobody else is to wait for these.
        """
        for item in self._wheel.due(now, EXPIRY_BATCH):
            if isinstance(item, Lease):
                for registration in list(islice(item.held, EXPIRY_BATCH)):
                    self._expire_registration(registration)
                if item.held:
                    self._wheel.add(item, now - 1.0)
            elif item in item.lease.held and item.deadline is not None:
                if item.deadline > now:
                    self._add_to_wheel(item, item.deadline, now)
                else:
                    self._expire_registration(item)
        due = self._wheel.next_due()
        return due is not None and due <= now

    # When the configuration changes

    def reconfigure(self, sites: Sites) -> None:
        """Decide by new sites from now on. What is registered already is for :meth:`reexamine` to
        judge.
        """
        self._sites = sites

    def reexamine(self, batch: int = 1000) -> Iterator[list[Withdrawal]]:
        """Take out every registration that the sites in force would refuse; yield after each
        ``batch`` looked at.

        The database may change between batches.
        """
        for table in list(self.database.tables.values()):
            keys = list(table.entries)
            for first in range(0, len(keys), batch):
                yield [
                    withdrawal
                    for key in keys[first : first + batch]
                    if (withdrawal := self._reexamine_one(table, key)) is not None
                ]

    def _reexamine_one(self, table: EidTable, key: int) -> Withdrawal | None:
        registration = table.entries.get(key)
        if registration is None:
            return None
        length = key.bit_length() - 1
        lease = registration.lease
        prefix = self._sites.match(table.instance_id, table.afi, length, key)
        if prefix is None or prefix.site.name != lease.xtr.site:
            reason = NO_SITE
        else:
            record = registration.record
            locators = walk_records(record, 0, len(record), 1)[0][6]
            if prefix.site.allows_locators(record[locators:]):
                return None
            reason = BAD_LOCATORS
        self.counters["withdrawn by configuration"] += 1
        self._remove(table, length, key, registration)
        return Withdrawal(lease, registration.record, reason)

    # The only lines that write

    def _confirm(
        self, registration: Registration, lease: Lease, now: float, deadline: float | None
    ) -> Verdict:
        """The same mapping again: at most its lease and its time change."""
        holder = registration.lease
        if deadline is None:
            registration.deadline = None
        elif holder.is_live:
            return ACCEPTED
        else:
            if registration.deadline is None:
                self._add_to_wheel(registration, deadline, now)
            registration.deadline = deadline
        if holder is not lease:
            self._let_go(registration)
            lease.held[registration] = None
            registration.lease = lease
            if registration.flags & _USE_TTL:
                lease.uses_ttl = True
        return ACCEPTED

    def _replace(self, table: EidTable, length: int, key: int, registration: Registration) -> None:
        """Put a registration where another one is, of the same xTR or not: without merge the
        newest wins.
        """
        replaced = table.entries[key]
        table.entries[key] = registration
        if replaced.wants_notification != registration.wants_notification:
            table.watch(length, 1 if registration.wants_notification else -1)
        self._let_go(replaced)

    def _withdraw(self, lease: Lease, table: EidTable, length: int, key: int) -> Verdict:
        current = table.entries.get(key)
        if current is None or current.lease.xtr != lease.xtr:
            return ACCEPTED
        if current.lease.is_live and not lease.is_live:
            return ACCEPTED
        self.counters["withdrawn"] += 1
        self._remove(table, length, key, current, lease)
        return ACCEPTED

    def _add_to_wheel(self, registration: Registration, deadline: float, now: float) -> None:
        # What is replaced stays in the wheel until it is found there: with a record TTL as its
        # timeout that would be for years.
        self._wheel.add(registration, min(deadline, now + self._timeout))

    def _refuse(self, lease: Lease, span: RecordSpan, verdict: Verdict) -> Verdict:
        """Answer a refusal, and take out what the session itself had registered there: its ETR
        counts on nothing.
        """
        _start, _ttl, instance_id, afi, length, key, *_ = span
        current = self.database.exact(instance_id, afi, key)
        if current is not None and lease.is_live and current.lease.xtr == lease.xtr:
            self._remove(self.database.table(instance_id, afi), length, key, current, lease)
        return verdict

    def _expire_registration(self, registration: Registration) -> None:
        record = registration.record
        _start, _ttl, instance_id, afi, length, key, *_ = walk_records(record, 0, len(record), 1)[0]
        self.counters["expired"] += 1
        self._remove(self.database.table(instance_id, afi), length, key, registration)

    def _remove(
        self,
        table: EidTable,
        length: int,
        key: int,
        registration: Registration,
        by: Lease | None = None,
    ) -> None:
        table.remove(length, key)
        self._let_go(registration)
        self._count -= 1
        if self._on_changes is not None:
            self._on_changes([Change(table, length, key, registration, None, by)])

    def _let_go(self, registration: Registration) -> None:
        """Take a registration from its lease; of xTRs over UDP no empty lease is kept."""
        lease = registration.lease
        del lease.held[registration]
        if not lease.held and self._over_udp.get(lease.xtr) is lease:
            del self._over_udp[lease.xtr]


def _is_held(current: Registration, lease: Lease, record: bytes, flags: int) -> bool:
    """Whether a live session holds exactly this already."""
    return current.lease is lease and current.record == record and current.flags == flags


def _is_anonymous_over_udp(lease: Lease) -> bool:
    return not lease.is_live and not lease.xtr.ids
