"""Publications: Map-Notifies that tell subscribers of changed mappings (RFC 9437 §6).

A subscription keeps names of changed EID-prefixes, not messages: what is sent is the mapping as it
is by then, so the newest wins. Who may subscribe is decided in
:mod:`lispmsrt.control.subscriptions`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from lispmsrt.control.publication_turns import Turns
from lispmsrt.control.publication_walks import Walks
from lispmsrt.control.published_records import PublishedRecords, is_proxied, longest_match
from lispmsrt.control.retransmission import INTERVALS, Retransmissions
from lispmsrt.control.subscription_nonces import UsedNonces
from lispmsrt.control.subscription_table import NONCES, Subscription, SubscriptionTable
from lispmsrt.mapping.verdicts import Change
from lispmsrt.wire.authentication import AUTHENTICATION_OFFSET, Key
from lispmsrt.wire.map_register import MAX_RECORDS, write_map_notify

__all__ = ["PublicationPace", "Publications", "map_notify", "mapping_keys"]

MAX_OCTETS_IPV4 = 548
"""Octets of a Map-Notify of several records in UDP in an IPv4 packet of 576 (RFC 9301 §5). One
record that is larger travels alone.
"""

MAX_OCTETS_IPV6 = 1232
"""The same for IPv6 and a packet of 1280."""

MAX_IN_FLIGHT = 8
"""Publications to one xTR that wait for their Map-Notify-Ack at a time: one that is away costs no
more than their retransmissions, however many subscriptions it has.
"""

MAX_PENDING = 4096
"""EID-prefixes with news in one subscription; an xTR that has missed more is better off asking
anew.
"""

MAX_PENDING_IN_ALL = 1_000_000
"""EID-prefixes with news in all subscriptions: some 100 MB."""

MAX_UNANSWERED = 28
"""Map-Notifies in a row without Map-Notify-Ack after which a subscription is removed: four
publications given up, five minutes of sending to an xTR that is gone.
"""

_PAUSE = 3.0
"""Seconds until the next try where the retransmissions have no room."""


@dataclass(frozen=True, slots=True)
class PublicationPace:
    """How fast and how much is published."""

    interval: float = 1.0
    "seconds between two publications to one xTR (RFC 9437 §6: at most one a second)"
    max_pending: int = MAX_PENDING
    max_pending_in_all: int = MAX_PENDING_IN_ALL
    max_in_flight: int = MAX_IN_FLIGHT
    max_unanswered: int = MAX_UNANSWERED


class Publications:
    """Mark what changed, per subscription; send it when its turn comes."""

    def __init__(
        self,
        table: SubscriptionTable,
        records: PublishedRecords,
        retransmissions: Retransmissions,
        nonces: UsedNonces,
        use_nonce: Callable[[str, int], None],
        *,
        pace: PublicationPace,
        counters: Counter[str],
        wake: Callable[[], None],
    ) -> None:
        """``use_nonce`` is called with the site and nonce of each publication; ``wake`` is called
        when there is something to send where there was nothing.
        """
        self._table = table
        self._records = records
        self._retransmissions = retransmissions
        self._nonces = nonces
        self._use_nonce = use_nonce
        self._pace = pace
        self._counters = counters
        self._turns = Turns(pace.interval, pace.max_in_flight, wake)
        self._walks = Walks(table, wake)
        self._pending = 0
        "in all subscriptions, without what is in flight"

    def changed(self, changes: Sequence[Change]) -> None:
        """Mark changes in every subscription that they concern."""
        if len(self._table):
            for change in changes:
                if not _is_news(change):
                    continue
                eids, length, key, before, after, *_ = change
                # RFC 9437 §6: who subscribed to a less-specific hears of a more-specific.
                for subscription in self._table.covering(eids, length, key):
                    falls_back = after is None and subscription.key == key
                    match = mapping_keys(subscription) if falls_back else ()
                    self.mark(subscription, (key, *match))
                # Who subscribed to a more-specific was told of what covers it.
                for inner in self._walks.begin(eids, length, key, is_new=before is None):
                    self._mark_inside(inner, key, is_new=before is None)

    def mark(self, subscription: Subscription, keys: Iterable[int]) -> None:
        """Note that the mappings of these EID-prefixes are news. May end the subscription."""
        pending, pace = subscription.pending, self._pace
        for key in keys:
            if subscription.is_over:
                return
            if key in pending:
                # Newest last, and only once.
                del pending[key]
            else:
                if len(pending) >= pace.max_pending or self._pending >= pace.max_pending_in_all:
                    self._counters["subscriptions ended: too much news"] += 1
                    self.end(subscription)
                    return
                self._pending += 1
            pending[key] = None
        self._make_ready(subscription)

    def _mark_inside(self, subscription: Subscription, key: int, *, is_new: bool) -> None:
        """Note that the mapping of an EID-prefix that covers the subscribed one is news."""
        match = mapping_keys(subscription)
        if key not in subscription.table.entries:
            self.mark(subscription, (key, *match))
        elif match == (key,):
            # What was negative so far would hide it.
            self.mark(subscription, (subscription.key, key) if is_new else (key,))

    def end(self, subscription: Subscription) -> None:
        """Remove the subscription."""
        if subscription.is_over:
            return
        subscription.is_over = True
        self._pending -= len(subscription.pending)
        subscription.pending.clear()
        if subscription.sent_nonce is not None:
            self._retransmissions.cancel(subscription)
            self._land(subscription)
        self._table.remove(subscription)
        self._nonces.end(subscription)
        is_last = not self._table.count_of_xtr(subscription.who)
        self._turns.forget(subscription, is_last=is_last)

    def recall(self, subscription: Subscription) -> None:
        """Stop sending what is in flight; it goes again, under another nonce."""
        if subscription.sent_nonce is not None:
            self._retransmissions.cancel(subscription)
            self._put_back(subscription, self._land(subscription))
        self._make_ready(subscription)

    def send_due(self, now: float) -> None:
        """Start the publications whose turn has come, as many as can be sent at once."""
        for inner, key, is_new in self._walks.take(now):
            self._mark_inside(inner, key, is_new=is_new)
        for _ in range(self._retransmissions.room(now)):
            subscription = self._turns.take(now)
            if subscription is None:
                break
            self._publish(subscription, now)

    def next_due(self) -> float | None:
        """When :meth:`send_due` will have something to do, in monotonic seconds."""
        due, walk = self._turns.next_due(), self._walks.next_due()
        if due is not None:
            due = max(due, self._retransmissions.next_room())
        return min((at for at in (due, walk) if at is not None), default=None)

    def _publish(self, subscription: Subscription, now: float) -> None:
        key = subscription.association.key()
        if key is None:
            self._counters["subscriptions ended: no key any more"] += 1
            self.end(subscription)
            return
        keys, records = self._fill(subscription, key.sent_length)
        for each in keys:
            del subscription.pending[each]
        self._pending -= len(keys)
        nonce = subscription.nonce = (subscription.nonce + 1) % NONCES
        self._use_nonce(subscription.who.site, nonce)
        subscription.in_flight = keys
        subscription.sent_nonce = nonce
        self._counters["publications"] += 1
        is_watched = self._retransmissions.start(
            subscription,
            nonce,
            map_notify(nonce, records, key),
            subscription.endpoints,
            key,
            now,
            lambda is_acknowledged: self._ended(subscription, is_acknowledged),
            is_current=lambda: self._is_current(subscription),
        )
        self._turns.start(subscription, now, 0.0 if is_watched else _PAUSE)
        if not is_watched:
            self._put_back(subscription, self._land(subscription))
            self._make_ready(subscription)

    def _fill(
        self, subscription: Subscription, authentication_octets: int
    ) -> tuple[tuple[int, ...], list[bytes]]:
        """Return keys and records of the oldest news, as much as goes into one Map-Notify."""
        rlocs = [address for address, _port in subscription.endpoints]
        room = MAX_OCTETS_IPV4 if any(len(rloc) == 4 for rloc in rlocs) else MAX_OCTETS_IPV6
        room -= AUTHENTICATION_OFFSET + authentication_octets
        keys: list[int] = []
        records: list[bytes] = []
        for key in subscription.pending:
            record = self._records.record(subscription.table, key, rlocs)
            if records and (len(record) > room or len(records) == MAX_RECORDS):
                break
            room -= len(record)
            keys.append(key)
            records.append(record)
        return tuple(keys), records

    def _ended(self, subscription: Subscription, is_acknowledged: bool) -> None:
        nonce = subscription.sent_nonce
        assert nonce is not None
        keys = self._land(subscription)
        if is_acknowledged:
            subscription.acknowledged = nonce
            subscription.unanswered = 0
        else:
            # RFC 9437 §6: the Map-Server may stop trying. The next news brings these along.
            self._counters["publications given up"] += 1
            has_news = bool(subscription.pending)
            self._put_back(subscription, keys)
            self._count_unanswered(subscription, len(INTERVALS))
            if not has_news:
                return
        self._make_ready(subscription)

    def _is_current(self, subscription: Subscription) -> bool:
        """Whether what is in flight is still true: a retransmission shall not say what is not."""
        if subscription.pending.keys().isdisjoint(subscription.in_flight):
            return True
        self._counters["publications replaced"] += 1
        self._put_back(subscription, self._land(subscription))
        self._count_unanswered(subscription, 1)
        self._make_ready(subscription)
        return False

    def _count_unanswered(self, subscription: Subscription, map_notifies: int) -> None:
        subscription.unanswered += map_notifies
        if subscription.unanswered >= self._pace.max_unanswered:
            self._counters["subscriptions ended: no Map-Notify-Ack"] += 1
            self.end(subscription)

    def _land(self, subscription: Subscription) -> tuple[int, ...]:
        """Return what was in flight: it is no more."""
        keys, subscription.in_flight = subscription.in_flight, ()
        subscription.sent_nonce = None
        self._turns.land(subscription)
        return keys

    def _put_back(self, subscription: Subscription, keys: Iterable[int]) -> None:
        """Keep the keys as the oldest news."""
        newer = tuple(subscription.pending)
        subscription.pending.clear()
        subscription.pending.update(dict.fromkeys((*keys, *newer)))
        self._pending += len(subscription.pending) - len(newer)

    def _make_ready(self, subscription: Subscription) -> None:
        """Let it have its turn where it has news and nothing in flight."""
        if subscription.pending and subscription.sent_nonce is None:
            self._turns.queue(subscription)


def map_notify(nonce: int, records: Sequence[bytes], key: Key) -> bytes:
    """Return a signed Map-Notify. RFC 9437 has no xTR-ID in it."""
    return write_map_notify(
        nonce=nonce,
        records=records,
        ids=b"",
        reliable_transport=False,
        key=key,
        length=key.sent_length,
        coverage=key.default_coverage,
    )


def _is_news(change: Change) -> bool:
    _eids, _length, _key, before, after, *_ = change
    return (
        before is None
        or after is None
        or before.record != after.record
        or is_proxied(before) != is_proxied(after)
    )


def mapping_keys(subscription: Subscription) -> tuple[int, ...]:
    """Return the key of the mapping of the subscribed EID-prefix, if there is one."""
    match = longest_match(subscription.table, subscription.length, subscription.key)
    return (match[0],) if match is not None else ()
