"""Publish/Subscribe between whole services: a subscriber, a Map-Server, ETRs (RFC 9437)."""

from __future__ import annotations

from random import Random
from typing import Any

from lispmsrt import MapServer
from lispmsrt.config import SocketAddress
from lispmsrt.control.inquiries import Form
from lispmsrt.mapping.registrar import REGISTRATION_TIMEOUT
from lispmsrt.services.subscriber import News, SubscriberPace, SubscriberService
from lispmsrt.wire.authentication import AlgorithmId, Key
from lispmsrt.wire.messages import ControlType, message_type
from tests.rim import mapping, outcome
from tests.service_ground import (
    ETR_ONE,
    ETR_TWO,
    ITR,
    MAP_RESOLVER,
    MAP_SERVER,
    XTR_ONE,
    Ground,
    eid_of,
    rlocs,
    server_text,
    site,
)

_ITR_XTR = "0a" * 16
_ENABLED = "[map-server.subscriptions]\nenabled = true\n"
_KNOWN = site() + f'[[site.xtr]]\nxtr-id = "{_ITR_XTR}"\n'
_EID = "10.1.1.0/24"
_SITE_ID = (1).to_bytes(8, "big")
_ITR_TWO = "203.0.113.10"


class _Subscription:
    """One subscriber, and what it was told."""

    def __init__(self, ground: Ground, source: str, xtr_id: str, options: dict[str, Any]) -> None:
        self.news: list[News] = []
        options = {"secret": b"campus secret", "resolver": MAP_SERVER, "seed": 17, **options}
        secret, resolver, seed = (options.pop(one) for one in ("secret", "resolver", "seed"))
        self.service = SubscriberService(
            ground.network,
            SocketAddress(resolver, 4342),
            ids=bytes.fromhex(xtr_id) + _SITE_ID,
            key=Key(0, AlgorithmId.HMAC_SHA_256_128, secret),
            hear=self.news.append,
            source=source,
            clock=ground.network,
            random=Random(seed),
            **options,
        )
        ground.start(self.service)

    def heard(self) -> list[tuple[str, str, list[str] | None]]:
        """Return what was told since the last time: what, EID-prefix, RLOCs; None where it is
        gone.
        """
        told = [
            (news.what.value, str(record.eid), rlocs(record) if record.ttl else None)
            for news in self.news
            for record in news.records
        ]
        self.news.clear()
        return told


class _Case(Ground):
    """A Map-Server that takes subscriptions and knows one ITR by its configuration."""

    def serve(self, sites: str = _KNOWN, options: str = _ENABLED) -> MapServer:
        """Return a Map-Server that runs."""
        return self.server(server_text(sites, options=options))

    def subscriber(
        self, *eids: str, source: str = ITR, xtr_id: str = _ITR_XTR, **options: Any
    ) -> _Subscription:
        """Return a subscriber that has asked for these."""
        subscription = _Subscription(self, source, xtr_id, options)
        for eid in eids:
            subscription.service.subscribe(eid_of(eid))
        self.network.run()
        return subscription

    def count(self, server: MapServer) -> int:
        """Return how many subscriptions a Map-Server has."""
        assert server.mapping.subscriptions is not None
        return len(server.mapping.subscriptions)

    def quiet(self, server: MapServer) -> bool:
        """Whether nothing waits for a Map-Notify-Ack."""
        return server.mapping.retransmissions.next_timeout() is None


class PublicationTests(_Case):
    """From the first Map-Request to the last Map-Notify."""

    def setUp(self) -> None:
        """A Map-Server."""
        super().setUp()
        self.map_server = self.serve()

    def test_a_subscription_is_confirmed_with_the_mapping(self) -> None:
        """And counts once that has been acknowledged."""
        self.etr(_EID)
        self.network.run(1)
        itr = self.subscriber(_EID)
        self.assertEqual(itr.heard(), [("confirmed", _EID, [ETR_ONE])])
        self.assertEqual(self.count(self.map_server), 1)
        self.assertTrue(self.quiet(self.map_server))

    def test_every_change_is_published(self) -> None:
        """Who registers it, with what, and its end (TTL 0)."""
        itr = self.subscriber(_EID)
        self.assertEqual([what for what, *_ in itr.heard()], ["confirmed"])
        etr = self.etr(_EID)
        self.network.run(2)
        self.assertEqual(itr.heard(), [("published", _EID, [ETR_ONE])])
        self.register(etr, _EID, rloc=ETR_TWO)
        self.network.run(2)
        self.assertEqual(itr.heard(), [("published", _EID, [ETR_TWO])])
        outcome(etr.withdraw(mapping(_EID).eid))
        self.network.run(2)
        self.assertEqual(itr.heard(), [("published", _EID, None)])
        self.assertTrue(self.quiet(self.map_server))

    def test_changes_in_one_second_go_together(self) -> None:
        """The newest wins."""
        etr = self.etr(_EID)
        self.network.run(1)
        itr = self.subscriber("10.1.0.0/16")
        self.network.run(2)
        itr.heard()
        for priority in range(1, 20):
            self.register(etr, _EID, priority=priority)
        self.network.run(3)
        told = itr.heard()
        self.assertEqual(told[-1], ("published", _EID, [ETR_ONE]))
        self.assertLessEqual(len(told), 4)

    def test_a_merged_mapping_is_published_as_such(self) -> None:
        """With every part that comes and goes."""
        itr = self.subscriber(_EID)
        itr.heard()
        for host in (ETR_ONE, ETR_TWO):
            self.etr(_EID, host=host, server_options="merge = true")
            self.network.run(2)
        self.assertEqual(
            itr.heard(), [("published", _EID, [ETR_ONE]), ("published", _EID, [ETR_ONE, ETR_TWO])]
        )
        self.services[-1].stopService()
        self.network.run(REGISTRATION_TIMEOUT + 5)
        self.assertEqual(itr.heard(), [("published", _EID, [ETR_ONE])])

    def test_a_lost_publication_is_repeated(self) -> None:
        """In turn to the port that it asked from, and to 4342."""
        etr = self.etr(_EID)
        self.network.run(1)
        itr = self.subscriber(_EID)
        self.network.run(2)
        itr.heard()
        self.lose(ITR)
        self.register(etr, _EID, rloc=ETR_TWO)
        self.network.run(2)
        self.assertEqual(itr.heard(), [])
        self.lose()
        self.network.run(5)
        self.assertEqual(itr.heard(), [("published", _EID, [ETR_TWO])])

    def test_who_never_acknowledges_is_given_up(self) -> None:
        """An ITR that is gone must not be sent Map-Notifies for ever."""
        etr = self.etr(_EID)
        self.network.run(1)
        self.subscriber(_EID)
        self.lose(ITR)
        for turn in range(10):
            self.register(etr, _EID, priority=turn + 1)
            self.network.run(60)
        self.assertEqual(self.count(self.map_server), 0)
        self.assertTrue(self.quiet(self.map_server))

    def test_unsubscribing_ends_it(self) -> None:
        """What changes then is not told."""
        etr = self.etr(_EID)
        self.network.run(1)
        itr = self.subscriber(_EID)
        itr.heard()
        itr.service.unsubscribe(eid_of(_EID))
        self.network.run(1)
        self.assertEqual([what for what, *_ in itr.heard()], ["cancelled"])
        self.assertEqual(self.count(self.map_server), 0)
        self.register(etr, _EID, rloc=ETR_TWO)
        self.network.run(5)
        self.assertEqual(itr.heard(), [])
        self.assertTrue(self.quiet(self.map_server))

    def test_it_may_subscribe_again(self) -> None:
        """As if it never had."""
        itr = self.subscriber(_EID)
        itr.service.unsubscribe(eid_of(_EID))
        self.network.run(1)
        itr.heard()
        itr.service.subscribe(eid_of(_EID))
        self.network.run(1)
        self.assertEqual([what for what, *_ in itr.heard()], ["confirmed"])
        self.assertEqual(self.count(self.map_server), 1)

    def test_it_is_renewed_and_stays_one(self) -> None:
        """Every ten minutes; it is confirmed once more."""
        itr = self.subscriber(_EID)
        self.network.run(3 * 601)
        self.assertEqual([what for what, *_ in itr.heard()], ["confirmed"] * 4)
        self.assertEqual(self.count(self.map_server), 1)

    def test_two_subscribers_are_told_alike(self) -> None:
        """One of them subscribes to everything of the site."""
        reloaded = _KNOWN + f'[[site.xtr]]\nxtr-id = "{"0b" * 16}"\n'
        self.reload(self.map_server, reloaded)
        narrow = self.subscriber(_EID)
        wide = self.subscriber("10.1.0.0/16", source=_ITR_TWO, xtr_id="0b" * 16, seed=18)
        narrow.heard(), wide.heard()
        self.etr(_EID)
        self.network.run(3)
        for itr in (narrow, wide):
            self.assertEqual(itr.heard(), [("published", _EID, [ETR_ONE])])

    def test_plain_map_requests_subscribe_too(self) -> None:
        """Without ECM."""
        itr = self.subscriber(_EID, form=Form.PLAIN)
        self.assertEqual([what for what, *_ in itr.heard()], ["confirmed"])

    def test_through_a_map_resolver(self) -> None:
        """The Map-Server answers the ITR itself."""
        self.resolver(
            f'[map-resolver]\ncontrol = ["{MAP_RESOLVER}:4342"]\n'
            f'[[map-resolver.map-server]]\naddress = "{MAP_SERVER}"\n'
        )
        itr = self.subscriber(_EID, resolver=MAP_RESOLVER)
        self.assertEqual([what for what, *_ in itr.heard()], ["confirmed"])
        self.etr(_EID)
        self.network.run(2)
        self.assertEqual(itr.heard(), [("published", _EID, [ETR_ONE])])
        itr.service.unsubscribe(eid_of(_EID))
        self.network.run(2)
        self.assertEqual(self.count(self.map_server), 0)


class WhoMaySubscribeTests(_Case):
    """Keys, and who is known."""

    def test_switched_off_is_the_default(self) -> None:
        """A Map-Reply comes in place of the confirmation."""
        server = self.serve(options="")
        itr = self.subscriber(_EID)
        self.assertEqual([what for what, *_ in itr.heard()], ["refused"])
        self.assertIsNone(server.mapping.subscriptions)

    def test_an_unknown_xtr_is_refused(self) -> None:
        """It is told the mapping."""
        server = self.serve(site())
        self.etr(_EID)
        self.network.run(1)
        itr = self.subscriber(_EID)
        self.assertEqual(itr.heard(), [("refused", _EID, [ETR_ONE])])
        self.assertEqual(self.count(server), 0)

    def test_an_etr_that_has_registered_is_known(self) -> None:
        """Without being configured."""
        server = self.serve(site())
        self.etr(_EID)
        self.network.run(1)
        itr = self.subscriber(_EID, source=ETR_ONE, xtr_id=XTR_ONE)
        self.assertEqual(itr.heard(), [("confirmed", _EID, [ETR_ONE])])
        self.assertEqual(self.count(server), 1)

    def test_with_a_wrong_key_nothing_is_confirmed(self) -> None:
        """Neither side believes the other; nothing is left after a while."""
        server = self.serve()
        itr = self.subscriber(_EID, secret=b"wrong", pace=SubscriberPace(tries=1, pause=1000.0))
        self.network.run(100)
        self.assertEqual((itr.heard(), self.count(server)), ([], 0))
        self.assertTrue(self.quiet(server))
        self.assertEqual(server.mapping.subscriptions.candidates, 0)  # type: ignore[union-attr]
        self.assertGreater(itr.service.counters["Map-Notifies with authentication failures"], 0)

    def test_a_reload_makes_an_xtr_known(self) -> None:
        """It asks again after its pause."""
        server = self.serve(site())
        itr = self.subscriber(_EID)
        self.assertEqual([what for what, *_ in itr.heard()], ["refused"])
        self.reload(server, _KNOWN)
        self.network.run(35)
        self.assertEqual([what for what, *_ in itr.heard()], ["confirmed"])

    def test_what_only_its_etr_may_answer_is_not_published(self) -> None:
        """RFC 9437 wants the Map-Server to be a proxy: the ETR answers with a Map-Reply."""
        server = self.serve()
        self.etr(_EID, server_options="proxy-reply = false")
        self.network.run(1)
        itr = self.subscriber(_EID)
        self.assertEqual(itr.heard(), [("refused", _EID, [ETR_ONE])])
        self.assertEqual(self.count(server), 0)

    def test_who_is_denied_by_policy_is_told_nothing(self) -> None:
        """allowed-itrs holds for subscriptions too."""
        self.serve(site(options='allowed-itrs = ["203.0.113.9/32"]') + _KNOWN[len(site()) :])
        self.etr(_EID)
        self.network.run(1)
        itr = self.subscriber(_EID, source=_ITR_TWO)
        self.network.run(2)
        told = itr.heard()
        self.assertNotIn([ETR_ONE], [found for *_, found in told])
        self.register(self.services[1], _EID, rloc=ETR_TWO)
        self.network.run(5)
        self.assertNotIn([ETR_TWO], [found for *_, found in itr.heard()])


class RestartTests(_Case):
    """Somebody has lost its memory."""

    def test_a_restarted_map_server_is_subscribed_to_with_the_next_renewal(self) -> None:
        """And with every change that is published from then on."""
        server = self.serve()
        itr = self.subscriber(_EID)
        self.network.run(5)
        itr.heard()
        server.stopService()
        self.network.run(5)
        server = self.serve()
        self.assertEqual(self.count(server), 0)
        self.etr(_EID)
        self.network.run(605)
        self.assertEqual(itr.heard(), [("confirmed", _EID, [ETR_ONE])])
        self.assertEqual(self.count(server), 1)
        self.register(self.services[-1], _EID, rloc=ETR_TWO)
        self.network.run(3)
        self.assertEqual(itr.heard(), [("published", _EID, [ETR_TWO])])

    def test_a_restarted_subscriber_is_refused_until_its_subscription_is_given_up(self) -> None:
        """The Map-Server can't tell it from a replay; the ITR has its Map-Replies meanwhile."""
        self.serve()
        etr = self.etr(_EID)
        self.network.run(1)
        itr = self.subscriber(_EID)
        itr.service.stopService()
        self.network.run(1)
        again = self.subscriber(_EID, seed=99)
        self.assertEqual(again.heard(), [("refused", _EID, [ETR_ONE])])
        for turn in range(15):
            self.register(etr, _EID, priority=turn + 2)
            self.network.run(60)
        heard = [what for what, *_ in again.heard()]
        self.assertIn("confirmed", heard)
        self.assertNotIn("refused", heard[heard.index("confirmed") :])

    def test_map_notifies_have_records_and_no_map_reply_goes_with_them(self) -> None:
        """A Map-Request gets one answer."""
        self.serve()
        self.subscriber(_EID)
        kinds = [message_type(data) for data in self.network.udp_payloads(ITR)]
        self.assertEqual(kinds, [ControlType.MAP_NOTIFY])
