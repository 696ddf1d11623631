"""Who is a member, gleaned from changes; and who hears of it."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.mapping import family_members, rloc_members
from lispmsrt.mapping.database import Database, EidTable, Lease, Registration, Xtr
from lispmsrt.mapping.family_members import Subscription
from lispmsrt.mapping.merging import MergedRegistration
from lispmsrt.mapping.rloc_members import Enabled, RlocMembers
from lispmsrt.mapping.sites import Sites
from lispmsrt.mapping.verdicts import Change
from lispmsrt.wire.addresses import Address
from lispmsrt.wire.afi import Afi
from lispmsrt.wire.lcaf import (
    AfiList,
    ExplicitPath,
    Hop,
    InstanceId,
    UnknownLcaf,
)
from lispmsrt.wire.map_register import RegisterFlag
from lispmsrt.wire.membership import NackError
from tests.builders import ANY_IPV4, eid, lcaf, locator, record, site, sites

_EID = "10.1.0.0/16"
_V4, _OTHER_V4 = "192.0.2.1", "192.0.2.2"
_V6 = "2001:db8::1"
_MERGE = int(RegisterFlag.MERGE)


def _name(site_id: int, rloc: str) -> bytes:
    return site_id.to_bytes(8, "big") + Address.from_text(rloc).encode()


def _xtr(number: int, site_id: int = 0) -> Xtr:
    return Xtr("office", number.to_bytes(16, "big") + site_id.to_bytes(8, "big"), b"")


class MembersCase(SynchronousTestCase):
    """A table that changes."""

    def setUp(self) -> None:
        self.make()

    def make(self, enabled: Enabled = "all", configured: Sites | None = None) -> None:
        """Start over."""
        self.wakes: list[object] = []
        self.database = Database()
        self.sites = configured or sites((site(), ANY_IPV4), (site(), ANY_IPV4, 7))
        self.members = RlocMembers(enabled, lambda: self.sites)

    def change(
        self,
        after: Registration | None,
        eid_prefix: str = _EID,
        instance_id: int = 0,
        afi: int = Afi.IPV4,
    ) -> Change:
        """Put a registration where another one may be, or take it out; return the change."""
        table = self.database.table(instance_id, afi)
        key = int.from_bytes(eid_prefix.encode()[-3:], "big")
        before = table.entries.get(key)
        if after is not None:
            table.entries[key] = after
        elif before is not None:
            del table.entries[key]
        change = Change(table, 16, key, before, after)
        self.members.changed([change])
        return change

    def registration(
        self, xtr: Xtr, *rlocs: str | bytes, eid_prefix: str | bytes = _EID, flags: int = 0
    ) -> Registration:
        """Return one."""
        locators = tuple(locator(rloc) for rloc in rlocs)
        data = record(eid_prefix, *locators, ttl=1440 if locators else 0)
        return Registration(data, Lease(xtr, "TCP", "", is_live=True), flags, 0.0, None)

    def assert_members(self, *expected: bytes, at: tuple[int, int] = (0, 1)) -> None:
        """Compare, each once."""
        self.assertEqual(sorted(self.members.members(*at)), sorted(expected))

    def subscribe(
        self, xtr: Xtr, is_slow: Callable[[], bool] = lambda: False, at: tuple[int, int] = (0, 1)
    ) -> Subscription:
        """Subscribe, which must be allowed."""
        subscription = self.members.subscribe(*at, xtr, lambda: self.wakes.append(xtr), is_slow)
        assert isinstance(subscription, Subscription)
        return subscription


class GleaningTests(MembersCase):
    """From registrations to members."""

    def test_members_are_counted(self) -> None:
        """Until the last registration with it is gone."""
        one = self.registration(_xtr(1, 42), _V4, _V6)
        self.change(one, "a")
        self.change(self.registration(_xtr(1, 42), _V4), "b")
        self.assert_members(_name(42, _V4), _name(42, _V6))
        self.change(None, "a")
        self.assert_members(_name(42, _V4))
        self.change(None, "b")
        self.assert_members()

    def test_a_member_is_an_rloc_of_a_site_id(self) -> None:
        """Zeros where the xTR has told none; several xTRs of one Site-ID are one."""
        self.change(self.registration(_xtr(1, 42), _V4), "a")
        self.change(self.registration(_xtr(2, 42), _V4), "b")
        self.change(self.registration(_xtr(3, 43), _V4), "c")
        self.change(self.registration(Xtr("office", b"", b"\xc0\0\2\1"), _V4), "d")
        self.assert_members(_name(42, _V4), _name(43, _V4), _name(0, _V4))
        self.change(None, "a")
        self.assert_members(_name(42, _V4), _name(43, _V4), _name(0, _V4))

    def test_families_and_instances_are_apart(self) -> None:
        """Granularity is one EID family of one instance."""
        self.change(self.registration(_xtr(1), _V4))
        self.change(self.registration(_xtr(1), _V6), instance_id=7)
        self.change(self.registration(_xtr(1), _OTHER_V4, eid_prefix="2001:db8::/32"), afi=Afi.IPV6)
        self.assert_members(_name(0, _V4))
        self.assert_members(_name(0, _V6), at=(7, 1))
        self.assert_members(_name(0, _OTHER_V4), at=(0, 2))
        self.assert_members(at=(99, 1))

    def test_only_what_is_enabled_is_gleaned(self) -> None:
        """The rest costs nothing."""
        self.make(frozenset({(7, 1)}))
        self.change(self.registration(_xtr(1), _V4))
        self.change(self.registration(_xtr(1), _V4), instance_id=7)
        self.assert_members()
        self.assert_members(_name(0, _V4), at=(7, 1))

    def test_every_form_of_eid(self) -> None:
        """The RLOCs begin behind it."""
        forms = (
            (_EID, Afi.IPV4),
            (eid(_EID, 0), Afi.IPV4),
            (eid(_EID, 7), Afi.IPV4),
            ("2001:db8::/32", Afi.IPV6),
            (eid("2001:db8::/32", 7), Afi.IPV6),
            ("02:00:00:00:00:01", Afi.MAC),
            ("name:printer", Afi.NAME),
            (eid("name:printer", 7), Afi.NAME),
        )
        for form, afi in forms:
            self.make()
            self.change(self.registration(_xtr(1), _V4, eid_prefix=form), afi=afi)
            self.assert_members(_name(0, _V4), at=(0, afi))

    def test_what_no_packet_comes_from_is_no_member(self) -> None:
        """Unspecified, multicast, broadcast, none, a MAC, a name."""
        useless = (
            "0.0.0.0",
            "224.0.0.1",
            "239.255.255.255",
            "255.255.255.255",
            "::",
            "ff02::1",
            b"\0\0",
            "02:00:00:00:00:01",
            "name:rtr",
        )
        for rlocs in (useless, (*useless, _V4)):
            self.change(self.registration(_xtr(1), *rlocs))
        self.assert_members(_name(0, _V4))
        for number, rloc in enumerate(("1.0.0.0", "223.255.255.255", "240.0.0.1", "::1")):
            self.change(self.registration(_xtr(1, number), rloc))
            self.assert_members(_name(number, rloc))

    def test_the_addresses_in_an_lcaf_are_members(self) -> None:
        """As far as packets can come from them; behind it the set goes on."""
        v4, v6 = Address.from_text(_V4), Address.from_text(_V6)
        path = ExplicitPath((Hop(v4), Hop(v6)))
        both = AfiList((v4, Address.from_text("name:x")))
        for inside, expected in (
            (path.encode(), [_V4, _V6]),
            (both.encode(), [_V4]),
            (InstanceId(5, v6).encode(), [_V6]),
            (UnknownLcaf(200, b"??").encode(), []),
            (lcaf(1, b"\0"), []),
        ):
            self.change(self.registration(_xtr(1), inside, _OTHER_V4))
            self.assert_members(_name(0, _OTHER_V4), *(_name(0, rloc) for rloc in expected))

    def test_a_name_that_is_too_long_hides_what_follows(self) -> None:
        """It costs its xTR, nobody else."""
        self.change(self.registration(_xtr(1), _V4, f"name:{300 * 'x'}", _V6))
        self.assert_members(_name(0, _V4))

    def test_an_rloc_that_stands_twice_counts_once(self) -> None:
        """And goes once."""
        self.change(self.registration(_xtr(1), _V4, _V4))
        self.assert_members(_name(0, _V4))
        self.change(None)
        self.assert_members()

    def test_each_part_of_a_merged_registration_counts(self) -> None:
        """With the Site-ID of its own xTR."""
        a, b, c = (
            self.registration(_xtr(number, number), f"192.0.2.{number}", flags=_MERGE)
            for number in (1, 2, 3)
        )
        parts = {part.lease.xtr: part for part in (a, b, c)}
        self.change(a)
        self.change(MergedRegistration({a.lease.xtr: a, b.lease.xtr: b}))
        self.change(MergedRegistration(parts))
        self.assert_members(*(_name(number, f"192.0.2.{number}") for number in (1, 2, 3)))
        self.change(MergedRegistration({b.lease.xtr: b, c.lease.xtr: c}))
        self.change(c)
        self.assert_members(_name(3, "192.0.2.3"))

    def test_locator_sets_are_read_once_and_a_bounded_number_is_remembered(self) -> None:
        """Large ones are not; what is forgotten is read again."""
        self.patch(rloc_members, "_KNOWN_LOCATORS", 4)
        large = [f"198.51.100.{number}" for number in range(30)]
        self.change(self.registration(_xtr(1), *large), "large")
        self.assertEqual(len(self.members._names), 0)
        for number in range(10):
            self.change(self.registration(_xtr(1), f"192.0.2.{number}"), str(number))
            self.assertLessEqual(len(self.members._names), 4)
        for number in range(10):
            self.change(None, str(number))
        self.change(None, "large")
        self.assert_members()


class SubscriptionTests(MembersCase):
    """Who hears what, at the level of names."""

    def setUp(self) -> None:
        """Somebody is registered."""
        super().setUp()
        self.xtr = _xtr(1)
        self.change(self.registration(self.xtr, _V4), "its own")

    def look_early(self, max_gone: int = 50) -> None:
        """Start over with small limits."""
        self.patch(family_members, "MAX_GONE", max_gone)
        self.patch(family_members, "_FIRST_LOOK", 8)
        self.setUp()

    def read(self, subscription: Subscription, limit: int = 100) -> list[tuple[bool, bytes]]:
        """Return everything that it has still to read."""
        found = subscription.take(limit)
        while subscription.has_more:
            found += subscription.take(limit)
        return found

    def test_refusals(self) -> None:
        """In the order of their numbers."""

        def refusal(instance_id: int, afi: int, xtr: Xtr | None) -> object:
            asked = self.members.subscribe(instance_id, afi, xtr, lambda: None, lambda: False)
            self.assertEqual(self.members.refusal(instance_id, afi, xtr), asked)
            return asked

        for xtr in (self.xtr, None):
            self.assertIs(refusal(9, 1, xtr), NackError.UNKNOWN_INSTANCE)
            self.assertIs(refusal(0, 2, xtr), NackError.UNKNOWN_INSTANCE)
            self.assertIs(refusal(7, 1, xtr), NackError.NOT_REGISTERED)
        self.assertIs(refusal(0, 1, _xtr(2)), NackError.NOT_REGISTERED)
        self.assertIs(refusal(0, 1, None), NackError.NOT_REGISTERED)
        self.sites = Sites()
        # Registered, though no site is configured there any more.
        self.assertIs(refusal(0, 1, _xtr(2)), NackError.NOT_REGISTERED)
        self.assertIs(refusal(7, 1, self.xtr), NackError.UNKNOWN_INSTANCE)
        self.make(frozenset({(7, 1)}))
        self.assertIs(refusal(0, 1, self.xtr), NackError.NOT_ENABLED)
        self.assertIs(refusal(7, 1, self.xtr), NackError.NOT_REGISTERED)

    def test_news_from_the_subscription_on(self) -> None:
        """One wake-up, whatever number there is; the newest wins."""
        subscription = self.subscribe(self.xtr)
        self.assertEqual(self.read(subscription), [])
        self.change(self.registration(_xtr(2, 2), _V4))
        self.change(self.registration(_xtr(2, 2), _V6))
        self.assertEqual(self.wakes, [self.xtr])
        self.assertEqual(self.read(subscription), [(True, _name(2, _V6)), (False, _name(2, _V4))])
        self.change(None)
        self.assertEqual(self.wakes, [self.xtr] * 2)
        self.change(self.registration(_xtr(2, 2), _V6))
        self.assertEqual(self.read(subscription), [(True, _name(2, _V6))])

    def test_what_stays_a_member_is_no_news(self) -> None:
        """Another record with the same RLOC, of the same site."""
        subscription = self.subscribe(self.xtr)
        self.change(self.registration(_xtr(5), _V4), "its own")
        self.change(self.registration(self.xtr, _V4), "its own")
        self.assertEqual(self.wakes, [self.xtr])  # it was not registered for a moment
        self.assertFalse(subscription.has_more)

    def test_rewinding_reads_all_members_and_who_is_gone_once(self) -> None:
        """Nobody hears twice that somebody is gone."""
        held_up = self.subscribe(self.xtr)
        subscription = self.subscribe(self.xtr)
        for number in range(2, 6):
            self.change(self.registration(_xtr(number, number), _V4), str(number))
        self.read(subscription)
        self.change(None, "2")
        self.read(subscription)
        self.change(None, "3")
        until = subscription.rewind()
        self.assertTrue(subscription.has_more)
        self.assertEqual(
            self.read(subscription, 1),
            [
                (True, _name(0, _V4)),
                (True, _name(4, _V4)),
                (True, _name(5, _V4)),
                (False, _name(3, _V4)),
            ],
        )
        self.assertGreaterEqual(subscription.position, until)
        self.assertEqual(len(self.read(held_up)), 4)

    def test_rewinding_again_before_everything_was_read(self) -> None:
        """What was heard in an earlier round still counts as heard."""
        self.subscribe(self.xtr)  # holds on to who is gone
        subscription = self.subscribe(self.xtr)
        self.change(self.registration(_xtr(2, 2), _V4), "2")
        self.change(None, "2")
        self.assertEqual(self.read(subscription), [(False, _name(2, _V4))])
        told = subscription.told
        for _ in range(2):
            subscription.rewind()
            self.assertEqual(subscription.take(1), [(True, _name(0, _V4))])
            self.assertEqual(subscription.told, told)
        self.assertEqual(self.read(subscription), [])

    def test_a_change_during_a_refresh_is_read_after_what_it_changes(self) -> None:
        """Wherever the walk is."""
        for number in range(2, 6):
            self.change(self.registration(_xtr(number, number), _V4), str(number))
        subscription = self.subscribe(self.xtr)
        subscription.rewind()
        believed: set[bytes] = set()
        for gone in (2, 5):
            for is_member, name in subscription.take(2):
                believed.add(name) if is_member else believed.discard(name)
            self.change(None, str(gone))
        for is_member, name in self.read(subscription):
            believed.add(name) if is_member else believed.discard(name)
        self.assertEqual(believed, set(self.members.members(0, 1)))

    def test_its_last_registration_ends_a_subscription(self) -> None:
        """It is woken to say so; if it has registered again by then there is nothing to say."""
        subscription = self.subscribe(self.xtr)
        self.change(self.registration(self.xtr, _V4), "another")
        self.change(None, "another")
        self.assertIsNone(subscription.refusal)
        self.wakes.clear()
        self.change(self.registration(_xtr(5), _V4), "its own")
        self.assertEqual(self.wakes, [self.xtr])
        self.assertIs(subscription.refusal, NackError.NOT_REGISTERED)
        self.change(self.registration(self.xtr, _V4), "its own")
        self.assertIsNone(subscription.refusal)

    def test_an_ended_subscription_is_forgotten(self) -> None:
        """Ending it twice does no harm; nobody is kept in the journal for nobody."""
        first, second = self.subscribe(self.xtr), self.subscribe(self.xtr)
        self.change(self.registration(_xtr(2), _V6))
        self.change(None)
        for subscription in (first, second, second):
            subscription.end()
        family = self.members._families[0, 1]
        self.assertEqual((len(family.journal), family._gone, family._of_xtr), (1, {}, {}))
        self.wakes.clear()
        self.change(self.registration(_xtr(2), _V6))
        self.read(second)
        self.change(None)
        self.assertEqual(self.wakes, [])

    def _flap(self, first: int, last: int) -> None:
        for number in range(first, last):
            rloc = f"198.51.{number >> 8}.{number & 0xFF}"
            self.change(self.registration(_xtr(2), rloc))
        self.change(None)

    def test_who_is_gone_is_kept_until_all_have_read_of_it(self) -> None:
        """And not much longer."""
        self.look_early(65_536)
        reading, idle = self.subscribe(self.xtr), self.subscribe(self.xtr)
        family = self.members._families[0, 1]
        for round_number in range(20):
            self._flap(100 * round_number, 100 * round_number + 100)
            self.read(reading)
        self.assertEqual(len(family._gone), 2000)
        self.assertEqual(len(self.read(idle)), 2000)
        for round_number in range(60):
            self._flap(100 * round_number, 100 * round_number + 100)
            self.read(reading)
            self.read(idle)
        self.assertLess(len(family._gone), 1000)

    def test_a_peer_that_does_not_read_is_given_up(self) -> None:
        """With more than MAX_GONE of whom it has not heard; others lose nothing."""
        self.look_early()
        slow, reading = self.subscribe(self.xtr, lambda: True), self.subscribe(self.xtr)
        self._flap(0, 40)
        self.read(reading)
        late = self.subscribe(self.xtr, lambda: True)
        self.assertFalse(slow.is_lost)
        self.wakes.clear()
        self._flap(40, 60)
        self.assertTrue(slow.is_lost)
        self.assertFalse(reading.is_lost or late.is_lost)
        self.assertIn(self.xtr, self.wakes)
        self.assertEqual(self.members.counters["subscriptions lost"], 1)
        self.assertEqual(len(self.read(reading)), 20)
        self.assertEqual(len(self.read(late)), 20)

    def test_a_peer_that_reads_may_have_any_number_before_it(self) -> None:
        """A lost session is news all at once."""
        self.look_early()
        subscription = self.subscribe(self.xtr)
        self._flap(0, 500)
        self.assertEqual(len(self.read(subscription)), 500)

    def test_the_only_peer_and_it_does_not_read(self) -> None:
        """Then nobody needs to know who is gone."""
        self.look_early()
        slow = self.subscribe(self.xtr, lambda: True)
        self._flap(0, 500)
        self.assertTrue(slow.is_lost)
        self.assertEqual(self.members._families[0, 1]._gone, {})


class ReconfigurationTests(MembersCase):
    """Switched on and off while registrations are there."""

    def test_what_is_switched_off_cancels_subscriptions(self) -> None:
        """They are woken to say so."""
        self.change(self.registration(_xtr(1), _V4))
        subscription = self.subscribe(_xtr(1))
        self.members.reconfigure(frozenset(), self.database)
        self.assertEqual(self.wakes, [_xtr(1)])
        self.assertIs(subscription.refusal, NackError.NOT_ENABLED)
        self.assert_members()
        self.change(None)
        self.members.reconfigure("all", self.database)
        self.assertIs(subscription.refusal, NackError.NOT_ENABLED)
        self.assertFalse(self.members.glean())

    def test_what_stays_on_goes_on(self) -> None:
        """Nothing is counted twice."""
        self.change(self.registration(_xtr(1), _V4))
        subscription = self.subscribe(_xtr(1))
        for enabled in (frozenset({(0, 1)}), "all"):
            self.members.reconfigure(enabled, self.database)  # type: ignore[arg-type]
            self.assertFalse(self.members.glean())
        self.assertIsNone(subscription.refusal)
        self.change(None)
        self.assert_members()

    def test_nobody_subscribes_before_everything_was_gleaned(self) -> None:
        """A refresh would tell less than there is."""
        self.make(frozenset())
        for number in range(5):
            self.change(self.registration(_xtr(1), f"192.0.2.{number}"), str(number))
        self.members.reconfigure("all", self.database)
        for is_more in (True, True, False):
            self.assertIs(self.members.refusal(0, 1, _xtr(1)), NackError.NOT_ENABLED)
            self.assertEqual(self.members.glean(2), is_more)
        self.assertIsNone(self.members.refusal(0, 1, _xtr(1)))
        self.assertEqual(len(list(self.members.members(0, 1))), 5)

    def test_switched_off_while_it_is_gleaned(self) -> None:
        """Nothing is left of it."""
        self.make(frozenset())
        for number in range(5):
            self.change(self.registration(_xtr(1), _V4), str(number))
        self.members.reconfigure("all", self.database)
        self.members.glean(2)
        self.members.reconfigure(frozenset(), self.database)
        self.assertFalse(self.members.glean())
        self.assert_members()
        self.members.reconfigure("all", self.database)
        self.assertFalse(self.members.glean())
        for number in range(5):
            self.assert_members(_name(0, _V4))
            self.change(None, str(number))
        self.assert_members()

    _steps = st.lists(
        st.one_of(
            st.none(),
            st.tuples(st.integers(0, 5), st.integers(0, 3)),
        ),
        max_size=30,
    )

    @given(_steps, _steps)
    def test_changes_while_it_is_gleaned(
        self,
        before: list[tuple[int, int] | None],
        during: list[tuple[int, int] | None],
    ) -> None:
        """In the end it is what a look at everything says."""
        self.make(frozenset())
        for step in before:
            self._step(step)
        self.members.reconfigure("all", self.database)
        for step in during:
            if step is None:
                self.members.glean(1)
            self._step(step)
        while self.members.glean(1):
            pass
        expected: dict[bytes, None] = {}
        for table in self.database.tables.values():
            for registration in table.entries.values():
                for one in registration.decode().locators:
                    expected[bytes(8) + one.rloc.encode()] = None
        self.assert_members(*expected)
        family = self.members._families.get((0, 1))
        if family is not None:
            self.assertTrue(all(count > 0 for count in family.references.values()))
            self.assertTrue(all(count > 0 for count in family.registered.values()))

    def _step(self, step: tuple[int, int] | None) -> None:
        if step is not None:
            number, rloc = step
            registration = self.registration(_xtr(rloc), f"192.0.2.{rloc}") if rloc else None
            self.change(registration, str(number))


class TableTests(MembersCase):
    """Batches that touch several tables."""

    def test_one_batch_of_changes(self) -> None:
        """As sessions hand them over."""
        one, other = EidTable(0, Afi.IPV4), EidTable(7, Afi.IPV4)
        changes = [
            Change(table, 16, key, None, self.registration(_xtr(1), f"192.0.2.{key}"))
            for key, table in enumerate((one, one, other, one, other), 1)
        ]
        self.members.changed(changes)
        self.assert_members(*(_name(0, f"192.0.2.{key}") for key in (1, 2, 4)))
        self.assert_members(*(_name(0, f"192.0.2.{key}") for key in (3, 5)), at=(7, 1))
