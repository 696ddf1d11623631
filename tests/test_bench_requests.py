"""What judges the Map-Replies of ``make bench`` and ``make internet``: it believes no wrong one."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.load import LoadError
from benchmarks.messages import ADDRESS, FIRST_EID
from benchmarks.networks import Network
from benchmarks.questions import Questions, check, is_hole, is_mapping, of_holes, of_mappings
from benchmarks.replies import Record, Replies, longest_match
from lispmsrt import Address, EidPrefix, Locator, MappingRecord
from lispmsrt.control.questions import Question, read_question
from lispmsrt.wire.map_reply import MapReply, encode_map_reply

_SOURCE = (Address.from_text(ADDRESS).packed, 5555)
_MAPPING = MappingRecord(
    EidPrefix.from_text("10.0.0.7/32"), 1440, (Locator(Address.from_text(ADDRESS), local=False),)
)
_HOLE = MappingRecord(EidPrefix.from_text("12.0.0.0/6"), 1, (), action=1)


def _reply(nonce: int, *records: MappingRecord) -> bytes:
    return encode_map_reply(MapReply(nonce, records))


class QuestionsTests(SynchronousTestCase):
    """The load is what it is said to be."""

    def test_questions_are_map_requests_in_ecms(self) -> None:
        """A Map-Server reads them: one EID each, the answer to the socket that asks."""
        addresses = [FIRST_EID + 7, *of_holes(3)]
        questions = Questions.about(addresses, _SOURCE[1])
        for nonce, datagram in enumerate(questions.datagrams):
            read = read_question(datagram, _SOURCE, lambda _afi: True)
            assert isinstance(read, Question)
            self.assertTrue(read.flags)
            self.assertEqual((read.nonce, read.reply_to), (nonce, _SOURCE))
            (eid,) = read.eids
            self.assertEqual(eid.length, 32)
            self.assertEqual(int.from_bytes(eid.address.packed, "big"), addresses[nonce])
        self.assertEqual(questions.first(2).addresses, addresses[:2])
        self.assertEqual(questions.first(2).datagrams, questions.datagrams[:2])

    def test_addresses_are_registered_or_not(self) -> None:
        """Hits among the mappings, holes outside of the network that these are in."""
        hits = set(of_mappings(2000, 100))
        self.assertEqual(hits, set(range(FIRST_EID, FIRST_EID + 100)))
        for address in of_holes(1000):
            self.assertGreater(address >> 24, 10)
            self.assertLess(address >> 24, 224)


class CheckTests(SynchronousTestCase):
    """Map-Replies are counted, and a sample is read."""

    ADDRESSES = (FIRST_EID + 7,) * 3

    def check(self, *replies: bytes) -> None:
        """Check replies to three questions; only the first is looked at."""
        check(replies, self.ADDRESSES, is_mapping)

    def refused(self, *replies: bytes) -> str:
        """Check replies that are wrong; return what is said."""
        return str(self.assertRaises(LoadError, self.check, *replies))

    def test_one_right_reply_each_is_right(self) -> None:
        """In any order."""
        self.check(*(_reply(nonce, _MAPPING) for nonce in (2, 0, 1)))

    def test_lost_and_repeated_replies_are_said(self) -> None:
        """Nobody is counted twice."""
        lost = self.refused(_reply(0, _MAPPING), _reply(1, _MAPPING))
        self.assertEqual(lost, "of 3 questions 2 were answered, by 2 Map-Replies")
        twice = self.refused(*(_reply(nonce, _MAPPING) for nonce in (0, 1, 1)))
        self.assertEqual(twice, "of 3 questions 2 were answered, by 3 Map-Replies")
        more = self.refused(*(_reply(nonce, _MAPPING) for nonce in (0, 1, 2, 2)))
        self.assertEqual(more, "of 3 questions 3 were answered, by 4 Map-Replies")

    def test_what_is_no_answer_is_refused(self) -> None:
        """Another nonce, several records, none, another type, a stump."""
        for wrong in (
            _reply(3, _MAPPING),
            _reply(1, _MAPPING, _MAPPING),
            _reply(1),
            b"\x30" + _reply(1, _MAPPING)[1:],
            b"\x20\0\0",
        ):
            self.assertIn(f"{wrong.hex()} is no Map-Reply", self.refused(wrong))

    def test_wrong_record_is_refused(self) -> None:
        """Of those that are looked at."""
        self.assertIn("asked for 10.0.0.7/32", self.refused(_reply(0, _HOLE)))

    def test_malformed_record_is_refused(self) -> None:
        """Of those that are looked at."""
        self.assertIn("is malformed", self.refused(_reply(0, _MAPPING)[:-1]))


class RecordTests(SynchronousTestCase):
    """Which records are right."""

    def test_mapping(self) -> None:
        """Every field that the Map-Server decides about."""
        self.assertTrue(is_mapping(FIRST_EID + 7, _MAPPING))
        self.assertFalse(is_mapping(FIRST_EID + 8, _MAPPING))
        elsewhere = (Locator(Address.from_text("127.0.0.3"), local=False),)
        not_cleared = (Locator(Address.from_text(ADDRESS)),)
        for change in (
            {"locators": ()},
            {"locators": elsewhere},
            {"locators": not_cleared},
            {"ttl": 1},
            {"authoritative": True},
        ):
            wrong = dataclasses.replace(_MAPPING, **change)
            self.assertFalse(is_mapping(FIRST_EID + 7, wrong), change)

    def test_hole(self) -> None:
        """The widest prefix that has nothing of 10.0.0.0/8."""
        for address, right in (
            ("12.1.2.3", "12.0.0.0/6"),
            ("11.1.2.3", "11.0.0.0/8"),
            ("192.0.2.1", "128.0.0.0/1"),
        ):
            number = int.from_bytes(Address.from_text(address).packed, "big")
            hole = dataclasses.replace(_HOLE, eid=EidPrefix.from_text(right))
            self.assertTrue(is_hole(number, hole), right)
            for change in (
                {"eid": EidPrefix.from_text("0.0.0.0/0")},
                {"eid": EidPrefix.from_text(f"{address}/32")},
                {"locators": _MAPPING.locators},
                {"action": 0},
                {"ttl": 15},
                {"authoritative": True},
            ):
                self.assertFalse(is_hole(number, dataclasses.replace(hole, **change)), change)


_NETWORKS = {"10.0.0.0/8": 0, "10.1.0.0/16": 1, "10.1.2.0/24": 2, "2001:db8::/32": 3}


class RepliesTests(SynchronousTestCase):
    """Which Map-Replies are right, of networks inside each other."""

    def setUp(self) -> None:
        networks = [Network(prefix, None) for prefix in _NETWORKS]
        self.replies = Replies(networks, list(_NETWORKS.values()), "192.0.2.{}".format)

    def mistake(self, address: str, network: str | None, *records: str) -> str:
        """Judge records, told by prefix and ETR."""
        verdict = None if network is None else (network, _NETWORKS[network])
        return self.replies.mistake(address, verdict, _records(records))

    def test_hit_lists_what_is_inside(self) -> None:
        """All of it, and each at its ETR."""
        inside = ("10.1.0.0/16 1", "10.1.2.0/24 2")
        asked = ("10.2.0.1", "10.0.0.0/8")
        self.assertEqual(self.mistake(*asked, "10.0.0.0/8 0", *inside), "")
        self.assertEqual(self.mistake(*asked, *reversed(inside), "10.0.0.0/8 0"), "")
        for wrong in ((), inside[:1], ("10.1.0.0/16 1", "10.1.2.0/24 1"), (*inside, inside[1])):
            self.assertIn("inside of 10.0.0.0/8 2", self.mistake(*asked, "10.0.0.0/8 0", *wrong))
        self.assertEqual(self.mistake("10.1.2.3", "10.1.2.0/24", "10.1.2.0/24 2"), "")
        self.assertEqual(self.mistake("2001:db8::1", "2001:db8::/32", "2001:db8::/32 3"), "")

    def test_part_of_a_hit_is_as_wide_as_can_be(self) -> None:
        """It has nothing inside, but what is one bit wider has."""
        asked = ("10.2.0.1", "10.0.0.0/8")
        self.assertEqual(self.mistake(*asked, "10.2.0.0/15 0"), "")
        self.assertIn("narrower than need be", self.mistake(*asked, "10.2.0.0/16 0"))
        self.assertIn("inside of 10.0.0.0/14 2", self.mistake(*asked, "10.0.0.0/14 0"))

    def test_another_etr_or_network_is_a_mistake(self) -> None:
        """And so is a part of a network where nothing is inside."""
        asked = ("10.1.2.3", "10.1.2.0/24")
        right = "right is 10.1.2.0/24 at 192.0.2.2"
        for wrong in ("10.1.2.0/24 1", "10.1.0.0/16 2", "10.1.2.0/24"):
            self.assertIn(right, self.mistake(*asked, wrong))
        self.assertIn("narrower than need be", self.mistake(*asked, "10.1.2.0/25 2"))

    def test_hole_has_nothing_inside_and_is_as_wide_as_can_be(self) -> None:
        """Inside the address space."""
        self.assertEqual(self.mistake("11.1.1.1", None, "11.0.0.0/8"), "")
        self.assertIn("inside of 10.0.0.0/7 3", self.mistake("11.1.1.1", None, "10.0.0.0/7"))
        self.assertIn("narrower", self.mistake("11.1.1.1", None, "11.0.0.0/9"))
        self.assertIn("nobody's", self.mistake("11.1.1.1", None, "11.0.0.0/8 0"))
        nothing = Replies([], [], str)
        hole = _records(["0.0.0.0/0"])
        self.assertEqual(nothing.mistake("11.1.1.1", None, hole), "")

    def test_no_record_for_the_address_is_a_mistake(self) -> None:
        """Whatever else is told."""
        self.assertEqual(self.mistake("11.1.1.1", None), "there is no answer")
        self.assertEqual(self.mistake("11.1.1.1", None, "12.0.0.0/8"), "there is no answer")

    def test_packets_go_by_the_longest_match(self) -> None:
        """Of records in any order and of both families."""
        records = _records(["2001:db8::/32 1", "10.0.0.0/9 1", "10.0.0.0/8 2"])
        self.assertEqual(longest_match("10.0.0.1", records), records[1])
        self.assertEqual(longest_match("10.128.0.1", records), records[2])
        self.assertEqual(longest_match("2001:db8::1", records), records[0])
        self.assertIsNone(longest_match("2001:db9::1", records))


def _records(texts: Sequence[str]) -> list[Record]:
    parted = [text.partition(" ") for text in texts]
    return [Record(prefix, (f"192.0.2.{etr}",) if etr else ()) for prefix, _, etr in parted]
