"""What a Map-Server and a Map-Resolver send upon Map-Requests, as tshark reads it."""

from __future__ import annotations

import dataclasses
import functools
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.control.map_resolver import Target
from lispmsrt.mapping.sites import RlocPrefix
from lispmsrt.wire.addresses import EidPrefix
from lispmsrt.wire.map_request import encode_map_request
from tests.asking import ITR, asker, ecm, map_request, resolver
from tests.builders import Etr, M, MapServer, P, ip, lcaf, locator, record, site, sites
from tests.pcap import PcapWriter, run_tshark, skip_without_tshark

_MAP_SERVER = {4: "192.0.2.53", 16: "2001:db8::53"}
_ITR_IPV6 = "2001:db8:f::9"
_GOOD = "1"

_FIELDS = (
    "_ws.malformed",
    "ip.checksum.status",
    "ip.dst",
    "ipv6.dst",
    "lisp.ecm.flags.ddt",
    "lisp.ecm.flags.sec",
    "lisp.ecm.res",
    "lisp.expected_field",
    "lisp.invalid_field",
    "lisp.lcaf.iid",
    "lisp.lcaf.type",
    "lisp.loc.flags",
    "lisp.loc.locator",
    "lisp.loc.priority",
    "lisp.mapping.act",
    "lisp.mapping.auth",
    "lisp.mapping.eid.dn",
    "lisp.mapping.eid.ipv4",
    "lisp.mapping.eid.ipv6",
    "lisp.mapping.eid.mac",
    "lisp.mapping.eid.masklen",
    "lisp.mapping.loccnt",
    "lisp.mapping.ttl",
    "lisp.mreq.itr_rloc_ipv4",
    "lisp.mreq.itr_rloc_ipv6",
    "lisp.mreq.record.prefix.ipv4",
    "lisp.mreq.record.prefix.ipv6",
    "lisp.mreq.record.prefix.length",
    "lisp.nonce",
    "lisp.records",
    "lisp.type",
    "lisp.undecoded",
    "lisp.unexpected_field",
    "udp.checksum.status",
    "udp.dstport",
    "udp.srcport",
)


def _map_server() -> MapServer:
    """Return one with a mapping of every kind."""
    owner = site()
    strict = dataclasses.replace(
        site("strict"), allowed_itrs=(RlocPrefix.from_text("10.9.9.0/24"),)
    )
    server = MapServer(
        sites(
            (owner, "10.0.0.0/8"),
            (owner, "2001:db8::/32"),
            (owner, "10.0.0.0/8", 7),
            (owner, "2001:db8::/32", 7),
            (owner, "02:00:00:00:00:00/16", 7),
            (owner, "name:router"),
            (strict, "172.16.0.0/12"),
        )
    )
    both = (locator("192.0.2.1"), locator("2001:db8:e::1", priority=7))
    list_of_two = lcaf(1, bytes.fromhex("0001c0000201") + bytes.fromhex("0001c0000202"))
    etr = Etr()
    for flags, one in (
        (P, record("10.1.0.0/16", *both)),
        (P, record("10.1.8.0/24", ttl=5)),
        (P, record("2001:db8:1::/48", *both)),
        (P, record("10.1.0.0/16", locator(list_of_two), instance_id=7)),
        (P, record("2001:db8:1::/48", instance_id=7)),
        (P, record("02:00:00:00:00:00/24", instance_id=7)),
        (P, record("name:router")),
        (P, record("172.16.0.0/12")),
        (0, record("10.2.0.0/16")),
        (0, record("2001:db8:2::/48", locator("2001:db8:e::1"))),
    ):
        assert server.hear(etr, etr.map_register(one, flags=flags | M))
    return server


def _questions() -> dict[str, tuple[bytes, str]]:
    """Return what is asked, and from which outer source."""
    at_7 = functools.partial(EidPrefix.from_text, instance_id=7)
    eids: dict[str, str | EidPrefix] = {
        "proxy-ipv4": "10.1.8.1",
        "proxy-more-specifics": "10.1.2.3",
        "proxy-ipv6": "2001:db8:1::5",
        "proxy-instance": at_7("10.1.2.3/32"),
        "proxy-instance-ipv6": at_7("2001:db8:1::5/128"),
        "proxy-instance-mac": at_7("02:00:00:00:00:01/48"),
        "proxy-name": "name:router",
        "negative-site": "10.128.1.1",
        "negative-no-site": "2001:db9::1",
        "denied": "172.16.1.1",
        "etr-ipv4": "10.2.3.4",
        "etr-ipv6": "2001:db8:2::5",
    }
    asked = {name: (ecm(map_request(eid)), ITR) for name, eid in eids.items()}
    inside_ipv6 = map_request("10.2.3.4", itr=_ITR_IPV6)
    asked["etr-inside-ipv6"] = (ecm(inside_ipv6, source=_ITR_IPV6), _ITR_IPV6)
    asked["proxy-to-ipv6"] = (ecm(map_request("10.1.8.1", itr=_ITR_IPV6)), _ITR_IPV6)
    plain = (("etr-plain-ipv4", "10.2.3.4", ITR), ("etr-plain-ipv6", "2001:db8:2::5", _ITR_IPV6))
    for name, eid, itr in plain:
        asked[name] = (encode_map_request(map_request(eid, itr=itr)), itr)
    return asked


def _sent() -> dict[str, tuple[bytes, tuple[bytes, int]]]:
    """Return the one datagram that each question causes."""
    parts = {"": asker(_map_server()), "resolver-": resolver(Target((ip("192.0.2.99"), 4342)))}
    sent = {}
    for prefix, part in parts.items():
        for name, (data, source) in _questions().items():
            (sent[prefix + name],) = part.send(data, (ip(source), 4342))
    data = ecm(map_request("10.1.2.3", "11.1.1.1", "name:router"))
    (sent["proxy-several"],) = parts[""].send(data)
    return sent


@functools.cache
def _dissected() -> dict[str, dict[str, list[str]]]:
    """One run of tshark for all tests: starting it takes most of the time."""
    sent = _sent()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "udp.pcap"
        with PcapWriter(path) as pcap:
            for data, (address, port) in sent.values():
                to = ".".join(map(str, address)) if len(address) == 4 else _colons(address)
                pcap.udp((_MAP_SERVER[len(address)], 4342), (to, port), data)
        packets = run_tshark(path, _FIELDS)
    return dict(zip(sent, packets, strict=True))


def _colons(address: bytes) -> str:
    return ":".join(address[at : at + 2].hex() for at in range(0, 16, 2))


class AnswerTsharkTests(SynchronousTestCase):
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
        """Not a single complaint, nor a wrong checksum inside or outside."""
        complaints = ("expected_field", "invalid_field", "unexpected_field", "undecoded")
        for name, packet in self.packets.items():
            for field in ("_ws.malformed", *(f"lisp.{complaint}" for complaint in complaints)):
                self.assertEqual(packet[field], [], f"{name} {field}")
            for field in ("ip.checksum.status", "udp.checksum.status"):
                self.assertEqual(set(packet[field]) - {_GOOD}, set(), name)

    def test_types(self) -> None:
        """Map-Replies to ITRs, Map-Requests in ECMs to ETRs and Map-Servers."""
        for name, packet in self.packets.items():
            is_passed_on = name.startswith(("etr", "resolver"))
            self.assertEqual(packet["lisp.type"], ["8", "1"] if is_passed_on else ["2"], name)
            self.assertEqual(packet["lisp.nonce"], ["0x0123456789abcdef"], name)

    def test_proxy_replies(self) -> None:
        """A and L are clear, and the locators there."""
        self.assert_fields(
            "proxy-ipv6",
            mapping__eid__ipv6=["2001:db8:1::"],
            mapping__eid__masklen=["48"],
            mapping__auth=["0"],
            mapping__act=["0"],
            mapping__ttl=["1440"],
            loc__locator=["192.0.2.1", "2001:db8:e::1"],
            loc__priority=["1", "7"],
        )
        flags = self.packets["proxy-ipv6"]["lisp.loc.flags"]
        self.assertEqual([int(value, 0) for value in flags], [1, 1])
        self.assert_fields("proxy-ipv4", mapping__eid__ipv4=["10.1.8.0"], mapping__ttl=["5"])
        self.assert_fields("proxy-name", mapping__eid__dn=["router"])

    def test_more_specifics(self) -> None:
        """Two mappings, one TTL."""
        self.assert_fields(
            "proxy-more-specifics",
            records=["2"],
            mapping__eid__ipv4=["10.1.0.0", "10.1.8.0"],
            mapping__eid__masklen=["16", "24"],
            mapping__ttl=["5", "5"],
            mapping__loccnt=["2", "1"],
        )

    def test_several_records(self) -> None:
        """Positive and negative ones in one Map-Reply."""
        self.assert_fields(
            "proxy-several",
            records=["4"],
            mapping__eid__ipv4=["10.1.0.0", "10.1.8.0", "11.0.0.0"],
            mapping__eid__dn=["router"],
            mapping__act=["0", "0", "1", "0"],
        )

    def test_instance_ids(self) -> None:
        """LCAF type 2 around each family; a list of addresses as RLOC."""
        self.assert_fields("proxy-instance", lcaf__iid=["7"], lcaf__type=["2", "1"])
        for name, mask in (("proxy-instance-ipv6", "48"), ("proxy-instance-mac", "24")):
            self.assert_fields(name, lcaf__iid=["7"], mapping__eid__masklen=[mask])

    def test_negative_map_replies(self) -> None:
        """How long, how wide, and what to do."""
        for name, ttl, mask, action in (
            ("negative-site", "1", "9", "1"),
            ("negative-no-site", "15", "32", "1"),
            ("denied", "1", "12", "4"),
        ):
            self.assert_fields(
                name,
                mapping__ttl=[ttl],
                mapping__eid__masklen=[mask],
                mapping__act=[action],
                mapping__loccnt=["0"],
                mapping__auth=["0"],
                loc__locator=[],
            )

    def test_where_map_replies_go(self) -> None:
        """To the ITR-RLOC, from 4342 to the inner source port."""
        for name, field, to in (
            ("proxy-ipv4", "ip.dst", ITR),
            ("proxy-to-ipv6", "ipv6.dst", _ITR_IPV6),
        ):
            packet = self.packets[name]
            self.assertEqual(packet[field], [to])
            self.assertEqual((packet["udp.srcport"], packet["udp.dstport"]), (["4342"], ["61000"]))

    def test_what_goes_to_etrs(self) -> None:
        """The inner packet is the ITR's, over IPv4 and IPv6, whether it came in an ECM or not."""
        for name, outer, inner in (
            ("etr-ipv4", "192.0.2.1", "198.51.100.53"),
            ("etr-plain-ipv4", "192.0.2.1", "10.2.3.4"),
        ):
            packet = self.packets[name]
            self.assertEqual(packet["ip.dst"], [outer, inner])
            self.assert_fields(name, mreq__record__prefix__ipv4=["10.2.3.4"], ecm__flags__sec=["0"])
            self.assert_fields(name, mreq__itr_rloc_ipv4=[ITR])
        for name, field, inner in (
            ("etr-inside-ipv6", "mreq.record.prefix.ipv4", "2001:db8::53"),
            ("etr-plain-ipv6", "mreq.record.prefix.ipv6", "2001:db8:2::5"),
        ):
            packet = self.packets[name]
            self.assertEqual(packet["ipv6.dst"][-1], inner)
            self.assertEqual(len(packet[f"lisp.{field}"]), 1, name)
            self.assert_fields(name, mreq__itr_rloc_ipv6=[_ITR_IPV6])

    def test_bits_of_the_ecm(self) -> None:
        """E and M are reserved to this tshark: 0x2000000 and 0x1000000."""
        for name, packet in self.packets.items():
            bits = [int(value, 0) for value in packet["lisp.ecm.res"]]
            if name.startswith("etr"):
                self.assertEqual(bits, [0x2000000], name)
            elif name.startswith("resolver"):
                self.assertEqual(bits, [0x1000000], name)
                self.assertEqual(packet["ip.dst"][0], "192.0.2.99", name)
