"""The same Map-Registers go to a Map-Server that takes the ordinary ones compiled and to one that
takes every one in Python: whatever either says, keeps and counts is equal.
"""

from __future__ import annotations

import os
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from lispmsrt.control import map_registers, nonces
from lispmsrt.control.nonces import INCREASES, NonceCheck
from tests.builders import MERGE, OTHER_KEY, Etr, M, P, R, T, eid, locator, record
from tests.map_registers_ground import Fleet, TwinCase

_LONG = bool(os.environ.get("LISPMSRT_LONG"))
_SEEDS = 400 if _LONG else 16
_STEPS = 120


class StreamTests(TwinCase):
    """Streams of everything."""

    def test_random_streams(self) -> None:
        """Refreshed, moved, repeated, withdrawn, broken; expiries, reloads and sessions between."""
        for seed in range(_SEEDS):
            random = Random(seed)
            check = (NonceCheck.LENIENT, NonceCheck.LENIENT, NonceCheck.STRICT, NonceCheck.OFF)
            self.start(
                check[seed % 4], 12 if seed % 5 == 4 else 4_000_000, to_control_port=seed % 7 == 6
            )
            fleet, now = Fleet(random), 0.0
            for _ in range(_STEPS):
                self.step(random, fleet)
                if random.random() < 0.3:
                    now += random.choice([0.5, 7.0, 7.0, 61.0, 200.0])
                    self.wait_until(now)
        self.assertGreater(self.ordinary, 20 * _SEEDS)

    def step(self, random: Random, fleet: Fleet) -> None:
        """Have something happen."""
        chance = random.random()
        number = random.randrange(len(fleet.etrs))
        if chance < 0.03:
            self.configure(random.randrange(3))
        elif chance < 0.07:
            self.connect(fleet.etrs[number], number, *fleet.records(random.randrange(4), 1440))
        elif chance < 0.10:
            self.disconnect(number)
        else:
            self.hear(*fleet.batch())

    @given(
        st.lists(
            st.tuples(
                st.integers(0, 7),
                st.lists(st.tuples(st.integers(0, 160), st.integers(0, 255)), max_size=2),
            ),
            min_size=1,
            max_size=20,
        )
    )
    @settings(max_examples=1000 if _LONG else 60, deadline=None)
    def test_octets_that_change_on_their_way(
        self, messages: list[tuple[int, list[tuple[int, int]]]]
    ) -> None:
        """Signed with what they became, so that most get further than the MAC."""
        self.start()
        etr = Etr()
        batch = [(etr.map_register(record(f"10.1.{at}.0/24"), flags=M), etr.source)
                 for at in range(20)]  # fmt: skip
        self.hear(*batch)
        changed = []
        for at, octets in messages:
            data = bytearray(etr.map_register(record(f"10.1.{at}.0/24"), flags=M))
            for place, octet in octets:
                data[place % len(data)] ^= octet
            length = min(int.from_bytes(data[14:16], "big"), len(data) - 16)
            if length == 32:
                zeroed = bytes(data[:16]) + bytes(32) + bytes(data[48:])
                data[16:48] = etr.key.mac(zeroed, 32, b"")
            changed.append((bytes(data), etr.source))
        self.hear(*changed)
        self.hear(*changed)


class OrdinaryTests(TwinCase):
    """Which ones are ordinary, so that the rest of this file compares anything at all."""

    def setUp(self) -> None:
        """One ETR."""
        super().setUp()
        self.start()
        self.etr = Etr()

    def send(self, *records: bytes, flags: int = M, etr: Etr | None = None) -> int:
        """Send one message; return whether it was ordinary."""
        etr = etr or self.etr
        return self.hear((etr.map_register(*records, flags=flags), etr.source))

    def test_what_is_like_an_earlier_one(self) -> None:
        """New or refreshed; the first one is not."""
        found = [self.send(record(f"10.1.{at % 3}.0/24")) for at in range(40)]
        self.assertEqual(found, [0] + [1] * 39)

    def test_many_records(self) -> None:
        """All alike; where one stands there twice it goes the long way, unless it is known."""
        one, two, three = (record(f"10.1.{at}.0/24") for at in range(3))
        self.assertEqual(self.send(one, two), 0)
        self.assertEqual(self.send(two, three), 1)
        again = record("10.1.9.0/24")
        self.assertEqual([self.send(again, again), self.send(again, again)], [0, 1])

    def test_an_answer_that_is_too_large_to_be_kept(self) -> None:
        """A repeat of its Map-Register gets none."""
        records = [record(f"10.1.{at}.0/24") for at in range(60)]
        for is_ordinary in [0] + [1] * (INCREASES + 2):
            message = self.etr.map_register(*records, flags=M), self.etr.source
            self.assertEqual(self.hear(message), is_ordinary)
            self.hear(message)

    def test_a_whole_batch(self) -> None:
        """New ones of several xTRs; each hears, and everybody hears of them in turn."""
        etrs = [Etr(xtr_id=number, port=5000 + number) for number in range(3)]
        batches = [
            [
                (etr.map_register(record(f"10.1.{at}.{16 * number}/28"), flags=M), etr.source)
                for at in range(first, first + 20)
                for number, etr in enumerate(etrs)
            ]
            for first in (0, 20)
        ]
        self.hear(*batches[0])
        self.assertEqual(self.hear(*batches[1]), 60)

    def test_extraordinary_ones(self) -> None:
        """Arming, merging, an end of their own; and what asks for no Map-Notify is ordinary."""
        kinds = ((R | M, 0), (MERGE | M, 0), (T | M, 0), (0, 1), (P, 1))
        for number, (flags, is_ordinary) in enumerate(kinds):
            etr = Etr(xtr_id=number)
            self.send(record(f"10.1.{number}.0/28"), flags=flags, etr=etr)
            again = self.send(record(f"10.1.{number}.64/28"), flags=flags, etr=etr)
            self.assertEqual(again, is_ordinary, flags)

    def test_moved_withdrawn_and_anothers(self) -> None:
        """What is registered otherwise goes the long way."""
        other = Etr("192.0.2.2", xtr_id=2)
        self.send(record("10.1.0.0/24"))
        self.assertEqual(self.send(record("10.1.0.0/24")), 1)
        self.assertEqual(self.send(record("10.1.0.0/24"), etr=other), 0)
        self.send(record("10.1.1.0/24"))
        self.assertEqual(self.send(record("10.1.1.0/24", locator("192.0.2.7"))), 0)
        self.assertEqual(self.send(record("10.1.1.0/24", ttl=0)), 0)

    def test_families(self) -> None:
        """IPv4, IPv6, MAC addresses, with an instance ID or without."""
        pairs = (
            (eid("10.1.0.0/24"), eid("10.1.0.9/32")),
            (eid("10.1.0.0/24", 7), eid("10.1.128.0/17", 7)),
            (eid("2001:db8::/48"), eid("2001:db8::1/128")),
            (eid("02:00:00:00:00:00/40"), eid("02:00:00:00:00:01/48")),
        )
        for number, (first, second) in enumerate(pairs):
            etr = Etr(xtr_id=number)
            self.send(record(first), etr=etr)
            self.assertEqual(self.send(record(second), etr=etr), 1, first)

    def test_what_was_known_under_other_sites_is_known_no_more(self) -> None:
        """And what one EID-prefix of several was configured for is asked of the sites."""
        self.send(record("10.1.0.0/24"))
        self.assertEqual(self.send(record("10.1.128.0/24")), 1)
        self.configure(1)
        self.assertEqual(self.send(record("10.1.0.0/24")), 0)
        self.assertEqual(self.send(record("10.1.1.0/24")), 1)
        self.assertEqual(self.send(record("10.1.128.0/24")), 0)

    def test_nothing_but_the_eid_may_differ_in_a_record(self) -> None:
        """Not its TTL, its RLOCs or its instance ID: these were looked into the first time."""
        strict, one = Etr("192.0.2.3", key=OTHER_KEY), locator("192.0.2.1")
        for at, differs in enumerate(
            (
                record("10.2.1.0/24", one, ttl=0),
                record("10.2.2.0/24", one, ttl=7),
                record("10.2.3.0/24", locator("198.51.100.1")),
                record("10.2.4.0/24", locator("192.0.2.1", priority=255)),
            )
        ):
            self.send(record(f"10.2.{10 + at}.0/24"), etr=strict)
            self.assertEqual(self.send(differs, etr=strict), 0)
        self.send(record("10.1.0.0/24", instance_id=7))
        self.assertEqual(self.send(record("10.1.0.0/24", instance_id=7)), 1)
        self.assertEqual(self.send(record("10.1.0.0/24", instance_id=8)), 0)

    def test_bits_behind_the_mask(self) -> None:
        """Two records that differ may have one EID-prefix then: the second replaces the first."""
        self.send(record("10.1.0.0/24"), record("10.1.1.0/24"))
        self.assertEqual(self.send(record("10.1.2.0/24"), record("10.1.2.1/24")), 0)

    def test_an_xtr_whose_nonces_were_forgotten(self) -> None:
        """Others of its site have displaced it; then it is like a new one, and remembered."""
        self.patch(nonces, "MAX_XTRS", 2)
        self.send(record("10.1.0.0/24"))
        again = self.etr.map_register(record("10.1.0.0/24"), flags=M)
        self.assertEqual(self.hear((again, self.etr.source)), 1)
        for number in (2, 3):
            self.send(record(f"10.1.{number}.0/24"), etr=Etr(xtr_id=number))
        self.assertEqual(self.send(record("10.1.0.0/24")), 0)
        self.hear((again, self.etr.source))
        self.assertEqual(self.send(record("10.1.0.0/24")), 1)

    def test_where_no_more_specifics_are_accepted(self) -> None:
        """Each configured EID-prefix is ordinary, and nothing inside."""
        self.send(record("10.4.0.0/16"))
        found = [self.send(record(text)) for text in ("10.4.0.0/16", "10.5.0.0/16", "10.4.0.0/16")]
        self.assertEqual(found, [1, 1, 1])
        self.assertEqual(self.send(record("10.4.1.0/24")), 0)

    def test_an_xtr_that_everybody_forgot(self) -> None:
        """Its EID-prefixes are over; its next message begins anew."""
        self.send(record("10.1.0.0/24"))
        self.wait_until(500.0)
        self.assertEqual(self.send(record("10.1.0.0/24")), 0)
        self.assertEqual(self.send(record("10.1.0.0/24")), 1)

    def test_kinds_are_bounded(self) -> None:
        """The oldest make room."""
        self.patch(map_registers, "MAX_KINDS", 2)
        self.start()
        etrs = [Etr(xtr_id=number) for number in range(3)]
        found = [
            self.send(record(f"10.1.{at}.0/24"), etr=etr)
            for _ in "ab"
            for at, etr in enumerate(etrs)
        ]
        self.assertEqual(found, [0] * 6)
        self.assertEqual(len(self.compiled.server.control._ordinary._known or ()), 2)
        self.assertEqual(self.send(record("10.1.2.0/24"), etr=etrs[2]), 1)

    def test_what_is_no_map_register(self) -> None:
        """Of other types, cut short at every octet, empty: it ends a run and harms nobody."""
        message = self.etr.map_register(record("10.1.0.0/24"), flags=M)
        self.hear((message, self.etr.source))
        good = self.etr.map_register(record("10.1.1.0/24"), flags=M)
        for kind in range(16):
            other = bytes((kind << 4 | good[0] & 15,)) + good[1:]
            self.hear((other, self.etr.source), (b"", self.etr.source))
        for cut in range(len(good)):
            self.assertEqual(self.hear((good[:cut], self.etr.source)), 0, cut)
        self.assertEqual(self.hear((b"", self.etr.source), (good, self.etr.source)), 0)

    def test_a_nonce_again_gets_the_same_answer(self) -> None:
        """From the same source and soon: what is kept is what a compiled one has answered."""
        batch = [
            (self.etr.map_register(record(f"10.1.{at}.0/24"), flags=M), self.etr.source)
            for at in range(30)
        ]
        self.hear(*batch)
        self.assertEqual(self.hear(*batch[-6:]), 0)
        self.hear((batch[-1][0], (self.etr.source[0], 5000)))
        self.wait_until(61.0)
        self.hear(*batch[-6:])

    def test_an_xtr_that_comes_from_elsewhere(self) -> None:
        """Its path and its source for people are those of the newest, wherever answers go."""
        for to_control_port in (False, True):
            self.start(to_control_port=to_control_port)
            here, there = self.etr.source, (self.etr.source[0], 5000)
            found = []
            for at, source in enumerate((here, here, there, there, here, here)):
                message = self.etr.map_register(record(f"10.1.{at}.0/24"), flags=M)
                found.append(self.hear((message, source)))
            self.assertEqual(found, [0, 1, 0, 1, 0, 1])
