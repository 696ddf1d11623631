"""The xTR's side of Publish/Subscribe: what it sends, believes, acknowledges and drops."""

from __future__ import annotations

import struct

from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.control.inquiries import Form
from lispmsrt.control.subscriber import News, Subscriber, SubscriberPace
from lispmsrt.mapping.database import Endpoint
from lispmsrt.wire.addresses import NO_ADDRESS, EidPrefix
from lispmsrt.wire.encapsulated import decode_encapsulated
from lispmsrt.wire.lcaf import AfiList
from lispmsrt.wire.map_reply import MapReply, encode_map_reply
from lispmsrt.wire.map_request import MapRequest, decode_map_request
from lispmsrt.wire.records import MappingRecord
from tests.builders import OTHER_KEY, Secret, ip, record
from tests.subscription_ground import (
    SERVER,
    SUBSCRIBER_KEY,
    Ground,
    PublishingMapServer,
    Xtr,
    ids,
    prefix,
)

_FIRST, _SECOND = 2**64 - 2, 2**62
"""Nonces of the first two subscriptions."""

_MAC = 32


def _notify(nonce: int, *records: bytes, key: Secret = SUBSCRIBER_KEY) -> bytes:
    """Return a Map-Notify, signed by nothing of ours."""
    nonce %= 2**64
    head = struct.pack("!IQBBH", 4 << 28 | len(records), nonce, key.key_id, 2, _MAC)
    body = b"".join(records)
    mac = key.mac(head + bytes(_MAC) + body, _MAC, b"Map-Notify Authentication")
    return head + mac + body


class _Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.heard: list[News] = []
        self.nonces = iter((_FIRST - 1, _SECOND - 1))

    def _subscriber(self, **options: object) -> Subscriber:
        return Subscriber(
            ids(1),
            SUBSCRIBER_KEY.key(),
            (ip("203.0.113.1"), 4342),
            SERVER,
            draw_nonce=lambda: next(self.nonces),
            hear=self.heard.append,
            **{"form": Form.PLAIN, **options},  # type: ignore[arg-type]
        )

    def _confirmed(self, eid: str = "10.1.0.0/16", **options: object) -> Subscriber:
        subscriber = self._subscriber(**options)
        subscriber.subscribe(prefix(eid), 0.0)
        (request,) = _requests(subscriber, 0.0)
        subscriber.receive_datagram(_notify(request.nonce, record(eid)), SERVER, 0.0)
        self.assertEqual(_acks(subscriber), [request.nonce])
        return subscriber

    def _said(self) -> list[tuple[str, list[str]]]:
        said = [(news.what.value, [str(one.eid) for one in news.records]) for news in self.heard]
        self.heard.clear()
        return said


def _requests(subscriber: Subscriber, now: float) -> list[MapRequest]:
    return [decode_map_request(data) for data, _to in subscriber.datagrams_to_send(now)]


def _acks(subscriber: Subscriber, now: float = 0.0) -> list[int]:
    """Return the nonces of Map-Notify-Acks; nothing else may be sent, nowhere else."""
    nonces = []
    for data, to in subscriber.datagrams_to_send(now):
        word, nonce, key_id, _algorithm, length = struct.unpack_from("!IQBBH", data)
        assert (word >> 28, key_id, length, to) == (5, 7, _MAC, SERVER), data.hex()
        expected = SUBSCRIBER_KEY.mac(
            data[:16] + bytes(_MAC) + data[16 + _MAC :], _MAC, b"Map-Notify-Ack Authentication"
        )
        assert data[16 : 16 + _MAC] == expected
        nonces.append(nonce)
    return nonces


class RequestTests(_Case):
    """Map-Requests."""

    def test_the_map_request_subscribes(self) -> None:
        """N, I, both IDs, and every ITR-RLOC."""
        subscriber = self._subscriber(itr_rlocs=[ip("203.0.113.1"), ip("2001:db8::1")])
        subscriber.subscribe(prefix("10.1.0.0/16", 5), 0.0)
        (request,) = _requests(subscriber, 0.0)
        (wanted,) = request.records
        self.assertEqual((wanted.eid, wanted.subscribe), (prefix("10.1.0.0/16", 5), True))
        self.assertEqual((request.xtr_id or b"") + (request.site_id or b""), ids(1))
        self.assertEqual([str(one) for one in request.itr_rlocs], ["203.0.113.1", "2001:db8::1"])
        self.assertEqual(request.nonce, _FIRST)

    def test_it_travels_in_an_ecm_to_a_map_resolver(self) -> None:
        """Towards the EID."""
        subscriber = self._subscriber(form=Form.ENCAPSULATED)
        subscriber.subscribe(prefix("10.1.0.0/16"), 0.0)
        ((data, to),) = subscriber.datagrams_to_send(0.0)
        message = decode_encapsulated(data)
        self.assertEqual(to, SERVER)
        self.assertEqual((str(message.destination), message.source_port), ("10.1.0.0", 4342))
        self.assertTrue(decode_map_request(message.payload).records[0].subscribe)

    def test_it_is_repeated_each_second_ten_times_then_after_a_pause(self) -> None:
        """RFC 9301 §5.3; always under the same nonce."""
        subscriber = self._subscriber()
        subscriber.subscribe(prefix("10.1.0.0/16"), 0.0)
        times = []
        while (at := subscriber.next_timeout()) is not None and at < 60:
            (request,) = _requests(subscriber, at)
            self.assertEqual(request.nonce, _FIRST)
            times.append(at)
        self.assertEqual(times, [*map(float, range(10)), *map(float, range(39, 49))])

    def test_a_map_reply_is_a_refusal(self) -> None:
        """It says what the mapping is; asked again after a pause, under another nonce."""
        subscriber = self._subscriber()
        subscriber.subscribe(prefix("10.1.0.0/16"), 0.0)
        (request,) = _requests(subscriber, 0.0)
        reply = MapReply(request.nonce, (MappingRecord(prefix("10.1.0.0/16"), 1, ()),))
        subscriber.receive_datagram(encode_map_reply(reply), SERVER, 0.5)
        self.assertEqual(self._said(), [("refused", ["10.1.0.0/16"])])
        self.assertEqual(subscriber.next_timeout(), 30.5)
        self.assertEqual([one.nonce for one in _requests(subscriber, 30.5)], [_SECOND])

    def test_a_map_reply_that_nobody_waits_for_is_ignored(self) -> None:
        """Like the one to a Map-Request that was repeated, or replayed by others."""
        subscriber = self._confirmed()
        self._said()
        reply = MapReply(_FIRST, (MappingRecord(prefix("10.1.0.0/16"), 1, ()),))
        subscriber.receive_datagram(encode_map_reply(reply), SERVER, 0.5)
        self.assertEqual(self._said(), [])
        self.assertEqual(subscriber.counters["Map-Replies to no Map-Request"], 1)

    def test_a_subscription_is_renewed_with_the_next_nonce(self) -> None:
        """From time to time, or when the ITR-RLOCs change."""
        subscriber = self._confirmed(pace=SubscriberPace(renewal=600.0))
        subscriber.receive_datagram(_notify(_FIRST + 1, record("10.1.0.0/16")), SERVER, 1.0)
        self.assertEqual(_acks(subscriber), [2**64 - 1])
        self.assertEqual(subscriber.next_timeout(), 600.0)
        self.assertEqual([one.nonce for one in _requests(subscriber, 600.0)], [0])
        subscriber.renew(600.5, [ip("203.0.113.9")])
        (request,) = _requests(subscriber, 600.5)
        self.assertEqual((request.nonce, str(request.itr_rlocs[0])), (0, "203.0.113.9"))

    def test_cancelling_has_one_itr_rloc_of_no_family(self) -> None:
        """And the next nonce; given up after ten tries."""
        subscriber = self._confirmed()
        self._said()
        subscriber.unsubscribe(prefix("10.1.0.0/16"), 1.0)
        (request,) = _requests(subscriber, 1.0)
        self.assertEqual((request.itr_rlocs, request.nonce), ((NO_ADDRESS,), 2**64 - 1))
        for at in range(2, 12):
            subscriber.datagrams_to_send(at)
        self.assertEqual(self._said(), [("cancelled", [])])
        self.assertIsNone(subscriber.next_timeout())

    def test_cancelled_and_wanted_again_it_is_cancelled_first(self) -> None:
        """Else nobody would know which nonces count."""
        xtr = Xtr()
        ground = Ground(PublishingMapServer(), xtr)
        ground.subscribe("10.1.0.0/16")
        xtr.subscriber.unsubscribe(prefix("10.1.0.0/16"), ground.now)
        ground.subscribe("10.1.0.0/16")
        self.assertEqual(
            [what for what, _eid, _records in xtr.said()], ["confirmed", "cancelled", "confirmed"]
        )
        self.assertEqual(len(ground.server.subscriptions), 1)

    def test_what_can_not_be_looked_up_can_not_be_subscribed_to(self) -> None:
        """Nor are half an xTR-ID and a Site-ID taken."""
        self.assertRaises(
            ValueError, self._subscriber().subscribe, EidPrefix(0, AfiList((NO_ADDRESS,)), 0), 0.0
        )
        with self.assertRaises(ValueError):
            Subscriber(
                bytes(16),
                SUBSCRIBER_KEY.key(),
                (ip("203.0.113.1"), 4342),
                SERVER,
                draw_nonce=lambda: 1,
                hear=self.heard.append,
            )


class NotifyTests(_Case):
    """Map-Notifies."""

    def test_confirmation_and_publication_are_acknowledged_to_who_sent_them(self) -> None:
        """With the same records."""
        subscriber = self._confirmed()
        news = record("10.1.7.0/24")
        elsewhere: Endpoint = (ip("198.51.100.77"), 9999)
        subscriber.receive_datagram(_notify(_FIRST + 1, news), elsewhere, 1.0)
        ((data, to),) = subscriber.datagrams_to_send(1.0)
        self.assertEqual((to, data[16 + _MAC :]), (elsewhere, news))
        self.assertEqual(
            self._said(), [("confirmed", ["10.1.0.0/16"]), ("published", ["10.1.7.0/24"])]
        )

    def test_nonces_only_grow(self) -> None:
        """RFC 1982: past the end of the numbers too; the last is acknowledged again, no other."""
        subscriber = self._confirmed()
        self._said()
        for ahead in (1, 3, 2, 3, 0, 4, 1, -5):
            subscriber.receive_datagram(
                _notify(_FIRST + ahead, record("10.1.0.0/16", ttl=ahead % 99)), SERVER, 1.0
            )
        first = _FIRST % 2**64
        self.assertEqual(_acks(subscriber), [(first + ahead) % 2**64 for ahead in (1, 3, 3, 4)])
        self.assertEqual(len(self._said()), 3)
        self.assertEqual(subscriber.counters["Map-Notifies out of date"], 4)
        self.assertEqual(subscriber.counters["Map-Notifies repeated"], 1)

    def test_what_is_not_signed_with_the_key_is_dropped(self) -> None:
        """Whatever its nonce."""
        subscriber = self._confirmed()
        self._said()
        good = _notify(_FIRST + 1, record("10.1.0.0/16"))
        same_id = Secret(7, 2, b"guessed")
        for data in (
            _notify(_FIRST + 1, record("10.1.0.0/16"), key=OTHER_KEY),
            _notify(_FIRST + 1, record("10.1.0.0/16"), key=same_id),
            good[:-1] + bytes((good[-1] ^ 1,)),
        ):
            subscriber.receive_datagram(data, SERVER, 1.0)
        self.assertEqual((self._said(), _acks(subscriber)), ([], []))
        self.assertEqual(subscriber.counters["Map-Notifies with authentication failures"], 2)
        self.assertEqual(subscriber.counters["Map-Notifies with another key"], 1)

    def test_every_cut_and_other_messages_are_counted_only(self) -> None:
        """Malformed input harms nobody."""
        subscriber = self._confirmed()
        self._said()
        good = _notify(_FIRST + 1, record("10.1.0.0/16"))
        for end in range(len(good)):
            subscriber.receive_datagram(good[:end], SERVER, 1.0)
        subscriber.receive_datagram(b"\x30", SERVER, 1.0)
        self.assertEqual((self._said(), _acks(subscriber)), ([], []))
        subscriber.receive_datagram(good, SERVER, 1.0)
        self.assertEqual(len(self._said()), 1)

    def test_each_of_several_subscriptions_has_its_own_nonces(self) -> None:
        """Though one change concerns both; what fits neither is dropped."""
        subscriber = self._confirmed()
        subscriber.subscribe(prefix("10.1.2.0/24"), 0.0)
        (request,) = _requests(subscriber, 0.0)
        subscriber.receive_datagram(_notify(request.nonce, record("10.1.2.0/24")), SERVER, 0.0)
        self._said()
        for nonce in (request.nonce + 1, _FIRST + 1, request.nonce, 2**63, 3 << 60):
            subscriber.receive_datagram(_notify(nonce, record("10.1.2.0/24")), SERVER, 1.0)
        self.assertEqual([str(news.eid) for news in self.heard], ["10.1.2.0/24", "10.1.0.0/16"])

    def test_a_publication_that_crosses_a_renewal_is_no_confirmation(self) -> None:
        """Where it can be told: it is about a part only; then the next nonce is tried."""
        subscriber = self._confirmed()
        self._said()
        subscriber.renew(1.0)
        self.assertEqual([one.nonce for one in _requests(subscriber, 1.0)], [_FIRST + 1])
        subscriber.receive_datagram(_notify(_FIRST + 1, record("10.1.7.0/24")), SERVER, 1.1)
        self.assertEqual(self._said(), [("published", ["10.1.7.0/24"])])
        self.assertEqual(_acks(subscriber, 1.1), [_FIRST + 1])
        self.assertEqual([one.nonce for one in _requests(subscriber, 2.0)], [0])

    def test_about_something_else_it_is_dropped(self) -> None:
        """A Map-Server can't put mappings where nobody subscribed."""
        subscriber = self._confirmed()
        self._said()
        subscriber.receive_datagram(_notify(_FIRST + 1, record("10.2.0.0/16")), SERVER, 1.0)
        self.assertEqual((self._said(), _acks(subscriber)), ([], []))
