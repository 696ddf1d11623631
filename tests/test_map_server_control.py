"""The Map-Server's UDP side: what is answered, what is armed, and what is met with silence."""

from __future__ import annotations

import struct

from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.control import map_server as control_module
from lispmsrt.control import nonces
from lispmsrt.control.arming import ArmoryLimits
from lispmsrt.control.nonces import NonceCheck
from lispmsrt.mapping.sites import Sites
from tests.builders import (
    ANY_IPV4,
    KEY,
    OTHER_KEY,
    SHA1_KEY,
    Etr,
    M,
    MapServer,
    R,
    Secret,
    T,
    eid,
    ip,
    lcaf,
    locator,
    record,
    site,
    sites,
)
from tests.test_retransmission import signed

_EID = "10.1.0.0/16"
_LOOPBACK = "203.0.113.1"
_ELSEWHERE = (ip("198.51.100.66"), 4342)


class ControlCase(SynchronousTestCase):
    """One Map-Server, one ETR."""

    def setUp(self) -> None:
        """One site."""
        self.server = MapServer()
        self.etr = Etr()

    def admits(self, address: str, now: float = 0.0) -> bool:
        """Whether somebody may connect from there."""
        return self.server.armory.admits(ip(address), now)

    def assert_silence(self, message: bytes, *, etr: Etr | None = None) -> None:
        """No answer, nothing registered, nobody armed."""
        etr = etr or self.etr
        self.assertEqual(self.server.hear(etr, message), [])
        self.assertEqual(len(self.server.registrar.database), 0)
        self.assertEqual(self.server.armory.counters["tokens"], 0)


class AnswerTests(ControlCase):
    """Map-Notify."""

    def test_mirrors_nonce_key_and_records(self) -> None:
        """And xTR-ID and Site-ID, which come with their bit."""
        one, two = record(_EID), record("10.2.0.0/16")
        (notify,) = self.server.hear(self.etr, self.etr.map_register(one, two, nonce=77))
        self.assertEqual((notify.nonce, notify.key_id), (77, 1))
        self.assertEqual((notify.records, notify.ids), (one + two, self.etr.ids))
        self.assertEqual(notify.to, self.etr.source)

    def test_without_xtr_id(self) -> None:
        """Nothing is appended."""
        etr = Etr(xtr_id=None)
        (notify,) = self.server.hear(etr, etr.map_register(record(_EID)))
        self.assertEqual(notify.ids, b"")

    def test_only_where_it_is_wanted(self) -> None:
        """By M, or by r, which implies M."""
        for flags, answers in ((0, 0), (M, 1), (R, 1), (R | M, 1)):
            notifies = self.server.hear(self.etr, self.etr.map_register(record(_EID), flags=flags))
            self.assertEqual(len(notifies), answers, flags)
        self.assertIsNotNone(self.server.at(_EID))

    def test_goes_to_the_source_port_or_to_4342(self) -> None:
        """RFC 9301 contradicts itself."""
        etr = Etr(port=5000)
        (notify,) = self.server.hear(etr, etr.map_register(record(_EID)))
        self.assertEqual(notify.to, (etr.source[0], 5000))
        self.server = MapServer(notify_to_control_port=True)
        (notify,) = self.server.hear(etr, etr.map_register(record(_EID)))
        self.assertEqual(notify.to, (etr.source[0], 4342))

    def test_mirrors_the_length_of_the_mac(self) -> None:
        """Full or truncated."""
        for length in (16, 32):
            message = self.etr.map_register(record(_EID), length=length)
            (notify,) = self.server.hear(self.etr, message)
            self.assertEqual(notify.mac_length, length)

    def test_mirrors_how_far_the_mac_reaches(self) -> None:
        """The RFC's range does not cover the IDs, and they are no identity then."""
        message = self.etr.map_register(record(_EID), covers_ids=False)
        (notify,) = self.server.hear(self.etr, message, covers_ids=False)
        self.assertEqual(notify.ids, self.etr.ids)
        xtr = self.server.holder(_EID).xtr
        self.assertEqual((xtr.ids, xtr.address), (b"", self.etr.source[0]))

    def test_derived_keys(self) -> None:
        """Algorithm ID 3."""
        key = Secret(5, 3, b"derived")
        self.server = MapServer(sites((site("office", key), ANY_IPV4)))
        etr = Etr(key=key)
        message = etr.map_register(record(_EID), covers_ids=False)
        self.assertEqual(len(self.server.hear(etr, message, covers_ids=False)), 1)

    def test_instance_0_in_an_lcaf_is_echoed_as_such(self) -> None:
        """The same EID-prefix in two forms."""
        for one in (record(_EID), record(eid(_EID, 0))):
            (notify,) = self.server.hear(self.etr, self.etr.map_register(one))
            self.assertEqual(notify.records, one)
        self.assertEqual(len(self.server.registrar.database), 1)

    def test_refused_records_are_left_out(self) -> None:
        """Foreign prefixes, locators that are not allowed, strange EIDs."""
        strict = site("office", allowed=("192.0.2.0/24",))
        shop = site("shop", OTHER_KEY)
        self.server = MapServer(sites((strict, ANY_IPV4), (shop, "172.16.0.0/12")))
        good, withdrawal = record(_EID), record("10.5.0.0/16", locator("9.9.9.9"), ttl=0)
        message = self.etr.map_register(
            good,
            record("10.2.0.0/16", locator("198.51.100.1")),
            record("172.16.0.0/12"),
            record("192.0.2.0/24"),
            record(b"\0" + lcaf(200, b"x")),
            withdrawal,
        )
        (notify,) = self.server.hear(self.etr, message)
        self.assertEqual(notify.records, good + withdrawal)
        self.assertEqual(len(self.server.registrar.database), 1)

    def test_no_record_accepted(self) -> None:
        """No Map-Notify, no arming; nor for its repeat."""
        self.server = MapServer(sites((site("office", allowed=("192.0.2.0/24",)), ANY_IPV4)))
        message = self.etr.map_register(record(_EID, locator("198.51.100.1")))
        self.assert_silence(message)
        self.assert_silence(message)

    def test_source_is_noted_for_people(self) -> None:
        """Address and port, of bounded number."""
        self.patch(control_module, "_MAX_SOURCE_TEXTS", 1)
        for address, text in (
            ("192.0.2.1", "192.0.2.1:4342"),
            ("2001:db8::1", "[2001:db8::1]:4342"),
        ):
            etr = Etr(address, xtr_id=len(address))
            for _ in range(2):
                self.server.hear(etr, etr.map_register(record(_EID)))
                self.assertEqual(self.server.holder(_EID).source, text)
            self.assertEqual(len(self.server.control._source_texts), 1)


class PartlyOutsideTests(ControlCase):
    """A Map-Register partly outside the site."""

    def test_the_site_is_that_of_the_first_record_that_has_one(self) -> None:
        """What lies outside every site keeps the rest from nothing."""
        outside = record("192.0.2.0/24")
        (notify,) = self.server.hear(self.etr, self.etr.map_register(outside, record(_EID)))
        self.assertEqual(notify.records, record(_EID))


class SilenceTests(ControlCase):
    """Whoever can't authenticate learns nothing."""

    def test_wrong_key_key_id_and_algorithm(self) -> None:
        """Counted, not answered."""
        for key in (OTHER_KEY, Secret(9, 2, KEY.secret), SHA1_KEY, Secret(1, 0, b"")):
            self.assert_silence(self.etr.map_register(record(_EID), key=key))
        refused = "Map-Registers refused: AUTHENTICATION_FAILURE"
        self.assertEqual(self.server.control.counters[refused], 4)

    def test_no_such_site(self) -> None:
        """Nobody's key could be meant."""
        self.assert_silence(self.etr.map_register(record("192.0.2.0/24"), record("192.0.3.0/24")))

    def test_no_records(self) -> None:
        """Dropped."""
        self.assert_silence(self.etr.map_register())
        self.assertEqual(self.server.control.counters["Map-Registers without records"], 1)

    def test_broken_datagrams(self) -> None:
        """Empty, cut at every octet, too long, of every other type."""
        message = self.etr.map_register(record(_EID))
        for cut in range(len(message)):
            self.assert_silence(message[:cut])
        self.assert_silence(message + b"\0")
        for kind in (0, 1, 2, 4, 5, 6, 7, 8, 15):
            self.assert_silence(bytes((kind << 4,)) + message[1:])
        self.assertEqual(self.server.control.counters["type 1 not handled"], 1)

    def test_unknown_address_family_loses_the_message(self) -> None:
        """Nobody knows where it ends."""
        self.assert_silence(self.etr.map_register(record(b"\x08" + struct.pack("!HI", 5, 0))))


class ArmingTests(ControlCase):
    """The r bit, and Arming 1 to 3."""

    def test_r_is_not_mirrored_where_no_session_is_offered(self) -> None:
        """Nobody is told to connect to nothing."""
        self.server = MapServer(offers_sessions=False)
        (notify,) = self.server.hear(self.etr, self.etr.map_register(record(_EID), flags=R | M))
        self.assertFalse(notify.r)
        self.assertFalse(self.server.armory.admits(self.etr.source[0], 0.0))

    def test_r_arms_and_is_mirrored(self) -> None:
        """Map-Notify with r."""
        (notify,) = self.server.hear(self.etr, self.etr.map_register(record(_EID)))
        self.assertTrue(notify.r)
        self.assertTrue(self.admits("192.0.2.1"))

    def test_no_r_arms_nobody(self) -> None:
        """By default."""
        message = self.etr.map_register(record(_EID), flags=M)
        (notify,) = self.server.hear(self.etr, message)
        self.assertFalse(notify.r)
        self.assertFalse(self.admits("192.0.2.1"))

    def test_a_site_may_arm_predecessors(self) -> None:
        """require-reliable-transport-bit = false; r is mirrored only where it was sent."""
        self.server = MapServer(sites((site(require_r=False), ANY_IPV4)))
        for flags in (M, R | M):
            message = self.etr.map_register(record(_EID), flags=flags)
            (notify,) = self.server.hear(self.etr, message)
            self.assertEqual(notify.r, bool(flags & R))
            self.assertIsNotNone(self.server.armory.accept(ip("192.0.2.1"), 0.0))

    def test_r_is_not_mirrored_where_limits_forbid_arming(self) -> None:
        """The registration stands."""
        self.server = MapServer(armory_limits=ArmoryLimits(max_tokens=0))
        (notify,) = self.server.hear(self.etr, self.etr.map_register(record(_EID)))
        self.assertFalse(notify.r)
        self.assertIsNotNone(self.server.at(_EID))

    def test_rlocs_arm_only_where_the_site_restricts_them(self) -> None:
        """Else anybody could have anyone admitted."""
        one = record(_EID, locator(_LOOPBACK))
        self.server.hear(self.etr, self.etr.map_register(one))
        self.assertFalse(self.admits(_LOOPBACK))
        self.assertTrue(self.admits("192.0.2.1"))
        self.restrict("0.0.0.0/0", "::/0")
        self.server.hear(self.etr, self.etr.map_register(one))
        self.assertTrue(self.admits(_LOOPBACK))

    def restrict(self, *allowed: str) -> None:
        """Start again with a site that restricts its RLOCs."""
        self.server = MapServer(sites((site(allowed=allowed), ANY_IPV4), (site("v6"), "2001::/16")))

    def test_only_own_plain_unicast_rlocs_arm(self) -> None:
        """L bit set; no LCAF, no multicast, not 0.0.0.0, no MAC, no name."""
        self.restrict("0.0.0.0/0", "::/0", "00:00:00:00:00:00/0")
        message = self.etr.map_register(
            record(
                _EID,
                locator("203.0.113.1"),
                locator("203.0.113.2", local=False),
                locator(lcaf(3, bytes(4) + b"\0\1" + ip("203.0.113.3"))),
                locator("224.0.0.1"),
                locator("0.0.0.0"),
                locator("2001:db8::1"),
                locator("ff02::1"),
                locator("00:00:5e:00:53:01"),
            )
        )
        self.assertEqual(len(self.server.hear(self.etr, message)), 1)
        (token,) = self.server.armory._tokens.values()
        self.assertEqual(token.addresses, (ip("192.0.2.1"), ip("203.0.113.1"), ip("2001:db8::1")))

    def test_rlocs_of_refused_records_arm_nobody(self) -> None:
        """One good record beside a bad one."""
        self.restrict("203.0.113.0/24")
        message = self.etr.map_register(
            record(_EID, locator("203.0.113.1")),
            record("10.2.0.0/16", locator("203.0.113.2"), locator("198.51.100.1")),
        )
        self.server.hear(self.etr, message)
        self.assertTrue(self.admits("203.0.113.1"))
        self.assertFalse(self.admits("203.0.113.2"))

    def test_names_are_answered_and_armed(self) -> None:
        """With the mask length of all their bits; others are no EIDs."""
        strict = site(allowed=("192.0.2.0/24",))
        self.server = MapServer(sites((strict, "name:printer")))
        odd = record(b"\x08" + eid("name:printer")[1:], locator("192.0.2.9"))
        self.assert_silence(self.etr.map_register(odd))
        one = record("name:printer", locator("192.0.2.9"))
        (notify,) = self.server.hear(self.etr, self.etr.map_register(one))
        self.assertEqual(notify.records, one)
        self.assertTrue(self.admits("192.0.2.9"))

    def test_a_withdrawal_arms(self) -> None:
        """It is a record accepted."""
        self.server.hear(self.etr, self.etr.map_register(record(_EID, ttl=0)))
        self.assertTrue(self.admits("192.0.2.1"))

    def test_identity_by_xtr_id(self) -> None:
        """One token, wherever it comes from."""
        self.server.hear(self.etr, self.etr.map_register(record(_EID)))
        self.server.hear(self.etr, self.etr.map_register(record(_EID)), source=_ELSEWHERE)
        self.assertFalse(self.admits("192.0.2.1"))
        self.assertTrue(self.admits("198.51.100.66"))

    def test_identity_by_source_address(self) -> None:
        """Not by port; the same on a dual-stack socket."""
        etr = Etr(xtr_id=None)
        for source in (etr.source, (etr.source[0], 9), (ip("::ffff:192.0.2.1"), 4342)):
            message = etr.map_register(record(_EID))
            self.assertEqual(len(self.server.hear(etr, message, source=source)), 1)
        self.assertEqual(len(self.server.armory._tokens), 1)
        self.assertEqual(len(self.server.registrar._over_udp), 1)

    def test_the_site_is_that_of_the_first_record(self) -> None:
        """Same key in both sites: the second's records are refused."""
        self.server = MapServer(sites((site("office"), ANY_IPV4), (site("shop"), "172.16.0.0/12")))
        one, two = record(_EID), record("172.16.0.0/12")
        (notify,) = self.server.hear(self.etr, self.etr.map_register(two, one))
        self.assertEqual(notify.records, two)
        self.assertEqual(self.server.holder("172.16.0.0/12").xtr.site, "shop")


class ReplayTests(ControlCase):
    """Nonces."""

    def test_same_source_gets_the_same_map_notify_again(self) -> None:
        """Its Map-Notify was lost. Nothing is registered or armed again."""
        message = self.etr.map_register(record(_EID))
        first = self.server.hear(self.etr, message)
        self.server.armory.accept(ip("192.0.2.1"), 0.0)
        self.assertEqual(self.server.hear(self.etr, message, 60.0), first)
        self.assertFalse(self.admits("192.0.2.1", 60.0))
        self.assertEqual(self.server.hear(self.etr, message, 61.0), [])
        self.assertEqual(self.server.control.counters["Map-Registers repeated"], 2)

    def test_a_repeat_does_not_prolong(self) -> None:
        """The registration ends as if it had not come."""
        message = self.etr.map_register(record(_EID))
        self.server.hear(self.etr, message)
        self.server.hear(self.etr, message, 59.0)
        self.server.registrar.expire(182.0)
        self.assertIsNone(self.server.at(_EID))

    def test_from_elsewhere_it_arms_nobody_and_ends_nothing(self) -> None:
        """Nor is it answered."""
        message = self.etr.map_register(record(_EID))
        goodbye = self.etr.map_register(record(_EID, ttl=0))
        self.server.hear(self.etr, message)
        self.server.hear(self.etr, goodbye)
        self.server.hear(self.etr, self.etr.map_register(record(_EID)))
        for replayed in (message, goodbye):
            self.assertEqual(self.server.hear(self.etr, replayed, source=_ELSEWHERE), [])
        self.assertFalse(self.admits("198.51.100.66"))
        self.assertTrue(self.admits("192.0.2.1"))
        self.assertEqual(self.server.holder(_EID).source, "192.0.2.1:4342")

    def test_the_same_without_xtr_id(self) -> None:
        """Where the source address is the identity, somebody else's must not become one."""
        etr = Etr(xtr_id=None)
        message = etr.map_register(record(_EID))
        self.server.hear(etr, message)
        lease = self.server.holder(_EID)
        self.assertEqual(self.server.hear(etr, message, source=_ELSEWHERE), [])
        self.assertFalse(self.admits("198.51.100.66"))
        self.assertIs(self.server.holder(_EID), lease)
        self.assertEqual(len(self.server.hear(etr, message)), 1)

    def test_the_same_where_the_mac_does_not_cover_the_xtr_id(self) -> None:
        """Nor does it help to forge that."""
        message = self.etr.map_register(record(_EID), covers_ids=False)
        self.server.hear(self.etr, message, covers_ids=False)
        for replayed in (message, message[:-24] + bytes(24)):
            self.assertEqual(self.server.hear(self.etr, replayed, source=_ELSEWHERE), [])
        self.assertFalse(self.admits("198.51.100.66"))

    def test_what_is_remembered_of_origins_is_bounded(self) -> None:
        """The oldest goes first."""
        self.patch(nonces, "MAX_ORIGINS", 2)
        etr = Etr(xtr_id=None)
        for _ in range(5):
            self.server.hear(etr, etr.map_register(record(_EID)))
        memory = self.server.control.nonces.memory("office")
        self.assertEqual(len(memory.origins), 2)

    def test_a_stranger_takes_nothing_from_a_live_session(self) -> None:
        """Even when the origin is forgotten: without an xTR-ID it could be anybody's replay."""
        victim = Etr(xtr_id=None)
        captured = victim.map_register(record(_EID))
        self.server.hear(victim, captured)
        peer = self.server.connect("192.0.2.1")
        peer.send(victim.registration(record(_EID)))
        self.server.control.nonces.memory("office").origins.clear()
        self.assertEqual(self.server.hear(victim, captured, source=_ELSEWHERE), [])
        self.assertFalse(self.admits("198.51.100.66"))
        held = self.server.at(_EID)
        assert held is not None
        self.assertTrue(held.lease.is_live)

    def test_a_record_larger_than_a_registration_may_be_is_refused(self) -> None:
        """It would not fit a Mapping Notification either."""
        large = record(_EID, *(locator(f"192.0.2.{n % 256}") for n in range(255)))
        self.assertLess(len(large), 8192)
        huge = record(_EID, *(locator(lcaf(200, bytes(300))) for _ in range(30)))
        (notify,) = self.server.hear(self.etr, self.etr.map_register(huge, record("10.2.0.0/16")))
        self.assertEqual(notify.records, record("10.2.0.0/16"))

    def test_no_authentication_no_origin(self) -> None:
        """Without a MAC nothing tells a repeat from a new message but the nonce."""
        open_door = Secret(0, 0, b"")
        self.server = MapServer(sites((site("office", open_door), ANY_IPV4)))
        etr = Etr(xtr_id=None, key=open_door)
        for source in (etr.source, _ELSEWHERE):
            message = etr.map_register(record(_EID))
            self.assertEqual(len(self.server.hear(etr, message, source=source)), 1)

    def test_a_live_session_is_untouched_by_replays(self) -> None:
        """Registered, and bound."""
        message = self.etr.map_register(record(_EID))
        self.server.hear(self.etr, message)
        peer = self.server.bring_up(self.etr, record(_EID))
        self.server.hear(self.etr, message, source=_ELSEWHERE)
        self.server.hear(self.etr, message)
        self.assertIs(self.server.holder(_EID), peer.session.lease)
        self.assertIsNone(peer.session.close_reason)

    def test_a_forged_nonce_is_not_remembered(self) -> None:
        """Only what is authentic counts: nobody can spoil the true one's."""
        self.server.hear(
            self.etr, self.etr.map_register(record(_EID), nonce=1 << 63, key=OTHER_KEY)
        )
        self.assertEqual(len(self.server.hear(self.etr, self.etr.map_register(record(_EID)))), 1)

    def test_who_counts_up_is_held_to_it(self) -> None:
        """A message caught earlier, never delivered, is worth nothing later."""
        caught = self.etr.map_register(record(_EID, ttl=0))
        for _ in range(17):
            self.server.hear(self.etr, self.etr.map_register(record(_EID)))
        self.assertEqual(self.server.hear(self.etr, caught), [])
        self.assertIsNotNone(self.server.at(_EID))

    def test_strict(self) -> None:
        """From the start."""
        self.server = MapServer(nonce_check=NonceCheck.STRICT)
        for nonce, answers in ((5, 1), (4, 0), (6, 1)):
            message = self.etr.map_register(record(_EID), nonce=nonce)
            self.assertEqual(len(self.server.hear(self.etr, message)), answers)

    def test_off(self) -> None:
        """Every one counts."""
        self.server = MapServer(nonce_check=NonceCheck.OFF)
        message = self.etr.map_register(record(_EID))
        for source in (self.etr.source, _ELSEWHERE):
            self.assertEqual(len(self.server.hear(self.etr, message, source=source)), 1)
        self.assertTrue(self.admits("198.51.100.66"))

    def test_nonces_are_per_key(self) -> None:
        """A new key may start at the beginning."""
        self.server = MapServer(sites((site("office", KEY, SHA1_KEY), ANY_IPV4)))
        for _ in range(20):
            self.server.hear(self.etr, self.etr.map_register(record(_EID)))
        etr = Etr(key=SHA1_KEY)
        self.assertEqual(len(self.server.hear(etr, etr.map_register(record(_EID), nonce=1))), 1)

    def test_a_new_secret_under_the_same_key_id_begins_anew(self) -> None:
        """A key is rotated without a new ID."""
        self.assertEqual((OTHER_KEY.key_id, OTHER_KEY.algorithm_id), (1, 2))
        self.server = MapServer(sites((site("office", KEY, OTHER_KEY), ANY_IPV4)))
        for _ in range(20):
            self.server.hear(self.etr, self.etr.map_register(record(_EID)))
        for key, answers in ((OTHER_KEY, 1), (KEY, 0)):
            message = self.etr.map_register(record(_EID), nonce=1, key=key)
            self.assertEqual(len(self.server.hear(Etr(key=key), message)), answers)

    def test_the_same_secret_under_another_key_id_does_not(self) -> None:
        """Who knows it is the same."""
        renamed = Secret(9, 2, KEY.secret)
        self.server = MapServer(sites((site("office", KEY, renamed), ANY_IPV4)))
        for _ in range(20):
            self.server.hear(self.etr, self.etr.map_register(record(_EID)))
        message = self.etr.map_register(record(_EID), nonce=1, key=renamed)
        self.assertEqual(self.server.hear(Etr(key=renamed), message), [])


class UnaskedTests(ControlCase):
    """What does not begin with a Map-Register; more in test_map_notifies."""

    def test_what_a_map_server_has_no_use_for_is_dropped(self) -> None:
        """Map-Replies and Map-Notifies, RFC 9301 §8.3."""
        for kind in (2, 4, 2):
            self.assertEqual(self.server.hear(self.etr, bytes((kind << 4,)) + bytes(40)), [])
        counters = self.server.control.counters
        self.assertEqual(
            (counters["Map-Replies dropped"], counters["Map-Notifies dropped"]), (2, 1)
        )

    def test_a_map_notify_ack_that_nobody_waits_for(self) -> None:
        """Silence; what can't be read is counted as such."""
        ack = signed(5, 77, record(_EID))
        for data in (ack, ack[:-1], ack[:7]):
            self.assertEqual(self.server.hear(self.etr, data), [])
        self.assertEqual(self.server.control.counters["malformed datagrams"], 2)

    def test_there_is_nothing_to_wait_for(self) -> None:
        """But for an answer that has not been fetched."""
        control = self.server.control
        self.assertIsNone(control.next_timeout())
        control.receive_datagram(self.etr.map_register(record(_EID)), self.etr.source, 0.0)
        self.assertEqual(control.next_timeout(), float("-inf"))
        self.assertEqual(len(control.datagrams_to_send(0.0)), 1)
        self.assertIsNone(control.next_timeout())

    def test_the_newest_path_is_kept_with_the_registration(self) -> None:
        """Where Map-Notifies go, and how they are signed."""
        for port, length in ((5000, 32), (5001, 16)):
            source = (self.etr.source[0], port)
            self.server.hear(
                self.etr, self.etr.map_register(record(_EID), length=length), source=source
            )
            path = self.server.holder(_EID).path
            assert path is not None
            self.assertEqual((path.endpoint, path.length), (source, length))
            self.assertTrue(path.mirrors_ids and path.key.has_same_secret(KEY.key()))

    def test_a_replay_does_not_move_the_path(self) -> None:
        """It would send Map-Notifies to whoever replays."""
        message = self.etr.map_register(record(_EID))
        self.server.hear(self.etr, message)
        self.server.hear(self.etr, message, source=_ELSEWHERE)
        path = self.server.holder(_EID).path
        assert path is not None
        self.assertEqual(path.endpoint, self.etr.source)


class SoftStateTests(ControlCase):
    """Registrations over UDP, end to end."""

    def test_t_bit(self) -> None:
        """One minute instead of three."""
        self.server.hear(self.etr, self.etr.map_register(record(_EID, ttl=1), flags=T))
        self.server.registrar.expire(62.0)
        self.assertIsNone(self.server.at(_EID))

    def test_rotation_of_keys_with_one_key_id(self) -> None:
        """Old and new ETRs are answered, each under its own key."""
        new = Secret(1, 2, b"new")
        self.server = MapServer(sites((site("office", KEY, new), ANY_IPV4)))
        for etr in (Etr(xtr_id=1), Etr(xtr_id=2, key=new)):
            self.assertEqual(len(self.server.hear(etr, etr.map_register(record(_EID)))), 1)

    def test_no_demotion(self) -> None:
        """A Map-Register of an xTR with a live session is answered and changes nothing."""
        peer = self.server.bring_up(self.etr, record(_EID))
        for one in (record(_EID), record(_EID, ttl=5), record(_EID, ttl=0)):
            (notify,) = self.server.hear(self.etr, self.etr.map_register(one, flags=M))
            self.assertEqual(notify.records, one)
        self.assertIs(self.server.holder(_EID), peer.session.lease)
        self.server.registrar.expire(1e6)
        found = self.server.at(_EID)
        assert found is not None
        self.assertEqual(found.record, record(_EID))

    def test_without_sites_nobody_is_heard(self) -> None:
        """An empty configuration."""
        self.server.registrar.reconfigure(Sites())
        self.assert_silence(self.etr.map_register(record(_EID)))
