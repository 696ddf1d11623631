"""Subscriptions: Map-Requests by which xTRs ask to be told of changes (RFC 9437 §5).

A Map-Request proves nothing, so a subscription counts when its Map-Notify has been acknowledged
with the right key; until then it is a candidate, and its ITR-RLOCs get a few small Map-Notifies at
most. What subscribers are told, :mod:`lispmsrt.control.publications` does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from lispmsrt.control.publications import Publications
from lispmsrt.control.published_records import PublishedRecords, Told, keys_inside
from lispmsrt.control.questions import Question
from lispmsrt.control.retransmission import Retransmissions
from lispmsrt.control.subscription_admission import (
    Admission,
    SubscriptionLimits,
)
from lispmsrt.control.subscription_cancellations import Cancellations
from lispmsrt.control.subscription_candidates import (
    Candidate,
    Candidates,
    Wanted,
)
from lispmsrt.control.subscription_nonces import UsedNonces
from lispmsrt.control.subscription_proofs import SubscriptionProofs
from lispmsrt.control.subscription_proposals import Proposals, asked_of, rlocs_of
from lispmsrt.control.subscription_table import (
    SecurityAssociation,
    Subscriber,
    Subscription,
    SubscriptionTable,
    is_newer,
)
from lispmsrt.mapping.database import Database, Endpoint
from lispmsrt.mapping.lookup import Lookup
from lispmsrt.mapping.sites import Sites
from lispmsrt.mapping.verdicts import Change

__all__ = ["SubscriptionLimits", "Subscriptions"]

MAX_MORE_SPECIFICS = 1024
"""Mappings inside the subscribed EID-prefix that a new subscriber is told unasked. Where there are
more it hears of changes only, and asks for what it needs.
"""


class Subscriptions:
    """Take subscriptions, confirm them, remove them."""

    def __init__(
        self,
        database: Database,
        lookup: Lookup,
        sites: Callable[[], Sites],
        retransmissions: Retransmissions,
        find_association: Callable[[bytes], SecurityAssociation | None],
        *,
        limits: SubscriptionLimits | None = None,
        can_reach: Callable[[int], bool] = lambda afi: True,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        """``find_association`` returns what is shared with the xTR of this xTR-ID and Site-ID (24
        octets), None for who may not subscribe; ``can_reach``: whether anything can be sent to
        addresses of this family (Afi); ``wake`` is called when there is something to send where
        there was nothing.
        """
        self.counters: Counter[str] = Counter()
        self._database = database
        self._retransmissions = retransmissions
        self._find_association = find_association
        self._limits = limits or SubscriptionLimits()
        self._table = SubscriptionTable()
        self._nonces = UsedNonces()
        self._records = PublishedRecords(database, lookup, sites)

        def use_nonce(site: str, nonce: int) -> None:
            self._proposals.use_nonce(site, nonce)

        self._publications = Publications(
            self._table,
            self._records,
            retransmissions,
            self._nonces,
            use_nonce,
            pace=self._limits.pace,
            counters=self.counters,
            wake=wake,
        )
        self._admission = Admission(
            self._table, self._records, self._nonces, self._limits, self.counters
        )
        self._candidates = Candidates(
            self._limits.max_candidates, self._limits.max_candidates_per_xtr
        )
        self._answering: Endpoint | None = None
        proofs = SubscriptionProofs(self._table, self.counters)
        self._cancellations = Cancellations(
            self._table,
            self._records,
            self._publications,
            retransmissions,
            use_nonce,
            proofs,
            self.counters,
        )
        self._proposals = Proposals(
            self._table,
            self._records,
            self._publications,
            retransmissions,
            self._admission,
            self._candidates,
            proofs,
            can_reach=can_reach,
            confirmed=self._confirm,
            counters=self.counters,
        )

    def __len__(self) -> int:
        return len(self._table)

    @property
    def table(self) -> SubscriptionTable:
        """Every confirmed subscription, to be read only."""
        return self._table

    @property
    def candidates(self) -> int:
        """How many subscribing Map-Requests wait for their Map-Notify-Ack."""
        return len(self._candidates)

    def subscribe(self, question: Question, now: float) -> bool:
        """Take a Map-Request with N and I bits; tell whether every record of it is taken care of.

        Where it is not, an ordinary Map-Reply to the whole Map-Request is due. Queues output.
        """
        request = question.request
        if request.xtr_id is None or request.site_id is None:
            return False
        ids = request.xtr_id + request.site_id
        association = self._find_association(ids)
        key = association.key() if association is not None else None
        if association is None or key is None:
            self.counters["subscriptions refused: no key"] += 1
            return False
        who = Subscriber(association.site, ids)
        if question.reply_to is None:
            self._cancellations.cancel(question, who, key, asked_of(question), now)
            return True
        return self._proposals.take(question, who, association, key, now)

    def acknowledge(self, data: bytes, source: Endpoint, now: float) -> bool:
        """Take a Map-Notify-Ack, as :meth:`Retransmissions.acknowledge` does, and learn from which
        address an xTR answers. Raises WireError.
        """
        self._answering = source
        try:
            return self._retransmissions.acknowledge(data, source, now)
        finally:
            self._answering = None

    def changed(self, changes: Sequence[Change]) -> None:
        """Mark changes in every subscription that they concern."""
        self._publications.changed(changes)

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, Endpoint]]:
        """Return what is due now, of all the retransmissions."""
        self._proposals.drop_overdue(now)
        self._publications.send_due(now)
        return self._cancellations.take() + self._retransmissions.datagrams_to_send(now)

    def next_timeout(self) -> float | None:
        """When :meth:`datagrams_to_send` will have something to do, in monotonic seconds."""
        if self._cancellations:
            return float("-inf")
        times = (
            self._publications.next_due(),
            self._retransmissions.next_timeout(),
            self._proposals.next_timeout(),
        )
        return min((at for at in times if at is not None), default=None)

    def _confirm(self, candidate: Candidate) -> None:
        """Make or renew what the xTR has acknowledged."""
        # Where the xTR was heard it may well be heard again.
        endpoints = sorted(candidate.endpoints, key=lambda each: each != self._answering)
        for wanted in candidate.wanted:
            subscription = self._confirmed(candidate, wanted)
            if subscription is None:
                continue
            subscription.request_number = candidate.number
            subscription.unanswered = 0
            subscription.endpoints = tuple(endpoints)
            told = self._records.told(wanted.eid, rlocs_of(endpoints))
            self._publications.mark(subscription, _untold(subscription, wanted, told))

    def _confirmed(self, candidate: Candidate, wanted: Wanted) -> Subscription | None:
        """Return the subscription, made where it is new; None where it does not count."""
        _eid, instance_id, afi, length, key, _told, _renews = wanted
        who, nonce = candidate.who, candidate.nonce
        subscription = self._table.find(instance_id, afi, key, who)
        if subscription is None:
            if not self._admission.has_room(who, instance_id, afi, key):
                self.counters["subscriptions refused: too many"] += 1
                return None
            surplus = self._admission.surplus(who.site, instance_id, afi, key)
            if surplus is not None:
                # The site that has most pays: nobody uses up everyone's.
                self.counters["subscriptions displaced"] += 1
                self._publications.end(surplus)
            table = self._database.table(instance_id, afi)
            subscription = Subscription(table, length, key, who, candidate.association, nonce)
            self._table.add(subscription)
            self._nonces.begin(subscription)
            self.counters["subscriptions"] += 1
            return subscription
        if subscription.request_number > candidate.number:
            return None
        if subscription is wanted.renews:
            # A later publication may have been acknowledged meanwhile.
            if is_newer(nonce, subscription.acknowledged):
                subscription.acknowledged = nonce
        else:
            # The xTR began anew while its first Map-Request waited.
            self._publications.recall(subscription)
            self._nonces.end(subscription)
            subscription.first_nonce = subscription.nonce = subscription.acknowledged = nonce
            self._nonces.begin(subscription)
        self.counters["subscriptions renewed"] += 1
        return subscription


def _untold(subscription: Subscription, wanted: Wanted, told: Told) -> list[int]:
    """Return the keys of what the Map-Notify did not say, or what is ``told`` otherwise by now."""
    keys: list[int] = []
    if told != wanted.told:
        was = subscription.key if wanted.told.key is None else wanted.told.key
        keys += dict.fromkeys((was, was if told.key is None else told.key))
    table, length, key = subscription.table, subscription.length, subscription.key
    return keys + keys_inside(table, length, key, MAX_MORE_SPECIFICS)
