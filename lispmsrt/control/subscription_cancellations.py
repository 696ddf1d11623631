"""Subscriptions that their xTR cancels (RFC 9437 §5): a Map-Request with a single ITR-RLOC of AFI
0, answered to where it came from.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from lispmsrt.control.publications import Publications, map_notify
from lispmsrt.control.published_records import PublishedRecords
from lispmsrt.control.questions import Question
from lispmsrt.control.retransmission import Retransmissions
from lispmsrt.control.subscription_admission import can_be_looked_up, may_follow
from lispmsrt.control.subscription_candidates import MAX_EIDS
from lispmsrt.control.subscription_proofs import SubscriptionProofs
from lispmsrt.control.subscription_table import (
    Subscriber,
    SubscriptionTable,
    is_newer,
)
from lispmsrt.control.unicast import is_loopback, is_unicast
from lispmsrt.mapping.database import Endpoint
from lispmsrt.mapping.sites import eid_key
from lispmsrt.wire.addresses import EidPrefix
from lispmsrt.wire.authentication import Key

__all__ = ["Cancellations"]

MAX_OUTPUT = 256
"""Answers to who cancels what is not there that wait to be sent."""


class Cancellations:
    """Remove subscriptions, and say so."""

    def __init__(
        self,
        table: SubscriptionTable,
        records: PublishedRecords,
        publications: Publications,
        retransmissions: Retransmissions,
        use_nonce: Callable[[str, int], None],
        proofs: SubscriptionProofs,
        counters: Counter[str],
    ) -> None:
        """``use_nonce`` is called with the site and nonce of each that is cancelled."""
        self._table = table
        self._records = records
        self._publications = publications
        self._retransmissions = retransmissions
        self._use_nonce = use_nonce
        self._proofs = proofs
        self._counters = counters
        self._output: list[tuple[bytes, Endpoint]] = []

    def __bool__(self) -> bool:
        return bool(self._output)

    def take(self) -> list[tuple[bytes, Endpoint]]:
        """Return what is to be sent once, and forget it."""
        output, self._output = self._output, []
        return output

    def cancel(
        self,
        question: Question,
        who: Subscriber,
        key: Key,
        asked: Sequence[EidPrefix],
        now: float,
    ) -> None:
        """Remove what the xTR has subscribed to; silence where the nonce is none to follow.

        Queues output.
        """
        source = _source_of(question)
        endpoints = {source: None} if source is not None else {}
        cancelled: list[EidPrefix] = []
        is_news = False
        for eid in filter(can_be_looked_up, asked[:MAX_EIDS]):
            was_at = self._remove(eid, who, question.nonce)
            if was_at is not None:
                cancelled.append(eid)
                endpoints.update(dict.fromkeys(was_at))
                is_news = is_news or bool(was_at)
        if not cancelled or not endpoints:
            return
        if not is_news:
            # Anybody may say so in the name of an xTR.
            payer = self._proofs.payer(question, who, ())
            if not self._proofs.admits(payer, now):
                return
            self._proofs.pay(payer, now)
        # RFC 9301 §5.7 has it repeated, where it is.
        room = question.octets // len(cancelled)
        rlocs = [address for address, _port in endpoints]
        records = [self._records.told(eid, rlocs, room).record for eid in cancelled]
        data = map_notify(question.nonce, records, key)
        if is_news:
            self._use_nonce(who.site, question.nonce)
            about = ("cancelled", who, question.nonce)
            self._retransmissions.start(about, question.nonce, data, tuple(endpoints), key, now)
        elif len(self._output) < MAX_OUTPUT:
            # It was cancelled before, and the xTR has not heard; or nothing was ever there.
            self._output.append((data, next(iter(endpoints))))

    def _remove(self, eid: EidPrefix, who: Subscriber, nonce: int) -> tuple[Endpoint, ...] | None:
        """Return where the subscriber was told; nothing where none was, None for a replay."""
        instance_id, afi, _length, key = eid_key(eid)
        subscription = self._table.find(instance_id, afi, key, who)
        if subscription is None:
            self._counters["subscriptions cancelled in vain"] += 1
            return ()
        if not may_follow(subscription, nonce):
            self._counters["subscriptions refused: replay"] += 1
            return None
        self._counters["subscriptions cancelled"] += 1
        if is_newer(nonce, subscription.nonce):
            subscription.nonce = nonce
        self._publications.end(subscription)
        return subscription.endpoints


def _source_of(question: Question) -> Endpoint | None:
    """Return the source RLOC of a Map-Request, inside the ECM where there is one."""
    address, port = question.source
    loopback = is_loopback(address)
    if question.encapsulated is not None:
        address = question.encapsulated.source.packed
        port = question.encapsulated.source_port
    return (address, port) if port and is_unicast(address, loopback=loopback) else None
