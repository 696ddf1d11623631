"""What a Map-Server says itself about EIDs."""

from __future__ import annotations

import dataclasses

from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.control.map_requests import MAX_LOOKUPS
from lispmsrt.mapping.sites import RlocPrefix
from lispmsrt.wire.addresses import Address, Afi, EidPrefix
from lispmsrt.wire.lcaf import UnknownLcaf
from lispmsrt.wire.map_reply import decode_map_reply
from lispmsrt.wire.map_request import encode_map_request
from lispmsrt.wire.records import Action
from tests.asking import (
    ITR,
    Asker,
    asker,
    ecm,
    forwarded,
    map_request,
    only_record,
    records_of,
    register,
    registered,
)
from tests.builders import (
    MERGE,
    Etr,
    M,
    MapServer,
    P,
    ip,
    lcaf,
    locator,
    record,
    site,
    sites,
)

_ip = Address.from_text
_eid = EidPrefix.from_text


class NegativeTests(SynchronousTestCase):
    """Who has no mapping is told so, and for how long."""

    def test_no_site_is_told_for_15_minutes(self) -> None:
        """RFC 9301 §8.3; the hole ends where the site begins."""
        reply = asker(MapServer()).ask("11.1.1.1")
        self.assertEqual(records_of(reply), [("11.0.0.0/8", 15, 0, Action.NATIVELY_FORWARD)])
        self.assertFalse(only_record(reply).authoritative)

    def test_nobody_registered_is_told_for_a_minute(self) -> None:
        """The hole is as large as what is registered leaves it."""
        reply = asker(registered(record("10.128.0.0/9"))).ask("10.1.1.1")
        self.assertEqual(records_of(reply), [("10.0.0.0/9", 1, 0, Action.NATIVELY_FORWARD)])

    def test_other_families_and_instances(self) -> None:
        """An instance is a world of its own; the form that was asked in comes back."""
        plane = asker(MapServer())
        for eid in (_eid("10.1.1.1/32", 7), _eid("2001:db8::1/128"), _eid("02:00:00:00:00:01/48")):
            negative = only_record(plane.ask(eid))
            self.assertEqual((negative.ttl, negative.eid.length), (15, 0), eid)
            self.assertEqual(negative.eid.instance_id, eid.instance_id)
        self.assertEqual(str(only_record(plane.ask("name:router")).eid), "name:router")

    def test_registered_without_locators_gives_its_own_action(self) -> None:
        """There is nothing that its ETR could add, whether it wants a proxy or not."""
        drop = bytearray(record("10.1.0.0/16", ttl=0))
        drop[0:4], drop[6] = (30).to_bytes(4, "big"), 3 << 5
        for flags in (M, P | M):
            reply = asker(registered(bytes(drop), flags=flags)).ask("10.1.2.3")
            self.assertEqual(records_of(reply), [("10.1.0.0/16", 30, 0, Action.DROP)])


class ProxyReplyTests(SynchronousTestCase):
    """A registered ETR asked for proxy replies (P)."""

    def test_the_mapping_comes_from_the_map_server(self) -> None:
        """A and L are cleared; the rest stands as it was registered."""
        mapped = bytearray(
            record("10.1.0.0/16", locator("192.0.2.1"), locator("2001:db8::1", priority=7))
        )
        mapped[6] |= 0x10  # A
        mapping = only_record(asker(registered(bytes(mapped))).ask("10.1.2.3"))
        self.assertEqual((str(mapping.eid), mapping.ttl), ("10.1.0.0/16", 1440))
        self.assertFalse(mapping.authoritative)
        self.assertEqual(
            [(str(one.rloc), one.priority, one.local, one.reachable) for one in mapping.locators],
            [("192.0.2.1", 1, False, True), ("2001:db8::1", 7, False, True)],
        )

    def test_locators_of_every_kind_come_back_as_registered(self) -> None:
        """LCAFs, MACs and names are walked over, not into."""
        kinds = (
            locator("192.0.2.1"),
            locator("02:00:00:00:00:01"),
            locator("name:far"),
            locator(lcaf(3, bytes(4) + bytes.fromhex("0001c0000205"))),
            locator(lcaf(99, b"whatever")),
        )
        mapping = only_record(asker(registered(record("10.1.0.0/16", *kinds))).ask("10.1.2.3"))
        self.assertEqual([one.local for one in mapping.locators], [False] * len(kinds))
        self.assertEqual(len(mapping.locators), len(kinds))

    def test_a_plain_map_request_is_answered_to_its_source_port(self) -> None:
        """RFC 9301 §5.2: not everybody encapsulates."""
        plane = asker(registered(record("10.1.0.0/16")))
        data = encode_map_request(map_request("10.1.2.3", itr="198.51.100.53"))
        ((reply, to),) = plane.send(data, (ip("198.51.100.53"), 5000))
        self.assertEqual(to, (ip("198.51.100.53"), 5000))
        self.assertEqual(records_of(decode_map_reply(reply))[0][0], "10.1.0.0/16")

    def test_families_and_instances(self) -> None:
        """IPv6, MAC, names, and instance IDs in every one of them."""
        world = (("2001:db8::/32", "2001:db8::1/128"), ("02:00:00:00:00:00/16",) * 2)
        world += (("name:router", "name:router"), ("10.1.0.0/16", "10.1.2.3/32"))
        for instance_id in (0, 7, 0xFFFFFF):
            prefixes = [(site(), text, instance_id) for text, _asked in world]
            owner = prefixes[0][0]
            server = MapServer(sites(*((owner, text, iid) for _, text, iid in prefixes)))
            for text, asked in world:
                register(server, record(text, instance_id=instance_id or None))
                mapping = only_record(asker(server).ask(_eid(asked, instance_id)))
                self.assertEqual(mapping.eid, _eid(text, instance_id))
                self.assertEqual(len(mapping.locators), 1)

    def test_the_form_that_was_asked_in_comes_back(self) -> None:
        """Instance ID 0 and none are the same EID, but not everybody reads the LCAF."""
        for instance_id in (None, 0):
            plane = asker(registered(record("10.1.0.0/16", instance_id=instance_id)))
            for explicit in (False, True):
                asked = EidPrefix(0, _ip("10.1.2.3"), 32, explicit)
                mapping = only_record(plane.ask(asked))
                self.assertEqual(mapping.eid, _eid("10.1.0.0/16"))
                self.assertIs(mapping.eid.explicit_instance, explicit)

    def test_host_bits_of_a_registration_are_not_repeated(self) -> None:
        """Whoever compares EID-prefixes octet by octet shall find what it looks for."""
        plane = asker(registered(record(bytes([16]) + b"\0\1" + ip("10.1.2.3"))))
        ((data, _to),) = plane.send(ecm(map_request("10.1.9.9")))
        self.assertEqual(data[12 + 12 : 12 + 16], ip("10.1.0.0"))

    def test_merged_registrations_answer_as_one(self) -> None:
        """Everybody's locators, whoever is asked about."""
        server = MapServer()
        for number in (1, 2):
            etr = Etr(f"192.0.2.{number}", xtr_id=number)
            one = record("10.1.0.0/16", locator(f"192.0.2.{number}"))
            register(server, one, etr=etr, flags=P | MERGE | M)
        mapping = only_record(asker(server).ask("10.1.2.3"))
        self.assertEqual([str(one.rloc) for one in mapping.locators], ["192.0.2.1", "192.0.2.2"])


class MoreSpecificTests(SynchronousTestCase):
    """RFC 9301 §5.5: overlapping EID-prefixes."""

    def test_more_specifics_come_with_the_least_ttl(self) -> None:
        """Without them an ITR would send their packets elsewhere."""
        server = registered(
            record("10.1.0.0/16"), record("10.1.8.0/24", ttl=5), record("10.1.9.0/24", ttl=60)
        )
        reply = asker(server).ask("10.1.2.3")
        self.assertEqual(
            records_of(reply),
            [("10.1.0.0/16", 5, 1, 0), ("10.1.8.0/24", 5, 1, 0), ("10.1.9.0/24", 5, 1, 0)],
        )
        self.assertFalse(any(one.locators[0].local for one in reply.records))

    def test_the_longest_match_comes_alone(self) -> None:
        """What covers it concerns nobody who asks for it."""
        server = registered(record("10.1.0.0/16"), record("10.1.8.0/24"))
        self.assertEqual(records_of(asker(server).ask("10.1.8.1")), [("10.1.8.0/24", 1440, 1, 0)])

    def test_a_more_specific_that_only_its_etr_may_tell_has_to_be_asked_for(self) -> None:
        """ACT 2: packets to it make the ITR ask."""
        server = registered(record("10.1.0.0/16"))
        register(server, record("10.1.8.0/24"), etr=Etr("192.0.2.2", xtr_id=2), flags=M)
        self.assertEqual(
            records_of(asker(server).ask("10.1.2.3")),
            [("10.1.0.0/16", 1440, 1, 0), ("10.1.8.0/24", 1440, 0, Action.SEND_MAP_REQUEST)],
        )

    def test_what_was_registered_inside_an_unregistered_prefix_asked_for(self) -> None:
        """The whole /16 is asked for, and only a part of it is there."""
        reply = asker(registered(record("10.1.8.0/24"))).ask("10.1.0.0/16")
        self.assertEqual(
            records_of(reply),
            [("10.1.0.0/16", 1, 0, Action.NATIVELY_FORWARD), ("10.1.8.0/24", 1, 1, 0)],
        )


class PolicyTests(SynchronousTestCase):
    """A site's mappings are for some ITRs only."""

    def _plane(self, flags: int) -> Asker:
        itrs = (RlocPrefix.from_text("203.0.113.0/24"),)
        owner = dataclasses.replace(site(), allowed_itrs=itrs)
        server = MapServer(sites((owner, "10.0.0.0/8"), (site("open"), "10.1.9.0/24")))
        register(server, record("10.1.0.0/16"), flags=flags)
        return asker(server)

    def test_an_itr_inside_is_answered(self) -> None:
        """Nothing changes for it."""
        self.assertEqual(len(only_record(self._plane(P | M).ask("10.1.2.3")).locators), 1)

    def test_an_itr_outside_is_denied_for_a_minute(self) -> None:
        """ACT 4; it learns no more than that."""
        for flags in (P | M, M):
            plane = self._plane(flags)
            request = map_request("10.1.2.3", itr="198.51.100.1")
            ((data, _to),) = plane.send(ecm(request, source="203.0.113.9"))
            denied = records_of(decode_map_reply(data))
            self.assertEqual(denied, [("10.1.0.0/16", 1, 0, Action.DROP_POLICY_DENIED)])
            self.assertEqual(plane.counted("Map-Requests denied by policy"), 1)

    def test_an_etr_gets_no_map_request_that_it_could_answer_elsewhere(self) -> None:
        """It may take any of the ITR-RLOCs, so all have to be allowed."""
        plane = self._plane(M)
        # The last one says nothing of what is in it.
        for other in ("198.51.100.1", "02:00:00:00:00:01", UnknownLcaf(99, b"who knows")):
            ((data, _to),) = plane.send(ecm(map_request("10.1.2.3", itr=(ITR, other))))
            self.assertEqual(records_of(decode_map_reply(data))[0][3], Action.DROP_POLICY_DENIED)
        forwarded(plane.send(ecm(map_request("10.1.2.3", itr=(ITR, "203.0.113.10")))))

    def test_more_specifics_of_a_stricter_site(self) -> None:
        """The site around them decides for itself only."""
        itrs = (RlocPrefix.from_text("192.168.0.0/16"),)
        strict = dataclasses.replace(site("strict"), allowed_itrs=itrs)
        server = MapServer(sites((site(), "10.0.0.0/8"), (strict, "10.1.8.0/24")))
        register(server, record("10.1.0.0/16"))
        register(server, record("10.1.8.0/24"), etr=Etr("192.0.2.2", xtr_id=2))
        self.assertEqual(
            records_of(asker(server).ask("10.1.2.3")),
            [("10.1.0.0/16", 1, 1, 0), ("10.1.8.0/24", 1, 0, Action.DROP_POLICY_DENIED)],
        )


class SeveralRecordsTests(SynchronousTestCase):
    """More than one EID in one Map-Request."""

    def test_one_map_reply_for_all_that_we_can_answer(self) -> None:
        """In the order asked."""
        reply = asker(registered(record("10.1.0.0/16"))).ask("10.2.2.2", "10.1.1.1", "11.1.1.1")
        self.assertEqual(
            [(text, ttl) for text, ttl, *_ in records_of(reply)],
            [("10.2.0.0/15", 1), ("10.1.0.0/16", 1440), ("11.0.0.0/8", 15)],
        )

    def test_those_for_an_etr_are_left_out_of_a_mixture(self) -> None:
        """An ITR takes the first Map-Reply; what was not in it, it asks for again."""
        server = registered(record("10.1.0.0/16"))
        register(server, record("10.2.0.0/16"), etr=Etr("192.0.2.2", xtr_id=2), flags=M)
        plane = asker(server)
        self.assertEqual(only_record(plane.ask("10.2.1.1", "10.1.1.1")).eid, _eid("10.1.0.0/16"))
        self.assertEqual(plane.counted("Map-Requests answered in part"), 1)

    def test_where_only_etrs_can_answer_each_has_its_turn(self) -> None:
        """The message stays whole, and an ITR that asks again reaches the other."""
        server = MapServer()
        for number in (1, 2):
            etr = Etr(f"192.0.2.{number}", xtr_id=number)
            one = record(f"10.{number}.0.0/16", locator(f"192.0.2.{number}"))
            register(server, one, etr=etr, flags=M)
        plane = asker(server)
        request = map_request("10.1.1.1", "10.2.1.1")
        found = set()
        for _ in range(4):
            message, to = forwarded(plane.send(ecm(request)))
            self.assertEqual(message.payload, encode_map_request(request))
            found.add(to[0])
        self.assertEqual(found, {ip("192.0.2.1"), ip("192.0.2.2")})

    def test_a_limit_on_what_is_looked_up(self) -> None:
        """255 EIDs in 2 KB would be 255 lookups."""
        plane = asker(MapServer())
        reply = plane.ask(*(f"10.{number}.0.1" for number in range(200)))
        self.assertEqual(len(reply.records), MAX_LOOKUPS)
        self.assertEqual(plane.counted("Map-Requests answered in part"), 1)

    def test_an_eid_that_cannot_be_looked_up_is_passed_over(self) -> None:
        """AFI 0 or an LCAF that is no instance ID; alone, it is dropped."""
        nothing = EidPrefix(0, Address(Afi.NONE, b""), 0)
        plane = asker(MapServer())
        self.assertEqual(len(plane.ask(nothing, "11.1.1.1").records), 1)
        self.assertEqual(plane.send(ecm(map_request(nothing))), [])
