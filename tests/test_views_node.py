"""Views of a process, whichever roles it has."""

from __future__ import annotations

from lispmsrt.views.etr import EtrViews
from lispmsrt.views.map_resolver import MapResolverViews
from lispmsrt.views.node import NodeViews
from lispmsrt.views.values import OverviewView
from tests.service_ground import ETR_ONE, MAP_RESOLVER, MAP_SERVER
from tests.views_ground import ViewsGround


class NodeTests(ViewsGround):
    """One look at everything, for any roles."""

    def test_of_an_etr(self) -> None:
        """What it has registered, and over what."""
        self.watched()
        etr = self.etr("10.1.1.0/24", "10.1.2.0/24")
        self.network.run(10)
        node = NodeViews(etr=EtrViews(etr, self.wall_clock), wall_clock=self.wall_clock)
        one = node.overview()
        self.assertEqual((one.roles, one.registrations), (("etr",), 2))
        self.assertEqual((one.sessions, one.established_sessions), (1, 1))
        found = [(each.transport, each.sessions, each.registrations) for each in one.transports]
        self.assertEqual(found, [("TCP", 1, 2)])
        self.assertEqual([each.address for each in one.listeners], [f"{ETR_ONE}:4342"])
        self.assertGreater(one.messages_in, 0)
        self.assert_json(one, OverviewView)
        self.assertTrue(node.statistics())

    def test_of_a_map_resolver(self) -> None:
        """What was asked and answered."""
        self.watched()
        text = f'[map-resolver]\ncontrol = ["{MAP_RESOLVER}:4342"]\n'
        text += f'[[map-resolver.map-server]]\naddress = "{MAP_SERVER}:4342"\n'
        resolver = self.resolver(text)
        self.ask("10.1.1.1", MAP_RESOLVER)
        one = NodeViews(map_resolver=MapResolverViews(resolver)).overview()
        self.assertEqual((one.roles, one.map_requests), (("map-resolver",), 1))
        self.assertEqual([each.address for each in one.listeners], [f"{MAP_RESOLVER}:4342"])

    def test_of_a_map_server_and_an_etr(self) -> None:
        """The Map-Server's numbers, and both roles."""
        self.watched()
        etr = self.etr("10.1.1.0/24")
        self.network.run(10)
        node = NodeViews(self.views, EtrViews(etr, self.wall_clock))
        one = node.overview()
        self.assertEqual((one.roles, one.sites), (("map-server", "etr"), 1))
        groups = {each.group for each in node.statistics()}
        self.assertGreater(len(groups), 5)
