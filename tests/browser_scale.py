"""A Map-Server with 1,000,000 registrations on 10,000 sessions and its management endpoint, as a
process for tests of the web page. The sessions are real, their connections are not.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.address import IPv4Address
from twisted.internet.stdio import StandardIO
from twisted.protocols.basic import LineReceiver

from lispmsrt import MapServer, parse_config
from lispmsrt.clock import MonotonicClock
from lispmsrt.config import ManagementConfig
from lispmsrt.services.operations import Operations
from lispmsrt.sockets import pack_address
from lispmsrt.tap import tune_garbage_collector
from lispmsrt.views.map_server import MapServerViews
from lispmsrt.views.node import NodeViews
from lispmsrt.web.management import Management
from tests.builders import Etr as EtrHand
from tests.builders import Secret, eid, locator, record
from tests.rim import MAP_SERVER_HOST, site_text
from tests.running import free_port

__all__ = ["REGISTRATIONS", "SESSIONS"]

SESSIONS = 10_000
EACH = 100
REGISTRATIONS = SESSIONS * EACH
_KEY = Secret(0, 2, b"campus secret")


class _Connection:
    """A transport whose octets go nowhere."""

    connected, disconnecting = True, False

    def __init__(self, peer: IPv4Address) -> None:
        self._peer = peer

    def getPeer(self) -> IPv4Address:
        return self._peer

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", MAP_SERVER_HOST, 4342)

    def write(self, data: bytes) -> None:
        """Nobody reads it."""

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """It is never full."""

    def loseConnection(self) -> None:
        """There is none."""

    abortConnection = unregisterProducer = pauseProducing = resumeProducing = loseConnection


def _fill(server: MapServer, clock: MonotonicClock) -> None:
    description = server.config.reliable_transport[0]
    for number in range(SESSIONS):
        host = f"127.1.{number // 250}.{number % 250 + 1}"
        hand = EtrHand(host, key=_KEY, xtr_id=number + 1)
        first = number * EACH
        eids = [
            f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}/32" for n in range(first, first + EACH)
        ]
        records = [record(eid(each), locator(host)) for each in eids]
        source = (pack_address(host) or b"", 4342)
        server.mapping.plane.receive_datagram(
            hand.map_register(records[0]), source, clock.seconds()
        )
        server.mapping.plane.datagrams_to_send(clock.seconds())
        protocol: Any = server.accept(IPv4Address("TCP", host, 50_000), description)
        protocol.makeConnection(_Connection(IPv4Address("TCP", host, 50_000)))
        protocol.dataReceived(b"".join([hand.registration(each) for each in records]))


class _Commands(LineReceiver):
    delimiter = b"\n"

    def lineReceived(self, line: bytes) -> None:
        """Whatever it says: there is only one command."""
        _reactor.stop()  # type: ignore[attr-defined]


def main() -> None:
    """Run until stdin says something, or ends."""
    tune_garbage_collector()
    config = parse_config(
        f'[map-server]\ncontrol = ["{MAP_SERVER_HOST}:{free_port()}"]\n'
        f'reliable-transport = ["tcp:{free_port()}:interface={MAP_SERVER_HOST}"]\n'
        + site_text("campus", "10.0.0.0/8")
    )
    assert config.map_server is not None
    clock = MonotonicClock(_reactor)  # type: ignore[arg-type]
    server = MapServer(config.map_server, config.site, _reactor, clock)
    port = free_port()
    management = Management(
        ManagementConfig.model_validate({"listen": [f"tcp:{port}:interface=127.0.0.1"]}),
        NodeViews(MapServerViews(server), None, None),
        Operations(server, None, None),
        _reactor,
    )

    def begin() -> None:
        StandardIO(_Commands())
        server.startService()
        _fill(server, clock)
        management.startService()
        print(json.dumps({"readable": f"http://127.0.0.1:{port}/"}), flush=True)

    _reactor.callWhenRunning(begin)  # type: ignore[attr-defined]
    _reactor.run()  # type: ignore[attr-defined]


if __name__ == "__main__":
    sys.exit(main())
