"""Whether a Map-Reply is right about an address, given the network that the address belongs to.

Knows networks, ETRs and records, as texts; nothing of how lookups are made.
"""

from __future__ import annotations

import ipaddress
import socket
from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import NamedTuple

from benchmarks.networks import Network

__all__ = ["Record", "Replies", "Verdict", "longest_match"]

Verdict = tuple[str, int] | None
"""The registered network that an address belongs to and the number of its ETR."""

_Prefix = ipaddress.IPv4Network | ipaddress.IPv6Network

_Place = tuple[int, int, str]
"""Network address, prefix length, RLOC: in order, what lies inside a prefix follows it at once."""


class Record(NamedTuple):
    """What a Map-Reply says of an EID-prefix."""

    prefix: str
    rlocs: tuple[str, ...]
    "none for a hole"


def longest_match(address: str, records: Sequence[Record]) -> Record | None:
    """Return the record that a packet to this address goes by."""
    parsed = ipaddress.ip_address(address)
    covering = [record for record in records if parsed in ipaddress.ip_network(record.prefix)]
    return max(covering, key=lambda record: int(record.prefix.partition("/")[2]), default=None)


class Replies:
    """Judge Map-Replies by all that is registered, in order."""

    def __init__(
        self, networks: Sequence[Network], owners: Sequence[int], rloc_of: Callable[[int], str]
    ) -> None:
        """``rloc_of`` gives the RLOC of an ETR."""
        self._rloc_of = rloc_of
        self._places: dict[int, list[_Place]] = {4: [], 6: []}
        for network, owner in zip(networks, owners, strict=True):
            family = socket.AF_INET6 if network.is_ipv6 else socket.AF_INET
            packed = socket.inet_pton(family, network.prefix.rpartition("/")[0])
            place = (int.from_bytes(packed, "big"), network.length, rloc_of(owner))
            self._places[6 if network.is_ipv6 else 4].append(place)
        for places in self._places.values():
            places.sort()

    def mistake(self, address: str, verdict: Verdict, records: Sequence[Record]) -> str:
        """Return what is wrong with the records of a Map-Reply, nothing if they are right.

        They are if a packet to this address, and to any other that they cover, goes where it
        should (RFC 9301 §5.5), and if they cover as much as they can.
        """
        record = longest_match(address, records)
        if record is None:
            return "there is no answer"
        prefix = ipaddress.ip_network(record.prefix)
        if verdict is None:
            around, rlocs = "", ()
        else:
            around, rlocs = verdict[0], (self._rloc_of(verdict[1]),)
        if record.rlocs != rlocs or (around and not _is_inside(prefix, around)):
            right = f"{around} at {rlocs[0]}" if rlocs else "that it is nobody's"
            return f"the Map-Server says {_shown(record)}, right is {right}"
        inside = self._inside(prefix)
        if sorted(map(_place, (each for each in records if each is not record))) != inside:
            return (
                f"the Map-Server says {', '.join(map(_shown, records))}; inside of {prefix} "
                f"{len(inside)} are registered"
            )
        if prefix.prefixlen and record.prefix != around and not self._inside(prefix.supernet()):
            return f"the Map-Server says {_shown(record)}, which is narrower than need be"
        return ""

    def _inside(self, prefix: _Prefix) -> list[_Place]:
        """Return what is registered inside a prefix, that itself left out."""
        places = self._places[prefix.version]
        first = int(prefix.network_address)
        begin = bisect_left(places, (first, prefix.prefixlen + 1))
        return places[begin : bisect_left(places, (first + prefix.num_addresses,))]


def _is_inside(prefix: _Prefix, around: str) -> bool:
    outer = ipaddress.ip_network(around)
    return prefix.network_address in outer and prefix.prefixlen >= outer.prefixlen


def _place(record: Record) -> _Place:
    prefix = ipaddress.ip_network(record.prefix)
    return int(prefix.network_address), prefix.prefixlen, ", ".join(record.rlocs)


def _shown(record: Record) -> str:
    return f"{record.prefix} at {', '.join(record.rlocs)}" if record.rlocs else record.prefix
