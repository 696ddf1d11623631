"""RLOC membership between whole services: who hears of whose RLOCs, and until when."""

from __future__ import annotations

from lispmsrt import Etr, MapServer
from lispmsrt.mapping.learnt_members import LearntMembers
from lispmsrt.session.membership_subscriber import Standing
from lispmsrt.wire.addresses import Address
from tests.rim import Listener, outcome
from tests.service_ground import ETR_ONE, ETR_TWO, MAP_SERVER, Ground, eid_of, server_text, site

_IPV4, _IPV6 = 1, 2
_ETR_THREE = "198.51.100.3"
_SITES = (
    site("campus", "10.1.0.0/16", "7 10.1.0.0/16"),
    site("branch", "10.2.0.0/16", "7 10.2.0.0/16", secrets=("branch secret",)),
)
_DISTRIBUTES = (
    '[[map-server.rloc-membership]]\nfamilies = ["ipv4"]\n'
    '[[map-server.rloc-membership]]\ninstance-id = 7\nfamilies = ["ipv4"]\n'
)
_FOLLOWS = '[[etr.map-server.rloc-membership]]\nfamilies = ["ipv4"]\n'
_FOLLOWS_SEVEN = _FOLLOWS + (
    '[[etr.map-server.rloc-membership]]\ninstance-id = 7\nfamilies = ["ipv4"]\n'
)
_BRANCH = {"secret": "branch secret"}


class _Case(Ground):
    def setUp(self) -> None:
        """A Map-Server with two sites that distributes both instances."""
        super().setUp()
        self.map_server = self.serve()
        self.listener = Listener()

    def serve(self, options: str = _DISTRIBUTES) -> MapServer:
        """Return a Map-Server; ``options`` follow on those of [map-server]."""
        return self.server(server_text(*_SITES, options=options))

    def follower(self, *eids: str, host: str = ETR_ONE, follows: str = _FOLLOWS) -> Etr:
        """Return an ETR of the campus that follows, with its session up."""
        etr = self.etr(*eids, host=host, listener=self.listener, server_options=follows)
        self.network.run(2)
        return etr

    def learnt(self, etr: Etr) -> LearntMembers:
        """Return what an ETR has been told."""
        members = etr.links[0].members
        assert members is not None
        return members

    def rlocs(self, etr: Etr, instance_id: int = 0) -> list[str]:
        """Return the RLOCs of a family that an ETR knows, sorted."""
        members = self.learnt(etr).members(instance_id, _IPV4)
        return sorted(str(member.rloc) for member in members)

    def standing(self, etr: Etr, instance_id: int = 0) -> Standing:
        """Return how far an ETR's session has come."""
        session = etr.links[0].session
        assert session is not None and session.membership is not None
        return session.membership.standing(instance_id, _IPV4)


class FollowingTests(_Case):
    """Both ends at work."""

    def test_who_comes_later_is_told_of_who_was_there(self) -> None:
        """And itself too; the Site-ID goes with it."""
        self.etr("10.2.1.0/24", host=ETR_TWO, **_BRANCH)
        etr = self.follower("10.1.1.0/24")
        self.assertEqual(self.rlocs(etr), [ETR_ONE, ETR_TWO])
        self.assertTrue(self.learnt(etr).is_current(0, _IPV4))
        self.assertTrue(self.learnt(etr).covers(Address.from_text(ETR_TWO)))
        self.assertEqual(
            {member.site_id for member in self.learnt(etr).members(0, _IPV4)}, {bytes(7) + b"\1"}
        )
        self.assertIn(("members", f"{MAP_SERVER}:4342", 0, _IPV4), self.listener.heard)

    def test_changes_are_told_as_they_happen(self) -> None:
        """Whoever registers, over a session or UDP, and withdraws."""
        etr = self.follower("10.1.1.0/24")
        other = self.etr("10.2.1.0/24", host=ETR_TWO, **_BRANCH, server_options='session = "off"')
        self.network.run(1)
        self.assertEqual(self.rlocs(etr), [ETR_ONE, ETR_TWO])
        self.register(other, "10.2.2.0/24", rloc=_ETR_THREE)
        self.assertEqual(self.rlocs(etr), [ETR_ONE, ETR_TWO, _ETR_THREE])
        outcome(other.withdraw(eid_of("10.2.2.0/24")))
        self.network.run(1)
        self.assertEqual(self.rlocs(etr), [ETR_ONE, ETR_TWO])

    def test_merged_rlocs_are_those_of_each(self) -> None:
        """One of two leaves, and takes its own with it."""
        etr = self.follower("10.1.1.0/24")
        second, third = (
            self.etr("10.1.9.0/24", host=host, server_options="merge = true")
            for host in (ETR_TWO, _ETR_THREE)
        )
        self.network.run(1)
        self.assertEqual(self.rlocs(etr), [ETR_ONE, ETR_TWO, _ETR_THREE])
        outcome(second.withdraw(eid_of("10.1.9.0/24")))
        self.network.run(1)
        self.assertEqual(self.rlocs(etr), [ETR_ONE, _ETR_THREE])
        outcome(third.withdraw(eid_of("10.1.9.0/24")))
        self.network.run(1)
        self.assertEqual(self.rlocs(etr), [ETR_ONE])

    def test_a_registration_that_expires_is_a_member_until_then(self) -> None:
        """Three minutes after its session."""
        etr = self.follower("10.1.1.0/24")
        other = self.etr("10.2.1.0/24", host=ETR_TWO, **_BRANCH)
        self.network.run(1)
        other.stopService()
        self.network.run(175)
        self.assertEqual(self.rlocs(etr), [ETR_ONE, ETR_TWO])
        self.network.run(7)
        self.assertEqual(self.rlocs(etr), [ETR_ONE])

    def test_instances_are_apart(self) -> None:
        """An ETR that has registered in one only is refused the other, until it has there too."""
        etr = self.follower("10.1.1.0/24", follows=_FOLLOWS_SEVEN)
        self.assertEqual(self.standing(etr), Standing.FOLLOWING)
        self.assertEqual(self.standing(etr, 7), Standing.UNREGISTERED)
        self.register(etr, "10.1.7.0/24", rloc=_ETR_THREE, instance_id=7)
        self.network.run(1)
        self.assertEqual(self.standing(etr, 7), Standing.FOLLOWING)
        self.assertEqual((self.rlocs(etr), self.rlocs(etr, 7)), ([ETR_ONE], [_ETR_THREE]))

    def test_who_withdraws_everything_is_cancelled_and_may_come_back(self) -> None:
        """What it knows is out of date meanwhile."""
        etr = self.follower("10.1.1.0/24")
        outcome(etr.withdraw(eid_of("10.1.1.0/24")))
        self.network.run(1)
        self.assertEqual(self.standing(etr), Standing.WAITING)
        self.assertFalse(self.learnt(etr).is_current(0, _IPV4))
        self.register(etr, "10.1.2.0/24")
        self.network.run(70)
        self.assertEqual(self.standing(etr), Standing.FOLLOWING)
        self.assertTrue(self.learnt(etr).is_current(0, _IPV4))

    def test_a_restarted_map_server_tells_everything_anew(self) -> None:
        """Who has not come back to it is gone then."""
        other = self.etr("10.2.1.0/24", host=ETR_TWO, **_BRANCH)
        etr = self.follower("10.1.1.0/24")
        self.assertEqual(self.rlocs(etr), [ETR_ONE, ETR_TWO])
        other.stopService()
        self.map_server.stopService()
        self.network.run(1)
        self.assertFalse(self.learnt(etr).is_current(0, _IPV4))
        self.assertEqual(self.rlocs(etr), [ETR_ONE, ETR_TWO])
        self.serve()
        self.network.run(75)
        self.assertEqual(self.rlocs(etr), [ETR_ONE])
        self.assertTrue(self.learnt(etr).is_current(0, _IPV4))


class SwitchedOffTests(_Case):
    """Off by default, on both sides."""

    def test_a_map_server_that_does_not_distribute_refuses(self) -> None:
        """The session goes on, and everything else with it."""
        self.map_server.stopService()
        self.network.run(1)
        for options in ("", "[[map-server.rloc-membership]]\ninstance-id = 9\n"):
            server = self.serve(options)
            etr = self.follower("10.1.1.0/24")
            self.assertEqual(self.standing(etr), Standing.REFUSED)
            self.assertFalse(self.learnt(etr).is_current(0, _IPV4))
            self.assertEqual(len(server.database), 1)
            for service in (etr, server):
                service.stopService()
            self.network.run(1)

    def test_an_etr_that_does_not_follow_is_told_nothing(self) -> None:
        """It has no members at all."""
        etr = self.follower("10.1.1.0/24", follows="")
        self.assertIsNone(etr.links[0].members)
        self.assertNotIn("members", self.listener.names())


class SessionResetTests(_Case):
    """Sessions come and go."""

    def test_members_stay_until_the_next_session_has_told_of_all(self) -> None:
        """Who left meanwhile is gone then."""
        other = self.etr("10.2.1.0/24", host=ETR_TWO, **_BRANCH)
        etr = self.follower("10.1.1.0/24")
        self.cut(self.map_server)
        self.assertFalse(self.learnt(etr).is_current(0, _IPV4))
        self.assertEqual(self.rlocs(etr), [ETR_ONE, ETR_TWO])
        outcome(other.withdraw(eid_of("10.2.1.0/24")))
        self.network.run(70)
        self.assertTrue(self.learnt(etr).is_current(0, _IPV4))
        self.assertEqual(self.rlocs(etr), [ETR_ONE])

    def test_a_session_that_is_lost_costs_the_others_nothing(self) -> None:
        """They go on being told."""
        first = self.follower("10.1.1.0/24")
        second = self.follower("10.1.2.0/24", host=ETR_TWO)
        (session,) = (one for one in self.map_server.sessions if one.peer.startswith(f"{ETR_ONE}:"))
        self.map_server.reset(session)
        self.network.run(0.1)
        self.assertIsNone(first.links[0].session)
        self.register(second, "10.1.3.0/24", rloc=_ETR_THREE)
        self.assertEqual(self.rlocs(second), [ETR_ONE, ETR_TWO, _ETR_THREE])
        self.network.run(70)
        self.assertEqual(self.rlocs(first), self.rlocs(second))


class ReloadTests(_Case):
    """Other sites while sessions are up."""

    def test_the_members_of_a_site_that_is_gone_go(self) -> None:
        """Those that stay are told; its own ETR loses its session."""
        etr = self.follower("10.1.1.0/24")
        other = self.etr("10.2.1.0/24", host=ETR_TWO, **_BRANCH, server_options=_FOLLOWS)
        self.network.run(2)
        self.assertEqual(self.rlocs(etr), [ETR_ONE, ETR_TWO])
        self.reload(self.map_server, _SITES[0])
        self.network.run(1)
        self.assertEqual(self.rlocs(etr), [ETR_ONE])
        self.assertTrue(self.learnt(etr).is_current(0, _IPV4))
        self.assertIsNone(other.links[0].session)
        self.assertFalse(self.learnt(other).is_current(0, _IPV4))
        self.reload(self.map_server, *_SITES)
        self.network.run(130)
        self.assertEqual(self.rlocs(etr), [ETR_ONE, ETR_TWO])
        self.assertEqual(self.rlocs(other), [ETR_ONE, ETR_TWO])

    def test_an_instance_that_is_gone_ends_its_subscriptions(self) -> None:
        """The other one goes on; it is followed again once it is back."""
        etr = self.follower("10.1.1.0/24", follows=_FOLLOWS_SEVEN)
        self.register(etr, "10.1.7.0/24", instance_id=7)
        self.network.run(1)
        self.assertEqual(self.standing(etr, 7), Standing.FOLLOWING)
        self.reload(self.map_server, site("campus", "10.1.0.0/16"))
        self.network.run(3)
        self.assertEqual(self.standing(etr), Standing.FOLLOWING)
        self.assertIn(self.standing(etr, 7), (Standing.REFUSED, Standing.WAITING))
        self.assertFalse(self.learnt(etr).is_current(7, _IPV4))
        self.reload(self.map_server, *_SITES)
        self.network.run(3)
        self.assertEqual(self.standing(etr, 7), Standing.FOLLOWING)
        self.assertEqual(self.rlocs(etr, 7), [ETR_ONE])

    def test_other_keys_leave_the_members_as_they_are(self) -> None:
        """Everything is registered anew."""
        etr = self.follower("10.1.1.0/24")
        self.reload(self.map_server, site("campus", secrets=("campus secret", "another")))
        self.network.run(3)
        self.assertEqual(self.standing(etr), Standing.FOLLOWING)
        self.assertEqual(self.rlocs(etr), [ETR_ONE])
