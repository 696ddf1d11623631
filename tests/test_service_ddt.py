"""A Map-Server in the delegated database tree, as a whole service (RFC 8111)."""

from __future__ import annotations

from lispmsrt.wire.map_referral import ReferralAction, ReferralRecord, decode_map_referral
from lispmsrt.wire.map_reply import decode_map_reply
from lispmsrt.wire.messages import ControlType, message_type
from tests.asking import ecm, map_request
from tests.service_ground import (
    ETR_ONE,
    ITR,
    MAP_RESOLVER,
    MAP_SERVER,
    MAP_SERVER_TWO,
    Ground,
    server_text,
    site,
)

_DDT = (
    "[map-server.ddt]\n"
    f'map-servers = ["{MAP_SERVER}", "{MAP_SERVER_TWO}"]\n'
    '[[map-server.ddt.delegation]]\nprefix = "10.0.0.0/8"\n'
)
_WALKER = (MAP_RESOLVER, 4342)
"""A Map-Resolver that walks the tree."""

_PORT = 61_000


class _Case(Ground):
    def walk(self, *eids: str, ddt: bool = True) -> None:
        """Send an ECM with the D bit from the Map-Resolver, on behalf of the ITR."""
        self.network.packets.clear()
        data = ecm(map_request(*eids), port=_PORT, ddt=ddt)
        self.network.send(_WALKER, (MAP_SERVER, 4342), data)
        self.network.run()

    def referral(self) -> ReferralRecord:
        """Return the one record of the one Map-Referral that the Map-Resolver was sent."""
        (data,) = self.network.udp_payloads(MAP_RESOLVER)
        (record,) = decode_map_referral(data).records
        return record

    def said(self) -> tuple[str, ReferralAction, int, list[str], bool]:
        """Return EID-prefix, action, TTL, Map-Servers and whether they are all."""
        record = self.referral()
        rlocs = [str(locator.rloc) for locator in record.locators]
        action = ReferralAction(record.action)
        return str(record.eid), action, record.ttl, rlocs, not record.incomplete

    def kinds_to(self, host: str) -> list[int]:
        """Return the types of the messages that a host was sent."""
        return [message_type(data) for data in self.network.udp_payloads(host)]


class MapReferralTests(_Case):
    """What is asked for with the D bit."""

    def setUp(self) -> None:
        """A Map-Server for 10.0.0.0/8, with two sites and one ETR."""
        super().setUp()
        sites = (site(), site("outside", "172.16.0.0/16", secrets=("other",)))
        self.server(server_text(*sites, options=_DDT))

    def test_what_is_registered_is_acknowledged_and_answered(self) -> None:
        """The Map-Resolver has MS-ACK, and the ITR its Map-Reply."""
        self.etr("10.1.1.0/24")
        self.network.run(1)
        self.walk("10.1.1.5")
        both = [MAP_SERVER, MAP_SERVER_TWO]
        self.assertEqual(self.said(), ("10.1.1.0/24", ReferralAction.MS_ACK, 1440, both, True))
        (reply,) = self.network.udp_payloads(ITR)
        self.assertEqual(str(decode_map_reply(reply).records[0].eid), "10.1.1.0/24")

    def test_where_the_etr_answers_it_is_sent_the_question(self) -> None:
        """And answers the ITR."""
        self.etr("10.1.1.0/24", server_options="proxy-reply = false")
        self.network.run(1)
        self.walk("10.1.1.5")
        self.assertIs(self.said()[1], ReferralAction.MS_ACK)
        self.assertEqual(self.kinds_to(ETR_ONE), [ControlType.ENCAPSULATED])
        (reply,) = self.network.udp_payloads(ITR)
        self.assertTrue(decode_map_reply(reply).records[0].authoritative)

    def test_a_site_that_registered_nothing(self) -> None:
        """For a minute; the ITR hears from the Map-Resolver."""
        self.walk("10.1.1.5")
        both = [MAP_SERVER, MAP_SERVER_TWO]
        expected = ("10.1.0.0/16", ReferralAction.MS_NOT_REGISTERED, 1, both, True)
        self.assertEqual(self.said(), expected)
        self.assertEqual(self.network.udp_payloads(ITR), [])

    def test_a_hole_in_the_delegation(self) -> None:
        """It ends where the delegation does."""
        self.walk("10.200.0.1")
        hole = ReferralAction.DELEGATION_HOLE
        self.assertEqual(self.said(), ("10.128.0.0/9", hole, 15, [], True))
        self.assertEqual(self.network.udp_payloads(ITR), [])

    def test_outside_of_it(self) -> None:
        """Somebody has sent the Map-Resolver astray."""
        self.walk("192.168.0.1")
        self.assertEqual(self.said()[1:3], (ReferralAction.NOT_AUTHORITATIVE, 0))

    def test_without_the_bit_there_is_a_map_reply(self) -> None:
        """As ever."""
        self.walk("10.200.0.1", ddt=False)
        self.assertEqual(self.network.udp_payloads(MAP_RESOLVER), [])
        self.assertEqual(self.kinds_to(ITR), [ControlType.MAP_REPLY])


class WithoutTests(_Case):
    """A Map-Server that is not in the tree."""

    def test_the_bit_does_not_matter(self) -> None:
        """There is a Map-Reply, and it is counted."""
        server = self.server()
        self.walk("10.200.0.1")
        self.assertEqual(self.network.udp_payloads(MAP_RESOLVER), [])
        self.assertEqual(self.kinds_to(ITR), [ControlType.MAP_REPLY])
        counters = server.mapping.requests.counters
        self.assertEqual(counters["Map-Requests of DDT answered without"], 1)

    def test_without_map_servers_the_set_is_incomplete(self) -> None:
        """Whoever reads it asks elsewhere."""
        options = '[[map-server.ddt.delegation]]\nprefix = "10.0.0.0/8"\n'
        self.server(server_text(options=options))
        self.walk("10.1.1.5")
        expected = ("10.1.0.0/16", ReferralAction.MS_NOT_REGISTERED, 1, [], False)
        self.assertEqual(self.said(), expected)
