"""What a forged ITR-RLOC is sent, against what the forger has sent, along whole ways."""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.control.etr_answers import EtrAnswers
from lispmsrt.control.map_replies import AMPLIFICATION, HEADER_OCTETS, octets_used_up
from lispmsrt.control.map_resolver import Target
from lispmsrt.control.referrals import Referrals
from lispmsrt.control.request_limits import RequestLimits
from lispmsrt.mapping.etr_mappings import EtrMappings
from lispmsrt.wire.addresses import Address, EidPrefix
from lispmsrt.wire.map_referral import decode_map_referral
from lispmsrt.wire.map_reply import decode_map_reply
from lispmsrt.wire.map_request import encode_map_request
from tests.asking import ITR, OUTER, asker, ecm, map_request, registered, resolver
from tests.builders import M, ip, locator, record

_EID = "10.1.0.0/16"
_RLOCS = [f"198.51.100.{number}" for number in range(1, 100)]
_SPOOFED = (ip(ITR), 4342)


class AmplificationTests(SynchronousTestCase):
    """Of a mapping with many locators."""

    def assert_bounded(self, asked: bytes, *answers: bytes) -> None:
        """Headers counted; and it is an answer, as large as may be."""
        sent = sum(len(one) + HEADER_OCTETS for one in answers)
        most = AMPLIFICATION * (len(asked) + HEADER_OCTETS)
        self.assertLessEqual(sent, most)
        self.assertGreater(sent, most - 24)

    def test_by_a_map_resolver(self) -> None:
        """What comes plain it puts into an ECM: that is not the forger's."""
        asked = encode_map_request(map_request("10.1.0.1"))
        ((forwarded, _to),) = resolver(Target((ip("198.51.100.1"), 4342))).send(asked, _SPOOFED)
        server = registered(record(_EID, *map(locator, _RLOCS)))
        ((reply, _to),) = asker(server).send(forwarded, OUTER)
        self.assert_bounded(asked, reply)
        self.assertGreater(len(decode_map_reply(reply).records[0].locators), 20)

    def test_by_a_map_server_and_an_etr(self) -> None:
        """Likewise."""
        asked = encode_map_request(map_request("10.1.0.1"))
        server = registered(record(_EID, locator("192.0.2.1")), flags=M)
        ((forwarded, _to),) = asker(server).send(asked, _SPOOFED)
        mappings = EtrMappings()
        mappings.put(record(_EID, *map(locator, _RLOCS)))
        etr = EtrAnswers(mappings, RequestLimits(Random(1), rate=0), lambda packed: True)
        etr.receive_datagram(forwarded, OUTER, 0.0)
        ((reply, _to),) = etr.datagrams_to_send(0.0)
        self.assert_bounded(asked, reply)

    def test_a_map_referral_and_a_map_reply_together(self) -> None:
        """One question has both."""
        asked = ecm(map_request("10.1.0.1"), ddt=True)
        map_servers = [Address.from_text(f"2001:db8::{number}") for number in range(1, 9)]
        referrals = Referrals([EidPrefix.from_text("10.0.0.0/8")], map_servers)
        server = registered(record(_EID, *map(locator, _RLOCS)))
        (referral, _), (reply, _) = asker(server, referrals=referrals).send(asked, _SPOOFED)
        self.assert_bounded(asked, referral, reply)
        self.assertEqual(len(decode_map_referral(referral).records[0].locators), 8)
        self.assertEqual(len(decode_map_reply(reply).records), 1)

    def test_what_an_answer_takes(self) -> None:
        """Rounded so that it is never too little."""
        for octets in range(4, 300):
            used_up = octets_used_up(bytes(octets))
            self.assertGreaterEqual(AMPLIFICATION * used_up, octets + HEADER_OCTETS)
            self.assertLess(AMPLIFICATION * (used_up - 1), octets + HEADER_OCTETS)
