"""Unsolicited Map-Notifies: who has lost an EID-prefix, or shares it, hears of it over UDP."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from itertools import count
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.control.arming import Armory
from lispmsrt.control.etr import EtrControl, EtrTimers, SessionMode
from lispmsrt.control.map_notifies import MapNotifies, MapNotifyLimits
from lispmsrt.control.map_server import MAX_MERGED_NOTIFY, MapServerControl
from lispmsrt.control.retransmission import RetransmissionLimits, Retransmissions
from lispmsrt.mapping.credentials import Credentials
from lispmsrt.mapping.database import Endpoint, Lease, Registration
from lispmsrt.mapping.etr_registrations import EtrRegistrations
from lispmsrt.mapping.etr_states import EtrState
from lispmsrt.mapping.publisher import Publisher
from lispmsrt.mapping.registrar import Registrar
from lispmsrt.mapping.sites import Sites, eid_key
from lispmsrt.wire.addresses import Address, EidPrefix
from lispmsrt.wire.map_register import RegisterFlag
from lispmsrt.wire.records import Locator, MappingRecord
from lispmsrt.wire.reliable_transport import MappingNotification
from tests.builders import (
    ANY_IPV4,
    KEY,
    MERGE,
    SHA1_KEY,
    Etr,
    M,
    Notify,
    Secret,
    eid,
    ip,
    locator,
    record,
    site,
    sites,
)
from tests.test_retransmission import signed

_EID = "10.1.0.0/16"
_FIRST = 5_000_000


def _split(records: bytes) -> list[bytes]:
    """Cut records apart; EIDs and RLOCs are IPv4."""
    found = []
    while records:
        size = 16 + 12 * records[4]
        found.append(records[:size])
        records = records[size:]
    return found


class Server:
    """A Map-Server's UDP side with everything that it tells unasked."""

    def __init__(
        self,
        configured: Sites | None = None,
        *,
        limits: MapNotifyLimits | None = None,
        retransmission: RetransmissionLimits | None = None,
        notify_to_control_port: bool = False,
    ) -> None:
        self.wakes = 0
        self.retransmissions = Retransmissions(retransmission)
        self.notifies = MapNotifies(
            self.retransmissions, count(_FIRST).__next__, limits=limits, wake=self._woken
        )
        self.publisher = Publisher(self.notifies.tell)
        self.registrar = Registrar(
            configured or sites((site(), ANY_IPV4)), on_changes=self.publisher.changed
        )
        self.control = MapServerControl(
            self.registrar,
            Armory(),
            retransmissions=self.retransmissions,
            notifies=self.notifies,
            notify_to_control_port=notify_to_control_port,
        )

    def _woken(self) -> None:
        self.wakes += 1

    def at(self, text: str) -> Registration | None:
        """Return what is registered there."""
        instance_id, afi, _length, key = eid_key(EidPrefix.from_text(text))
        return self.registrar.database.exact(instance_id, afi, key)


class NotifyCase(SynchronousTestCase):
    """A Map-Server, two ETRs of one site, and virtual time."""

    def setUp(self) -> None:
        """One registers first."""
        self.make()

    def make(self, configured: Sites | None = None, **how: object) -> None:
        """Start over."""
        self.now = 0.0
        self.server = Server(configured, **how)  # type: ignore[arg-type]
        self.one = Etr("192.0.2.1", xtr_id=1)
        self.two = Etr("192.0.2.2", xtr_id=2)
        self.keys: dict[Endpoint, Secret] = {}
        self.covers_ids = True

    def register(
        self, etr: Etr, *records: bytes, flags: int = M, **how: object
    ) -> list[tuple[Endpoint, Notify]]:
        """Let an ETR register and return whom the Map-Server tells what."""
        self.keys[etr.source] = etr.key
        message = etr.map_register(*records, flags=flags, **how)  # type: ignore[arg-type]
        self.server.control.receive_datagram(message, etr.source, self.now)
        return self.send()

    def send(self) -> list[tuple[Endpoint, Notify]]:
        """Return what the Map-Server sends now."""
        return [
            (to, Notify.read(data, to, self.keys.get(to, KEY), self.covers_ids))
            for data, to in self.server.control.datagrams_to_send(self.now)
        ]

    def unasked(self, etr: Etr, *records: bytes, **how: object) -> list[Notify]:
        """The same, without the ETR's own Map-Notify."""
        heard = self.register(etr, *records, **how)  # type: ignore[arg-type]
        return [notify for _to, notify in heard if notify.nonce >= _FIRST]

    def run_until(
        self, until: float, hear: Callable[[Endpoint, Notify], None] = lambda to, notify: None
    ) -> list[tuple[float, Endpoint, Notify]]:
        """Return what is sent up to a time, each when it was asked for."""
        sent: list[tuple[float, Endpoint, Notify]] = []
        turns = 0
        while (due := self.server.control.next_timeout()) is not None and due <= until:
            turns += 1
            self.assertLess(turns, 100_000, "it spins")
            self.now = max(self.now, due)
            for to, notify in self.send():
                sent.append((self.now, to, notify))
                hear(to, notify)
        self.now = until
        return sent

    def ack(self, etr: Etr, notify: Notify, **how: object) -> None:
        """Let an ETR's Map-Notify-Ack come."""
        how.setdefault("key", etr.key)
        data = signed(5, notify.nonce, *_split(notify.records), ids=notify.ids, **how)  # type: ignore[arg-type]
        self.server.control.receive_datagram(data, etr.source, self.now)

    def assert_nothing_is_kept(self) -> None:
        """Neither names nor messages."""
        notifies = self.server.notifies
        self.assertEqual((notifies._recipients, list(notifies._ready)), ({}, []))
        self.assertEqual((notifies._names, self.server.retransmissions.outstanding), (0, 0))
        self.assertIsNone(self.server.control.next_timeout())


class MobilityTests(NotifyCase):
    """Without the a bit the newest registration replaces."""

    def test_who_is_replaced_is_told_the_new_mapping(self) -> None:
        """Where it registered from, with its IDs; the new one gets its own answer."""
        self.register(self.one, record(_EID, locator("192.0.2.1")))
        new = record(_EID, locator("192.0.2.2"))
        answer, (to, told) = self.register(self.two, new)
        self.assertEqual((answer[0], answer[1].ids), (self.two.source, self.two.ids))
        self.assertEqual((to, told.nonce), (self.one.source, _FIRST))
        self.assertEqual((told.records, told.ids, told.r), (new, self.one.ids, False))

    def test_until_it_acknowledges(self) -> None:
        """With the schedule of RFC 9301, in the same words."""
        self.register(self.one, record(_EID))
        (first,) = self.unasked(self.two, record(_EID, locator("192.0.2.2")))
        sent = self.run_until(10.0)
        self.assertEqual([at for at, _to, _notify in sent], [3.0, 6.0, 9.0])
        self.assertEqual({notify for _at, _to, notify in sent}, {first})
        self.ack(self.one, first)
        self.assertEqual(self.run_until(200.0), [])
        self.assert_nothing_is_kept()

    def test_given_up(self) -> None:
        """After seven tries; nothing is kept."""
        self.register(self.one, record(_EID))
        self.unasked(self.two, record(_EID, locator("192.0.2.2")))
        self.assertEqual(
            [at for at, _to, _notify in self.run_until(500.0)], [3.0, 6.0, 9.0, 15.0, 27.0, 51.0]
        )
        self.assertEqual(self.server.notifies.counters["given up"], 1)
        self.assert_nothing_is_kept()

    def test_acks_that_are_not_its_own(self) -> None:
        """Wrong MAC, wrong nonce: it goes on."""
        self.register(self.one, record(_EID))
        (told,) = self.unasked(self.two, record(_EID, locator("192.0.2.2")))
        self.ack(self.one, told, key=SHA1_KEY)
        self.ack(self.one, told, key=Secret(secret=b"guessed"))
        wrong = signed(5, told.nonce + 1, told.records, ids=told.ids)
        self.server.control.receive_datagram(wrong, self.one.source, 0.0)
        self.assertEqual(len(self.run_until(500.0)), 6)

    def test_an_ack_from_another_address(self) -> None:
        """NAT."""
        self.register(self.one, record(_EID))
        (told,) = self.unasked(self.two, record(_EID, locator("192.0.2.2")))
        self.one.source = (ip("198.51.100.1"), 999)
        self.ack(self.one, told)
        self.assert_nothing_is_kept()

    def test_who_did_not_ask_is_not_told(self) -> None:
        """No M bit."""
        self.register(self.one, record(_EID), flags=0)
        self.assertEqual(self.unasked(self.two, record(_EID, locator("192.0.2.2"))), [])

    def test_as_its_map_register_was_signed(self) -> None:
        """Key, length and coverage; no IDs where it gave none, or where they prove nothing."""
        for how, key, mac_length in (
            ({"length": 16}, KEY, 16),
            ({"key": SHA1_KEY}, SHA1_KEY, 20),
            ({"covers_ids": False}, KEY, 32),
        ):
            self.make(sites((site("office", KEY, SHA1_KEY), ANY_IPV4)))
            self.one.key = self.keys[self.one.source] = key
            message = self.one.map_register(record(_EID), flags=0 if "covers_ids" in how else M)
            message = self.one.map_register(record(_EID), flags=M, **how)  # type: ignore[arg-type]
            self.server.control.receive_datagram(message, self.one.source, 0.0)
            self.server.control.datagrams_to_send(0.0)
            (told,) = self.unasked(self.two, record(_EID, locator("192.0.2.2")))
            self.assertEqual((told.mac_length, told.key_id), (mac_length, key.key_id), how)
            self.assertEqual(told.ids, b"" if "covers_ids" in how else self.one.ids, how)
            self.ack(self.one, told, length=mac_length)
            self.assert_nothing_is_kept()

    def test_without_xtr_id(self) -> None:
        """Known by its address."""
        self.one = Etr("192.0.2.1", xtr_id=None)
        self.register(self.one, record(_EID))
        (told,) = self.unasked(self.two, record(_EID, locator("192.0.2.2")))
        self.assertEqual((told.ids, told.to), (b"", self.one.source))

    def test_to_the_newest_source_or_to_4342(self) -> None:
        """As Map-Notifies that answer."""
        for to_control_port, port in ((False, 777), (True, 4342)):
            self.make(notify_to_control_port=to_control_port)
            self.register(self.one, record(_EID))
            self.one.source = (ip("203.0.113.9"), 777)
            self.register(self.one, record(_EID))
            (told,) = self.unasked(self.two, record(_EID, locator("192.0.2.2")))
            self.assertEqual(told.to, (ip("203.0.113.9"), port))

    def test_who_has_moved_meanwhile_is_told_there(self) -> None:
        """A retransmission follows the newest Map-Register, with a new nonce."""
        self.register(self.one, record(_EID), record("10.9.0.0/16"))
        self.unasked(self.two, record(_EID, locator("192.0.2.2")))
        self.one.source = (ip("203.0.113.9"), 777)
        self.register(self.one, record("10.9.0.0/16"))
        sent = self.run_until(4.0)
        self.assertEqual(
            [(to, told.nonce) for _at, to, told in sent], [(self.one.source, _FIRST + 1)]
        )

    def test_a_change_takes_the_place_of_what_is_being_retransmitted(self) -> None:
        """With a new nonce and schedule; an Ack of the old one comes too late."""
        self.register(self.one, record(_EID))
        (old,) = self.unasked(self.two, record(_EID, locator("192.0.2.2")))
        self.run_until(7.0)
        three = Etr("192.0.2.3", xtr_id=3)
        newest = record(_EID, locator("192.0.2.3"))
        told = self.unasked(three, newest)
        # What the first one was told is no longer so: its retransmission says what is.
        self.assertEqual([(one.to, one.records) for one in told], [(self.two.source, newest)])
        self.ack(self.two, told[0])
        later = self.run_until(9.0)
        self.assertEqual(
            [(at, to, one.records) for at, to, one in later], [(9.0, self.one.source, newest)]
        )
        self.assertGreater(later[0][2].nonce, told[0].nonce)
        self.ack(self.one, old)
        self.assertEqual(self.server.retransmissions.outstanding, 1)
        self.ack(self.one, later[0][2])
        self.assert_nothing_is_kept()

    def test_who_takes_it_back_is_not_told_otherwise(self) -> None:
        """A late retransmission says that it is the owner's again."""
        self.register(self.one, record(_EID))
        self.unasked(self.two, record(_EID, locator("192.0.2.2")))
        (told,) = self.unasked(self.one, record(_EID))
        self.assertEqual((told.to, told.records), (self.two.source, record(_EID)))
        sent = self.run_until(3.0)
        self.assertEqual(
            {(to, one.records) for _at, to, one in sent},
            {(self.one.source, record(_EID)), (self.two.source, record(_EID))},
        )

    def test_what_is_gone_by_then_is_told_with_ttl_0(self) -> None:
        """The new owner has withdrawn it."""
        self.register(self.one, record(_EID))
        self.unasked(self.two, record(_EID, locator("192.0.2.2")))
        self.register(self.two, record(_EID, ttl=0))
        ((_at, to, told),) = self.run_until(3.0)
        self.assertEqual((to, told.records), (self.one.source, record(_EID, ttl=0)))

    def test_who_was_on_a_session_is_not_told_over_udp(self) -> None:
        """No path: nothing is sent."""
        self.register(self.one, record(_EID))
        found = self.server.at(_EID)
        assert found is not None
        found.lease.path = None
        self.assertEqual(self.unasked(self.two, record(_EID, locator("192.0.2.2"))), [])
        self.assert_nothing_is_kept()

    def test_a_path_that_is_gone_meanwhile(self) -> None:
        """Before it is sent, or while it is retransmitted."""
        self.register(self.one, record(_EID))
        found = self.server.at(_EID)
        assert found is not None
        lease = found.lease
        for turn in range(2):
            self.server.notifies.tell(lease, *self.name(_EID))
            if turn:
                self.assertEqual(len(self.send()), 1)
            path, lease.path = lease.path, None
            self.assertEqual(self.run_until(self.now + 500.0), [])
            self.assert_nothing_is_kept()
            lease.path = path
        self.assertEqual(self.server.notifies.counters["not told, no path"], 2)

    def name(self, text: str) -> tuple[object, int]:
        """Return table and key of an EID-prefix."""
        instance_id, afi, _length, key = eid_key(EidPrefix.from_text(text))
        return self.server.registrar.database.table(instance_id, afi), key

    def test_the_socket_is_woken_once(self) -> None:
        """Where a session's Registration is what moved the EID-prefixes."""
        self.register(self.one, record(_EID), record("10.2.0.0/16"))
        found = self.server.at(_EID)
        assert found is not None
        for text in (_EID, "10.2.0.0/16", _EID):
            self.server.notifies.tell(found.lease, *self.name(text))
        self.assertEqual(self.server.wakes, 1)
        self.assertEqual(self.server.control.next_timeout(), float("-inf"))
        ((_to, told),) = self.send()
        self.assertEqual(told.records, record(_EID) + record("10.2.0.0/16"))
        self.assertEqual(self.server.notifies.counters["coalesced"], 1)


class MergeTests(NotifyCase):
    """With the a bit everybody hears of the RLOCs of all."""

    def setUp(self) -> None:
        """Both register, with a."""
        super().setUp()
        self.mine = record(_EID, locator("192.0.2.1"))
        self.both = record(_EID, locator("192.0.2.1"), locator("192.0.2.2"))
        self.register(self.one, self.mine, flags=M | MERGE)
        self.heard = self.register(self.two, record(_EID, locator("192.0.2.2")), flags=M | MERGE)

    def test_the_acknowledging_map_notify_has_the_merged_record(self) -> None:
        """And the other one hears the same unasked."""
        (to, answer), (other, told) = self.heard
        self.assertEqual((to, answer.records), (self.two.source, self.both))
        self.assertEqual((other, told.records), (self.one.source, self.both))

    def test_a_repeated_map_register_gets_the_same_answer(self) -> None:
        """As it was kept."""
        nonce = self.two.nonce
        mine = record(_EID, locator("192.0.2.2"))
        ((_to, again),) = self.register(self.two, mine, flags=M | MERGE, nonce=nonce)
        self.assertEqual((again.nonce, again.records), (nonce, self.both))

    def test_a_withdrawal_is_answered_as_it_came(self) -> None:
        """The other one hears what is left."""
        self.ack(self.one, self.heard[1][1])
        gone = record(_EID, ttl=0)
        (_, answer), (to, told) = self.register(self.two, gone, flags=M | MERGE)
        self.assertEqual((answer.records, to, told.records), (gone, self.one.source, self.mine))

    def test_a_merged_record_that_would_make_the_answer_too_large_is_left_out(self) -> None:
        """The rest is told: a Map-Notify is one datagram."""
        many = [locator(f"192.0.{2 + n // 200}.{n % 200}") for n in range(240)]
        for number in range(2, 8):
            text = f"10.{number}.0.0/16"
            self.register(self.one, record(text, *many[:120]), flags=M | MERGE)
            self.register(self.two, record(text, *many[120:]), flags=M | MERGE)
        small = [record(f"10.{number}.0.0/16", *many[120:]) for number in range(2, 8)]
        (_, answer), *_told = self.register(self.two, *small, flags=M | MERGE)
        self.assertLessEqual(len(answer.records), max(MAX_MERGED_NOTIFY, sum(map(len, small))))
        self.assertTrue(answer.records.endswith(small[-1]))


class BulkTests(NotifyCase):
    """A handover of many EID-prefixes."""

    def take_over(self, many: int, **how: object) -> list[Notify]:
        """Let the second ETR take them all; return what the first one was told at once."""
        self.make(**how)  # type: ignore[arg-type]
        texts = [f"10.{n >> 8}.{n & 255}.0/24" for n in range(many)]
        batches = [texts[first : first + 250] for first in range(0, many, 250)]
        for batch in batches:
            self.register(self.one, *map(record, batch))
        told = []
        for batch in batches:
            new = [record(text, locator("192.0.2.2")) for text in batch]
            told += self.unasked(self.two, *new)
        return told

    def test_a_datagram_holds_what_fits(self) -> None:
        """548 octets, 17 EID-prefixes; newest by the time of sending."""
        told = self.take_over(100)
        self.assertEqual([len(_split(one.records)) for one in told], [17] * 5 + [15])
        self.assertTrue(all(16 + 32 + 24 + len(one.records) <= 548 for one in told))

    def test_10000_eid_prefixes(self) -> None:
        """A window of 32 Map-Notifies; the rest follows the answers; all is told, once."""
        told = self.take_over(10_000)
        self.assertEqual(len(told), 32)
        found: list[bytes] = []
        waiting = told
        most = 0
        while waiting:
            for one in waiting:
                found += _split(one.records)
                self.ack(self.one, one)
            most = max(most, len(waiting))
            waiting = [one for _at, _to, one in self.run_until(self.now + 0.05)]
        self.assertEqual((len(found), len(set(found))), (10_000, 10_000))
        self.assertTrue(all(one.endswith(locator("192.0.2.2")) for one in found))
        self.assertLessEqual(most, 32)
        self.assertEqual(self.server.retransmissions.counters["retransmissions"], 0)
        self.assert_nothing_is_kept()

    def test_10000_eid_prefixes_of_an_etr_that_is_gone(self) -> None:
        """One window is tried to the end, the rest not at all: it would take hours."""
        told = sum(len(_split(one.records)) for one in self.take_over(10_000))
        sent = self.run_until(1000.0)
        self.assertEqual(len(sent), 32 * 6)
        self.assertLess(max(at for at, _to, _notify in sent), 52.0)
        self.assertEqual(self.server.notifies.counters["not told, no answers"], 10_000 - told)
        self.assert_nothing_is_kept()

    def test_with_loss_everything_arrives(self) -> None:
        """Every third Map-Notify and every fourth Ack is lost."""
        waiting = [(0.0, self.one.source, one) for one in self.take_over(3000)]
        found: set[bytes] = set()
        lost = count(1)
        while waiting or self.server.control.next_timeout() is not None:
            for _at, _to, one in waiting:
                if next(lost) % 3 == 0:
                    continue
                found.update(_split(one.records))
                if next(lost) % 4:
                    self.ack(self.one, one)
            due = self.server.control.next_timeout()
            waiting = self.run_until(max(self.now, due or 0.0))
        self.assertEqual(len(found), 3000)
        self.assert_nothing_is_kept()

    def test_what_waits_is_bounded(self) -> None:
        """Per xTR, and in all."""
        for limits in (MapNotifyLimits(max_names=700), MapNotifyLimits(max_names_per_xtr=700)):
            self.take_over(1000, limits=limits)
            counters = self.server.notifies.counters
            self.assertEqual(counters["not told, too much waits"], 300)
            self.run_until(1000.0)
            self.assert_nothing_is_kept()

    def test_an_xtr_that_is_not_watched_is_told_once(self) -> None:
        """The retransmissions are full."""
        told = self.take_over(100, retransmission=RetransmissionLimits(max_outstanding=2))
        self.assertEqual(len(told), 6)
        self.assertEqual(len(self.run_until(1000.0)), 2 * 6)
        self.assert_nothing_is_kept()

    def test_the_pace_holds_for_all_together(self) -> None:
        """One datagram of each xTR in turn, 64 in 10 ms, and no spinning between."""
        self.make()
        etrs = [Etr(f"198.51.100.{n}", xtr_id=100 + n) for n in range(200)]
        for n, etr in enumerate(etrs):
            self.register(etr, record(f"10.{n}.0.0/16"))
        texts = [f"10.{n}.0.0/16" for n in range(200)]
        told = self.unasked(self.two, *(record(text, locator("192.0.2.2")) for text in texts))
        self.assertEqual(len(told), 64)
        times = [at for at, _to, _notify in self.run_until(1.0)]
        self.assertEqual([times.count(at) for at in sorted(set(times))], [64, 64, 8])

    def test_a_record_larger_than_a_datagram_goes_alone(self) -> None:
        """Rather than never."""
        large = record(_EID, *(locator(f"192.0.2.{n}") for n in range(1, 90)))
        self.register(self.one, record(_EID), record("10.2.0.0/16"))
        told = self.unasked(self.two, large, record("10.2.0.0/16", locator("192.0.2.2")))
        self.assertEqual(told[0].records, large)
        self.assertEqual(len(told), 2)


class _EtrHost:
    """An ETR's real UDP side, with an application that listens."""

    def __init__(self, number: int, *, yields: bool = True) -> None:
        self.endpoint = (ip(f"192.0.2.{number}"), 4342)
        self.heard: list[MappingNotification] = []
        self.registrations = EtrRegistrations(self)
        nonces = count(number * 1_000_000)
        ids = struct.pack("!QQQ", 0, number, 7)
        credentials = Credentials(KEY.key(), ids, RegisterFlag.WANT_MAP_NOTIFY, nonces.__next__)
        self.rloc = Address.from_text(f"192.0.2.{number}")
        self.control = EtrControl(
            self.registrations,
            credentials,
            mode=SessionMode.OFF,
            random=Random(number),
            timers=EtrTimers(),
            on_mapping_notified=self.heard.append,
            yields=yields,
        )

    def acknowledged(self, wire: bytes) -> None:
        """Nobody waits."""

    def rejected(self, wire: bytes, reason: int) -> None:
        """Only a session does."""

    def taken_over(self, eid: bytes) -> None:
        """What is heard says it."""

    def register(self, *texts: str) -> None:
        """Mean to register them."""
        for text in texts:
            locators = (Locator(self.rloc),)
            record = MappingRecord(EidPrefix.from_text(text), 1440, locators)
            self.registrations.register(record, awaited=True)

    def state(self, text: str) -> EtrState:
        """How far it has come."""
        return self.registrations.entries[eid(text)].state


class BackToBackTests(SynchronousTestCase):
    """Both ends, with delay and loss."""

    def make(self, *, loses_every: int = 0, yields: bool = True) -> None:
        """Start over."""
        self.now = 0.0
        self.server = Server()
        self.etrs = [_EtrHost(1, yields=yields), _EtrHost(2, yields=yields)]
        self.nobody = _EtrHost(3)
        self.loses_every = loses_every
        self.carried = 0
        self.in_flight: list[tuple[float, bytes, _EtrHost, bool]] = []
        self.holders: list[tuple[float, bytes]] = []

    def carry(self, data: bytes, etr: _EtrHost, *, is_to_server: bool) -> None:
        """Take 20 ms, and lose every nth."""
        self.carried += 1
        if not self.loses_every or self.carried % self.loses_every:
            self.in_flight.append((self.now + 0.02, data, etr, is_to_server))

    def turn(self) -> None:
        """Deliver what is due, then collect."""
        due = [one for one in self.in_flight if one[0] <= self.now]
        self.in_flight = [one for one in self.in_flight if one[0] > self.now]
        for _at, data, etr, is_to_server in due:
            if is_to_server:
                self.server.control.receive_datagram(data, etr.endpoint, self.now)
            else:
                etr.control.receive_datagram(data, self.now)
        for data, to in self.server.control.datagrams_to_send(self.now):
            self.carry(data, self.etr_at(to), is_to_server=False)
        for etr in self.etrs:
            for data in etr.control.datagrams_to_send(self.now):
                self.carry(data, etr, is_to_server=True)
        self.note_holder()

    def etr_at(self, endpoint: Endpoint) -> _EtrHost:
        """Return whose endpoint it is."""
        return next((etr for etr in self.etrs if etr.endpoint == endpoint), self.nobody)

    def note_holder(self) -> None:
        """Note when the EID-prefix changes hands."""
        found = self.server.at(_EID)
        holder = found.lease.xtr.ids if found is not None else b""
        if not self.holders or self.holders[-1][1] != holder:
            self.holders.append((self.now, holder))

    def run_until(self, until: float) -> None:
        """Let time pass."""
        self.turn()
        while True:
            times: Iterable[float | None] = (
                self.server.control.next_timeout(),
                *(etr.control.next_timeout() for etr in self.etrs),
                min((one[0] for one in self.in_flight), default=None),
            )
            due = min((at for at in times if at is not None), default=None)
            if due is None or due > until:
                break
            self.now = max(self.now, due)
            self.turn()
            self.server.registrar.expire(self.now)
        self.now = until

    def ids(self, number: int) -> bytes:
        """xTR-ID and Site-ID of an ETR."""
        return struct.pack("!QQQ", 0, number, 7)

    def test_the_roamed_from_etr_hears_of_it_and_gives_way(self) -> None:
        """Also with loss; the EID-prefix changes hands once, and for ten minutes no more."""
        for loses_every in (0, 2, 3, 5, 7):
            self.make(loses_every=loses_every)
            one, two = self.etrs
            one.register(_EID, "10.2.0.0/16")
            self.run_until(30.0)
            two.register(_EID)
            self.run_until(630.0)
            holders = [holder for _at, holder in self.holders]
            self.assertEqual(holders[-2:], [self.ids(1), self.ids(2)], loses_every)
            self.assertEqual(
                (one.state(_EID), two.state(_EID)), (EtrState.ROAMED, EtrState.PERIODIC)
            )
            self.assertEqual(one.state("10.2.0.0/16"), EtrState.PERIODIC)
            if not loses_every:  # periodic loss may be in step with the period
                self.assertIsNotNone(self.server.at("10.2.0.0/16"))
            # Twice where its own Map-Register came between.
            heard = {(str(told.record.eid), told.record.locators) for told in one.heard}
            self.assertEqual(heard, {(_EID, (Locator(two.rloc),))})
            self.assertEqual(self.server.retransmissions.outstanding, 0)

    def test_it_comes_back_when_the_newer_one_withdraws_or_is_gone(self) -> None:
        """Also with loss."""
        for loses_every, withdraws in ((0, True), (0, False), (3, True), (4, False)):
            self.make(loses_every=loses_every)
            one, two = self.etrs
            one.register(_EID, "10.2.0.0/16")
            self.run_until(30.0)
            two.register(_EID)
            self.run_until(130.0)
            self.assertIs(one.state(_EID), EtrState.ROAMED)
            if withdraws:
                two.registrations.withdraw(EidPrefix.from_text(_EID))
            else:
                self.etrs.remove(two)
            self.run_until(190.0 if withdraws else 430.0)
            self.assertEqual(self.holders[-1][1], self.ids(1), (loses_every, withdraws))
            self.assertIs(one.state(_EID), EtrState.PERIODIC)

    def test_back_and_forth(self) -> None:
        """Whoever the application registers it at last holds it."""
        self.make(loses_every=4)
        for turn in range(6):
            self.etrs[turn % 2].register(_EID)
            self.run_until(self.now + 200.0)
        self.assertEqual(
            [holder for _at, holder in self.holders if holder], [self.ids(1), self.ids(2)] * 3
        )

    def test_without_giving_way_they_take_it_from_each_other(self) -> None:
        """Each period; the application hears every time."""
        self.make(yields=False)
        one, two = self.etrs
        one.register(_EID)
        self.run_until(30.0)
        two.register(_EID)
        self.run_until(330.0)
        self.assertGreater(len(self.holders), 8)
        self.assertGreater(len(one.heard), 3)
        self.assertEqual(one.state(_EID), EtrState.PERIODIC)

    def test_a_map_register_that_crossed_the_news(self) -> None:
        """The old ETR's came last, so it holds the EID-prefix: one of both goes on, not none."""
        self.make()
        one, two = self.etrs
        one.register(_EID)
        self.run_until(5.0)
        (period,) = [at for at in [one.control.next_timeout()] if at is not None]
        self.run_until(period - 0.01)
        two.register(_EID)
        self.run_until(period + 600.0)
        states = [one.state(_EID), two.state(_EID)]
        self.assertEqual(states, [EtrState.PERIODIC, EtrState.ROAMED])
        self.assertEqual(self.holders[-1][1], self.ids(1))
        self.assertEqual(len(two.heard), 1)

    def test_two_etrs_that_register_the_rlocs_of_both(self) -> None:
        """A site with two ETRs and no merging: neither gives way to the other."""
        self.make()
        one, two = self.etrs
        for etr in self.etrs:
            locators = (Locator(one.rloc), Locator(two.rloc))
            etr.registrations.register(
                MappingRecord(EidPrefix.from_text(_EID), 1440, locators), awaited=True
            )
        self.run_until(300.0)
        self.assertEqual({one.state(_EID), two.state(_EID)}, {EtrState.PERIODIC})


class LeaseTests(SynchronousTestCase):
    """What the publisher hands over."""

    def test_a_lease_without_a_path(self) -> None:
        """A session's: counted, and nothing is kept."""
        server = Server()
        registrar = server.registrar
        one = Etr()
        server.control.receive_datagram(one.map_register(record(_EID)), one.source, 0.0)
        found = server.at(_EID)
        assert found is not None
        lease = Lease(found.lease.xtr, "TCP", "192.0.2.1:5000", is_live=True)
        instance_id, afi, _length, key = eid_key(EidPrefix.from_text(_EID))
        server.notifies.tell(lease, registrar.database.table(instance_id, afi), key)
        self.assertEqual(server.notifies.counters["not told, no path"], 1)
        self.assertEqual(server.notifies._recipients, {})
