"""``tcpmd5:`` endpoint strings: TCP whose every segment is signed with a shared key (RFC 2385).

The kernel signs and checks, and drops what is not signed, from the first SYN on. MD5 is weak and
nothing is encrypted: this keeps resets and data of others out of a session, no more. TCP-AO (RFC
5925), which replaces it, is not done here.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct
from collections import Counter
from collections.abc import Sequence
from typing import Any

from twisted.internet import tcp
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.interfaces import (
    IConnector,
    IListeningPort,
    IProtocol,
    IProtocolFactory,
    IReactorTCP,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)
from twisted.internet.protocol import ClientFactory
from zope.interface import implementer

from lispmsrt.transports.gate import Gate, Reset
from lispmsrt.transports.interfaces import TransportUnavailable
from lispmsrt.transports.options import (
    ip_address,
    number,
    peer_port,
    port_number,
    seconds,
    secret_octets,
)

__all__ = ["client_endpoint", "read_key", "server_endpoint", "set_key"]

_TCP_MD5SIG_EXT = 32
_FLAG_PREFIX = 1
_MAX_KEY = 80
"""Octets: TCP_MD5SIG_MAXKEYLEN."""

_MAX_PEERS = 64
"""Prefixes that a port may be kept to."""

_SIGNATURE_KEY = struct.Struct("=128sBBHI80s")  # address, flags, prefix length, key length, ifindex
_ADDRESS4 = struct.Struct("=HH4s")  # family, port, address
_ADDRESS6 = struct.Struct("=HHI16sI")  # family, port, flow, address, scope

_MAPPED = bytes(10) + b"\xff\xff"
"""How an IPv4 address begins on an IPv6 socket (RFC 4291 §2.5.5.2)."""

_UNAVAILABLE = frozenset({errno.ENOPROTOOPT, errno.EOPNOTSUPP})

Prefix = ipaddress.IPv4Network | ipaddress.IPv6Network

_ANYBODY: tuple[Prefix, ...] = (
    ipaddress.IPv4Network("0.0.0.0/0"),
    ipaddress.IPv6Network("::/0"),
)


def server_endpoint(
    reactor: Any,
    port: str = "4342",
    interface: str = "",
    key: str = "",
    peers: str = "",
    backlog: str = "50",
) -> IStreamServerEndpoint:
    """Return what listens, for peers within ``peers`` who have the key."""
    prefixes = _prefixes(peers) if peers else _ANYBODY
    waiting = number(backlog, "backlog", at_least=1, at_most=65535)
    endpoint: IStreamServerEndpoint = TCP4ServerEndpoint(
        _KeyedTcp(reactor, read_key(key), prefixes),
        port_number(port),
        waiting,
        interface and ip_address(interface, "interface"),
    )
    return endpoint


def client_endpoint(
    reactor: Any,
    host: str,
    port: str = "4342",
    key: str = "",
    bindAddress: str = "",
    timeout: str = "30",
) -> IStreamClientEndpoint:
    """Return what connects to an address. Who has another key, or none, never answers."""
    endpoint: IStreamClientEndpoint = TCP4ClientEndpoint(
        _KeyedTcp(reactor, read_key(key), _ANYBODY),
        # The key belongs to an address: a name would let the DNS choose who is spoken to.
        ip_address(host, "host"),
        peer_port(port),
        seconds(timeout, "timeout", at_least=0.1, at_most=3600.0),
        (ip_address(bindAddress, "bindAddress"), 0) if bindAddress else None,
    )
    return endpoint


def read_key(path: str) -> bytes:
    """Return the key in a file, which others can't read: all but for a newline at its end."""
    if not path:
        raise ValueError("tcpmd5: needs key=, a file with the key")
    octets, exposed = secret_octets(path, "key")
    if exposed:
        raise ValueError(exposed)
    key = octets.removesuffix(b"\n")
    if not 1 <= len(key) <= _MAX_KEY:
        raise ValueError(f"key={path}: a key has 1 to {_MAX_KEY} octets")
    return key


def set_key(handle: socket.socket, key: bytes) -> None:
    """Have the kernel sign and check all segments; TransportUnavailable if it can't.

    All: from where it has no key for, it takes segments without a signature.
    """
    for prefix in _ANYBODY:
        if handle.family == socket.AF_INET and prefix.version == 6:
            continue
        option = _option(handle.family, key, prefix)
        try:
            handle.setsockopt(socket.IPPROTO_TCP, _TCP_MD5SIG_EXT, option)
        except OSError as failure:
            if failure.errno not in _UNAVAILABLE:
                raise
            raise TransportUnavailable(
                "tcpmd5: the kernel has no TCP MD5 signatures (CONFIG_TCP_MD5SIG)"
            ) from None


def _option(family: int, key: bytes, prefix: Prefix) -> bytes:
    address = prefix.network_address.packed
    if family == socket.AF_INET:
        where = _ADDRESS4.pack(family, 0, address)
    else:
        # The kernel counts the prefix of a mapped address in bits of IPv4.
        mapped = address if prefix.version == 6 else _MAPPED + address
        where = _ADDRESS6.pack(family, 0, 0, mapped, 0)
    return _SIGNATURE_KEY.pack(where, _FLAG_PREFIX, prefix.prefixlen, len(key), 0, key)


def _prefixes(text: str) -> tuple[Prefix, ...]:
    parts = [part.strip() for part in text.split(",")]
    if len(parts) > _MAX_PEERS:
        raise ValueError(f"peers={text}: more than {_MAX_PEERS} prefixes")
    try:
        return tuple(ipaddress.ip_network(part) for part in parts)
    except ValueError as failure:
        raise ValueError(f"peers={text}: {failure}") from None


@implementer(IReactorTCP)
class _KeyedTcp:
    """A reactor's TCP, but each socket gets the key before it listens or connects."""

    def __init__(self, reactor: Any, key: bytes, prefixes: Sequence[Prefix]) -> None:
        self.reactor = reactor
        self._key = key
        self._prefixes = prefixes

    def listenTCP(
        self, port: int, factory: IProtocolFactory, backlog: int = 50, interface: str = ""
    ) -> IListeningPort:
        gate = _PeersGate(factory, self._prefixes)
        listening = _Port(self, port, gate, backlog, interface)
        listening.startListening()
        return listening

    def connectTCP(
        self,
        host: str,
        port: int,
        factory: ClientFactory[Any],
        timeout: float = 30.0,
        bindAddress: tuple[str, int] | None = None,
    ) -> IConnector:
        # Before the factory is told of an attempt: what the kernel can't do is no attempt.
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.prepared(socket.socket(family)).close()
        connector = _Connector(self, host, port, factory, timeout, bindAddress)
        connector.connect()
        return connector

    def prepared(self, handle: socket.socket) -> socket.socket:
        """Return a new socket with the key on it; close it if it can't have one."""
        try:
            set_key(handle, self._key)
        except BaseException:
            handle.close()
            raise
        return handle


class _PeersGate(Gate):
    """Reset who has the key and is outside the prefixes."""

    def __init__(self, application: IProtocolFactory, prefixes: Sequence[Prefix]) -> None:
        super().__init__(application)
        self.counters: Counter[str] = Counter()
        self._prefixes = prefixes

    def buildProtocol(self, addr: Any) -> IProtocol | None:
        address = ipaddress.ip_address(addr.host)
        mapped = getattr(address, "ipv4_mapped", None)
        if not any((mapped or address) in prefix for prefix in self._prefixes):
            self.counters["connections refused: outside the prefixes"] += 1
            return Reset()
        return super().buildProtocol(addr)


class _Port(tcp.Port):
    def __init__(
        self, keyed: _KeyedTcp, port: int, factory: IProtocolFactory, backlog: int, interface: str
    ) -> None:
        self._keyed = keyed
        super().__init__(port, factory, backlog, interface, keyed.reactor)

    def createInternetSocket(self) -> socket.socket:
        return self._keyed.prepared(super().createInternetSocket())


class _Connector(tcp.Connector):
    def __init__(
        self,
        keyed: _KeyedTcp,
        host: str,
        port: int,
        factory: ClientFactory[Any],
        timeout: float,
        bindAddress: tuple[str, int] | None,
    ) -> None:
        self.keyed = keyed
        super().__init__(host, port, factory, timeout, bindAddress, keyed.reactor)

    def _makeTransport(self) -> tcp.Client:
        return _Client(self.host, self.port, self.bindAddress, self, self.reactor)


class _Client(tcp.Client):
    connector: _Connector

    def createInternetSocket(self) -> socket.socket:
        return self.connector.keyed.prepared(super().createInternetSocket())
