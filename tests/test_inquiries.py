"""Asking for mappings: what is sent, when again, and what is believed."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.control.inquiries import (
    Answer,
    Form,
    Inquiries,
    Inquiry,
    Pace,
    TooManyInquiriesError,
    covers,
)
from lispmsrt.control.lisp_sec import MapServerSecurity, SecuredQuestion
from lispmsrt.control.secured_requests import ReplyFault
from lispmsrt.wire.addresses import Address, EidPrefix
from lispmsrt.wire.authentication import AlgorithmId, Key
from lispmsrt.wire.encapsulated import EncapsulatedControlMessage, decode_encapsulated
from lispmsrt.wire.lcaf import AsNumber
from lispmsrt.wire.map_reply import MapReply, encode_map_reply
from lispmsrt.wire.map_request import MapRequest, decode_map_request
from lispmsrt.wire.records import Action, Locator, MappingRecord
from tests.builders import ip

_ip = Address.from_text
_eid = EidPrefix.from_text
SOURCE = (ip("198.51.100.1"), 50_001)
RESOLVER = (ip("192.0.2.1"), 4342)
ETR = (ip("203.0.113.7"), 4342)
EID = _eid("10.1.1.5/32")


def _record(eid: str = "10.1.1.0/24", *rlocs: str, ttl: int = 1440) -> MappingRecord:
    locators = tuple(Locator(_ip(rloc)) for rloc in rlocs or ("203.0.113.7",))
    return MappingRecord(_eid(eid), ttl, locators, authoritative=True)


class _Case(SynchronousTestCase):
    def setUp(self) -> None:
        """Three tries, a second apart, four at a time."""
        self.make(SOURCE)

    def make(self, source: tuple[bytes, int]) -> None:
        self.inquiries = Inquiries(source, Random(7), Pace(max_outstanding=4))
        self.ended: list[Answer | None] = []

    def ask(self, eid: EidPrefix = EID, form: Form = Form.PLAIN, now: float = 0.0) -> Inquiry:
        return self.inquiries.ask(eid, RESOLVER, now, self.ended.append, form)

    def sent(self, now: float) -> list[MapRequest]:
        """Return the Map-Requests that leave now; all are plain."""
        return [decode_map_request(data) for data, _to in self.inquiries.datagrams_to_send(now)]

    def reply(self, nonce: int, *records: MappingRecord, now: float = 0.25) -> None:
        data = encode_map_reply(MapReply(nonce, records))
        self.inquiries.receive_datagram(data, ETR, now)


class QuestionTests(_Case):
    """What is sent."""

    def test_in_an_ecm_the_inner_packet_goes_to_the_eid(self) -> None:
        """From where the answer is to come to."""
        self.ask(form=Form.ENCAPSULATED)
        ((data, to),) = self.inquiries.datagrams_to_send(0.0)
        outer = decode_encapsulated(data)
        self.assertEqual(to, RESOLVER)
        self.assertEqual((outer.source, outer.source_port), (_ip("198.51.100.1"), 50_001))
        self.assertEqual((outer.destination, outer.destination_port), (_ip("10.1.1.5"), 4342))
        request = decode_map_request(outer.payload)
        self.assertEqual(request.itr_rlocs, (_ip("198.51.100.1"),))
        self.assertEqual([each.eid for each in request.records], [EID])
        self.assertFalse(request.probe)

    def test_an_eid_of_another_family_is_no_inner_destination(self) -> None:
        """Then it is the Map-Resolver's address."""
        for text in ("2001:db8::5/128", "02:00:00:00:00:01/48", "name:printer"):
            self.ask(_eid(text, 7), Form.ENCAPSULATED)
            ((data, _to),) = self.inquiries.datagrams_to_send(0.0)
            outer = decode_encapsulated(data)
            self.assertEqual(outer.destination, _ip("192.0.2.1"))
            (asked,) = decode_map_request(outer.payload).records
            self.assertEqual(asked.eid, _eid(text, 7))

    def test_over_ipv6_the_inner_packet_is_ipv6(self) -> None:
        """Of an IPv6 EID and of others."""
        self.make((ip("2001:db8::1"), 50_001))
        resolver = (ip("2001:db8::2"), 4342)
        for text, inner in (("2001:db8:5::5/128", "2001:db8:5::5"), ("10.1.1.5/32", "2001:db8::2")):
            self.inquiries.ask(_eid(text), resolver, 0.0, self.ended.append)
            ((data, _to),) = self.inquiries.datagrams_to_send(0.0)
            self.assertEqual(decode_encapsulated(data).destination, _ip(inner))

    def test_a_probe_has_the_p_bit_and_no_ecm(self) -> None:
        """RFC 9301 §5.8: RLOC-probes are never encapsulated."""
        self.ask(form=Form.PROBE)
        (request,) = self.sent(0.0)
        self.assertTrue(request.probe)

    def test_an_lcaf_can_not_be_asked_for(self) -> None:
        """It is no lookup key."""
        eid = EidPrefix(0, AsNumber(65_000, _ip("10.0.0.0")), 8)
        self.assertRaises(ValueError, self.ask, eid)
        self.assertEqual(len(self.inquiries), 0)


class RetransmissionTests(_Case):
    """When it is sent again."""

    def test_three_tries_a_second_apart_and_then_none(self) -> None:
        """Each with a nonce of its own."""
        self.ask()
        requests = self.sent(0.0)
        for now in (0.999, 1.0, 1.5, 2.0, 2.999):
            self.assertEqual(self.ended, [])
            requests += self.sent(now)
        self.assertEqual(len({request.nonce for request in requests}), 3)
        self.assertEqual(len(requests), 3)
        self.assertEqual(self.inquiries.next_timeout(), 3.0)
        self.assertEqual(self.sent(3.0), [])
        self.assertEqual(self.ended, [None])
        self.assertEqual((len(self.inquiries), self.inquiries.next_timeout()), (0, None))
        self.assertEqual(self.inquiries.counters["without an answer"], 1)

    def test_each_inquiry_has_its_own_time(self) -> None:
        """The earliest rings."""
        self.ask(_eid("10.1.1.1/32"), now=0.0)
        self.ask(_eid("10.1.1.2/32"), now=0.5)
        self.assertEqual(len(self.sent(0.5)), 2)
        self.assertEqual(self.inquiries.next_timeout(), 1.0)
        (again,) = self.sent(1.0)
        self.assertEqual(again.records[0].eid, _eid("10.1.1.1/32"))
        self.assertEqual(self.inquiries.next_timeout(), 1.5)

    def test_who_hears_that_there_is_no_answer_may_ask_at_once(self) -> None:
        """The new question leaves in the same turn."""
        again = lambda _answer: self.ask(_eid("10.1.1.6/32"), now=3.0)  # noqa: E731
        self.inquiries.ask(EID, RESOLVER, 0.0, again, Form.PLAIN)
        for now in (0.0, 1.0, 2.0):
            self.sent(now)
        (request,) = self.sent(3.0)
        self.assertEqual(request.records[0].eid, _eid("10.1.1.6/32"))
        self.assertEqual(self.inquiries.next_timeout(), 4.0)

    def test_no_more_than_the_limit_are_outstanding(self) -> None:
        """One that ends makes room."""
        asked = [self.ask() for _ in range(4)]
        self.assertRaises(TooManyInquiriesError, self.ask)
        self.inquiries.cancel(asked[0])
        self.ask()
        self.assertEqual(len(self.inquiries), 4)

    def test_a_cancelled_one_is_forgotten(self) -> None:
        """Nothing is sent again, no answer is told."""
        inquiry = self.ask()
        (request,) = self.sent(0.0)
        self.inquiries.cancel(inquiry)
        self.reply(request.nonce, _record())
        self.assertEqual((self.sent(9.0), self.ended), ([], []))
        self.assertEqual(self.inquiries.counters["Map-Replies to no inquiry"], 1)


class AnswerTests(_Case):
    """What is believed."""

    def test_an_answer_comes_from_anywhere_with_the_nonce(self) -> None:
        """Timed from the Map-Request that it answers."""
        self.ask()
        (request,) = self.sent(0.0)
        self.reply(request.nonce, _record(), now=0.25)
        (answer,) = self.ended
        assert answer is not None
        self.assertEqual((answer.record, answer.source), (_record(), ETR))
        self.assertEqual((answer.rtt, answer.tries, answer.is_negative), (0.25, 1, False))
        self.assertEqual((self.sent(9.0), self.inquiries.next_timeout()), ([], None))

    def test_a_late_answer_to_an_early_try_counts(self) -> None:
        """With its true time; what answers the later tries finds nobody."""
        self.ask()
        (first,) = self.sent(0.0)
        (second,) = self.sent(1.0)
        self.reply(first.nonce, _record(), now=1.5)
        self.reply(second.nonce, _record(), now=1.75)
        (answer,) = self.ended
        assert answer is not None
        self.assertEqual((answer.rtt, answer.tries), (1.5, 2))
        self.assertEqual(self.inquiries.counters["Map-Replies to no inquiry"], 1)

    def test_a_wrong_nonce_is_no_answer(self) -> None:
        """Whoever guesses must guess 64 bits."""
        self.ask()
        (request,) = self.sent(0.0)
        self.reply(request.nonce ^ 1, _record())
        self.assertEqual(self.ended, [])

    def test_an_answer_about_something_else_is_no_answer(self) -> None:
        """Another prefix, another instance ID, nothing at all."""
        self.ask()
        (request,) = self.sent(0.0)
        other = MappingRecord(_eid("10.1.1.0/24", 5), 1, ())
        for records in ((_record("10.1.2.0/24"),), (other,), ()):
            self.reply(request.nonce, *records)
        self.assertEqual(self.ended, [])
        self.assertEqual(self.inquiries.counters["Map-Replies about another EID-prefix"], 3)
        self.reply(request.nonce, _record())
        self.assertEqual(len(self.ended), 1)

    def test_of_several_records_the_longest_match_is_the_mapping(self) -> None:
        """The others are kept with it."""
        self.ask()
        (request,) = self.sent(0.0)
        records = (_record("10.0.0.0/8"), _record("10.1.1.0/24"), _record("10.1.2.0/24"))
        self.reply(request.nonce, *records)
        (answer,) = self.ended
        assert answer is not None
        self.assertEqual((answer.record, answer.reply.records), (records[1], records))

    def test_an_eid_prefix_may_be_answered_by_a_part_of_it(self) -> None:
        """Where no mapping covers all of what was asked."""
        self.ask(_eid("10.0.0.0/8"))
        (request,) = self.sent(0.0)
        records = (_record("10.1.0.0/16"), _record("10.2.0.0/16"))
        self.reply(request.nonce, *records)
        (answer,) = self.ended
        assert answer is not None
        self.assertEqual(answer.record, records[0])

    def test_no_locators_are_a_negative_answer(self) -> None:
        """And an answer all the same."""
        self.ask()
        (request,) = self.sent(0.0)
        record = MappingRecord(_eid("10.0.0.0/9"), 15, (), Action.NATIVELY_FORWARD)
        self.reply(request.nonce, record)
        (answer,) = self.ended
        assert answer is not None
        self.assertTrue(answer.is_negative)

    def test_garbage_is_counted(self) -> None:
        """It ends nothing."""
        self.ask()
        self.sent(0.0)
        for data in (b"", b"\x20", b"\x10" + bytes(20), b"\xf0" + bytes(20)):
            self.inquiries.receive_datagram(data, ETR, 0.0)
        self.assertEqual(self.inquiries.counters["malformed datagrams"], 2)
        self.assertEqual(self.inquiries.counters["type 1 not handled"], 1)
        self.assertEqual(self.inquiries.counters["type 15 not handled"], 1)
        self.assertEqual(len(self.inquiries), 1)

    @given(st.binary(max_size=120))
    def test_no_datagram_upsets_it(self, data: bytes) -> None:
        """Whatever the network brings."""
        inquiries = Inquiries(SOURCE, Random(7))
        inquiries.receive_datagram(b"\x20" + data, ETR, 0.0)
        self.assertEqual(len(inquiries), 0)
        self.assertTrue(inquiries.counters)


class CoversTests(SynchronousTestCase):
    """Whether one EID-prefix lies in another."""

    def test_covers(self) -> None:
        """All of a family, the same one, names whole."""
        for outer, inner, is_inside in (
            ("0.0.0.0/0", "10.1.1.5/32", True),
            ("10.1.1.0/24", "10.1.1.0/24", True),
            ("10.1.1.0/24", "10.1.0.0/16", False),
            ("10.1.1.0/24", "10.1.2.1/32", False),
            ("2001:db8::/32", "2001:db8::1/128", True),
            ("0.0.0.0/0", "2001:db8::1/128", False),
            ("name:a", "name:a", True),
            ("name:a", "name:ab", False),
        ):
            self.assertIs(covers(_eid(outer), _eid(inner)), is_inside, (outer, inner))

    def test_an_lcaf_covers_nothing(self) -> None:
        """Not even itself."""
        eid = EidPrefix(0, AsNumber(65_000, _ip("10.0.0.0")), 8)
        self.assertFalse(covers(eid, eid))


class SecuredTests(_Case):
    """With LISP-SEC; what it verifies is tested in test_lisp_sec."""

    def make(self, source: tuple[bytes, int]) -> None:
        """The same with a key."""
        self.key = Key(5, AlgorithmId.HMAC_SHA_256_128, b"of the ITR")
        self.inquiries = Inquiries(source, Random(7), Pace(), secured_by=self.key)
        self.ended: list[Answer | None] = []

    def asked(self, now: float) -> EncapsulatedControlMessage:
        """Return the one ECM that leaves now."""
        ((data, _to),) = self.inquiries.datagrams_to_send(now)
        return decode_encapsulated(data)

    def signed(self, ecm: EncapsulatedControlMessage) -> bytes:
        """Return what a Map-Server replies to it."""
        nonce = decode_map_request(ecm.payload).nonce
        question = MapServerSecurity(lambda key_id: [self.key]).unwrap(ecm.security, nonce)
        assert isinstance(question, SecuredQuestion)
        reply = encode_map_reply(MapReply(nonce, (_record(),)))
        return question.sign(reply, [_eid("10.1.1.0/24")])

    def test_each_try_has_a_one_time_key_of_its_own(self) -> None:
        """A late answer to the first is as good."""
        self.ask(form=Form.ENCAPSULATED)
        first, second = self.asked(0.0), self.asked(1.0)
        self.assertNotEqual(first.security, second.security)
        self.inquiries.receive_datagram(self.signed(first), ETR, 1.5)
        (answer,) = self.ended
        assert answer is not None
        self.assertEqual((answer.record, answer.rtt, answer.tries), (_record(), 1.5, 2))
        self.assertTrue(answer.is_secured)

    def test_what_is_not_verified_is_counted_and_named(self) -> None:
        """The true one may still come."""
        inquiry = self.ask(form=Form.ENCAPSULATED)
        ecm = self.asked(0.0)
        self.reply(decode_map_request(ecm.payload).nonce, _record())
        self.assertEqual((self.ended, inquiry.fault), ([], ReplyFault.UNSECURED))
        self.assertEqual(self.inquiries.counters[ReplyFault.UNSECURED.value], 1)
        self.inquiries.receive_datagram(self.signed(ecm), ETR, 0.5)
        self.assertEqual(len(self.ended), 1)

    def test_there_must_be_an_ecm_for_it(self) -> None:
        """Nothing is asked without."""
        for form in (Form.PLAIN, Form.PROBE):
            self.assertRaises(ValueError, self.ask, form=form)
        self.assertEqual(self.inquiries.datagrams_to_send(0.0), [])
