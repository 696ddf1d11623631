"""Floods over UDP, counted: how many hashes, answers, octets and table entries they are worth, and
that who has a right to be heard is heard.
"""

from __future__ import annotations

import random
import struct
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.control import registration_proofs, unproven
from lispmsrt.control.inquiries import Form
from lispmsrt.control.map_replies import AMPLIFICATION, HEADER_OCTETS
from lispmsrt.control.map_requests import MapRequests
from lispmsrt.control.nonces import NonceCheck
from lispmsrt.control.plane import ControlPlane
from lispmsrt.control.questions import MAX_QUESTION, Questions
from lispmsrt.control.request_limits import MAX_PAIRS, MAX_QUEUED, RequestLimits
from lispmsrt.control.subscription_proofs import LIMITS as SUBSCRIPTION_LIMITS
from lispmsrt.control.unproven import UnprovenLimits
from lispmsrt.mapping.lookup import Lookup
from lispmsrt.mapping.rejections import MAX_REJECTIONS
from lispmsrt.wire.addresses import EidPrefix
from lispmsrt.wire.authentication import Key, Purpose
from lispmsrt.wire.map_request import encode_map_request
from tests.asking import ecm, map_request, registered
from tests.builders import (
    OTHER_KEY,
    Etr,
    M,
    MapServer,
    Peer,
    Secret,
    eid,
    ip,
    locator,
    record,
    site,
    sites,
)
from tests.subscription_ground import Ground as SubscriptionGround
from tests.subscription_ground import PublishingMapServer, Xtr, prefix

Datagram = tuple[bytes, tuple[bytes, int]]

_LIMITS = UnprovenLimits()
_EID = "10.1.0.0/16"
_ATTACKER = (ip("198.51.100.66"), 4342)
_MUCH = 5000
"""Datagrams: many times what is looked into at once."""


def _spoofed(count: int, port: int = 4342) -> Iterator[tuple[bytes, int]]:
    """Yield so many addresses, each another one."""
    for number in range(count):
        yield struct.pack("!I", 0x0B000000 + 7 * number), port


class _Hashes:
    """Counts what is hashed to check Map-Registers and Map-Notify-Acks."""

    def __init__(self, case: SynchronousTestCase) -> None:
        self.count = self.octets = 0
        digest = Key.digest

        def counted(key: Key, head: bytes, tail: bytes, length: int, purpose: Purpose) -> bytes:
            if purpose is not Purpose.MAP_NOTIFY and length:
                self.count += 1
                self.octets += len(head) + length + len(tail)
            return digest(key, head, tail, length, purpose)

        case.patch(Key, "digest", counted)

    def of(self, work: Any) -> int:
        """Return how many hashes the call makes."""
        before = self.count
        work()
        return self.count - before


class FloodCase(SynchronousTestCase):
    """A Map-Server, an ETR that is known to it, and its own plane."""

    def setUp(self) -> None:
        self.hashes = _Hashes(self)
        self.server = MapServer(sites((site(), "10.0.0.0/8"), (site("other"), "172.16.0.0/12")))
        self.plane = ControlPlane(
            {kind: self.server.control for kind in (2, 3, 4, 5)}, (self.server.control,)
        )
        self.etr = Etr()
        self.register()

    def register(self, etr: Etr | None = None, now: float = 0.0, **options: Any) -> int:
        """Have an ETR register its EID-prefix anew; return how many answers it had."""
        etr = etr or self.etr
        source = options.pop("source", None)
        message = etr.map_register(record(_EID), flags=M, **options)
        return len(self.server.hear(etr, message, now, source=source))

    def flood(self, datagrams: Iterable[Datagram], now: float = 0.0) -> list[Datagram]:
        """Have all of it arrive at once; return the answers."""
        left = list(datagrams)
        while left:
            self.plane.receive_datagrams(left, now)
        return self.plane.datagrams_to_send(now)

    def wrong(self, count: int, **options: Any) -> list[Datagram]:
        """Return Map-Registers of a stranger that are well-formed and not authentic."""
        stranger = Etr("198.51.100.66", key=OTHER_KEY, xtr_id=options.pop("xtr_id", 666))
        sources = options.pop("sources", [_ATTACKER] * count)
        records = options.pop("records", [record(_EID)])
        return [
            (stranger.map_register(*records, **options), source)
            for source, _number in zip(sources, range(count), strict=False)
        ]

    def counted(self, what: str) -> int:
        return self.server.control.counters[what]


class WrongMacTests(FloodCase):
    """Well-formed Map-Registers that are not authentic."""

    def test_one_source(self) -> None:
        """Its own limit, in hashes; it is answered by silence, and everybody else is served."""
        wrong = self.wrong(_MUCH)
        done = self.hashes.of(lambda: self.assertEqual(self.flood(wrong), []))
        self.assertLessEqual(done, _LIMITS.burst + 2)
        self.assertGreaterEqual(done, _LIMITS.burst)
        dropped = self.counted("Map-Registers dropped: too many failures from their source")
        refused = self.counted("Map-Registers refused: AUTHENTICATION_FAILURE")
        self.assertEqual((refused, dropped), (_LIMITS.burst / 2, _MUCH - _LIMITS.burst / 2))
        self.assertEqual(self.register(), 1)
        self.assertEqual(self.register(Etr("192.0.2.77", xtr_id=77)), 1)

    def test_one_source_for_a_minute(self) -> None:
        """So many a second, whatever it sends."""
        done = 0
        for second in range(60):
            wrong = self.wrong(500)
            done += self.hashes.of(lambda wrong=wrong, at=second: self.flood(wrong, float(at)))
        self.assertLessEqual(done, _LIMITS.burst + 60 * (_LIMITS.rate + 2))
        self.assertEqual(self.register(now=60.0), 1)

    def test_an_ipv6_network_is_one_source(self) -> None:
        """A host has 2^64 addresses."""
        sources = [(ip("2001:db8::")[:8] + struct.pack("!Q", n), 4342) for n in range(_MUCH)]
        done = self.hashes.of(lambda: self.flood(self.wrong(_MUCH, sources=sources)))
        self.assertLessEqual(done, _LIMITS.burst + 2)

    def test_made_up_sources(self) -> None:
        """All together have one limit; who registered before does not notice."""
        count = int(_LIMITS.burst_of_strangers)
        sources = list(_spoofed(count))
        done = self.hashes.of(lambda: self.flood(self.wrong(count, sources=sources)))
        self.assertLessEqual(done, _LIMITS.burst_of_strangers + 2)
        self.assertGreater(
            self.counted("Map-Registers dropped: too many failures from unknown sources"), 0
        )
        self.assertEqual(self.register(), 1)
        elsewhere = (ip("203.0.113.80"), 9)
        self.assertEqual(self.register(source=elsewhere), 0, "who moves is a stranger once")
        self.assertEqual(self.register(source=elsewhere, now=0.01), 1)
        self.flood(self.wrong(count, sources=_spoofed(count)), now=0.01)
        self.assertEqual(self.register(source=elsewhere, now=0.01), 1, "and is known there then")

    def test_who_is_new_is_heard_by_chance_then(self) -> None:
        """While the flood lasts; as soon as it ends, at once."""
        count = int(_LIMITS.burst_of_strangers)
        new = Etr("192.0.2.77", xtr_id=77)
        self.flood(self.wrong(count, sources=_spoofed(count)))
        self.assertEqual(self.register(new), 0)
        self.assertEqual(self.register(new, now=0.01), 1)

    def test_what_is_remembered_of_sources_is_bounded(self) -> None:
        """The limit on all holds without it."""
        self.patch(unproven, "MAX_NAMES", 100)
        self.flood(self.wrong(1000, sources=_spoofed(1000)))
        self.assertEqual(len(self.server.control._proofs._unproven), 100)

    def test_a_known_source_is_not_locked_out_by_who_spoofs_it(self) -> None:
        """From its very address and port, in the name of another xTR, or of none."""
        for xtr_id in (666, None):
            sources = [self.etr.source] * _MUCH
            self.flood(self.wrong(_MUCH, sources=sources, xtr_id=xtr_id))
            self.assertEqual(self.register(), 1)

    def test_who_writes_the_ids_of_a_known_xtr(self) -> None:
        """And its address, more than its limit: it is heard by chance, as long as that lasts; the
        xTRs beside it do not notice.
        """
        beside = Etr("192.0.2.2", xtr_id=2)
        self.assertEqual(self.register(beside), 1)
        wrong = self.wrong(_MUCH, xtr_id=1, sources=[self.etr.source] * _MUCH, nonce=1 << 32)
        done = self.hashes.of(lambda: self.flood(wrong))
        self.assertLessEqual(done, _LIMITS.burst_of_xtr + 3)
        self.assertEqual(self.register(), 0)
        self.assertEqual(
            self.counted("Map-Registers dropped: too many failures in the name of their xTR"),
            _MUCH - _LIMITS.burst_of_xtr / 2 + 1,
        )
        self.assertEqual(self.register(beside), 1)
        self.assertEqual(self.register(now=0.5), 1)

    def test_who_knows_its_ids_can_not_shut_it_out(self) -> None:
        """Not without its address, at whatever rate; and it may move meanwhile."""
        for number, nonce in enumerate((1 << 20, 1 << 21)):
            at = float(number)
            wrong = self.wrong(_MUCH, xtr_id=1, nonce=nonce)
            done = self.hashes.of(lambda wrong=wrong, at=at: self.flood(wrong, at))
            self.assertLessEqual(done, _LIMITS.burst + 2)
            self.assertEqual(self.register(now=at), 1)
            moved = ip(f"203.0.113.{number}"), 4342
            self.assertEqual(self.register(source=moved, now=at), 1)
            self.assertEqual(self.register(now=at), 1)

    def test_hundreds_a_second_in_its_name_and_from_its_address(self) -> None:
        """Every single one of its own is heard, for a minute."""
        a_second = int(_LIMITS.rate_of_xtr / 2)
        forged = self.wrong(a_second, xtr_id=1, sources=[self.etr.source] * a_second, nonce=1 << 32)
        for second in range(60):
            half = a_second // 2
            self.flood(forged[:half], second + 0.25)
            self.assertEqual(self.register(now=second + 0.25), 1)
            self.flood(forged[half:], second + 0.75)
            self.assertEqual(self.register(now=second + 0.75), 1)

    def test_addresses_remembered_are_bounded(self) -> None:
        """Of whom it is forgotten, any is its own."""
        self.patch(registration_proofs, "MAX_ADDRESSES", 1)
        self.assertEqual(self.register(Etr("192.0.2.2", xtr_id=2)), 1)
        self.assertEqual(len(self.server.control._proofs._addresses), 1)
        self.flood(self.wrong(_MUCH, sources=_spoofed(2 * _MUCH), xtr_id=666))
        self.flood(self.wrong(_MUCH, sources=_spoofed(2 * _MUCH), xtr_id=666))
        self.assertEqual(self.register(source=(ip("203.0.113.80"), 9)), 1)

    def test_who_counts_up_is_not_to_be_guessed(self) -> None:
        """Not even by who knows its IDs and address, unless it knows about its nonce."""
        for _ in range(20):
            self.register()
        for nonce in (5, (1 << 63) + 5):
            wrong = self.wrong(_MUCH, xtr_id=1, sources=[self.etr.source] * _MUCH, nonce=nonce)
            self.flood(wrong)
            self.assertEqual(self.register(), 1)

    def test_many_records(self) -> None:
        """The price is in octets: of long messages there are fewer."""
        records = [record(f"10.{number}.0.0/16") for number in range(200)]
        wrong = self.wrong(1000, records=records)
        before = self.hashes.octets
        self.flood(wrong)
        self.assertLessEqual(self.hashes.octets - before, 1024 * _LIMITS.burst + 2 * 8192)
        self.assertEqual(self.register(), 1)

    def test_unknown_key_ids_and_sites_cost_no_hash(self) -> None:
        """And no more than a limited number of rejections; the rest is only counted."""
        unknown_key = Secret(99, 2, b"which?")
        for options in (
            {"key": unknown_key},
            {"records": [record("203.0.113.0/24")] * 20},
            {"records": [record(eid(_EID, 77))]},
            {"length": 31, "key": Secret(1, 2, b"wrong length")},
        ):
            source = (ip("198.51.100.1"), 4342 + len(options))
            wrong = self.wrong(_MUCH, sources=[source] * _MUCH, **options)  # type: ignore[arg-type]
            self.assertEqual(self.hashes.of(lambda wrong=wrong: self.flood(wrong)), 0)
        self.assertLessEqual(self.server.registrar.rejections.count, _LIMITS.burst + 1)
        self.assertLess(self.server.registrar.rejections.count, MAX_REJECTIONS)
        self.assertEqual(self.register(), 1)

    def test_replays_are_as_good_as_wrong(self) -> None:
        """The same authentic Map-Register over and over, from its source and from others."""
        for sources in ([self.etr.source] * _MUCH, list(_spoofed(_MUCH))):
            caught = self.etr.map_register(record(_EID), flags=M)
            self.assertEqual(len(self.flood([(caught, self.etr.source)])), 1)
            replays = [(caught, source) for source in sources]
            limit = _LIMITS.burst if sources[0] == sources[1] else _LIMITS.burst_of_strangers
            done = self.hashes.of(lambda replays=replays: self.flood(replays))
            self.assertLessEqual(done, limit + 1)
            self.assertEqual(self.register(), 1)

    def test_a_session_does_not_notice(self) -> None:
        """Not even of the xTR in whose name the flood comes."""
        etr = Etr("192.0.2.9", xtr_id=9)
        peer: Peer = self.server.bring_up(etr, record("10.9.0.0/16"))
        wrong = self.wrong(_MUCH, xtr_id=9, sources=[etr.source] * _MUCH, nonce=1 << 40)
        self.flood(wrong)
        many = [etr.registration(record(f"10.9.{number}.0/24")) for number in range(256)]
        self.assertEqual([kind for kind, *_ in peer.send(*many)], ["ack"] * 256)

    def test_who_is_like_an_accepted_one_costs_one_hash_more(self) -> None:
        """What is compiled takes the ordinary ones; of wrong ones it sees the first only."""
        for _ in range(3):
            self.register()
        ordinary = self.server.control._ordinary
        if ordinary._known is None:
            return
        self.assertEqual(len(ordinary._known), 1)
        self.flood(self.wrong(1, xtr_id=1, sources=[self.etr.source], flags=M, nonce=5000))
        self.assertEqual(len(ordinary._known), 0)
        self.assertEqual(self.register(), 1)
        self.assertEqual(len(ordinary._known), 1)

    def test_without_a_nonce_check(self) -> None:
        """Who holds something over UDP is known all the same."""
        self.server = MapServer(nonce_check=NonceCheck.OFF)
        self.plane = ControlPlane({3: self.server.control}, ())
        self.register()
        count = int(_LIMITS.burst_of_strangers)
        self.flood(self.wrong(count, sources=_spoofed(count)))
        self.assertEqual(self.register(), 1)
        self.assertEqual(self.register(Etr("192.0.2.77", xtr_id=77)), 0)


class OtherTypesTests(FloodCase):
    """What is no Map-Register."""

    def test_garbage(self) -> None:
        """Every first octet, every length: no answer, no hash, nothing kept but a few numbers."""
        octets = random.Random(1)
        garbage = [(octets.randbytes(octets.randrange(200)), source) for source in _spoofed(_MUCH)]
        names = len(self.plane.counters) + len(self.server.control.counters)
        texts = len(self.server.control._source_texts)
        done = self.hashes.of(lambda: self.assertEqual(self.flood(garbage), []))
        self.assertEqual(done, 0)
        self.assertLess(len(self.plane.counters) + len(self.server.control.counters), names + 24)
        self.assertEqual(len(self.server.control._source_texts), texts)
        self.assertEqual(self.register(), 1)

    def test_info_requests(self) -> None:
        """Type 7 is nobody's here."""
        message = struct.pack("!IQI", 7 << 28, 1, 0) + bytes(60)
        self.assertEqual(self.flood([(message, source) for source in _spoofed(_MUCH)]), [])
        self.assertEqual(self.plane.counters, {"type 7 not handled": _MUCH})


class MapNotifyAckTests(SynchronousTestCase):
    """Map-Notify-Acks with the nonce of something outstanding, and a wrong MAC."""

    def setUp(self) -> None:
        self.hashes = _Hashes(self)
        self.server = PublishingMapServer()
        self.xtr = Xtr()
        self.ground = SubscriptionGround(self.server, self.xtr)
        self.told: list[Datagram] = []

        def loses(datagram: Any) -> bool:
            is_notify = datagram[0][0] >> 4 == 4
            if is_notify:
                self.told.append((datagram[0], datagram[2]))
            return is_notify

        self.ground.loses = loses
        self.ground.subscribe("10.1.0.0/16")
        self.assertTrue(self.told)

    def _wrong(self) -> bytes:
        ack = bytearray(self.told[-1][0])
        ack[0] = 5 << 4 | ack[0] & 0xF
        ack[20] ^= 1
        return bytes(ack)

    def _flood(self, sources: Iterable[tuple[bytes, int]]) -> None:
        wrong = self._wrong()
        for source in sources:
            self.server.receive_datagram(wrong, source, self.ground.now)

    def test_from_one_source_and_from_many(self) -> None:
        """The limits are those of Map-Registers."""
        done = self.hashes.of(lambda: self._flood([_ATTACKER] * _MUCH))
        self.assertLessEqual(done, _LIMITS.burst + 2)
        count = int(2 * _LIMITS.burst_of_strangers)
        done = self.hashes.of(lambda: self._flood(_spoofed(count)))
        self.assertLessEqual(done, _LIMITS.burst_of_strangers + 2)

    def test_who_was_told_is_heard_all_the_same(self) -> None:
        """The right Map-Notify-Ack confirms the subscription."""
        self._flood([_ATTACKER] * _MUCH)
        self._flood(_spoofed(int(2 * _LIMITS.burst_of_strangers)))
        self.ground.loses = lambda datagram: False
        self.ground.run(9.0)
        self.assertEqual(len(self.server.subscriptions), 1)

    def test_a_nonce_that_is_not_outstanding_costs_nothing(self) -> None:
        """It is compared first."""
        ack = bytearray(self._wrong())
        ack[4] ^= 1
        done = self.hashes.of(
            lambda: [
                self.server.receive_datagram(bytes(ack), source, self.ground.now)
                for source in _spoofed(_MUCH)
            ]
        )
        self.assertEqual(done, 0)


class SubscriptionTests(SynchronousTestCase):
    """Subscribing Map-Requests that nobody acknowledges."""

    def setUp(self) -> None:
        self.server = PublishingMapServer()
        self.etr = Etr()
        self.server.register(self.etr, "10.1.0.0/16", now=0.0)
        self.good = Xtr(1)
        self.ground = SubscriptionGround(self.server, self.good)
        self.ground.subscribe("10.1.0.0/16")
        self.assertEqual(len(self.server.subscriptions), 1)
        self.signed = 0
        digest = Key.digest

        def counted(key: Key, head: bytes, tail: bytes, length: int, purpose: Purpose) -> bytes:
            self.signed += purpose is Purpose.MAP_NOTIFY
            return digest(key, head, tail, length, purpose)

        self.patch(Key, "digest", counted)

    def _flood(self, count: int, numbers: Iterable[int], **more: Any) -> tuple[int, int]:
        """Subscribe in the names of these xTRs; return octets in and out."""
        octets_in = octets_out = 0
        sources = iter(more.get("sources", [_ATTACKER] * count))
        for number, source in zip(numbers, sources, strict=False):
            xtr = Xtr(number, "203.0.113.66", form=Form.PLAIN, seed=octets_in + 1)
            xtr.subscriber.subscribe(_prefix(octets_in % 200), self.ground.now)
            for data, _to in xtr.subscriber.datagrams_to_send(self.ground.now):
                octets_in += len(data) + HEADER_OCTETS
                self.server.receive_datagram(data, source, self.ground.now)
            octets_out += sum(
                len(data) + HEADER_OCTETS
                for data, _to in self.server.datagrams_to_send(self.ground.now)
            )
        return octets_in, octets_out

    def test_in_the_name_of_one_xtr(self) -> None:
        """Bounded signatures, candidates and octets; who is subscribed is told as ever."""
        octets_in, octets_out = self._flood(1000, [1] * 1000)
        self.assertLessEqual(self.signed, SUBSCRIPTION_LIMITS.burst + 1)
        self.assertLessEqual(self.server.subscriptions.candidates, 8)
        self.assertLessEqual(octets_out, AMPLIFICATION * octets_in)
        self.ground.register(self.etr, "10.1.0.0/16", locator("192.0.2.99"))
        published = [news for news in self.good.said() if news[0] == "published"]
        self.assertTrue(published)

    def test_in_the_names_of_many(self) -> None:
        """From as many addresses: the limit on all, and on all that waits."""
        count = 6000
        octets_in, octets_out = self._flood(count, range(10, 10 + count), sources=_spoofed(count))
        self.assertLessEqual(self.signed, SUBSCRIPTION_LIMITS.burst_of_strangers + 1)
        self.assertLessEqual(self.server.subscriptions.candidates, 4096)
        self.assertLessEqual(octets_out, AMPLIFICATION * octets_in)
        self.good.subscriber.subscribe(_prefix(3), self.ground.now)
        self.ground.run(9.0)
        self.assertEqual(len(self.server.subscriptions), 2)

    def test_one_source_in_the_names_of_many(self) -> None:
        """One host knows many xTR-IDs: it meets its own limit, and no other host notices."""
        count = 1000
        self._flood(count, range(10, 10 + count))
        self.assertLessEqual(self.signed, SUBSCRIPTION_LIMITS.burst + 1)
        self.good.subscriber.subscribe(_prefix(3), self.ground.now)
        self.ground.run(0.1)
        self.assertEqual(len(self.server.subscriptions), 2)

    def test_who_renews_does_not_notice(self) -> None:
        """Not even of a flood from made-up sources, in its own name: it is heard the first time."""
        (subscription,) = self.server.subscriptions.table
        before = subscription.request_number
        count = 6000
        numbers = (1 if number % 2 else number for number in range(10, 10 + count))
        self._flood(count, numbers, sources=_spoofed(count))
        refused = self.server.subscriptions.counters
        self.assertGreater(
            refused["subscriptions refused: too many failures from unknown sources"], 0
        )
        self.good.subscriber.renew(self.ground.now)
        self.ground.run(9.0)
        self.assertGreater(subscription.request_number, before)

    def test_what_is_acknowledged_is_given_back(self) -> None:
        """Whoever answers may subscribe as often as it likes."""
        self.patch_limits()
        for number in range(60):
            self.good.subscriber.subscribe(_prefix(number), self.ground.now)
            self.ground.run(0.1)
        self.assertGreaterEqual(len(self.server.subscriptions), 60)

    def patch_limits(self) -> None:
        """Have no more than a few at a time, and no more by waiting."""
        tight = UnprovenLimits(1e-9, 5.0, 1e-9, 5.0, 1e-9, 5.0, 1e-9, 5.0)
        proposals = self.server.subscriptions._proposals
        proposals._proofs._unproven = unproven.Unproven(tight)


class MapRequestTests(SynchronousTestCase):
    """Map-Requests of every kind."""

    def setUp(self) -> None:
        self.limits = RequestLimits(random.Random(1))
        server = registered(record(_EID, *(locator(f"192.0.2.{n}") for n in range(1, 20))))
        self.requests = MapRequests(
            Lookup(server.registrar.database, lambda: server.registrar.sites),
            lambda: server.registrar.sites,
            Questions(self.limits, lambda afi: True),
            can_reach=lambda afi: True,
        )
        self.plane = ControlPlane({1: self.requests, 8: self.requests}, ())

    def _flood(self, datagrams: Iterable[Datagram]) -> tuple[Counter[int], int, int]:
        """Return answers by their type, and octets in and out with their headers."""
        left = list(datagrams)
        octets_in = sum(len(data) + HEADER_OCTETS for data, _source in left)
        while left:
            self.plane.receive_datagrams(left, 0.0)
        out = self.requests.datagrams_to_send(0.0)
        kinds = Counter(data[0] >> 4 for data, _to in out)
        return kinds, octets_in, sum(len(data) + HEADER_OCTETS for data, _to in out)

    def test_of_every_kind_from_everywhere(self) -> None:
        """Plain, in an ECM, for a hole, for more specifics, for a prefix; as large as it gets."""
        kinds = (
            encode_map_request(map_request("10.1.0.1")),
            ecm(map_request("10.1.0.1")),
            ecm(map_request("10.200.0.1")),
            ecm(map_request("10.0.0.0/8")),
            ecm(map_request("172.16.0.1", "10.1.0.1", "10.200.0.0/16")),
        )
        for message in kinds:
            many = [(message, source) for source in _spoofed(_MUCH)]
            answers, octets_in, octets_out = self._flood(many)
            self.assertLessEqual(answers.total(), MAX_QUEUED)
            self.assertGreater(answers.total(), 0)
            self.assertLessEqual(octets_out, AMPLIFICATION * octets_in)
            self.assertLessEqual(len(self.limits), MAX_PAIRS)

    def test_from_one_source(self) -> None:
        """Its burst, and then by chance; another is answered at once."""
        message = ecm(map_request("10.1.0.1"))
        burst = int(self.limits.burst)
        answers, _octets_in, _octets_out = self._flood([(message, _ATTACKER)] * (2 * burst))
        self.assertLessEqual(answers.total(), burst)
        self.assertEqual(self._flood([(message, (ip("203.0.113.3"), 4342))])[0].total(), 1)

    def test_smrs_and_what_is_too_large(self) -> None:
        """Neither is answered."""
        smr = encode_map_request(map_request("10.1.0.1", smr=True))
        large = ecm(map_request(*["10.1.0.1"] * 255)) + bytes(MAX_QUESTION)
        many = [(data, source) for data in (smr, large) for source in _spoofed(_MUCH)]
        self.assertEqual(self._flood(many)[0], {})


def _prefix(number: int) -> EidPrefix:
    return prefix(f"10.{number % 250 + 2}.0.0/16")
