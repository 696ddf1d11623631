"""Random registrations, losses, refreshes and resets of several xTRs: in the end everybody who
follows believes what a look at the whole database says.
"""

from __future__ import annotations

import contextlib
import os
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.mapping import family_members
from lispmsrt.mapping.family_members import Family
from lispmsrt.session.limits import SessionLimits
from lispmsrt.session.membership_subscriber import Standing
from lispmsrt.wire.map_register import RegisterFlag
from lispmsrt.wire.membership import MembershipRequest, encode_membership
from lispmsrt.wire.reliable_transport import MessageType
from tests.membership_ground import FAMILIES, Follower, Line, Server, learnt, truth

_LONG = bool(os.environ.get("LISPMSRT_LONG"))
_RUNS = 2000 if _LONG else 60
_STEPS = 400 if _LONG else 150

_EIDS: dict[Family, tuple[str, ...]] = {
    (0, 1): tuple(f"10.{number}.0.0/16" for number in range(6)),
    (7, 1): tuple(f"10.{number}.0.0/16" for number in range(3)),
    (7, 2): tuple(f"2001:db8:{number}::/48" for number in range(2)),
}
_RLOCS = ("192.0.2.1", "192.0.2.2", "2001:db8:ffff::1", "192.0.2.3", "224.0.0.1", "0.0.0.0")
_LIMITS = SessionLimits(max_output=200)


class _World:
    """Several xTRs and what happens to them."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.now = 0.0
        self.server = Server("all", limits=_LIMITS)
        # Two of them are of one site, and share their Site-ID.
        self.xtrs = [
            Follower(number, limits=_LIMITS, site_id=min(number, 3)) for number in range(1, 5)
        ]
        for xtr in self.xtrs[:3]:
            xtr.credentials.flags = int(RegisterFlag.MERGE)
        self.lines = [Line(self.server, xtr) for xtr in self.xtrs]
        self.stuck: set[int] = set()

    def step(self) -> None:
        """Let one thing happen to one xTR."""
        number = self.random.randrange(len(self.xtrs))
        what = self.random.choices(
            (
                self.register,
                self.withdraw,
                self.carry,
                self.carry_all,
                self.cut,
                self.refresh,
                self.resubscribe,
                self.stick,
                self.wait,
                self.expire,
                self.reconfigure,
            ),
            (8, 4, 10, 4, 1, 2, 1, 1, 1, 0.3, 0.3),
        )[0]
        what(number)

    def register(self, number: int) -> None:
        """Register, or register anew with other RLOCs."""
        instance_id, afi = at = self.random.choice(FAMILIES)
        rlocs = self.random.sample(_RLOCS, self.random.randrange(4))
        text = self.random.choice(_EIDS[at])
        self.xtrs[number].register(text, *rlocs, instance_id=instance_id)
        assert afi == (2 if ":" in text else 1)

    def withdraw(self, number: int) -> None:
        """Withdraw, if it is registered."""
        at = self.random.choice(FAMILIES)
        with contextlib.suppress(KeyError):
            self.xtrs[number].withdraw(self.random.choice(_EIDS[at]), at[0])

    def carry(self, number: int) -> None:
        """A bit of what was said arrives."""
        self.lines[number].step(self.now, is_stuck=number in self.stuck)

    def carry_all(self, number: int) -> None:
        """Everything that was said arrives."""
        if number not in self.stuck:
            self.lines[number].settle(self.now)

    def cut(self, number: int) -> None:
        """The session is lost, and another one begins."""
        self.lines[number].cut(self.now)
        self.stuck.discard(number)
        self.lines[number] = Line(self.server, self.xtrs[number], self.now)

    def refresh(self, number: int) -> None:
        """The Map-Server hears another Refresh Request."""
        self._ask(number, MessageType.MEMBERSHIP_REFRESH_REQUEST)

    def resubscribe(self, number: int) -> None:
        """The Map-Server hears another Subscribe."""
        self._ask(number, MessageType.MEMBERSHIP_SUBSCRIBE)

    def _ask(self, number: int, kind: MessageType) -> None:
        instance_id, afi = at = self.random.choice(FAMILIES)
        line = self.lines[number]
        assert line.etr.membership is not None
        if line.etr.membership.standing(*at) is Standing.FOLLOWING:
            request = MembershipRequest(kind, afi, instance_id)
            line.server.receive_data(encode_membership(request, 9999), self.now)

    def stick(self, number: int) -> None:
        """It stops reading, or reads again."""
        self.stuck ^= {number}
        if number in self.stuck:
            self.lines[number].server.output_paused(self.now)
        else:
            self.lines[number].server.output_resumed()

    def wait(self, number: int) -> None:
        """Time passes."""
        self.now += self.random.choice((0.1, 1.0, 10.0, 60.0))
        for line in self.lines:
            if line.etr.next_timeout() is not None:
                line.etr.handle_timeout(self.now)

    def expire(self, number: int) -> None:
        """What belonged to lost sessions and was not registered again ends."""
        self.now += 181.0
        self.server.registrar.expire(self.now)

    def reconfigure(self, number: int) -> None:
        """A family is switched off and on again; sessions are told to look."""
        members = self.server.members
        assert members is not None
        off = self.random.choice(FAMILIES)
        members.reconfigure(frozenset(FAMILIES) - {off}, self.server.database)
        if self.random.randrange(2):
            self.carry_all(number)
        members.reconfigure("all", self.server.database)
        while members.glean(2):
            self.register(number)
            self.carry(number)

    def quiesce(self) -> None:
        """Everything arrives; sessions that have ended are replaced."""
        for number in sorted(self.stuck):
            self.stick(number)
        self._settle()
        # Not before that: whoever left too much unread is given up when the transport takes more.
        # The sessions that follow can't end so, as everybody reads now.
        for number, line in enumerate(self.lines):
            if line.etr.close_reason:
                self.cut(number)
        self._settle()

    def begin_again(self) -> None:
        """Every session is reset, and nothing is left of earlier ones; everyone is registered
        everywhere.
        """
        for number in range(len(self.xtrs)):
            self.cut(number)
            for at in FAMILIES:
                self.xtrs[number].register(_EIDS[at][-1 - number % 2], _RLOCS[1], instance_id=at[0])
        for _ in range(3):
            self._settle()
            for line in self.lines:
                line.wait(self.now + 100.0)
            self.now += 200.0
            self.server.registrar.expire(self.now)
        self._settle()

    def _settle(self) -> None:
        # What one says may be news for all the others.
        while any([line.step(self.now) for line in self.lines]):
            pass

    def check(self) -> int:
        """Hold every view against the database; return how many there are."""
        following = 0
        for xtr, line in zip(self.xtrs, self.lines, strict=True):
            assert xtr.learnt is not None and line.etr.membership is not None
            assert line.etr.close_reason is line.server.close_reason is None
            for at in FAMILIES:
                is_following = line.etr.membership.standing(*at) is Standing.FOLLOWING
                assert xtr.learnt.is_current(*at) == is_following
                if is_following:
                    following += 1
                    assert learnt(xtr, at) == truth(self.server, at)
        return following


class ModelTests(SynchronousTestCase):
    """Against the naive recomputation."""

    def setUp(self) -> None:
        """Few may be gone before somebody looks."""
        self.patch(family_members, "MAX_GONE", 8)
        self.patch(family_members, "_FIRST_LOOK", 2)

    @settings(max_examples=_RUNS, deadline=None)
    @given(st.integers(0, 1 << 32), st.integers(10, _STEPS))
    def test_every_view_equals_the_database(self, seed: int, steps: int) -> None:
        """After quiescence, whatever happened, and again when sessions have begun anew."""
        world = _World(seed)
        for _ in range(steps):
            world.step()
        world.quiesce()
        world.check()
        world.begin_again()
        world.check()

    def test_there_are_views_to_check(self) -> None:
        """Or the test above would say nothing."""
        counts = [0, 0]
        for seed in range(10):
            world = _World(seed)
            for _ in range(80):
                world.step()
            for position, come_to_rest in enumerate((world.quiesce, world.begin_again)):
                come_to_rest()
                counts[position] += world.check()
        self.assertGreater(counts[0], 20)
        self.assertGreater(counts[1], 60)
