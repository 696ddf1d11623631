"""Subscribing Map-Requests (RFC 9437 §5): what they want is proposed to the xTR, by Map-Notifies
that are small and few, and confirmed by its Map-Notify-Ack.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count

from lispmsrt.control.publications import Publications, map_notify, mapping_keys
from lispmsrt.control.published_records import PublishedRecords, Told
from lispmsrt.control.questions import Question
from lispmsrt.control.retransmission import Retransmissions
from lispmsrt.control.subscription_admission import Admission, can_be_looked_up
from lispmsrt.control.subscription_candidates import (
    CONFIRMATION_TIMEOUT,
    MAX_EIDS,
    Candidate,
    Candidates,
    Wanted,
    endpoints_of,
    room_for_records,
)
from lispmsrt.control.subscription_proofs import SubscriptionProofs
from lispmsrt.control.subscription_table import (
    SecurityAssociation,
    Subscriber,
    SubscriptionTable,
    is_newer,
)
from lispmsrt.mapping.database import Endpoint
from lispmsrt.mapping.sites import eid_key
from lispmsrt.wire.addresses import EidPrefix
from lispmsrt.wire.authentication import Key

__all__ = ["Proposals", "asked_of", "rlocs_of"]


class Proposals:
    """Propose subscriptions, and hear what comes of it."""

    def __init__(
        self,
        table: SubscriptionTable,
        records: PublishedRecords,
        publications: Publications,
        retransmissions: Retransmissions,
        admission: Admission,
        candidates: Candidates,
        proofs: SubscriptionProofs,
        *,
        can_reach: Callable[[int], bool],
        confirmed: Callable[[Candidate], None],
        counters: Counter[str],
    ) -> None:
        self._table = table
        self._records = records
        self._publications = publications
        self._retransmissions = retransmissions
        self._admission = admission
        self._candidates = candidates
        self._proofs = proofs
        self._can_reach = can_reach
        self._confirmed = confirmed
        self._counters = counters
        self._numbers = count(1)

    def take(
        self,
        question: Question,
        who: Subscriber,
        association: SecurityAssociation,
        key: Key,
        now: float,
    ) -> bool:
        """Take a subscribing Map-Request; tell whether every record of it is taken care of. Queues
        output.
        """
        request, nonce = question.request, question.nonce
        asked = asked_of(question)
        is_whole = all(one.subscribe for one in request.records)
        endpoints = endpoints_of(question, self._can_reach)
        if self._candidates.has(who, nonce, asked, endpoints):
            # Its Map-Notify is on its way, and being repeated.
            self._counters["subscriptions repeated"] += 1
            return is_whole
        payer = self._proofs.payer(question, who, asked)
        if not self._proofs.admits(payer, now):
            return False
        admitted = self._admit(asked, who, nonce, rlocs_of(endpoints))
        is_whole = is_whole and len(admitted) == len(asked)
        wanted = self._want_all(admitted, who, question, endpoints, key, has_reply=not is_whole)
        if not wanted or not self._is_first_under(nonce, who, asked, wanted):
            return False
        source, deadline = question.source[0], now + CONFIRMATION_TIMEOUT
        self._make_room(who, source)
        self._proofs.pay(payer, now)
        candidate = Candidate(
            next(self._numbers),
            who,
            association,
            source,
            nonce,
            asked,
            endpoints,
            wanted,
            deadline,
            proved=partial(self._proofs.proved, payer),
        )
        self._propose(candidate, key, now)
        return is_whole and len(wanted) == len(asked)

    def use_nonce(self, site: str, nonce: int) -> None:
        """Drop what waits under a nonce that something else is sent under, or was confirmed."""
        for other in self._candidates.under(nonce, site):
            self._counters["subscriptions not confirmed: nonce used twice"] += 1
            self._drop(other)

    def drop_overdue(self, now: float) -> None:
        """Drop what has waited long enough."""
        while (oldest := self._candidates.first()) is not None and oldest.deadline <= now:
            self._counters["subscriptions not confirmed"] += 1
            self._drop(oldest)

    def next_timeout(self) -> float | None:
        """When :meth:`drop_overdue` will have something to do, in monotonic seconds."""
        oldest = self._candidates.first()
        return oldest.deadline if oldest is not None else None

    def _admit(
        self, asked: Sequence[EidPrefix], who: Subscriber, nonce: int, rlocs: Sequence[bytes]
    ) -> list[EidPrefix]:
        admitted = []
        for eid in asked[:MAX_EIDS]:
            if self._admission.admits(eid, who, nonce, rlocs):
                admitted.append(eid)
            else:
                self._doubt(eid, who)
        return admitted

    def _want_all(
        self,
        eids: Sequence[EidPrefix],
        who: Subscriber,
        question: Question,
        endpoints: Sequence[Endpoint],
        key: Key,
        *,
        has_reply: bool,
    ) -> tuple[Wanted, ...]:
        """Return what fits the Map-Notifies; a Map-Reply besides takes half of the room."""
        room = room_for_records(question.octets, key, has_reply=has_reply)
        rlocs = rlocs_of(endpoints)
        taken = 0
        wanted: list[Wanted] = []
        for number, eid in enumerate(eids):
            told = self._records.told(eid, rlocs, (room - taken) // (len(eids) - number))
            taken += len(told.record)
            if taken > room:
                self._counters["subscriptions refused: Map-Request too small"] += 1
                if not has_reply:
                    # Now there will be one.
                    return self._want_all(eids, who, question, endpoints, key, has_reply=True)
                break
            wanted.append(self._want(eid, who, question.nonce, told))
        return tuple(wanted)

    def _is_first_under(
        self, nonce: int, who: Subscriber, asked: Sequence[EidPrefix], wanted: Sequence[Wanted]
    ) -> bool:
        """Whether one Map-Notify-Ack can't confirm two things, when others that wait have gone."""
        others = self._candidates.under(nonce, who.site)
        # A renewal's nonce can be foreseen; another Map-Request was there to catch its answer.
        is_renewal = any(one.renews is not None for one in wanted)
        if not is_renewal and any(one.who != who or one.asked != asked for one in others):
            self._counters["subscriptions refused: replay"] += 1
            return False
        self.use_nonce(who.site, nonce)
        return True

    def _make_room(self, who: Subscriber, source: bytes) -> None:
        if (surplus := self._candidates.one_too_many(who, source)) is not None:
            self._counters["subscriptions not confirmed: too many at once"] += 1
            self._drop(surplus)

    def _propose(self, candidate: Candidate, key: Key, now: float) -> None:
        """Ask for an acknowledgement, under the same nonce (RFC 9437 §5). Queues output."""
        self._candidates.add(candidate)
        records = [one.told.record for one in candidate.wanted]
        is_watched = self._retransmissions.start(
            _about(candidate),
            candidate.nonce,
            map_notify(candidate.nonce, records, key),
            candidate.endpoints,
            key,
            now,
            lambda is_acknowledged: self._ended(candidate, is_acknowledged),
        )
        if not is_watched:
            self._candidates.remove(candidate)

    def _ended(self, candidate: Candidate, is_acknowledged: bool) -> None:
        self._candidates.remove(candidate)
        if not is_acknowledged:
            self._counters["subscriptions not confirmed"] += 1
            return
        candidate.proved()
        # The same Map-Notify-Ack, should somebody have caught it, must not confirm another one.
        self.use_nonce(candidate.who.site, candidate.nonce)
        self._confirmed(candidate)

    def _want(self, eid: EidPrefix, who: Subscriber, nonce: int, told: Told) -> Wanted:
        instance_id, afi, length, key = eid_key(eid)
        subscription = self._table.find(instance_id, afi, key, who)
        if subscription is not None:
            # Publications go on under later nonces, and none under this one.
            if is_newer(nonce, subscription.nonce):
                subscription.nonce = nonce
            self._publications.recall(subscription)
        return Wanted(eid, instance_id, afi, length, key, told, subscription)

    def _doubt(self, eid: EidPrefix, who: Subscriber) -> None:
        """Publish to who has subscribed, though nothing has changed: perhaps it was no replay, and
        the xTR has lost its nonces. Then it can't acknowledge, and may subscribe anew in minutes.
        """
        if can_be_looked_up(eid):
            instance_id, afi, _length, key = eid_key(eid)
            subscription = self._table.find(instance_id, afi, key, who)
            if subscription is not None and subscription.sent_nonce is None:
                keys = mapping_keys(subscription) or (subscription.key,)
                self._publications.mark(subscription, keys)

    def _drop(self, candidate: Candidate) -> None:
        self._retransmissions.cancel(_about(candidate))
        self._candidates.remove(candidate)


def asked_of(question: Question) -> tuple[EidPrefix, ...]:
    """Return what a Map-Request wants to subscribe to."""
    return tuple(dict.fromkeys(one.eid for one in question.request.records if one.subscribe))


def rlocs_of(endpoints: Sequence[Endpoint]) -> list[bytes]:
    """Return the addresses of endpoints."""
    return [address for address, _port in endpoints]


def _about(candidate: Candidate) -> tuple[str, int]:
    return "candidate", candidate.number
