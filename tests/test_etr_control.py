"""The ETR's UDP side: Map-Registers, retransmissions, Map-Notifies, leave to connect."""

from __future__ import annotations

import struct
from itertools import count, pairwise
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.control import etr as control_module
from lispmsrt.control.etr import MAX_NONCES, EtrControl, EtrTimers, SessionMode
from lispmsrt.mapping.credentials import Credentials
from lispmsrt.mapping.etr_registrations import EtrRegistrations
from lispmsrt.wire.addresses import Address, EidPrefix
from lispmsrt.wire.map_register import RegisterFlag, walk_map_register
from lispmsrt.wire.records import Locator, MappingRecord
from lispmsrt.wire.reliable_transport import RefreshScope, RegistrationRefresh
from tests.builders import KEY, OTHER_KEY, R, Secret, eid

_IDS = bytes(range(24))
_EVERYTHING = RegistrationRefresh(RefreshScope.EVERYTHING)


class _Sent:
    """A Map-Register as a Map-Server reads it."""

    def __init__(self, at: float, data: bytes) -> None:
        word, self.nonce, self.key_id, self.algorithm_id, length, spans, end = walk_map_register(
            data, 0, len(data)
        )
        self.at = at
        self.size = len(data)
        self.r = bool(word & RegisterFlag.RELIABLE_TRANSPORT)
        self.m = bool(word & RegisterFlag.WANT_MAP_NOTIFY)
        self.ids = data[end:]
        self.records = [data[span[0] : span[7]] for span in spans]
        self.is_authentic = data[16 : 16 + length] == KEY.mac(
            data[:16] + bytes(length) + data[16 + length :], length, b"Map-Register Authentication"
        )

    @property
    def texts(self) -> list[str]:
        """Its EID-prefixes, with a minus where they are withdrawn."""
        return [
            ("" if any(record[:4]) else "-") + ".".join(map(str, record[12:16])) + f"/{record[5]}"
            for record in self.records
        ]


def _notify(sent: _Sent, *, r: bool = True, key: Secret = KEY, nonce: int | None = None) -> bytes:
    """Return the Map-Notify for a Map-Register, signed without the code under test."""
    word = 4 << 28 | 1 << 27 | (R if r else 0) | len(sent.records)
    nonce = sent.nonce if nonce is None else nonce
    head = struct.pack("!IQBBH", word, nonce, key.key_id, key.algorithm_id, 32)
    body = b"".join(sent.records) + _IDS
    return head + key.mac(head + bytes(32) + body, 32, b"Map-Notify Authentication") + body


class EtrControlCase(SynchronousTestCase):
    """A control side with virtual time."""

    def setUp(self) -> None:
        """One that wants a session."""
        self.make()

    def make(self, mode: SessionMode = SessionMode.AUTO, timers: EtrTimers | None = None) -> None:
        """Start over."""
        self.now = 0.0
        self.leaves = 0
        self.heard: list[str] = []
        self.registrations = EtrRegistrations(self)
        nonces = count(1)
        self.credentials = Credentials(KEY.key(), _IDS, 0, lambda: next(nonces))
        self.control = EtrControl(
            self.registrations,
            self.credentials,
            mode=mode,
            random=Random(3),
            timers=timers,
            on_leave_to_connect=self._leave,
        )

    def _leave(self) -> None:
        self.leaves += 1

    def acknowledged(self, wire: bytes) -> None:
        """Note it."""
        self.heard.append(f"{'.'.join(map(str, wire[3:7]))}/{wire[0]}")

    def rejected(self, wire: bytes, reason: int) -> None:
        """Only a session does."""

    def taken_over(self, eid: bytes) -> None:
        """Nobody asks here."""

    def mean(self, *texts: str, weight: int = 100, locators: int = 1) -> None:
        """Mean to register prefixes, and wait for them."""
        for text in texts:
            rlocs = tuple(
                Locator(Address.from_text(f"192.0.2.{number}"), weight=weight)
                for number in range(1, 1 + locators)
            )
            record = MappingRecord(EidPrefix.from_text(text), 1440, rlocs)
            self.registrations.register(record, awaited=True)

    def withdraw(self, text: str) -> None:
        """Mean it no longer."""
        self.registrations.withdraw(EidPrefix.from_text(text), awaited=True)

    def send(self) -> list[_Sent]:
        """Return what is sent now."""
        return [_Sent(self.now, data) for data in self.control.datagrams_to_send(self.now)]

    def run_until(self, until: float, *, answering: bool = False) -> list[_Sent]:
        """Return what is sent up to a time, each when the control side asked to be called."""
        sent = self.send()
        answered = 0
        while True:
            for one in sent[answered:] if answering else ():
                self.answer(one)
            answered = len(sent)
            due = self.control.next_timeout()
            if due is None or due > until:
                break
            self.now = max(self.now, due)
            sent += self.send()
        self.now = until
        return sent

    def answer(self, sent: _Sent, **how: object) -> None:
        """Let its Map-Notify come."""
        self.control.receive_datagram(_notify(sent, **how), self.now)  # type: ignore[arg-type]

    def session_up(self) -> None:
        """Let a session come up."""
        self.control.connected()
        self.registrations.session_up()

    def answer_on_session(self, *texts: str) -> None:
        """Let a session acknowledge prefixes."""
        self.registrations.refresh(_EVERYTHING)
        while self.registrations.next_due():
            pass
        for text in texts:
            self.registrations.acknowledged(eid(text))

    def counted(self, name: str) -> int:
        """Return a counter."""
        return self.control.counters[name]


class MapRegisterTests(EtrControlCase):
    """What goes out, and when."""

    def test_a_map_register_is_signed_and_asks_for_a_map_notify_and_a_session(self) -> None:
        """M and r, xTR-ID and Site-ID."""
        self.mean("10.1.0.0/16", "10.2.0.0/16")
        (sent,) = self.send()
        self.assertTrue(sent.is_authentic and sent.m and sent.r)
        self.assertEqual((sent.key_id, sent.algorithm_id, sent.ids), (1, 2, _IDS))
        self.assertEqual(sent.texts, ["10.1.0.0/16", "10.2.0.0/16"])

    def test_r_is_clear_while_a_session_is_up_and_set_again_after(self) -> None:
        """A set r from an ETR with a live session says that it restarted."""
        self.mean("10.1.0.0/16")
        self.session_up()
        self.assertEqual([sent.r for sent in self.run_until(130.0)], [False] * 14)
        self.registrations.session_down()
        self.control.session_lost(self.now)
        self.assertTrue(all(sent.r and sent.m for sent in self.run_until(200.0)))

    def test_r_is_clear_where_no_session_is_wanted(self) -> None:
        """Mode off; M stays."""
        self.make(SessionMode.OFF)
        self.mean("10.1.0.0/16")
        (sent,) = self.send()
        self.assertEqual((sent.r, sent.m), (False, True))

    def test_the_first_datagram_goes_at_once_and_the_rest_over_the_period(self) -> None:
        """One at a time."""
        texts = [f"10.{number >> 8}.{number & 255}.0/24" for number in range(2000)]
        self.mean(*texts)
        self.assertEqual(len(self.control.datagrams_to_send(0.0)), 1)
        sent = self.run_until(50.0, answering=True)
        self.assertLess(len({text for one in sent for text in one.texts}), 1900)
        busiest = max(sum(1 for one in sent if int(one.at) == second) for second in range(50))
        self.assertLess(busiest, 5)
        sent += self.run_until(66.0, answering=True)
        self.assertEqual({text for one in sent for text in one.texts}, set(texts))

    def test_a_few_eids_do_not_take_a_whole_period(self) -> None:
        """At least one datagram a second."""
        self.mean(*(f"10.{number}.0.0/16" for number in range(40)))
        found = {text for sent in self.run_until(2.0) for text in sent.texts}
        self.assertEqual(len(found), 40)

    def test_every_datagram_fits_the_limit(self) -> None:
        """548 octets by default, also where records grow before they are sent again."""
        texts = [f"10.{number}.0.0/16" for number in range(40)]
        self.mean(*texts)
        sent = self.run_until(2.5)
        self.mean(*texts, locators=9)
        sent += self.run_until(70.0)
        self.assertTrue(all(one.size <= 548 for one in sent))
        self.assertGreater(max(one.size for one in sent), 400)
        self.assertGreater(self.counted("retransmissions"), 0)

    def test_a_record_that_is_too_large_goes_alone(self) -> None:
        """Rather than never."""
        self.mean("10.1.0.0/16", "10.2.0.0/16", locators=60)
        found = self.run_until(0.5)
        self.assertEqual([one.texts for one in found], [["10.1.0.0/16"]])

    def test_no_datagram_has_more_records_than_its_count_can_say(self) -> None:
        """Where datagrams may be large."""
        self.make(timers=EtrTimers(max_datagram=60_000))
        self.mean(*(f"10.{number >> 8}.{number & 255}.0/24" for number in range(300)))
        self.assertEqual(len(self.send()[0].records), 255)

    def test_each_prefix_is_registered_once_a_period_with_jitter(self) -> None:
        """Between 54 and 60 s apart, for ever, as long as no session does better."""
        self.mean("10.1.0.0/16")
        (first,) = self.send()
        self.answer(first, r=False)
        times = [first.at] + [sent.at for sent in self.run_until(3600.0)]
        gaps = [later - earlier for earlier, later in pairwise(times)]
        self.assertTrue(60 <= len(gaps) <= 67)
        self.assertTrue(all(54.0 <= gap <= 60.0 for gap in gaps))
        self.assertGreater(len({round(gap, 3) for gap in gaps}), 50)

    def test_a_change_goes_out_without_delay(self) -> None:
        """The new record, not the old one."""
        self.mean("10.1.0.0/16")
        self.answer(self.send()[0])
        self.now = 10.0
        self.mean("10.1.0.0/16", weight=1)
        (sent,) = self.send()
        self.assertEqual(sent.records, [self.registrations.entries[eid("10.1.0.0/16")].record])

    def test_complete_information_goes_on_until_each_eid_is_acknowledged(self) -> None:
        """While the session is up; the acknowledged one stops."""
        self.mean("10.1.0.0/16", "10.2.0.0/16")
        self.answer(self.send()[0])
        self.session_up()
        self.answer_on_session("10.2.0.0/16")
        sent = self.run_until(200.0)
        self.assertEqual({text for one in sent for text in one.texts}, {"10.1.0.0/16"})
        self.assertGreaterEqual(len(sent), 3)
        self.registrations.acknowledged(eid("10.1.0.0/16"))
        self.assertEqual(self.run_until(400.0), [])
        self.assertIsNone(self.control.next_timeout())


class HeadStartTests(EtrControlCase):
    """A session that has begun acknowledges faster than UDP could."""

    def begin(self) -> None:
        """A hundred are meant, the first have gone out, and then a session begins."""
        self.mean(*(f"10.{number}.0.0/16" for number in range(100)))
        self.send()
        self.control.session_began(self.now)
        self.session_up()

    def test_nothing_new_goes_over_udp_for_10_s(self) -> None:
        """But for what has gone before, and waits for its Map-Notify."""
        self.begin()
        first = {text for sent in self.run_until(9.9) for text in sent.texts}
        self.assertLess(len(first), 25)
        later = {text for sent in self.run_until(70.0) for text in sent.texts}
        self.assertEqual(len(later), 100)

    def test_a_session_that_ends_ends_it(self) -> None:
        """Then nothing but UDP is left."""
        self.begin()
        self.run_until(5.0)
        self.registrations.session_down()
        sent = {text for sent in self.run_until(66.0) for text in sent.texts}
        self.assertEqual(len(sent), 100)

    def test_withdrawals_do_not_wait(self) -> None:
        """No session tells of what was withdrawn before it began."""
        self.mean(*(f"10.{number}.0.0/16" for number in range(100)))
        self.send()
        self.withdraw("10.99.0.0/16")
        self.control.session_began(self.now)
        self.session_up()
        sent = {text for sent in self.run_until(9.0) for text in sent.texts}
        self.assertIn("-10.99.0.0/16", sent)


class RetransmissionTests(EtrControlCase):
    """Until a Map-Notify comes."""

    def test_it_doubles_from_1_s_up_to_15_s(self) -> None:
        """Each with a new nonce."""
        self.make(timers=EtrTimers(registration_period=1e6))
        self.mean("10.1.0.0/16")
        sent = self.run_until(80.0)
        times = [one.at for one in sent]
        self.assertEqual(times, [0, 1, 3, 7, 15, 30, 45, 60, 75])
        nonces = [one.nonce for one in sent]
        self.assertEqual(nonces, sorted(set(nonces)))
        self.assertEqual(self.counted("retransmissions"), 8)

    def test_it_goes_on_for_days(self) -> None:
        """A Map-Server that is away breaks nothing."""
        self.mean("10.1.0.0/16")
        self.run_until(3 * 86400.0)
        self.mean("10.2.0.0/16")
        self.assertEqual(self.send()[0].texts, ["10.2.0.0/16"])

    def test_a_map_notify_ends_it(self) -> None:
        """Of the first try or of a later one."""
        self.make(timers=EtrTimers(registration_period=1e6))
        self.mean("10.1.0.0/16")
        self.answer(self.run_until(3.0)[-1])
        self.assertEqual(self.run_until(1000.0), [])

    def test_nonces_grow_strictly_whatever_is_sent(self) -> None:
        """First tries, retransmissions, periods, withdrawals."""
        self.mean(*(f"10.{number}.0.0/16" for number in range(50)))
        sent = self.run_until(100.0)
        self.withdraw("10.1.0.0/16")
        sent += self.run_until(200.0)
        nonces = [one.nonce for one in sent]
        self.assertEqual(nonces, sorted(set(nonces)))

    def test_only_so_many_are_watched(self) -> None:
        """The others come again with the period; memory is bounded."""
        self.make(timers=EtrTimers(max_unanswered=2))
        self.mean(*(f"10.{number >> 8}.{number & 255}.0/24" for number in range(500)))
        self.run_until(30.0)
        self.assertEqual(len(self.control._unanswered), 2)
        self.run_until(700.0)
        self.assertLessEqual(len(self.control._nonces), MAX_NONCES)

    def test_what_a_session_has_answered_is_not_retransmitted(self) -> None:
        """Its ACK says more than a Map-Notify."""
        self.mean("10.1.0.0/16")
        self.send()
        self.session_up()
        self.answer_on_session("10.1.0.0/16")
        self.assertEqual(self.run_until(100.0), [])

    def test_another_record_goes_first_each_time(self) -> None:
        """The first one settles the site: where it is refused, all are, in silence."""
        self.make(timers=EtrTimers(registration_period=1e6))
        texts = ["10.1.0.0/16", "10.2.0.0/16", "10.3.0.0/16"]
        self.mean(*texts)
        sent = self.run_until(4.0)
        self.assertEqual([one.texts[0] for one in sent], texts)
        self.assertTrue(all(sorted(one.texts) == texts for one in sent))

    def test_what_was_accepted_goes_first(self) -> None:
        """So that the refused ones take nobody with them."""
        self.mean("10.1.0.0/16", "10.2.0.0/16")
        (sent,) = self.send()
        sent.records = sent.records[1:]
        self.answer(sent)
        self.registrations.key_changed()
        self.now = 5.0
        self.assertEqual(self.send()[0].texts, ["10.2.0.0/16", "10.1.0.0/16"])


class WithdrawalTests(EtrControlCase):
    """TTL 0 over UDP."""

    def test_a_withdrawal_goes_at_once_and_ends_with_its_map_notify(self) -> None:
        """Then nothing is left of it."""
        self.mean("10.1.0.0/16")
        self.answer(self.send()[0])
        self.now = 5.0
        self.withdraw("10.1.0.0/16")
        (sent,) = self.send()
        self.assertEqual(sent.texts, ["-10.1.0.0/16"])
        self.answer(sent)
        self.assertEqual(self.heard, ["10.1.0.0/16"])
        self.assertEqual(self.registrations.entries, {})
        self.assertEqual(self.run_until(500.0), [])

    def test_a_withdrawal_is_tried_8_times(self) -> None:
        """After that the Map-Server's own clock has ended the registration."""
        self.mean("10.1.0.0/16")
        self.answer(self.send()[0])
        self.now = 5.0
        self.withdraw("10.1.0.0/16")
        sent = self.run_until(1000.0)
        self.assertEqual([one.texts for one in sent], [["-10.1.0.0/16"]] * 8)
        self.assertEqual(self.heard, ["10.1.0.0/16"])
        self.assertEqual(self.registrations.entries, {})
        self.assertIsNone(self.control.next_timeout())

    def test_every_withdrawal_is_watched(self) -> None:
        """However many registrations are."""
        self.make(timers=EtrTimers(max_unanswered=1))
        self.mean(*(f"10.{number}.0.0/16" for number in range(100)))
        self.run_until(20.0)
        for number in range(50):
            self.withdraw(f"10.{number}.0.0/16")
        self.run_until(1000.0)
        self.assertEqual(len(self.registrations.entries), 50)
        self.assertEqual(len(self.heard), 50)

    def test_the_map_notify_of_an_earlier_registration_does_not_end_it(self) -> None:
        """It says nothing of the withdrawal."""
        self.mean("10.1.0.0/16")
        (registered,) = self.send()
        self.withdraw("10.1.0.0/16")
        self.answer(registered)
        self.assertEqual(self.heard, [])
        self.assertEqual(self.run_until(2.0)[0].texts, ["-10.1.0.0/16"])

    def test_what_comes_back_is_registered(self) -> None:
        """Also where a withdrawal is still being retransmitted."""
        self.mean("10.1.0.0/16")
        self.answer(self.send()[0])
        self.now = 5.0
        self.withdraw("10.1.0.0/16")
        self.send()
        self.mean("10.1.0.0/16")
        sent = self.run_until(400.0, answering=True)
        self.assertEqual({text for one in sent for text in one.texts}, {"10.1.0.0/16"})
        self.assertGreater(sent[-1].at, 340.0)

    def test_what_a_lost_session_leaves_and_is_withdrawn_at_once_is_not_registered(self) -> None:
        """It was to go on over UDP."""
        self.mean("10.1.0.0/16", "10.2.0.0/16")
        self.session_up()
        self.answer_on_session("10.1.0.0/16", "10.2.0.0/16")
        self.registrations.session_down()
        self.withdraw("10.1.0.0/16")
        sent = self.run_until(300.0, answering=True)
        found = {text for one in sent for text in one.texts}
        self.assertEqual(found, {"-10.1.0.0/16", "10.2.0.0/16"})


class MapNotifyTests(EtrControlCase):
    """Which Map-Notify is believed."""

    def setUp(self) -> None:
        """One Map-Register is on its way."""
        super().setUp()
        self.mean("10.1.0.0/16")
        (self.sent,) = self.send()

    def test_a_good_one_gives_leave_to_connect(self) -> None:
        """For 180 s."""
        self.answer(self.sent)
        self.assertEqual((self.leaves, self.control.last_notify), (1, 0.0))
        self.assertTrue(self.control.may_connect(179.0))
        self.assertFalse(self.control.may_connect(180.0))

    def test_one_with_a_wrong_key_is_not_believed(self) -> None:
        """Nor with a key ID or algorithm that is not ours, nor with a MAC that was touched."""
        good = _notify(self.sent)
        for wrong in (
            _notify(self.sent, key=OTHER_KEY),
            _notify(self.sent, key=Secret(9)),
            _notify(self.sent, key=Secret(1, 3)),
            good[:20] + bytes((good[20] ^ 1,)) + good[21:],
        ):
            self.control.receive_datagram(wrong, 0.0)
        self.assertEqual(self.counted("Map-Notifies with authentication failures"), 4)
        self.assertEqual((self.leaves, self.control.last_notify), (0, None))

    def test_one_with_a_nonce_that_was_never_sent_is_not_believed(self) -> None:
        """Although it is authentic."""
        self.answer(self.sent, nonce=999)
        self.assertEqual((self.leaves, self.counted("Map-Notifies unasked")), (0, 1))

    def test_only_the_last_ones_sent_are_answered(self) -> None:
        """What is remembered of Map-Registers is bounded, and the oldest goes first."""
        self.assertEqual(MAX_NONCES, 4096)
        self.patch(control_module, "MAX_NONCES", 2)
        _forgotten, _kept, last = [self.sent, *self.run_until(3.0)]
        self.answer(self.sent)
        self.assertEqual((self.leaves, self.counted("Map-Notifies unasked")), (0, 1))
        self.answer(last)
        self.assertEqual((self.leaves, self.counted("Map-Notifies unasked")), (1, 1))

    def test_an_old_one_gives_no_leave_again(self) -> None:
        """A replay, after the connection that it allowed."""
        self.answer(self.sent)
        self.session_up()
        self.registrations.session_down()
        self.control.session_lost(0.0)
        self.answer(self.sent)
        self.assertFalse(self.control.may_connect(0.0))
        self.assertEqual((self.leaves, self.counted("Map-Notifies unasked")), (1, 1))

    def test_junk_is_counted(self) -> None:
        """Cut short, empty, another type."""
        good = _notify(self.sent)
        for cut in range(len(good)):
            self.control.receive_datagram(good[:cut], 0.0)
        self.control.receive_datagram(b"\x10" + bytes(30), 0.0)
        malformed = self.counted("malformed")
        failures = self.counted("Map-Notifies with authentication failures")
        self.assertEqual(malformed + failures, len(good))
        self.assertEqual((self.counted("not handled"), self.leaves), (1, 0))

    def test_without_r_it_registers_and_gives_no_leave(self) -> None:
        """Mode auto; nothing else is disturbed."""
        self.answer(self.sent, r=False)
        self.assertFalse(self.control.may_connect(0.0))
        self.assertEqual((self.leaves, self.heard), (0, ["10.1.0.0/16"]))

    def test_with_r_the_session_is_to_acknowledge(self) -> None:
        """Its answer is surer."""
        self.answer(self.sent)
        self.assertEqual(self.heard, [])

    def test_what_has_changed_since_is_not_acknowledged(self) -> None:
        """Its own Map-Notify does that."""
        self.mean("10.1.0.0/16", weight=1)
        self.answer(self.sent, r=False)
        self.assertEqual(self.heard, [])
        self.now = 5.0
        self.answer(self.run_until(5.0)[-1], r=False)
        self.assertEqual(self.heard, ["10.1.0.0/16"])

    def test_what_is_not_meant_any_more_is_ignored(self) -> None:
        """The Map-Notify came after all was over."""
        self.registrations.entries.clear()
        self.answer(self.sent, r=False)
        self.assertEqual(self.heard, [])


class LeaveTests(EtrControlCase):
    """Session modes, and what a lost session needs."""

    def test_mode_always_needs_no_r(self) -> None:
        """Map-Servers that predate it; the Map-Registers carry it nevertheless."""
        self.make(SessionMode.ALWAYS)
        self.mean("10.1.0.0/16")
        (sent,) = self.send()
        self.assertTrue(sent.r)
        self.answer(sent, r=False)
        self.assertTrue(self.control.may_connect(0.0))
        self.assertEqual(self.leaves, 1)

    def test_mode_off_never_connects(self) -> None:
        """Whatever a Map-Notify says."""
        self.make(SessionMode.OFF)
        self.mean("10.1.0.0/16")
        self.answer(self.send()[0], r=True)
        self.assertFalse(self.control.may_connect(0.0))
        self.assertEqual((self.leaves, self.heard), (0, ["10.1.0.0/16"]))

    def test_a_connection_uses_up_the_leave(self) -> None:
        """The next one needs a Map-Notify that came after it."""
        self.mean("10.1.0.0/16")
        early, late = self.run_until(1.0)
        self.answer(early)
        self.session_up()
        self.assertFalse(self.control.may_connect(1.0))
        self.answer(late)
        self.registrations.session_down()
        self.control.session_lost(2.0)
        self.assertFalse(self.control.may_connect(2.0))
        self.assertEqual(self.leaves, 1)
        self.answer(self.run_until(8.0)[0])
        self.assertTrue(self.control.may_connect(8.0))

    def lose_session(self, texts: list[str], refused: str = "") -> None:
        """Have a session that answered everything, and lose it at 100 s."""
        self.mean(*texts)
        for sent in self.run_until(5.0):
            self.answer(sent)
        self.session_up()
        self.answer_on_session(*(text for text in texts if text != refused))
        if refused:
            self.registrations.rejected(eid(refused), 1)
        self.assertEqual(self.run_until(100.0), [])
        self.registrations.session_down()
        self.control.session_lost(100.0)

    def test_a_lost_session_is_followed_by_one_prompt_map_register(self) -> None:
        """Within 5 s, of one EID; the rest keeps to the schedule."""
        texts = [f"10.{number}.0.0/16" for number in range(200)]
        self.make()
        self.lose_session(texts)
        sent = self.run_until(161.0)
        prompt = next(one for one in sent if one.at == self.rearmed_at(sent))
        self.assertEqual(len(prompt.texts), 1)
        self.assertTrue(100.0 <= prompt.at <= 105.0 and prompt.r and prompt.m)
        self.assertEqual({text for one in sent for text in one.texts}, set(texts))
        # Alone, so that a restarted Map-Server does not hear everybody's everything at once; then
        # in full datagrams.
        early = {text for one in sent if one.at <= prompt.at for text in one.texts}
        self.assertEqual(early, set(prompt.texts))
        self.assertLess(len([one for one in sent if one.at > 105.0]), 40)

    def rearmed_at(self, sent: list[_Sent]) -> float:
        """Return when the first Map-Register came that is retransmitted a second later."""
        times = {round(one.at, 6) for one in sent}
        return min(one.at for one in sent if round(one.at + 1.0, 6) in times)

    def test_the_prompt_one_is_of_an_eid_that_is_welcome(self) -> None:
        """A refused one would arm nobody."""
        self.make(timers=EtrTimers(registration_period=1e6))
        self.lose_session(["10.1.0.0/16", "10.2.0.0/16"], refused="10.1.0.0/16")
        (sent, *_more) = self.run_until(105.0)
        self.assertEqual(sent.texts, ["10.2.0.0/16"])

    def test_the_prompt_one_is_jittered(self) -> None:
        """A Map-Server's restart is no storm."""
        times = []
        self.make(timers=EtrTimers(registration_period=1e6))
        for _ in range(50):
            self.control.session_lost(0.0)
            at = self.control.next_timeout()
            assert at is not None
            times.append(at)
            self.control.datagrams_to_send(at)
        self.assertTrue(0.0 <= min(times) < 1.0 and 4.0 < max(times) <= 5.0)

    def test_the_earlier_of_two_rearmings_counts(self) -> None:
        """And it is dropped where a session or nothing to register is there."""
        self.control.rearm(5.0)
        self.control.rearm(9.0)
        self.control.rearm(3.0)
        self.assertEqual(self.control.next_timeout(), 3.0)
        self.assertEqual(self.run_until(4.0), [])
        self.control.rearm(9.0)
        self.session_up()
        self.mean("10.1.0.0/16")
        self.assertEqual(self.run_until(10.0), [])
        self.assertIsNone(self.control.next_timeout())

    def test_a_withdrawal_that_a_lost_session_may_not_have_carried_goes_over_udp(self) -> None:
        """At once."""
        self.mean("10.1.0.0/16")
        self.session_up()
        self.answer_on_session("10.1.0.0/16")
        self.withdraw("10.1.0.0/16")
        while self.registrations.next_due():
            pass
        self.assertEqual(self.send(), [])
        self.registrations.session_down()
        self.assertEqual(self.send()[0].texts, ["-10.1.0.0/16"])
