"""Our golden messages, and what our encoders make of other values, as tshark reads them."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.wire.addresses import Address, EidPrefix
from lispmsrt.wire.encapsulated import EncapsulatedControlMessage, encode_encapsulated
from lispmsrt.wire.lcaf import ExplicitPath, Hop
from lispmsrt.wire.map_reply import MapReply, encode_map_reply
from lispmsrt.wire.map_request import MapRequest, RequestedEid, encode_map_request
from lispmsrt.wire.messages import ControlType
from lispmsrt.wire.records import Locator, MappingRecord
from tests import golden
from tests.pcap import PcapWriter, run_tshark, skip_without_tshark

_PORT = 4342
_GOOD = "1"
_IPV4_PAIR = (("192.0.2.1", _PORT), ("198.51.100.1", _PORT))
_IPV6_PAIR = (("2001:db8::1", _PORT), ("2001:db8::2", _PORT))
_ip = Address.from_text


def _made_by_encoders() -> dict[str, bytes]:
    """Messages of values that no golden message has."""
    request = MapRequest(
        1, (_ip("2001:db8::1"),), (RequestedEid(EidPrefix.from_text("2001:db8:5::/48", 77)),)
    )
    path = ExplicitPath((Hop(_ip("192.0.2.7"), 1), Hop(_ip("192.0.2.8"))))
    locators = (Locator(path), Locator(_ip("192.0.2.1"), 7, 9, 11, 13))
    reply = MapReply(2, (MappingRecord(EidPrefix.from_text("10.9.0.0/20"), 5, locators, 3),))
    inner = EncapsulatedControlMessage(
        _ip("2001:db8::1"), _ip("2001:db8:5::1"), 5000, _PORT, encode_map_request(request)
    )
    return {
        "made-request": encode_map_request(request),
        "made-reply": encode_map_reply(reply),
        "made-ecm": encode_encapsulated(inner),
    }


_MESSAGES = {
    "request": golden.MAP_REQUEST,
    "request-full": golden.MAP_REQUEST_FULL,
    "reply": golden.MAP_REPLY,
    "reply-negative": golden.MAP_REPLY_NEGATIVE,
    "reply-mac": golden.MAP_REPLY_MAC,
    "referral": golden.MAP_REFERRAL,
    "info-request": golden.INFO_REQUEST,
    "info-reply": golden.INFO_REPLY,
    "ecm-ipv4": golden.ECM_IPV4,
    "ecm-ipv6": golden.ECM_IPV6,
    **_made_by_encoders(),
}

_FIELDS = (
    "_ws.malformed",
    "ip.checksum.status",
    "lisp.expected_field",
    "lisp.invalid_field",
    "lisp.irc",
    "lisp.lcaf.iid",
    "lisp.lcaf.type",
    "lisp.loc.flags",
    "lisp.loc.locator",
    "lisp.loc.multicast_priority",
    "lisp.loc.multicast_weight",
    "lisp.loc.priority",
    "lisp.loc.weight",
    "lisp.mapping.act",
    "lisp.mapping.auth",
    "lisp.mapping.eid.dn",
    "lisp.mapping.eid.ipv4",
    "lisp.mapping.eid.ipv6",
    "lisp.mapping.eid.mac",
    "lisp.mapping.eid.masklen",
    "lisp.mapping.ttl",
    "lisp.mapping.ver",
    "lisp.mreq.flags.auth",
    "lisp.mreq.flags.mrp",
    "lisp.mreq.flags.pitr",
    "lisp.mreq.flags.probe",
    "lisp.mreq.flags.smr",
    "lisp.mreq.flags.smri",
    "lisp.mreq.itr_rloc_ipv4",
    "lisp.mreq.itr_rloc_ipv6",
    "lisp.mreq.record.prefix.ipv4",
    "lisp.mreq.record.prefix.ipv6",
    "lisp.mreq.record.prefix.length",
    "lisp.mreq.record.res",
    "lisp.mreq.res",
    "lisp.mreq.srceid.ipv4",
    "lisp.mrep.flags.enlr",
    "lisp.mrep.flags.probe",
    "lisp.nonce",
    "lisp.records",
    "lisp.referral.incomplete",
    "lisp.referral.sigcnt",
    "lisp.type",
    "udp.checksum.status",
    "udp.dstport",
)


@functools.cache
def _dissected() -> dict[str, dict[str, list[str]]]:
    """One run of tshark for all tests: starting it takes most of the time."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "udp.pcap"
        with PcapWriter(path) as pcap:
            for source, destination in (_IPV4_PAIR, _IPV6_PAIR):
                for data in _MESSAGES.values():
                    pcap.udp(source, destination, data)
        packets = run_tshark(path, _FIELDS)
    over_ipv6 = (f"{name}/6" for name in _MESSAGES)
    return dict(zip((*_MESSAGES, *over_ipv6), packets, strict=True))


class TsharkTests(SynchronousTestCase):
    """tshark 4.0 as oracle."""

    def setUp(self) -> None:
        """Dissect, once."""
        skip_without_tshark()
        self.packets = _dissected()

    def assert_fields(self, name: str, **expected: list[str]) -> None:
        """Compare fields; an underscore of the keyword stands for the dot after ``lisp``."""
        packet = self.packets[name]
        for key, values in expected.items():
            self.assertEqual(packet["lisp." + key.replace("__", ".")], values, f"{name} {key}")

    def test_nothing_is_malformed(self) -> None:
        """Not a single complaint, over IPv4 or IPv6, nor a wrong checksum inside or outside."""
        for name, packet in self.packets.items():
            for field in ("_ws.malformed", "lisp.expected_field", "lisp.invalid_field"):
                self.assertEqual(packet[field], [], name)
            for field in ("ip.checksum.status", "udp.checksum.status"):
                self.assertEqual(set(packet[field]) - {_GOOD}, set(), name)
            self.assertEqual(len(packet["udp.checksum.status"]), 1 + ("ecm" in name), name)

    def test_types(self) -> None:
        """What is inside an Encapsulated Control Message is dissected too."""
        request = str(int(ControlType.MAP_REQUEST))
        for name, packet in self.packets.items():
            outer = str(_MESSAGES[name.removesuffix("/6")][0] >> 4)
            inner = [request] if "ecm" in name else []
            self.assertEqual(packet["lisp.type"], [outer, *inner], name)

    def test_map_request(self) -> None:
        """Flags, ITR-RLOCs and EIDs of the fullest of all."""
        self.assert_fields(
            "request-full",
            records=["2"],
            irc=["1"],
            nonce=["0xffeeddccbbaa9988"],
            mreq__flags__auth=["1"],
            mreq__flags__mrp=["1"],
            mreq__flags__probe=["1"],
            mreq__flags__smr=["1"],
            mreq__flags__pitr=["1"],
            mreq__flags__smri=["1"],
            mreq__srceid__ipv4=["10.1.1.5"],
            mreq__itr_rloc_ipv4=["192.0.2.1"],
            mreq__itr_rloc_ipv6=["2001:db8::1"],
            mreq__record__prefix__length=["24", "64"],
            mreq__record__prefix__ipv6=["2001:db8:1:2::"],
            lcaf__iid=["5"],
        )
        record = self.packets["request-full"]["lisp.mreq.record.res"]
        self.assertEqual([int(value, 0) for value in record], [0x80, 0])
        # I, L and D are bits of a reserved field to this tshark, which shifts them right by 5.
        (reserved,) = self.packets["request-full"]["lisp.mreq.res"]
        self.assertEqual(int(reserved, 0), (0x1000 | 0x40 | 0x20) >> 5)

    def test_plain_map_request(self) -> None:
        """One EID, one ITR-RLOC."""
        self.assert_fields(
            "request",
            records=["1"],
            irc=["0"],
            nonce=["0x0102030405060708"],
            mreq__itr_rloc_ipv4=["192.0.2.1"],
            mreq__record__prefix__ipv4=["10.1.1.1"],
            mreq__record__prefix__length=["32"],
        )

    def test_map_reply(self) -> None:
        """Mapping and locators."""
        self.assert_fields(
            "reply",
            records=["1"],
            mapping__ttl=["1440"],
            mapping__eid__ipv4=["10.1.0.0"],
            mapping__eid__masklen=["16"],
            mapping__auth=["1"],
            loc__locator=["192.0.2.1", "2001:db8::1"],
            loc__priority=["1", "2"],
            loc__weight=["50", "50"],
            loc__multicast_priority=["255", "255"],
        )
        flags = self.packets["reply"]["lisp.loc.flags"]
        self.assertEqual([int(value, 0) for value in flags], [5, 3])

    def test_negative_map_reply(self) -> None:
        """Action and flags."""
        self.assert_fields(
            "reply-negative",
            mrep__flags__probe=["1"],
            mrep__flags__enlr=["1"],
            mapping__ttl=["15"],
            mapping__act=["1"],
            mapping__eid__ipv6=["2001:db8::"],
            mapping__eid__masklen=["32"],
            loc__locator=[],
        )

    def test_map_reply_of_mac_and_name(self) -> None:
        """EIDs that are no IP addresses."""
        packet = self.packets["reply-mac"]
        self.assertEqual(packet["lisp.lcaf.iid"], ["4097"])
        self.assertEqual(packet["lisp.lcaf.type"], ["2", "3"])
        self.assertEqual(packet["lisp.mapping.eid.dn"], ["foo"])
        self.assertEqual(packet["lisp.mapping.eid.masklen"], ["48", "24"])

    def test_map_referral(self) -> None:
        """Action, incomplete and no signature."""
        self.assert_fields(
            "referral",
            mapping__act=["1"],
            mapping__ver=["3"],
            mapping__eid__ipv4=["10.1.0.0"],
            referral__incomplete=["1"],
            referral__sigcnt=["0"],
            loc__locator=["198.51.100.1"],
        )

    def test_encapsulated(self) -> None:
        """Inner ports and EID are found behind the inner headers."""
        for name in ("ecm-ipv4", "ecm-ipv6"):
            self.assert_fields(name, mreq__record__prefix__ipv4=["10.1.1.1"])
            self.assertEqual(self.packets[name]["udp.dstport"], [str(_PORT)] * 2)

    def test_what_the_encoders_make(self) -> None:
        """Values of our own choice arrive."""
        for name in ("made-request", "made-ecm"):
            self.assert_fields(
                name,
                lcaf__iid=["77"],
                mreq__itr_rloc_ipv6=["2001:db8::1"],
                mreq__record__prefix__length=["48"],
            )
        self.assert_fields(
            "made-reply",
            mapping__act=["3"],
            mapping__eid__ipv4=["10.9.0.0"],
            mapping__eid__masklen=["20"],
            loc__priority=["7", "1"],
            loc__weight=["9", "100"],
            loc__multicast_priority=["11", "255"],
            loc__multicast_weight=["13", "0"],
            lcaf__type=["10"],
        )
