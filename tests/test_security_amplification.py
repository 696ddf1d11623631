"""Octets out for octets in, of every message that somebody can send who has no key and need not be
where its source address says (docs/security.rst). Headers are counted, 28 octets each.
"""

from __future__ import annotations

import struct
from random import Random

from lispmsrt.control.map_replies import AMPLIFICATION, HEADER_OCTETS
from lispmsrt.wire.map_request import encode_map_request
from tests.asking import ecm, map_request
from tests.builders import OTHER_KEY, Etr, M, P, Secret, T, locator, record
from tests.service_ground import ETR_ONE, ITR, MAP_SERVER, Ground, server_text, site

_VICTIM = (ITR, 4342)
_EIDS = ("10.1.1.0/24", "10.1.2.0/24")
_TARGETS = ("10.1.1.1", "10.1.9.9", "10.1.0.0/16", "10.1.200.1", "192.0.2.1", "0.0.0.0/0")
_KEY = Secret(0, 2, b"campus secret")
_NOBODYS = Secret(0, 2, OTHER_KEY.secret)
_MUTE = frozenset({0, *range(2, 8), *range(9, 16)})
"""Types that nobody who is unknown is answered: all but Map-Request and ECM."""


class SpoofedDatagramTests(Ground):
    """Sent to a whole Map-Server, Map-Resolver and ETR, in the name of a victim."""

    def setUp(self) -> None:
        """A mapping with few locators and one with many, and their ETR."""
        super().setUp()
        self.map_server = self.server(
            server_text(
                site(),
                options="[map-server.subscriptions]\nenabled = true\n"
                '[map-server.ddt]\ndelegation = [{ prefix = "10.0.0.0/8" }]\n[map-resolver]\n',
            )
        )
        self.etr(*_EIDS)
        self.network.run(5)
        # With the T bit it lasts for as long as its TTL says.
        many = Etr("198.51.100.9", key=_KEY, xtr_id=9)
        large = record("10.1.9.0/24", *(locator(f"198.51.100.{host}") for host in range(1, 200)))
        self._send(("198.51.100.9", 4342), many.map_register(large, flags=P | T | M))
        self.network.run(1)
        self.assertEqual(len(self.map_server.database), 3)

    def _send(self, source: tuple[str, int], data: bytes, to: str = MAP_SERVER) -> None:
        self.network.send(source, (to, 4342), data)

    def _ratio(self, data: bytes, to: str = MAP_SERVER) -> float:
        """Send it in the victim's name; return what comes to the victim within a minute, for each
        octet of it.
        """
        already = len(self.network.packets)
        self._send(_VICTIM, data, to)
        self.network.run(60)
        drawn = sum(
            len(packet.data) + HEADER_OCTETS
            for packet in self.network.packets[already:]
            if packet.destination[0] == ITR
        )
        return drawn / (len(data) + HEADER_OCTETS)

    def test_map_requests_draw_at_most_eight_times_as_much(self) -> None:
        """Plain, in an ECM and with DDT; of what is registered and of what is not."""
        ratios: dict[str, float] = {}
        for target in (
            "10.1.1.1",
            "10.1.9.9",
            "10.1.0.0/16",
            "10.1.200.1",
            "192.0.2.1",
            "0.0.0.0/0",
        ):
            asked = map_request(target)
            for name, data in (
                ("plain", encode_map_request(asked)),
                ("ECM", ecm(asked, source=ITR, port=4342)),
                ("ECM for DDT", ecm(asked, source=ITR, port=4342, ddt=True)),
            ):
                ratios[name] = max(ratios.get(name, 0.0), self._ratio(data))
        self.assertEqual(set(ratios), {"plain", "ECM", "ECM for DDT"})
        for name, ratio in ratios.items():
            # And the bound is what keeps it so small.
            self.assertGreater(ratio, AMPLIFICATION - 0.5, name)
            self.assertLessEqual(ratio, AMPLIFICATION, name)

    def test_a_map_register_without_the_key_draws_nothing(self) -> None:
        """Nor one that was caught and comes again from elsewhere."""
        forger = Etr(ITR, key=_NOBODYS)
        self.assertEqual(self._ratio(forger.map_register(record("10.1.1.0/24"))), 0.0)
        caught = [
            packet.data
            for packet in self.network.packets
            if packet.protocol == "udp" and packet.source[0] == ETR_ONE and packet.data[0] >> 4 == 3
        ]
        self.assertTrue(caught)
        for data in caught:
            self.assertEqual(self._ratio(data), 0.0)

    def test_a_caught_map_register_draws_no_more_than_itself(self) -> None:
        """In the name of its own ETR, which gets the Map-Notify that it may have missed."""
        etr = Etr(ITR, key=_KEY, xtr_id=10)
        caught = etr.map_register(record("10.1.77.0/24", locator("198.51.100.77")))
        for _ in range(2):
            ratio = self._ratio(caught)
            self.assertGreater(ratio, 0.0)
            self.assertLessEqual(ratio, 1.0)

    def test_every_other_message_draws_nothing(self) -> None:
        """Each type, with octets behind it that are all zero, all one, and any."""
        random = Random(4)
        for kind in sorted(_MUTE - {3}):
            for length in (8, 12, 24, 64, 300):
                for body in (bytes(length), b"\xff" * length, random.randbytes(length)):
                    data = struct.pack("!I", kind << 28 | 1) + body
                    self.assertEqual(self._ratio(data), 0.0, (kind, length))

    def test_what_can_not_be_read_draws_nothing(self) -> None:
        """Map-Requests and ECMs that were cut short or are garbage inside."""
        random = Random(5)
        whole = ecm(map_request("10.1.1.1"), source=ITR)
        for data in (whole, encode_map_request(map_request("10.1.1.1"))):
            for length in range(0, len(data) - 1, 5):
                self.assertEqual(self._ratio(data[:length]), 0.0, length)
            for _ in range(20):
                self.assertLessEqual(self._ratio(data[:4] + random.randbytes(60)), AMPLIFICATION)


class EtrTests(Ground):
    """Sent to an ETR."""

    def test_it_draws_at_most_eight_times_as_much(self) -> None:
        """Map-Requests and RLOC-probes; everything else nothing."""
        self.server()
        self.etr("10.1.1.0/24")
        self.network.run(5)
        for data, at_least in (
            (encode_map_request(map_request("10.1.1.1")), 0.5),
            (encode_map_request(map_request("10.1.1.1", probe=True)), 0.5),
            (encode_map_request(map_request("192.0.2.1")), 0.0),
            (bytes((0x40,)) + bytes(60), 0.0),
            (bytes((0x20,)) + bytes(60), 0.0),
        ):
            already = len(self.network.packets)
            self.network.send(_VICTIM, (ETR_ONE, 4342), data)
            self.network.run(5)
            drawn = [
                len(packet.data) + HEADER_OCTETS
                for packet in self.network.packets[already:]
                if packet.destination[0] == ITR
            ]
            ratio = sum(drawn) / (len(data) + HEADER_OCTETS)
            self.assertGreaterEqual(ratio, at_least)
            self.assertLessEqual(ratio, AMPLIFICATION if at_least else 0.0)
