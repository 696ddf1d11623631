"""The one way into the mapping database: policy first, then the database, then who must hear of
the change.

Registrations come from sessions and from UDP; both end in the same few lines. Times are monotonic
seconds. RFC 9301 §8.2; draft-kouvelas-lisp-map-server-reliable-transport-07 §6.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from lispmsrt.mapping.admittance import admitted
from lispmsrt.mapping.database import Database, EidTable, Lease, Registration, UdpPath, Xtr
from lispmsrt.mapping.holdings import Holdings, is_held
from lispmsrt.mapping.likeness import Likeness, Likenesses
from lispmsrt.mapping.merging import merging_work, part_of, parts_of
from lispmsrt.mapping.policy import identify, judge
from lispmsrt.mapping.reexamination import no_longer_allowed
from lispmsrt.mapping.refusals import Refusal, another_xtr, not_enterable, unidentified
from lispmsrt.mapping.rejections import Rejections
from lispmsrt.mapping.sites import Site, Sites
from lispmsrt.mapping.soft_state import SoftState
from lispmsrt.mapping.verdicts import Change, End, Identity, Verdict, Withdrawal
from lispmsrt.wire.framing import Frame
from lispmsrt.wire.map_register import MapRegisterSpan, RegisterFlag
from lispmsrt.wire.record_walk import RecordSpan, walk_records

__all__ = ["MAX_REGISTRATIONS", "REGISTRATION_TIMEOUT", "Registrar"]

REGISTRATION_TIMEOUT = 180.0
"""Seconds that a registration lasts without its ETR being heard (RFC 9301 §8.2; after a lost
session likewise).
"""

MAX_REGISTRATIONS = 4_000_000
"""What one Map-Server keeps by default: about 1.2 GB, so that no site can exhaust the memory of
all.
"""

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
BAD_LOCATORS = Verdict.LOCATOR_SET_NOT_ALLOWED


class Registrar:
    """Decide on registrations, keep them, and end them when their time is over."""

    def __init__(
        self,
        sites: Sites,
        *,
        on_changes: Callable[[Sequence[Change]], None] | None = None,
        timeout: float = REGISTRATION_TIMEOUT,
        limit: int = MAX_REGISTRATIONS,
        rejections: Rejections | None = None,
    ) -> None:
        self.database = Database()
        self.counters: Counter[str] = Counter()
        self.rejections = Rejections() if rejections is None else rejections
        self.accepted = 0
        "Registrations, and records of Map-Registers, since the start; withdrawals too"
        self.count = 0
        "registrations, each part of a merged one"
        self._sites = sites
        self._on_changes = on_changes
        self._limit = limit
        self._over_udp: dict[Xtr, Lease] = {}
        self._soft_state = SoftState(timeout)
        self._holdings = Holdings(self._over_udp, self._soft_state.forget)
        self.leases = self._holdings.leases
        "all that hold something: of live sessions, of lost ones, of xTRs over UDP"
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
    ) -> Identity | Refusal:
        """Find whose authentic message it is; see :func:`lispmsrt.mapping.policy.identify`."""
        found = identify(self._sites, data, start, end, register)
        if isinstance(found, Verdict):
            return unidentified(self._sites, register, found)
        return found

    # From a session

    def register(
        self, lease: Lease, data: bytes, start: int, end: int, register: MapRegisterSpan, now: float
    ) -> Verdict:
        """Register or withdraw the one record of the Registration ``data[start:end]`` for a
        session's lease.
        """
        record = register[5][0]
        identity = self.identify(data, start, end, register)
        if isinstance(identity, Refusal):
            return self._refuse(lease, record, identity, now)
        if identity.ids != lease.xtr.ids or identity.site.name != lease.xtr.site:
            # Another xTR than the one that the session is bound to: nothing of the bound one is
            # touched.
            why, ids = another_xtr(lease.xtr, identity), identity.ids
            self.rejections.note(why, record, ids, lease.transport, lease.source, now)
            return why.verdict
        _at, ttl, *_, locators, record_end = record
        if ttl and not identity.site.allows_locators(data[locators:record_end]):
            refusal = not_enterable(self._sites, identity.site, data, record, BAD_LOCATORS)
            return self._refuse(lease, record, refusal, now)
        refused = self._enter(lease, data, record, register[0], now, None)
        if refused is not None:
            return self._refuse(lease, record, refused, now)
        self.accepted += 1
        lease.key = identity.key
        self._remember_likeness(lease, identity, data, start, end, register)
        return ACCEPTED

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
        room = self._limit - self.count
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
                    tuple.__new__(Change, (table, length, key, None, registration, None, None))
                )
            elif not is_held(current, lease, record, like.flags):
                break
            accepted.append(eid)
        self.accepted += len(accepted)
        if changes:
            self.count += len(changes)
            self.leases[lease] = None
            if self._on_changes is not None:
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
        flags = self._kept_flags(register[0])
        like = Likeness.of(
            data, start, end, register, self._sites, identity, table=table, flags=flags
        )
        if like is not None:
            self._likenesses.setdefault(lease, Likenesses()).remember(end - start, like)

    def _kept_flags(self, word: int) -> int:
        flags = word & _KEPT_FLAGS
        return self._flags.setdefault(flags, flags)  # one int object for all

    # From a session or UDP, authentic and allowed by now

    def _enter(
        self,
        lease: Lease,
        data: bytes,
        span: RecordSpan,
        word: int,
        now: float,
        deadline: float | None,
    ) -> Refusal | None:
        """Register or withdraw one record; return why not, where it is refused. ``deadline`` is
        None on a live session.
        """
        start, ttl, instance_id, afi, length, key, _locators, end = span
        table = self.database.table(instance_id, afi)
        if not ttl:
            self._withdraw(lease, table, key)
            return None
        record = data[start:end]
        flags = self._kept_flags(word)
        current = table.entries.get(key)
        own = part_of(current, lease)
        if own is not None:
            if own.record == record and own.flags == flags:
                self._confirm(table, key, own, lease, now, deadline)
                return None
            if own.lease.is_live and not lease.is_live:
                # docs/draft.rst, Arming 8: over UDP nobody demotes what the same xTR's live
                # session holds.
                return None
        part = Registration(record, lease, flags, now, deadline)
        after = admitted(current, part, count=self.count, limit=self._limit)
        if isinstance(after, Refusal):
            self.counters[f"refused, {after.rule}"] += 1
            return after
        if deadline is not None:
            self._soft_state.add(part, deadline, now)
        elif flags & _USE_TTL:
            lease.uses_ttl = True
        self._tell(self._holdings.put(table, length, key, part, after))
        return None

    def _confirm(
        self,
        table: EidTable,
        key: int,
        own: Registration,
        lease: Lease,
        now: float,
        deadline: float | None,
    ) -> None:
        """The same mapping again: at most its lease and its time change."""
        holder = own.lease
        if deadline is None:
            self._soft_state.forget(own)
            own.deadline = None
        elif holder.is_live:
            return
        else:
            if own.deadline is None:
                self._soft_state.add(own, deadline, now)
            own.deadline = deadline
        if holder is not lease:
            self._holdings.hand_over(table, key, own, lease)
            if own.flags & _USE_TTL:
                lease.uses_ttl = True

    def _withdraw(self, lease: Lease, table: EidTable, key: int) -> None:
        own = part_of(table.entries.get(key), lease)
        if own is None or (own.lease.is_live and not lease.is_live):
            return
        self.counters["withdrawn"] += 1
        self._end(table, key, own, End.WITHDRAWN, lease)

    def _refuse(self, lease: Lease, span: RecordSpan, refusal: Refusal, now: float) -> Verdict:
        """Answer a refusal, and take out what the session itself had registered there: its ETR
        counts on nothing.
        """
        self.rejections.note(refusal, span, lease.xtr.ids, lease.transport, lease.source, now)
        _start, _ttl, instance_id, afi, _length, key, *_ = span
        own = part_of(self.database.exact(instance_id, afi, key), lease)
        if own is not None and lease.is_live:
            table = self.database.table(instance_id, afi)
            self._end(table, key, own, End.REFUSED, lease)
        return refusal.verdict

    def _tell(self, change: Change) -> None:
        """Count what a change has added or taken, and let everybody hear of it."""
        self.count += len(parts_of(change.after)) - len(parts_of(change.before))
        if self._on_changes is not None:
            self._on_changes([change])

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
        path: UdpPath | None = None,
    ) -> Verdict:
        """Register or withdraw one record as soft state, which lasts 180 s or the record TTL where
        T is set.

        ``source`` is address and port, for people.
        """
        verdict = judge(self._sites, site, data, span)
        if verdict is not ACCEPTED:
            self.counters[f"refused over UDP: {verdict.name}"] += 1
            why = not_enterable(self._sites, site, data, span, verdict)
            self.rejections.note(why, span, xtr.ids, "UDP", source, now)
            return verdict
        lease = self._over_udp.get(xtr)
        if lease is None:
            lease = Lease(xtr, "UDP", source, is_live=False)
        lease.source = source
        lease.path = path
        lease.key = path.key if path is not None else None
        deadline = now + self._soft_state.lasts(word, span[1])
        refused = self._enter(lease, data, span, word, now, deadline)
        if lease.held:
            self._over_udp[xtr] = lease
        if refused is not None:
            self.rejections.note(refused, span, xtr.ids, "UDP", source, now)
            return refused.verdict
        self.accepted += 1
        return ACCEPTED

    def registered_record(self, instance_id: int, afi: int, key: int) -> bytes | None:
        """Return what everybody is told of an EID-prefix, merged where it is; None when nobody has
        registered it.
        """
        registration = self.database.exact(instance_id, afi, key)
        return registration.record if registration is not None else None

    # When a session ends

    def lose(self, lease: Lease, now: float) -> None:
        """Start the clock of everything that a session registered: the session is lost."""
        self._likenesses.pop(lease, None)
        self._soft_state.lose(lease, now)

    def renew(self, lease: Lease, now: float) -> Lease:
        """Demand that a live session confirms what it registered, within the time that a lost one
        has.

        Returns the lease that the session goes on with.
        """
        successor = Lease(lease.xtr, lease.transport, lease.source, is_live=True)
        successor.key = lease.key
        self.lose(lease, now)
        return successor

    def next_expiry(self) -> float | None:
        """When :meth:`expire` may have something to do."""
        return self._soft_state.next_due()

    def expire(self, now: float) -> bool:
        """End what nobody confirmed in time; tell whether there is more to end at once."""
        return self._soft_state.end(now, self._expire_part)

    def _expire_part(self, part: Registration) -> int:
        record = part.record
        _start, _ttl, instance_id, afi, _, key, _, _ = walk_records(record, 0, len(record), 1)[0]
        table = self.database.table(instance_id, afi)
        work = merging_work(table.entries[key])
        self.counters["expired"] += 1
        self._end(table, key, part, End.EXPIRED)
        return work

    # When the configuration changes

    def reconfigure(self, sites: Sites) -> None:
        """Decide by new sites from now on. What is registered already is for :meth:`reexamine` to
        judge.
        """
        self._sites = sites

    def reexamine(self, batch: int = 1000) -> Iterator[list[Withdrawal]]:
        """Take out every registration that the sites in force would refuse; yield after each
        ``batch`` looked at. The database may change between batches.
        """
        for table in list(self.database.tables.values()):
            withdrawals: list[Withdrawal] = []
            looked = 0
            for key in list(table.entries):
                looked += merging_work(table.entries.get(key))
                for part, reason in no_longer_allowed(self._sites, table, key):
                    self.counters["withdrawn by configuration"] += 1
                    self._end(table, key, part, End.DECONFIGURED)
                    withdrawals.append(Withdrawal(part.lease, part.record, reason))
                if looked >= batch:
                    yield withdrawals
                    withdrawals, looked = [], 0
            if looked:
                yield withdrawals

    def _end(
        self, table: EidTable, key: int, part: Registration, why: End, by: Lease | None = None
    ) -> None:
        self._tell(self._holdings.remove(table, key, part, why, by))
