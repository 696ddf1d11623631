"""Whole services on a network in memory: Map-Servers, Map-Resolvers, ETRs, and who asks them.

All addresses are those of documentation, for the loopback has rules of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from lispmsrt import Etr, MapServer, parse_config
from lispmsrt.config import SocketAddress
from lispmsrt.control.inquiries import Answer, Form, Pace
from lispmsrt.services.map_resolver import MapResolverService
from lispmsrt.services.requester import Requester
from lispmsrt.wire.addresses import EidPrefix
from lispmsrt.wire.records import MappingRecord
from tests.rim import Listener, Network, etr_text, map_server_text, mapping, outcome, site_text

__all__ = [
    "ETR_ONE",
    "ETR_TWO",
    "ITR",
    "MAP_RESOLVER",
    "MAP_SERVER",
    "MAP_SERVER_TWO",
    "XTR_ONE",
    "XTR_TWO",
    "Ground",
    "eid_of",
    "negative",
    "rlocs",
    "server_text",
    "site",
]

MAP_SERVER, MAP_SERVER_TWO, MAP_RESOLVER = "192.0.2.1", "192.0.2.2", "192.0.2.53"
ETR_ONE, ETR_TWO, ITR = "198.51.100.1", "198.51.100.2", "203.0.113.9"
XTR_ONE, XTR_TWO = "01" * 16, "02" * 16
_RLOCS = '"198.51.100.0/24", "2001:db8:51::/48"'


def site(name: str = "campus", *prefixes: str, options: str = "", **more: Any) -> str:
    """Return one [[site]] whose ETRs are at addresses of documentation."""
    text = site_text(name, *prefixes, rlocs=_RLOCS, **more)
    return text.replace("[[site.eid-prefix]]", f"{options}\n[[site.eid-prefix]]", 1)


def server_text(*sites: str, host: str = MAP_SERVER, options: str = "") -> str:
    """Return the configuration of a Map-Server; without sites there is one campus, 10.1.0.0/16."""
    return map_server_text("\n".join(sites) or site(), host=host, options=options)


def eid_of(text: str, instance_id: int = 0) -> EidPrefix:
    """Return an EID-prefix; without a length it has all bits."""
    if "/" not in text:
        text += "/128" if ":" in text else "/32"
    return EidPrefix.from_text(text, instance_id)


def rlocs(said: Answer | MappingRecord) -> list[str]:
    """Return the RLOCs of an answer or a mapping, as they stand."""
    record = said.record if isinstance(said, Answer) else said
    return [str(locator.rloc) for locator in record.locators]


def negative(answer: Answer) -> tuple[str, int, int]:
    """Return EID-prefix, TTL and action of a negative answer."""
    assert answer.is_negative, answer
    return str(answer.record.eid), answer.record.ttl, int(answer.record.action)


class Ground(SynchronousTestCase):
    """Services that are stopped after the test, and leave nothing then."""

    def setUp(self) -> None:
        """A network with nobody on it."""
        self.network = Network()
        self.services: list[Any] = []
        self.addCleanup(self._stop_all)

    def _stop_all(self) -> None:
        for service in self.services:
            if service.running:
                service.stopService()
        self.network.run(10)
        self.assertEqual(self.network.getDelayedCalls(), [])
        self.assertEqual((self.network.ports, self.network.pipes), ([], []))

    def start(self, service: Any) -> Any:
        """Start a service, and stop it after the test."""
        self.services.append(service)
        service.startService()
        return service

    def server(self, text: str = "") -> MapServer:
        """Return a Map-Server, and Map-Resolver where it is configured, that runs."""
        config = parse_config(text or server_text())
        assert config.map_server is not None
        server = MapServer(
            config.map_server,
            config.site,
            self.network,
            self.network,
            resolver=config.map_resolver,
            random=Random(3),
        )
        self.start(server)
        return server

    def resolver(self, text: str) -> MapResolverService:
        """Return a Map-Resolver on its own that runs."""
        config = parse_config(text)
        assert config.map_resolver is not None and config.map_server is None
        resolver = MapResolverService(
            config.map_resolver, self.network, self.network, random=Random(5)
        )
        self.start(resolver)
        return resolver

    def etr(
        self,
        *eids: str,
        host: str = ETR_ONE,
        listener: Listener | None = None,
        **text: Any,
    ) -> Etr:
        """Return an ETR that runs, with the xTR-ID of its host, and registers these."""
        text.setdefault("map_servers", (MAP_SERVER,))
        toml = etr_text(*eids, host=host, **text).replace(
            'xtr-id = "000102030405060708090a0b0c0d0e0f"', f'xtr-id = "{self.xtr_id(host)}"'
        )
        if ":" in host:
            toml = toml.replace(f'"{host}:4342"', f'"[{host}]:4342"')
        config = parse_config(toml)
        assert config.etr is not None
        etr = Etr(config.etr, self.network, self.network, listener=listener, random=Random(7))
        self.start(etr)
        return etr

    @staticmethod
    def xtr_id(host: str) -> str:
        """Return the xTR-ID of the ETR at an address: its last octet, sixteen times."""
        return host.rpartition(".")[2].rpartition(":")[2].zfill(2) * 16

    def register(self, etr: Etr, *eids: str, rloc: str | None = None, **options: Any) -> None:
        """Register in a running ETR, and see it acknowledged by every Map-Server."""
        results = [
            outcome(etr.register(mapping(eid, rloc or etr.config.control.host, **options)))
            for eid in eids
        ]
        self.network.run(0.1)
        self.assertEqual(results, [[None]] * len(eids))

    def itr(self, resolver: str = MAP_SERVER, source: str = ITR, **options: Any) -> Requester:
        """Return somebody who asks a Map-Resolver, and runs."""
        requester = Requester(
            self.network,
            SocketAddress(resolver, 4342),
            source=source,
            clock=self.network,
            random=Random(11),
            pace=Pace(interval=1.0, tries=1),
            **options,
        )
        self.start(requester)
        return requester

    def ask(
        self,
        eid: str,
        resolver: str = MAP_SERVER,
        *,
        instance_id: int = 0,
        source: str = ITR,
        form: Form = Form.ENCAPSULATED,
        **options: Any,
    ) -> Any:
        """Ask once, and return the Answer, or what came in its place."""
        requester = self.itr(resolver, source, **options)
        result = outcome(requester.ask(eid_of(eid, instance_id), form))
        self.network.run()
        if not result:
            self.network.run(1.5)
        requester.stopService()
        self.services.remove(requester)
        (answer,) = result
        return answer

    def lose(self, *hosts: str, is_lost: Callable[[bytes], bool] = lambda data: True) -> None:
        """From now on, lose datagrams from and to these hosts."""
        self.network.loses = lambda packet: (
            {packet.source[0], packet.destination[0]} & set(hosts) != set() and is_lost(packet.data)
        )

    def reload(self, server: MapServer, *sites: str) -> None:
        """Have a Map-Server take other sites."""
        result = outcome(server.reload(parse_config(server_text(*sites)).site))
        self.network.run()
        self.assertEqual(result, [None])

    def cut(self, server: MapServer) -> None:
        """Break every session of a Map-Server, as if the paths had failed."""
        for session in server.sessions:
            server.reset(session)
        self.network.run()
