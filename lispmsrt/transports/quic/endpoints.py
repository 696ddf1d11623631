"""The endpoints behind ``quic:`` strings.

Server: ``quic:4343:interface=\\:\\::certificate=FILE:privateKey=FILE``; client:
``quic:HOST:4343:pin=DIGITS`` or ``quic:HOST:4343:caFile=FILE:serverName=NAME``. Both take ``alpn``,
``idleTimeout`` and ``keepalive`` in seconds, ``maxDatagram`` in octets, and ``keyLog=FILE``: the
secrets of every connection go to that file, for Wireshark, and who has it can read everything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from cryptography.x509 import Certificate
from twisted.internet.defer import Deferred, execute
from twisted.internet.interfaces import (
    IListeningPort,
    IProtocol,
    IProtocolFactory,
    IReactorCore,
    IReactorTime,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)
from twisted.internet.protocol import DatagramProtocol
from zope.interface import implementer

from lispmsrt.clock import MonotonicClock
from lispmsrt.transports.certificates import parse_name
from lispmsrt.transports.options import ip_address, peer_port, port_number
from lispmsrt.transports.quic.client import QuicClient
from lispmsrt.transports.quic.resolution import resolve
from lispmsrt.transports.quic.server import QuicPort
from lispmsrt.transports.quic.settings import (
    ALPN,
    DEFAULT_PORT,
    IDLE_TIMEOUT,
    KEEPALIVE,
    MAX_DATAGRAM,
    ClientSettings,
    ServerSettings,
    client_settings,
    server_settings,
)
from lispmsrt.transports.udp import read_few

__all__ = ["QuicClientEndpoint", "QuicServerEndpoint", "client_endpoint", "server_endpoint"]

_MAX_PACKET = 65_535
"""Octets of the largest datagram: a cut one could not be decrypted."""

_READ_AT_ONCE = 32 * 1024
"""Octets that a Map-Server reads in one turn of the reactor, some 27 Initials. Twisted reads eight
times as much, which with two milliseconds of a handshake here and there is long for all others.
"""

_DATAGRAMS_AT_ONCE = 64
"""The same of short ones: what is no QUIC at all costs some microseconds each."""


@implementer(IStreamServerEndpoint)
@dataclass(frozen=True)
class QuicServerEndpoint:
    """Where to listen, and how."""

    reactor: Any
    clock: IReactorTime
    port: int
    interface: str
    settings: ServerSettings

    @property
    def certificate(self) -> Certificate:
        """What it shows to clients."""
        certificate: Certificate = self.settings.configuration.certificate
        return certificate

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Listen; the Deferred fires at once."""
        return execute(self._listen, protocolFactory)

    def _listen(self, factory: IProtocolFactory) -> QuicPort:
        port = QuicPort(factory, self.settings, self.clock, self._open)
        port.startListening()
        return port

    def _open(self, protocol: DatagramProtocol) -> Any:
        opened = self.reactor.listenUDP(
            self.port, protocol, interface=self.interface, maxPacketSize=_MAX_PACKET
        )
        opened.maxThroughput = _READ_AT_ONCE
        read_few(opened, _DATAGRAMS_AT_ONCE)
        return opened


@implementer(IStreamClientEndpoint)
@dataclass(frozen=True)
class QuicClientEndpoint:
    """Where to connect to, and how."""

    reactor: Any
    clock: IReactorTime
    host: str
    port: int
    bind_address: str
    "empty: the kernel chooses"
    settings: ClientSettings

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect; fires with the protocol, or with a failure whose text says why not."""
        found = resolve(self.reactor, self.host, like=self.bind_address)

        def begin(address: str) -> Deferred[IProtocol]:
            server = (address, self.port)
            client = QuicClient(protocolFactory, self.settings, self.clock, server)
            client.start(lambda protocol: self._open(protocol, address))
            return client.connected

        return found.addCallback(begin)

    def _open(self, protocol: DatagramProtocol, address: str) -> Any:
        interface = self.bind_address or ("::" if ":" in address else "")
        return self.reactor.listenUDP(0, protocol, interface=interface, maxPacketSize=_MAX_PACKET)


def server_endpoint(
    reactor: Any,
    port: str = DEFAULT_PORT,
    interface: str = "",
    certificate: str = "",
    privateKey: str = "",
    alpn: str = ALPN,
    idleTimeout: str = IDLE_TIMEOUT,
    keepalive: str = KEEPALIVE,
    keyLog: str = "",
    maxDatagram: str = MAX_DATAGRAM,
) -> QuicServerEndpoint:
    """Make an endpoint from an endpoint string's arguments; ValueError says what is wrong."""
    settings = server_settings(
        certificate=certificate,
        private_key=privateKey,
        alpn=alpn,
        idle_timeout=idleTimeout,
        keepalive=keepalive,
        key_log=keyLog,
        max_datagram=maxDatagram,
    )
    where = ip_address(interface, "interface") if interface else ""
    return QuicServerEndpoint(reactor, _clock(reactor), port_number(port), where, settings)


def client_endpoint(
    reactor: Any,
    host: str,
    port: str = DEFAULT_PORT,
    caFile: str = "",
    pin: str = "",
    serverName: str = "",
    bindAddress: str = "",
    alpn: str = ALPN,
    idleTimeout: str = IDLE_TIMEOUT,
    keepalive: str = KEEPALIVE,
    keyLog: str = "",
    maxDatagram: str = MAX_DATAGRAM,
) -> QuicClientEndpoint:
    """Make an endpoint from an endpoint string's arguments; ValueError says what is wrong."""
    settings = client_settings(
        ca_file=caFile,
        pin=pin,
        server_name=_server_name(serverName, host),
        alpn=alpn,
        idle_timeout=idleTimeout,
        keepalive=keepalive,
        key_log=keyLog,
        max_datagram=maxDatagram,
    )
    source = ip_address(bindAddress, "bindAddress") if bindAddress else ""
    return QuicClientEndpoint(reactor, _clock(reactor), host, peer_port(port), source, settings)


def _server_name(text: str, host: str) -> str:
    if text:
        return parse_name(text, "serverName")
    # The zone of fe80::1%eth0 is ours and in no certificate.
    return parse_name(host.partition("%")[0] if ":" in host else host, "host")


def _clock(reactor: Any) -> IReactorTime:
    # A reactor that runs goes by wall-clock time; what only poses as one is a test's clock.
    is_real = IReactorCore.providedBy(reactor)
    clock: IReactorTime = MonotonicClock(cast(IReactorTime, reactor)) if is_real else reactor
    return clock
