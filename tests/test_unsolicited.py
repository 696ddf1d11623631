"""What an ETR makes of Map-Notifies that it has not asked for."""

from __future__ import annotations

from itertools import count
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.control import unsolicited as unsolicited_module
from lispmsrt.control.etr import EtrControl, SessionMode
from lispmsrt.control.unsolicited import REMEMBERED, Novelty, NoveltyCheck
from lispmsrt.mapping.credentials import Credentials
from lispmsrt.mapping.etr_registrations import EtrRegistrations
from lispmsrt.mapping.etr_states import EtrState
from lispmsrt.wire.addresses import Address, EidPrefix
from lispmsrt.wire.authentication import Coverage, Purpose
from lispmsrt.wire.map_register import decode_map_notify_ack, walk_map_notify_ack
from lispmsrt.wire.reader import Reader
from lispmsrt.wire.records import Locator, MappingRecord, decode_record
from lispmsrt.wire.reliable_transport import (
    MappingNotification,
    RefreshScope,
    RegistrationRefresh,
)
from tests.builders import KEY, OTHER_KEY, SHA1_KEY, R, Secret, eid, lcaf, locator, record
from tests.test_retransmission import signed

_EID = "10.1.0.0/16"
_IDS = bytes(range(24))
_MINE = record(_EID, locator("192.0.2.1"))
_OTHERS = record(_EID, locator("192.0.2.2"))
_BOTH = record(_EID, locator("192.0.2.1"), locator("192.0.2.2"))
_EVERYTHING = RegistrationRefresh(RefreshScope.EVERYTHING)


class UnsolicitedCase(SynchronousTestCase):
    """An ETR's UDP side that has registered one EID-prefix; the answer came."""

    def setUp(self) -> None:
        """All is quiet."""
        self.make()

    def make(
        self,
        *,
        yields: bool = True,
        key: Secret = KEY,
        ids: bytes = _IDS,
        mode: SessionMode = SessionMode.AUTO,
    ) -> None:
        """Start over."""
        self.now = 0.0
        self.key = key
        self.leaves = 0
        self.told: list[MappingNotification] = []
        self.acknowledgements: list[bytes] = []
        self.registrations = EtrRegistrations(self)
        self.credentials = Credentials(key.key(), ids, 0, count(1).__next__)
        self.control = EtrControl(
            self.registrations,
            self.credentials,
            mode=mode,
            random=Random(3),
            on_leave_to_connect=self._leave,
            on_mapping_notified=self._told,
            yields=yields,
        )
        self.mean(_EID)
        self.control.datagrams_to_send(0.0)
        self.answer(1)

    def _leave(self) -> None:
        self.leaves += 1

    def _told(self, notification: MappingNotification) -> None:
        self.told.append(notification)

    def acknowledged(self, wire: bytes) -> None:
        """Note it."""
        self.acknowledgements.append(wire)

    def rejected(self, wire: bytes, reason: int) -> None:
        """Only a session does."""

    def taken_over(self, eid: bytes) -> None:
        """Nobody asks here."""

    def mean(self, text: str, weight: int = 100) -> None:
        """Mean to register."""
        locators = (Locator(Address.from_text("192.0.2.1"), weight=weight),)
        mapping = MappingRecord(EidPrefix.from_text(text), 1440, locators)
        self.registrations.register(mapping, awaited=True)

    def answer(self, nonce: int, bits: int = 0) -> None:
        """Let the Map-Notify come that answers."""
        ids = self.credentials.ids
        self.hear(signed(4, nonce, _MINE, key=self.key, ids=ids, bits=bits))

    def hear(self, data: bytes) -> list[bytes]:
        """Take a datagram and return what is sent."""
        self.control.receive_datagram(data, self.now)
        return self.control.datagrams_to_send(self.now)

    def notify(self, *records: bytes, nonce: int = 5000, **how: object) -> list[bytes]:
        """Take a Map-Notify that nobody asked for; return what is sent."""
        how.setdefault("key", self.key)
        how.setdefault("ids", self.credentials.ids)
        return self.hear(signed(4, nonce, *records, **how))  # type: ignore[arg-type]

    def run_until(self, until: float) -> list[bytes]:
        """Return what is sent up to a time."""
        sent = []
        while (due := self.control.next_timeout()) is not None and due <= until:
            self.now = max(self.now, due)
            sent += self.control.datagrams_to_send(self.now)
        self.now = until
        return sent

    def counted(self, name: str) -> int:
        """Return a counter."""
        return self.control.counters[name]

    @property
    def state(self) -> EtrState:
        """How far the EID-prefix has come."""
        return self.registrations.entries[eid(_EID)].state


class AckTests(UnsolicitedCase):
    """Map-Notify-Ack (RFC 9301 §5.8)."""

    def test_mirrors_the_map_notify(self) -> None:
        """Nonce, records, IDs, key; only type and MAC differ."""
        ack = self.notify(_OTHERS, record("10.9.0.0/16"))
        self.assertEqual(ack, [signed(5, 5000, _OTHERS, record("10.9.0.0/16"), ids=_IDS)])

    def test_mirrors_length_and_coverage(self) -> None:
        """Truncated, or without the IDs."""
        for how in (
            {"length": 16},
            {"covers_ids": False},
            {"length": 16, "covers_ids": False},
        ):
            self.make()
            self.assertEqual(
                self.notify(_OTHERS, **how),
                [signed(5, 5000, _OTHERS, ids=_IDS, **how)],  # type: ignore[arg-type]
            )

    def test_every_algorithm(self) -> None:
        """With a key of its own for derived ones."""
        for key in (SHA1_KEY, Secret(5, 3, b"derived")):
            self.make(key=key)
            self.assertEqual(self.notify(_OTHERS), [signed(5, 5000, _OTHERS, key=key, ids=_IDS)])

    def test_without_ids(self) -> None:
        """As it came."""
        self.make(ids=b"")
        self.assertEqual(self.notify(_OTHERS), [signed(5, 5000, _OTHERS)])

    def test_it_verifies(self) -> None:
        """The wire package reads it."""
        (ack,) = self.notify(_OTHERS)
        self.assertEqual(decode_map_notify_ack(ack).site_id, _IDS[16:])
        *_, length, _records, end = walk_map_notify_ack(ack)
        found = KEY.key().verify(ack, 0, end, len(ack), length, Purpose.MAP_NOTIFY_ACK)
        self.assertIs(found, Coverage.WHOLE_MESSAGE)

    def test_without_records(self) -> None:
        """Nothing is told, and it is acknowledged all the same."""
        self.assertEqual(self.notify(), [signed(5, 5000, ids=_IDS)])
        self.assertEqual(self.told, [])

    def test_none_for_what_answers_a_map_register(self) -> None:
        """Nor for a second copy of that."""
        for _ in range(2):
            self.assertEqual(self.hear(signed(4, 1, _MINE, ids=_IDS)), [])
        self.assertEqual(self.told, [])

    def test_none_for_what_is_not_authentic(self) -> None:
        """Silence."""
        for wrong in (
            signed(4, 5000, _OTHERS, key=OTHER_KEY, ids=_IDS),
            signed(4, 5000, _OTHERS, key=SHA1_KEY, ids=_IDS),
            signed(5, 5000, _OTHERS, ids=_IDS),
            signed(4, 5000, _OTHERS, ids=_IDS, purpose=b"Map-Notify-Ack Authentication")[:-1],
        ):
            self.assertEqual(self.hear(wrong), [])
        self.assertEqual((self.told, self.state), ([], EtrState.PERIODIC))

    def test_none_for_another_xtr(self) -> None:
        """Of the same site, with the same key: told to it, replayed to us."""
        self.assertEqual(self.notify(_OTHERS, ids=bytes(15) + b"\x09" + bytes(8)), [])
        self.assertEqual(self.counted("Map-Notifies for another xTR"), 1)
        self.assertEqual((self.told, self.state), ([], EtrState.PERIODIC))

    def test_ids_that_are_absent_or_zero_say_nothing(self) -> None:
        """Not every Map-Server mirrors them."""
        self.assertEqual(len(self.notify(_OTHERS, ids=b"")), 1)
        self.assertEqual(len(self.notify(_OTHERS, nonce=5001, ids=bytes(24))), 1)

    def test_none_for_what_can_not_be_read(self) -> None:
        """An EID that is none: nothing is told of the other record either."""
        broken = record(b"\x20" + lcaf(5, bytes(4)))
        self.assertEqual(self.notify(_OTHERS, broken), [])
        self.assertEqual((self.told, self.counted("malformed")), ([], 1))


class ToldTests(UnsolicitedCase):
    """What the application hears."""

    def test_each_record(self) -> None:
        """Without IDs: those in a Map-Notify are the receiver's own."""
        self.notify(_OTHERS, record("10.1.5.0/24", ttl=0))
        self.assertEqual(
            [(one.xtr_id, one.site_id) for one in self.told], [(bytes(16), bytes(8))] * 2
        )
        self.assertEqual([str(one.record.eid) for one in self.told], [_EID, "10.1.5.0/24"])
        self.assertEqual([one.record.ttl for one in self.told], [1440, 0])

    def test_once(self) -> None:
        """A repeated one is acknowledged again."""
        answers = {tuple(self.notify(_OTHERS)) for _ in range(3)}
        self.assertEqual((len(answers), len(self.told)), (1, 1))
        self.assertEqual(self.counted("Map-Notifies repeated"), 2)
        self.assertEqual(self.counted("Map-Notify-Acks out"), 3)

    def test_a_map_server_that_always_sends_the_same_nonce(self) -> None:
        """What it says differs."""
        self.notify(_OTHERS, nonce=0)
        self.notify(_BOTH, nonce=0)
        self.notify(_OTHERS, nonce=0)
        self.assertEqual(len(self.told), 2)

    def test_it_gives_no_leave_to_connect(self) -> None:
        """Unasked, whatever its r bit says."""
        self.make(mode=SessionMode.ALWAYS)
        leaves, self.leaves = self.leaves, 0
        self.assertEqual(leaves, 1)
        self.control.connected()
        self.assertEqual(len(self.notify(_OTHERS, bits=R)), 1)
        self.assertEqual((self.leaves, self.control.may_connect(0.0)), (0, False))
        self.assertEqual(self.control.last_notify, 0.0)

    def test_what_was_kept_for_long_is_not_told(self) -> None:
        """A Map-Server that counts up: a captured Map-Notify is worth nothing later."""
        for number in range(20):
            self.now = 10.0 * number
            self.notify(_BOTH, nonce=6000 + number)
        self.now = 400.0
        self.notify(_BOTH, nonce=7000)
        self.told.clear()
        self.assertEqual(self.notify(_OTHERS, nonce=5999), [])
        self.assertEqual((self.told, self.counted("Map-Notifies replayed")), ([], 1))

    def test_with_a_new_key_nonces_begin_anew(self) -> None:
        """It may be another Map-Server by then."""
        self.test_what_was_kept_for_long_is_not_told()
        self.key = OTHER_KEY
        self.credentials.key = OTHER_KEY.key()
        self.assertEqual(len(self.notify(_OTHERS, nonce=1_000_000)), 1)
        self.assertEqual(len(self.notify(_OTHERS, nonce=4000)), 1)


class NoveltyTests(SynchronousTestCase):
    """New, repeated, or kept by somebody."""

    def setUp(self) -> None:
        """Nothing was seen."""
        self.novelty = NoveltyCheck()

    def check(self, nonce: int, now: float = 0.0) -> Novelty:
        """Judge a Map-Notify of this nonce."""
        return self.novelty.check(nonce.to_bytes(8, "big"), nonce, now)

    def test_random_nonces(self) -> None:
        """Any that was not seen is new."""
        random = Random(4)
        nonces = [random.getrandbits(64) for _ in range(REMEMBERED)]
        now = 0.0
        for nonce in nonces:
            now += 5.0
            self.assertIs(self.check(nonce, now), Novelty.NEW)
        for nonce in nonces:
            self.assertIs(self.check(nonce, now), Novelty.REPEATED)

    def test_what_is_remembered_is_bounded(self) -> None:
        """The oldest is forgotten."""
        self.patch(unsolicited_module, "REMEMBERED", 3)
        for nonce in (9, 8, 7, 6):
            self.check(nonce)
        self.assertEqual(len(self.novelty._seen), 3)
        self.assertIs(self.check(9), Novelty.NEW)
        self.assertIs(self.check(6), Novelty.REPEATED)

    def test_who_counts_up_may_be_late(self) -> None:
        """By 100 s, for longer no retransmission lasts; after 200 s it is old for sure."""
        for nonce in range(100, 140):
            self.assertIs(self.check(nonce), Novelty.NEW)
        self.assertIs(self.check(99, 99.0), Novelty.NEW)
        self.check(140, 100.0)
        self.assertIs(self.check(98, 200.0), Novelty.OLD)
        self.assertIs(self.check(139, 250.0), Novelty.REPEATED)

    def test_15_increases_prove_nothing(self) -> None:
        """16 in a row do; a fall begins anew."""
        for many, expected in ((15, Novelty.NEW), (16, Novelty.OLD)):
            self.setUp()
            for nonce in (50, 51, 20, *range(52, 52 + many)):
                self.check(nonce)
            self.check(21, 150.0)
            self.assertIs(self.check(10, 300.0), expected, many)

    @given(st.integers(0, 1 << 60), st.lists(st.integers(1, 40), min_size=1, max_size=200))
    def test_loss_and_disorder_make_nothing_old(self, first: int, gaps: list[int]) -> None:
        """A counting Map-Server whose Map-Notifies come up to 75 s late, in any order."""
        self.setUp()
        random = Random(first)
        nonce, now = first, 0.0
        arrivals = []
        for gap in gaps:
            nonce += gap
            now += gap / 10.0
            arrivals.append((now + random.choice((0.0, 0.0, 0.02, 3.0, 9.0, 51.0, 75.0)), nonce))
        for at, one in sorted(arrivals):
            self.assertIs(self.check(one, at), Novelty.NEW)


class GivingWayTests(UnsolicitedCase):
    """An EID-prefix that another xTR registers is left to it."""

    def test_it_is_not_registered_any_more(self) -> None:
        """Nor withdrawn: it is not ours. All others go on."""
        self.mean("10.2.0.0/16")
        self.run_until(1.0)
        self.notify(_OTHERS)
        self.assertIs(self.state, EtrState.ROAMED)
        sent = self.run_until(600.0)
        self.assertTrue(sent)
        self.assertFalse([data for data in sent if eid(_EID)[1:] in data])
        self.assertEqual(self.counted("EID-prefixes taken over by others"), 1)

    def test_until_the_application_registers_it_again(self) -> None:
        """The same record will do; at once."""
        self.notify(_OTHERS)
        self.run_until(100.0)
        self.mean(_EID)
        self.assertIs(self.state, EtrState.PERIODIC)
        (sent, *_more) = self.run_until(100.5)
        self.assertIn(_MINE, sent)

    def test_not_on_what_may_be_the_answer_to_another_xtr(self) -> None:
        """Of a Map-Server that mirrors IDs: anybody may have caught it when that one was there."""
        for ids, covers_ids in ((b"", True), (_IDS, False)):
            self.setUp()
            self.notify(_OTHERS, ids=ids, covers_ids=covers_ids)
            self.assertIs(self.state, EtrState.PERIODIC)
            self.assertEqual(self.counted("Map-Notifies without our IDs"), 1)
            self.assertEqual(len(self.told), 1)

    def test_without_ids_where_the_map_server_mirrors_none(self) -> None:
        """Then there is nothing to tell by."""
        self.mean(_EID, weight=50)
        (sent,) = self.run_until(1.0)
        nonce, mine = int.from_bytes(sent[4:12], "big"), sent[48:-24]
        self.hear(signed(4, nonce, mine))
        self.notify(_OTHERS, ids=b"")
        self.assertIs(self.state, EtrState.ROAMED)

    def test_the_application_may_do_so_when_it_is_told(self) -> None:
        """It knows better: the host is still here."""
        self.patch(self, "_told", lambda notification: None)
        control = EtrControl(
            self.registrations,
            self.credentials,
            mode=SessionMode.OFF,
            random=Random(3),
            on_mapping_notified=lambda notification: self.mean(_EID),
        )
        control.receive_datagram(signed(4, 5000, _OTHERS, ids=_IDS), 0.0)
        self.assertIs(self.state, EtrState.PERIODIC)
        self.assertIn(self.registrations.entries[eid(_EID)], self.registrations.prompt)

    def test_not_where_it_is_switched_off(self) -> None:
        """The application is told, and that is all."""
        self.make(yields=False)
        self.notify(_OTHERS)
        self.assertEqual((self.state, len(self.told)), (EtrState.PERIODIC, 1))

    def test_not_where_an_rloc_of_ours_is_in_the_record(self) -> None:
        """Merged, or registered by another ETR of the site for both."""
        self.notify(_BOTH)
        self.notify(_MINE, nonce=5001)
        self.assertEqual((self.state, len(self.told)), (EtrState.PERIODIC, 2))

    def test_not_where_it_is_gone(self) -> None:
        """TTL 0: nobody has it, so the next period brings ours."""
        self.notify(record(_EID, ttl=0))
        self.assertEqual((self.state, len(self.told)), (EtrState.PERIODIC, 1))

    def test_not_for_a_more_specific_one(self) -> None:
        """It is another EID-prefix."""
        self.notify(record("10.1.5.0/24", locator("192.0.2.2")))
        self.assertIs(self.state, EtrState.PERIODIC)

    def test_not_while_it_is_being_registered(self) -> None:
        """What the application has just said is newer than what is on its way."""
        self.mean(_EID, weight=7)
        self.assertEqual(len(self.notify(_OTHERS)), 1)
        self.assertIs(self.state, EtrState.PERIODIC)
        self.now = 1.0
        self.assertEqual(len(self.control.datagrams_to_send(1.0)), 1)
        self.notify(_OTHERS, nonce=5001)
        self.assertIs(self.state, EtrState.PERIODIC)
        self.answer(2)
        self.notify(_OTHERS, nonce=5002)
        self.assertIs(self.state, EtrState.ROAMED)

    def test_not_while_a_session_is_up(self) -> None:
        """That tells it too, in order with everything else."""
        self.registrations.session_up()
        self.notify(_OTHERS)
        self.assertEqual((self.state, len(self.told)), (EtrState.STABLE, 1))

    def test_a_mapping_notification_says_it_on_a_session(self) -> None:
        """A lost session does not bring the EID-prefix back; merging changes nothing."""
        notifications = [
            MappingNotification(bytes(16), bytes(8), decode_record(Reader(wire)))
            for wire in (_BOTH, _OTHERS)
        ]
        self.registrations.session_up()
        for notification, state in zip(
            notifications, (EtrState.STABLE, EtrState.ROAMED), strict=True
        ):
            self.control.notified_on_session(notification)
            self.assertIs(self.state, state)
        self.registrations.session_down()
        self.control.session_lost(self.now)
        self.assertEqual(self.run_until(500.0), [])

    def test_a_mapping_notification_may_be_older_than_a_registration_on_its_way(self) -> None:
        """The ACK comes after it."""
        self.registrations.session_up()
        self.registrations.refresh(_EVERYTHING)
        self.registrations.next_due()
        record_of_others = decode_record(Reader(_OTHERS))
        self.control.notified_on_session(MappingNotification(bytes(16), bytes(8), record_of_others))
        self.assertIs(self.state, EtrState.ACK_WAIT)

    def test_it_is_ours_again_when_the_other_one_has_left_it(self) -> None:
        """A record with TTL 0 says so; at once."""
        self.notify(_OTHERS)
        self.run_until(100.0)
        _ack, register = self.notify(record(_EID, ttl=0), nonce=5001)
        self.assertIs(self.state, EtrState.PERIODIC)
        self.assertIn(_MINE, register)

    def test_what_may_have_been_for_another_xtr_brings_nothing_back(self) -> None:
        """No more than it takes anything away."""
        self.notify(_OTHERS)
        self.notify(record(_EID, ttl=0), nonce=5001, ids=b"")
        self.assertIs(self.state, EtrState.ROAMED)

    def test_a_session_asks_for_it_by_name(self) -> None:
        """A Refresh of everything, or of all that it covers, is no sign that the other one is gone;
        nor is what comes over UDP meanwhile.
        """
        self.notify(_OTHERS)
        self.registrations.session_up()
        self.notify(record(_EID, ttl=0), nonce=5001)
        prefix = EidPrefix.from_text(_EID)
        for refresh, state in (
            (_EVERYTHING, EtrState.ROAMED),
            (RegistrationRefresh(RefreshScope.COVERED, eid=prefix), EtrState.ROAMED),
            (RegistrationRefresh(RefreshScope.EXACT, True, prefix), EtrState.ROAMED),
            (RegistrationRefresh(RefreshScope.EXACT, eid=prefix), EtrState.ACK_WAIT),
        ):
            self.registrations.refresh(refresh)
            self.assertIs(self.state, state)
        due = self.registrations.next_due()
        assert due is not None
        self.assertEqual(due[1], _MINE)

    def test_ours_after_all(self) -> None:
        """Its last Map-Register crossed the news, and the answer to that comes after it."""
        (register, *_more) = self.run_until(60.0)
        self.notify(_OTHERS)
        self.assertIs(self.state, EtrState.ROAMED)
        self.answer(int.from_bytes(register[4:12], "big"))
        self.assertIs(self.state, EtrState.PERIODIC)
        self.assertTrue(self.run_until(130.0))

    def test_whoever_waits_for_the_registration_waits_no_longer(self) -> None:
        """It was registered, though not for long."""
        self.acknowledgements.clear()
        self.run_until(1.0)
        self.mean(_EID)
        (register,) = self.control.datagrams_to_send(self.now)
        # A session is to follow, whose ACK would say more.
        self.answer(int.from_bytes(register[4:12], "big"), R)
        self.assertEqual(self.acknowledgements, [])
        self.notify(_OTHERS)
        self.assertEqual(self.acknowledgements, [eid(_EID)])

    def test_over_a_session_that_comes_up_later_it_is_not_registered_either(self) -> None:
        """A Refresh asks for what is ours."""
        self.notify(_OTHERS)
        self.registrations.session_up()
        self.registrations.refresh(_EVERYTHING)
        self.assertIsNone(self.registrations.next_due())
        self.mean(_EID)
        self.assertIs(self.state, EtrState.ACK_WAIT)
        self.assertIsNotNone(self.registrations.next_due())

    def test_withdrawn(self) -> None:
        """Nothing is sent, and nothing is kept."""
        self.notify(_OTHERS)
        self.registrations.withdraw(EidPrefix.from_text(_EID), awaited=True)
        self.assertEqual(self.registrations.entries, {})
        self.assertEqual(self.run_until(500.0), [])

    def test_it_survives_sessions_and_a_new_key(self) -> None:
        """Only the application takes it back."""
        self.notify(_OTHERS)
        self.registrations.session_up()
        self.registrations.session_down()
        self.registrations.key_changed()
        self.assertEqual((self.state, self.run_until(500.0)), (EtrState.ROAMED, []))

    def test_a_negative_mapping_of_ours(self) -> None:
        """No RLOCs: any that has some is another's, one without is ours."""
        self.registrations.register(MappingRecord(EidPrefix.from_text(_EID), 5, (), 3))
        self.control.datagrams_to_send(0.0)
        self.run_until(1.0)
        self.answer(2)
        self.notify(record(_EID), nonce=5001)
        self.assertIs(self.state, EtrState.ROAMED)
