"""What subscribers are told when mappings change, how often, and how long (RFC 9437 §6)."""

from __future__ import annotations

import itertools
from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.control.publications import PublicationPace
from lispmsrt.control.retransmission import RetransmissionLimits
from lispmsrt.control.subscriptions import SubscriptionLimits
from lispmsrt.mapping.sites import RlocPrefix
from lispmsrt.wire.authentication import Key
from lispmsrt.wire.messages import ControlType, message_type
from tests.builders import MERGE, Etr, M, P, ip, locator, record, site, sites
from tests.subscription_ground import (
    SUBSCRIBER_KEY,
    Ground,
    PublishingMapServer,
    Xtr,
    prefix,
)

_NOTIFY, _ACK = ControlType.MAP_NOTIFY, ControlType.MAP_NOTIFY_ACK


def _limits(**pace: float) -> SubscriptionLimits:
    return SubscriptionLimits(pace=PublicationPace(**pace))  # type: ignore[arg-type]


class _Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.etr = Etr()
        self.xtr = Xtr()

    def _ground(self, *eids: str, **options: object) -> Ground:
        """Return a ground where the xTR has subscribed, and heard so."""
        ground = Ground(PublishingMapServer(**options), self.xtr)  # type: ignore[arg-type]
        for eid in eids:
            ground.subscribe(eid)
        self.xtr.said()
        return ground

    def _published(self) -> list[tuple[str, list[tuple[str, int, int]]]]:
        """Return the publications heard, and nothing else was."""
        said = self.xtr.said()
        self.assertEqual([what for what, _eid, _records in said if what != "published"], [])
        return [(eid, records) for _what, eid, records in said]


class WhatIsPublishedTests(_Case):
    """Which changes concern which subscription."""

    def test_registration_change_and_withdrawal_are_published(self) -> None:
        """The withdrawal as a record of TTL 0."""
        ground = self._ground("10.1.0.0/16")
        ground.register(self.etr, "10.1.0.0/16")
        ground.register(self.etr, "10.1.0.0/16", locator("192.0.2.1"), locator("192.0.2.9"))
        ground.register(self.etr, "10.1.0.0/16", ttl=0)
        self.assertEqual(
            self._published(),
            [
                ("10.1.0.0/16", [("10.1.0.0/16", 1440, 1)]),
                ("10.1.0.0/16", [("10.1.0.0/16", 1440, 2)]),
                ("10.1.0.0/16", [("10.1.0.0/16", 0, 0)]),
            ],
        )

    def test_a_refreshed_registration_is_no_news(self) -> None:
        """Nor is one with other flags that matter to nobody."""
        ground = self._ground("10.1.0.0/16")
        ground.register(self.etr, "10.1.0.0/16")
        self._published()
        ground.register(self.etr, "10.1.0.0/16")
        ground.register(self.etr, "10.1.0.0/16", flags=P)
        self.assertEqual(self._published(), [])

    def test_records_are_those_of_a_map_reply(self) -> None:
        """Not authoritative, and no locator is the Map-Server's own."""
        ground = self._ground("10.1.0.0/16")
        ground.register(self.etr, "10.1.0.0/16", locator("192.0.2.1", local=True))
        (news,) = self.xtr.heard
        (mapping,) = news.records
        self.assertFalse(mapping.authoritative)
        self.assertEqual([(one.local, one.reachable) for one in mapping.locators], [(False, True)])

    def test_more_specifics_of_the_subscribed_prefix_are_published(self) -> None:
        """RFC 9437 §6; siblings and other instances are not."""
        ground = self._ground("10.1.0.0/16")
        ground.register(self.etr, "10.1.7.0/24")
        ground.register(self.etr, "10.2.0.0/16")
        self.assertEqual(self._published(), [("10.1.0.0/16", [("10.1.7.0/24", 1440, 1)])])

    def test_what_covers_the_subscribed_prefix_is_published_where_it_matches(self) -> None:
        """Only the longest match; the negative answer that would hide it is taken back."""
        ground = self._ground("10.1.1.0/24")
        ground.register(self.etr, "10.0.0.0/8")
        ground.register(self.etr, "10.1.0.0/16")
        self.assertEqual(
            self._published(),
            [
                ("10.1.1.0/24", [("10.1.1.0/24", 0, 0), ("10.0.0.0/8", 1440, 1)]),
                ("10.1.1.0/24", [("10.1.1.0/24", 0, 0), ("10.1.0.0/16", 1440, 1)]),
            ],
        )
        ground.register(self.etr, "10.0.0.0/8", locator("192.0.2.8"))
        self.assertEqual(self._published(), [])
        ground.register(self.etr, "10.1.0.0/16", ttl=0)
        self.assertEqual(
            self._published(),
            [("10.1.1.0/24", [("10.1.0.0/16", 0, 0), ("10.0.0.0/8", 1440, 1)])],
        )

    def test_a_withdrawn_prefix_comes_with_what_covers_it(self) -> None:
        """The subscriber need not ask."""
        ground = self._ground("10.1.1.0/24")
        ground.register(self.etr, "10.1.0.0/16")
        ground.register(self.etr, "10.1.1.0/24")
        self._published()
        ground.register(self.etr, "10.1.1.0/24", ttl=0)
        self.assertEqual(
            self._published(),
            [("10.1.1.0/24", [("10.1.1.0/24", 0, 0), ("10.1.0.0/16", 1440, 1)])],
        )

    def test_a_new_subscriber_is_told_what_lies_inside(self) -> None:
        """After it has proved itself: the confirmation has one record."""
        ground = self._ground()
        for third in range(40):
            ground.register(self.etr, f"10.1.{third}.0/24")
        self.xtr.subscriber.subscribe(prefix("10.1.0.0/16"), ground.now)
        ground.run(10.0)
        said = self.xtr.said()
        self.assertEqual(said[0], ("confirmed", "10.1.0.0/16", [("10.1.0.0/16", 1, 0)]))
        told = [eid for _what, _eid, records in said[1:] for eid, _ttl, _count in records]
        self.assertEqual(told, [f"10.1.{third}.0/24" for third in range(40)])
        for _at, (data, _source, _destination) in ground.seen:
            self.assertLessEqual(len(data), 548)

    def test_a_change_while_the_confirmation_travels_is_not_lost(self) -> None:
        """It is published once the subscription counts."""
        ground = self._ground()
        ground.loses = lambda datagram: message_type(datagram[0]) == _ACK
        ground.subscribe("10.1.1.0/24")
        ground.register(self.etr, "10.1.0.0/16")
        ground.loses = lambda datagram: False
        ground.run(5.0)
        self.assertEqual(
            self.xtr.said(),
            [
                ("confirmed", "10.1.1.0/24", [("10.1.1.0/24", 1, 0)]),
                ("published", "10.1.1.0/24", [("10.1.1.0/24", 0, 0), ("10.1.0.0/16", 1440, 1)]),
            ],
        )

    def test_merged_registrations_are_published_merged(self) -> None:
        """Each part that comes or goes is a change."""
        ground = self._ground("10.1.0.0/16")
        other = Etr("192.0.2.2", xtr_id=2)
        ground.register(self.etr, "10.1.0.0/16", locator("192.0.2.1"), flags=P | M | MERGE)
        ground.register(other, "10.1.0.0/16", locator("192.0.2.2"), flags=P | M | MERGE)
        ground.register(self.etr, "10.1.0.0/16", ttl=0, flags=P | M | MERGE)
        self.assertEqual(
            [[len(one.locators) for one in news.records] for news in self.xtr.heard],
            [[1], [2], [1]],
        )
        mapping = self.xtr.known[prefix("10.1.0.0/16")][prefix("10.1.0.0/16")]
        self.assertEqual([str(one.rloc) for one in mapping.locators], ["192.0.2.2"])

    def test_a_mapping_that_is_no_longer_proxied_says_to_ask(self) -> None:
        """Its ETRs answer themselves from now on."""
        ground = self._ground("10.1.0.0/16")
        ground.register(self.etr, "10.1.0.0/16")
        ground.register(self.etr, "10.1.0.0/16", flags=M)
        self.assertEqual([news.records[0].action for news in self.xtr.heard], [0, 2])
        self.assertEqual(self.xtr.heard[1].records[0].locators, ())

    def test_a_mapping_that_the_itr_may_not_see_is_denied(self) -> None:
        """A subscription is no way around a site's policy."""
        own = replace(site(), allowed_itrs=(RlocPrefix.from_text("198.51.100.0/24"),))
        allowed = Xtr(2, "198.51.100.7")
        server = PublishingMapServer(sites((own, "10.0.0.0/8")))
        ground = Ground(server, self.xtr, allowed)
        for xtr in (self.xtr, allowed):
            ground.subscribe("10.1.0.0/16", xtr)
        ground.register(self.etr, "10.1.0.0/16")
        ground.run(3.0)
        self.assertEqual([len(news.records[0].locators) for news in allowed.heard], [0, 1])
        self.assertEqual([len(news.records[0].locators) for news in self.xtr.heard], [0, 0])
        self.assertEqual(self.xtr.heard[1].records[0].action, 4)
        ground.subscribe("10.1.2.0/24")
        self.assertEqual(self.xtr.said()[-1][0], "refused")
        self.assertEqual(server.count("subscriptions refused: policy"), 1)

    def test_every_family_is_published_and_names_match_whole(self) -> None:
        """IPv6 and MAC with what lies inside; a name only itself."""
        configured = sites(
            (site(), "name:ab"),
            (site("other"), "name:a"),
            (site("third"), "2001:db8::/32"),
            (site("fourth"), "02:00:00:00:00:00/8"),
        )
        eids = ("name:a", "2001:db8::/32", "02:00:00:00:00:00/16")
        ground = self._ground(*eids, configured=configured)
        for eid in ("name:ab", "name:a", "2001:db8:7::/48", "02:00:00:00:00:07/48"):
            ground.register(self.etr, eid)
        self.assertEqual(
            [(subscribed, records[0][0]) for subscribed, records in self._published()],
            [
                ("name:a", "name:a"),
                ("2001:db8::/32", "2001:db8:7::/48"),
                ("02:00:00:00:00:00/16", "02:00:00:00:00:07/48"),
            ],
        )

    def test_instances_do_not_mix(self) -> None:
        """The same EID-prefix in instance 5 is another."""
        configured = sites((site(), "10.0.0.0/8"), (site("other"), "10.0.0.0/8", 5))
        ground = self._ground("10.1.0.0/16", configured=configured)
        data = self.etr.map_register(record("10.1.0.0/16", instance_id=5), flags=P | M)
        ground.server.hear(self.etr, data, ground.now)
        ground.run(1.0)
        self.assertEqual(self._published(), [])
        self.xtr.subscriber.subscribe(prefix("10.1.0.0/16", 5), ground.now)
        ground.run(1.0)
        self.assertEqual(
            self.xtr.said(), [("confirmed", "[5] 10.1.0.0/16", [("[5] 10.1.0.0/16", 1440, 1)])]
        )

    def test_nothing_is_done_when_nobody_subscribed(self) -> None:
        """Nor with subscriptions elsewhere."""
        ground = self._ground("10.1.0.0/16")
        ground.register(self.etr, "10.2.0.0/16")
        self.assertEqual(ground.server.count("publications"), 0)
        self.assertIsNone(ground.server.subscriptions.next_timeout())


class PaceTests(_Case):
    """How often."""

    def test_at_most_one_a_second_and_the_newest_wins(self) -> None:
        """Twenty changes in two seconds."""
        ground = self._ground("10.1.0.0/16")
        ground.seen.clear()
        for last in range(20):
            ground.server.register(
                self.etr, "10.1.0.0/16", locator(f"192.0.2.{last}"), now=ground.now
            )
            ground.run(0.1)
        ground.run(2.0)
        times = ground.sent(_NOTIFY, self.xtr.endpoint)
        self.assertLessEqual(len(times), 4)
        for earlier, later in itertools.pairwise(times):
            self.assertGreaterEqual(later - earlier, 1.0)
        mapping = self.xtr.known[prefix("10.1.0.0/16")][prefix("10.1.0.0/16")]
        self.assertEqual(str(mapping.locators[0].rloc), "192.0.2.19")

    def test_subscriptions_of_one_xtr_share_its_pace(self) -> None:
        """Ten changes in ten subscriptions take ten seconds; another xTR does not wait."""
        eids = [f"10.{second}.0.0/16" for second in range(10)]
        ground = self._ground(*eids)
        other = Xtr(2, "203.0.113.2")
        ground.xtrs.append(other)
        ground.subscribe("10.9.0.0/16", other)
        ground.run(5.0)
        ground.seen.clear()
        for eid in eids:
            ground.server.register(self.etr, eid, now=ground.now)
        start = ground.now
        ground.run(20.0)
        times = ground.sent(_NOTIFY, self.xtr.endpoint)
        self.assertEqual([round(at - start) for at in times], list(range(10)))
        self.assertEqual(ground.sent(_NOTIFY, other.endpoint), [start])

    def test_the_interval_can_be_configured(self) -> None:
        """Zero: at once."""
        eids = [f"10.{second}.0.0/16" for second in range(5)]
        ground = self._ground(*eids, subscription_limits=_limits(interval=0.0))
        ground.seen.clear()
        for eid in eids:
            ground.server.register(self.etr, eid, now=ground.now)
        ground.run(0.5)
        self.assertEqual(len(ground.sent(_NOTIFY)), 5)

    def test_the_service_is_woken_when_there_is_something_to_send(self) -> None:
        """Changes come from sessions too."""
        woken: list[int] = []
        ground = self._ground("10.1.0.0/16", wake=lambda: woken.append(1))
        self.assertEqual(woken, [])
        ground.register(self.etr, "10.1.0.0/16")
        self.assertEqual(woken, [1])


class LossTests(_Case):
    """When Map-Notifies or their Acks are lost."""

    def test_a_publication_is_repeated_until_acknowledged(self) -> None:
        """And delivered once, whichever was lost."""
        for lost in (_NOTIFY, _ACK):
            self.xtr = Xtr()
            ground = self._ground("10.1.0.0/16")
            ground.loses = lambda datagram, lost=lost: message_type(datagram[0]) == lost  # type: ignore[misc]
            ground.register(self.etr, "10.1.0.0/16")
            ground.run(4.0)
            ground.loses = lambda datagram: False
            ground.run(60.0)
            self.assertEqual(self._published(), [("10.1.0.0/16", [("10.1.0.0/16", 1440, 1)])])
            self.assertEqual(ground.server.retransmissions.outstanding, 0)

    def test_after_giving_up_the_next_change_brings_along_what_was_lost(self) -> None:
        """The subscription stays."""
        ground = self._ground("10.1.0.0/16")
        ground.loses = lambda datagram: message_type(datagram[0]) == _NOTIFY
        ground.register(self.etr, "10.1.1.0/24")
        ground.run(200.0)
        self.assertEqual(ground.server.count("publications given up"), 1)
        self.assertEqual(ground.server.retransmissions.outstanding, 0)
        ground.loses = lambda datagram: False
        ground.run(100.0)
        self.assertEqual(self._published(), [])
        ground.register(self.etr, "10.1.2.0/24")
        self.assertEqual(
            self._published(),
            [("10.1.0.0/16", [("10.1.1.0/24", 1440, 1), ("10.1.2.0/24", 1440, 1)])],
        )

    def test_news_replaces_what_is_being_repeated(self) -> None:
        """What is no longer true is not sent again."""
        ground = self._ground("10.1.0.0/16")
        ground.loses = lambda datagram: message_type(datagram[0]) == _NOTIFY
        ground.register(self.etr, "10.1.0.0/16", locator("192.0.2.1"))
        ground.register(self.etr, "10.1.0.0/16", locator("192.0.2.2"))
        ground.loses = lambda datagram: False
        ground.run(3.0)
        (news,) = self.xtr.heard
        self.assertEqual(str(news.records[0].locators[0].rloc), "192.0.2.2")
        self.assertEqual(ground.server.count("publications replaced"), 1)

    def test_an_xtr_that_is_gone_loses_its_subscriptions(self) -> None:
        """Whether changes are few or many; and costs little until then."""
        for pause in (1.0, 400.0):
            self.xtr = Xtr()
            ground = self._ground("10.1.0.0/16")
            ground.seen.clear()
            ground.loses = lambda datagram: True
            start = ground.now
            for turn in range(400):
                if not len(ground.server.subscriptions):
                    break
                ground.register(self.etr, "10.1.0.0/16", locator(f"192.0.2.{turn % 2}"))
                ground.run(pause)
            self.assertEqual(len(ground.server.subscriptions), 0)
            self.assertEqual(ground.server.count("subscriptions ended: no Map-Notify-Ack"), 1)
            self.assertGreater(ground.now - start, 75.0)
            self.assertLessEqual(len(ground.sent(_NOTIFY, self.xtr.endpoint)), 30)
            self.assertIsNone(ground.server.subscriptions.next_timeout())

    def test_other_itr_rlocs_and_the_control_port_are_tried(self) -> None:
        """The one that answers comes first from then on."""
        self.xtr = Xtr(port=40000, rlocs=("203.0.113.1", "203.0.113.2"))
        ground = Ground(PublishingMapServer(), self.xtr)
        dead = {(ip("203.0.113.1"), 40000), (ip("203.0.113.1"), 4342)}
        ground.loses = lambda datagram: datagram[2] in dead
        self.xtr.subscriber.subscribe(prefix("10.1.0.0/16"), ground.now)
        ground.run(8.0)
        tried = [
            destination
            for _at, (data, _source, destination) in ground.seen
            if message_type(data) == _NOTIFY
        ]
        self.assertEqual(
            tried,
            [(ip("203.0.113.1"), 40000), (ip("203.0.113.1"), 4342), (ip("203.0.113.2"), 40000)],
        )
        self.assertEqual(len(ground.server.subscriptions), 1)

    def test_a_renewal_lets_what_was_given_up_go_again(self) -> None:
        """Though the xTR's nonce is behind: it can't count what never reached it."""
        ground = self._ground("10.1.0.0/16")
        ground.loses = lambda datagram: message_type(datagram[0]) == _NOTIFY
        for turn in range(2):
            ground.register(self.etr, "10.1.0.0/16", locator(f"192.0.2.{turn}"))
            ground.run(100.0)
        ground.loses = lambda datagram: False
        self.xtr.subscriber.renew(ground.now)
        ground.run(2.0)
        said = self.xtr.said()
        self.assertEqual(said[0][0], "confirmed")
        self.assertEqual(said[1:], [("published", "10.1.0.0/16", [("10.1.0.0/16", 1440, 1)])])

    def test_no_room_for_retransmissions_only_delays(self) -> None:
        """Nothing is forgotten, and nobody's subscription ends."""
        ground = self._ground(
            "10.1.0.0/16",
            "10.2.0.0/16",
            retransmission_limits=RetransmissionLimits(max_outstanding=1, max_unwatched=0),
        )
        ground.loses = lambda datagram: message_type(datagram[0]) == _ACK
        ground.server.register(self.etr, "10.1.0.0/16", now=ground.now)
        ground.server.register(self.etr, "10.2.0.0/16", now=ground.now)
        ground.run(10.0)
        ground.loses = lambda datagram: False
        ground.run(30.0)
        self.assertEqual(
            sorted(eid for eid, _records in self._published()), ["10.1.0.0/16", "10.2.0.0/16"]
        )


class LimitTests(_Case):
    """What a subscriber, or who changes mappings, can cost."""

    def test_too_much_news_ends_a_subscription(self) -> None:
        """Not the others."""
        ground = self._ground(
            "10.0.0.0/8", "10.1.1.0/24", subscription_limits=_limits(max_pending=10)
        )
        ground.loses = lambda datagram: datagram[2] == self.xtr.endpoint
        for third in range(20):
            ground.server.register(self.etr, f"10.1.{third}.0/24", now=ground.now)
        self.assertEqual(len(ground.server.subscriptions), 1)
        self.assertEqual(ground.server.count("subscriptions ended: too much news"), 1)

    def test_news_of_all_subscriptions_is_limited(self) -> None:
        """Though each may have more."""
        ground = self._ground(
            "10.0.0.0/8", "10.1.0.0/16", subscription_limits=_limits(max_pending_in_all=10)
        )
        for third in range(20):
            ground.server.register(self.etr, f"10.1.{third}.0/24", now=ground.now)
        self.assertGreaterEqual(ground.server.count("subscriptions ended: too much news"), 1)

    def test_publications_in_flight_are_limited(self) -> None:
        """For an xTR that is away with many subscriptions."""
        eids = [f"10.{second}.0.0/16" for second in range(30)]
        ground = self._ground(*eids)
        ground.loses = lambda datagram: datagram[2] == self.xtr.endpoint
        for eid in eids:
            ground.server.register(self.etr, eid, now=ground.now)
        ground.run(40.0)
        self.assertEqual(ground.server.retransmissions.outstanding, 8)
        ground.loses = lambda datagram: False
        ground.run(120.0)
        self.assertEqual(len(self._published()), 30)

    def test_a_key_taken_away_ends_the_subscription(self) -> None:
        """At the next publication; one that was exchanged signs it."""
        keys: dict[str, Key | None] = {"now": SUBSCRIBER_KEY.key()}
        ground = self._ground("10.1.0.0/16", find_key=lambda ids: keys["now"])
        keys["now"] = None
        ground.register(self.etr, "10.1.0.0/16")
        self.assertEqual(self._published(), [])
        self.assertEqual(len(ground.server.subscriptions), 0)
        self.assertEqual(ground.server.count("subscriptions ended: no key any more"), 1)
