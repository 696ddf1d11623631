"""A reactor in memory for whole services of both roles: UDP, TCP and time, nothing real.

Octets move in :meth:`Network.run` only. What went over the network is kept in order, so that a
capture can be written from it.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import (
    CannotListenError,
    ConnectionAborted,
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,
)
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from lispmsrt import Etr, MappingRecord, MapServer, parse_config
from lispmsrt.wire.addresses import Address, EidPrefix
from lispmsrt.wire.records import Locator
from lispmsrt.wire.reliable_transport import MappingNotification

__all__ = [
    "ETR_HOST",
    "MAP_SERVER_HOST",
    "XTR_ID",
    "Listener",
    "Network",
    "Packet",
    "Pipe",
    "etr_of",
    "etr_text",
    "map_server_of",
    "map_server_text",
    "mapping",
    "outcome",
    "site_text",
]

MAP_SERVER_HOST, ETR_HOST = "127.0.0.1", "127.0.0.2"
XTR_ID = "000102030405060708090a0b0c0d0e0f"
_HIGH_WATER = 1 << 16
_MAX_TURNS = 100_000


@dataclass(frozen=True)
class Packet:
    """Octets that went from one address and port to another."""

    protocol: str
    source: tuple[str, int]
    destination: tuple[str, int]
    data: bytes


def _address(protocol: str, host: str, port: int) -> IPv4Address | IPv6Address:
    kind = IPv6Address if ":" in host else IPv4Address
    return kind(protocol, host, port)  # type: ignore[arg-type]


class Pipe:
    """One end of a connection, as Twisted's TCP transports behave."""

    def __init__(self, network: Network, host: Any, peer: Any) -> None:
        self.network = network
        self.host, self.remote = host, peer
        self.protocol: Any = None
        self.other: Pipe
        self.unsent = bytearray()
        self.is_reading = True
        self.connected = True
        self.disconnecting = False
        self.was_aborted = False
        self.producer: Any = None
        self._is_producer_paused = False

    def getHost(self) -> Any:
        return self.host

    def getPeer(self) -> Any:
        return self.remote

    def write(self, data: bytes) -> None:
        assert isinstance(data, bytes)
        if not self.connected or self.disconnecting:
            return
        self.unsent += data
        if self.producer is not None and len(self.unsent) > _HIGH_WATER:
            self._is_producer_paused = True
            self.producer.pauseProducing()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        assert self.producer is None and streaming
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer = None

    def pauseProducing(self) -> None:
        self.is_reading = False

    def resumeProducing(self) -> None:
        self.is_reading = self.connected and not self.disconnecting

    def loseConnection(self) -> None:
        self.disconnecting = True
        self.is_reading = False

    def abortConnection(self) -> None:
        if self.connected and not self.was_aborted:
            self.was_aborted = True
            self.is_reading = self.other.is_reading = False
            self.network.callLater(0, self._reset)

    def _reset(self) -> None:
        self.lose(ConnectionAborted())
        self.other.lose(ConnectionLost())

    def lose(self, reason: Exception) -> None:
        """Tell the protocol that it is over."""
        if not self.connected:
            return
        self.connected = False
        self.network.pipes.remove(self)
        if self.producer is not None:
            self.producer.stopProducing()
        self.protocol.connectionLost(Failure(reason))

    def move(self) -> bool:
        """Bring what was written to the other end; tell whether anything happened."""
        if self.unsent and self.other.is_reading and self.other.connected:
            data = bytes(self.unsent)
            self.unsent.clear()
            self.network.keep("tcp", self.host, self.remote, data)
            self.other.protocol.dataReceived(data)
            if self._is_producer_paused and self.producer is not None:
                self._is_producer_paused = False
                self.producer.resumeProducing()
            return True
        if self.disconnecting and not self.unsent and self.connected:
            self.lose(ConnectionDone())
            self.other.lose(ConnectionDone())
            return True
        return False


class _Port:
    def __init__(self, network: Network, kind: str, host: str, port: int, target: Any) -> None:
        self.network, self.kind, self.where, self.target = network, kind, (host, port), target
        self.addressFamily = socket.AF_INET6 if ":" in host else socket.AF_INET

    def getHost(self) -> Any:
        return _address(self.kind.upper(), *self.where)

    def write(self, data: bytes, to: tuple[str, int]) -> None:
        self.network.datagrams.append((self, to, data))

    def stopListening(self) -> Deferred[None]:
        self.network.ports.remove(self)
        self.target.doStop()
        return succeed(None)


class _Attempt:
    def __init__(self, destination: Any) -> None:
        self.destination = destination
        self.is_stopped = False

    def getDestination(self) -> Any:
        return self.destination

    def stopConnecting(self) -> None:
        self.is_stopped = True


@dataclass
class Network(Clock):  # type: ignore[misc]
    """What reactor and clock are to a service."""

    packets: list[Packet] = field(default_factory=list)
    pipes: list[Pipe] = field(default_factory=list)
    ports: list[_Port] = field(default_factory=list)
    datagrams: list[tuple[_Port, tuple[str, int], bytes]] = field(default_factory=list)
    silent: set[int] = field(default_factory=set)
    "TCP ports where connections are neither accepted nor refused"
    loses: Callable[[Packet], bool] = lambda packet: False
    "which datagrams never arrive"

    def __post_init__(self) -> None:
        super().__init__()
        self._next_port = 50_000
        self.rightNow = 1000.0

    # What services call

    def listenUDP(
        self, port: int, protocol: Any, interface: str = "", maxPacketSize: int = 8192
    ) -> _Port:
        listening = self._bind("udp", interface, port, protocol)
        protocol.makeConnection(listening)
        return listening

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> _Port:
        factory.doStart()
        return self._bind("tcp", interface, port, factory)

    def connectTCP(
        self, host: str, port: int, factory: Any, timeout: float = 30, bindAddress: Any = None
    ) -> _Attempt:
        attempt = _Attempt(_address("TCP", host, port))
        factory.doStart()
        factory.startedConnecting(attempt)
        source = bindAddress[0] if bindAddress else "127.0.0.1"
        self.callLater(0, self._connect, attempt, factory, source, (host, port))
        return attempt

    # What tests call

    def run(self, seconds: float = 0.0) -> None:
        """Let this much time go by, and everything happen that falls into it."""
        end = self.seconds() + seconds
        for _turn in range(_MAX_TURNS):
            if self._deliver():
                continue
            due = [call.getTime() for call in self.getDelayedCalls()]
            if not due or min(due) > end:
                break
            self.advance(max(0.0, min(due) - self.seconds()))
        else:
            raise AssertionError("the network never comes to rest")
        self.advance(end - self.seconds())

    def send(self, source: tuple[str, int], to: tuple[str, int], data: bytes) -> None:
        """Send a datagram from somewhere."""
        self.datagrams.append((_Port(self, "udp", *source, None), to, data))

    def connect(self, protocol: Any, host: str, port: int, source: str) -> Pipe:
        """Open a connection from an address, with this protocol at its end."""
        client = _address("TCP", source, self._free_port())
        server = _address("TCP", host, port)
        near, far = Pipe(self, client, server), Pipe(self, server, client)
        near.other, far.other = far, near
        self.pipes += [near, far]
        near.protocol = protocol
        listening = self._listening("tcp", host, port)
        assert listening is not None
        far.protocol = listening.target.buildProtocol(client)
        far.protocol.makeConnection(far)
        protocol.makeConnection(near)
        return near

    def udp_payloads(self, to: str) -> list[bytes]:
        """Return what was sent to an address over UDP."""
        return [
            packet.data
            for packet in self.packets
            if packet.protocol == "udp" and packet.destination[0] == to
        ]

    def keep(self, protocol: str, source: Any, destination: Any, data: bytes) -> None:
        """Note down what moved."""
        ends = [(end.host, end.port) for end in (source, destination)]
        self.packets.append(Packet(protocol, ends[0], ends[1], data))

    # Inside

    def _deliver(self) -> bool:
        moved = False
        queued, self.datagrams = self.datagrams, []
        for port, (host, number), data in queued:
            moved = True
            source = (port.where[0] or "127.0.0.1", port.where[1])
            packet = Packet("udp", source, (host, number), data)
            self.packets.append(packet)
            listening = self._listening("udp", host, number)
            if listening is not None and not self.loses(packet):
                listening.target.datagramReceived(data, source)
        for pipe in list(self.pipes):
            moved = pipe.move() or moved
        return moved

    def _connect(self, attempt: _Attempt, factory: Any, source: str, to: tuple[str, int]) -> None:
        if attempt.is_stopped or to[1] in self.silent:
            return
        if self._listening("tcp", *to) is None:
            factory.clientConnectionFailed(attempt, Failure(ConnectionRefusedError()))
            return
        protocol = factory.buildProtocol(_address("TCP", *to))
        self.connect(protocol, *to, source)

    def _bind(self, kind: str, host: str, number: int, target: Any) -> _Port:
        number = number or self._free_port()
        if any(port.kind == kind and port.where == (host, number) for port in self.ports):
            raise CannotListenError(host, number, OSError(98, "Address already in use"))
        port = _Port(self, kind, host, number, target)
        self.ports.append(port)
        return port

    def _listening(self, kind: str, host: str, number: int) -> _Port | None:
        for port in self.ports:
            if port.kind == kind and port.where in ((host, number), ("", number)):
                return port
        return None

    def _free_port(self) -> int:
        self._next_port += 1
        return self._next_port


class Listener:
    """Notes down what an ETR tells its listener."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []
        self.on_event: Callable[[tuple[Any, ...]], object] = lambda event: None

    def _note(self, *event: Any) -> None:
        self.heard.append(event)
        self.on_event(event)

    def session_up(self, map_server: str, transport: str) -> None:
        self._note("up", map_server, transport)

    def session_down(self, map_server: str, reason: Any) -> None:
        self._note("down", map_server, reason.name)

    def mapping_notified(self, map_server: str, notification: MappingNotification) -> None:
        self._note("notified", map_server, notification)

    def rejected(self, map_server: str, eid: EidPrefix, reason: int) -> None:
        self._note("rejected", map_server, str(eid), reason)

    def rloc_members_changed(self, map_server: str, instance_id: int, afi: int) -> None:
        self._note("members", map_server, instance_id, afi)

    def leave_given(self, map_server: str) -> None:
        """Every Map-Notify with r says so: left out, since it depends on how often one was sent."""

    def names(self) -> list[str]:
        """Return what kinds of events there were."""
        return [event[0] for event in self.heard]


def map_server_text(
    sites: str = "", *, host: str = MAP_SERVER_HOST, port: int = 4342, options: str = ""
) -> str:
    """Return the configuration of a Map-Server; without sites given there is one campus."""
    return f"""
[map-server]
control = ["{host}:{port}"]
reliable-transport = ["tcp:{port}:interface={host}"]
{options}
{sites or site_text()}
"""


def site_text(
    name: str = "campus",
    *prefixes: str,
    secrets: tuple[str, ...] = ("campus secret",),
    rlocs: str = '"127.0.0.0/8", "::/0"',
) -> str:
    """Return one [[site]]; a prefix may have an instance ID before a blank."""
    keys = ", ".join(f'{{ id = 0, secret = "{secret}" }}' for secret in secrets)
    text = f'[[site]]\nname = "{name}"\nkeys = [{keys}]\nallowed-rlocs = [{rlocs}]\n'
    for prefix in prefixes or ("10.1.0.0/16",):
        instance_id, _, eid = prefix.rpartition(" ")
        text += f'[[site.eid-prefix]]\nprefix = "{eid}"\ninstance-id = {instance_id or 0}\n'
        text += "accept-more-specifics = true\n"
    return text


def etr_text(
    *mappings: str,
    host: str = ETR_HOST,
    map_servers: tuple[str, ...] = (MAP_SERVER_HOST,),
    options: str = "",
    server_options: str = "",
    secret: str = "campus secret",
) -> str:
    """Return the configuration of an ETR."""
    xtr_id = "" if "state-dir" in options else f'xtr-id = "{XTR_ID}"'
    text = f'[etr]\ncontrol = "{host}:4342"\n{xtr_id}\nsite-id = 1\n{options}\n'
    for address in map_servers:
        text += f'[[etr.map-server]]\naddress = "{address}:4342"\n'
        text += f'key = {{ id = 0, secret = "{secret}" }}\n{server_options}\n'
    for eid in mappings:
        text += f'[[etr.mapping]]\neid-prefix = "{eid}"\nlocators = [{{ rloc = "{host}" }}]\n'
    return text


def map_server_of(network: Network, text: str = "", *, clock: Any = None) -> MapServer:
    """Return a Map-Server on the network, not started."""
    config = parse_config(text or map_server_text())
    assert config.map_server is not None
    return MapServer(config.map_server, config.site, network, clock or network)


def etr_of(
    network: Network, text: str = "", listener: Listener | None = None, *, clock: Any = None
) -> Etr:
    """Return an ETR on the network, not started."""
    config = parse_config(text or etr_text("10.1.1.0/24"))
    assert config.etr is not None
    return Etr(config.etr, network, clock or network, listener=listener, random=Random(7))


def mapping(
    eid: str = "10.1.1.0/24",
    rloc: str = ETR_HOST,
    *,
    instance_id: int = 0,
    priority: int = 1,
    ttl: int = 1440,
) -> MappingRecord:
    """Return a mapping with one locator."""
    locator = Locator(Address.from_text(rloc), priority, 100, local=True, reachable=True)
    return MappingRecord(EidPrefix.from_text(eid, instance_id), ttl, (locator,))


def outcome(deferred: Deferred[Any]) -> list[Any]:
    """Return a list that will have the result or the failure's exception."""
    results: list[Any] = []
    deferred.addCallbacks(results.append, lambda failure: results.append(failure.value))
    return results
