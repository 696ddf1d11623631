"""``tls13:`` endpoint strings: their options, and what they make of them.

``tls13:4342:certificate=FILE:privateKey=FILE:clientCA=FILE`` listens,
``tls13:ms.example:4342:caFile=FILE`` connects.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint
from twisted.internet.interfaces import IStreamClientEndpoint, IStreamServerEndpoint

from lispmsrt.sockets import pack_address
from lispmsrt.transports.certificates import parse_name, parse_pin
from lispmsrt.transports.key_log import KeyLog
from lispmsrt.transports.options import ip_address, number, peer_port, port_number, seconds
from lispmsrt.transports.tls.client import TlsClientEndpoint
from lispmsrt.transports.tls.contexts import context_options, own_certificate, trust
from lispmsrt.transports.tls.identity import ServerIdentity
from lispmsrt.transports.tls.server import TlsServerEndpoint

__all__ = ["client_endpoint", "server_endpoint"]

_MAX_BACKLOG = 65535


def server_endpoint(
    reactor: Any,
    port: str = "4342",
    interface: str = "",
    certificate: str = "",
    privateKey: str = "",
    clientCA: str = "",
    backlog: str = "50",
    keyLog: str = "",
) -> IStreamServerEndpoint:
    """Return what listens. With ``clientCA`` every client must show a certificate signed by it.
    Without ``privateKey`` the key is in the certificate's file.
    """
    if not certificate:
        raise ValueError(
            "tls13: needs certificate= and privateKey=; `lispmsrt make-certificate` makes both"
        )
    options = own_certificate(certificate, privateKey)
    if clientCA:
        options["trustRoot"] = trust(clientCA, "clientCA")
    return TlsServerEndpoint(
        reactor,
        port_number(port),
        interface and ip_address(interface, "interface"),
        context_options(KeyLog.from_option(keyLog), **options),
        backlog=number(backlog, "backlog", at_least=1, at_most=_MAX_BACKLOG),
    )


def client_endpoint(
    reactor: Any,
    host: str,
    port: str = "4342",
    caFile: str = "",
    pin: str = "",
    serverName: str = "",
    certificate: str = "",
    privateKey: str = "",
    bindAddress: str = "",
    timeout: str = "30",
    keyLog: str = "",
) -> IStreamClientEndpoint:
    """Return what connects. ``caFile`` may be the word ``system``; a ``pin`` without it is all that
    a server is known by, with both it must satisfy both.
    """
    if not (caFile or pin):
        raise ValueError(
            "tls13: needs caFile= (a file, or the word system) or pin= to know the server by"
        )
    if privateKey and not certificate:
        raise ValueError("tls13: privateKey= needs certificate= beside it")
    options = own_certificate(certificate, privateKey) if certificate else {}
    if caFile:
        options["trustRoot"] = trust(caFile, "caFile")
    identity = ServerIdentity(
        name=_server_name(serverName, host),
        checks_name=bool(caFile),
        pin=parse_pin(pin) if pin else None,
    )
    return TlsClientEndpoint(
        reactor,
        _tcp_endpoint(reactor, host, peer_port(port), bindAddress),
        context_options(KeyLog.from_option(keyLog), **options),
        identity,
        timeout=seconds(timeout, "timeout", at_least=0.1, at_most=3600.0),
    )


def _server_name(text: str, host: str) -> str:
    if text:
        return parse_name(text, "serverName")
    # The zone of fe80::1%eth0 is ours and in no certificate.
    return parse_name(host.partition("%")[0] if ":" in host else host, "host")


def _tcp_endpoint(reactor: Any, host: str, port: int, bind: str) -> IStreamClientEndpoint:
    """Return the TCP below. It has no timeout of its own."""
    address = (ip_address(bind, "bindAddress"), 0) if bind else None
    if pack_address(host) is None:
        # Twisted wants a number: this one never rings.
        return HostnameEndpoint(reactor, host, port, timeout=3600.0, bindAddress=address)
    endpoint: IStreamClientEndpoint = TCP4ClientEndpoint(
        reactor, host, port, timeout=3600.0, bindAddress=address
    )
    return endpoint
