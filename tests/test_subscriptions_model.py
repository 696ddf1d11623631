"""Random registrations, subscriptions, losses and outages: after quiescence what each subscriber
has last heard is what is registered.
"""

from __future__ import annotations

import random

from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.control import publication_walks
from lispmsrt.control.publications import PublicationPace
from lispmsrt.control.subscriber import SubscriberPace, What
from lispmsrt.control.subscriptions import SubscriptionLimits
from lispmsrt.wire.addresses import EidPrefix
from tests.builders import MERGE, Etr, M, P, locator
from tests.subscription_ground import (
    Datagram,
    Ground,
    PublishingMapServer,
    Xtr,
    covers,
    prefix,
    registered,
)

_PREFIXES = (
    "10.0.0.0/8",
    "10.0.0.0/15",
    "10.0.0.0/16",
    "10.1.0.0/16",
    "10.1.0.0/24",
    "10.1.0.7/32",
    "10.1.1.0/24",
    "10.2.0.0/16",
)


class _World:
    """Three ETRs, three subscribers, and a network that loses."""

    def __init__(self, seed: int, *, renewal: float) -> None:
        self.random = random.Random(seed)
        self.etrs = [Etr(f"192.0.2.{number}", xtr_id=number) for number in (1, 2, 3)]
        self.xtrs = [
            Xtr(
                number,
                f"203.0.113.{number}",
                rlocs=(f"203.0.113.{number}", f"203.0.113.{number + 100}"),
                pace=SubscriberPace(renewal=renewal),
            )
            for number in (1, 2, 3)
        ]
        limits = SubscriptionLimits(pace=PublicationPace(max_unanswered=10_000))
        self.ground = Ground(PublishingMapServer(subscription_limits=limits), *self.xtrs)
        self.has_outages = True
        self.away: set[bytes] = set()
        self.share_lost = self.random.choice((0.0, 0.1, 0.4))
        self.ground.loses = self._loses

    def _loses(self, datagram: Datagram) -> bool:
        if not self.has_outages and self.ground.server.subscriptions.candidates:
            return False
        is_away = not self.away.isdisjoint((datagram[1][0], datagram[2][0]))
        return is_away or self.random.random() < self.share_lost

    def step(self) -> None:
        """Do something, and wait for a moment or for long."""
        choice = self.random.random()
        if choice < 0.6:
            self._register()
        elif choice < 0.75:
            xtr = self.random.choice(self.xtrs)
            xtr.subscriber.subscribe(prefix(self.random.choice(_PREFIXES)), self.ground.now)
        elif choice < 0.8:
            xtr = self.random.choice(self.xtrs)
            xtr.subscriber.unsubscribe(prefix(self.random.choice(_PREFIXES)), self.ground.now)
        elif choice < 0.9 and self.has_outages:
            self.away ^= {self.random.choice(self.xtrs).endpoint[0]}
        self.ground.run(self.random.choice((0.0, 0.005, 0.1, 1.0, 5.0, 40.0)))

    def _register(self) -> None:
        etr = self.random.choice(self.etrs)
        self.ground.server.register(
            etr,
            self.random.choice(_PREFIXES),
            *(
                [locator(f"198.51.100.{self.random.randrange(9)}")]
                if self.random.random() < 0.7
                else []
            ),
            now=self.ground.now,
            ttl=self.random.choice((0, 0, 1440, 1440, 1440, 60)),
            flags=P | M | (MERGE if self.random.random() < 0.5 else 0),
        )

    def settle(self) -> None:
        """Let the network work, until everybody has been told, at the latest after a renewal."""
        self.away.clear()
        self.share_lost = 0.0
        self.ground.run(400.0)
        # Not just while a subscription is being renewed, either.
        while self.ground.seen and self.ground.seen[-1][0] > self.ground.now - 4.0:
            self.ground.run(1.0)


def _subscribed(xtr: Xtr) -> list[EidPrefix]:
    """Return what the xTR believes that it has subscribed to."""
    found: dict[EidPrefix, None] = {}
    for news in xtr.heard:
        if news.what is What.CONFIRMED:
            found[news.eid] = None
        elif news.what is What.CANCELLED:
            found.pop(news.eid, None)
    return list(found)


def _known(xtr: Xtr, eid: EidPrefix) -> dict[str, list[str]]:
    """Return what the xTR knows inside an EID-prefix, and the mapping that covers it."""
    mappings = {each.eid: each for each in xtr.known[eid].values() if each.locators}
    negative = [each.eid for each in xtr.known[eid].values() if not each.locators]
    covering = [one for one in mappings if covers(one, eid)]
    best = max(covering, key=lambda one: one.length, default=None)
    if best is not None and any(covers(one, eid) and one.length > best.length for one in negative):
        best = None
    return {
        str(one): [str(each.rloc) for each in mappings[one].locators]
        for one in mappings
        if one == best or (covers(eid, one) and one != eid)
    }


class ModelTests(SynchronousTestCase):
    """Seeded, and the same each time."""

    def test_after_quiescence_subscribers_know_what_is_registered(self) -> None:
        """Whatever was lost, given up, ended, cancelled, renewed or merged on the way."""
        compared = filled = 0
        for seed in range(40):
            world = _World(seed, renewal=120.0)
            for _ in range(60):
                world.step()
            world.settle()
            found = self._compare(seed, world)
            compared += len(found)
            filled += sum(found)
        self.assertGreater(compared, 200)
        self.assertGreater(filled, 100)

    def test_publications_alone_keep_subscribers_up_to_date(self) -> None:
        """Nothing is renewed, and nobody away for long, so no change may be overlooked."""
        compared = 0
        for seed in range(40):
            world = _World(seed, renewal=1e9)
            world.has_outages = False
            world.share_lost = min(world.share_lost, 0.1)
            for _ in range(60):
                world.step()
            world.settle()
            compared += len(self._compare(seed, world))
        self.assertGreater(compared, 200)

    def test_changes_that_are_worked_off_later_are_not_overlooked_either(self) -> None:
        """One subscription at a time, as if there were very many."""
        self.patch(publication_walks, "_FEW", 0)
        self.patch(publication_walks, "AT_ONCE", 1)
        self.patch(publication_walks, "INTERVAL", 1.0)
        self.test_publications_alone_keep_subscribers_up_to_date()

    def _compare(self, seed: int, world: _World) -> list[bool]:
        """Compare every subscriber; return for each subscription whether there is a mapping."""
        found = []
        for number, xtr in enumerate(world.xtrs):
            for eid in _subscribed(xtr):
                expected = registered(world.ground.server, eid)
                where = f"seed {seed}, subscriber {number}, {eid}"
                self.assertEqual(_known(xtr, eid), expected, where)
                found.append(bool(expected))
        return found
