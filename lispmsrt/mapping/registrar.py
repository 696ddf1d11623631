"""The one way into the mapping database: policy first, then the database
(:mod:`lispmsrt.mapping.registrations`).

Registrations come from sessions and from UDP; both end in the same few lines. Times are monotonic
seconds. RFC 9301 §8.2; draft-kouvelas-lisp-map-server-reliable-transport-07 §6.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from lispmsrt.mapping.confirming import confirmations
from lispmsrt.mapping.database import EidTable, Lease, Registration, UdpPath, Xtr
from lispmsrt.mapping.likeness import Likeness, Likenesses
from lispmsrt.mapping.merging import part_of
from lispmsrt.mapping.over_udp import over_udp
from lispmsrt.mapping.policy import identify, judge
from lispmsrt.mapping.reexamination import reexamined
from lispmsrt.mapping.refusals import Refusal, another_xtr, not_enterable, unidentified
from lispmsrt.mapping.registrations import Registrations
from lispmsrt.mapping.rejections import Rejections
from lispmsrt.mapping.runs import Run, last_nonce, take_run
from lispmsrt.mapping.sites import Site, Sites
from lispmsrt.mapping.verdicts import Change, End, Identity, Verdict, Withdrawal
from lispmsrt.wire.map_register import MapRegisterSpan
from lispmsrt.wire.record_walk import RecordSpan
from lispmsrt.wire.reliable_transport import encode_registration_acks

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

ACCEPTED = Verdict.ACCEPTED
BAD_LOCATORS = Verdict.LOCATOR_SET_NOT_ALLOWED


class Registrar(Registrations):
    """Decide on registrations, and keep those that are allowed."""

    def __init__(
        self,
        sites: Sites,
        *,
        on_changes: Callable[[Sequence[Change]], None] | None = None,
        timeout: float = REGISTRATION_TIMEOUT,
        limit: int = MAX_REGISTRATIONS,
        rejections: Rejections | None = None,
        recall: Callable[[EidTable, int], None] = lambda table, key: None,
        on_nonce: Callable[[Lease, int], None] | None = None,
    ) -> None:
        """``recall`` brings back an EID-prefix that was registered before the process began, if
        that was not done yet: nobody may withdraw what comes back later. ``on_nonce`` hears of each
        nonce that a session registers with; of those in a run, of the last.
        """
        super().__init__(on_changes=on_changes, timeout=timeout, limit=limit, recall=recall)
        self.rejections = Rejections() if rejections is None else rejections
        self.accepted = 0
        "Registrations, and records of Map-Registers, since the start; withdrawals too"
        self._sites = sites
        self._on_nonce = on_nonce
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
        if self._on_nonce is not None:
            self._on_nonce(lease, register[1])
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
        if not number:
            number, acks = self._confirm_run(likenesses, run)
        self.accepted += number
        if number and self._on_nonce is not None:
            self._on_nonce(run.lease, last_nonce(run, number))
        if stretches:
            self.leases[run.lease] = None
            self.entered(stretches)
        return number, acks

    def _confirm_run(self, likenesses: Likenesses, run: Run) -> tuple[int, bytes]:
        eids: list[bytes] = []
        for table, key, own, eid in confirmations(likenesses, self._sites, run):
            self._confirm(table, key, own, run.lease, run.now, None)
            eids.append(eid)
        return len(eids), encode_registration_acks(run.message_id, eids)

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

    def _refuse(self, lease: Lease, span: RecordSpan, refusal: Refusal, now: float) -> Verdict:
        """Answer a refusal, and take out what the session itself had registered there: its ETR
        counts on nothing.
        """
        self.rejections.note(refusal, span, lease.xtr.ids, lease.transport, lease.source, now)
        _start, _ttl, instance_id, afi, length, key, *_ = span
        if lease.is_live and self._sites.covering(instance_id, afi, length, key) is not None:
            # Nor may it come back later; nobody makes tables by what no site has.
            self._recall(self.database.table(instance_id, afi), key)
        own = part_of(self.database.exact(instance_id, afi, key), lease)
        if own is not None and lease.is_live:
            table = self.database.table(instance_id, afi)
            self._end(table, key, own, End.REFUSED, lease)
        return refusal.verdict

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

    def lease_over_udp(self, xtr: Xtr) -> Lease | None:
        """Return what the xTR holds over UDP, None where that is nothing."""
        return self._over_udp.get(xtr)

    def entries_over_udp(self) -> OverUdp | None:
        """Return what enters runs of records that are like earlier ones; None where nothing is
        compiled.
        """
        return over_udp(self, self._soft_state)

    # When a session ends

    def lose(self, lease: Lease, now: float) -> None:
        """Start the clock of everything that a session registered: the session is lost."""
        self._likenesses.pop(lease, None)
        super().lose(lease, now)

    def renew(self, lease: Lease, now: float) -> Lease:
        """Demand that a live session confirms what it registered, within the time that a lost one
        has.

        Returns the lease that the session goes on with.
        """
        successor = Lease(lease.xtr, lease.transport, lease.source, is_live=True)
        successor.key = lease.key
        self.lose(lease, now)
        return successor

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
