"""Who may connect, and whose session it is then: docs/draft.rst, "Arming", rules 1 to 9."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.control.arming import Armory, ArmoryLimits, Claim, normalised
from lispmsrt.mapping.database import Xtr
from tests.builders import ip

_HERE, _THERE, _LOOPBACK = ip("192.0.2.1"), ip("192.0.2.2"), ip("203.0.113.1")


def _ids(number: int) -> bytes:
    return number.to_bytes(16, "big") + bytes(8)


def _xtr(number: int, site: str = "office") -> Xtr:
    return Xtr(site, _ids(number), b"")


class _Session:
    """What the armory may do to a session."""

    def __init__(self) -> None:
        self.replaced_at: list[float] = []

    def replaced(self, now: float) -> None:
        self.replaced_at.append(now)


class ArmoryCase(SynchronousTestCase):
    """Arm, accept, bind."""

    def setUp(self) -> None:
        """Nobody is armed."""
        self.armory = Armory()

    def arm(self, xtr: Xtr, source: bytes = _HERE, *addresses: bytes, now: float = 0.0) -> bool:
        """Give a token."""
        return self.armory.arm(xtr, source, addresses, now)

    def accept(self, address: bytes = _HERE, now: float = 0.0) -> Claim:
        """Connect."""
        claim = self.armory.accept(address, now)
        assert claim is not None, "refused"
        return claim

    def bind(self, claim: Claim, number: int, now: float = 0.0) -> _Session | None:
        """Register as this xTR on the connection; None is a refusal."""
        session = _Session()
        xtr = self.armory.bind(claim, session, "office", _ids(number), now)
        if xtr is None:
            return None
        self.assertEqual(xtr, _xtr(number))
        return session

    def assert_empty(self) -> None:
        """No token, claim or session is left."""
        armory = self.armory
        for state in (armory._tokens, armory._by_address, armory._per_source):
            self.assertEqual(len(state), 0)
        self.assertEqual((armory._claims, armory._claimed, armory._sessions), ({}, 0, {}))


class TokenTests(ArmoryCase):
    """Rule 2."""

    def test_nobody_is_admitted_unarmed(self) -> None:
        """Neither asked nor tried."""
        self.assertFalse(self.armory.admits(_HERE, 0.0))
        self.assertIsNone(self.armory.accept(_HERE, 0.0))
        self.assertEqual(self.armory.counters["connections refused"], 1)

    def test_a_token_is_good_for_one_connection(self) -> None:
        """Asking does not use it up."""
        self.arm(_xtr(1))
        for _ in range(3):
            self.assertTrue(self.armory.admits(_HERE, 1.0))
        self.accept()
        self.assertFalse(self.armory.admits(_HERE, 1.0))
        self.assertIsNone(self.armory.accept(_HERE, 1.0))

    def test_for_180_seconds(self) -> None:
        """Then nothing is left of it."""
        self.arm(_xtr(1), now=10.0)
        self.assertTrue(self.armory.admits(_HERE, 189.9))
        self.assertFalse(self.armory.admits(_HERE, 190.0))
        self.assertEqual(self.armory.counters["tokens expired"], 1)
        self.assert_empty()

    def test_an_xtr_has_one_token_the_newest(self) -> None:
        """Arming again neither adds nor keeps the old address; it prolongs."""
        self.arm(_xtr(1))
        self.arm(_xtr(1), _THERE, now=100.0)
        self.assertFalse(self.armory.admits(_HERE, 100.0))
        self.assertTrue(self.armory.admits(_THERE, 279.0))
        self.accept(_THERE, 279.0)
        self.assertFalse(self.armory.admits(_THERE, 279.0))

    def test_several_tokens_name_one_address(self) -> None:
        """As many connections."""
        for number in range(3):
            self.arm(_xtr(number))
        for _ in range(3):
            self.accept()
        self.assertIsNone(self.armory.accept(_HERE, 0.0))

    def test_losing_a_session_leaves_a_younger_token_alone(self) -> None:
        """The ETR restarted before its old session was found dead."""
        self.arm(_xtr(1))
        claim = self.accept()
        session = self.bind(claim, 1)
        assert session is not None
        self.arm(_xtr(1), now=50.0)
        self.armory.release(claim, session)
        self.assertTrue(self.armory.admits(_HERE, 60.0))

    def test_a_connection_that_ends_unbound_has_used_its_token(self) -> None:
        """It must authenticate over UDP again."""
        self.arm(_xtr(1))
        self.armory.release(self.accept(), _Session())
        self.assertFalse(self.armory.admits(_HERE, 0.0))
        self.assert_empty()


class AddressTests(ArmoryCase):
    """Rule 3."""

    def test_a_token_covers_source_and_rlocs(self) -> None:
        """Any one of them uses it up for all."""
        self.arm(_xtr(1), _HERE, _LOOPBACK)
        self.assertTrue(self.armory.admits(_HERE, 0.0))
        self.accept(_LOOPBACK)
        self.assertFalse(self.armory.admits(_HERE, 0.0))
        self.assertFalse(self.armory.admits(_LOOPBACK, 0.0))

    def test_at_most_eight_addresses_the_source_among_them(self) -> None:
        """However many RLOCs there are."""
        rlocs = [bytes((198, 51, 100, last)) for last in range(20)]
        self.arm(_xtr(1), _HERE, *rlocs)
        admitted = [one for one in (_HERE, *rlocs) if self.armory.admits(one, 0.0)]
        self.assertEqual(admitted, [_HERE, *rlocs[:7]])

    def test_v4_mapped_addresses_are_normalised(self) -> None:
        """Source, RLOC and peer alike, so that a dual-stack socket makes no difference."""
        mapped = ip("::ffff:192.0.2.1")
        self.assertEqual(normalised(mapped), _HERE)
        self.assertEqual(normalised(ip("2001:db8::1")), ip("2001:db8::1"))
        self.arm(_xtr(1), mapped, ip("::ffff:192.0.2.2"))
        for address in (_HERE, mapped, _THERE):
            self.assertTrue(self.armory.admits(address, 0.0))
        self.armory.release(self.accept(mapped), _Session())
        self.assert_empty()

    def test_trusted_addresses_need_no_token(self) -> None:
        """They are bounded like all others."""
        self.armory = Armory(ArmoryLimits(max_sessions_per_address=2), [ip("::ffff:192.0.2.1")])
        claims = [self.accept(), self.accept()]
        self.assertFalse(self.armory.admits(_HERE, 0.0))
        self.assertIsNotNone(self.bind(claims[0], 1))
        self.assertIsNotNone(self.bind(claims[1], 2))
        self.assertFalse(self.armory.admits(_THERE, 0.0))


class LimitTests(ArmoryCase):
    """Rules 3 and 9."""

    def test_tokens_in_all(self) -> None:
        """Expired ones make room."""
        self.armory = Armory(ArmoryLimits(max_tokens=2))
        self.assertTrue(self.arm(_xtr(1)))
        self.assertTrue(self.arm(_xtr(2), now=10.0))
        self.assertTrue(self.arm(_xtr(2), now=11.0))
        self.assertTrue(self.arm(_xtr(3), now=180.0))
        self.assertEqual(self.armory.counters["tokens displaced"], 0)

    def test_the_site_that_has_most_tokens_pays_when_they_run_out(self) -> None:
        """With its oldest: no key holder uses up everyone's."""
        self.armory = Armory(ArmoryLimits(max_tokens=3))
        others = [Xtr("other", bytes((number,)) * 24, b"") for number in range(3)]
        for xtr in others[:2]:
            self.assertTrue(self.armory.arm(xtr, _THERE, (), 0.0))
        self.assertTrue(self.arm(_xtr(1)))
        self.assertTrue(self.armory.arm(others[2], _THERE, (), 1.0))
        self.assertTrue(self.arm(_xtr(2)))
        self.assertTrue(self.armory.admits(_HERE, 1.0))
        self.assertEqual(self.armory.counters["tokens displaced"], 2)
        self.assertEqual(len([self.armory.accept(_HERE, 1.0) for _ in range(2)]), 2)
        self.assertIsNotNone(self.armory.accept(_THERE, 1.0))
        self.assertIsNone(self.armory.accept(_THERE, 1.0))

    def test_tokens_per_site_and_source(self) -> None:
        """One key holder can't use up everyone's; other sites and sources go on."""
        for number in range(64):
            self.assertTrue(self.arm(_xtr(number)))
        self.assertFalse(self.arm(_xtr(64)))
        self.assertTrue(self.arm(_xtr(63)))
        self.assertTrue(self.arm(_xtr(64), _THERE))
        self.assertTrue(self.arm(_xtr(65, "shop")))
        self.accept()
        self.assertTrue(self.arm(_xtr(66)))

    def test_default_limits(self) -> None:
        """As decided."""
        limits = ArmoryLimits()
        self.assertEqual(
            (limits.token_lifetime, limits.max_tokens, limits.max_tokens_per_source),
            (180.0, 65_536, 64),
        )
        self.assertEqual(limits.max_addresses, 8)

    def test_several_sessions_per_address_up_to_the_limit(self) -> None:
        """A session that ends makes room."""
        self.armory = Armory(ArmoryLimits(max_sessions_per_address=2))
        for number in range(3):
            self.arm(_xtr(number))
        claim = self.accept()
        self.accept()
        self.assertFalse(self.armory.admits(_HERE, 0.0))
        self.assertIsNone(self.armory.accept(_HERE, 0.0))
        session = _Session()
        self.armory.release(claim, session)
        self.armory.release(claim, session)
        self.assertTrue(self.armory.admits(_HERE, 0.0))

    def test_sessions_in_all(self) -> None:
        """Whatever their addresses."""
        self.armory = Armory(ArmoryLimits(max_sessions=1))
        self.arm(_xtr(1))
        self.arm(_xtr(2), _THERE)
        self.accept()
        self.assertFalse(self.armory.admits(_THERE, 0.0))


class BindTests(ArmoryCase):
    """Rules 6 and 9."""

    def test_the_same_xtr_is_replaced_when_it_registers_not_before(self) -> None:
        """Both stand until then."""
        self.arm(_xtr(1))
        first_claim = self.accept()
        first = self.bind(first_claim, 1)
        assert first is not None
        self.arm(_xtr(1), _THERE, now=10.0)
        claim = self.accept(_THERE, 10.0)
        self.assertEqual(first.replaced_at, [])
        second = self.bind(claim, 1, 12.0)
        assert second is not None
        self.assertEqual((first.replaced_at, second.replaced_at), ([12.0], []))
        self.armory.release(first_claim, first)
        self.assertEqual(self.armory._sessions, {_xtr(1): second})
        self.armory.release(claim, second)
        self.assert_empty()

    def test_another_xtr_replaces_nobody(self) -> None:
        """Nor does the same xTR-ID of another site."""
        self.arm(_xtr(1))
        first = self.bind(self.accept(), 1)
        assert first is not None
        self.arm(_xtr(2))
        self.arm(_xtr(1, "shop"))
        self.bind(self.accept(), 2)
        shop = self.armory.bind(self.accept(), _Session(), "shop", _ids(1), 0.0)
        self.assertEqual(shop, _xtr(1, "shop"))
        self.assertEqual(first.replaced_at, [])

    def test_an_unarmed_xtr_is_refused_and_nothing_has_happened(self) -> None:
        """It may know a key, but not that the address is its own; the armed one still binds."""
        self.arm(_xtr(1))
        claim = self.accept()
        self.assertIsNone(self.bind(claim, 2))
        self.assertEqual(self.armory.counters["sessions of unarmed xTRs"], 1)
        self.assertIsNotNone(self.bind(claim, 1))

    def test_an_unarmed_xtr_does_not_replace_its_own_session(self) -> None:
        """The older session stands."""
        self.arm(_xtr(2))
        second = self.bind(self.accept(), 2)
        assert second is not None
        self.arm(_xtr(1))
        self.assertIsNone(self.bind(self.accept(), 2))
        self.assertEqual(second.replaced_at, [])

    def test_tokens_are_swapped_where_an_unused_one_waits(self) -> None:
        """Connected in the other order than armed: each gets its own, also late."""
        self.arm(_xtr(1))
        self.arm(_xtr(2))
        self.assertIsNotNone(self.bind(self.accept(), 2))
        self.assertTrue(self.armory.admits(_HERE, 1.0))
        self.assertIsNotNone(self.bind(self.accept(), 1))
        self.assertFalse(self.armory.admits(_HERE, 1.0))

    def test_tokens_are_swapped_between_connections(self) -> None:
        """Both were accepted before either registered."""
        self.arm(_xtr(1))
        self.arm(_xtr(2))
        one, two = self.accept(), self.accept()
        self.assertIsNotNone(self.bind(one, 2))
        self.assertIsNotNone(self.bind(two, 1))

    def test_a_token_is_not_given_back_beside_a_newer_one(self) -> None:
        """An xTR has one."""
        self.arm(_xtr(1))
        self.arm(_xtr(2))
        claim = self.accept()
        self.arm(_xtr(1), now=5.0)
        self.assertIsNotNone(self.bind(claim, 2, 5.0))
        self.accept(now=184.0)
        self.assertFalse(self.armory.admits(_HERE, 184.0))
        self.assertEqual(len(self.armory._per_source), 0)

    def test_a_token_given_back_keeps_its_time(self) -> None:
        """Although it stands behind younger ones."""
        self.arm(_xtr(1))
        self.arm(_xtr(2), now=100.0)
        self.assertIsNotNone(self.bind(self.accept(now=100.0), 2, 101.0))
        self.arm(_xtr(3), _THERE, now=101.0)
        self.assertTrue(self.armory.admits(_HERE, 179.0))
        self.assertFalse(self.armory.admits(_HERE, 181.0))
        self.assertTrue(self.armory.admits(_THERE, 181.0))

    def test_a_token_out_of_time_is_not_given_back(self) -> None:
        """The connection held it too long."""
        self.arm(_xtr(1))
        claim = self.accept()
        self.arm(_xtr(2), now=170.0)
        self.assertIsNotNone(self.bind(claim, 2, 190.0))
        self.assert_tokens(0)
        self.assertFalse(self.armory.admits(_HERE, 190.0))

    def test_a_token_out_of_time_does_not_help(self) -> None:
        """Neither to bind by."""
        self.arm(_xtr(1))
        self.arm(_xtr(2))
        claim = self.accept()
        self.assertIsNone(self.bind(claim, 2, 200.0))

    def assert_tokens(self, count: int) -> None:
        """So many are left."""
        self.assertEqual(len(self.armory._tokens), count)

    def test_a_trusted_address_binds_any_xtr_and_uses_up_nobodys_token(self) -> None:
        """The token of an xTR behind the same address was taken at the socket."""
        self.armory = Armory(trusted=[_HERE])
        self.arm(_xtr(1))
        self.assertIsNotNone(self.bind(self.accept(), 2))
        self.assert_tokens(1)


class AnonymousTests(ArmoryCase):
    """Rule 1: a session without xTR-ID."""

    def bind_anonymous(self, claim: Claim, now: float = 0.0, site: str = "office") -> Xtr | None:
        """Register without xTR-ID."""
        return self.armory.bind(claim, _Session(), site, b"", now)

    def test_is_known_by_its_udp_source(self) -> None:
        """From which it also connects."""
        xtr = Xtr("office", b"", _HERE)
        self.arm(xtr)
        self.assertEqual(self.bind_anonymous(self.accept()), xtr)

    def test_is_the_same_when_it_connects_from_its_loopback(self) -> None:
        """Field practice: UDP from the interface, TCP from the loopback."""
        xtr = Xtr("office", b"", _HERE)
        self.arm(xtr, _HERE, _LOOPBACK)
        self.assertEqual(self.bind_anonymous(self.accept(_LOOPBACK)), xtr)

    def test_beside_one_that_has_an_xtr_id(self) -> None:
        """Whose token it took: its own is found."""
        xtr = Xtr("office", b"", _HERE)
        self.arm(_xtr(1))
        self.arm(xtr)
        self.assertEqual(self.bind_anonymous(self.accept()), xtr)
        self.assertIsNotNone(self.bind(self.accept(), 1))

    def test_both_connected_before_either_registered(self) -> None:
        """Swapped."""
        xtr = Xtr("office", b"", _HERE)
        self.arm(_xtr(1))
        self.arm(xtr)
        one, two = self.accept(), self.accept()
        self.assertEqual(self.bind_anonymous(one), xtr)
        self.assertIsNotNone(self.bind(two, 1))

    def test_of_another_site_is_refused(self) -> None:
        """The token names the site."""
        self.arm(Xtr("office", b"", _HERE))
        self.assertIsNone(self.bind_anonymous(self.accept(), site="shop"))

    def test_with_an_xtr_id_on_an_anonymous_token_is_refused(self) -> None:
        """Another xTR."""
        self.arm(Xtr("office", b"", _HERE))
        self.assertIsNone(self.bind(self.accept(), 1))

    def test_unarmed_is_refused(self) -> None:
        """Without an own token."""
        self.arm(_xtr(1))
        self.assertIsNone(self.bind_anonymous(self.accept()))

    def test_from_a_trusted_address(self) -> None:
        """By the address that it connects from."""
        self.armory = Armory(trusted=[_HERE])
        self.assertEqual(self.bind_anonymous(self.accept()), Xtr("office", b"", _HERE))

    def test_an_outlived_token_says_nothing(self) -> None:
        """Of who connects from a trusted address."""
        self.armory = Armory(trusted=[_LOOPBACK])
        claim = self.accept(_LOOPBACK)
        self.arm(Xtr("office", b"", _HERE), _HERE, _LOOPBACK)
        self.assertEqual(self.bind_anonymous(claim, 500.0), Xtr("office", b"", _LOOPBACK))
