"""A Map-Server with its management endpoint, and ETRs that keep sessions with it over several
transports: a process of its own, which a browser test drives by lines on stdin.

``register ETR EID``, ``withdraw ETR EID``, ``kill SESSION`` (its path is cut and its ETR gone),
``stop``: each is answered by a line of JSON, as is the start.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.stdio import StandardIO
from twisted.internet.task import LoopingCall, deferLater
from twisted.protocols.basic import LineReceiver

from lispmsrt import Etr, MapServer, parse_config
from lispmsrt.config import ManagementConfig
from lispmsrt.services.link import RegistrationRejected
from lispmsrt.services.operations import Operations
from lispmsrt.views.etr import EtrViews
from lispmsrt.views.map_server import MapServerViews
from lispmsrt.views.node import NodeViews
from lispmsrt.web.management import Management
from lispmsrt.wire.addresses import Address, EidPrefix
from lispmsrt.wire.records import Locator, MappingRecord
from tests.rim import MAP_SERVER_HOST
from tests.running import free_port
from tests.session_transports import OverQuic, OverTcp, OverTls

__all__ = ["MORTAL", "TOKEN", "TRANSPORTS", "BrowserGround", "host_of"]

TOKEN = "token-of-the-browser-tests"
TRANSPORTS = ("TCP", "TLS", "QUIC") if find_spec("aioquic") else ("TCP", "TLS")
MORTAL = len(TRANSPORTS)
"""Number of the ETR whose session a test may kill; of each transport there is one besides."""

_OVER: dict[str, Any] = {"TCP": OverTcp, "TLS": OverTls, "QUIC": OverQuic}

_SITES = """
[[site]]
name = "campus"
keys = [{ id = 1, secret = "campus secret" }]
allowed-rlocs = ["127.0.0.0/8", "192.0.2.0/24", "2001:db8::/32"]
[[site.eid-prefix]]
prefix = "10.0.0.0/8"
accept-more-specifics = true
[[site.eid-prefix]]
prefix = "2001:db8:10::/48"
accept-more-specifics = true
[[site.eid-prefix]]
prefix = "10.1.0.0/16"
instance-id = 7
accept-more-specifics = true

[[site]]
name = "branch <b>Zürich</b>"
keys = [{ id = 1, secret = "branch secret" }]
[[site.eid-prefix]]
prefix = "172.16.0.0/12"
"""


def host_of(number: int) -> str:
    """Return the address of an ETR."""
    return f"127.0.0.{number + 10}"


class BrowserGround:
    """Everything that the process runs."""

    def __init__(self, reactor: Any, directory: Path, *, many: int = 0, etrs: int = 0) -> None:
        """``many`` is how many EID-prefixes each ETR has besides its own; ``etrs`` how many ETRs
        there are, at least one for each transport.
        """
        self._reactor = reactor
        self._port = free_port(MAP_SERVER_HOST, "127.0.0.2")
        self._ports = {name: free_port(MAP_SERVER_HOST) for name in TRANSPORTS}
        self.server = self._make_server()
        self.etrs: dict[str, Etr] = {}
        for number in range(max(etrs, MORTAL + 1)):
            self._make_etr(number, many)
        self._token = directory / "token"
        self._token.write_text(TOKEN)
        self._token.chmod(0o600)
        self.views = NodeViews(MapServerViews(self.server), None, None)
        self.operations = Operations(self.server, None, None)
        first = self.etrs["etr-0"]
        self.etr_views = NodeViews(None, EtrViews(first), None)
        self.etr_operations = Operations(None, first, None)
        self._managements: list[Management] = []

    def start(self) -> Deferred[dict[str, Any]]:
        """Start everything; fires with what a test must know once all sessions are up."""
        self.server.startService()
        for etr in self.etrs.values():
            etr.startService()
        facts = {
            "readable": self._manage(self.views, self.operations),
            "guarded": self._manage(self.views, self.operations, self._token),
            "etr": self._manage(self.etr_views, self.etr_operations),
        }
        return self._until(self._is_up).addCallback(lambda _: facts)

    def stop(self) -> Deferred[Any]:
        """Stop everything."""
        services = [*self._managements, *self.etrs.values(), self.server]
        return gatherResults([each.stopService() for each in services if each.running])

    # Commands

    def register(self, name: str, eid: str) -> Deferred[Any]:
        """Have an ETR register one more EID-prefix."""
        etr = self.etrs[name]
        done = etr.register(_mapping(eid, etr.config.control.host))
        # What the Map-Server does not take is what a test wants to see.
        return done.addErrback(lambda failure: failure.trap(RegistrationRejected) and None)

    def withdraw(self, name: str, eid: str) -> Deferred[Any]:
        """Have an ETR withdraw an EID-prefix."""
        return self.etrs[name].withdraw(EidPrefix.from_text(eid))

    def kill(self, number: str) -> Deferred[Any]:
        """End a session as a dead path does; its ETR does not come back."""
        (session,) = (each for each in self.server.sessions if each.id == int(number))
        host = session.peer.rpartition(":")[0]
        self.server.reset(session)
        (etr,) = (each for each in self.etrs.values() if each.config.control.host == host)
        return etr.stopService()

    # Parts

    def _make_server(self) -> MapServer:
        listens = [_OVER[name]().server_string(port) for name, port in self._ports.items()]
        strings = ", ".join(f"'{each}'" for each in listens)
        config = parse_config(
            f'[map-server]\ncontrol = ["{MAP_SERVER_HOST}:{self._port}"]\n'
            f"reliable-transport = [{strings}]\n{_SITES}"
        )
        assert config.map_server is not None
        return MapServer(config.map_server, config.site, self._reactor)

    def _make_etr(self, number: int, many: int) -> None:
        transport = TRANSPORTS[number % len(TRANSPORTS)]
        host = host_of(number)
        endpoint = _OVER[transport]().client_string(self._ports[transport], host)
        config = parse_config(
            f"[etr]\ncontrol = \"{host}:{self._port}\"\nxtr-id = '{number + 1:032x}'\n"
            f"rearm-delay = 0.1\nbackoff-initial = 0.1\nsite-id = {number + 1}\n"
            f"[[etr.map-server]]\n"
            f'address = "{MAP_SERVER_HOST}:{self._port}"\nmerge = true\n'
            f'key = {{ id = 1, secret = "campus secret" }}\n'
            f"transports = ['{endpoint}']\n"
        )
        assert config.etr is not None
        etr = Etr(config.etr, self._reactor)
        own = [f"10.{number}.1.0/24", f"2001:db8:10:{number:x}::/64"]
        own += ["10.200.1.0/24"] if number < 2 else []  # two have it: it is merged
        own += [f"10.{number}.{100 + each // 256}.{each % 256}/32" for each in range(many)]
        for eid in own:
            etr.links[0].register(_mapping(eid, host), awaited=False)
        self.etrs[f"etr-{number}"] = etr

    def _manage(self, views: NodeViews, operations: Operations, token: Path | None = None) -> str:
        port = free_port("127.0.0.1")
        options = {"listen": [f"tcp:{port}:interface=127.0.0.1"]}
        config = ManagementConfig.model_validate(
            options if token is None else {**options, "token-file": str(token)}
        )
        management = Management(config, views, operations, self._reactor)
        management.startService()
        self._managements.append(management)
        return f"http://127.0.0.1:{port}/"

    def _is_up(self) -> bool:
        links = [etr.links[0] for etr in self.etrs.values()]
        return all(
            link.session is not None
            and link.session.was_established
            and not link.registrations.unanswered
            and not link.registrations.due
            for link in links
        )

    async def _wait(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await deferLater(self._reactor, 0.02)

    def _until(self, condition: Callable[[], bool]) -> Deferred[None]:
        return Deferred.fromCoroutine(self._wait(condition))


def _mapping(eid: str, host: str) -> MappingRecord:
    locators = (Locator(Address.from_text(host), 1, 100, local=True, reachable=True),)
    return MappingRecord(EidPrefix.from_text(eid), 1440, locators, authoritative=True)


class _Commands(LineReceiver):
    """One command a line, one answer a line."""

    delimiter = b"\n"

    def __init__(self, ground: BrowserGround, reactor: Any) -> None:
        self._ground = ground
        self._reactor = reactor

    def lineReceived(self, line: bytes) -> None:
        name, *arguments = line.decode().split()
        if name == "stop":
            self._ground.stop().addBoth(lambda _: self._reactor.stop())
            return
        done = getattr(self._ground, name)(*arguments)
        done.addCallbacks(lambda _: _say({"done": name}), lambda failure: _say(_failed(failure)))

    def connectionLost(self, reason: Any = None) -> None:
        """Nobody is there any more who could stop us."""
        if self._reactor.running:
            self._reactor.stop()


def _failed(failure: Any) -> dict[str, str]:
    return {"failed": failure.getTraceback()}


def _say(facts: object) -> None:
    print(json.dumps(facts), flush=True)


def _churn(ground: BrowserGround, state: dict[str, int]) -> None:
    """Have something happen, for pictures: registrations that come and go, and some refused."""
    state["turn"] += 1
    names = list(ground.etrs)
    for step in range(state["turn"] % 7 + 1):
        number = (state["turn"] + step) % len(names)
        eid = f"10.{number}.{200 + step}.0/24"
        act = ground.withdraw if eid in state else ground.register
        if eid in state:
            del state[eid]
        else:
            state[eid] = 1
        act(names[number], eid).addErrback(lambda _: None)
    if state["turn"] % 9 == 4:
        ground.register(names[1], f"192.168.{state['turn'] % 30}.0/24").addErrback(lambda _: None)


def main() -> None:
    """Run until stdin says stop, or ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--many", type=int, default=0)
    parser.add_argument("--etrs", type=int, default=0)
    parser.add_argument("--churn", action="store_true")
    options = parser.parse_args()
    ground = BrowserGround(_reactor, Path.cwd(), many=options.many, etrs=options.etrs)

    def begin() -> None:
        StandardIO(_Commands(ground, _reactor))
        started = ground.start()
        started.addCallbacks(_say, lambda failure: _say(_failed(failure)))
        if options.churn:
            state = {"turn": 0}
            started.addCallback(lambda _: LoopingCall(_churn, ground, state).start(0.7) and None)

    _reactor.callWhenRunning(begin)
    _reactor.run()


if __name__ == "__main__":
    sys.exit(main())
