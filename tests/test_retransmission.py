"""Map-Notifies until they are acknowledged: schedule, Map-Notify-Acks, limits and pace."""

from __future__ import annotations

import struct
import tracemalloc

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.control.retransmission import INTERVALS, RetransmissionLimits, Retransmissions
from lispmsrt.mapping.database import Endpoint
from lispmsrt.wire.errors import WireError
from lispmsrt.wire.map_register import NotifyFlag
from tests.builders import KEY, OTHER_KEY, SHA1_KEY, Secret, ip, record

_ETR = (ip("192.0.2.1"), 4342)
_OTHER = (ip("192.0.2.2"), 4342)
_IDS = bytes(range(24))
_SCHEDULE = [0.0, 3.0, 6.0, 9.0, 15.0, 27.0, 51.0]
_DERIVED = Secret(5, 3, b"derived")


def signed(
    kind: int,
    nonce: int,
    *records: bytes,
    key: Secret = KEY,
    ids: bytes = b"",
    length: int | None = None,
    covers_ids: bool = True,
    purpose: bytes | None = None,
    bits: int = 0,
) -> bytes:
    """Return a Map-Notify (4) or Map-Notify-Ack (5), signed without the code under test."""
    full = {1: 20, 2: 32, 3: 32}[key.algorithm_id] if length is None else length
    word = kind << 28 | (NotifyFlag.XTR_ID if ids else 0) | bits | len(records)
    head = struct.pack("!IQBBH", word, nonce, key.key_id, key.algorithm_id, full)
    body = b"".join(records)
    covered = body + ids if covers_ids else body
    name = b"Map-Notify Authentication" if kind == 4 else b"Map-Notify-Ack Authentication"
    return head + key.mac(head + bytes(full) + covered, full, purpose or name) + body + ids


class RetransmissionCase(SynchronousTestCase):
    """Retransmissions and virtual time."""

    def setUp(self) -> None:
        """Nothing is outstanding."""
        self.make()

    def make(self, **limits: float) -> None:
        """Start over."""
        self.now = 0.0
        self.ended: list[tuple[object, bool]] = []
        self.keys = {secret: secret.key() for secret in (KEY, OTHER_KEY, SHA1_KEY, _DERIVED)}
        self.watching = Retransmissions(RetransmissionLimits(**limits))  # type: ignore[arg-type]

    def start(
        self,
        about: object,
        nonce: int = 1,
        *,
        to: tuple[Endpoint, ...] = (_ETR,),
        key: Secret = KEY,
        datagram: bytes = b"",
    ) -> bool:
        """Send something."""
        return self.watching.start(
            about,
            nonce,
            datagram or f"{about}".encode(),
            to,
            self.keys[key],
            self.now,
            lambda is_acknowledged: self.ended.append((about, is_acknowledged)),
        )

    def send(self) -> list[bytes]:
        """Return what is sent now."""
        return [data for data, _to in self.watching.datagrams_to_send(self.now)]

    def run_until(self, until: float) -> list[tuple[float, bytes, Endpoint]]:
        """Return what is sent up to a time, each when it was asked for."""
        sent: list[tuple[float, bytes, Endpoint]] = []
        turns = 0
        while (due := self.watching.next_timeout()) is not None and due <= until:
            turns += 1
            self.assertLess(turns, 100_000, "it spins")
            self.now = max(self.now, due)
            output = self.watching.datagrams_to_send(self.now)
            sent += [(self.now, data, to) for data, to in output]
        self.now = until
        return sent

    def ack(self, nonce: int = 1, *records: bytes, source: Endpoint = _ETR, **how: object) -> bool:
        """Let a Map-Notify-Ack come."""
        data = signed(5, nonce, *records, **how)  # type: ignore[arg-type]
        return self.watching.acknowledge(data, source, self.now)

    def counted(self, name: str) -> int:
        """Return a counter."""
        return self.watching.counters[name]


class ScheduleTests(RetransmissionCase):
    """RFC 9301 §5.7."""

    def test_three_more_after_3_s_each_and_three_with_doubling(self) -> None:
        """Then it is given up, as long after the last as that was after the one before."""
        self.start("a")
        sent = self.run_until(1000.0)
        self.assertEqual([at for at, _data, _to in sent], _SCHEDULE)
        self.assertEqual({data for _at, data, _to in sent}, {b"a"})
        self.assertEqual(self.ended, [("a", False)])
        self.assertEqual((self.counted("retransmissions"), self.counted("given up")), (6, 1))
        self.assertEqual(self.watching.outstanding, 0)
        self.assertIsNone(self.watching.next_timeout())

    def test_it_is_given_up_at_75_s(self) -> None:
        """Not before."""
        self.start("a")
        self.run_until(74.9)
        self.assertEqual(self.ended, [])
        self.run_until(75.0)
        self.assertEqual(self.ended, [("a", False)])
        self.assertEqual(sum(INTERVALS), 75.0)

    def test_nothing_leaves_before_its_time(self) -> None:
        """Asking often does not make it faster."""
        self.start("a")
        self.assertEqual(self.send(), [b"a"])
        for self.now in (0.0, 1.0, 2.9):
            self.assertEqual(self.send(), [])

    def test_what_is_late_keeps_its_distance(self) -> None:
        """After a stall nothing is made up for."""
        self.start("a")
        self.send()
        self.now = 100.0
        self.assertEqual(self.send(), [b"a"])
        self.assertEqual(self.send(), [])
        self.assertEqual(self.watching.next_timeout(), 103.0)

    def test_each_try_takes_the_next_endpoint(self) -> None:
        """A subscriber has several ITR-RLOCs."""
        self.start("a", to=(_ETR, _OTHER))
        sent = self.run_until(1000.0)
        self.assertEqual([to for _at, _data, to in sent], [_ETR, _OTHER] * 3 + [_ETR])

    def test_the_newer_about_the_same_takes_the_place_of_the_older(self) -> None:
        """With its own nonce and schedule; the older one's Map-Notify-Ack comes too late."""
        self.start("a", 1, datagram=b"old")
        self.run_until(7.0)
        self.start("a", 2, datagram=b"new")
        sent = self.run_until(1000.0)
        self.assertEqual(
            [(at - 7.0, data) for at, data, _to in sent], [(at, b"new") for at in _SCHEDULE]
        )
        self.assertFalse(self.ack(1))
        self.assertEqual(self.ended, [("a", False)])

    def test_cancel(self) -> None:
        """Nothing is sent, and nobody hears of it."""
        self.start("a")
        self.assertTrue(self.watching.cancel("a"))
        self.assertFalse(self.watching.cancel("a"))
        self.assertEqual((self.send(), self.ended, self.watching.outstanding), ([], [], 0))
        self.assertEqual(self.watching._per_address, {})

    def test_who_is_told_of_the_end_may_start_again(self) -> None:
        """At once."""
        self.watching.start(
            "a", 1, b"a", [_ETR], KEY.key(), 0.0, lambda _: bool(self.start("a", 2, datagram=b"b"))
        )
        sent = self.run_until(75.0)
        self.assertEqual([data for _at, data, _to in sent], [b"a"] * 7 + [b"b"])

    def test_what_is_out_of_date_is_not_sent_again(self) -> None:
        """Whoever knows is asked; the first try goes without."""
        asked = []
        answers = iter((True, False))

        def is_current() -> bool:
            asked.append(self.now)
            return next(answers)

        self.watching.start("a", 1, b"a", [_ETR], KEY.key(), 0.0, is_current=is_current)
        self.assertEqual([at for at, _data, _to in self.run_until(100.0)], [0.0, 3.0])
        self.assertEqual((asked, self.watching.outstanding), ([3.0, 6.0], 0))
        self.assertEqual(self.counted("outdated"), 1)

    def test_who_is_asked_may_replace_it(self) -> None:
        """The new one goes at once, and stays."""

        def is_current() -> bool:
            self.start("a", 2, datagram=b"new")
            return False

        self.watching.start("a", 1, b"old", [_ETR], KEY.key(), 0.0, is_current=is_current)
        sent = [(at, data) for at, data, _to in self.run_until(4.0)]
        self.assertEqual(sent, [(0.0, b"old"), (3.0, b"new")])
        self.assertTrue(self.ack(2))


class AckTests(RetransmissionCase):
    """Map-Notify-Ack: the same nonce and a valid MAC."""

    def setUp(self) -> None:
        """One is on its way."""
        super().setUp()
        self.start("a", 77)
        self.send()

    def assert_goes_on(self) -> None:
        """It is retransmitted."""
        self.assertEqual((self.ended, self.watching.outstanding), ([], 1))
        self.assertEqual(len(self.run_until(1000.0)), 6)

    def test_ends_it(self) -> None:
        """Whoever sent it hears."""
        self.start("a", 77, datagram=signed(4, 77, record("10.1.0.0/16"), ids=_IDS))
        self.send()
        self.assertTrue(self.ack(77, record("10.1.0.0/16"), ids=_IDS))
        self.assertEqual(self.run_until(1000.0), [])
        self.assertEqual(self.ended, [("a", True)])
        self.assertEqual(self.counted("acknowledged"), 1)

    def test_of_other_records_is_none(self) -> None:
        """Somebody may have caught it when the nonce was used for something else."""
        self.assertFalse(self.ack(77, record("10.2.0.0/16")))
        self.assertEqual(self.counted("Map-Notify-Acks of something else"), 1)
        self.assert_goes_on()

    def test_from_any_address(self) -> None:
        """There are NATs."""
        self.assertTrue(self.ack(77, source=(ip("2001:db8::9"), 9)))

    def test_however_far_the_mac_reaches(self) -> None:
        """With the IDs or without."""
        self.assertTrue(self.ack(77, ids=_IDS, covers_ids=False))

    def test_truncated(self) -> None:
        """128 bits."""
        self.assertTrue(self.ack(77, length=16))

    def test_with_another_nonce(self) -> None:
        """Ignored and counted."""
        self.assertFalse(self.ack(78))
        self.assertEqual(self.counted("Map-Notify-Acks unasked"), 1)
        self.assert_goes_on()

    def test_with_a_wrong_mac(self) -> None:
        """Another secret, another key ID, another algorithm, a touched octet, no MAC at all."""
        good = signed(5, 77, record("10.1.0.0/16"))
        for wrong in (
            signed(5, 77, key=OTHER_KEY),
            signed(5, 77, key=Secret(9)),
            signed(5, 77, key=SHA1_KEY),
            signed(5, 77, length=0),
            good[:20] + bytes((good[20] ^ 1,)) + good[21:],
            good[:-1] + bytes((good[-1] ^ 1,)),
        ):
            self.assertFalse(self.watching.acknowledge(wrong, _ETR, 0.0))
        self.assertEqual(self.counted("Map-Notify-Acks with authentication failures"), 6)
        self.assert_goes_on()

    def test_our_own_map_notify_is_none(self) -> None:
        """Sent back as it was, or with another type."""
        mirrored = signed(4, 77, record("10.1.0.0/16"))
        self.assertRaises(WireError, self.watching.acknowledge, mirrored, _ETR, 0.0)
        retyped = b"\x50" + mirrored[1:]
        self.assertFalse(self.watching.acknowledge(retyped, _ETR, 0.0))
        self.assert_goes_on()

    def test_derived_keys_tell_the_types_apart(self) -> None:
        """Algorithm ID 3 has a key for each."""
        self.start("b", 78, key=_DERIVED)
        wrong = {"key": _DERIVED, "purpose": b"Map-Notify Authentication"}
        self.assertFalse(self.ack(78, **wrong))
        self.assertTrue(self.ack(78, key=_DERIVED))

    def test_twice(self) -> None:
        """The second one crossed a retransmission."""
        self.assertTrue(self.ack(77))
        self.assertFalse(self.ack(77))
        self.assertEqual(self.ended, [("a", True)])

    def test_cut_short(self) -> None:
        """WireError, for the caller to count."""
        good = signed(5, 77, record("10.1.0.0/16"), ids=_IDS)
        for cut in range(len(good)):
            try:
                self.assertFalse(self.watching.acknowledge(good[:cut], _ETR, 0.0))
            except WireError:
                continue
        self.assert_goes_on()


class SameNonceTests(RetransmissionCase):
    """Subscribers choose nonces, so several may have the same."""

    def test_keys_tell_them_apart(self) -> None:
        """Each ends its own."""
        self.start("a", 5)
        self.start("b", 5, key=SHA1_KEY)
        self.assertTrue(self.ack(5, key=SHA1_KEY))
        self.assertEqual(self.ended, [("b", True)])
        self.assertTrue(self.ack(5))
        self.assertEqual(self.ended, [("b", True), ("a", True)])

    def test_records_tell_them_apart(self) -> None:
        """Under one key."""
        texts = ["10.1.0.0/16", "10.2.0.0/16", "10.3.0.0/16"]
        for text in texts:
            self.start(text, 5, datagram=signed(4, 5, record(text)))
        for text in reversed(texts):
            self.assertTrue(self.ack(5, record(text)))
        self.assertEqual([about for about, _ in self.ended], texts[::-1])

    def test_an_ack_without_records_ends_the_first(self) -> None:
        """Something was received."""
        self.start("a", 5)
        self.start("b", 5)
        self.assertTrue(self.ack(5))
        self.assertEqual(self.ended, [("a", True)])

    def test_only_so_many_are_compared(self) -> None:
        """Others, under another key, are not kept out by these."""
        watched = [self.start(number, 5) for number in range(100)]
        self.assertEqual(watched, [True] * 16 + [False] * 84)
        self.assertTrue(self.start("mine", 5, key=SHA1_KEY))


class LimitTests(RetransmissionCase):
    """What is kept, and how fast it leaves."""

    def test_beyond_the_limit_one_is_sent_once(self) -> None:
        """Nobody hears how it ends, and nothing is kept of it."""
        self.make(max_outstanding=2)
        self.assertEqual([self.start(number, number) for number in range(3)], [True, True, False])
        sent = self.run_until(1000.0)
        self.assertEqual(len([data for _at, data, _to in sent if data == b"2"]), 1)
        self.assertEqual(self.ended, [(0, False), (1, False)])
        self.assertEqual(self.counted("Map-Notifies not watched"), 1)
        self.assertEqual((self.watching._by_about, self.watching._by_nonce), ({}, {}))
        self.assertEqual(self.watching._per_address, {})

    def test_one_destination_does_not_use_up_what_is_there_for_all(self) -> None:
        """A limit for each address."""
        self.make(max_per_address=2)
        self.assertEqual([self.start(number, number) for number in range(3)], [True, True, False])
        self.assertTrue(self.start("other", 9, to=(_OTHER, _ETR)))
        self.assertTrue(self.ack(0))
        self.assertTrue(self.start("again", 10))

    def test_what_is_not_watched_is_bounded_too(self) -> None:
        """Beyond, nothing is sent."""
        self.make(max_outstanding=0, max_unwatched=3)
        for number in range(5):
            self.start(number, number)
        self.assertEqual(len(self.send()), 3)
        self.assertEqual(self.counted("Map-Notifies dropped"), 2)
        self.start("later", 9)
        self.assertEqual(len(self.send()), 1)

    def test_the_newer_about_the_same_needs_no_room(self) -> None:
        """It takes that of the older."""
        self.make(max_outstanding=1)
        self.assertTrue(self.start("a", 1))
        self.assertTrue(self.start("a", 2))
        self.assertEqual(self.watching.outstanding, 1)

    def test_a_burst_is_spread(self) -> None:
        """So many datagrams in one pace, however often it is asked."""
        self.make(burst=10, pace=0.5)
        for number in range(35):
            self.start(number, number)
        self.assertEqual([len(self.send()) for _ in range(3)], [10, 0, 0])
        self.assertEqual(self.watching.next_timeout(), 0.5)
        sent = self.run_until(2.9)
        times = [at for at, _data, _to in sent]
        self.assertEqual(times, [0.5] * 10 + [1.0] * 10 + [1.5] * 5)
        self.assertEqual(len({data for _at, data, _to in sent}), 25)

    def test_retransmissions_and_first_tries_share_the_pace(self) -> None:
        """What has been due for longest goes first: neither waits for ever."""
        self.make(burst=2, pace=1.0)
        for number in range(2):
            self.start(f"old{number}", number)
        self.send()
        self.now = 3.0
        for number in range(4):
            self.start(f"new{number}", 10 + number)
        self.assertEqual(self.send(), [b"new0", b"new1"])
        self.now = 4.0
        self.assertEqual(self.send(), [b"new2", b"new3"])
        self.now = 5.0
        self.assertEqual(self.send(), [b"old0", b"old1"])

    def test_room(self) -> None:
        """How many more would leave at once."""
        self.make(burst=3, pace=1.0)
        self.assertEqual((self.watching.room(0.0), self.watching.next_room()), (3, float("-inf")))
        self.start("a", 1)
        self.assertEqual(self.watching.room(0.0), 2)
        self.send()
        self.assertEqual(self.watching.room(0.5), 2)
        self.start("b", 2)
        self.start("c", 3)
        self.assertEqual((self.watching.room(0.5), self.watching.next_room()), (0, 1.0))
        self.now = 0.5
        self.send()
        self.assertEqual((self.watching.room(0.9), self.watching.room(1.0)), (0, 3))

    def test_giving_up_is_paced(self) -> None:
        """Many at a time would keep everybody waiting."""
        self.make(burst=5, pace=0.1)
        for number in range(12):
            self.start(number, number)
        self.run_until(74.0)
        self.now = 200.0
        self.send()
        self.assertEqual(len(self.ended), 5)
        self.run_until(201.0)
        self.assertEqual(len(self.ended), 12)

    def test_65536_outstanding_do_not_make_a_turn_walk_over_all(self) -> None:
        """Nothing is built or visited but what is due; counted, not timed."""
        self.make(max_per_address=65_536)
        key = self.keys[KEY]
        for number in range(65_536):
            self.watching.start(number, number, b"", (_ETR,), key, 0.0)
        self.assertEqual(self.watching.outstanding, 65_536)
        visited = 0
        queue_type = type(self.watching._queues[0])

        class Counting(queue_type):  # type: ignore[valid-type, misc]
            def __iter__(self):  # type: ignore[no-untyped-def]
                nonlocal visited
                for item in super().__iter__():
                    visited += 1
                    yield item

        self.watching._queues = [Counting(queue) for queue in self.watching._queues]
        visited = 0
        tracemalloc.start()
        try:
            self.assertEqual(len(self.send()), 64)
            self.assertIsNotNone(self.watching.next_timeout())
            _now, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        self.assertLess(visited, 64 * 9)
        self.assertLess(peak, 200_000)


class ModelTests(RetransmissionCase):
    """Random steps against what must always hold."""

    @given(
        st.lists(
            st.one_of(
                st.tuples(st.just("start"), st.integers(0, 5), st.integers(0, 3)),
                st.tuples(st.just("cancel"), st.integers(0, 5), st.just(0)),
                st.tuples(st.just("ack"), st.integers(0, 3), st.just(0)),
                st.tuples(st.just("wait"), st.integers(0, 30), st.just(0)),
            ),
            max_size=60,
        )
    )
    def test_nothing_is_lost_or_left_behind(self, steps: list[tuple[str, int, int]]) -> None:
        """Each thing ends once, and in the end nothing is kept."""
        self.make(max_outstanding=4, max_per_address=3, burst=2, pace=0.5)
        for what, one, other in steps:
            if what == "start":
                self.start(one, other, to=((_ETR,), (_OTHER,))[one % 2])
            elif what == "cancel":
                self.watching.cancel(one)
            elif what == "ack":
                self.ack(one)
            else:
                self.run_until(self.now + one)
            self.assertLessEqual(self.watching.outstanding, 4)
            queued = sum(map(len, self.watching._queues))
            self.assertEqual(queued, len(self.watching._by_about))
        self.run_until(self.now + 1000.0)
        self.assertEqual((self.watching._by_about, self.watching._by_nonce), ({}, {}))
        self.assertEqual((self.watching.outstanding, dict(self.watching._per_address)), (0, {}))
