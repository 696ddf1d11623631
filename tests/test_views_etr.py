"""What an operator sees of an ETR."""

from __future__ import annotations

import json
from typing import Any

from pydantic import TypeAdapter
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt import Etr
from lispmsrt.control.inquiries import Form
from lispmsrt.views import etr_mappings
from lispmsrt.views.cursors import CursorError
from lispmsrt.views.etr import EtrViews
from lispmsrt.views.map_resolver import MapResolverViews
from lispmsrt.views.values import (
    EtrMappingState,
    EtrMappingView,
    EtrView,
    MappingFilter,
    MapServerLinkView,
    Page,
    SessionUseView,
)
from lispmsrt.wire.addresses import EidPrefix
from lispmsrt.wire.reliable_transport import reason_text
from tests.rim import mapping, outcome
from tests.service_ground import (
    ETR_ONE,
    MAP_RESOLVER,
    MAP_SERVER,
    MAP_SERVER_TWO,
    XTR_ONE,
    Ground,
    eid_of,
    server_text,
    site,
)

_WALL = 1_700_000_000.0
_BOTH = (MAP_SERVER, MAP_SERVER_TWO)
_NAME = '[[site.eid-prefix]]\nprefix = "name:printer"\n'
_MORE = site("campus", "10.1.0.0/16", "7 10.7.0.0/16", "2001:db8:1::/48") + _NAME


_RESOLVER = f"""
[map-resolver]
control = ["{MAP_RESOLVER}:4342"]
[[map-resolver.map-server]]
address = "{MAP_SERVER}:4342"
"""


class _Case(Ground):
    """ETRs, and views of them in which the wall clock goes with the network's."""

    def views(self, etr: Etr) -> EtrViews:
        began = self.network.seconds()
        return EtrViews(etr, lambda: _WALL + self.network.seconds() - began)

    def link(self, views: EtrViews, number: int = 0) -> MapServerLinkView:
        return views.etr().map_servers[number]


class EtrTests(_Case):
    """etr()."""

    def test_before_anything_answers(self) -> None:
        """Everything is registered over UDP."""
        etr = self.etr("10.1.1.0/24", "10.1.2.0/24")
        view = self.views(etr).etr()
        self.assertEqual((view.xtr_id, view.site_id), (XTR_ONE, "1"))
        self.assertEqual((view.address, view.mappings), (f"{ETR_ONE}:4342", 2))
        self.assertTrue(view.answers_map_requests)
        (link,) = view.map_servers
        self.assertEqual((link.map_server, link.phase), ("192.0.2.1:4342", _IDLE))
        self.assertEqual((link.session, link.retry_in, link.last_map_notify), (None, None, None))
        self.assertEqual(link.key, "ID 0, hmac-sha-256-128")
        self.assertEqual({key: n for key, n in link.states.items() if n}, {"periodic": 2})
        self.assertEqual(set(link.states), {state.value for state in EtrMappingState})
        (transport,) = link.transports
        self.assertEqual((transport.transport, transport.state), ("TCP", "not tried yet"))

    def test_on_a_session(self) -> None:
        """With the fields of a Map-Server's session, seen from the other end."""
        server = self.server(server_text(_MORE))
        views = self.views(self.etr("10.1.1.0/24", "10.1.2.0/24"))
        self.network.run(60)
        link = self.link(views)
        session, (other,) = link.session, server.sessions
        assert session is not None
        self.assertEqual((session.id, session.role, session.state), (1, "active", "established"))
        self.assertEqual((session.peer, session.local), ("192.0.2.1:4342", other.peer))
        self.assertEqual((session.transport, session.since), ("TCP", _WALL))
        self.assertEqual((session.xtr_id, session.site_id, session.site), (XTR_ONE, "1", ""))
        self.assertEqual(session.messages_in, other.counters["messages out"])
        self.assertEqual(session.octets_out, other.counters["octets in"])
        self.assertEqual((session.registrations, session.errors), (2, {}))
        self.assertEqual(session.uses, (_use(0, "IPv4", 2),))
        self.assertEqual(session.counters["refreshes in"], 1)
        self.assertEqual((session.queued_octets, session.pending_notifications), (0, 0))
        self.assertFalse(session.is_paused)
        self.assertEqual((link.phase, link.last_map_notify), ("up", _WALL))
        self.assertEqual(session.key, link.key)
        self.assertEqual((link.last_end, link.last_end_reason), (None, ""))
        self.assertEqual((link.states["stable"], link.states["periodic"]), (2, 0))
        self.assertEqual(link.transports[0].state, "in use")

    def test_the_next_session_has_another_id(self) -> None:
        """At whatever Map-Server."""
        server = self.server()
        other = self.server(server_text(host=MAP_SERVER_TWO))
        views = self.views(self.etr("10.1.1.0/24", map_servers=_BOTH))
        self.network.run(1)
        ids = [one.session.id for one in views.etr().map_servers if one.session is not None]
        self.assertEqual(sorted(ids), [1, 2])
        self.cut(server)
        lost = self.link(views)
        self.assertIsNone(lost.session)
        self.assertEqual(lost.last_end, _WALL + 1)
        self.assertIn("lost", lost.last_end_reason.lower())
        self.network.run(10)
        session = self.link(views).session
        assert session is not None
        self.assertEqual((session.id, len(other.sessions)), (3, 1))
        self.assertEqual(self.link(views).last_end, lost.last_end, "it is still told")

    def test_what_is_rejected_and_what_roamed(self) -> None:
        """The states are counted, and the session's errors."""
        self.server(server_text(_MORE))
        etr = self.etr("10.1.1.0/24", "192.0.2.0/24")
        views = self.views(etr)
        self.network.run(1)
        link = self.link(views)
        assert link.session is not None
        self.assertEqual((link.states["stable"], link.states["rejected"]), (1, 1))
        self.assertEqual(link.session.errors, {"rejections": 1})
        self.etr("10.1.1.0/24", host="198.51.100.2")
        self.network.run(1)
        self.assertEqual((self.link(views).states["roamed"], views.etr().mappings), (1, 2))

    def test_while_no_transport_works(self) -> None:
        """Why, how often, and when the next attempt is."""
        self.server(server_text(options="").replace('["tcp:4342', '["tcp:4343'))
        views = self.views(self.etr("10.1.1.0/24"))
        self.network.run(0.1)
        link = self.link(views)
        self.assertEqual(link.phase, "waiting before the next attempt")
        assert link.retry_in is not None
        self.assertTrue(0 < link.retry_in <= 1.5, link.retry_in)
        (transport,) = link.transports
        self.assertEqual((transport.state, transport.failures), ("failed", 1))
        self.assertIn("refused", transport.reason)

    def test_rloc_membership_is_a_use(self) -> None:
        """With as many members as were told."""
        families = 'rloc-membership]]\nfamilies = ["ipv4"]\n'
        self.server(server_text(site(), options=f"[[map-server.{families}"))
        option = f"[[etr.map-server.{families}"
        views = self.views(self.etr("10.1.1.0/24", server_options=option))
        self.network.run(1)
        session = self.link(views).session
        assert session is not None
        self.assertIn(SessionUseView("RLOC membership", 0, "IPv4", 1), session.uses)
        self.assertIn(_use(0, "IPv4", 1), session.uses)

    def test_as_json(self) -> None:
        """Every value goes into JSON as it is, and comes out again."""
        self.server()
        views = self.views(self.etr("10.1.1.0/24"))
        self.network.run(1)
        for kind, value in (
            (EtrView, views.etr()),
            (Page[EtrMappingView], views.mappings(MappingFilter(), None, 10)),
        ):
            adapter: TypeAdapter[Any] = TypeAdapter(kind)
            text = adapter.dump_json(value)
            self.assertEqual(adapter.validate_python(json.loads(text)), value)

    def test_statistics(self) -> None:
        """Those of sessions that have ended count."""
        server = self.server()
        views = self.views(self.etr("10.1.1.0/24"))
        self.network.run(1)
        self.assertEqual(self._statistic(views, "refreshes in"), 1)
        self.cut(server)
        self.network.run(10)
        self.assertEqual(self._statistic(views, "refreshes in"), 2)

    def _statistic(self, views: EtrViews, name: str) -> int:
        (value,) = (one.value for one in views.statistics() if one.name == name)
        return value


class MappingTests(_Case):
    """mappings()."""

    def setUp(self) -> None:
        """An ETR at two Map-Servers, one of which is there."""
        super().setUp()
        self.map_server = self.server(server_text(_MORE))
        self.eids = [f"10.1.{number}.0/24" for number in range(20)]
        etr = self.etr(*self.eids, map_servers=_BOTH)
        for eid, instance_id in (
            ("10.1.0.0/16", 0),
            ("10.1.3.128/25", 0),
            ("10.7.0.0/24", 7),
            ("name:printer", 0),
            ("2001:db8:1::/48", 0),
        ):
            outcome(etr.register(mapping(eid, ETR_ONE, instance_id=instance_id)))
        self.network.run(1)
        self.of_etr = etr
        self.shown = self.views(etr)

    def all(self, limit: int = 7, **wanted: Any) -> list[EtrMappingView]:
        """Follow the cursors to the end."""
        found: list[EtrMappingView] = []
        cursor = None
        for _ in range(1000):
            page = self.shown.mappings(MappingFilter(**wanted), cursor, limit)
            self.assertLessEqual(len(page.items), limit)
            found += page.items
            cursor = page.next_cursor
            if cursor is None:
                return found
        raise AssertionError("no end")

    def names(self, **wanted: Any) -> list[str]:
        """Return what is found at the Map-Server that is there."""
        found = self.all(map_server=MAP_SERVER, **wanted)
        self.assertEqual({one.map_server for one in found}, {"192.0.2.1:4342"} if found else set())
        return [f"{one.instance_id} {one.eid_prefix}" for one in found]

    def test_one(self) -> None:
        """Everything that is known of it."""
        first, *_, last = self.all()
        self.assertEqual((first.eid_prefix, first.instance_id), ("10.1.0.0/24", 0))
        self.assertEqual((first.map_server, last.map_server), ("192.0.2.1:4342", "192.0.2.2:4342"))
        self.assertEqual((first.state, last.state), ("stable", "periodic"))
        self.assertEqual((first.over_udp, last.over_udp), (False, True))
        self.assertEqual((first.reason, first.record.ttl), ("", 1440))
        self.assertEqual([one.rloc for one in first.record.locators], [ETR_ONE])

    def test_pages(self) -> None:
        """Each once, in the order in which they were registered."""
        for limit in (1, 3, 25, 50, 1000):
            found = [(one.map_server, one.eid_prefix) for one in self.all(limit)]
            self.assertEqual(len(found), 50)
            self.assertEqual(len(set(found)), 50)
            self.assertEqual([eid for _server, eid in found[:20]], self.eids)

    def test_total(self) -> None:
        """Where it is known without a walk; and where the first page is all."""
        for wanted, total in (
            ({}, 50),
            ({"state": "stable"}, 25),
            ({"state": "rejected"}, 0),
            ({"map_server": MAP_SERVER}, 25),
            ({"map_server": "192.0.2.77"}, 0),
            ({"instance_id": 0}, None),
            ({"instance_id": 7}, 2),
            ({"instance_id": 8}, 0),
            ({"eid": eid_of("10.1.3.200")}, 6),
        ):
            page = self.shown.mappings(MappingFilter(**wanted), None, 10)
            self.assertEqual(page.total, total, wanted)

    def test_map_servers_have_names(self) -> None:
        """An address, with or without its port."""
        for text, count in (
            ("192.0.2.1", 25),
            ("192.0.2.1:4342", 25),
            ("192.0.2.1:4343", 0),
            ("192.0.2.3", 0),
            ("rubbish", 0),
        ):
            self.assertEqual(len(self.all(map_server=text)), count, text)

    def test_states(self) -> None:
        """In any case of letters; unknown ones are refused."""
        (failed,) = outcome(self.of_etr.register(mapping("192.0.2.0/24", ETR_ONE)))[:1] or [None]
        self.assertIsNone(failed)
        self.network.run(1)
        (rejected,) = self.all(state="Rejected")
        self.assertEqual(rejected.eid_prefix, "192.0.2.0/24")
        self.assertEqual(rejected.reason, "not a valid site EID-prefix")
        self.assertEqual(len(self.all(state="periodic")), 26)
        with self.assertRaisesRegex(ValueError, "there is no state 'up'; there are withdrawn, "):
            self.all(state="up")

    def test_what_is_withdrawn_is_there_until_everybody_knows(self) -> None:
        """Then it is gone."""
        outcome(self.of_etr.withdraw(eid_of("10.1.7.0/24")))
        self.assertEqual(len(self.all(state="withdrawn")), 2)
        self.network.run(1)
        (gone,) = self.all(state="withdrawn")
        self.assertEqual((gone.eid_prefix, gone.map_server), ("10.1.7.0/24", "192.0.2.2:4342"))

    def test_instances(self) -> None:
        """Of every family."""
        self.assertEqual(self.names(instance_id=7), ["7 10.7.0.0/24"])
        self.assertEqual(len(self.names(instance_id=0)), 24)

    def test_an_eid(self) -> None:
        """What covers it, the longest first, and what lies inside."""
        self.assertEqual(
            self.names(eid=eid_of("10.1.3.200")),
            ["0 10.1.3.128/25", "0 10.1.3.0/24", "0 10.1.0.0/16"],
        )
        self.assertEqual(
            self.names(eid=EidPrefix.from_text("10.1.2.0/23")),
            ["0 10.1.0.0/16", "0 10.1.2.0/24", "0 10.1.3.0/24", "0 10.1.3.128/25"],
        )
        self.assertEqual(self.names(eid=eid_of("10.7.0.1")), ["7 10.7.0.0/24"])
        self.assertEqual(self.names(eid=eid_of("10.7.0.1"), instance_id=0), [])
        self.assertEqual(self.names(eid=EidPrefix.from_text("name:printer")), ["0 name:printer"])
        self.assertEqual(self.names(eid=EidPrefix.from_text("name:print")), [])
        self.assertEqual(len(self.names(eid=EidPrefix.from_text("0.0.0.0/0"))), 23)
        self.assertEqual(self.names(eid=eid_of("2001:db8:1::1")), ["0 2001:db8:1::/48"])

    def test_an_eid_where_too_much_would_cover_it(self) -> None:
        """It is found by looking at everything, and the same."""
        texts = ("10.1.3.200", "10.7.0.1")
        expected = [sorted(self.names(eid=eid_of(text))) for text in texts]
        for limit in (10, 1):
            self.patch(etr_mappings, "MAX_COVERING", limit)
            self.assertEqual([sorted(self.names(eid=eid_of(text))) for text in texts], expected)
        # Nor is there room for what covers it on a page of one.
        self.patch(etr_mappings, "MAX_COVERING", 2048)
        found = self.all(1, eid=eid_of("10.1.3.200"), map_server=MAP_SERVER)
        self.assertEqual(len(found), 3)

    def test_a_call_looks_at_a_few_only(self) -> None:
        """A page may have fewer, even none, and there is more."""
        self.patch(etr_mappings, "MAX_SCANNED", 4)
        page = self.shown.mappings(MappingFilter(instance_id=7), None, 10)
        self.assertEqual((page.items, page.total), ((), None))
        self.assertIsNotNone(page.next_cursor)
        self.assertEqual(self.names(instance_id=7), ["7 10.7.0.0/24"])
        for limit in (1, 3, 4, 5, 10):
            self.assertEqual(len(self.all(limit)), 50, limit)

    def test_what_goes_meanwhile(self) -> None:
        """Nothing else is skipped or told twice."""
        page = self.shown.mappings(MappingFilter(map_server=MAP_SERVER), None, 5)
        for eid in self.eids[:4]:
            outcome(self.of_etr.withdraw(eid_of(eid)))
        self.network.run(1)
        following = self.shown.mappings(MappingFilter(map_server=MAP_SERVER), page.next_cursor, 5)
        self.assertEqual([one.eid_prefix for one in following.items], self.eids[5:10])

    def test_most_have_gone_meanwhile(self) -> None:
        """The cursor is refused with a sentence."""
        page = self.shown.mappings(MappingFilter(), None, 5)
        self.of_etr.links[0].registrations.listing.epoch += 1
        with self.assertRaisesRegex(CursorError, "most mappings have gone since"):
            self.shown.mappings(MappingFilter(), page.next_cursor, 5)

    def test_cursors_that_are_none(self) -> None:
        """CursorError, or an end; nothing worse."""
        for text in ("", "x", "1", "1.2", "1.2.3.4", "-1.0.0", "0.0.0x", "٣.0.0", "9" * 400):
            with self.assertRaises(CursorError, msg=text):
                self.shown.mappings(MappingFilter(), text, 5)
        for text in ("999999.0.0", "999999.5.7i", "0.0.999999999", "1.0.25"):
            page = self.shown.mappings(MappingFilter(), text, 1000)
            self.assertLessEqual(len(page.items), 25)
        page = self.shown.mappings(MappingFilter(), "0.0.0i", 1000)
        self.assertEqual(len(page.items), 50)


class ReasonTests(SynchronousTestCase):
    """Reasons of Registration Rejections."""

    def test_in_words(self) -> None:
        """Unknown ones stay numbers."""
        texts = [reason_text(reason) for reason in (1, 2, 3, 4, 99)]
        self.assertEqual(texts[0], "not a valid site EID-prefix")
        self.assertEqual(
            texts[1:], ["authentication failure", "locator set not allowed", "other", "reason 99"]
        )


class MapResolverTests(Ground):
    """What is seen of a Map-Resolver."""

    def test_statistics(self) -> None:
        """Its counters."""
        self.server()
        resolver = self.resolver(_RESOLVER)
        self.ask("10.1.1.1", MAP_RESOLVER, form=Form.ENCAPSULATED)
        found = {one.name: one.value for one in MapResolverViews(resolver).statistics()}
        self.assertEqual(found["Map-Requests in"], 1)


_IDLE = "waiting for a Map-Notify"


def _use(instance_id: int, afi: str, count: int) -> SessionUseView:
    return SessionUseView("ETR Reliable Registration", instance_id, afi, count)
