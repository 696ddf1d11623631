"""Views of a Map-Server as a whole: overview, sessions, sites, membership, subscriptions."""

from __future__ import annotations

import itertools

from lispmsrt.control.subscription_table import (
    SecurityAssociation,
    Subscriber,
    Subscription,
    SubscriptionTable,
)
from lispmsrt.mapping.database import Database
from lispmsrt.mapping.sites import eid_key
from lispmsrt.views import sessions, sites
from lispmsrt.views.cursors import CursorError
from lispmsrt.views.node import NodeViews
from lispmsrt.views.subscriptions import subscription_page
from lispmsrt.views.tally import LIFETIME
from lispmsrt.views.values import (
    MembershipView,
    OverviewView,
    Page,
    SessionFilter,
    SessionView,
    SiteView,
    SubscriptionView,
)
from lispmsrt.views.values.page import MAX_LIMIT
from lispmsrt.wire.addresses import EidPrefix
from tests.service_ground import ETR_ONE, ETR_TWO, MAP_SERVER, XTR_ONE, site
from tests.views_ground import NOON, ViewsGround, pages_of

_OVER_UDP = 'session = "off"'


class OverviewTests(ViewsGround):
    """One look at everything."""

    def test_with_sessions_and_udp(self) -> None:
        """What comes by which transport, and where it listens."""
        self.watched(site(), site("branch", "10.2.0.0/16"))
        self.etr("10.1.1.0/24", "10.1.2.0/24", "10.9.0.0/24")
        self.etr("10.1.3.0/24", host=ETR_TWO, server_options=_OVER_UDP)
        self.network.run(10)
        one = self.views.overview()
        self.assertEqual((one.roles, one.sites), (("map-server",), 2))
        self.assertEqual((one.registrations, one.eid_prefixes), (3, 3))
        self.assertEqual((one.reliable_registrations, one.established_sessions), (2, 1))
        found = [(each.transport, each.sessions, each.registrations) for each in one.transports]
        self.assertEqual(found, [("TCP", 1, 2), ("UDP", 0, 1)])
        listening = [(each.transport, each.address, each.sessions) for each in one.listeners]
        address = f"{MAP_SERVER}:4342"
        self.assertEqual(listening, [("UDP", address, 0), ("TCP", address, 1)])
        self.assertEqual(one.rejections, self.map_server.registrar.rejections.count)
        self.assertGreater(one.rejections, 0)
        self.assertEqual(one.history_number, self.views.history().items[0].number)
        self.assertAlmostEqual(one.started, NOON, delta=0.1)
        self.assertGreater(one.messages_in, 4)
        self.assert_json(one, OverviewView)

    def test_what_ended_sessions_received_still_counts(self) -> None:
        """Or a counter would go backwards."""
        self.watched()
        self.etr("10.1.1.0/24")
        self.network.run(10)
        before = self.views.overview()
        self.cut(self.map_server)
        self.network.run(LIFETIME)
        after = self.views.overview()
        self.assertGreaterEqual(after.messages_in, before.messages_in)
        self.assertGreaterEqual(after.messages_out, before.messages_out)

    def test_everybody_is_told_the_same_for_half_a_second(self) -> None:
        """Streams and metrics must not add up."""
        self.watched()
        one = self.views.overview()
        self.network.run(LIFETIME / 2)
        self.assertIs(self.views.overview(), one)
        self.network.run(LIFETIME)
        self.assertIsNot(self.views.overview(), one)

    def test_map_requests_and_their_answers(self) -> None:
        """As they were counted."""
        self.watched()
        self.etr("10.1.1.0/24")
        self.network.run(5)
        self.ask("10.1.1.1")
        one = self.views.overview()
        self.assertEqual((one.map_requests, one.map_replies), (1, 1))

    def test_in_a_process_with_no_role(self) -> None:
        """Nothing, and no counters."""
        node = NodeViews(wall_clock=lambda: NOON)
        one = node.overview()
        self.assertEqual((one.roles, one.started, one.sessions), ((), NOON, 0))
        self.assertEqual(node.statistics(), ())

    def test_of_a_map_server_by_the_node(self) -> None:
        """The same."""
        self.watched()
        node = NodeViews(map_server=self.views)
        self.assertIs(node.overview(), self.views.overview())
        self.assertEqual(node.statistics(), self.views.statistics())


class SessionTests(ViewsGround):
    """Sessions, one and all."""

    def setUp(self) -> None:
        """Two ETRs of two sites, ten seconds apart."""
        super().setUp()
        self.watched(site("campus"), site("branch", "10.2.0.0/16", secrets=("other",)))
        self.etr("10.1.1.0/24", "10.1.2.0/24", "10.9.0.0/24")
        self.network.run(10)
        self.etr("10.2.1.0/24", host=ETR_TWO, secret="other")
        self.network.run(10)

    def _peers(self, **asked: object) -> list[str]:
        page = self.views.sessions(SessionFilter(**asked))  # type: ignore[arg-type]
        return [one.peer.partition(":")[0] for one in page.items]

    def test_what_a_list_shows(self) -> None:
        """Everything but counters."""
        page = self.views.sessions()
        one = page.items[0]
        self.assertEqual((page.total, page.next_cursor), (2, None))
        self.assertEqual((one.transport, one.role, one.state), ("TCP", "passive", "established"))
        self.assertEqual((one.site, one.xtr_id, one.site_id), ("campus", XTR_ONE, "1"))
        self.assertEqual((one.registrations, one.errors), (2, {"rejections": 1}))
        self.assertEqual((one.local, one.is_paused), (f"{MAP_SERVER}:4342", False))
        self.assertEqual((one.uses, one.counters), ((), {}))
        self.assertAlmostEqual(one.since, NOON, delta=2)
        self.assertGreater(one.octets_in, 100)

    def test_one_in_full(self) -> None:
        """By its ID, its address and port, or its address."""
        one = self.views.sessions().items[0]
        found = self.views.session(str(one.id))
        assert found is not None
        self.assertEqual(found, self.views.session(one.peer))
        self.assertEqual(found, self.views.session(ETR_ONE))
        self.assertEqual(found.counters["messages in"], one.messages_in)
        ((kind, instance_id, afi, count),) = [
            (use.kind, use.instance_id, use.afi, use.count) for use in found.uses
        ]
        self.assertEqual((kind[:3], instance_id, afi, count), ("ETR", 0, "IPv4", 2))
        for text in ("99", "203.0.113.1", "", "x", "198.51.100.1:1", "9" * 5000):
            self.assertIsNone(self.views.session(text))
        self.assert_json(found, SessionView)

    def test_an_address_with_several_sessions_is_too_little(self) -> None:
        """The sentence says what to name one by; an IPv6 address may be written in any way."""
        one, other = self.map_server.sessions
        self.patch(one, "peer", "[2001:db8::1]:4000")
        self.patch(other, "peer", "[2001:db8::1]:4001")
        with self.assertRaises(sessions.SeveralSessionsError) as caught:
            self.views.session("2001:db8:0::1")
        self.assertEqual(
            str(caught.exception),
            "2 sessions are from 2001:db8:0::1: name one by its number or its address and port",
        )
        found = self.views.session("[2001:DB8::0:1]:4001")
        assert found is not None
        self.assertEqual(found.id, other.id)
        self.assertEqual(len(self.views.sessions(SessionFilter(peer="2001:DB8::0:1")).items), 2)

    def test_uses_that_are_too_many_to_count(self) -> None:
        """Are said to be."""
        self.patch(sessions, "MAX_HELD", 1)
        found = self.views.session(ETR_ONE)
        assert found is not None
        self.assertEqual([use.count for use in found.uses], [-1])

    def test_filters(self) -> None:
        """Each, and together."""
        self.assertEqual(self._peers(), [ETR_ONE, ETR_TWO])
        self.assertEqual(self._peers(site="branch"), [ETR_TWO])
        self.assertEqual(self._peers(transport="tcp"), [ETR_ONE, ETR_TWO])
        self.assertEqual(self._peers(transport="TLS"), [])
        self.assertEqual(self._peers(peer=ETR_ONE), [ETR_ONE])
        self.assertEqual(self._peers(established=False), [])
        self.assertEqual(self._peers(since=NOON + 8), [ETR_TWO])
        self.assertEqual(self._peers(since=NOON + 8, site="campus"), [])
        self.assertEqual(self._peers(troubled=True), [ETR_ONE], "it has a rejection")
        self.assertEqual(self._peers(troubled=False), [ETR_TWO])

    def test_a_peer_that_does_not_read_is_trouble(self) -> None:
        """For as long as it does not."""
        session = self.map_server.sessions[1]
        session.output_paused(self.network.seconds())
        self.assertEqual(self._peers(troubled=True), [ETR_ONE, ETR_TWO])
        session.output_resumed()
        self.assertEqual(self._peers(troubled=True), [ETR_ONE])

    def test_the_key_that_was_used_last(self) -> None:
        """Also when another one is used from now on."""
        both = site("branch", "10.2.0.0/16", secrets=("other", "newer"))
        self.reload(self.map_server, site("campus"), both)
        self.network.run(5)
        keys = [one.key for one in self.views.sessions().items]
        self.assertEqual(keys, ["ID 0, hmac-sha-256-128"] * 2)

    def test_page_by_page(self) -> None:
        """Also where one is gone that a cursor names."""
        first = self.views.sessions(None, None, 1)
        self.assertEqual(len(pages_of(lambda at: self.views.sessions(None, at, 1))), 2)
        self.cut(self.map_server)
        self.network.run(30)
        rest = self.views.sessions(None, first.next_cursor)
        self.assertEqual(len(rest.items), 2)
        self.assertRaises(CursorError, self.views.sessions, None, "x")
        self.assert_json(rest, Page[SessionView])

    def test_few_are_looked_at_for_a_page(self) -> None:
        """A page may be empty, and there is more."""
        self.patch(sessions, "MAX_LOOKED_AT", 1)
        asked = SessionFilter(site="branch")
        page = self.views.sessions(asked)
        self.assertEqual(page.items, ())
        self.assertEqual(len(pages_of(lambda at: self.views.sessions(asked, at))), 1)

    def test_limits_that_make_no_sense(self) -> None:
        """At least one, at most so many."""
        self.assertEqual(len(self.views.sessions(None, None, 0).items), 1)
        self.assertEqual(len(self.views.sessions(None, None, MAX_LIMIT * 9).items), 2)


class SiteTests(ViewsGround):
    """Configured sites."""

    def setUp(self) -> None:
        """Two sites, one of them with registrations."""
        super().setUp()
        self.watched(
            site("campus", "10.1.0.0/16", "10.1.1.0/24", "7 10.1.0.0/16"),
            site("branch", "10.2.0.0/16", options='allowed-itrs = ["203.0.113.0/24"]'),
        )
        self.etr("10.1.1.0/24", "10.1.2.0/24")
        self.network.run(10)

    def test_what_is_there_of_a_site(self) -> None:
        """Each configured EID-prefix in order, with what is below."""
        one = self.views.site("campus")
        assert one is not None
        self.assertEqual((one.xtrs, one.sessions, one.registrations, one.prefixes), (1, 1, 2, 3))
        self.assertEqual(one.keys, ("ID 0, hmac-sha-256-128",))
        self.assertIn("198.51.100.0/24", one.allowed_rlocs)
        found = [(p.instance_id, p.eid_prefix, p.up, p.registrations) for p in one.eid_prefixes]
        expected = [(0, "10.1.0.0/16", "no", 2), (0, "10.1.1.0/24", "yes#", 1)]
        self.assertEqual(found, [*expected, (7, "10.1.0.0/16", "no", 0)])
        registered = one.eid_prefixes[1]
        self.assertTrue(registered.who_last_registered.startswith(f"{ETR_ONE}:"))
        self.assertAlmostEqual(registered.last_registered or 0.0, NOON, delta=1)
        self.assertIsNone(one.eid_prefixes[0].last_registered)

    def test_page_by_page(self) -> None:
        """By name."""
        found = pages_of(lambda at: self.views.sites(at, 1))
        self.assertEqual([one.name for one in found], ["branch", "campus"])
        self.assertEqual(found[0].allowed_itrs, ("203.0.113.0/24",))
        self.assertRaises(CursorError, self.views.sites, "x")
        self.assertIsNone(self.views.site("nobody"))
        self.assert_json(self.views.sites(), Page[SiteView])

    def test_pages_have_room_for_so_many_prefixes(self) -> None:
        """None is left out but of a site that has more on its own."""
        self.patch(sites, "MAX_PREFIXES", 2)
        self.assertEqual(len(self.views.sites().items), 1)
        found = pages_of(self.views.sites)
        self.assertEqual([(len(one.eid_prefixes), one.prefixes) for one in found], [(1, 1), (2, 3)])

    def test_more_than_can_be_counted(self) -> None:
        """Is said."""
        self.patch(sites, "MAX_BELOW", 1)
        one = self.views.site("campus")
        assert one is not None
        self.assertEqual([prefix.registrations for prefix in one.eid_prefixes], [-1, 1, 0])

    def test_another_configuration(self) -> None:
        """Is shown from then on."""
        self.reload(self.map_server, site("garden", "10.3.0.0/16"))
        self.assertEqual([one.name for one in self.views.sites().items], ["garden"])


class MembershipTests(ViewsGround):
    """RLOC membership."""

    def test_where_it_is_off(self) -> None:
        """It says so."""
        self.assertEqual(self.watched().membership(), MembershipView(False, ()))

    def test_members_and_who_follows_them(self) -> None:
        """By instance and family; the session says that it follows."""
        self.watched(options='[[map-server.rloc-membership]]\nfamilies = ["ipv4"]')
        follows = '[[etr.map-server.rloc-membership]]\nfamilies = ["ipv4"]'
        self.etr("10.1.1.0/24", server_options=follows)
        self.network.run(10)
        found = self.views.membership()
        (family,) = found.families
        self.assertEqual((family.instance_id, family.afi), (0, "IPv4"))
        self.assertEqual((family.members, family.subscribers), (1, 1))
        self.assertEqual(family.rlocs, (ETR_ONE,))
        session = self.views.session(ETR_ONE)
        assert session is not None
        self.assertEqual(session.uses[1].kind, "RLOC membership")
        self.assert_json(found, MembershipView)


class SubscriptionTests(ViewsGround):
    """Subscriptions (RFC 9437)."""

    def test_where_they_are_off(self) -> None:
        """There are none."""
        self.assertEqual(self.watched().subscriptions(), Page((), 0, None))

    def _table(self) -> SubscriptionTable:
        """Return one with three xTRs, each subscribed to EID-prefixes of several families."""
        table = SubscriptionTable()
        database = Database()
        association = SecurityAssociation("campus", lambda site: None)
        for number, eid in itertools.product((3, 1, 2), ("10.0.0.0/8", "::/0", "name:printer")):
            instance_id, afi, length, key = eid_key(EidPrefix.from_text(eid, 7))
            who = Subscriber("campus", bytes(15) + bytes((number,)) + bytes(8))
            one = Subscription(database.table(instance_id, afi), length, key, who, association, 255)
            one.endpoints = ((bytes((198, 51, 100, number)), 4342),)
            table.add(one)
        return table

    def test_in_order_page_by_page(self) -> None:
        """EID-prefix by EID-prefix, xTR by xTR."""
        table = self._table()
        whole = subscription_page(table, None, 100)
        self.assertEqual((len(whole.items), whole.total, whole.next_cursor), (9, 9, None))
        for limit in (1, 2, 4):
            found = pages_of(lambda at, n=limit: subscription_page(table, at, n))
            self.assertEqual(tuple(found), whole.items)
        first = whole.items[0]
        self.assertEqual((first.eid_prefix, first.instance_id), ("10.0.0.0/8", 7))
        self.assertEqual((first.site, first.xtr_id[-2:]), ("campus", "01"))
        self.assertEqual((first.rlocs, first.nonce), (("198.51.100.1:4342",), f"{255:016x}"))
        self.assertTrue(first.is_acknowledged)
        for text in ("x", "7.1.1_zz_", "7.1.1__zz"):
            self.assertRaises(CursorError, subscription_page, table, text, 1)
        self.assert_json(whole, Page[SubscriptionView])
