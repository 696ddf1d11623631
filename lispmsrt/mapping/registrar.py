"""The one way into the mapping database: policy first, then the database, then who must hear of
the change.

Registrations come from sessions and from UDP; both end in the same few lines. Times are monotonic
seconds. RFC 9301 §8.2; draft-kouvelas-lisp-map-server-reliable-transport-07 §6.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from lispmsrt.mapping.admittance import admitted
from lispmsrt.mapping.database import Database, EidTable, Lease, Registration, UdpPath, Xtr
from lispmsrt.mapping.holdings import Holdings, note_entered
from lispmsrt.mapping.kept_flags import kept_flags
from lispmsrt.mapping.likeness import Likeness, Likenesses
from lispmsrt.mapping.merging import merging_work, part_of, parts_of
from lispmsrt.mapping.new_mappings import Stretch
from lispmsrt.mapping.over_udp import over_udp
from lispmsrt.mapping.policy import identify, judge
from lispmsrt.mapping.reexamination import reexamined
from lispmsrt.mapping.refusals import Refusal, another_xtr, not_enterable, unidentified
from lispmsrt.mapping.rejections import Rejections
from lispmsrt.mapping.runs import Run, take_run
from lispmsrt.mapping.sites import Site, Sites
from lispmsrt.mapping.soft_state import SoftState
from lispmsrt.mapping.verdicts import Change, End, Identity, Verdict, Withdrawal
from lispmsrt.wire.map_register import MapRegisterSpan, RegisterFlag
from lispmsrt.wire.record_walk import RecordSpan, walk_records

if TYPE_CHECKING:
    from lispmsrt.mapping._over_udp import OverUdp

__all__ = ["MAX_REGISTRATIONS", "REGISTRATION_TIMEOUT", "Registrar"]

REGISTRATION_TIMEOUT = 180.0
"""Seconds that a registration lasts without its ETR being heard (RFC 9301 §8.2; after a lost
session likewise).
"""

MAX_REGISTRATIONS = 4_000_000
"""What one Map-Server keeps by default: about 1.2 GB, so that no site can exhaust the memory of
all.
"""

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
        recall: Callable[[EidTable, int], None] = lambda table, key: None,
    ) -> None:
        """``recall`` brings back an EID-prefix that was registered before the process began, if
        that was not done yet: nobody may withdraw what comes back later.
        """
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
        self._recall = recall
        self._over_udp: dict[Xtr, Lease] = {}
        self._soft_state = SoftState(timeout)
        self._holdings = Holdings(self._over_udp, self._soft_state.forget)
        self.leases = self._holdings.leases
        "all that hold something: of live sessions, of lost ones, of xTRs over UDP"
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

    def register_run(self, run: Run) -> tuple[int, bytes]:
        """Register as many Registrations as are like earlier ones; return how many, and the ACKs.

        The first that differs in any way, and whatever is wrong, is left to :meth:`register`.
        """
        likenesses = self._likenesses.get(run.lease)
        if likenesses is None:
            return 0, b""
        number, acks, stretches = take_run(likenesses, self._sites, run, self.room)
        self.accepted += number
        if stretches:
            self.leases[run.lease] = None
            self.entered(stretches)
        return number, acks

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
        table = self.database.table(*register[5][0][2:4])
        like = Likeness.of(data, start, end, register, self._sites, identity, table)
        if like is not None:
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
        flags = kept_flags(word)
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
        self._recall(table, key)
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

    # From before the process began

    def restore_run(self, lease: Lease, stretches: Sequence[Stretch]) -> None:
        """Take note of registrations of a lease that are not new, where there were none; they stand
        among the entries already, and the lease holds them.
        """
        self.leases[lease] = None
        self.entered(stretches)

    def restore(self, table: EidTable, part: Registration, key: int, now: float) -> bool:
        """Enter a registration that is not new; tell whether there is room, and it can be merged
        with what is there.
        """
        current = table.entries.get(key)
        after = admitted(current, part, count=self.count, limit=self._limit)
        if isinstance(after, Refusal):
            return False
        if part.deadline is not None:
            self._soft_state.add(part, part.deadline, now)
        self._tell(self._holdings.put(table, key.bit_length() - 1, key, part, after))
        return True

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
        if lease.path != path:
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

    @property
    def room(self) -> int:
        """How many more registrations there may be."""
        return self._limit - self.count

    def lease_over_udp(self, xtr: Xtr) -> Lease | None:
        """Return what the xTR holds over UDP, None where that is nothing."""
        return self._over_udp.get(xtr)

    def entries_over_udp(self) -> OverUdp | None:
        """Return what enters runs of records that are like earlier ones; None where nothing is
        compiled.
        """
        return over_udp(self, self._soft_state)

    def entered(self, stretches: Sequence[Stretch]) -> None:
        """Take note of new registrations of one lease, which stand among the entries already."""
        new = note_entered(stretches)
        self.count += len(new)
        if self._on_changes is not None:
            self._on_changes(new)

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
        return reexamined(self.database, lambda: self._sites, self._deconfigure, batch)

    def _deconfigure(self, table: EidTable, key: int, part: Registration) -> None:
        self.counters["withdrawn by configuration"] += 1
        self._end(table, key, part, End.DECONFIGURED)

    def _end(
        self, table: EidTable, key: int, part: Registration, why: End, by: Lease | None = None
    ) -> None:
        self._tell(self._holdings.remove(table, key, part, why, by))
