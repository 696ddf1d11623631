"""The registrar: policy, ownership, clocks (draft A.7: docs/draft.rst)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.mapping import merging, soft_state
from lispmsrt.mapping.database import Lease, Registration, UdpPath, Xtr
from lispmsrt.mapping.merging import parts_of
from lispmsrt.mapping.policy import judge
from lispmsrt.mapping.registrar import REGISTRATION_TIMEOUT, Registrar
from lispmsrt.mapping.runs import Run
from lispmsrt.mapping.sites import Sites
from lispmsrt.mapping.verdicts import End, Identity, Verdict
from lispmsrt.wire.authentication import Coverage
from lispmsrt.wire.errors import WireError
from lispmsrt.wire.map_register import RegisterFlag
from lispmsrt.wire.reliable_transport import encode_registration_ack
from tests.builders import (
    ANY_IPV4,
    KEY,
    MERGE,
    OTHER_KEY,
    SHA1_KEY,
    Etr,
    M,
    MapServer,
    P,
    R,
    Secret,
    T,
    eid,
    lcaf,
    locator,
    record,
    site,
    sites,
    span_of,
)

_ACCEPTED = Verdict.ACCEPTED
_NO_SITE = Verdict.NOT_A_VALID_SITE_EID_PREFIX
_BAD_AUTHENTICATION = Verdict.AUTHENTICATION_FAILURE
_BAD_LOCATORS = Verdict.LOCATOR_SET_NOT_ALLOWED
_EID = "10.1.0.0/16"
_HKDF_KEY = Secret(3, 3, b"derived")


class RegistrarCase(SynchronousTestCase):
    """A registrar, ETRs, and their sessions reduced to leases."""

    def setUp(self) -> None:
        """Two sites."""
        self.office, self.shop = site("office"), site("shop", OTHER_KEY)
        self.server = MapServer(
            sites((self.office, ANY_IPV4), (self.office, ANY_IPV4, 7), (self.shop, "172.16.0.0/12"))
        )
        self.registrar = self.server.registrar

    def session(self, xtr_id: int = 1, site_name: str = "office") -> tuple[Etr, Lease]:
        """Return an ETR and the lease of its session."""
        etr = Etr(xtr_id=xtr_id)
        return etr, Lease(Xtr(site_name, etr.ids, b""), "TCP", "there", is_live=True)

    def register(
        self, etr: Etr, lease: Lease, *records: bytes, flags: int = 0, now: float = 0.0
    ) -> Verdict:
        """Register on a session."""
        message = etr.map_register(*records, flags=flags)
        return self.registrar.register(lease, *span_of(message), now)

    def over_udp(
        self,
        etr: Etr,
        one: bytes,
        *,
        flags: int = 0,
        now: float = 0.0,
        verdict: Verdict = _ACCEPTED,
        path: UdpPath | None = None,
    ) -> None:
        """Register over UDP."""
        data, start, end, register = span_of(etr.map_register(one, flags=flags))
        identity = self.registrar.identify(data, start, end, register)
        assert isinstance(identity, Identity)
        xtr = Xtr(identity.site.name, identity.ids, b"" if identity.ids else etr.source[0])
        found = self.registrar.enter_over_udp(
            xtr, "here", identity.site, data, register[5][0], register[0], now, path
        )
        self.assertIs(found, verdict)

    def ends(self, text: str = _EID) -> float | None:
        """Return when the EID-prefix is gone, found by turning the clock; None if it stays."""
        now = 0.0
        while self.server.at(text) is not None:
            due = self.registrar.next_expiry()
            if due is None:
                return None
            now = max(now, due)
            self.registrar.expire(now)
        return now

    def assert_ends(self, deadline: float, text: str = _EID) -> None:
        """It ends after the deadline, at most a second late."""
        found = self.ends(text)
        assert found is not None, "it never ends"
        self.assertTrue(deadline <= found <= deadline + 1, f"it ends at {found}")

    def assert_consistent(self) -> None:
        """Every registration, or part of one, is held by its lease, and counted."""
        registrations = [
            part for one in self.registrar.database.registrations() for part in parts_of(one)
        ]
        for one in registrations:
            self.assertIn(one, one.lease.held)
        self.assertEqual(self.registrar.count, len(registrations))
        self.assertEqual(set(self.registrar.leases), {one.lease for one in registrations})
        for lease in self.registrar._over_udp.values():
            self.assertTrue(lease.held, "an empty lease is kept")


class EndTests(RegistrarCase):
    """What is told of a change, and what is counted."""

    def why(self) -> list[End | None]:
        """Return why each change so far was one."""
        return [change.why for change in self.server.changes]

    def test_a_change_says_why_a_part_ended(self) -> None:
        """Nothing where one came or changed."""
        etr, lease = self.session()
        self.register(etr, lease, record(_EID))
        self.register(etr, lease, record(_EID, locator("192.0.2.7")))
        self.register(etr, lease, record(_EID, ttl=0))
        self.over_udp(etr, record(_EID))
        self.assert_ends(REGISTRATION_TIMEOUT)
        self.register(etr, lease, record(_EID))
        self.registrar.reconfigure(sites((self.shop, ANY_IPV4)))
        list(self.registrar.reexamine())
        ends = [End.WITHDRAWN, None, End.EXPIRED, None, End.DECONFIGURED]
        self.assertEqual(self.why(), [None, None, *ends])

    def test_what_a_refusal_takes_out_is_refused(self) -> None:
        """The session's ETR counts on nothing."""
        etr, lease = self.session()
        self.register(etr, lease, record(_EID))
        verdict = self.register(Etr(key=OTHER_KEY), lease, record(_EID))
        self.assertIs(verdict, _BAD_AUTHENTICATION)
        self.assertEqual(self.why(), [None, End.REFUSED])
        self.assertEqual(self.registrar.leases, {})

    def test_what_is_accepted_is_counted(self) -> None:
        """Repetitions and withdrawals too, over UDP and on sessions; refusals are not."""
        etr, lease = self.session()
        for one in (record(_EID), record(_EID), record(_EID, ttl=0)):
            self.register(etr, lease, one)
        self.over_udp(etr, record(_EID))
        self.register(etr, lease, record("192.168.0.0/16"))
        self.assertEqual((self.registrar.accepted, self.registrar.rejections.count), (4, 1))


class IdentifyTests(RegistrarCase):
    """Site, key, MAC."""

    def identify(self, message: bytes) -> Identity | Verdict:
        """Ask whose message it is."""
        found = self.registrar.identify(*span_of(message))
        return found if isinstance(found, Identity) else found.verdict

    def configure(self, *keys: Secret) -> None:
        """Give the one site these keys."""
        self.registrar.reconfigure(sites((site("office", *keys), ANY_IPV4)))

    def test_xtr_id_counts_where_the_mac_covers_it(self) -> None:
        """Whole message: identity; RFC range: none."""
        etr = Etr(xtr_id=9, site_id=4)
        found = self.identify(etr.map_register(record(_EID)))
        assert isinstance(found, Identity)
        self.assertEqual((found.site, found.ids), (self.office, etr.ids))
        found = self.identify(etr.map_register(record(_EID), covers_ids=False))
        assert isinstance(found, Identity)
        self.assertEqual(found.ids, b"")

    def test_no_xtr_id(self) -> None:
        """Then there is none to cover."""
        found = self.identify(Etr(xtr_id=None).map_register(record(_EID)))
        assert isinstance(found, Identity)
        self.assertEqual(found.ids, b"")

    def test_forged_xtr_id_is_found_out(self) -> None:
        """Its last octet changed on the way."""
        message = Etr().map_register(record(_EID))
        self.assertIs(self.identify(message[:-1] + b"\x09"), _BAD_AUTHENTICATION)

    def test_every_octet_counts(self) -> None:
        """A bit flipped anywhere is no longer authentic, or not readable, or for no site."""
        message = Etr().map_register(record(_EID))
        for at in range(4, len(message)):
            flipped = message[:at] + bytes((message[at] ^ 1,)) + message[at + 1 :]
            try:
                found = self.identify(flipped)
            except WireError:
                continue
            self.assertIsInstance(found, Verdict, f"octet {at}")

    def test_wrong_secret_key_id_and_algorithm(self) -> None:
        """All the same to the outside."""
        etr = Etr()
        for key in (
            OTHER_KEY,
            Secret(9, 2, KEY.secret),
            Secret(1, 1, KEY.secret),
            Secret(1, 0, b""),
        ):
            message = etr.map_register(record(_EID), key=key)
            self.assertIs(self.identify(message), _BAD_AUTHENTICATION)

    def test_another_sites_key_does_not_help(self) -> None:
        """The EID-prefix decides which keys are tried."""
        message = Etr(key=OTHER_KEY).map_register(record(_EID))
        self.assertIs(self.identify(message), _BAD_AUTHENTICATION)

    def test_two_keys_with_one_key_id(self) -> None:
        """Rotation: old and new are both good."""
        old, new = Secret(1, 2, b"old"), Secret(1, 2, b"new")
        self.configure(old, new)
        for key in (old, new):
            found = self.identify(Etr(key=key).map_register(record(_EID)))
            assert isinstance(found, Identity)
            self.assertTrue(found.key.has_same_secret(key.key()))

    def test_keys_of_several_ids_and_algorithms(self) -> None:
        """HMAC-SHA-1, HMAC-SHA-256, and derived keys."""
        self.configure(KEY, SHA1_KEY, _HKDF_KEY)
        for key in (KEY, SHA1_KEY, _HKDF_KEY):
            self.assertIsInstance(self.identify(Etr(key=key).map_register(record(_EID))), Identity)

    def test_truncated_macs(self) -> None:
        """12 or 20 octets of SHA-1, 16 or 32 of SHA-256, nothing else."""
        self.configure(KEY, SHA1_KEY)
        for key, length, good in (
            (KEY, 16, True),
            (SHA1_KEY, 12, True),
            (KEY, 12, False),
            (KEY, 31, False),
            (SHA1_KEY, 16, False),
            (SHA1_KEY, 0, False),
        ):
            found = self.identify(Etr(key=key).map_register(record(_EID), length=length))
            self.assertEqual(isinstance(found, Identity), good, (key, length))

    def test_unknown_prefixes_and_kinds_of_eid(self) -> None:
        """No site: reason 1. An LCAF that can't be looked up: reason 4."""
        for text in ("192.0.2.0/24", "0.0.0.0/0", "2001:db8::/32", "name:printer"):
            self.assertIs(self.identify(Etr().map_register(record(text))), _NO_SITE)
        strange = b"\x00" + lcaf(200, b"x")
        self.assertIs(self.identify(Etr().map_register(record(strange))), Verdict.OTHER)


class SessionTests(RegistrarCase):
    """Registrations of live sessions."""

    def test_no_clock_while_the_session_lives(self) -> None:
        """Whatever T says."""
        etr, lease = self.session()
        for flags in (0, T):
            verdict = self.register(etr, lease, record(_EID, ttl=1), flags=flags)
            self.assertIs(verdict, _ACCEPTED)
            self.registrar.expire(1e6)
            self.assertIs(self.server.holder(_EID), lease)
        self.assertIsNone(self.ends())

    def test_another_xtr_or_site_is_refused_and_changes_nothing(self) -> None:
        """Reason 4; the bound xTR's registration stays."""
        etr, lease = self.session(1)
        self.register(etr, lease, record(_EID))
        other = Etr(xtr_id=2)
        self.assertIs(self.register(other, lease, record(_EID, ttl=0)), Verdict.OTHER)
        self.assertIs(self.register(other, lease, record("10.2.0.0/16")), Verdict.OTHER)
        shop = Etr(xtr_id=1, key=OTHER_KEY)
        self.assertIs(self.register(shop, lease, record("172.16.0.0/12")), Verdict.OTHER)
        anonymous = Etr(xtr_id=None)
        self.assertIs(self.register(anonymous, lease, record(_EID, ttl=0)), Verdict.OTHER)
        self.assertIs(self.server.holder(_EID), lease)
        self.assertEqual(len(self.registrar.database), 1)

    def test_ttl_0_withdraws_ones_own(self) -> None:
        """And is accepted when there is nothing to withdraw."""
        etr, lease = self.session()
        self.register(etr, lease, record(_EID))
        for _ in range(2):
            self.assertIs(self.register(etr, lease, record(_EID, ttl=0)), _ACCEPTED)
            self.assertIsNone(self.server.at(_EID))
        self.assertEqual(self.registrar.counters["withdrawn"], 1)
        self.assert_consistent()

    def test_ttl_0_leaves_other_xtrs_registrations(self) -> None:
        """Same site, same EID-prefix."""
        mine, lease = self.session(1)
        self.register(mine, lease, record(_EID))
        other, others_lease = self.session(2)
        self.assertIs(self.register(other, others_lease, record(_EID, ttl=0)), _ACCEPTED)
        self.assertIs(self.server.holder(_EID), lease)

    def test_ttl_0_is_exact(self) -> None:
        """More specific ones stay."""
        etr, lease = self.session()
        self.register(etr, lease, record("10.1.2.0/24"))
        self.register(etr, lease, record(_EID, ttl=0))
        self.assertIsNotNone(self.server.at("10.1.2.0/24"))

    def test_newest_replaces_and_the_replaced_does_not_come_back(self) -> None:
        """Without merge."""
        first, first_lease = self.session(1)
        second, second_lease = self.session(2)
        self.register(first, first_lease, record(_EID))
        self.register(second, second_lease, record(_EID))
        self.assertIs(self.server.holder(_EID), second_lease)
        self.register(second, second_lease, record(_EID, ttl=0))
        self.assertIsNone(self.server.at(_EID))
        self.assertEqual(first_lease.held, {})
        self.assert_consistent()

    def test_an_equal_record_is_no_change(self) -> None:
        """The old object stays; a changed flag or locator makes a new one."""
        etr, lease = self.session()
        for flags, one, changes in (
            (P, record(_EID), 1),
            (P, record(_EID), 1),
            (P | M, record(_EID), 2),
            (P | M | R, record(_EID), 2),
            (P | M, record(_EID, locator("192.0.2.2")), 3),
            (P | M, record(_EID, locator("192.0.2.2"), ttl=5), 4),
        ):
            self.register(etr, lease, one, flags=flags)
            self.assertEqual(len(self.server.changes), changes)
        last = self.server.changes[-1]
        self.assertIs(last.after, self.server.at(_EID))
        self.assertIs(last.before, self.server.changes[-2].after)

    def test_instance_0_in_an_lcaf_is_the_plain_family(self) -> None:
        """Other instances are not."""
        etr, lease = self.session()
        self.register(etr, lease, record(_EID))
        self.register(etr, lease, record(_EID, instance_id=0, ttl=9))
        self.register(etr, lease, record(_EID, instance_id=7))
        self.assertEqual(len(self.registrar.database), 2)
        self.register(etr, lease, record(_EID, instance_id=0, ttl=0))
        self.assertIsNone(self.server.at(_EID))
        self.assertIsNotNone(self.server.at(_EID, 7))

    def test_host_bits_do_not_make_another_prefix(self) -> None:
        """RFC 9301 §5.4: beyond the mask nothing counts."""
        etr, lease = self.session()
        self.register(etr, lease, record("10.1.9.9/16"))
        self.assertIs(self.server.holder(_EID), lease)

    def test_a_refusal_takes_out_what_the_session_had_there(self) -> None:
        """Its ETR counts on nothing after a Rejection."""
        etr, lease = self.session()
        strict = site("office", allowed=("192.0.2.0/24",))
        self.registrar.reconfigure(sites((strict, ANY_IPV4)))
        for bad, reason in (
            (etr.map_register(record(_EID, locator("198.51.100.1"))), _BAD_LOCATORS),
            (etr.map_register(record(_EID), key=OTHER_KEY), _BAD_AUTHENTICATION),
        ):
            self.assertIs(self.register(etr, lease, record(_EID)), _ACCEPTED)
            self.assertIs(self.registrar.register(lease, *span_of(bad), 0.0), reason)
            self.assertIsNone(self.server.at(_EID))
            self.assert_consistent()

    def test_a_refusal_takes_out_nothing_of_others(self) -> None:
        """Neither another session's nor what another xTR registered over UDP."""
        etr, lease = self.session(1)
        self.over_udp(Etr(xtr_id=3), record(_EID))
        other, others_lease = self.session(2)
        self.register(other, others_lease, record("10.2.0.0/16"))
        for text in (_EID, "10.2.0.0/16", "10.3.0.0/16"):
            bad = etr.map_register(record(text), key=OTHER_KEY)
            self.registrar.register(lease, *span_of(bad), 0.0)
        self.assertEqual(len(self.registrar.database), 2)

    def test_allowed_rlocs(self) -> None:
        """Plain and in LCAFs; a withdrawal's are not looked at."""
        strict = site("office", allowed=("192.0.2.0/24",))
        self.registrar.reconfigure(sites((strict, ANY_IPV4)))
        etr, lease = self.session()
        inside = lcaf(1, b"\0\1\xc0\0\2\1")
        outside = lcaf(1, b"\0\1\xc6\x33\x64\1")
        for one, verdict in (
            (record(_EID, locator(inside)), _ACCEPTED),
            (record(_EID, locator(), locator(outside)), _BAD_LOCATORS),
            (record(_EID, locator(lcaf(99, b""))), _BAD_LOCATORS),
            (record(_EID, locator(outside), ttl=0), _ACCEPTED),
        ):
            self.assertIs(self.register(etr, lease, one), verdict)

    def test_a_full_database_refuses_new_ones_only(self) -> None:
        """What is there can be changed and withdrawn."""
        self.server = MapServer(sites((self.office, ANY_IPV4)), max_registrations=1)
        self.registrar = self.server.registrar
        etr, lease = self.session()
        self.assertIs(self.register(etr, lease, record(_EID)), _ACCEPTED)
        self.assertIs(self.register(etr, lease, record("10.2.0.0/16")), Verdict.OTHER)
        self.assertIs(self.register(etr, lease, record(_EID, ttl=5)), _ACCEPTED)
        self.assertIs(self.register(etr, lease, record(_EID, ttl=0)), _ACCEPTED)
        self.assertIs(self.register(etr, lease, record("10.2.0.0/16")), _ACCEPTED)
        self.assertEqual(self.registrar.counters["refused, database full"], 1)


class UdpTests(RegistrarCase):
    """Soft state."""

    def test_three_minutes(self) -> None:
        """RFC 9301 §8.2; each Map-Register starts them anew."""
        etr = Etr()
        self.over_udp(etr, record(_EID), now=0.0)
        self.over_udp(etr, record(_EID), now=100.5)
        self.registrar.expire(200.0)
        self.assertIsNotNone(self.server.at(_EID))
        self.assert_ends(280.5)
        self.assertEqual(self.registrar.counters["expired"], 1)
        self.assert_consistent()

    def test_t_bit(self) -> None:
        """The record TTL is the timeout, shorter or longer; "receiver decides" is 3 minutes."""
        for ttl, lasts in ((1, 60.0), (10, 600.0), (0xFFFFFFFF, 180.0)):
            self.over_udp(Etr(), record(_EID, ttl=ttl), flags=T)
            self.assert_ends(lasts)

    def test_a_longer_time_can_become_shorter(self) -> None:
        """T is dropped, or the TTL falls."""
        self.over_udp(Etr(), record(_EID, ttl=100), flags=T)
        self.over_udp(Etr(), record(_EID, ttl=100), now=1.0)
        self.assert_ends(181.0)
        self.over_udp(Etr(), record(_EID, ttl=100), flags=T)
        self.over_udp(Etr(), record(_EID, ttl=1), flags=T, now=1.0)
        self.assert_ends(61.0)

    def test_ttl_0_withdraws_ones_own_only(self) -> None:
        """By xTR-ID, or by address without one."""
        self.over_udp(Etr(xtr_id=1), record(_EID))
        self.over_udp(Etr(xtr_id=2), record(_EID, ttl=0))
        self.assertIsNotNone(self.server.at(_EID))
        self.over_udp(Etr("198.51.100.9", xtr_id=1), record(_EID, ttl=0))
        self.assertIsNone(self.server.at(_EID))
        self.over_udp(Etr("192.0.2.1", xtr_id=None), record(_EID))
        self.over_udp(Etr("192.0.2.2", xtr_id=None), record(_EID, ttl=0))
        self.assertIsNotNone(self.server.at(_EID))
        self.assert_consistent()

    def test_other_sites_records_are_refused(self) -> None:
        """Judged one by one."""
        message = Etr().map_register(record(_EID), record("172.16.0.0/12"))
        data, _start, _end, register = span_of(message)
        verdicts = [judge(self.registrar.sites, self.office, data, one) for one in register[5]]
        self.assertEqual(verdicts, [_ACCEPTED, _NO_SITE])

    def test_judging_changes_nothing(self) -> None:
        """Locators included; not those of a withdrawal."""
        strict = site("office", allowed=("192.0.2.0/24",))
        self.registrar.reconfigure(sites((strict, ANY_IPV4)))
        bad = locator("198.51.100.1")
        strange = b"\x00" + lcaf(200, b"x")
        message = Etr().map_register(
            record(_EID, bad), record(_EID, bad, ttl=0), record(_EID), record(strange)
        )
        data, _start, _end, register = span_of(message)
        verdicts = [judge(self.registrar.sites, strict, data, one) for one in register[5]]
        self.assertEqual(verdicts, [_BAD_LOCATORS, _ACCEPTED, _ACCEPTED, _NO_SITE])
        self.assertEqual(len(self.registrar.database), 0)
        self.over_udp(Etr(), record(_EID, bad), verdict=_BAD_LOCATORS)

    def test_never_displaces_the_same_xtrs_live_session(self) -> None:
        """Equal, changed or withdrawn: the answer is good, the session's stays as it was."""
        etr, lease = self.session(1)
        self.register(etr, lease, record(_EID), flags=M)
        before = self.server.at(_EID)
        self.over_udp(etr, record(_EID), flags=M)
        self.over_udp(etr, record(_EID, locator("192.0.2.7")))
        self.over_udp(etr, record(_EID, ttl=0))
        self.assertIs(self.server.at(_EID), before)
        self.assertIsNone(self.ends())
        self.assertEqual(self.registrar._over_udp, {})

    def test_another_xtr_over_udp_replaces(self) -> None:
        """The newest wins, session or not."""
        etr, lease = self.session(1)
        self.register(etr, lease, record(_EID))
        self.over_udp(Etr(xtr_id=2), record(_EID))
        self.assertEqual(self.server.holder(_EID).transport, "UDP")
        self.assertEqual(lease.held, {})
        self.assert_ends(180.0)

    def test_session_takes_over_what_came_over_udp(self) -> None:
        """The clock stops; nothing has changed for others."""
        etr, lease = self.session(1)
        self.over_udp(etr, record(_EID))
        self.register(etr, lease, record(_EID), now=5.0)
        self.assertIs(self.server.holder(_EID), lease)
        self.assertEqual(len(self.server.changes), 1)
        self.assertIsNone(self.ends())
        self.assert_consistent()

    def test_a_changed_record_takes_over_too(self) -> None:
        """And leaves no empty lease behind."""
        etr, lease = self.session(1)
        self.over_udp(etr, record(_EID))
        self.register(etr, lease, record(_EID, ttl=9), now=5.0)
        self.assertIs(self.server.holder(_EID), lease)
        self.assert_consistent()

    def test_passing_an_eid_around_leaves_nothing_behind(self) -> None:
        """A key holder that invents xTR-IDs costs one registration, not one more lease each."""
        for xtr_id in range(20):
            self.over_udp(Etr(xtr_id=xtr_id), record(_EID))
        self.assertEqual(len(self.registrar._over_udp), 1)
        self.assert_consistent()

    def test_the_path_is_that_of_the_newest_map_register(self) -> None:
        """For Map-Notifies that nobody asked for; a session has none."""
        paths = [
            UdpPath((etr_source, port), KEY.key(), 32, Coverage.WHOLE_MESSAGE, True)
            for etr_source, port in ((b"\xc0\0\2\1", 4342), (b"\xc0\0\2\2", 4343))
        ]
        for path in paths:
            self.over_udp(Etr(), record(_EID), path=path)
            self.assertIs(self.server.holder(_EID).path, path)
        etr, lease = self.session()
        self.register(etr, lease, record(_EID))
        self.assertIsNone(self.server.holder(_EID).path)


class LossTests(RegistrarCase):
    """After a session."""

    def test_a_large_one_ends_in_portions(self) -> None:
        """So that nobody else waits; and it does end."""
        self.patch(soft_state, "EXPIRY_BATCH", 4)
        etr, lease = self.session()
        for number in range(10):
            self.register(etr, lease, record(f"10.{number}.0.0/16"))
        self.over_udp(Etr(xtr_id=2), record("10.99.0.0/16"))
        self.registrar.lose(lease, 0.0)
        portions = 1
        while self.registrar.expire(181.0):
            portions += 1
        self.assertEqual((len(self.registrar.database), portions > 2), (0, True))
        self.assert_consistent()

    def in_the_wheel(self) -> int:
        """Count what is watched, sessions not counted."""
        buckets = self.registrar._soft_state._wheel._buckets.values()
        return sum(isinstance(one, Registration) for bucket in buckets for one in bucket)

    def test_what_is_no_more_leaves_the_wheel_at_once(self) -> None:
        """Whoever changes one EID-prefix all the time fills no memory with it."""
        one, other = Etr(), Etr("192.0.2.2", xtr_id=2)
        for number in range(40):
            flags = (0, T, MERGE)[number % 3]
            ttl = (1, 1440, 0xFFFFFFFF)[number % 7 % 3]
            now = float(number)
            self.over_udp(
                one, record(_EID, locator(priority=number), ttl=ttl), flags=flags, now=now
            )
            self.over_udp(
                one, record(_EID, locator(priority=number), ttl=ttl), flags=flags, now=now
            )
            self.over_udp(other, record(_EID, locator(priority=number)), flags=flags, now=now)
            self.assertLessEqual(self.in_the_wheel(), 2)
            if number % 4 == 0:
                self.over_udp(other, record(_EID, ttl=0), now=now)
                self.over_udp(one, record(_EID, ttl=0), now=now)
                self.assertEqual(self.in_the_wheel(), 0)
        self.assert_consistent()

    def test_what_was_confirmed_leaves_the_wheel_too(self) -> None:
        """Its deadline has moved, and its place has not."""
        etr = Etr()
        for number in range(20):
            now = 10.0 * number
            one = record(_EID, locator(priority=number))
            for late in (0.0, 3.25, 6.5):
                self.over_udp(etr, one, now=now + late)
            self.assertEqual(self.in_the_wheel(), 1)

    def test_what_a_session_takes_over_leaves_the_wheel(self) -> None:
        """It has no clock there; it gets one when the session is lost and UDP goes on."""
        etr, lease = self.session()
        for number in range(20):
            now = 5.0 * number
            one = record(_EID, locator(priority=number))
            self.over_udp(etr, one, now=now)
            self.assertEqual(self.in_the_wheel(), 1)
            self.register(etr, lease, one, now=now + 1)
            self.assertEqual(self.in_the_wheel(), 0)
            self.registrar.lose(lease, now + 2)
            self.over_udp(etr, one, now=now + 3)
            self.assertEqual(self.in_the_wheel(), 1)
            etr, lease = self.session()

    def test_what_is_replaced_leaves_the_wheel_in_time(self) -> None:
        """Though its record TTL was its timeout, and is years."""
        etr = Etr()
        for number in range(20):
            one = record(_EID, locator(priority=number), ttl=0xFFFFFFF)
            self.over_udp(etr, one, flags=RegisterFlag.USE_TTL, now=float(number))
        self.registrar.expire(300.0)
        self.assertEqual(sum(map(len, self.registrar._soft_state._wheel._buckets.values())), 1)
        self.assertIsNotNone(self.server.at(_EID))

    def test_three_minutes_after_loss(self) -> None:
        """All of them on one clock."""
        etr, lease = self.session()
        self.register(etr, lease, record(_EID))
        self.register(etr, lease, record("10.2.0.0/16"))
        self.registrar.lose(lease, 1000.0)
        self.registrar.expire(1179.9)
        self.assertEqual(len(self.registrar.database), 2)
        found = self.server.at(_EID)
        assert found is not None
        self.assertEqual(found.expires, 1000.0 + REGISTRATION_TIMEOUT)
        self.assert_ends(1180.0)
        self.assertEqual(len(self.registrar.database), 0)

    def test_t_bit_after_loss(self) -> None:
        """The smaller of TTL and 3 minutes, each registration for itself."""
        for ttl, flags, lasts in ((1, T, 60), (1, 0, 180), (10, T, 180), (0xFFFFFFFF, T, 180)):
            etr, lease = self.session()
            self.register(etr, lease, record("10.2.0.0/16", ttl=2), flags=T)
            self.register(etr, lease, record(_EID, ttl=ttl), flags=flags)
            self.registrar.lose(lease, 0.0)
            found = self.server.at(_EID)
            assert found is not None
            self.assertEqual(found.expires, lasts)
            self.assert_ends(lasts)
            self.registrar.expire(1e6)

    def test_t_bit_learnt_over_udp_counts_after_loss(self) -> None:
        """The session only confirmed what UDP had registered."""
        etr, lease = self.session()
        self.over_udp(etr, record(_EID, ttl=1), flags=T)
        self.register(etr, lease, record(_EID, ttl=1), flags=T, now=5.0)
        self.registrar.lose(lease, 10.0)
        self.assert_ends(70.0)

    def test_t_bit_of_a_former_session_counts_after_loss(self) -> None:
        """Likewise for what a session took over from another."""
        etr, lease = self.session()
        self.register(etr, lease, record(_EID, ttl=1), flags=T)
        self.registrar.lose(lease, 0.0)
        _, second = self.session()
        self.register(etr, second, record(_EID, ttl=1), flags=T, now=1.0)
        self.registrar.expire(500.0)
        self.registrar.lose(second, 500.0)
        self.assert_ends(560.0)

    def test_a_session_without_registrations_leaves_nothing(self) -> None:
        """No clock."""
        _etr, lease = self.session()
        self.registrar.lose(lease, 0.0)
        self.assertIsNone(self.registrar.next_expiry())

    def test_confirmation_stops_the_clock(self) -> None:
        """On the new session for good; what is not confirmed ends."""
        etr, lease = self.session()
        self.register(etr, lease, record(_EID))
        self.register(etr, lease, record("10.2.0.0/16"))
        self.registrar.lose(lease, 0.0)
        _, second = self.session()
        self.register(etr, second, record(_EID), now=170.0)
        self.registrar.expire(200.0)
        self.assertIs(self.server.holder(_EID), second)
        self.assertIsNone(self.server.at("10.2.0.0/16"))
        self.assertIsNone(self.ends())
        self.assert_consistent()

    def test_confirmation_over_udp_starts_it_anew(self) -> None:
        """Soft state from then on."""
        etr, lease = self.session()
        self.register(etr, lease, record(_EID))
        self.registrar.lose(lease, 0.0)
        self.over_udp(etr, record(_EID), now=100.0)
        self.assertEqual(self.server.holder(_EID).transport, "UDP")
        self.assert_ends(280.0)

    def test_a_withdrawal_over_udp_ends_what_a_lost_session_left(self) -> None:
        """It is the same xTR's."""
        etr, lease = self.session()
        self.register(etr, lease, record(_EID))
        self.registrar.lose(lease, 0.0)
        self.over_udp(etr, record(_EID, ttl=0), now=1.0)
        self.assertIsNone(self.server.at(_EID))
        self.registrar.expire(1e6)

    def test_what_is_gone_or_confirmed_is_not_ended_again(self) -> None:
        """Stale entries of the wheel: replaced, withdrawn, taken over, moved."""
        etr, lease = self.session()
        for number in range(4):
            self.over_udp(etr, record(f"10.{number}.0.0/16"))
        self.register(etr, lease, record("10.0.0.0/16", ttl=9))
        self.over_udp(etr, record("10.1.0.0/16", ttl=0))
        self.register(etr, lease, record("10.2.0.0/16"))
        self.over_udp(etr, record("10.3.0.0/16"), now=100.0)
        self.registrar.expire(181.0)
        texts = [
            f"10.{number}.0.0/16" for number in range(4) if self.server.at(f"10.{number}.0.0/16")
        ]
        self.assertEqual(texts, ["10.0.0.0/16", "10.2.0.0/16", "10.3.0.0/16"])

    def test_demanded_confirmation(self) -> None:
        """The session goes on under a new lease; what it does not confirm in time ends."""
        etr, lease = self.session()
        self.register(etr, lease, record(_EID))
        self.register(etr, lease, record("10.2.0.0/16"))
        renewed = self.registrar.renew(lease, 0.0)
        self.assertTrue(renewed.is_live)
        self.register(etr, renewed, record(_EID), now=100.0)
        self.registrar.expire(179.0)
        self.assertEqual(len(self.registrar.database), 2)
        self.registrar.expire(181.0)
        self.assertIs(self.server.holder(_EID), renewed)
        self.assertIsNone(self.server.at("10.2.0.0/16"))
        self.assertIsNone(self.ends())

    def test_a_refusal_after_demanded_confirmation_takes_it_out(self) -> None:
        """Its key is no longer good, and its ETR was told: so nobody else must be misled."""
        etr, lease = self.session()
        self.register(etr, lease, record(_EID))
        renewed = self.registrar.renew(lease, 0.0)
        bad = etr.map_register(record(_EID), key=OTHER_KEY)
        self.assertIs(self.registrar.register(renewed, *span_of(bad), 1.0), _BAD_AUTHENTICATION)
        self.assertIsNone(self.server.at(_EID))


class MergeTests(RegistrarCase):
    """Several xTRs with the a bit (RFC 9301 §5.6)."""

    def setUp(self) -> None:
        """Two sessions, and the records of three xTRs."""
        super().setUp()
        (self.etr_a, self.a), (self.etr_b, self.b) = self.session(1), self.session(2)
        self.etr_c = Etr(xtr_id=3)

    def one(self, *numbers: int, ttl: int = 1440) -> bytes:
        """Return a record with these RLOCs."""
        return record(_EID, *(locator(f"192.0.2.{number}") for number in numbers), ttl=ttl)

    def merge(self, number: int, *rlocs: int, flags: int = 0, now: float = 0.0) -> Verdict:
        """Register with the a bit on session 1 or 2."""
        etr, lease = ((self.etr_a, self.a), (self.etr_b, self.b))[number - 1]
        return self.register(etr, lease, self.one(*rlocs), flags=flags | MERGE, now=now)

    def assert_merged(self, *numbers: int) -> None:
        """These RLOCs are registered, and all agrees."""
        found = self.server.at(_EID)
        record_now = found.record if found is not None else None
        self.assertEqual(record_now, self.one(*numbers) if numbers else None)
        key = 1 << 16 | 0x0A01
        self.assertEqual(self.registrar.registered_record(0, 1, key), record_now)
        if self.server.changes:
            self.assertIs(self.server.changes[-1].after, found)
        self.assert_consistent()

    def test_sessions_and_udp(self) -> None:
        """All of them; each has its part withdrawn alone."""
        self.merge(1, 1)
        self.merge(2, 2)
        self.assert_merged(1, 2)
        self.over_udp(self.etr_c, self.one(3), flags=MERGE)
        self.assert_merged(1, 2, 3)
        self.assertEqual(self.server.holder(_EID).transport, "UDP")
        self.assertEqual((len(self.registrar.database), self.registrar.count), (1, 3))
        self.register(self.etr_a, self.a, record(_EID, ttl=0))
        self.assert_merged(2, 3)
        self.assertIs(self.server.changes[-1].by, self.a)
        self.over_udp(self.etr_c, record(_EID, ttl=0))
        self.assert_merged(2)
        self.assertEqual(self.server.at(_EID), next(iter(self.b.held)))
        self.register(self.etr_b, self.b, record(_EID, ttl=0))
        self.assert_merged()
        self.assertEqual(self.registrar.counters["withdrawn"], 3)

    def test_one_without_the_bit_replaces_all(self) -> None:
        """And is replaced by the next one, with it or not."""
        self.merge(1, 1)
        self.merge(2, 2)
        self.over_udp(self.etr_c, self.one(3))
        self.assert_merged(3)
        self.assertEqual((self.a.held, self.b.held), ({}, {}))
        self.merge(1, 1)
        self.assert_merged(1)
        self.assertEqual(self.registrar._over_udp, {})

    def test_the_same_xtr_drops_and_takes_up_the_bit(self) -> None:
        """Dropping it ends all other parts."""
        self.merge(1, 1)
        self.merge(2, 2)
        self.register(self.etr_a, self.a, self.one(1))
        self.assert_merged(1)
        self.merge(1, 1)
        self.assert_merged(1)
        self.merge(2, 2)
        self.assert_merged(1, 2)

    def test_ones_own_part_is_replaced(self) -> None:
        """On the session, and by the session what came over UDP."""
        self.over_udp(self.etr_a, self.one(1), flags=MERGE)
        self.merge(2, 2)
        self.merge(1, 7)
        self.assert_merged(2, 7)
        self.assertEqual(self.registrar._over_udp, {})
        self.assertIsNone(self.ends())

    def test_an_equal_part_is_no_change(self) -> None:
        """On a session and over UDP."""
        self.merge(1, 1)
        self.merge(2, 2)
        self.over_udp(self.etr_c, self.one(3), flags=MERGE)
        count = len(self.server.changes)
        self.merge(1, 1)
        self.over_udp(self.etr_c, self.one(3), flags=MERGE, now=100.0)
        self.assertEqual(len(self.server.changes), count)
        self.registrar.expire(200.0)
        self.assert_merged(1, 2, 3)

    def test_a_part_that_looks_like_the_whole_is_no_confirmation(self) -> None:
        """A run of like Registrations must not take the one for the other."""
        like = record("10.2.0.0/16", locator("192.0.2.1"), locator("192.0.2.2"))
        self.register(self.etr_b, self.b, like, flags=MERGE)
        self.merge(1, 1)
        self.merge(2, 2)
        message = self.etr_b.map_register(self.one(1, 2), flags=MERGE)
        run = Run(self.b, message, [(17, 1, 0, len(message))], 0, 0.0, 1)
        self.assertEqual(self.registrar.register_run(run), (0, b""))
        self.merge(2, 1, 2)
        self.register(self.etr_a, self.a, record(_EID, ttl=0))
        self.assert_merged(1, 2)

    def test_a_lost_session_loses_its_part_in_time(self) -> None:
        """The others stay; confirmation over UDP keeps it."""
        self.merge(1, 1)
        self.merge(2, 2)
        self.registrar.lose(self.a, 0.0)
        self.registrar.expire(179.0)
        self.assert_merged(1, 2)
        found = self.server.at(_EID)
        assert found is not None
        self.assertIsNone(found.expires)
        self.over_udp(self.etr_a, self.one(1), flags=MERGE, now=179.0)
        self.registrar.expire(182.0)
        self.assert_merged(1, 2)
        self.registrar.expire(361.0)
        self.assert_merged(2)
        self.assertEqual(self.registrar.counters["expired"], 1)
        self.assertIsNone(self.server.changes[-1].by)

    def test_soft_state_ends_part_by_part(self) -> None:
        """The T bit is each one's own."""
        self.over_udp(self.etr_a, self.one(1, ttl=1), flags=MERGE | T)
        self.over_udp(self.etr_b, self.one(2), flags=MERGE)
        self.over_udp(self.etr_c, self.one(3), flags=MERGE, now=50.0)
        for now, numbers in ((61.5, (2, 3)), (182.0, (3,)), (232.0, ())):
            self.registrar.expire(now)
            self.assert_merged(*numbers)

    def test_the_lease_is_that_of_the_newest_part(self) -> None:
        """Also when another one of its xTR takes over, or the newest is gone."""
        self.merge(1, 1)
        self.over_udp(self.etr_b, self.one(2), flags=MERGE)
        self.merge(2, 2)
        self.assertIs(self.server.holder(_EID), self.b)
        self.register(self.etr_b, self.b, record(_EID, ttl=0))
        self.assertIs(self.server.holder(_EID), self.a)

    def test_no_demotion_of_a_part(self) -> None:
        """Over UDP the same xTR changes nothing, with the a bit or without."""
        self.merge(1, 1)
        self.merge(2, 2)
        for one, flags in ((self.one(7), MERGE), (self.one(1), 0), (self.one(7, ttl=0), MERGE)):
            self.over_udp(self.etr_a, one, flags=flags)
            self.assert_merged(1, 2)
        self.assertEqual(self.registrar._over_udp, {})

    def test_who_has_no_id_joins_no_live_session_over_udp(self) -> None:
        """Its Map-Registers could be another's. Among soft state it may."""
        anonymous = Etr(xtr_id=None)
        self.merge(1, 1)
        self.over_udp(self.etr_c, self.one(3), flags=MERGE)
        self.over_udp(anonymous, self.one(9), flags=MERGE, verdict=Verdict.OTHER)
        self.assert_merged(1, 3)
        self.register(self.etr_a, self.a, record(_EID, ttl=0))
        self.over_udp(anonymous, self.one(9), flags=MERGE)
        self.assert_merged(3, 9)
        self.merge(1, 1)
        self.over_udp(anonymous, self.one(9), flags=MERGE, now=1.0)
        self.over_udp(anonymous, self.one(8), flags=MERGE, verdict=Verdict.OTHER)
        self.assert_merged(1, 3, 9)
        self.over_udp(anonymous, self.one(9, ttl=0))
        self.assert_merged(1, 3)

    def test_a_refusal_takes_out_ones_own_part(self) -> None:
        """The other one stays."""
        self.merge(1, 1)
        self.merge(2, 2)
        bad = self.etr_a.map_register(self.one(1), key=OTHER_KEY)
        self.assertIs(self.registrar.register(self.a, *span_of(bad), 0.0), _BAD_AUTHENTICATION)
        self.assert_merged(2)

    def test_what_cannot_be_merged_is_refused_and_harms_nobody(self) -> None:
        """Too many xTRs: reason 4; nothing of it stays."""
        self.patch(merging, "MAX_PARTS", 2)
        self.merge(1, 1)
        self.merge(2, 2)
        self.over_udp(self.etr_c, self.one(3), flags=MERGE, verdict=Verdict.OTHER)
        etr, lease = self.session(4)
        verdict = self.register(etr, lease, self.one(4), flags=MERGE)
        self.assertIs(verdict, Verdict.OTHER)
        self.assert_merged(1, 2)
        self.assertEqual(self.registrar.counters["refused, too many to merge"], 2)
        self.assertEqual((lease.held, self.registrar._over_udp), ({}, {}))

    def test_a_part_that_has_become_too_large_is_gone(self) -> None:
        """On a session its ETR is told so; over UDP the one before lasts its time."""
        self.patch(merging, "MAX_LOCATORS", 3)
        self.merge(1, 1)
        self.merge(2, 2)
        self.assertIs(self.merge(2, 2, 3, 4), Verdict.OTHER)
        self.assert_merged(1)
        self.over_udp(self.etr_c, self.one(3), flags=MERGE)
        self.over_udp(self.etr_c, self.one(3, 4, 5), flags=MERGE, verdict=Verdict.OTHER)
        self.assert_merged(1, 3)

    def test_parts_count_against_the_limit(self) -> None:
        """What replaces others frees their room."""
        self.server = MapServer(sites((self.office, ANY_IPV4)), max_registrations=2)
        self.registrar = self.server.registrar
        self.merge(1, 1)
        self.merge(2, 2)
        self.over_udp(self.etr_c, self.one(3), flags=MERGE, verdict=Verdict.OTHER)
        self.assertEqual(self.registrar.counters["refused, database full"], 1)
        self.over_udp(self.etr_c, self.one(3))
        self.assert_merged(3)
        self.assertEqual(self.registrar.count, 1)

    def test_another_configuration_takes_parts(self) -> None:
        """Those whose RLOCs are not allowed now."""
        self.merge(1, 1)
        self.merge(2, 200)
        self.over_udp(self.etr_c, self.one(201), flags=MERGE)
        strict = site("office", allowed=("192.0.2.0/25",))
        self.registrar.reconfigure(sites((strict, ANY_IPV4)))
        (withdrawals,) = self.registrar.reexamine()
        found = [(one.lease.transport, one.record, one.reason) for one in withdrawals]
        self.assertEqual(
            found,
            [("TCP", self.one(200), _BAD_LOCATORS), ("UDP", self.one(201), _BAD_LOCATORS)],
        )
        self.assert_merged(1)

    def test_another_site_takes_all(self) -> None:
        """Whoever it registers for then merges with nobody's of before."""
        self.merge(1, 1)
        self.merge(2, 2)
        self.registrar.reconfigure(sites((self.shop, ANY_IPV4)))
        etr = Etr(xtr_id=5, key=OTHER_KEY)
        self.over_udp(etr, self.one(5), flags=MERGE)
        self.assert_merged(5)

    def test_many_that_merge_end_in_smaller_portions(self) -> None:
        """Each costs more."""
        self.patch(soft_state, "EXPIRY_BATCH", 20)
        for number in range(6):
            for xtr_id in (1, 2, 3):
                one = record(f"10.{number}.0.0/16", locator(f"192.0.2.{xtr_id}"))
                self.over_udp(Etr(xtr_id=xtr_id), one, flags=MERGE)
        portions, left = 1, 18
        while self.registrar.expire(181.5):
            portions += 1
            self.assert_consistent()
            self.assertLess(self.registrar.count, left)
            left = self.registrar.count
        self.assertEqual((len(self.registrar.database), self.registrar.count), (0, 0))
        self.assertGreater(portions, 3)

    def test_an_eid_that_nobody_registered(self) -> None:
        """Has no record to acknowledge."""
        self.assertIsNone(self.registrar.registered_record(0, 1, 1 << 16 | 0x0A01))


class ReconfigureTests(RegistrarCase):
    """A changed configuration."""

    def reexamine(self, batch: int = 1000) -> list[tuple[str, Verdict]]:
        """Run it to its end."""
        return [
            (withdrawal.lease.transport, withdrawal.reason)
            for some in self.registrar.reexamine(batch)
            for withdrawal in some
        ]

    def setUp(self) -> None:
        """Three registrations of a session and one over UDP."""
        super().setUp()
        etr, self.lease = self.session()
        for text in (_EID, "10.2.0.0/16", "10.3.0.0/16"):
            self.register(etr, self.lease, record(text))
        self.over_udp(etr, record("10.4.0.0/16"))

    def test_nothing_changed(self) -> None:
        """Nothing happens."""
        self.registrar.reconfigure(sites((site(), ANY_IPV4)))
        self.assertEqual(self.reexamine(), [])
        self.assertEqual(len(self.registrar.database), 4)

    def test_removed_prefix(self) -> None:
        """Reason 1, in batches, whichever way it was registered."""
        self.registrar.reconfigure(sites((site(), _EID)))
        self.assertEqual(
            self.reexamine(2), [("TCP", _NO_SITE), ("TCP", _NO_SITE), ("UDP", _NO_SITE)]
        )
        self.assertEqual(len(self.registrar.database), 1)
        self.assertEqual(self.registrar.counters["withdrawn by configuration"], 3)
        self.assertIsNone(self.server.changes[-1].after)
        self.assert_consistent()

    def test_prefix_given_to_another_site(self) -> None:
        """Likewise."""
        self.registrar.reconfigure(sites((site("shop"), ANY_IPV4)))
        self.assertEqual(len(self.reexamine()), 4)

    def test_rlocs_no_longer_allowed(self) -> None:
        """Reason 3."""
        self.registrar.reconfigure(sites((site(allowed=("198.51.100.0/24",)), ANY_IPV4)))
        self.assertEqual({reason for _, reason in self.reexamine()}, {_BAD_LOCATORS})
        self.assertEqual(len(self.registrar.database), 0)

    def test_rlocs_still_allowed(self) -> None:
        """Nothing happens."""
        self.registrar.reconfigure(sites((site(allowed=("192.0.2.0/24",)), ANY_IPV4)))
        self.assertEqual(self.reexamine(), [])

    def test_the_withdrawal_names_the_record(self) -> None:
        """Whoever tells the ETR needs its EID-prefix, in the form that was received."""
        self.registrar.reconfigure(Sites())
        withdrawals = next(iter(self.registrar.reexamine()))
        self.assertEqual(withdrawals[0].record, record(_EID))
        self.assertIs(withdrawals[0].lease, self.lease)

    def test_changes_between_batches(self) -> None:
        """Registrations may go meanwhile."""
        self.registrar.reconfigure(Sites())
        batches = self.registrar.reexamine(1)
        next(batches)
        self.registrar.lose(self.lease, 0.0)
        self.registrar.expire(500.0)
        self.assertEqual(list(batches), [[], [], []])

    def test_new_sites_decide_at_once(self) -> None:
        """Before anything is reexamined."""
        self.registrar.reconfigure(Sites())
        etr, _ = self.session()
        self.assertIs(self.register(etr, self.lease, record(_EID)), _NO_SITE)
        self.assertIsNone(self.server.at(_EID))
        self.assertEqual(self.registrar.sites.prefixes, ())


class RandomTests(RegistrarCase):
    """Sessions, UDP, loss and time in any order."""

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(("session", "udp", "lose", "renew", "expire")),
                st.integers(1, 3),
                st.integers(0, 2),
                st.sampled_from((0, 1, 9)),
                st.sampled_from((0, M, T, MERGE, MERGE | M)),
                st.integers(0, 100),
            ),
            max_size=40,
        )
    )
    def test_nothing_is_lost_or_kept_for_ever(
        self, steps: list[tuple[str, int, int, int, int, int]]
    ) -> None:
        """Counts and leases agree all the time; without live sessions everything ends in time."""
        self.setUp()
        leases = {xtr_id: self.session(xtr_id) for xtr_id in (1, 2, 3)}
        now = 0.0
        for what, xtr_id, number, ttl, flags, wait in steps:
            now += wait
            etr, lease = leases[xtr_id]
            one = record(f"10.{number}.0.0/16", ttl=ttl)
            if what == "session":
                self.assertIs(self.register(etr, lease, one, flags=flags, now=now), _ACCEPTED)
            elif what == "udp":
                self.over_udp(etr, one, flags=flags, now=now)
            elif what == "lose":
                self.registrar.lose(lease, now)
                leases[xtr_id] = self.session(xtr_id)
            elif what == "renew":
                leases[xtr_id] = etr, self.registrar.renew(lease, now)
            else:
                self.registrar.expire(now)
            self.assert_consistent()
        for _, lease in leases.values():
            self.registrar.lose(lease, now)
        self.registrar.expire(now + 9 * 60 + 2)
        self.assertEqual(len(self.registrar.database), 0)
        self.assertEqual(self.registrar._over_udp, {})
        for table in self.registrar.database.tables.values():
            self.assertEqual((table.lengths, table.watching), ({}, {}))


class DefaultsTests(SynchronousTestCase):
    """A registrar without listeners."""

    def test_nobody_need_listen(self) -> None:
        """Changes go nowhere."""
        registrar = Registrar(sites((site(), ANY_IPV4)), timeout=5.0)
        etr = Etr()
        lease = Lease(Xtr("office", etr.ids, b""), "TCP", "there", is_live=True)
        registrar.register(lease, *span_of(etr.map_register(record(_EID))), 0.0)
        registrar.lose(lease, 0.0)
        registrar.expire(6.0)
        self.assertEqual(len(registrar.database), 0)

    def test_nor_to_a_run(self) -> None:
        """Of Registrations that are alike."""
        registrar = Registrar(sites((site(), ANY_IPV4)))
        etr = Etr()
        lease = Lease(Xtr("office", etr.ids, b""), "TCP", "there", is_live=True)
        registrar.register(lease, *span_of(etr.map_register(record(_EID))), 0.0)
        message = etr.map_register(record("10.2.0.0/16"))
        run = Run(lease, message, [(17, 1, 0, len(message))], 0, 0.0, 7)
        acks = encode_registration_ack(7, eid("10.2.0.0/16"))
        self.assertEqual(registrar.register_run(run), (1, acks))
        self.assertEqual(len(registrar.database), 2)
