"""Random addresses, and who says which network each belongs to: ``location lookup``, a program
that shares no line with this project.

A cut of the networks is another truth than the whole: ``location`` decides there only when the
network it names is in the cut (then it is the longest match in the cut as well) or when it knows
none at all. The rest, and what it gives no verdict on, is judged by sorted ranges and bisection,
which is no trie and no hash table.
"""

from __future__ import annotations

import ipaddress
import os
import random
import re
import subprocess
from bisect import bisect_right
from collections.abc import Iterable, Sequence

from benchmarks.networks import Network, NetworksError

__all__ = ["Judge", "SortedRanges", "ask_location", "canonical", "random_addresses"]

_PER_CALL = 1000
"""Addresses given to one ``location lookup``: well below the kernel's limit for arguments."""

UNDECIDED = "?"
"""What stands for an address on which ``location`` gave no verdict."""

# `location lookup` of libloc 0.9.16 gives up at the first address that it does not know where an
# earlier call has left errno set (in some environments, on every start). Its library can go on.
_LIBRARY = """
import sys
import location
database = location.Database("/var/lib/location/database.db")
for line in sys.stdin:
    try:
        print(database.lookup(line.strip()) or "-")
    except OSError:
        print("?")
"""

_HEADER = re.compile(r"^(\S+):$")
_NETWORK = re.compile(r"^ +Network +: (\S+)$")


def random_addresses(networks: Sequence[Network], count: int, seed: int = 9301) -> list[str]:
    """Draw addresses: 4 in 10 inside an announced IPv4 network and 3 in 10 inside one of IPv6 (any
    network is as likely as another), 1 in 10 just behind the end of one, 1 in 10 anywhere in IPv4
    and 1 in 10 anywhere in 2000::/3.
    """
    draw = random.Random(seed)
    ipv6 = [network for network in networks if network.is_ipv6]
    ipv4 = [network for network in networks if not network.is_ipv6]
    found = []
    for number in range(count):
        match number % 10:
            case 0 | 1 | 2 | 3:
                found.append(_inside(draw, draw.choice(ipv4 or ipv6)))
            case 4 | 5 | 6:
                found.append(_inside(draw, draw.choice(ipv6 or ipv4)))
            case 7:
                found.append(_behind(draw.choice(networks)))
            case 8:
                found.append(str(ipaddress.IPv4Address(draw.getrandbits(32))))
            case _:
                found.append(str(ipaddress.IPv6Address(1 << 125 | draw.getrandbits(125))))
    return found


def _inside(draw: random.Random, network: Network) -> str:
    parsed = ipaddress.ip_network(network.prefix)
    return str(parsed[draw.randrange(parsed.num_addresses)])


def _behind(network: Network) -> str:
    last = ipaddress.ip_network(network.prefix)[-1]
    try:
        return str(last + 1)
    except ipaddress.AddressValueError:  # the end of the address space
        return str(last)


def canonical(prefix: str) -> str:
    """Return a prefix as Python's ``ipaddress`` writes it."""
    return str(ipaddress.ip_network(prefix))


def ask_location(addresses: Sequence[str]) -> list[str | None]:
    """Ask ``location lookup``; return the network that it names for each address, None where it
    knows none, or UNDECIDED.
    """
    answers: dict[str, str] = {}
    for first in range(0, len(addresses), _PER_CALL):
        answers.update(_ask_location(addresses[first : first + _PER_CALL]))
    return [answers.get(address) for address in addresses]


def _ask_location(addresses: Sequence[str]) -> dict[str, str]:
    outcome = subprocess.run(
        ["location", "lookup", *addresses],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )
    if "[Errno" in outcome.stderr:
        return _ask_library(addresses)
    answers: dict[str, str] = {}
    unknown = sum(line.startswith("Nothing found for ") for line in outcome.stderr.splitlines())
    address = ""
    for line in outcome.stdout.splitlines():
        if header := _HEADER.match(line):
            address = header[1]
        elif network := _NETWORK.match(line):
            answers[address] = network[1]
    # Silence about an address must not pass for "nothing found".
    if len(answers.keys() & set(addresses)) + unknown < len(set(addresses)):
        raise NetworksError(f"`location lookup` failed with status {outcome.returncode}")
    return answers


def _ask_library(addresses: Sequence[str]) -> dict[str, str]:
    outcome = subprocess.run(
        ["/usr/bin/python3", "-c", _LIBRARY],  # Debian's own, which has the module
        input="\n".join(addresses),
        capture_output=True,
        text=True,
    )
    lines = outcome.stdout.split()
    if len(lines) != len(addresses):
        raise NetworksError(f"`location lookup` failed, its library too: {outcome.stderr[-200:]}")
    return {address: line for address, line in zip(addresses, lines, strict=True) if line != "-"}


class SortedRanges:
    """Longest match by bisection: nested networks flattened into ranges side by side."""

    def __init__(self, prefixes: Iterable[str]) -> None:
        self._starts: dict[int, list[int]] = {4: [], 6: []}
        self._names: dict[int, list[str | None]] = {4: [], 6: []}
        networks = sorted(
            (parsed.version, int(parsed[0]), -int(parsed[-1]), prefix)
            for prefix in prefixes
            for parsed in (ipaddress.ip_network(prefix),)
        )
        for version in (4, 6):
            self._flatten(version, [entry[1:] for entry in networks if entry[0] == version])

    def _flatten(self, version: int, networks: list[tuple[int, int, str]]) -> None:
        starts, names = self._starts[version], self._names[version]
        around: list[tuple[int, str]] = []

        def close(before: int | None) -> None:
            while around and (before is None or around[-1][0] < before):
                starts.append(around.pop()[0] + 1)
                names.append(around[-1][1] if around else None)

        for first, negated_last, prefix in networks:
            close(first)
            starts.append(first)
            names.append(prefix)
            around.append((-negated_last, prefix))
        close(None)

    def lookup(self, text: str) -> str | None:
        """Return the longest prefix that covers the address, or None."""
        address = ipaddress.ip_address(text)
        # Of several ranges with one start the last is the narrowest.
        at = bisect_right(self._starts[address.version], int(address))
        return self._names[address.version][at - 1] if at else None


class Judge:
    """Knows the right answer for every address, from the networks that were registered.

    ``by_location`` counts the verdicts that ``location lookup`` gave by itself.
    """

    def __init__(self, networks: Sequence[Network], owners: Sequence[int]) -> None:
        self.by_location = 0
        self._owners = {
            network.prefix: owner for network, owner in zip(networks, owners, strict=True)
        }
        self._ranges: SortedRanges | None = None

    def verdicts(self, addresses: Sequence[str]) -> list[tuple[str, int] | None]:
        """Return the longest match of each address in canonical form with the number of its ETR."""
        return [
            None if prefix is None else (canonical(prefix), self._owners[prefix])
            for prefix in map(self._decide, addresses, ask_location(addresses))
        ]

    def _decide(self, address: str, named: str | None) -> str | None:
        if named != UNDECIDED and (named is None or named in self._owners):
            self.by_location += 1
            return named
        if self._ranges is None:
            self._ranges = SortedRanges(self._owners)
        return self._ranges.lookup(address)
