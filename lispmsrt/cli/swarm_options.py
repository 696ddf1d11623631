"""The options of ``lispmsrt swarm``: what each is, and one sentence for each that can't be."""

from __future__ import annotations

import argparse
import ipaddress
import re
import socket
from contextlib import closing
from pathlib import Path

from lispmsrt.cli.lig_keys import key_from_file
from lispmsrt.config import SocketAddress
from lispmsrt.config.endpoints import checked, with_default_port, with_host
from lispmsrt.config.keys import ALGORITHMS
from lispmsrt.swarm.plan import UDP, Plan
from lispmsrt.wire.addresses import EidPrefix
from lispmsrt.wire.authentication import AlgorithmId, Key

__all__ = ["OptionError", "add_arguments", "key_of", "plan_of"]

_RATE = re.compile(r"(\d+(?:\.\d+)?)(?:/s)?")
_MAX_RATE = 1_000_000.0
_MAX_SECONDS = 7 * 86_400.0
_MAX_ETRS = 65_536
"""A Map-Server of ours has room for as many sessions."""

_MAX_SOURCES = 65_536
_MAX_PREFIXES = 64
_OWN_NETWORK = "--yes-this-is-my-network"
_BROADCAST = ipaddress.ip_address("255.255.255.255")


class OptionError(ValueError):
    """An option can't be as it is; the text is one sentence."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the load."""
    parser.add_argument("map_server", metavar="MAP-SERVER[:PORT]", help="its address (port 4342)")
    parser.add_argument(
        _OWN_NETWORK,
        dest="is_own_network",
        action="store_true",
        help="needed for a Map-Server that is not on this host: this is load",
    )
    _add_etr_arguments(parser)
    _add_key_arguments(parser)
    _add_eid_arguments(parser)
    _add_load_arguments(parser)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there too")


def _add_etr_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("ETRs")
    group.add_argument("--etrs", type=int, default=1, metavar="N", help="default: 1")
    group.add_argument("--eids", type=int, default=100, metavar="N", help="of each (default: 100)")
    group.add_argument(
        "--transport",
        default="tcp",
        metavar="T",
        help="udp, or an endpoint string for sessions: tcp, tls13:caFile=F, quic:pin=P, sctp,"
        " tcp:4343 (default: tcp)",
    )
    group.add_argument(
        "--source-addresses",
        action="append",
        default=[],
        metavar="ADDRS",
        help="addresses of this host or prefixes of them (127.0.1.0/24) that ETRs take turns with;"
        " without it all have one",
    )
    group.add_argument(
        "--without-r-bit",
        action="store_true",
        help="connect after any authentic Map-Notify: for Map-Servers that predate the r bit",
    )
    group.add_argument("--site-id", type=int, default=1, metavar="N", help="default: 1")


def _add_key_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the site's key")
    group.add_argument("--key-file", metavar="FILE", help="the secret and nothing else")
    group.add_argument("--key-id", type=int, default=0, metavar="N", help="default: 0")
    group.add_argument(
        "--algorithm",
        choices=sorted(ALGORITHMS),
        default="hmac-sha-256-128",
        help="default: hmac-sha-256-128",
    )


def _add_eid_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("EIDs")
    group.add_argument(
        "--site-prefix",
        action="append",
        default=[],
        metavar="PREFIX",
        help="where EIDs are taken from, shared evenly if there are several (default: 10.0.0.0/8)",
    )
    group.add_argument("--instance-id", type=int, default=0, metavar="N", help="default: 0")
    group.add_argument(
        "--eid-length",
        type=int,
        metavar="BITS",
        help="length of the EID-prefixes (default: 32, or 128 for IPv6)",
    )


def _add_load_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("load")
    group.add_argument(
        "--ramp", default="100/s", metavar="RATE", help="ETRs started (default: 100/s)"
    )
    for name, what in (
        ("--moves", "EIDs that get another locator set, or go to another ETR"),
        ("--flaps", "EIDs that are withdrawn, and registered again a second later"),
        ("--lookups", "Map-Requests in an ECM, about EIDs of the swarm"),
    ):
        group.add_argument(name, default="0", metavar="RATE", help=f"{what} (default: none)")
    group.add_argument(
        "--for",
        dest="seconds",
        type=float,
        metavar="SECONDS",
        help="end of the load (default: when all is acknowledged and nothing else is asked for,"
        " else and at most 30)",
    )
    group.add_argument(
        "--records", type=int, default=1, metavar="N", help="of a Map-Register (default: 1)"
    )
    group.add_argument(
        "--window",
        type=int,
        metavar="N",
        help="unanswered at a time: Registrations of a session (default: 16384), Map-Registers in"
        " all (default: 128)",
    )
    group.add_argument("--seed", type=int, default=1, metavar="N", help="default: 1")


def plan_of(arguments: argparse.Namespace) -> Plan:
    """Return what is asked for; ValueError says what can't be."""
    server = SocketAddress.from_text(arguments.map_server)
    _check_target(server, is_own_network=arguments.is_own_network)
    _check_numbers(arguments)
    texts = arguments.site_prefix or ["10.0.0.0/8"]
    if len(texts) > _MAX_PREFIXES:
        raise OptionError(f"more than {_MAX_PREFIXES} --site-prefix are not taken")
    transport = _transport(arguments.transport, server, is_own_network=arguments.is_own_network)
    if arguments.records > 1 and transport != UDP:
        raise OptionError(
            "--records is for --transport udp: a Registration on a session has one record"
        )
    return Plan(
        map_server=server,
        transport=transport,
        prefixes=tuple(
            EidPrefix.from_text(text, arguments.instance_id, called="--site-prefix")
            for text in texts
        ),
        etrs=arguments.etrs,
        eids=arguments.eids,
        length=arguments.eid_length,
        ramp=_rate(arguments.ramp, "--ramp", may_be_none=False),
        moves=_rate(arguments.moves, "--moves"),
        flaps=_rate(arguments.flaps, "--flaps"),
        lookups=_rate(arguments.lookups, "--lookups"),
        seconds=arguments.seconds,
        records=arguments.records,
        window=arguments.window,
        sources=_sources(arguments.source_addresses, server, arguments.etrs),
        needs_r=not arguments.without_r_bit,
        site_id=arguments.site_id,
        seed=arguments.seed,
    )


def key_of(arguments: argparse.Namespace) -> Key:
    """Return the site's key; ValueError says what is wrong."""
    algorithm = ALGORITHMS[arguments.algorithm]
    if algorithm is AlgorithmId.NONE:
        if arguments.key_file is not None:
            raise OptionError("--algorithm none has no key: leave --key-file out")
        return Key(arguments.key_id, algorithm, b"")
    if arguments.key_file is None:
        raise OptionError(
            "no key: name a file with the site's secret with --key-file (in an argument every user"
            " of this host would see it)"
        )
    return key_from_file(arguments.key_file, arguments.key_id, "--key-id", algorithm)


def _check_target(server: SocketAddress, *, is_own_network: bool) -> None:
    if not server.port:
        raise OptionError(f"{server} has no port to send to")
    address = ipaddress.ip_address(server.host.partition("%")[0])
    if address.is_unspecified or address.is_multicast or address == _BROADCAST:
        raise OptionError(
            f"{server} is no address of a Map-Server: name the one that it listens on"
        )
    if not is_own_network and not _is_of_this_host(server):
        raise OptionError(
            f"{server} is not on this host, and this is load: add {_OWN_NETWORK} if the Map-Server"
            " and the way to it are yours"
        )


def _is_of_this_host(server: SocketAddress) -> bool:
    """Whether the address is one of this host: only those can be bound to."""
    family = socket.AF_INET if len(server.packed) == 4 else socket.AF_INET6
    with closing(socket.socket(family, socket.SOCK_DGRAM)) as probe:
        try:
            probe.bind((server.host, 0))
        except OSError:
            return False
        return True


def _check_numbers(arguments: argparse.Namespace) -> None:
    for name, value, least, most in (
        ("--etrs", arguments.etrs, 1, _MAX_ETRS),
        ("--eids", arguments.eids, 1, 1 << 32),
        ("--records", arguments.records, 1, 255),
        ("--window", arguments.window, 1, 10_000_000),
        ("--for", arguments.seconds, 0.1, _MAX_SECONDS),
        ("--site-id", arguments.site_id, 0, (1 << 64) - 1),
        ("--instance-id", arguments.instance_id, 0, (1 << 32) - 1),
    ):
        if value is not None and not least <= value <= most:
            raise OptionError(f"{name} {value} is not from {least} to {most}")


def _rate(text: str, option: str, *, may_be_none: bool = True) -> float:
    found = _RATE.fullmatch(text)
    if found is None:
        raise OptionError(f"{option} {text!r} is no rate: write 50/s, or 0.5/s")
    rate = float(found[1])
    if rate > _MAX_RATE or not (rate or may_be_none):
        raise OptionError(f"{option} {text!r} is not between none and {_MAX_RATE:,.0f} a second")
    return rate


def _transport(text: str, server: SocketAddress, *, is_own_network: bool) -> str:
    if text == UDP:
        return UDP
    try:
        completed = with_host(checked(text), server.host)
        # What has a host of its own does not take another one.
        has_host = completed == with_host(checked(text), "192.0.2.1")
        transport = with_default_port(completed, is_server=False)
    except ValueError as failure:
        raise OptionError(f"--transport {text!r}: {failure}") from None
    if has_host and not is_own_network:
        raise OptionError(
            f"--transport {text!r} names a host of its own: leave it out to connect to"
            f" {server.host}, or add {_OWN_NETWORK} if it is yours"
        )
    return transport


def _sources(texts: list[str], server: SocketAddress, etrs: int) -> tuple[str, ...]:
    """Return as many addresses as are of use."""
    found: list[str] = []
    for text in texts:
        try:
            network = ipaddress.ip_network(text)
        except ValueError as failure:
            raise OptionError(f"--source-addresses: {failure}") from None
        if len(network.network_address.packed) != len(server.packed):
            raise OptionError(f"--source-addresses {text} can't reach {server}: another family")
        for address in network.hosts():
            if len(found) >= min(etrs, _MAX_SOURCES):
                break
            found.append(str(address))
    return tuple(found)
