"""What subscribing Map-Requests cost before their Map-Notify-Ack has proved them (RFC 9437 §5): the
Map-Notify is signed for whoever knows an xTR-ID.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from lispmsrt.control.questions import Question
from lispmsrt.control.subscription_admission import can_be_looked_up, may_follow
from lispmsrt.control.subscription_candidates import MAX_EIDS
from lispmsrt.control.subscription_table import Subscriber, SubscriptionTable
from lispmsrt.control.unproven import Unproven, UnprovenLimits, network
from lispmsrt.mapping.sites import eid_key
from lispmsrt.wire.addresses import EidPrefix

__all__ = ["LIMITS", "Payer", "SubscriptionProofs"]

LIMITS = UnprovenLimits(
    rate=100.0,
    burst=400.0,
    rate_of_strangers=1000.0,
    burst_of_strangers=5000.0,
    rate_of_xtr=100.0,
    burst_of_xtr=1000.0,
    rate_of_xtrs=1000.0,
    burst_of_xtrs=5000.0,
)
"""Map-Notifies a second that are signed and not acknowledged, and how many at once. One xTR may
renew all its subscriptions at once; around each signature is 0.1 ms of other work.
"""

Payer = tuple[bytes, Subscriber | None]
"""From where; and the xTR whose nonce it follows, if it does."""


class SubscriptionProofs:
    """Have Map-Requests pay in advance, and give it back for what is acknowledged."""

    def __init__(self, table: SubscriptionTable, counters: Counter[str]) -> None:
        self._table = table
        self._counters = counters
        self._unproven = Unproven(LIMITS)

    def payer(self, question: Question, who: Subscriber, asked: Sequence[EidPrefix]) -> Payer:
        """Return who pays. The nonce of a subscription that is there is known to its xTR only."""
        follows = any(self._follows(eid, who, question.nonce) for eid in asked[:MAX_EIDS])
        return network(question.source[0]), who if follows else None

    def admits(self, payer: Payer, now: float) -> bool:
        """Whether there is something left to pay with; what is refused is counted."""
        if not self._unproven.is_wary(now):
            return True
        excess = self._unproven.excess(*payer, now)
        if excess is not None:
            self._counters[f"subscriptions refused: {excess.value}"] += 1
        return excess is None

    def pay(self, payer: Payer, now: float) -> None:
        """Take note that something is signed."""
        self._unproven.failed(*payer, 1, now)

    def proved(self, payer: Payer) -> None:
        """Take note that it was acknowledged."""
        self._unproven.proved(*payer, 1)

    def _follows(self, eid: EidPrefix, who: Subscriber, nonce: int) -> bool:
        if not can_be_looked_up(eid):
            return False
        instance_id, afi, _length, key = eid_key(eid)
        subscription = self._table.find(instance_id, afi, key, who)
        return subscription is not None and may_follow(subscription, nonce)
