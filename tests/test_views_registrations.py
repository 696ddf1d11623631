"""Views of registrations: what they show, and which of them match a filter."""

from __future__ import annotations

from lispmsrt.views import registrations
from lispmsrt.views.cursors import CursorError
from lispmsrt.views.values import Page, RegistrationFilter, RegistrationView
from lispmsrt.wire.addresses import EidPrefix
from tests.service_ground import ETR_ONE, ETR_TWO, XTR_ONE, XTR_TWO, eid_of, site
from tests.views_ground import NOON, ViewsGround, pages_of

_OVER_UDP = 'session = "off"'


class RegistrationViewTests(ViewsGround):
    """One registration."""

    def test_held_by_a_session(self) -> None:
        """By whom, over what, since when, and no end."""
        self.watched()
        self.etr("10.1.1.0/24")
        self.network.run(10)
        (session,) = self.map_server.sessions
        one = self.registration("10.1.1.0/24")
        (part,) = one.parts
        self.assertEqual((one.instance_id, one.afi, one.site), (0, "IPv4", "campus"))
        self.assertEqual((one.configured_prefix, one.merged), ("10.1.0.0/16", False))
        self.assertEqual((one.transport, one.reliable, one.proxy_reply), ("TCP", True, True))
        self.assertEqual((one.last_registered_by, one.expires_in), (session.peer, None))
        self.assertAlmostEqual(one.since, NOON, delta=1)
        self.assertEqual((part.state, part.session), ("session", session.id))
        self.assertEqual(part.key, "ID 0, hmac-sha-256-128")
        self.assertEqual((part.xtr_id, part.site_id), (XTR_ONE, "1"))
        self.assertIn("proxy-reply", part.flags)
        self.assertEqual([each.rloc for each in part.record.locators], [ETR_ONE])
        self.assertEqual((part.record.ttl, part.record.action), (1440, "no-action"))

    def test_over_udp(self) -> None:
        """It lasts for 180 s from the last Map-Register."""
        self.watched()
        self.etr("10.1.1.0/24", server_options=_OVER_UDP)
        self.network.run(10)
        one = self.registration("10.1.1.0/24")
        self.assertEqual((one.transport, one.reliable), ("UDP", False))
        self.assertEqual((one.parts[0].state, one.parts[0].session), ("UDP", None))
        self.assertEqual(one.parts[0].key, "ID 0, hmac-sha-256-128")
        assert one.expires_in is not None
        self.assertTrue(100 < one.expires_in <= 180)

    def test_of_a_lost_session(self) -> None:
        """It says so, and when it ends."""
        self.watched()
        etr = self.etr("10.1.1.0/24")
        self.network.run(10)
        self.lose(ETR_ONE)
        self.cut(self.map_server)
        etr.stopService()
        self.network.run(30)
        one = self.registration("10.1.1.0/24")
        self.assertEqual((one.reliable, one.transport), (False, "TCP"))
        self.assertTrue(one.parts[0].state.startswith("session lost"))
        self.assertIsNone(one.parts[0].session)
        self.assertEqual(one.parts[0].key, "ID 0, hmac-sha-256-128")
        assert one.expires_in is not None
        self.assertAlmostEqual(one.expires_in, 150, delta=2)

    def test_merged_of_two_xtrs(self) -> None:
        """Each part as it was registered, and what was made of them."""
        self.watched()
        for host in (ETR_ONE, ETR_TWO):
            self.etr("10.1.1.0/24", host=host, server_options="merge = true")
            self.network.run(5)
        one = self.registration("10.1.1.0/24")
        self.assertTrue(one.merged)
        self.assertEqual([each.rloc for each in one.record.locators], [ETR_ONE, ETR_TWO])
        self.assertEqual([part.xtr_id for part in one.parts], [XTR_ONE, XTR_TWO])
        self.assertEqual([len(part.record.locators) for part in one.parts], [1, 1])

    def test_every_kind_of_eid(self) -> None:
        """With its instance ID beside it."""
        names = ("7 10.1.0.0/16", "2001:db8::/32", "02:00:00:00:00:00/8", "name:printer")
        self.watched(
            site("campus", *names).replace(
                '"name:printer"\ninstance-id = 0\naccept-more-specifics = true', '"name:printer"'
            )
        )
        etr = self.etr("2001:db8:1::/48", "02:00:00:00:00:01/48", "name:printer")
        self.register(etr, "10.1.1.0/24", instance_id=7)
        found = [
            (one.instance_id, one.afi, one.eid_prefix, one.configured_prefix)
            for one in self.views.registrations().items
        ]
        self.assertEqual(
            found,
            [
                (0, "IPv6", "2001:db8:1::/48", "2001:db8::/32"),
                (0, "MAC", "02:00:00:00:00:01/48", "02:00:00:00:00:00/8"),
                (0, "name", "name:printer", "name:printer"),
                (7, "IPv4", "10.1.1.0/24", "10.1.0.0/16"),
            ],
        )

    def test_goes_into_json(self) -> None:
        """As its schema says."""
        self.watched()
        self.etr("10.1.1.0/24")
        self.network.run(5)
        found = self.assert_json(self.views.registrations(), Page[RegistrationView])
        self.assertEqual(found["items"][0]["parts"][0]["record"]["locators"][0]["rloc"], ETR_ONE)


class FilterTests(ViewsGround):
    """Which of all registrations."""

    def setUp(self) -> None:
        """Two sites, one ETR of each; one over UDP."""
        super().setUp()
        self.watched(
            site("campus", "10.1.0.0/16", "7 10.1.0.0/16"),
            site("branch", "10.2.0.0/16", secrets=("other",)),
        )
        etr = self.etr("10.1.1.0/24", "10.1.1.128/25", "10.1.0.0/16")
        self.register(etr, "10.1.1.0/24", instance_id=7)
        self.network.run(20)
        self.etr("10.2.1.0/24", host=ETR_TWO, secret="other", server_options=_OVER_UDP)
        self.network.run(5)

    def test_everything_in_order(self) -> None:
        """What covers others comes before them; instance by instance."""
        everything = ["10.1.0.0/16", "10.1.1.0/24", "10.1.1.128/25", "10.2.1.0/24", "10.1.1.0/24"]
        self.assertEqual(self.prefixes(), everything)
        self.assertEqual(self.views.registrations().total, 5)

    def test_by_site(self) -> None:
        """A name that nobody has matches nothing."""
        self.assertEqual(self.prefixes(site="branch"), ["10.2.1.0/24"])
        self.assertEqual(self.prefixes(site="campus", instance_id=7), ["10.1.1.0/24"])
        self.assertEqual(self.prefixes(site="nobody"), [])

    def test_by_site_where_leases_are_too_many_to_look_through(self) -> None:
        """The site's EID-prefixes say where to look."""
        for name in ("MAX_LEASES", "MAX_OF_LEASES"):
            self.patch(registrations, name, 0)
            self.test_by_site()
            self.test_by_who_and_how()

    def test_by_instance_id(self) -> None:
        """And how many there are."""
        self.assertEqual(self.prefixes(instance_id=7), ["10.1.1.0/24"])
        page = self.views.registrations(RegistrationFilter(instance_id=0), None, 1)
        self.assertEqual((len(page.items), page.total), (1, 4))

    def test_by_who_and_how(self) -> None:
        """Transport in any case, xTR-ID with or without colons."""
        self.assertEqual(self.prefixes(transport="udp"), ["10.2.1.0/24"])
        self.assertEqual(self.prefixes(transport="QUIC"), [])
        self.assertEqual(self.prefixes(xtr_id=XTR_TWO), ["10.2.1.0/24"])
        self.assertEqual(self.prefixes(xtr_id=":".join(["02"] * 16)), ["10.2.1.0/24"])
        self.assertEqual(self.prefixes(xtr_id="no xTR-ID"), [])
        self.assertEqual(len(self.prefixes(site="campus", transport="tcp")), 4)

    def test_by_eid(self) -> None:
        """What covers it, and what lies inside, in every instance."""
        covers_and_inside = ["10.1.0.0/16", "10.1.1.0/24", "10.1.1.128/25", "10.1.1.0/24"]
        asked = eid_of("10.1.1.0/24")
        self.assertEqual(self.prefixes(eid=asked), covers_and_inside)
        self.assertEqual(self.prefixes(eid=asked, instance_id=7), ["10.1.1.0/24"])
        self.assertEqual(self.prefixes(eid=asked, site="branch"), [])
        self.assertEqual(self.prefixes(eid=eid_of("10.1.1.200")), covers_and_inside)
        self.assertEqual(self.prefixes(eid=eid_of("10.1.9.9")), ["10.1.0.0/16"])
        self.assertEqual(self.prefixes(eid=EidPrefix.from_text("name:nobody")), [])

    def test_by_time(self) -> None:
        """What was registered then or later."""
        self.assertEqual(self.prefixes(since=NOON + 15), ["10.2.1.0/24"])
        self.assertEqual(len(self.prefixes(since=NOON - 1)), 5)

    def test_page_by_page(self) -> None:
        """Whatever the filter, all pages together are the whole list."""
        for asked in (
            RegistrationFilter(),
            RegistrationFilter(site="campus"),
            RegistrationFilter(eid=eid_of("10.1.1.0/24")),
            RegistrationFilter(transport="tcp"),
            RegistrationFilter(instance_id=0),
        ):
            for limit in (1, 2, 3):
                whole = self.views.registrations(asked).items
                found = pages_of(lambda at, a=asked, n=limit: self.views.registrations(a, at, n))
                self.assertEqual(tuple(found), whole)

    def test_what_is_no_cursor(self) -> None:
        """One sentence says so."""
        for text in (
            "",
            "x",
            "0.1",
            "0.1.zz",
            "1.2.3.4.5",
            "4294967296.1.1",
            "0.1." + "f" * 9,
            "0.99.1",
            "0.1.-1",
            "٣.1.1",
        ):
            error = self.assertRaises(CursorError, self.views.registrations, None, text)
            self.assertTrue(str(error))

    def test_large_records_make_short_pages(self) -> None:
        """None is left out for that."""
        self.patch(registrations, "MAX_OCTETS", 62)
        page = self.views.registrations()
        self.assertEqual(len(page.items), 2)
        found = pages_of(lambda at: self.views.registrations(None, at))
        self.assertEqual(len(found), 5)
