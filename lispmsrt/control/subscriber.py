"""The xTR's side of Publish/Subscribe (RFC 9437 §5, §6): it subscribes with Map-Requests, checks
and acknowledges the Map-Notifies, and hands out what they say.

It keeps no mappings. Nonces live as long as the object: an xTR that forgets them while the
Map-Server does not is refused until the Map-Server gives its subscriptions up.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lispmsrt.control.inquiries import Form, to_map_resolver
from lispmsrt.control.subscriber_interests import Interest, Interests, is_about
from lispmsrt.control.subscription_table import NONCES, is_newer
from lispmsrt.mapping.database import Endpoint
from lispmsrt.mapping.sites import eid_key
from lispmsrt.wire.addresses import NO_ADDRESS, Address, Afi, EidPrefix
from lispmsrt.wire.authentication import Coverage, Key, Purpose
from lispmsrt.wire.errors import WireError
from lispmsrt.wire.map_register import MapRegisterSpan, walk_map_notify, write_map_notify_ack
from lispmsrt.wire.map_reply import decode_map_reply
from lispmsrt.wire.map_request import MapRequest, RequestedEid, encode_map_request
from lispmsrt.wire.messages import ControlType, message_type
from lispmsrt.wire.reader import Reader
from lispmsrt.wire.records import MappingRecord, decode_record

__all__ = ["News", "Subscriber", "SubscriberPace", "What"]


class What(enum.Enum):
    """What a subscriber hears."""

    CONFIRMED = "confirmed"
    """The subscription holds, and this is the mapping. What was known by it before may be out of
    date: the Map-Server may have lost the subscription. What lies inside is published next.
    """
    PUBLISHED = "published"
    "mappings have changed; TTL 0: gone"
    REFUSED = "refused"
    "a Map-Reply came in place of a Map-Notify; it says what the mapping is"
    CANCELLED = "cancelled"
    "the subscription is over"


@dataclass(frozen=True, slots=True)
class News:
    """Something heard about one subscription."""

    what: What
    eid: EidPrefix
    "what was subscribed to"
    records: tuple[MappingRecord, ...]


@dataclass(frozen=True, slots=True)
class SubscriberPace:
    """How often Map-Requests are sent."""

    interval: float = 1.0
    "seconds between tries (RFC 9301 §5.3: at most one a second for an EID-prefix)"
    tries: int = 10
    pause: float = 30.0
    "seconds after so many tries, and after a refusal (RFC 9301 §5.3)"
    renewal: float = 600.0
    "seconds after which a subscription is renewed: a Map-Server may have started again"


class Subscriber:
    """Everything that one xTR subscribes to from one socket."""

    def __init__(
        self,
        ids: bytes,
        key: Key,
        source: Endpoint,
        map_resolver: Endpoint,
        *,
        draw_nonce: Callable[[], int],
        hear: Callable[[News], object],
        itr_rlocs: Sequence[bytes] = (),
        form: Form = Form.ENCAPSULATED,
        pace: SubscriberPace | None = None,
    ) -> None:
        """``ids`` are xTR-ID and Site-ID (24 octets); ``key`` is shared with the Map-Server;
        ``source`` is the socket's address and port; ``itr_rlocs`` (packed) are where Map-Notifies
        are taken, by default the source; ``draw_nonce`` makes nonces that nobody must guess.
        """
        if len(ids) != 24:
            raise ValueError("an xTR-ID of 16 octets goes with a Site-ID of 8")
        self.counters: Counter[str] = Counter()
        self._ids = ids
        self._key = key
        self._source = source
        self._map_resolver = map_resolver
        self._draw_nonce = draw_nonce
        self._hear = hear
        self._itr_rlocs = tuple(map(_address, itr_rlocs or (source[0],)))
        self._form = form
        self._pace = pace or SubscriberPace()
        self._interests = Interests()
        self._output: list[tuple[bytes, Endpoint]] = []

    def subscribe(self, eid: EidPrefix, now: float) -> None:
        """Subscribe, and renew from time to time; ValueError for an EID that can't be looked up.

        Queues output.
        """
        eid_key(eid)
        interest = self._interests.get(eid)
        if interest is None:
            self._interests.begin(eid, now)
        elif interest.is_leaving:
            # Only then is it clear which nonces count.
            interest.comes_back = True

    def unsubscribe(self, eid: EidPrefix, now: float) -> None:
        """Cancel a subscription. Queues output."""
        interest = self._interests.get(eid)
        if interest is None:
            return
        interest.comes_back = False
        if interest.is_leaving:
            return
        if not interest.is_confirmed:
            # Nothing was acknowledged: the Map-Server drops it by itself.
            self._over(interest, (), now)
            return
        interest.is_leaving = True
        self._begin(interest, now)

    def renew(self, now: float, itr_rlocs: Sequence[bytes] = ()) -> None:
        """Renew every subscription, with other ITR-RLOCs where there are any. Queues output."""
        if itr_rlocs:
            self._itr_rlocs = tuple(map(_address, itr_rlocs))
        for interest in self._interests:
            if interest.is_confirmed and not interest.is_leaving:
                self._begin(interest, now)

    def receive_datagram(self, data: bytes, source: Endpoint, now: float) -> None:
        """Take one datagram. Calls ``hear``. Queues output."""
        try:
            kind = message_type(data)
            if kind == ControlType.MAP_NOTIFY:
                self._on_map_notify(data, source, now)
            elif kind == ControlType.MAP_REPLY:
                self._on_map_reply(data, now)
            else:
                self.counters[f"type {kind} not handled"] += 1
        except WireError:
            self.counters["malformed datagrams"] += 1

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, Endpoint]]:
        """Return what is due now. May call ``hear``."""
        for interest in [one for one in self._interests if one.due <= now]:
            self._request(interest, now)
        output, self._output = self._output, []
        return output

    def next_timeout(self) -> float | None:
        """When :meth:`datagrams_to_send` will have something, in monotonic seconds."""
        if self._output:
            return float("-inf")
        return min((interest.due for interest in self._interests), default=None)

    # Map-Requests

    def _begin(self, interest: Interest, now: float) -> None:
        interest.requested = None
        interest.tries = 0
        interest.due = now

    def _request(self, interest: Interest, now: float) -> None:
        """Queues output."""
        if interest.tries >= self._pace.tries:
            if interest.is_leaving and not interest.comes_back:
                self.counters["subscriptions cancelled without an answer"] += 1
                self._over(interest, (), now)
                return
            interest.tries = 0
        if interest.requested is None:
            # RFC 9437 §5: one more than the last nonce; a new subscription begins anywhere.
            last = interest.saved if interest.is_confirmed else self._draw_nonce()
            interest.requested = (last + 1) % NONCES
        interest.tries += 1
        goes_on = interest.comes_back or not interest.is_leaving
        is_last = goes_on and interest.tries == self._pace.tries
        interest.due = now + (self._pace.pause if is_last else self._pace.interval)
        request = MapRequest(
            interest.requested,
            (NO_ADDRESS,) if interest.is_leaving else self._itr_rlocs,
            (RequestedEid(interest.eid, subscribe=True),),
            xtr_id=self._ids[:16],
            site_id=self._ids[16:],
        )
        data = encode_map_request(request)
        if self._form is Form.ENCAPSULATED:
            data = to_map_resolver(data, interest.eid, self._source, self._map_resolver)
        self.counters["Map-Requests out"] += 1
        self._output.append((data, self._map_resolver))

    def _on_map_reply(self, data: bytes, now: float) -> None:
        reply = decode_map_reply(data)
        interest = self._interests.asking(reply.nonce)
        if interest is None:
            self.counters["Map-Replies to no Map-Request"] += 1
            return
        if not interest.is_leaving and interest.is_confirmed:
            # Perhaps only the renewal is refused; what is published goes on.
            interest.due = now + self._pace.pause
            interest.requested = None
            interest.tries = 0
        else:
            self._begin(interest, now + self._pace.pause)
        self.counters["subscriptions refused"] += 1
        self._hear(News(What.REFUSED, interest.eid, reply.records))

    # Map-Notifies

    def _on_map_notify(self, data: bytes, source: Endpoint, now: float) -> None:
        notify = walk_map_notify(data)
        _word, nonce, key_id, algorithm_id, length, spans, end = notify
        key = self._key
        if (key_id, algorithm_id) != (key.key_id, key.algorithm_id):
            self.counters["Map-Notifies with another key"] += 1
            return
        coverage = key.verify(data, 0, end, len(data), length, Purpose.MAP_NOTIFY)
        if coverage is None:
            self.counters["Map-Notifies with authentication failures"] += 1
            return
        records = tuple(decode_record(Reader(data, span[0], span[7])) for span in spans)
        if self._interests.is_repeated(nonce):
            # RFC 9301 §5.7: it comes again until its Map-Notify-Ack arrives.
            self.counters["Map-Notifies repeated"] += 1
        elif (asking := self._interests.asking(nonce)) is not None and is_about(asking, records):
            self._answered(asking, nonce, records, now)
        elif (interest := self._interests.concerned(nonce, records)) is not None:
            interest.saved = nonce
            if interest.requested == nonce:
                # It crossed a Map-Request with the nonce that it has used up.
                interest.requested = None
            self.counters["publications"] += 1
            self._hear(News(What.PUBLISHED, interest.eid, records))
        else:
            # RFC 9437 §6: nonces that are not greater than the saved one are dropped.
            self.counters["Map-Notifies out of date"] += 1
            return
        self._acknowledge(data, notify, coverage, source)

    def _answered(
        self, interest: Interest, nonce: int, records: tuple[MappingRecord, ...], now: float
    ) -> None:
        """Take the answer to a Map-Request: the Map-Notify with its nonce."""
        if interest.is_leaving:
            self._over(interest, records, now, nonce)
            return
        interest.requested = None
        interest.tries = 0
        interest.due = now + self._pace.renewal
        if not interest.is_confirmed or is_newer(nonce, interest.saved):
            interest.saved = nonce
        interest.is_confirmed = True
        self.counters["subscriptions confirmed"] += 1
        self._hear(News(What.CONFIRMED, interest.eid, records))

    def _over(
        self,
        interest: Interest,
        records: tuple[MappingRecord, ...],
        now: float,
        nonce: int | None = None,
    ) -> None:
        self._interests.end(interest, nonce)
        if interest.comes_back:
            self._interests.begin(interest.eid, now)
        self._hear(News(What.CANCELLED, interest.eid, records))

    def _acknowledge(
        self, data: bytes, notify: MapRegisterSpan, coverage: Coverage, source: Endpoint
    ) -> None:
        """Queues output."""
        _word, nonce, _key_id, _algorithm_id, length, spans, end = notify
        ack = write_map_notify_ack(
            nonce=nonce,
            records=[data[span[0] : span[7]] for span in spans],
            ids=data[end:],
            key=self._key,
            length=length,
            coverage=coverage,
        )
        self.counters["Map-Notify-Acks out"] += 1
        self._output.append((ack, source))


def _address(packed: bytes) -> Address:
    return Address(Afi.IPV4 if len(packed) == 4 else Afi.IPV6, packed)
