"""Which Map-Notify a Map-Notify-Ack answers (RFC 9301 §5.7), found out at a bounded price."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

from lispmsrt.control.unproven import Unproven, hash_work, network
from lispmsrt.mapping.database import Endpoint
from lispmsrt.wire.authentication import AUTHENTICATION_OFFSET, Key, Purpose
from lispmsrt.wire.map_register import MapRegisterSpan

__all__ = ["Acknowledgements", "Notified"]


class Notified(Protocol):
    """A Map-Notify that waits for its Map-Notify-Ack."""

    datagram: bytes
    endpoints: Sequence[Endpoint]
    key: Key


N = TypeVar("N", bound=Notified)


class Acknowledgements:
    """Compare Map-Notify-Acks with what waits for them."""

    def __init__(self, counters: Counter[str], unproven: Unproven) -> None:
        self._counters = counters
        self._unproven = unproven

    def answered(
        self,
        data: bytes,
        span: MapRegisterSpan,
        candidates: Sequence[N],
        source: Endpoint,
        now: float,
    ) -> N | None:
        """Return the candidate that an authentic Map-Notify-Ack answers; all have its nonce."""
        _word, _nonce, key_id, algorithm_id, length, _records, end = span
        # Who was asked, at this address, has a purse of its own.
        asked = source[0] if _were_sent_to(candidates, source[0]) else None
        excess = self._unproven.excess(network(source[0]), asked, now)
        if excess is not None:
            self._counters[f"Map-Notify-Acks dropped: {excess.value}"] += 1
            return None
        is_authentic, hashes = False, 0
        for key in dict.fromkeys(one.key for one in candidates):
            if (key_id, algorithm_id) != (key.key_id, key.algorithm_id):
                continue
            # The MAC may end with the records, or with the message: both are tried.
            hashes += 2 if end != len(data) else 1
            if key.verify(data, 0, end, len(data), length, Purpose.MAP_NOTIFY_ACK) is None:
                continue
            one = _with_records(candidates, key, data[AUTHENTICATION_OFFSET + length : end])
            if one is not None:
                return one
            is_authentic = True
            break
        if is_authentic:
            self._counters["Map-Notify-Acks of something else"] += 1
        else:
            self._counters["Map-Notify-Acks with authentication failures"] += 1
        self._unproven.failed(network(source[0]), asked, hash_work(hashes, len(data)), now)
        return None


def _were_sent_to(candidates: Iterable[N], address: bytes) -> bool:
    return any(to == address for one in candidates for to, _port in one.endpoints)


def _with_records(candidates: Iterable[N], key: Key, records: bytes) -> N | None:
    """Return what has these very records, as a Map-Notify-Ack should have them (RFC 9301 §5.7), or
    anything for one that has none.

    The nonce is not enough: those of subscriptions come from strangers, who may have caught the
    Map-Notify-Ack of another one.
    """
    mine = (one for one in candidates if one.key is key)
    return next((one for one in mine if records in one.datagram), None)
