"""Reading Map-Requests, and what is none."""

from __future__ import annotations

import contextlib
import dataclasses
import struct
from collections.abc import Callable
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.control.questions import (
    MAX_QUESTION,
    Drop,
    Endpoint,
    Question,
    Questions,
    read_question,
)
from lispmsrt.control.request_limits import RequestLimits
from lispmsrt.control.secured_requests import SecuredRequest
from lispmsrt.wire.addresses import MAX_LCAF_NESTING, NO_ADDRESS, Address, Afi, EidPrefix
from lispmsrt.wire.encapsulated import decode_encapsulated
from lispmsrt.wire.errors import WireError
from lispmsrt.wire.lcaf import AfiList, AsNumber, InstanceId
from lispmsrt.wire.map_request import (
    MapRequest,
    RequestedEid,
    decode_map_request,
    encode_map_request,
    walk_map_request,
)
from tests import golden, strategies
from tests.asking import ITR, ITR_PORT, NONCE, OUTER, ecm, map_request
from tests.builders import KEY, ip, lcaf

_ip = Address.from_text
_PLAIN = ecm(map_request("10.1.2.3"))


def _read(
    data: bytes,
    source: Endpoint = OUTER,
    can_reach: Callable[[int], bool] = lambda afi: True,
) -> Question | Drop:
    return read_question(data, source, can_reach)


def _question(data: bytes, source: Endpoint = OUTER) -> Question:
    question = _read(data, source)
    assert isinstance(question, Question), question
    return question


class QuestionTests(SynchronousTestCase):
    """What a question is made of."""

    def test_encapsulated(self) -> None:
        """The values are those of the messages."""
        request = map_request("10.1.2.3")
        data = ecm(request, to_map_server=True)
        question = _question(data)
        self.assertEqual(question.inner, encode_map_request(request))
        self.assertEqual(question.request, request)
        self.assertEqual(question.encapsulated, decode_encapsulated(data))
        self.assertEqual(question.source, OUTER)
        self.assertEqual((question.nonce, question.eids), (NONCE, (request.records[0].eid,)))
        self.assertEqual(question.reply_to, (ip(ITR), ITR_PORT))
        self.assertFalse(question.is_for_ddt or question.is_secured or question.subscribes)

    def test_no_more_octets_than_the_itr_has_sent(self) -> None:
        """A Map-Resolver may have put the ECM around a plain Map-Request; not with LISP-SEC data in
        it.
        """
        plain = encode_map_request(map_request("10.1.2.3"))
        security = SecuredRequest(NONCE, bytes(16), KEY.key()).security
        secured = ecm(plain, to_map_server=True, security=security)
        for data, octets in (
            (plain, len(plain)),
            (ecm(plain), len(ecm(plain))),
            (ecm(plain, to_map_server=True), len(plain)),
            (secured, len(secured)),
        ):
            question = _question(data)
            self.assertEqual(question.octets, octets)
            self.assertEqual(dataclasses.replace(question, used_up=7).octets, octets - 7)

    def test_what_is_asked_for_repeatedly_counts_once(self) -> None:
        """It shall not be looked up and answered again and again."""
        question = _question(ecm(map_request("10.1.2.3", "10.1.2.4", "10.1.2.3")))
        self.assertEqual([str(eid) for eid in question.eids], ["10.1.2.3/32", "10.1.2.4/32"])

    def test_plain(self) -> None:
        """The Map-Reply goes to the source port."""
        request = map_request("2001:db8::1", itr="198.51.100.53")
        question = _question(encode_map_request(request), (OUTER[0], 777))
        self.assertEqual(question.request, request)
        self.assertIsNone(question.encapsulated)
        self.assertEqual(question.reply_to, (OUTER[0], 777))

    def test_flags_of_the_ecm(self) -> None:
        """D and S are somebody else's business."""
        data = ecm(map_request("10.1.2.3"), ddt=True, security=golden.LISP_SEC)
        question = _question(data)
        self.assertTrue(question.is_for_ddt and question.is_secured)

    @given(strategies.map_requests)
    def test_the_walk_reads_what_the_decoder_reads(self, request: MapRequest) -> None:
        """Or nothing at all."""
        data = encode_map_request(request)
        self._compare(data, request)

    @given(
        st.lists(strategies.ip_addresses, min_size=1, max_size=32),
        st.builds(RequestedEid, strategies.ip_eids),
        st.one_of(st.just(NO_ADDRESS), strategies.ip_addresses),
    )
    def test_the_walk_reads_common_ones(
        self, rlocs: list[Address], asked: RequestedEid, source_eid: Address
    ) -> None:
        """IPv4 and IPv6, instance IDs, prefixes, up to 32 ITR-RLOCs."""
        request = MapRequest(NONCE, tuple(rlocs), (asked,), source_eid, pitr=True)
        data = encode_map_request(request)
        self.assertIsNotNone(walk_map_request(data))
        self._compare(data, request)
        for size in range(len(data)):
            self.assertIsNone(walk_map_request(data[:size]))
        self.assertIsNone(walk_map_request(data + b"\0"))

    @given(st.binary(max_size=80))
    def test_the_walk_survives_anything(self, tail: bytes) -> None:
        """What it reads, the decoder reads likewise."""
        for head in (golden.MAP_REQUEST[:12], golden.MAP_REQUEST[:20]):
            if walk_map_request(head + tail) is not None:
                self._compare(head + tail, decode_map_request(head + tail))

    def _compare(self, data: bytes, request: MapRequest) -> None:
        span = walk_map_request(data)
        if span is None:
            return
        word, nonce, itr_rlocs, eid = span
        self.assertEqual(word.to_bytes(4, "big"), data[:4])
        self.assertEqual(nonce, request.nonce)
        rlocs = [rloc.packed for rloc in request.itr_rlocs if isinstance(rloc, Address)]
        self.assertEqual(itr_rlocs, rlocs)
        self.assertEqual((eid,), tuple(asked.eid for asked in request.records))
        (decoded,) = decode_map_request(data).records
        self.assertEqual(eid.explicit_instance, decoded.eid.explicit_instance)

    def test_host_bits_are_ignored(self) -> None:
        """By the walk as by the decoder."""
        data = bytearray(golden.MAP_REQUEST)
        data[-7] = 16
        span = walk_map_request(bytes(data))
        assert span is not None
        self.assertEqual(span[3], EidPrefix.from_text("10.1.0.0/16"))
        self.assertEqual(span[3], decode_map_request(bytes(data)).records[0].eid)


class ItrRlocTests(SynchronousTestCase):
    """Where the Map-Reply goes (RFC 9301 §5.2)."""

    def assert_chosen(
        self,
        expected: str | None,
        *rlocs: object,
        inner: str = "203.0.113.77",
        outer: str = "198.51.100.53",
        can_reach: Callable[[int], bool] = lambda afi: True,
    ) -> None:
        """Ask with these ITR-RLOCs."""
        data = ecm(map_request("10.1.2.3", itr=rlocs), source=inner)
        found = _read(data, (ip(outer), 4342), can_reach)
        if expected is None:
            self.assertIs(found, Drop.NO_ITR_RLOC)
        else:
            assert isinstance(found, Question), found
            self.assertEqual(found.reply_to, (ip(expected), ITR_PORT))

    def test_the_first_is_as_good_as_any(self) -> None:
        """Where nothing says which one it uses."""
        self.assert_chosen("192.0.2.1", "192.0.2.1", "192.0.2.2", "2001:db8::1")

    def test_the_one_that_the_itr_used_itself_is_better(self) -> None:
        """As inner source, or as outer source."""
        rlocs = ("192.0.2.1", "192.0.2.2", "2001:db8::1")
        self.assert_chosen("192.0.2.2", *rlocs, inner="192.0.2.2")
        self.assert_chosen("2001:db8::1", *rlocs, inner="2001:db8::1")
        self.assert_chosen("192.0.2.2", *rlocs, outer="192.0.2.2")
        self.assert_chosen("192.0.2.2", *rlocs, outer="::ffff:192.0.2.2")
        self.assert_chosen("192.0.2.1", *rlocs, inner="2001:db8::99")

    def test_only_families_that_can_be_sent_to(self) -> None:
        """A Map-Server without IPv6 takes the IPv4 one."""
        rlocs = ("2001:db8::1", "192.0.2.2")
        for afi, expected in ((Afi.IPV4, "192.0.2.2"), (Afi.IPV6, "2001:db8::1")):
            self.assert_chosen(expected, *rlocs, can_reach=lambda family, afi=afi: family == afi)
        self.assert_chosen(None, *rlocs, can_reach=lambda family: False)

    def test_nobody_makes_us_send_to_a_group_or_to_nowhere(self) -> None:
        """Unspecified, multicast, broadcast, reserved, link-local, IPv4 in disguise."""
        for rloc in (
            "0.0.0.0",
            "0.1.2.3",
            "224.0.0.1",
            "255.255.255.255",
            "240.0.0.1",
            "::",
            "ff02::1",
            "fe80::1",
            "::ffff:192.0.2.1",
            "02:00:00:00:00:01",
            "name:itr",
        ):
            self.assert_chosen(None, rloc)
            self.assert_chosen("192.0.2.1", rloc, "192.0.2.1", inner="192.0.2.9")

    def test_loopback_is_for_our_own_host(self) -> None:
        """From elsewhere it would make us talk to ourselves."""
        for rloc, other in (("127.0.0.1", "127.0.0.5"), ("::1", "::1")):
            self.assert_chosen(None, rloc)
            self.assert_chosen(rloc, rloc, outer=other)

    def test_inside_lcafs(self) -> None:
        """An address with an AS number, one of a list, one of an instance."""
        for one in (
            AsNumber(65000, _ip("192.0.2.1")),
            AfiList((_ip("name:itr"), _ip("02:00:00:00:00:01"), _ip("192.0.2.1"))),
            InstanceId(5, AsNumber(7, _ip("192.0.2.1"))),
        ):
            self.assert_chosen("192.0.2.1", one)

    def test_port_0_is_no_port(self) -> None:
        """Nothing can be sent there."""
        self.assertIs(_read(ecm(map_request("10.1.2.3"), port=0)), Drop.NO_ITR_RLOC)

    def test_only_who_cancels_a_subscription_may_go_without(self) -> None:
        """RFC 9437 §5: AFI 0 and the N and I bits."""
        nothing = map_request("10.1.2.3", itr=(NO_ADDRESS,))
        self.assertIs(_read(ecm(nothing)), Drop.NO_ITR_RLOC)
        named = dataclasses.replace(nothing, xtr_id=bytes(16), site_id=bytes(8))
        self.assertIs(_read(ecm(named)), Drop.NO_ITR_RLOC)
        question = _question(ecm(golden.MAP_REQUEST_UNSUBSCRIBE))
        self.assertIsNone(question.reply_to)
        self.assertTrue(question.subscribes)


class DropTests(SynchronousTestCase):
    """What is no question for us."""

    def setUp(self) -> None:
        """Somebody who counts."""
        self.questions = Questions(RequestLimits(Random(1), rate=0), lambda afi: True)

    def assert_dropped(self, why: Drop, *datagrams: bytes) -> None:
        """Each is dropped, and counted for this reason."""
        for count, data in enumerate(datagrams, 1):
            self.assertIsNone(self.questions.read(data, OUTER, 0.0), data.hex())
            self.assertEqual(self.questions.counters[why.value], count, data.hex())
        self.assertEqual(self.questions.counters["Map-Requests in"], 0)

    def test_ecm_in_ecm(self) -> None:
        """However deep: nobody looks inside the second one."""
        nested = _PLAIN
        for _ in range(20):
            nested = ecm(nested)
            self.assertIsNone(self.questions.read(nested, OUTER, 0.0))
        self.assert_dropped_only(Drop.NESTED, 20)

    def assert_dropped_only(self, why: Drop, count: int) -> None:
        """Nothing else was counted."""
        self.assertEqual(dict(self.questions.counters), {why.value: count})

    def test_ecm_to_another_port(self) -> None:
        """RFC 9301 §5.8: the inner port is that of LISP control."""
        self.assert_dropped(Drop.INNER_PORT, ecm(map_request("10.1.2.3"), to_port=4341))

    def test_other_messages(self) -> None:
        """Plain or inside: a Map-Server drops Map-Replies, and has other ears for Map-Registers."""
        others = (golden.MAP_REPLY, golden.MAP_REFERRAL, golden.INFO_REQUEST, b"", b"\x30")
        self.assert_dropped(Drop.NOT_A_MAP_REQUEST, *others, *map(ecm, others))

    def test_probes_smrs_and_what_wants_no_map_reply(self) -> None:
        """RFC 9301 §8.4 and §5.2."""
        for why, flags in (
            (Drop.PROBE, {"probe": True}),
            (Drop.SMR, {"smr": True}),
            (Drop.NO_MAP_REPLY, {"dont_map_reply": True}),
        ):
            request = map_request("10.1.2.3", **flags)
            self.assert_dropped(why, ecm(request), encode_map_request(request))

    def test_invoked_by_an_smr_is_an_ordinary_question(self) -> None:
        """s, not S."""
        _question(ecm(map_request("10.1.2.3", smr_invoked=True)))

    def test_eids_that_cannot_be_looked_up(self) -> None:
        """AFI 0, and LCAFs other than an instance ID."""
        for address in (NO_ADDRESS, AsNumber(7, _ip("10.1.2.3"))):
            eid = EidPrefix(0, address, 0)
            self.assert_dropped(Drop.NO_EID, ecm(map_request(eid)))
            self.setUp()

    def test_too_large(self) -> None:
        """No honest Map-Request is."""
        eids = [f"10.0.{number}.1" for number in range(255)]
        request = map_request(*eids, itr=("2001:db8::1",) * 32)
        data = ecm(request)
        self.assertLess(len(data), MAX_QUESTION)
        self.assertEqual(len(_question(data).eids), 255)
        self.assert_dropped(Drop.TOO_LARGE, data.ljust(MAX_QUESTION + 1, b"\0"))

    def test_rate(self) -> None:
        """What comes too fast is counted as such."""
        limits = RequestLimits(Random(1), rate=1, burst=1)
        self.questions = Questions(limits, lambda afi: True)
        read = [self.questions.read(_PLAIN, OUTER, 0.0) is not None for _ in range(100)]
        self.assertEqual(sum(read), self.questions.counters["Map-Requests in"])
        self.assertGreater(self.questions.counters[Drop.RATE.value], 90)


class MalformedTests(SynchronousTestCase):
    """Bytes that are not what they should be raise WireError, and nothing else."""

    def assert_malformed(self, data: bytes) -> None:
        """Reading fails, and is counted."""
        self.assertRaises(WireError, _read, data)
        questions = Questions(RequestLimits(Random(1)), lambda afi: True)
        self.assertIsNone(questions.read(data, OUTER, 0.0))
        self.assertEqual(questions.counters, {Drop.MALFORMED.value: 1})

    def test_cut_anywhere(self) -> None:
        """Nothing cut short is a question."""
        for data in (_PLAIN, ecm(golden.MAP_REQUEST_UNSUBSCRIBE, source="2001:db8::1")):
            for size in range(1, len(data)):
                self.assert_malformed(data[:size])

    def test_inner_lengths_that_lie(self) -> None:
        """Of IPv4 (checksum mended), UDP and IPv6, longer and shorter."""
        over_ipv6 = ecm(map_request("10.1.2.3"), source="2001:db8::1")
        for data, at, is_ipv4_header in (
            (_PLAIN, 4 + 2, True),
            (_PLAIN, 4 + 20 + 4, False),
            (over_ipv6, 4 + 4, False),
            (over_ipv6, 4 + 40 + 4, False),
        ):
            (true,) = struct.unpack_from("!H", data, at)
            for false in (0, 1, 7, true - 1, true + 1, 0xFFFF):
                lie = bytearray(data)
                struct.pack_into("!H", lie, at, false)
                if is_ipv4_header:
                    lie[14:16] = b"\0\0"
                    total = sum(struct.unpack_from("!10H", lie, 4))
                    total = (total & 0xFFFF) + (total >> 16)
                    struct.pack_into("!H", lie, 14, (total & 0xFFFF) + (total >> 16) ^ 0xFFFF)
                self.assert_malformed(bytes(lie))

    def test_record_counts_that_lie(self) -> None:
        """More or fewer than there are, and none."""
        for count in (0, 2, 255):
            data = encode_map_request(map_request("10.1.2.3"))
            self.assert_malformed(ecm(data[:3] + bytes((count,)) + data[4:]))
        two = encode_map_request(map_request("10.1.2.3", "10.1.2.4"))
        self.assert_malformed(two[:3] + b"\1" + two[4:])

    def test_itr_rloc_counts_that_lie(self) -> None:
        """IRC of 31 with a single one."""
        data = encode_map_request(map_request("10.1.2.3"))
        for count in (1, 31):
            self.assert_malformed(data[:2] + bytes((count,)) + data[3:])

    def test_prefix_lengths_beyond_the_address(self) -> None:
        """33 bits of IPv4, inside an instance too."""
        self.assert_malformed(golden.MAP_REQUEST[:-7] + b"\x21" + golden.MAP_REQUEST[-6:])
        inside = lcaf(2, bytes(4) + golden.MAP_REQUEST[-6:])
        self.assert_malformed(golden.MAP_REQUEST[:-8] + b"\0\x21" + inside)

    def test_lcafs_nested_too_deep(self) -> None:
        """As an EID that is an error; as an ITR-RLOC it is no address."""
        bomb = bytes.fromhex("0001c0000201")
        for _ in range(MAX_LCAF_NESTING + 1):
            bomb = lcaf(3, bytes(4) + bomb)
        head, tail = golden.MAP_REQUEST[:14], golden.MAP_REQUEST[20:]
        self.assert_malformed(golden.MAP_REQUEST[:22] + bomb)
        self.assertIs(_read(head + bomb + tail), Drop.NO_ITR_RLOC)
        while len(bomb) < MAX_QUESTION - 100:
            bomb = lcaf(1, bomb)
        self.assert_malformed(golden.MAP_REQUEST[:22] + bomb)
        self.assertIs(_read(head + bomb + tail), Drop.NO_ITR_RLOC)

    def test_lists_of_lists(self) -> None:
        """As wide as it may be: hundreds of addresses, and none that can be sent to."""
        wide = lcaf(1, bytes.fromhex("0001e0000001") * 60)
        head, tail = golden.MAP_REQUEST[:14], golden.MAP_REQUEST[20:]
        self.assertIs(_read(head + lcaf(1, wide * 10) + tail), Drop.NO_ITR_RLOC)

    @given(st.binary(max_size=60), st.sampled_from((b"", _PLAIN[:4], _PLAIN[:32], b"\x10\0\0\1")))
    def test_random_bytes(self, tail: bytes, head: bytes) -> None:
        """A question, a reason, or a WireError."""
        with contextlib.suppress(WireError):
            self.assertIsInstance(_read(head + tail), Question | Drop)

    @given(st.integers(0, len(_PLAIN) - 33), st.integers(0, 255))
    def test_damaged_map_requests_inside_good_headers(self, at: int, octet: int) -> None:
        """What the ECM carries is anybody's."""
        inner = bytearray(_PLAIN[32:])
        inner[at] = octet
        try:
            found = _read(ecm(bytes(inner)))
        except WireError:
            return
        if isinstance(found, Question):
            self.assertEqual(decode_map_request(bytes(inner)), found.request)
