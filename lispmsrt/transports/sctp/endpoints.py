"""The endpoint strings of SCTP: ``sctp:4342`` and ``sctp:192.0.2.1``, and which stack runs them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lispmsrt.transports import options

if TYPE_CHECKING:
    from twisted.internet.interfaces import IStreamClientEndpoint, IStreamServerEndpoint

__all__ = ["client_endpoint", "server_endpoint"]

_PORT = "4342"
_HEARTBEAT = "10"
_STACKS = ("kernel", "usrsctp")
_ENCAPSULATION = "9899"
"""RFC 6951 §6: the UDP port of SCTP in UDP."""

_BACKLOG = "50"
_TIMEOUT = "30"
_MAX_ADDRESSES = 8
"""At one end: a peer probes each of them with heartbeats."""


def server_endpoint(
    reactor: Any,
    port: str = _PORT,
    interface: str = "0.0.0.0",
    heartbeat: str = _HEARTBEAT,
    stack: str = "kernel",
    backlog: str = "",
    encapsulation: str = "",
) -> IStreamServerEndpoint:
    """Return what listens. ``interface`` may be several IPv4 addresses with commas, each of which a
    peer can reach us at.
    """
    number = options.port_number(port)
    local = _addresses(interface, "interface")
    seconds = _seconds(heartbeat)
    if _is_kernel(stack):
        _refuse(stack, encapsulation=encapsulation)
        waiting = options.number(backlog or _BACKLOG, "backlog", at_least=1, at_most=4096)
        from lispmsrt.transports.sctp.kernel import KernelServerEndpoint

        return KernelServerEndpoint(reactor, local, number, heartbeat=seconds, backlog=waiting)
    _refuse(stack, backlog=backlog)
    udp_port = options.port_number(encapsulation or _ENCAPSULATION, "encapsulation")
    only = _only(local, "interface")
    from lispmsrt.transports.sctp.usrsctp import endpoints as usrsctp

    return usrsctp.server_endpoint(
        reactor, port=number, interface=only, encapsulation=udp_port, heartbeat=seconds
    )


def client_endpoint(
    reactor: Any,
    host: str,
    port: str = _PORT,
    bindAddress: str = "",
    heartbeat: str = _HEARTBEAT,
    stack: str = "kernel",
    timeout: str = "",
    encapsulation: str = "",
    encapsulationPeer: str = "",
) -> IStreamClientEndpoint:
    """Return what connects. ``bindAddress`` may be several IPv4 addresses with commas, each of
    which the peer can reach us at.
    """
    options.ip_address(host, "host")
    number = options.peer_port(port, "port")
    local = _addresses(bindAddress, "bindAddress") if bindAddress else ()
    if local and (":" in local[0]) != (":" in host):
        raise ValueError(f"bindAddress={bindAddress}: not of the address family of {host}")
    seconds = _seconds(heartbeat)
    if _is_kernel(stack):
        _refuse(stack, encapsulation=encapsulation, encapsulationPeer=encapsulationPeer)
        limit = options.seconds(timeout or _TIMEOUT, "timeout", at_least=0.1, at_most=300)
        from lispmsrt.transports.sctp.kernel import KernelClientEndpoint

        return KernelClientEndpoint(
            reactor, host, number, addresses=local, heartbeat=seconds, timeout=limit
        )
    _refuse(stack, timeout=timeout)
    # Any free one: several clients, and a server, may share a machine.
    udp_port = options.port_number(encapsulation or "0", "encapsulation")
    peer_udp_port = options.peer_port(encapsulationPeer or _ENCAPSULATION, "encapsulationPeer")
    only = _only(local, "bindAddress") if local else None
    from lispmsrt.transports.sctp.usrsctp import endpoints as usrsctp

    return usrsctp.client_endpoint(
        reactor,
        host=host,
        port=number,
        bind_address=only,
        encapsulation=udp_port,
        peer_encapsulation=peer_udp_port,
        heartbeat=seconds,
    )


def _is_kernel(stack: str) -> bool:
    return options.choice(stack, "stack", *_STACKS) == "kernel"


def _seconds(heartbeat: str) -> float:
    # Below 2 s the longest RTO, a sixth, comes near the 0.2 s that a SACK may be delayed.
    return options.seconds(heartbeat, "heartbeat", at_least=2, at_most=300)


def _addresses(text: str, name: str) -> tuple[str, ...]:
    """Return the local addresses: one of any kind, or several IPv4 addresses of this machine."""
    local = options.addresses(text, name)
    if len(local) == 1:
        return local
    if any(":" in address for address in local):
        raise ValueError(f"{name}={text}: several addresses must all be IPv4")
    if "0.0.0.0" in local:
        raise ValueError(f"{name}={text}: 0.0.0.0 already stands for all addresses")
    if len(set(local)) < len(local):
        raise ValueError(f"{name}={text}: the same address twice")
    if len(local) > _MAX_ADDRESSES:
        raise ValueError(f"{name}={text}: more than {_MAX_ADDRESSES} addresses")
    return local


def _only(local: tuple[str, ...], name: str) -> str:
    if len(local) > 1:
        raise ValueError(f"{name}={','.join(local)}: stack=usrsctp runs on one address")
    return local[0]


def _refuse(stack: str, **given: str) -> None:
    for name, text in given.items():
        if text:
            raise ValueError(f"{name}={text}: makes no sense with stack={stack}")
