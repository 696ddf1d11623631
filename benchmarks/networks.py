"""The routed Internet as Debian's ``location`` dumps it: networks with their origin AS, dealt out
to ETRs.

Knows the data, nothing of LISP. The dump has no default route and no network twice; both are
checked here rather than believed, for a default route would make every lookup succeed.
"""

from __future__ import annotations

import heapq
import random
import socket
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

__all__ = [
    "Network",
    "NetworksError",
    "Summary",
    "cut",
    "deal",
    "dump_networks",
    "made_up",
    "read_dump",
]


class NetworksError(Exception):
    """The data is not there or not what it should be; the text says so in one sentence."""


class Network(NamedTuple):
    """One announced network."""

    prefix: str
    "as ``location`` writes it"
    asn: int | None
    "its origin AS, where it has one"

    @property
    def is_ipv6(self) -> bool:
        """Whether the network is one of IPv6."""
        return ":" in self.prefix

    @property
    def length(self) -> int:
        """The prefix length in bits."""
        return int(self.prefix.rpartition("/")[2])


class Summary(NamedTuple):
    """What is in a list of networks."""

    ipv4: int
    ipv6: int
    systems: int
    "autonomous systems"
    without_system: int
    shortest: int
    longest: int

    @classmethod
    def of(cls, networks: Sequence[Network]) -> Summary:
        """Count."""
        ipv6 = sum(network.is_ipv6 for network in networks)
        lengths = [network.length for network in networks]
        systems = {network.asn for network in networks}
        without = sum(network.asn is None for network in networks)
        return cls(
            len(networks) - ipv6,
            ipv6,
            len(systems - {None}),
            without,
            min(lengths),
            max(lengths),
        )

    def __str__(self) -> str:
        return (
            f"{self.ipv4:,} IPv4 and {self.ipv6:,} IPv6 networks, lengths {self.shortest} to "
            f"{self.longest}, of {self.systems:,} autonomous systems; {self.without_system:,} "
            "have none"
        )


def dump_networks() -> list[Network]:
    """Have ``location`` write its database to a file, and read it."""
    with tempfile.TemporaryDirectory(prefix="lispmsrt-") as directory:
        dump = Path(directory) / "networks"
        try:
            outcome = subprocess.run(
                ["location", "dump", str(dump)], stdin=subprocess.DEVNULL, capture_output=True
            )
        except FileNotFoundError:
            raise NetworksError(
                "Debian's packages location and libloc-database are missing"
            ) from None
        if outcome.returncode or not dump.exists():
            raise NetworksError(f"`location dump` failed with status {outcome.returncode}")
        networks = list(read_dump(dump))
    _check(networks)
    return networks


def read_dump(dump: Path) -> Iterator[Network]:
    """Yield the networks of a dump in its order: paragraphs of ``field: value``."""
    prefix: str | None = None
    asn: int | None = None
    with dump.open(encoding="utf-8") as lines:
        for line in lines:
            field, _colon, value = line.partition(":")
            if field == "net":
                prefix, asn = value.strip(), None
            elif field == "aut-num" and prefix is not None:
                asn = int(value)
            elif line == "\n" and prefix is not None:
                yield Network(prefix, asn)
                prefix = None
    if prefix is not None:
        yield Network(prefix, asn)


def _check(networks: Sequence[Network]) -> None:
    if not networks:
        raise NetworksError("`location dump` wrote no network")
    if len({network.prefix for network in networks}) != len(networks):
        raise NetworksError("`location dump` wrote a network twice")
    if any(network.length == 0 for network in networks):
        raise NetworksError("`location dump` wrote a default route")


def cut(networks: Sequence[Network], count: int | None) -> list[Network]:
    """Return ``count`` networks, evenly spaced in their order; all of them for None."""
    total = len(networks)
    if count is None or count >= total:
        return list(networks)
    return [networks[number * total // count] for number in range(count)]


def made_up(count: int) -> list[Network]:
    """Return random IPv4 networks of no AS, mostly /24s in clusters as they are routed."""
    draw = random.Random(2)
    found: dict[str, None] = {}
    while len(found) < count:
        length = draw.choices((16, 20, 22, 23, 24), (1, 3, 10, 10, 60))[0]
        address = draw.getrandbits(12) << 20 | draw.getrandbits(20)
        packed = (address >> 32 - length << 32 - length).to_bytes(4, "big")
        found[f"{socket.inet_ntoa(packed)}/{length}"] = None
    return [Network(prefix, None) for prefix in found]


def deal(networks: Sequence[Network], etrs: int) -> list[int]:
    """Return for each network the number of its ETR: all of an AS at one, evenly by counts.

    The largest AS first, each to the ETR that has the least; then those without AS, one each in
    turn.
    """
    sizes = Counter(network.asn for network in networks if network.asn is not None)
    least = [(0, etr) for etr in range(etrs)]
    owner: dict[int | None, int] = {}
    for asn, size in sorted(sizes.items(), key=lambda item: (-item[1], item[0])):
        held, etr = heapq.heappop(least)
        owner[asn] = etr
        heapq.heappush(least, (held + size, etr))
    return list(_owners(networks, owner, etrs))


def _owners(networks: Iterable[Network], owner: dict[int | None, int], etrs: int) -> Iterator[int]:
    turn = 0
    for network in networks:
        if network.asn is None:
            yield turn % etrs
            turn += 1
        else:
            yield owner[network.asn]
