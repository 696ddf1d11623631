"""What a Map-Server finds for an EID: mapping, more-specifics, hole."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.mapping.database import Database, Lease, Registration, Xtr
from lispmsrt.mapping.lookup import MAX_MORE_SPECIFICS, Found, FoundKind, Hit, Lookup
from lispmsrt.mapping.sites import SitePrefix, Sites, eid_key
from lispmsrt.wire.addresses import NO_ADDRESS, EidPrefix
from lispmsrt.wire.lcaf import AfiList
from tests.builders import site, sites

_LEASE = Lease(Xtr("office", b"", b""), "UDP", "here", is_live=False)
_eid = EidPrefix.from_text

Seen = tuple[str, str, str | None, list[str], str | None]
"""Kind, EID, hit, more-specifics, site."""


class _LookupCase(SynchronousTestCase):
    """A database and sites."""

    def setUp(self) -> None:
        """Nothing is configured or registered."""
        self.database = Database()
        self.sites = Sites()
        self.lookup = Lookup(self.database, lambda: self.sites)
        self.named: dict[Registration, str] = {}

    def configure(self, *texts: str, instance_id: int = 0) -> None:
        """Replace the sites: one for each prefix, called after it."""
        self.sites = sites(*((site(text), text, instance_id) for text in texts))

    def register(self, *texts: str, instance_id: int = 0) -> None:
        """Enter a registration of each."""
        for text in texts:
            eid = _eid(text, instance_id)
            instance_id, afi, length, key = eid_key(eid)
            registration = Registration(b"", _LEASE, 0, 0.0, None)
            self.named[registration] = str(eid)
            self.database.table(instance_id, afi).put(length, key, registration)

    def withdraw(self, text: str) -> None:
        """Take one out."""
        instance_id, afi, length, key = eid_key(_eid(text))
        self.database.table(instance_id, afi).remove(length, key)

    def find(self, text: str, instance_id: int = 0) -> Seen:
        """Look up, and tell it in words."""
        return self.seen(self.lookup.find(_eid(text, instance_id)))

    def seen(self, found: Found) -> Seen:
        """Tell it in words."""
        return (
            found.kind.name,
            str(found.eid),
            found.hit and self._name(found.hit),
            [self._name(hit) for hit in found.more_specifics],
            found.site_prefix and found.site_prefix.site.name,
        )

    def _name(self, hit: Hit) -> str:
        self.assertIs(hit.table.entries[hit.key], hit.registration)
        self.assertEqual(hit.key.bit_length() - 1, hit.length)
        return self.named[hit.registration]


class HitTests(_LookupCase):
    """Somebody registered it."""

    def test_longest_match(self) -> None:
        """With what covers it, and the site it stands under."""
        self.configure("10.0.0.0/8", "10.1.0.0/16")
        self.register("10.0.0.0/8", "10.1.0.0/16", "10.1.1.0/24")
        self.assertEqual(
            self.find("10.1.1.1/32"),
            ("MAPPED", "10.1.1.0/24", "10.1.1.0/24", [], "10.1.0.0/16"),
        )

    def test_more_specifics_below_the_hit_are_all_listed(self) -> None:
        """The example of RFC 9301 §5.5, whatever the order of registering."""
        self.configure("10.0.0.0/8")
        self.register("10.1.2.0/24", "10.1.1.0/24", "10.0.0.0/8", "10.1.0.0/16")
        below = ["10.1.1.0/24", "10.1.2.0/24"]
        self.assertEqual(
            self.find("10.1.5.5/32"),
            ("MAPPED", "10.1.0.0/16", "10.1.0.0/16", below, "10.0.0.0/8"),
        )
        everything = ["10.1.0.0/16", *below]
        self.assertEqual(self.find("10.9.9.9/32")[1:4], ("10.0.0.0/8", "10.0.0.0/8", everything))

    def test_a_hit_is_one_whoever_is_configured(self) -> None:
        """The sites may have been changed a moment ago."""
        self.register("10.1.0.0/16")
        self.assertEqual(
            self.find("10.1.0.1/32"), ("MAPPED", "10.1.0.0/16", "10.1.0.0/16", [], None)
        )

    def test_too_many_more_specifics_leave_the_hole_in_the_hit(self) -> None:
        """The widest part of the hit around the query where its locators are right."""
        self.configure("10.0.0.0/8")
        listed = [f"10.0.{number}.0/24" for number in range(MAX_MORE_SPECIFICS)]
        self.register("10.0.0.0/8", *listed)
        self.assertEqual(self.find("10.0.99.1/32")[1:4], ("10.0.0.0/8", "10.0.0.0/8", listed))
        self.register("10.0.100.0/24")
        for query, hole in (
            ("10.0.99.1/32", "10.0.96.0/22"),
            ("10.0.16.1/32", "10.0.16.0/20"),
            ("10.128.0.1/32", "10.128.0.0/9"),
            ("10.200.0.0/16", "10.128.0.0/9"),
        ):
            self.assertEqual(self.find(query)[1:4], (hole, "10.0.0.0/8", []), query)
        self.withdraw("10.0.100.0/24")
        self.assertEqual(self.find("10.0.99.1/32")[1:4], ("10.0.0.0/8", "10.0.0.0/8", listed))

    def test_a_query_around_some_of_too_many_covers_itself(self) -> None:
        """No hole is around it; what is inside is listed."""
        self.register("10.0.0.0/8", *(f"10.0.{number}.0/24" for number in range(40)))
        self.assertEqual(
            self.find("10.0.6.0/23"),
            ("MAPPED", "10.0.6.0/23", "10.0.0.0/8", ["10.0.6.0/24", "10.0.7.0/24"], None),
        )

    def test_a_query_around_too_many_is_one_for_its_network_address(self) -> None:
        """Few ask so, and no small answer is right for all of it."""
        self.register("10.0.0.0/8", *(f"10.0.{number}.0/24" for number in range(40)))
        self.assertEqual(
            self.find("10.0.0.0/16"), ("MAPPED", "10.0.0.0/24", "10.0.0.0/24", [], None)
        )
        self.withdraw("10.0.0.0/24")
        self.assertEqual(self.find("10.0.0.0/16")[1:4], ("10.0.0.0/24", "10.0.0.0/8", []))

    def test_a_query_for_just_what_is_registered(self) -> None:
        """Or a part of it."""
        self.register("10.1.0.0/16", "10.1.1.0/24")
        for query in ("10.1.0.0/16", "10.1.0.0/23", "10.1.2.0/24"):
            self.assertEqual(self.find(query)[1:4], ("10.1.0.0/16", "10.1.0.0/16", ["10.1.1.0/24"]))
        self.assertEqual(self.find("10.1.1.0/24")[1:4], ("10.1.1.0/24", "10.1.1.0/24", []))

    def test_all_families_and_instances(self) -> None:
        """Each for itself."""
        for text, query in (
            ("2001:db8::/32", "2001:db8::1/128"),
            ("02:00:00:00:00:00/24", "02:00:00:00:00:01/48"),
            ("0.0.0.0/0", "192.0.2.1/32"),
        ):
            self.register(text, instance_id=5)
            self.assertEqual(self.find(query, 5)[:2], ("MAPPED", f"[5] {text}"))
            self.assertEqual(self.find(query, 6)[:2][0], "NO_SITE")


class HoleTests(_LookupCase):
    """Nobody registered it."""

    def test_nothing_at_all_is_one_hole(self) -> None:
        """Of the whole family."""
        self.assertEqual(self.find("10.0.0.1/32"), ("NO_SITE", "0.0.0.0/0", None, [], None))
        self.assertEqual(self.find("::1/128", 7), ("NO_SITE", "[7] ::/0", None, [], None))
        self.assertEqual(self.database.tables, {})

    def test_a_hole_between_sites(self) -> None:
        """It touches no configured prefix and no registered one, covered by a site or not."""
        self.configure("10.0.0.0/16", "10.128.0.0/16")
        self.assertEqual(self.find("10.1.0.1/32"), ("NO_SITE", "10.1.0.0/16", None, [], None))
        self.assertEqual(self.find("10.64.0.1/32")[1], "10.64.0.0/10")
        self.assertEqual(self.find("11.0.0.1/32")[1], "11.0.0.0/8")
        self.register("10.96.0.0/16")
        self.assertEqual(self.find("10.64.0.1/32")[1], "10.64.0.0/11")
        self.assertEqual(self.find("200.0.0.1/32")[1], "128.0.0.0/1")

    def test_a_hole_in_a_site(self) -> None:
        """Never wider than the site, and not over what another has inside of it."""
        self.configure("10.0.0.0/8", "10.128.0.0/10")
        expected = ("NOT_REGISTERED", "10.0.0.0/9", None, [], "10.0.0.0/8")
        self.assertEqual(self.find("10.1.0.1/32"), expected)
        self.register("10.0.0.0/16", "10.129.0.0/16")
        self.assertEqual(self.find("10.1.0.1/32")[1], "10.1.0.0/16")
        expected = ("NOT_REGISTERED", "10.160.0.0/11", None, [], "10.128.0.0/10")
        self.assertEqual(self.find("10.160.0.1/32"), expected)
        self.assertEqual(self.find("10.192.0.1/32")[1], "10.192.0.0/10")
        self.assertEqual(self.find("10.192.0.0/12")[1], "10.192.0.0/10")

    def test_a_site_without_others_is_its_own_hole(self) -> None:
        """As configured."""
        self.configure("10.0.0.0/8")
        self.assertEqual(self.find("10.1.0.1/32")[:2], ("NOT_REGISTERED", "10.0.0.0/8"))

    def test_registered_parts_of_a_query_are_listed(self) -> None:
        """The answer covers the query; what is registered inside goes along."""
        self.configure("10.0.0.0/8")
        self.register("10.1.0.0/16", "10.2.0.0/16")
        below = ["10.1.0.0/16", "10.2.0.0/16"]
        self.assertEqual(
            self.find("10.0.0.0/8"), ("NOT_REGISTERED", "10.0.0.0/8", None, below, "10.0.0.0/8")
        )
        self.assertEqual(
            self.find("10.0.0.0/14")[:4], ("NOT_REGISTERED", "10.0.0.0/14", None, below)
        )

    def test_a_query_around_a_site_is_no_query_without_one(self) -> None:
        """Whoever is told so keeps it for a minute, not for fifteen."""
        self.configure("10.0.0.0/16")
        expected = ("NOT_REGISTERED", "10.0.0.0/8", None, [], None)
        self.assertEqual(self.find("10.0.0.0/8"), expected)
        self.register("10.0.0.0/16")
        expected = ("NOT_REGISTERED", "0.0.0.0/0", None, ["10.0.0.0/16"], None)
        self.assertEqual(self.find("0.0.0.0/0"), expected)

    def test_a_query_around_too_many_is_one_for_its_network_address(self) -> None:
        """As with a hit."""
        self.configure("10.0.0.0/8")
        self.register(*(f"10.1.{number}.0/24" for number in range(40)))
        self.assertEqual(self.find("10.0.0.0/8")[:2], ("NOT_REGISTERED", "10.0.0.0/16"))
        self.assertEqual(self.find("10.1.0.0/16")[:2], ("MAPPED", "10.1.0.0/24"))

    def test_new_sites_are_heeded(self) -> None:
        """They are replaced as a whole."""
        self.assertEqual(self.find("10.1.0.1/32")[:2], ("NO_SITE", "0.0.0.0/0"))
        self.configure("10.0.0.0/16")
        self.assertEqual(self.find("10.1.0.1/32")[:2], ("NO_SITE", "10.1.0.0/16"))
        self.configure("10.1.0.0/16", instance_id=3)
        self.assertEqual(self.find("10.1.0.1/32")[:2], ("NO_SITE", "0.0.0.0/0"))
        self.assertEqual(self.find("10.1.0.1/32", 3)[:2], ("NOT_REGISTERED", "[3] 10.1.0.0/16"))


class FormTests(_LookupCase):
    """Names, LCAFs, and how the query was written."""

    def test_names_match_whole_and_are_their_own_hole(self) -> None:
        """RFC 9735: no name covers another."""
        desk, door = (SitePrefix.of(site(text), _eid(text)) for text in ("name:desk", "name:door"))
        self.sites = Sites((desk, door))
        self.register("name:desk")
        self.assertEqual(
            self.find("name:desk"), ("MAPPED", "name:desk", "name:desk", [], "name:desk")
        )
        self.assertEqual(
            self.find("name:door"), ("NOT_REGISTERED", "name:door", None, [], "name:door")
        )
        self.assertEqual(self.find("name:doors"), ("NO_SITE", "name:doors", None, [], None))
        self.assertEqual(self.find("name:desks")[0], "NO_SITE")

    def test_a_site_may_take_all_names_with_a_beginning(self) -> None:
        """As it may register them."""
        self.sites = Sites((SitePrefix.of(site("all"), _eid("name:d"), True),))
        self.assertEqual(self.find("name:desk"), ("NOT_REGISTERED", "name:desk", None, [], "all"))

    def test_configured_names_bound_no_hole_between_addresses(self) -> None:
        """They have no place among them."""
        self.sites = Sites((SitePrefix.of(site("all"), _eid("name:d"), True),))
        self.assertEqual(self.find("10.0.0.1/32")[:2], ("NO_SITE", "0.0.0.0/0"))

    def test_long_names(self) -> None:
        """Their length in bits does not fit the octet that says it."""
        name = "name:" + "n" * 40
        self.register(name)
        self.assertEqual(self.find(name)[:3], ("MAPPED", name, name))

    def test_what_is_no_key_has_no_site(self) -> None:
        """An LCAF, or no address; the answer is about just that."""
        self.configure("0.0.0.0/0")
        for address in (AfiList(()), NO_ADDRESS):
            eid = EidPrefix(5, address, 0, True)
            self.assertEqual(self.lookup.find(eid), (FoundKind.NO_SITE, eid, None, (), None))

    def test_the_form_of_the_instance_id_is_echoed(self) -> None:
        """Instance ID 0 in an LCAF and none are the same, but look different."""
        self.configure("10.0.0.0/8")
        self.register("10.1.0.0/16")
        for is_explicit in (False, True):
            for text in ("10.1.0.1/32", "10.2.0.1/32", "11.0.0.1/32", "10.1.0.0/16", "::/0"):
                asked = _eid(text)
                asked.explicit_instance = is_explicit
                self.assertIs(self.lookup.find(asked).eid.explicit_instance, is_explicit)
