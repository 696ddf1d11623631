"""A Map-Server where the routed Internet is registered, by many ETRs over a session each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from benchmarks.ground import Bench, Spent, check_count
from benchmarks.judge import SortedRanges
from benchmarks.load import Session
from benchmarks.messages import network_records, registrations, xtr_ids
from benchmarks.networks import Network, NetworksError, deal, dump_networks, made_up
from benchmarks.processes import Child
from benchmarks.replies import Replies, Verdict
from benchmarks.roles import etr_address
from lispmsrt.wire.framing import MESSAGE_OVERHEAD

__all__ = ["Internet", "load_internet", "registered"]

_ETRS = 200
_ACKS = {False: MESSAGE_OVERHEAD + 7, True: MESSAGE_OVERHEAD + 19}
"""Octets of an ACK; whether its EID is one of IPv6."""


@dataclass(frozen=True, slots=True)
class Internet:
    """Networks and their ETRs."""

    networks: Sequence[Network]
    owners: Sequence[int]
    source: str
    "where they come from, for people"

    def verdicts(self, addresses: Sequence[str]) -> list[Verdict]:
        """Return the network of each address and its ETR, by sorted ranges."""
        owner = dict(zip((one.prefix for one in self.networks), self.owners, strict=True))
        ranges = SortedRanges(owner)
        found = map(ranges.lookup, addresses)
        return [None if prefix is None else (prefix, owner[prefix]) for prefix in found]

    def judge(self) -> Replies:
        """Return who knows whether a Map-Reply is right."""
        return Replies(self.networks, self.owners, etr_address)


def load_internet(bench: Bench) -> Internet:
    """Read the networks; make some up where only few are wanted or there is no dump."""
    wanted = bench.sizes.networks
    source = "made up"
    if wanted:
        networks = made_up(wanted)
    else:
        try:
            networks, source = dump_networks(), "libloc-database"
        except NetworksError as failure:
            bench.say(f"  {failure}; networks are made up")
            networks = made_up(1_290_000)
    return Internet(networks, deal(networks, _ETRS), source)


@contextmanager
def registered(bench: Bench, internet: Internet) -> Iterator[tuple[Child, float]]:
    """Run a Map-Server where all is registered, on sessions that stay; with it the resident memory
    that it began with, in octets.
    """
    shares: list[list[Network]] = [[] for _ in range(_ETRS)]
    for network, owner in zip(internet.networks, internet.owners, strict=True):
        shares[owner].append(network)
    with bench.server() as server, ExitStack() as stack:
        ports = server.ask("ports")
        empty = server.ask("usage")["resident"]

        def register_all() -> float:
            return sum(_register(stack, ports, *each) for each in enumerate(shares))

        spent = Spent.by(server, register_all)
        check_count(server, len(internet.networks))
        rate = len(internet.networks) / spent.cpu
        bench.say(f"  registered {len(internet.networks):,} networks at {rate:,.0f} /CPU s")
        yield server, empty


def _register(
    stack: ExitStack, ports: tuple[int, int], number: int, share: Sequence[Network]
) -> float:
    if not share:
        return 0.0
    address, ids = etr_address(number), xtr_ids(number + 1)
    records = list(network_records((network.prefix for network in share), address))
    etr = stack.enter_context(Session(*ports, address, ids, records[0]))
    octets = sum(_ACKS[network.is_ipv6] for network in share)
    return etr.register(registrations(records, ids), len(share), octets)
