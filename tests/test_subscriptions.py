"""Who may subscribe to what, how it is confirmed, and what limits hold (RFC 9437 §5)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.control.inquiries import Form
from lispmsrt.control.subscriptions import SubscriptionLimits
from lispmsrt.wire.addresses import NO_ADDRESS, Address
from lispmsrt.wire.errors import WireError
from lispmsrt.wire.map_register import write_map_notify_ack
from lispmsrt.wire.map_request import MapRequest, RequestedEid, encode_map_request
from lispmsrt.wire.messages import ControlType, message_type
from tests.builders import OTHER_KEY, Etr, M, Secret, ip, locator
from tests.subscription_ground import (
    SUBSCRIBER_KEY,
    Ground,
    PublishingMapServer,
    Xtr,
    ids,
    prefix,
)

_NOTIFY, _ACK, _REPLY = ControlType.MAP_NOTIFY, ControlType.MAP_NOTIFY_ACK, ControlType.MAP_REPLY
_SOURCE = (ip("203.0.113.1"), 4342)


def _request(
    *eids: str,
    nonce: int = 1,
    number: int = 1,
    rlocs: tuple[str, ...] = ("203.0.113.1",),
    plain: tuple[str, ...] = (),
) -> bytes:
    """Return a subscribing Map-Request; ``plain`` are asked for without the N bit."""
    wanted = [RequestedEid(prefix(eid), subscribe=True) for eid in eids]
    wanted += [RequestedEid(prefix(eid)) for eid in plain]
    request = MapRequest(
        nonce,
        tuple(map(Address.from_text, rlocs)) or (NO_ADDRESS,),
        tuple(wanted),
        xtr_id=ids(number)[:16],
        site_id=ids(number)[16:],
    )
    return encode_map_request(request)


class _Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.etr = Etr()

    def _server(self, **options: object) -> PublishingMapServer:
        server = PublishingMapServer(**options)  # type: ignore[arg-type]
        server.register(self.etr, "10.1.0.0/16", now=0.0)
        return server

    def _kinds(
        self, server: PublishingMapServer, data: bytes, now: float = 1.0
    ) -> list[tuple[int, tuple[bytes, int]]]:
        """Send a datagram and return types and destinations of what comes back."""
        server.receive_datagram(data, _SOURCE, now)
        return [(message_type(one), to) for one, to in server.datagrams_to_send(now)]


class ConfirmationTests(_Case):
    """From a Map-Request to a subscription."""

    def test_a_subscription_is_confirmed_with_the_mapping_and_counts_once_acknowledged(
        self,
    ) -> None:
        """Plain and in an ECM."""
        for form in (Form.PLAIN, Form.ENCAPSULATED):
            xtr = Xtr(form=form)
            ground = Ground(self._server(), xtr)
            xtr.subscriber.subscribe(prefix("10.1.2.0/24"), ground.now)
            ground.loses = lambda datagram: message_type(datagram[0]) == _ACK
            ground.run(0.5)
            self.assertEqual(xtr.said(), [("confirmed", "10.1.2.0/24", [("10.1.0.0/16", 1440, 1)])])
            self.assertEqual(
                (len(ground.server.subscriptions), ground.server.subscriptions.candidates), (0, 1)
            )
            ground.loses = lambda datagram: False
            ground.run(3.0)
            self.assertEqual(
                (len(ground.server.subscriptions), ground.server.subscriptions.candidates), (1, 0)
            )
            self.assertEqual(len(ground.sent(_NOTIFY)), 2)
            self.assertEqual(xtr.said(), [])

    def test_three_lost_confirmations_remove_the_candidate(self) -> None:
        """And nothing more is sent."""
        server = self._server()
        ground = Ground(server)
        server.receive_datagram(_request("10.1.0.0/16"), _SOURCE, ground.now)
        ground.run(300.0)
        self.assertEqual([at - 100 for at in ground.sent(_NOTIFY)], [0.0, 3.0, 6.0])
        self.assertEqual((len(server.subscriptions), server.subscriptions.candidates), (0, 0))
        self.assertEqual(server.count("subscriptions not confirmed"), 1)
        self.assertIsNone(server.subscriptions.next_timeout())

    def test_without_a_key_there_is_an_ordinary_map_reply(self) -> None:
        """And no state."""
        server = self._server(find_key=lambda ids: None)
        for number in range(100):
            self.assertEqual(
                self._kinds(server, _request("10.1.0.0/16", number=number)), [(_REPLY, _SOURCE)]
            )
        self.assertEqual(server.subscriptions.candidates, 0)
        self.assertEqual(server.count("subscriptions refused: no key"), 100)

    def test_an_eid_without_mapping_can_be_subscribed_to(self) -> None:
        """Registered by nobody, or of no site: the Map-Notify has a negative record."""
        xtr = Xtr()
        ground = Ground(self._server(), xtr)
        ground.subscribe("10.2.0.0/16")
        ground.subscribe("172.16.0.0/12")
        self.assertEqual(
            xtr.said(),
            [
                ("confirmed", "10.2.0.0/16", [("10.2.0.0/16", 1, 0)]),
                ("confirmed", "172.16.0.0/12", [("172.16.0.0/12", 15, 0)]),
            ],
        )
        self.assertEqual(len(ground.server.subscriptions), 2)

    def test_a_mapping_whose_etrs_answer_themselves_can_not(self) -> None:
        """RFC 9437 §3: Map-Servers answer for what they publish; the ETR gets the question."""
        server = self._server()
        server.register(self.etr, "10.3.0.0/16", now=0.0, flags=M)
        kinds = self._kinds(server, _request("10.3.0.0/16"))
        self.assertEqual(kinds, [(ControlType.ENCAPSULATED, (ip("192.0.2.1"), 4342))])
        self.assertEqual(server.count("subscriptions refused: no proxy-reply"), 1)

    def test_of_several_records_each_is_a_subscription_under_one_nonce(self) -> None:
        """One Map-Notify, one Map-Notify-Ack."""
        server = self._server()
        data = _request("10.1.0.0/16", "10.2.0.0/16", "10.1.0.0/16")
        self.assertEqual(self._kinds(server, data), [(_NOTIFY, _SOURCE)])
        _acknowledge(server)
        self.assertEqual(len(server.subscriptions), 2)

    def test_records_without_n_get_a_map_reply_beside_the_map_notify(self) -> None:
        """Which answers for all of the Map-Request: nothing is left open."""
        server = self._server()
        kinds = self._kinds(server, _request("10.1.0.0/16", plain=("10.2.0.0/16",)))
        self.assertEqual(sorted(kinds), [(_REPLY, _SOURCE), (_NOTIFY, _SOURCE)])


class NonceTests(_Case):
    """Map-Requests for what is subscribed to already."""

    def setUp(self) -> None:
        super().setUp()
        self.server = self._server()
        self._kinds(self.server, _request("10.1.0.0/16", nonce=2**64 - 1))
        _acknowledge(self.server, 2**64 - 1)

    def test_a_replay_gets_a_map_reply(self) -> None:
        """Whoever captured it, and wherever it is to be answered; the subscriber hears of it."""
        replies, publications = [], []
        for nonce in (2**64 - 1, 2**64 - 2, 5, 77, 2**63):
            data = _request("10.1.0.0/16", nonce=nonce, rlocs=("203.0.113.66",))
            for kind, to in self._kinds(self.server, data):
                (replies if kind == _REPLY else publications).append(to)
        self.assertEqual(replies, 5 * [(ip("203.0.113.66"), 4342)])
        self.assertEqual(publications, [_SOURCE])
        self.assertEqual(self.server.count("subscriptions refused: replay"), 5)
        self.assertEqual(self.server.subscriptions.candidates, 0)

    def test_an_xtr_that_has_lost_its_nonces_can_subscribe_anew(self) -> None:
        """In some minutes, though no mapping changes: it does not acknowledge what it is told."""
        ground = Ground(self._server(), Xtr())
        ground.subscribe("10.1.0.0/16")
        again = Xtr(seed=99)
        ground.xtrs = [again]
        ground.subscribe("10.1.0.0/16")
        self.assertEqual([what for what, _eid, _records in again.said()], ["refused"])
        ground.run(500.0)
        self.assertEqual(again.said()[-1][0], "confirmed")
        self.assertEqual(len(ground.server.subscriptions), 1)

    def test_replays_do_not_end_the_subscription_of_who_is_there(self) -> None:
        """It acknowledges; and hears no more than once a second."""
        xtr = Xtr()
        ground = Ground(self._server(), xtr)
        ground.subscribe("10.1.0.0/16")
        ground.seen.clear()
        for _ in range(300):
            data = _request("10.1.0.0/16", nonce=77, rlocs=("203.0.113.66",))
            ground.server.receive_datagram(data, _SOURCE, ground.now)
            ground.run(0.1)
        self.assertEqual(len(ground.server.subscriptions), 1)
        self.assertLessEqual(len(ground.sent(_NOTIFY)), 31)
        ground.register(self.etr, "10.1.0.0/16", ttl=0)
        ground.run(2.0)
        self.assertEqual(xtr.said()[-1][2], [("10.1.0.0/16", 0, 0)])

    def test_the_last_nonce_plus_one_renews(self) -> None:
        """Across the end of the numbers, and with other ITR-RLOCs."""
        data = _request("10.1.0.0/16", nonce=0, rlocs=("203.0.113.9",))
        self.assertEqual(self._kinds(self.server, data), [(_NOTIFY, (ip("203.0.113.9"), 4342))])
        _acknowledge(self.server, 0)
        self.assertEqual(len(self.server.subscriptions), 1)
        self.assertEqual(self.server.count("subscriptions renewed"), 1)
        self.server.register(self.etr, "10.1.0.0/16", ttl=0, now=2.0)
        ((data, to),) = self.server.datagrams_to_send(2.0)
        self.assertEqual((to, data[4:12]), ((ip("203.0.113.9"), 4342), bytes(7) + b"\1"))

    def test_a_renewal_that_is_not_confirmed_changes_nothing(self) -> None:
        """Publications go to the old ITR-RLOC, under the next nonce."""
        self._kinds(self.server, _request("10.1.0.0/16", nonce=0, rlocs=("203.0.113.9",)))
        self.server.datagrams_to_send(20.0)
        self.server.register(self.etr, "10.1.0.0/16", ttl=0, now=20.0)
        ((data, to),) = self.server.datagrams_to_send(20.0)
        self.assertEqual((to, data[4:12]), (_SOURCE, bytes(7) + b"\1"))

    def test_a_repeated_map_request_is_not_answered_twice(self) -> None:
        """The Map-Notify is being repeated anyway."""
        data = _request("10.2.0.0/16", nonce=5)
        self.assertEqual(self._kinds(self.server, data), [(_NOTIFY, _SOURCE)])
        self.assertEqual(self._kinds(self.server, data), [])
        self.assertEqual(self.server.count("subscriptions repeated"), 1)

    def test_another_xtr_has_its_own_nonces(self) -> None:
        """And another Site-ID makes another xTR."""
        for number in (2, 3):
            data = _request("10.1.0.0/16", nonce=99 * number, number=number)
            self.assertEqual(self._kinds(self.server, data), [(_NOTIFY, _SOURCE)])

    def test_of_two_that_waited_the_later_counts(self) -> None:
        """An xTR that began anew, in whichever order its Map-Notify-Acks come."""
        for order in ((100, 2**63), (2**63, 100)):
            server = self._server()
            self._kinds(server, _request("10.1.0.0/16", nonce=100, rlocs=("203.0.113.8",)))
            self._kinds(server, _request("10.1.0.0/16", nonce=2**63, rlocs=("203.0.113.9",)))
            for nonce in order:
                _acknowledge(server, nonce)
            server.register(self.etr, "10.1.0.0/16", ttl=0, now=2.0)
            ((data, to),) = server.datagrams_to_send(2.0)
            self.assertEqual(to[0], ip("203.0.113.9"))
            self.assertEqual(int.from_bytes(data[4:12], "big"), 2**63 + 1)


class CancellationTests(_Case):
    """Map-Requests with a single ITR-RLOC of AFI 0."""

    def setUp(self) -> None:
        super().setUp()
        self.server = self._server()
        self._kinds(self.server, _request("10.1.0.0/16", nonce=5))
        _acknowledge(self.server, 5)

    def test_the_subscription_is_removed_and_the_source_is_told(self) -> None:
        """Under the nonce of the Map-Request."""
        self.server.receive_datagram(
            _request("10.1.0.0/16", nonce=6, rlocs=()), (ip("203.0.113.8"), 5000), 1.0
        )
        ((data, to),) = self.server.datagrams_to_send(1.0)
        self.assertEqual((data[0] >> 4, data[11], to), (4, 6, (ip("203.0.113.8"), 5000)))
        self.assertEqual(len(self.server.subscriptions), 0)
        self.server.register(self.etr, "10.1.0.0/16", ttl=0, now=2.0)
        self.assertEqual(self.server.datagrams_to_send(2.0), [])

    def test_one_with_another_nonce_changes_nothing_and_is_met_with_silence(self) -> None:
        """Nobody can cancel for others."""
        for nonce in (0, 5, 7, 2**63):
            data = _request("10.1.0.0/16", nonce=nonce, rlocs=())
            self.assertEqual(self._kinds(self.server, data), [])
        self.assertEqual(len(self.server.subscriptions), 1)
        self.assertEqual(self.server.count("subscriptions refused: replay"), 4)

    def test_what_is_not_there_is_said_to_be_cancelled_once(self) -> None:
        """An xTR may have missed it, or begin anew; nothing is repeated, and no state kept."""
        data = _request("10.2.0.0/16", nonce=77, rlocs=())
        self.assertEqual(self._kinds(self.server, data), [(_NOTIFY, _SOURCE)])
        self.assertEqual(self.server.retransmissions.outstanding, 0)
        for _ in range(1000):
            self.server.receive_datagram(data, _SOURCE, 1.0)
        self.assertLess(len(self.server.datagrams_to_send(1.0)), 300)
        strangers = self._server(find_key=lambda ids: None)
        self.assertEqual(self._kinds(strangers, data), [])

    def test_it_is_repeated_until_acknowledged(self) -> None:
        """Like every Map-Notify that is."""
        xtr = Xtr()
        ground = Ground(PublishingMapServer(), xtr)
        ground.subscribe("10.1.0.0/16")
        xtr.said()
        ground.loses = lambda datagram: message_type(datagram[0]) == _NOTIFY
        xtr.subscriber.unsubscribe(prefix("10.1.0.0/16"), ground.now)
        ground.run(2.5)
        ground.loses = lambda datagram: False
        ground.run(20.0)
        self.assertEqual(xtr.said(), [("cancelled", "10.1.0.0/16", [("10.1.0.0/16", 1, 0)])])
        self.assertEqual(ground.server.retransmissions.outstanding, 0)
        self.assertIsNone(xtr.subscriber.next_timeout())


class LimitTests(_Case):
    """What strangers, and xTRs with a key, can cost."""

    def test_ever_new_xtr_ids_make_no_state_that_lasts(self) -> None:
        """Even where all of them had a key."""
        server = self._server(subscription_limits=SubscriptionLimits(max_candidates=50))
        for number in range(1000):
            self._kinds(server, _request("10.1.0.0/16", nonce=number, number=number))
        self.assertEqual(server.subscriptions.candidates, 50)
        server.datagrams_to_send(1.0 + 9.0)
        self.assertEqual((server.subscriptions.candidates, len(server.subscriptions)), (0, 0))

    def test_who_pretends_to_be_an_xtr_can_not_shut_it_out(self) -> None:
        """Its own Map-Request takes the place of the oldest; the others get nothing more."""
        server = self._server()
        for nonce in range(100):
            self._kinds(server, _request("10.1.0.0/16", nonce=nonce, rlocs=("203.0.113.66",)))
        self.assertEqual(server.subscriptions.candidates, 8)
        self._kinds(server, _request("10.1.0.0/16", nonce=777))
        _acknowledge(server, 777)
        self.assertEqual(len(server.subscriptions), 1)
        self.assertEqual(server.count("subscriptions not confirmed: too many at once"), 93)

    def test_what_a_spoofed_map_request_draws_is_bounded(self) -> None:
        """Three Map-Notifies, each a small multiple, whatever the mapping is like."""
        server = self._server()
        server.register(
            self.etr, "10.9.0.0/16", *(locator(f"192.0.2.{host}") for host in range(1, 60)), now=0.0
        )
        for third in range(200):
            server.register(self.etr, f"10.9.{third}.0/24", now=0.0)
        ground = Ground(server)
        data = _request("10.9.0.0/16")
        server.receive_datagram(data, _SOURCE, ground.now)
        ground.run(100.0)
        sizes = [len(datagram[0]) for _at, datagram in ground.seen]
        self.assertEqual(len(sizes), 3)
        self.assertLessEqual(max(sizes), 5 * len(data))

    def test_a_mapping_too_large_for_the_confirmation_is_published_after_it(self) -> None:
        """The Map-Notify says to ask again, and is overtaken at once."""
        xtr = Xtr()
        ground = Ground(self._server(), xtr)
        ground.register(
            self.etr, "10.9.0.0/16", *(locator(f"192.0.2.{host}") for host in range(1, 60))
        )
        ground.subscribe("10.9.0.0/16")
        self.assertEqual(
            xtr.said(),
            [
                ("confirmed", "10.9.0.0/16", [("10.9.0.0/16", 1, 0)]),
                ("published", "10.9.0.0/16", [("10.9.0.0/16", 1440, 59)]),
            ],
        )

    def test_subscriptions_are_limited_in_all_per_xtr_and_per_eid(self) -> None:
        """What is beyond gets a Map-Reply; renewing goes on."""
        limits = SubscriptionLimits(max_subscriptions=4, max_per_xtr=2, max_per_eid=3)
        for name, wanted, taken in (
            ("per xTR", [(1, second) for second in range(5)], 2),
            ("per EID-prefix", [(number, 1) for number in range(5)], 3),
            ("in all", [(number, number) for number in range(9)], 4),
        ):
            server = self._server(subscription_limits=limits)
            kinds = []
            for nonce, (number, second) in enumerate(wanted):
                data = _request(f"10.{second}.0.0/16", nonce=10 * nonce, number=number)
                kinds += [kind for kind, _to in self._kinds(server, data)]
                if kinds[-1] == _NOTIFY:
                    _acknowledge(server, 10 * nonce)
            self.assertEqual(len(server.subscriptions), taken, name)
            self.assertEqual(kinds.count(_REPLY), len(wanted) - taken, name)
            number, second = wanted[0]
            data = _request(f"10.{second}.0.0/16", nonce=1, number=number)
            self.assertEqual(self._kinds(server, data), [(_NOTIFY, _SOURCE)], name)

    def test_limits_hold_when_many_are_confirmed_at_once(self) -> None:
        """They all fitted when they came."""
        server = self._server(subscription_limits=SubscriptionLimits(max_per_xtr=2))
        for nonce in range(5):
            self._kinds(server, _request(f"10.{nonce}.0.0/16", nonce=nonce))
        for nonce in range(5):
            _acknowledge(server, nonce)
        self.assertEqual(len(server.subscriptions), 2)
        self.assertEqual(server.count("subscriptions refused: too many"), 3)

    def test_of_a_map_request_with_many_records_sixteen_count(self) -> None:
        """The Map-Reply answers for the rest."""
        server = self._server()
        data = _request(*(f"10.{second}.0.0/16" for second in range(40)))
        kinds = self._kinds(server, data)
        self.assertEqual(sorted(kind for kind, _to in kinds), [_REPLY, _NOTIFY])
        _acknowledge(server, 1)
        self.assertEqual(len(server.subscriptions), 16)

    def test_acknowledgements_with_another_key_do_not_count(self) -> None:
        """Nor do garbled ones."""
        server = self._server()
        self._kinds(server, _request("10.1.0.0/16"))
        self.assertFalse(server.subscriptions.acknowledge(_ack(1, OTHER_KEY), _SOURCE, 1.0))
        self.assertFalse(server.subscriptions.acknowledge(_ack(2, SUBSCRIBER_KEY), _SOURCE, 1.0))
        self.assertRaises(WireError, server.subscriptions.acknowledge, b"\x50", _SOURCE, 1.0)
        self.assertEqual(len(server.subscriptions), 0)

    def test_groups_and_nothing_are_no_itr_rlocs(self) -> None:
        """Map-Notifies go to hosts only."""
        server = self._server()
        data = _request("10.1.0.0/16", rlocs=("224.0.0.1", "0.0.0.0", "127.0.0.1", "203.0.113.1"))
        ground = Ground(server)
        server.receive_datagram(data, _SOURCE, ground.now)
        ground.run(20.0)
        self.assertEqual({to for _at, (_data, _source, to) in ground.seen}, {_SOURCE})


def _ack(nonce: int, secret: Secret) -> bytes:
    key = secret.key()
    return write_map_notify_ack(
        nonce=nonce,
        records=[],
        ids=b"",
        key=key,
        length=key.sent_length,
        coverage=key.default_coverage,
    )


def _acknowledge(server: PublishingMapServer, nonce: int = 1) -> None:
    assert server.subscriptions.acknowledge(_ack(nonce, SUBSCRIBER_KEY), _SOURCE, 1.0)
