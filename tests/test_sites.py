"""Sites: who may register what, and with which RLOCs."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.mapping import sites as sites_module
from lispmsrt.mapping.sites import RlocPrefix, Site, SitePrefix, Sites, eid_key
from lispmsrt.wire.addresses import Address, EidPrefix
from lispmsrt.wire.lcaf import AfiList
from tests.builders import ip, lcaf, locator, site

_eid = EidPrefix.from_text


def _match(sites: Sites, text: str, instance_id: int = 0) -> str | None:
    found = sites.match(*eid_key(_eid(text, instance_id)))
    return found.site.name if found else None


def _covering(sites: Sites, text: str) -> str | None:
    found = sites.covering(*eid_key(_eid(text)))
    return found.site.name if found else None


def _as_number(rloc: str) -> bytes:
    return lcaf(3, struct.pack("!I", 64500) + b"\0\1" + ip(rloc))


def _afi_list(*rlocs: str) -> bytes:
    return lcaf(1, b"".join(b"\0\1" + ip(rloc) for rloc in rlocs))


class EidKeyTests(SynchronousTestCase):
    """eid_key."""

    def test_lengths_and_families_have_keys_of_their_own(self) -> None:
        """0.0.0.0/0, 0.0.0.0/1 and the like differ."""
        texts = ("0.0.0.0/0", "0.0.0.0/1", "0.0.0.0/32", "128.0.0.0/1")
        self.assertEqual(len({eid_key(_eid(text)) for text in texts}), 4)
        self.assertEqual(eid_key(_eid("::/0", 7)), (7, 2, 0, 1))

    def test_an_lcaf_is_no_key(self) -> None:
        """Only what can be looked up is configured."""
        self.assertRaises(ValueError, eid_key, EidPrefix(0, AfiList(()), 0))


class SitesTests(SynchronousTestCase):
    """Longest configured prefix."""

    def setUp(self) -> None:
        """Two sites, one inside the other's space."""
        self.wide, self.narrow = site("wide"), site("narrow")
        self.sites = Sites(
            (
                SitePrefix.of(self.wide, _eid("10.0.0.0/8"), True),
                SitePrefix.of(self.narrow, _eid("10.1.0.0/16")),
                SitePrefix.of(self.wide, _eid("name:printer")),
                SitePrefix.of(self.wide, _eid("10.0.0.0/8", 7)),
            )
        )

    def test_longest_prefix_decides(self) -> None:
        """RFC 9301 §8.2."""
        self.assertEqual(_match(self.sites, "10.2.0.0/16"), "wide")
        self.assertEqual(_match(self.sites, "10.1.0.0/16"), "narrow")
        self.assertEqual(_match(self.sites, "10.0.0.0/8"), "wide")

    def test_more_specific_only_where_accepted(self) -> None:
        """The narrow site takes its own prefix only, and shields it from the wide one's."""
        self.assertIsNone(_match(self.sites, "10.1.2.0/24"))
        self.assertEqual(_covering(self.sites, "10.1.2.0/24"), "narrow")

    def test_less_specific_is_not_covered(self) -> None:
        """Nobody registers more than what is configured."""
        self.assertIsNone(_match(self.sites, "8.0.0.0/7"))
        self.assertIsNone(_match(self.sites, "0.0.0.0/0"))

    def test_instances_and_families_are_apart(self) -> None:
        """Each has a table of its own."""
        self.assertEqual(_match(self.sites, "10.0.0.0/8", 7), "wide")
        self.assertIsNone(_match(self.sites, "10.1.0.0/16", 7))
        self.assertIsNone(_match(self.sites, "10.0.0.0/8", 8))
        self.assertIsNone(_match(self.sites, "a00::/8"))

    def test_names_match(self) -> None:
        """Exactly."""
        self.assertEqual(_match(self.sites, "name:printer"), "wide")
        self.assertIsNone(_match(self.sites, "name:printers"))
        self.assertIsNone(_match(self.sites, "name:print"))

    def test_the_same_prefix_twice_is_refused(self) -> None:
        """Whose would it be?"""
        prefix = SitePrefix.of(self.wide, _eid("10.0.0.0/8"))
        error = self.assertRaises(
            ValueError, Sites, (prefix, SitePrefix.of(self.narrow, _eid("10.0.0.0/8")))
        )
        self.assertIn("wide", str(error))

    def test_sites_by_name(self) -> None:
        """Each once, whatever the number of its prefixes."""
        self.assertEqual(self.sites.by_name(), {"wide": self.wide, "narrow": self.narrow})
        self.assertEqual(Sites().by_name(), {})

    @given(st.lists(st.integers(0, 8), unique=True), st.integers(0, 255), st.integers(0, 8))
    def test_covering_is_the_longest_of_all(self, lengths: list[int], first: int, own: int) -> None:
        """Against trying all of them."""
        owner = site()
        prefixes = [SitePrefix(owner, 0, 1, n, first >> 8 - n | 1 << n, True) for n in lengths]
        found = Sites(prefixes).covering(0, 1, own, first >> 8 - own | 1 << own)
        expected = max((n for n in lengths if n <= own), default=None)
        self.assertEqual(found.length if found else None, expected)


class AllowedRlocsTests(SynchronousTestCase):
    """allowed-rlocs."""

    def setUp(self) -> None:
        """One range of either family."""
        self.site = site(allowed=("192.0.2.0/24", "2001:db8::/32"))

    def allows(self, *locators: bytes) -> bool:
        """Ask twice: the second answer comes from memory."""
        whole = b"".join(locators)
        first = self.site.allows_locators(whole)
        self.assertEqual(self.site.allows_locators(whole), first)
        return first

    def test_every_locator_must_be_inside(self) -> None:
        """One outside spoils the set."""
        self.assertTrue(self.allows(locator("192.0.2.9"), locator("2001:db8::9")))
        self.assertFalse(self.allows(locator("192.0.2.9"), locator("198.51.100.1")))
        self.assertFalse(self.allows(locator("2001:db9::1")))

    def test_large_sets_are_not_remembered(self) -> None:
        """They would fill the memory; their verdict is the same."""
        self.assertTrue(self.allows(*[locator("192.0.2.9")] * 40))
        self.assertEqual(len(self.site._vetted), 0)
        self.assertTrue(self.allows(locator("192.0.2.9")))
        self.assertEqual(len(self.site._vetted), 1)

    def test_no_locators_are_allowed(self) -> None:
        """A record with an action only."""
        self.assertTrue(self.allows())

    def test_anything_goes_where_nothing_is_configured(self) -> None:
        """Not even looked at."""
        self.assertTrue(site().allows_locators(b"junk"))

    def test_lcafs_are_looked_into(self) -> None:
        """What traffic could be sent to counts, not how it is wrapped."""
        self.assertTrue(self.allows(locator(_as_number("192.0.2.1"))))
        self.assertFalse(self.allows(locator(_as_number("198.51.100.1"))))
        self.assertTrue(self.allows(locator(_afi_list("192.0.2.1", "192.0.2.2"))))
        self.assertFalse(self.allows(locator(_afi_list("192.0.2.1", "198.51.100.1"))))
        self.assertTrue(self.allows(locator(lcaf(2, bytes(4) + b"\0\1" + ip("192.0.2.1")))))
        self.assertFalse(self.allows(locator(lcaf(2, bytes(4) + b"\0\1" + ip("10.0.0.1")))))

    def test_what_cannot_be_looked_into_is_not_allowed(self) -> None:
        """Unknown and broken LCAFs, labels, nothing at all, octets that are no locators."""
        for address in (lcaf(200, b"whatever"), lcaf(3, b"short"), lcaf(1, b""), b"\0\0"):
            self.assertFalse(self.allows(locator(address)), address.hex())
        self.assertFalse(self.allows(locator("name:printer")))
        self.assertFalse(self.allows(b"junk"))
        self.assertFalse(self.site.allows_rloc(None))

    def test_prefix_boundaries(self) -> None:
        """The whole range, /0 and host routes."""
        covers = RlocPrefix.from_text("192.0.2.128/25").covers
        self.assertTrue(covers(Address.from_text("192.0.2.128")))
        self.assertTrue(covers(Address.from_text("192.0.2.255")))
        self.assertFalse(covers(Address.from_text("192.0.2.127")))
        self.assertFalse(covers(Address.from_text("::192.0.2.128")))
        self.assertTrue(RlocPrefix.from_text("::/0").covers(Address.from_text("2001:db8::1")))

    def test_memory_of_verdicts_is_bounded(self) -> None:
        """A peer with ever new locator sets empties it, nothing more."""
        self.patch(sites_module, "_VETTED_LIMIT", 2)
        for last in range(1, 6):
            self.assertTrue(self.allows(locator(f"192.0.2.{last}")))
            self.assertLessEqual(len(self.site._vetted), 2)

    def test_keys_do_not_show_their_secrets(self) -> None:
        """Sites end up in messages to people."""
        self.assertNotIn("sesame", repr(Site("office", site().keys)))
