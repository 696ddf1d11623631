"""How large Map-Replies may be."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.control.map_replies import AMPLIFICATION, HEADER_OCTETS, MAX_UNFRAGMENTED
from lispmsrt.control.request_limits import MAX_QUEUED
from lispmsrt.wire.map_reply import decode_map_reply
from lispmsrt.wire.map_request import encode_map_request
from lispmsrt.wire.records import Action
from tests.asking import (
    ITR,
    OUTER,
    asker,
    ecm,
    map_request,
    only_record,
    records_of,
    register,
    registered,
)
from tests.builders import (
    MapServer,
    lcaf,
    locator,
    record,
    site,
    sites,
)


class AmplificationTests(SynchronousTestCase):
    """A Map-Reply is never larger than a small multiple of what asked."""

    def assert_small(self, data: bytes, asked: bytes) -> None:
        """Count IP and UDP headers on both sides."""
        most = AMPLIFICATION * (len(asked) + HEADER_OCTETS)
        self.assertLessEqual(len(data) + HEADER_OCTETS, most)

    def test_more_specifics_give_way_first(self) -> None:
        """What is left covers less, and is right for all of it."""
        rlocs = [locator(f"2001:db8::{number}") for number in range(1, 6)]
        server = registered(
            record("10.1.0.0/16", *rlocs),
            *(record(f"10.1.{number}.0/24", *rlocs) for number in range(128, 140)),
        )
        plane = asker(server)
        asked = ecm(map_request("10.1.64.3"))
        ((data, _to),) = plane.send(asked)
        self.assert_small(data, asked)
        self.assertEqual(records_of(decode_map_reply(data)), [("10.1.0.0/17", 1440, 5, 0)])
        self.assertEqual(plane.counted("Map-Replies without more-specifics"), 1)

    def test_more_specifics_give_way_to_fragments_too(self) -> None:
        """However long the question, its answer fits one packet if that can be."""
        rlocs = [locator(f"2001:db8::{number}") for number in range(1, 6)]
        server = registered(*(record(f"10.1.{number}.0/24", *rlocs) for number in range(1, 14)))
        register(server, record("10.1.0.0/16", *rlocs))
        request = map_request("10.1.64.3", itr=(ITR,) * 32)
        ((data, _to),) = asker(server).send(ecm(request))
        self.assertLess(len(data), MAX_UNFRAGMENTED)
        self.assertEqual(records_of(decode_map_reply(data))[0][0], "10.1.64.0/18")

    def test_a_name_covers_nothing_but_itself(self) -> None:
        """So there is nothing to narrow, only locators to leave out."""
        server = MapServer(sites((site(), "name:a"), (site("b"), "name:b")))
        for name in ("name:a", "name:b"):
            register(server, record(name, *(locator(priority=n) for n in range(1, 60))))
        reply = asker(server).ask("name:a", "name:b")
        self.assertEqual(
            [str(one.eid) for one in reply.records], ["name:a", "name:b"][: len(reply.records)]
        )

    def test_inside_what_was_asked_for_the_more_specifics_are_right_alone(self) -> None:
        """There is no hole around a prefix that has something inside."""
        rlocs = [locator(f"2001:db8::{number}") for number in range(1, 4)]
        server = registered(*(record(f"10.1.{number}.0/24", *rlocs) for number in range(1, 12)))
        register(server, record("10.1.0.0/16", *rlocs))
        ((data, _to),) = asker(server).send(ecm(map_request("10.1.0.0/17")))
        prefixes = [text for text, *_ in records_of(decode_map_reply(data))]
        self.assertEqual(
            prefixes, [f"10.1.{number}.0/24" for number in range(1, 1 + len(prefixes))]
        )
        self.assertGreater(len(prefixes), 3)

    def test_then_locators_of_worse_priority_give_way(self) -> None:
        """The mapping that is left leads to the same place."""
        best = locator("2001:db8::1", priority=1)
        worse = [locator(f"2001:db8:1::{number}", priority=9) for number in range(1, 60)]
        unusable = locator("192.0.2.7", priority=255)
        plane = asker(registered(record("10.1.0.0/16", unusable, *worse, best)))
        asked = ecm(map_request("10.1.2.3"))
        ((data, _to),) = plane.send(asked)
        self.assert_small(data, asked)
        mapping = only_record(decode_map_reply(data))
        self.assertEqual(str(mapping.locators[-1].rloc), "2001:db8::1")
        self.assertGreater(len(mapping.locators), 20)
        self.assertEqual({one.priority for one in mapping.locators}, {1, 9})
        self.assertEqual(plane.counted("Map-Replies with locators left out"), 1)

    def test_at_last_nothing_is_sent(self) -> None:
        """One locator of 2 KB: half of it would be worth nothing."""
        plane = asker(registered(record("10.1.0.0/16", locator(lcaf(99, bytes(2000))))))
        self.assertEqual(plane.send(ecm(map_request("10.1.2.3"))), [])
        self.assertEqual(plane.counted("Map-Replies with records left out"), 1)

    @given(
        st.lists(st.tuples(st.integers(8, 32), st.integers(1, 40)), min_size=1, max_size=20),
        st.integers(0, 255),
        st.booleans(),
    )
    def test_whatever_is_registered(
        self, registered: Sequence[tuple[int, int]], octet: int, is_plain: bool
    ) -> None:
        """Prefixes around and beside each other, with up to 40 locators."""
        server = MapServer()
        for position, (length, count) in enumerate(registered):
            network = (0x0A000000 | position << 16) >> 32 - length << 32 - length
            wire = bytes((length,)) + b"\0\1" + network.to_bytes(4, "big")
            register(server, record(wire, *(locator(priority=n) for n in range(1, count + 1))))
        request = map_request(f"10.{octet % 24}.{octet}.1", itr="198.51.100.53")
        asked = encode_map_request(request) if is_plain else ecm(request)
        for data, _to in asker(server).send(asked):
            self.assert_small(data, asked)
            for one in decode_map_reply(data).records:
                self.assertTrue(one.locators or one.action == Action.NATIVELY_FORWARD)

    def test_the_queue_has_an_end(self) -> None:
        """Whoever does not take what is to be sent loses it, not the memory."""
        plane = asker(MapServer())
        data = ecm(map_request("11.1.1.1"))
        for _ in range(MAX_QUEUED + 3):
            plane.part.receive_datagram(data, OUTER, 0.0)
        self.assertEqual(len(plane.part.datagrams_to_send(0.0)), MAX_QUEUED)
        self.assertEqual(plane.counted("dropped, too many to send at once"), 3)
        self.assertEqual(plane.part.datagrams_to_send(0.0), [])
        self.assertIsNone(plane.part.next_timeout())
