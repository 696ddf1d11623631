"""What an ETR answers to Map-Requests and RLOC-probes, and what it is silent about."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.config import SocketAddress
from lispmsrt.control.etr_answers import MAX_EIDS, EtrAnswers
from lispmsrt.control.map_replies import is_small_enough
from lispmsrt.control.questions import MAX_QUESTION
from lispmsrt.control.request_limits import RequestLimits
from lispmsrt.mapping.etr_mappings import EtrMappings
from lispmsrt.services.requester import Answer, Form, NoAnswerError, Requester
from lispmsrt.wire.addresses import NO_ADDRESS, Address, EidPrefix
from lispmsrt.wire.encapsulated import EncapsulatedControlMessage, encode_encapsulated
from lispmsrt.wire.lcaf import AsNumber, UnknownLcaf
from lispmsrt.wire.map_reply import MapReply, decode_map_reply
from lispmsrt.wire.map_request import MapRequest, RequestedEid, encode_map_request
from lispmsrt.wire.records import Action, Locator, MappingRecord, encode_record
from tests import golden
from tests.builders import ip
from tests.pcap import PcapWriter, run_tshark, skip_without_tshark
from tests.rim import ETR_HOST, Network, etr_of, etr_text, mapping, outcome

_ip = Address.from_text
_eid = EidPrefix.from_text
ITR = (ip("198.51.100.1"), 50_001)
MAP_SERVER = (ip("192.0.2.1"), 4342)
OWN_RLOC = "203.0.113.7"
NONCE = 0x1122334455667788


def _record(eid: str = "10.1.1.0/24", *rlocs: str, ttl: int = 1440) -> MappingRecord:
    """Return a mapping of our own RLOC and one of somebody else, or of these."""
    if rlocs:
        return MappingRecord(_eid(eid), ttl, tuple(Locator(_ip(rloc)) for rloc in rlocs))
    other = Locator(_ip("203.0.113.99"), 2, 50, local=False)
    return MappingRecord(_eid(eid), ttl, (Locator(_ip(OWN_RLOC)), other), map_version=5)


def _answered(record: MappingRecord) -> MappingRecord:
    """Return the same as its ETR answers it."""
    return replace(record, authoritative=True)


class _Case(SynchronousTestCase):
    def setUp(self) -> None:
        """One that is reached over IPv4, at an address that is known."""
        self.mappings = EtrMappings()
        self.make()

    def make(self, **options: Any) -> None:
        options = {
            "can_reach": lambda address: len(address) == 4,
            "address": ip(OWN_RLOC),
            **options,
        }
        limits = options.pop("limits", RequestLimits(Random(7)))
        self.answers = EtrAnswers(self.mappings, limits, **options)

    def has(self, *records: MappingRecord) -> None:
        for record in records:
            self.mappings.put(encode_record(record))

    def request(self, *eids: str | EidPrefix, **fields: Any) -> bytes:
        asked = tuple(RequestedEid(_eid(eid) if isinstance(eid, str) else eid) for eid in eids)
        rlocs = fields.pop("itr_rlocs", (_ip("198.51.100.1"),))
        return encode_map_request(MapRequest(NONCE, rlocs, asked, **fields))

    def encapsulated(self, payload: bytes) -> bytes:
        """Return an ECM as a Map-Server forwards it."""
        return encode_encapsulated(
            EncapsulatedControlMessage(
                _ip("198.51.100.1"), _ip("10.1.1.5"), 50_007, 4342, payload, to_etr=True
            )
        )

    def send(
        self, data: bytes, source: tuple[bytes, int] = ITR, now: float = 0.0
    ) -> list[tuple[MapReply, tuple[bytes, int]]]:
        self.answers.receive_datagram(data, source, now)
        return [(decode_map_reply(data), to) for data, to in self.answers.datagrams_to_send(now)]

    def reply(self, data: bytes, source: tuple[bytes, int] = ITR) -> MapReply:
        """Return the one Map-Reply to a datagram."""
        ((reply, _to),) = self.send(data, source)
        return reply

    def assert_dropped(self, data: bytes, why: str, source: tuple[bytes, int] = ITR) -> None:
        self.assertEqual(self.send(data, source), [])
        self.assertEqual(self.answers.counters[why], 1, self.answers.counters)


class MapReplyTests(_Case):
    """What the answer is."""

    def test_the_mapping_as_registered_with_the_a_bit(self) -> None:
        """L bits, priorities and the map version stay; the nonce is that of the Map-Request."""
        self.has(_record())
        expected = MapReply(NONCE, (_answered(_record()),))
        self.assertEqual(self.reply(self.request("10.1.1.5/32")), expected)

    def test_what_is_left_to_another_xtr(self) -> None:
        """Silence; and inside of what is ours, who has packets for it shall ask the Map-Server."""
        inner = _record("10.1.1.0/24")
        self.make(is_left=lambda record: record == encode_record(inner))
        self.has(inner)
        self.assert_dropped(self.request("10.1.1.5/32"), "dropped: left to another xTR")
        self.has(_record("10.1.0.0/16"))
        reply = self.reply(self.request("10.1.2.5/32"))
        self.assertEqual([str(one.eid) for one in reply.records], ["10.1.0.0/16", "10.1.1.0/24"])
        self.assertEqual(reply.records[1].locators, ())
        self.assertEqual(reply.records[1].action, Action.SEND_MAP_REQUEST)

    def test_the_longest_match(self) -> None:
        """Whatever else covers the EID; the exact prefix too."""
        self.has(_record("10.0.0.0/8"), _record("10.1.1.0/24"), _record("10.1.0.0/16"))
        for asked in ("10.1.1.5/32", "10.1.1.0/24"):
            (record,) = self.reply(self.request(asked)).records
            self.assertEqual(str(record.eid), "10.1.1.0/24")

    def test_every_family_and_instance_id(self) -> None:
        """IPv6, MAC and names; instance ID 0 as it was written."""
        for text in ("2001:db8:1::/48", "02:00:00:00:00:01/48", "name:printer"):
            for instance_id in (0, 7):
                eid = _eid(text, instance_id)
                self.has(replace(_record(), eid=eid))
                for asked in (eid, replace(eid, explicit_instance=True)):
                    (record,) = self.reply(self.request(asked)).records
                    self.assertEqual(record.eid, eid)
                    is_lcaf = asked.explicit_instance or bool(instance_id)
                    self.assertIs(record.eid.explicit_instance, is_lcaf)

    def test_more_specifics_come_along_with_one_ttl(self) -> None:
        """RFC 9301 §5.5: else the less specific mapping would hide them."""
        self.has(_record("10.1.0.0/16", ttl=60), _record("10.1.1.0/24"), _record("10.1.2.0/24"))
        records = self.reply(self.request("10.1.9.9/32")).records
        found = [(str(record.eid), record.ttl, record.authoritative) for record in records]
        prefixes = ("10.1.0.0/16", "10.1.1.0/24", "10.1.2.0/24")
        self.assertEqual(found, [(prefix, 60, True) for prefix in prefixes])

    def test_a_large_answer_is_about_a_smaller_part(self) -> None:
        """Without more-specifics, and touching none; L and A stay."""
        for rlocs in (1, 6):
            inner = [f"203.0.113.{number}" for number in range(1, rlocs + 1)]
            self.has(*(_record(f"10.1.{n}.0/24", *inner) for n in range(16)))
        self.has(_record("10.1.0.0/16"))
        (record,) = self.reply(self.request("10.1.200.9/32")).records
        self.assertEqual(record, _answered(_record("10.1.128.0/17")))
        self.assertEqual(self.answers.counters["Map-Replies without more-specifics"], 1)

    def test_a_large_answer_to_a_prefix_has_what_lies_inside(self) -> None:
        """There is no part of it that touches nothing."""
        rlocs = [f"203.0.113.{number}" for number in range(1, 31)]
        self.has(_record("10.0.0.0/8"), _record("10.1.1.0/24", *rlocs), _record("10.1.2.0/24"))
        records = self.reply(self.request("10.1.0.0/16")).records
        self.assertEqual([str(one.eid) for one in records], ["10.1.1.0/24", "10.1.2.0/24"])

    def test_several_eids_whose_answers_are_large_together(self) -> None:
        """No less specific mapping comes without those inside of it."""
        for net in range(8):
            self.has(_record(f"10.{net}.0.0/16"), *(_record(f"10.{net}.{n}.0/24") for n in (1, 2)))
        asked = [f"10.{net}.200.1/32" for net in range(8)]
        records = self.reply(self.request(*asked)).records
        prefixes = [f"10.{net}.128.0/17" for net in range(8)]
        self.assertEqual([str(record.eid) for record in records], prefixes)

    def test_one_of_several_that_has_nothing_inside_stays_whole(self) -> None:
        """Where the other is cut."""
        rlocs = [f"203.0.113.{number}" for number in range(1, 61)]
        self.has(_record("10.1.0.0/16"), _record("10.1.1.0/24", *rlocs), _record("10.2.0.0/16"))
        records = self.reply(self.request("10.1.200.1/32", "10.2.0.1/32")).records
        self.assertEqual([str(one.eid) for one in records], ["10.1.128.0/17", "10.2.0.0/16"])

    def test_a_locator_that_is_too_large_by_itself(self) -> None:
        """Then there is no answer."""
        locator = Locator(UnknownLcaf(200, bytes(2000)))
        self.has(MappingRecord(_eid("10.1.1.0/24"), 1440, (locator,)))
        self.assert_dropped(self.request("10.1.1.5/32"), "Map-Replies with records left out")

    def test_very_many_more_specifics(self) -> None:
        """The answer is about a part again."""
        self.has(_record("10.0.0.0/8"), *(_record(f"10.1.{n}.0/24") for n in range(200)))
        (record,) = self.reply(self.request("10.128.9.9/32")).records
        self.assertEqual(record, _answered(_record("10.128.0.0/9")))

    def test_many_locators_are_cut_to_the_best(self) -> None:
        """A forged question is no weapon."""
        locators = tuple(
            Locator(_ip(f"203.0.113.{number}"), 1 + (number != 77)) for number in range(1, 200)
        )
        self.has(MappingRecord(_eid("10.1.1.0/24"), 1440, locators))
        question = self.request("10.1.1.5/32")
        self.answers.receive_datagram(question, ITR, 0.0)
        ((data, _to),) = self.answers.datagrams_to_send(0.0)
        self.assertTrue(is_small_enough(data, len(question)))
        (record,) = decode_map_reply(data).records
        self.assertIn(_ip("203.0.113.77"), [locator.rloc for locator in record.locators])
        self.assertTrue(record.authoritative and record.locators[0].local)

    def test_several_eids_in_one_request(self) -> None:
        """Those that are ours, once each."""
        self.has(_record("10.1.1.0/24"), _record("10.1.2.0/24"))
        asked = ("10.1.1.5/32", "172.16.0.1/32", "10.1.2.5/32", "10.1.1.6/32")
        records = self.reply(self.request(*asked)).records
        self.assertEqual([str(one.eid) for one in records], ["10.1.1.0/24", "10.1.2.0/24"])

    def test_no_more_eids_are_looked_up_than_the_limit(self) -> None:
        """The rest can be asked again."""
        self.has(_record("10.1.1.0/24"))
        others = [f"172.16.0.{number}/32" for number in range(MAX_EIDS)]
        self.assert_dropped(self.request(*others, "10.1.1.5/32"), "dropped: no mapping of ours")

    def test_a_mapping_without_locators(self) -> None:
        """What to do instead is registered with it."""
        self.has(MappingRecord(_eid("10.1.1.0/24"), 60, (), Action.DROP))
        (record,) = self.reply(self.request("10.1.1.5/32")).records
        expected = MappingRecord(_eid("10.1.1.0/24"), 60, (), Action.DROP, authoritative=True)
        self.assertEqual(record, expected)

    def test_what_is_not_ours_is_not_answered(self) -> None:
        """Nor what was withdrawn, nor what only contains something of ours, nor an LCAF."""
        self.has(_record("10.1.1.0/24"), _record("10.1.2.0/24"))
        self.mappings.remove(_eid("10.1.1.0/24"))
        self.mappings.remove(_eid("10.9.0.0/16"))
        self.assertEqual(len(self.mappings), 1)
        for asked in ("10.1.1.5/32", "10.0.0.0/8", "2001:db8::1/128", "name:printer"):
            self.assertEqual(self.send(self.request(asked)), [])
        self.assertEqual(self.send(golden.MAP_REQUEST_FULL), [])
        self.assertEqual(self.send(self.request(EidPrefix(1, _ip("10.1.2.5"), 32))), [])
        self.assertEqual(self.answers.counters["dropped: no mapping of ours"], 5)

    def test_a_changed_mapping_is_answered_as_it_is_now(self) -> None:
        """Also after the first question has been answered."""
        for rlocs in (("203.0.113.1",), ("203.0.113.2",)):
            self.has(_record("10.1.1.0/24", *rlocs))
            (record,) = self.reply(self.request("10.1.1.5/32")).records
            self.assertEqual([str(one.rloc) for one in record.locators], list(rlocs))
        self.assertEqual(len(self.mappings), 1)


class DestinationTests(_Case):
    """Where the answer goes."""

    def setUp(self) -> None:
        """Something is registered."""
        super().setUp()
        self.has(_record())

    def where(self, data: bytes, source: tuple[bytes, int] = ITR) -> tuple[str, int]:
        ((_reply, (address, port)),) = self.send(data, source)
        return str(Address(1 if len(address) == 4 else 2, address)), port

    def test_a_plain_question(self) -> None:
        """To the ITR-RLOC, and the port that it was sent from."""
        request = self.request("10.1.1.5/32", itr_rlocs=(_ip("198.51.100.9"),))
        self.assertEqual(self.where(request), ("198.51.100.9", 50_001))

    def test_a_question_in_an_ecm(self) -> None:
        """To the ITR, not to the Map-Server, and to the inner port."""
        data = self.encapsulated(self.request("10.1.1.5/32"))
        self.assertEqual(self.where(data, MAP_SERVER), ("198.51.100.1", 50_007))

    def test_of_several_the_one_that_the_itr_used(self) -> None:
        """Else the first that can be reached."""
        rlocs = tuple(map(_ip, ("2001:db8::1", "198.51.100.9", "198.51.100.1")))
        data = self.request("10.1.1.5/32", itr_rlocs=rlocs)
        self.assertEqual(self.where(data)[0], "198.51.100.1")
        self.assertEqual(self.where(data, MAP_SERVER)[0], "198.51.100.9")

    def test_an_itr_rloc_in_an_lcaf(self) -> None:
        """The address inside."""
        rloc = AsNumber(65_000, _ip("198.51.100.9"))
        data = self.request("10.1.1.5/32", itr_rlocs=(rloc,))
        self.assertEqual(self.where(data)[0], "198.51.100.9")

    def test_nobody_else_is_sent_to(self) -> None:
        """Groups, broadcast, our own host, a family that we lack, none, port 0."""
        for text in ("224.0.0.1", "255.255.255.255", "127.0.0.1", "0.0.0.0", "2001:db8::1"):
            self.assertEqual(self.send(self.request("10.1.1.5/32", itr_rlocs=(_ip(text),))), [])
        self.send(self.request("10.1.1.5/32", itr_rlocs=(NO_ADDRESS,)))
        self.send(self.request("10.1.1.5/32"), (ITR[0], 0))
        self.send(self.request("10.1.1.5/32", probe=True), (ITR[0], 0))
        self.assertEqual(self.answers.counters["dropped: no ITR-RLOC to send to"], 8)

    def test_this_host_may_ask_for_itself(self) -> None:
        """From its loopback address."""
        request = self.request("10.1.1.5/32", itr_rlocs=(_ip("127.0.0.1"),))
        self.assertEqual(self.where(request, (ip("127.0.0.1"), 50_001))[0], "127.0.0.1")


class ProbeTests(_Case):
    """RLOC-probes."""

    def setUp(self) -> None:
        """Something is registered."""
        super().setUp()
        self.has(_record())

    def probed(self) -> list[str]:
        ((reply, to),) = self.send(self.request("10.1.1.0/24", probe=True))
        self.assertTrue(reply.probe)
        self.assertEqual(to, ITR)
        return [str(one.rloc) for one in reply.records[0].locators if one.probe]

    def test_the_answer_has_the_p_bit_and_marks_the_locator(self) -> None:
        """The one that the probe came to."""
        self.assertEqual(self.probed(), [OWN_RLOC])

    def test_the_answer_goes_back_where_the_probe_came_from(self) -> None:
        """Whatever ITR-RLOC is in it."""
        data = self.request("10.1.1.0/24", probe=True, itr_rlocs=(_ip("198.51.100.77"),))
        ((_reply, to),) = self.send(data)
        self.assertEqual(to, ITR)

    def test_where_the_address_is_not_known_the_only_own_locator_is_marked(self) -> None:
        """Of two, none."""
        self.make(address=None)
        self.assertEqual(self.probed(), [OWN_RLOC])
        self.has(_record("10.1.1.0/24", OWN_RLOC, "203.0.113.8"))
        self.assertEqual(self.probed(), [])

    def test_a_probe_to_an_address_that_is_no_locator_marks_none(self) -> None:
        """It was answered, but reaches no RLOC."""
        self.make(address=ip("203.0.113.50"))
        self.assertEqual(self.probed(), [])

    def test_a_probe_in_an_ecm_is_dropped(self) -> None:
        """RFC 9301 §5.8."""
        data = self.encapsulated(self.request("10.1.1.0/24", probe=True))
        self.assert_dropped(data, "dropped: RLOC-probe in an ECM", MAP_SERVER)


class DropTests(_Case):
    """What is no question for an ETR."""

    def setUp(self) -> None:
        """Something is registered."""
        super().setUp()
        self.has(_record())

    def test_solicitations(self) -> None:
        """They are for ITRs; the Map-Request that one invokes is a question."""
        self.assert_dropped(self.request("10.1.1.5/32", smr=True), "dropped: SMR")
        self.assertEqual(len(self.send(self.request("10.1.1.5/32", smr_invoked=True))), 1)
        unwanted = self.request("10.1.1.5/32", dont_map_reply=True)
        self.assert_dropped(unwanted, "dropped: no Map-Reply wanted")

    def test_nested_ecms(self) -> None:
        """One level is all there is."""
        data = self.encapsulated(self.encapsulated(self.request("10.1.1.5/32")))
        self.assert_dropped(data, "dropped: ECM in ECM")

    def test_other_messages_in_an_ecm(self) -> None:
        """A Map-Register, say."""
        self.assert_dropped(self.encapsulated(b"\x30" + bytes(30)), "dropped: no Map-Request")

    def test_large_datagrams_are_not_read(self) -> None:
        """However they begin."""
        request = self.request("10.1.1.5/32")
        self.assert_dropped(request.ljust(MAX_QUESTION + 1, b"\0"), "too large")

    def test_cut_anywhere(self) -> None:
        """Malformed, and no answer."""
        whole = self.encapsulated(self.request("10.1.1.5/32"))
        for end in range(len(whole)):
            self.assertEqual(self.send(whole[:end]), [])
        self.assertEqual(self.answers.counters["malformed"], len(whole))

    def test_an_itr_that_asks_too_much_is_answered_less(self) -> None:
        """Others are not."""
        self.make(limits=RequestLimits(Random(7), rate=1.0, burst=4.0))
        request = self.request("10.1.1.5/32")
        answered = sum(len(self.send(request)) for _ in range(100))
        self.assertTrue(2 <= answered < 20, answered)
        self.assertEqual(self.answers.counters["dropped: rate limit"], 100 - answered)
        self.assertEqual(len(self.send(request, MAP_SERVER)), 1)

    @given(st.sampled_from((b"\x10", b"\x80", b"\x18")), st.binary(max_size=100))
    def test_no_datagram_upsets_it(self, first: bytes, rest: bytes) -> None:
        """Whatever the network brings."""
        self.answers.counters.clear()
        self.answers.receive_datagram(first + rest, ITR, 0.0)
        self.assertTrue(self.answers.counters)


class TsharkTests(_Case):
    """tshark 4.0 as oracle."""

    def test_map_replies(self) -> None:
        """A mapping with one inside, and the answer to an RLOC-probe."""
        skip_without_tshark()
        self.has(_record("10.1.0.0/16"), _record("10.1.1.0/24"))
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "replies.pcap"
            with PcapWriter(path) as pcap:
                for data in (
                    self.request("10.1.9.9/32"),
                    self.request("10.1.1.0/24", probe=True),
                ):
                    self.answers.receive_datagram(data, ITR, 0.0)
                    ((reply, _to),) = self.answers.datagrams_to_send(0.0)
                    pcap.udp((OWN_RLOC, 4342), ("198.51.100.1", 50_001), reply)
            fields = ["_ws.malformed", "lisp.expected_field", "lisp.invalid_field", "lisp.type"]
            fields += ["lisp.mapping.auth", "lisp.mrep.flags.probe", "lisp.mapping.eid.ipv4"]
            fields += ["lisp.loc.flags", "lisp.nonce"]
            mapped, probed = run_tshark(path, fields)
        for packet in (mapped, probed):
            self.assertEqual([packet[field] for field in fields[:3]], [[], [], []])
            self.assertEqual(packet["lisp.type"], ["2"])
            self.assertEqual(packet["lisp.nonce"], [f"0x{NONCE:016x}"])
        self.assertEqual(mapped["lisp.mapping.auth"], ["1", "1"])
        self.assertEqual(mapped["lisp.mapping.eid.ipv4"], ["10.1.0.0", "10.1.1.0"])
        self.assertEqual(mapped["lisp.mrep.flags.probe"], ["0"])
        self.assertEqual(mapped["lisp.loc.flags"], ["0x0005", "0x0001"] * 2)
        self.assertEqual(probed["lisp.mrep.flags.probe"], ["1"])
        self.assertEqual(probed["lisp.loc.flags"], ["0x0007", "0x0001"])


class ServiceTests(SynchronousTestCase):
    """The ETR as a service, and who asks it."""

    def setUp(self) -> None:
        """A requester that goes straight to the ETR."""
        self.network = Network()
        etr = SocketAddress(ETR_HOST, 4342)
        self.requester = Requester(
            self.network, etr, source="127.0.0.9", clock=self.network, random=Random(7)
        )
        self.requester.startService()
        self.addCleanup(self.requester.stopService)

    def start(self, text: str = "") -> Any:
        etr = etr_of(self.network, text or etr_text("10.1.1.0/24"))
        etr.startService()
        self.addCleanup(etr.stopService)
        return etr

    def ask(self, form: Form = Form.PLAIN, eid: str = "10.1.1.5/32") -> Any:
        result = outcome(self.requester.ask(_eid(eid), form))
        self.network.run(4)
        return result[0]

    def test_configured_mappings_are_answered(self) -> None:
        """Plain, in an ECM, and an RLOC-probe; without a Map-Server far and wide."""
        self.start()
        for form in Form:
            answer = self.ask(form)
            self.assertIsInstance(answer, Answer)
            self.assertEqual(answer.source, (ip(ETR_HOST), 4342))
            self.assertTrue(answer.record.authoritative)
            self.assertIs(answer.record.locators[0].probe, form is Form.PROBE)

    def test_what_is_registered_later_and_withdrawn(self) -> None:
        """Whatever the Map-Server says to it."""
        etr = self.start()
        etr.register(mapping("10.2.0.0/16")).addErrback(lambda _: None)
        self.assertEqual(self.ask(eid="10.2.3.4/32").record.ttl, 1440)
        etr.register(mapping("10.2.0.0/16", ttl=5)).addErrback(lambda _: None)
        self.assertEqual(self.ask(eid="10.2.3.4/32").record.ttl, 5)
        etr.withdraw(_eid("10.2.0.0/16")).addErrback(lambda _: None)
        self.assertIsInstance(self.ask(eid="10.2.3.4/32"), NoAnswerError)

    def test_it_can_be_switched_off(self) -> None:
        """Then Map-Requests are left to others."""
        etr = self.start(etr_text("10.1.1.0/24", options="answer-map-requests = false"))
        self.assertIsInstance(self.ask(), NoAnswerError)
        self.assertIsNone(etr.answers)
