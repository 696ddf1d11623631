"""``python -m benchmarks.lookups``: what it takes to find the answer to a Map-Request while the
routed Internet is registered, beside a bare Twisted UDP echo.

All in this process and without a network: networks are entered in the mapping database, then looked
up in batches of one kind. What counts is the median of the batches; its ratio to the echo can be
compared between machines.
"""

from __future__ import annotations

import argparse
import ipaddress
import json
import os
import random
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from benchmarks.ground import Bench, Sizes
from benchmarks.load import LoadError
from benchmarks.networks import NetworksError, cut, dump_networks, made_up
from benchmarks.processes import ProcessError
from lispmsrt.mapping.database import Database, EidTable, Lease, Registration, Xtr
from lispmsrt.mapping.eid_index import WIDTHS, EidIndex
from lispmsrt.mapping.lookup import MAX_MORE_SPECIFICS, Found, FoundKind, Lookup
from lispmsrt.mapping.sites import Site, SitePrefix, Sites, eid_key
from lispmsrt.tap import tune_garbage_collector
from lispmsrt.wire.addresses import Address, Afi, EidPrefix

__all__ = ["main"]

_BATCH = 100
_FILE_COLUMNS = 120
_QUESTIONS = 1000
"""Of each of two sorts; the worst counts."""

_HOST_ROUTES = ipaddress.ip_network("10.0.0.0/8")
"""Where the /32s are registered besides: nobody routes it."""

_SITE_PREFIXES = ("0.0.0.0/1", "128.0.0.0/2", "::/0")
"""A quarter of the IPv4 addresses is nobody's, so that holes outside of sites are met too; what is
registered there makes them as small as others.
"""

_NOTE = """\
Medians and lowest deciles of batches of {batch} lookups of one kind, for random addresses; IPv6
ones are in or close to a network. "Hole search" finds what stands beside an address, "longest
match" goes on from there to the prefix that covers it; "find" makes an answer of it. A listed hit
has up to {listed} more-specifics, each of which is looked up and listed too; where there are more,
the answer is a part of the hit. A worst question finds the order of most prefixes not made yet."""


class Kind(NamedTuple):
    """Lookups of one kind."""

    name: str
    function: Callable[[Any], object]
    addresses: Sequence[Any]
    make: Callable[[Any], object] | None = None
    "makes what the function takes, outside of what is timed"


class Row(NamedTuple):
    """A line of the table."""

    name: str
    unit: str
    value: float
    "the median, where there are several"
    lowest: float | None = None
    "of a tenth of the batches: what it is when nobody else wants the machine"
    to_echo: float | None = None


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print the table; return the exit code."""
    options = _parse(arguments)
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _FILE_COLUMNS
    try:
        rows = list(_measure(options, console))
    except (LoadError, NetworksError, ProcessError, OSError) as failure:
        print(f"lookups: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("lookups: interrupted", file=sys.stderr)
        return 130
    console.print(_table(rows))
    console.print(_NOTE.format(batch=_BATCH, listed=MAX_MORE_SPECIFICS), soft_wrap=True)
    if options.json is not None:
        figures = {row.name: row._asdict() for row in rows}
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lookups", description=__doc__)
    parser.add_argument("--random", action="store_true", help="networks that are made up")
    parser.add_argument("--networks", type=int, help="as many (all, or 1,290,000 random ones)")
    parser.add_argument("--hosts", type=int, default=1_000_000, help="/32s besides (%(default)s)")
    parser.add_argument("--lookups", type=int, default=100_000, help="in all (%(default)s)")
    parser.add_argument(
        "--datagrams", type=int, default=100_000, help="of the echo, 0 for none (%(default)s)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    return parser.parse_args(arguments)


def _measure(options: argparse.Namespace, console: Console) -> Iterator[Row]:
    echo_time = _echo_time(options.datagrams, console) if options.datagrams else None
    if echo_time is not None:
        yield Row("Twisted UDP echo", "ns", echo_time, to_echo=1.0)
    tune_garbage_collector()
    prefixes = _prefixes(options)
    random.Random(1).shuffle(prefixes)
    ground = Ground()
    yield Row("registering, no index", "ns", Ground(is_indexed=False).register(prefixes))
    yield Row("registering", "ns", ground.register(prefixes))
    yield Row("worst question after that", "ms", ground.worst_question())
    yield from ground.memory()
    console.print(f"{len(ground.database):,} networks registered", soft_wrap=True)
    yield from _timed(list(_lookups(ground, options.lookups)), "", echo_time)
    hosts = _hosts(options.hosts)
    when = f", {options.hosts:,} /32s besides"
    yield Row("registering" + when, "ns", ground.register(hosts))
    yield Row("worst question after that" + when, "ms", ground.worst_question())
    yield from ground.changes(hosts[:10_000])
    yield from _timed(list(_lookups(ground, options.lookups)), when, echo_time)


def _echo_time(datagrams: int, console: Console) -> float:
    """Return the nanoseconds of CPU that a server takes for a datagram and its answer."""
    cores = os.sched_getaffinity(0)
    with TemporaryDirectory(prefix="lispmsrt-lookups-") as directory:
        rate = Bench(Sizes(datagrams=datagrams), Path(directory), console).echo()
    # The echo's load had one core; lookups may have the better one.
    os.sched_setaffinity(0, cores)
    return 1e9 / rate


Prefix = tuple[int, int, int]
"""Family, length, key."""


def _prefixes(options: argparse.Namespace) -> list[Prefix]:
    if options.random:
        networks = made_up(options.networks or 1_290_000)
    else:
        networks = cut(dump_networks(), options.networks)
    return [eid_key(EidPrefix.from_text(network.prefix))[1:] for network in networks]


def _hosts(number: int) -> list[Prefix]:
    base = int(_HOST_ROUTES.network_address)
    within = random.Random(3).sample(range(_HOST_ROUTES.num_addresses), number)
    return [(Afi.IPV4, 32, base + host | 1 << 32) for host in within]


class Ground:
    """A database, sites and a lookup."""

    def __init__(self, *, is_indexed: bool = True) -> None:
        self.database = Database()
        self._is_indexed = is_indexed
        site = Site("internet", ())
        sites = Sites(SitePrefix.of(site, EidPrefix.from_text(t), True) for t in _SITE_PREFIXES)
        self.lookup = Lookup(self.database, lambda: sites)
        self._lease = Lease(Xtr("internet", b"", b""), "UDP", "here", is_live=False)

    def table(self, afi: int) -> EidTable:
        """Return the table of a family."""
        table = self.database.table(0, afi)
        if not self._is_indexed:
            table.index = None
        return table

    def register(self, prefixes: Sequence[Prefix]) -> float:
        """Enter them; return the nanoseconds of each."""
        tables = {afi: self.table(afi) for afi in {prefix[0] for prefix in prefixes}}
        registrations = [Registration(b"", self._lease, 0, 0.0, None) for _prefix in prefixes]
        begin = time.perf_counter_ns()
        for (afi, length, key), registration in zip(prefixes, registrations, strict=True):
            tables[afi].put(length, key, registration)
        return (time.perf_counter_ns() - begin) / len(prefixes)

    def worst_question(self) -> float:
        """Return the milliseconds of the worst of many questions, for IPv4 addresses: some at
        random, some where most is registered.
        """
        chosen = random.Random(7)
        addresses = [chosen.randbytes(4) for _number in range(_QUESTIONS)]
        for key in chosen.choices(list(self.table(Afi.IPV4).entries), k=_QUESTIONS):
            addresses.append((key << 33 - key.bit_length() ^ 1 << 32).to_bytes(4, "big"))
        return max(map(self._question, addresses)) / 1e6

    def _question(self, packed: bytes) -> int:
        """Return the nanoseconds of a question for an IPv4 address."""
        eid = EidPrefix(0, Address(Afi.IPV4, packed), 32)
        begin = time.perf_counter_ns()
        self.lookup.find(eid)
        return time.perf_counter_ns() - begin

    def memory(self) -> Iterator[Row]:
        """Fill other indexes with the same prefixes, and have all put in order."""
        for afi, name in ((Afi.IPV4, "IPv4"), (Afi.IPV6, "IPv6")):
            entries = self.table(afi).entries
            if not entries:
                continue
            tracemalloc.start()
            index = EidIndex(WIDTHS[afi], entries)
            for leading in range(256):
                index.inside(leading << WIDTHS[afi] - 8, 8, len(entries))
            octets = tracemalloc.get_traced_memory()[0] / len(entries)
            tracemalloc.stop()
            yield Row(f"memory of a prefix in the {name} index", "octets", octets)

    def changes(self, prefixes: Sequence[Prefix]) -> Iterator[Row]:
        """Take out and enter again, with a question beside it each time."""
        taken: list[int] = []
        registrations = [Registration(b"", self._lease, 0, 0.0, None) for _prefix in prefixes]
        for (afi, length, key), registration in zip(prefixes, registrations, strict=True):
            table, packed = self.table(afi), (key ^ 1 << 32).to_bytes(4, "big")
            table.remove(length, key)
            taken.append(self._question(packed))
            table.put(length, key, registration)
            taken.append(self._question(packed))
        yield Row("question beside a change just made", "ns", statistics.median(taken))
        begin = time.perf_counter_ns()
        for afi, length, key in prefixes:
            self.table(afi).remove(length, key)
        yield Row("removing", "ns", (time.perf_counter_ns() - begin) / len(prefixes))
        self.register(prefixes)


def _lookups(ground: Ground, number: int) -> Iterator[Kind]:
    """Yield the parts of a lookup, then whole ones by what they find."""
    table = ground.table(Afi.IPV4)
    index = table.index
    assert index is not None
    chosen = random.Random(4)
    networks = [chosen.getrandbits(32) for _number in range(min(number, 20_000))]

    def longest_match(network: int) -> int:
        covering, below, _above = index.neighbours(network, 32)
        if covering < 0 and below >= 0:
            return table.longest_cover(below, network >> 32 - below | 1 << below)
        return covering

    yield Kind("hole search", lambda network: index.neighbours(network, 32), networks)
    yield Kind("longest match", longest_match, networks)
    yield from _answers(ground, Afi.IPV4, number)
    if ground.table(Afi.IPV6).entries:
        yield from _answers(ground, Afi.IPV6, number // 4)


def _answers(ground: Ground, afi: Afi, number: int) -> Iterator[Kind]:
    chosen = random.Random(5)
    found: dict[str, list[bytes]] = {}
    keys = list(ground.table(afi).entries) if afi == Afi.IPV6 else []
    find = ground.lookup.find

    def question(packed: bytes) -> EidPrefix:
        return EidPrefix(0, Address(afi, packed), 8 * len(packed))

    for _number in range(number):
        packed = _near(chosen, keys) if keys else chosen.randbytes(4)
        found.setdefault(_kind(find(question(packed))), []).append(packed)
    for kind, addresses in sorted(found.items()):
        name = f"find {afi.name}, {kind} ({len(addresses) / number:.0%})"
        yield Kind(name, find, addresses, question)
    everything = [packed for addresses in found.values() for packed in addresses]
    chosen.shuffle(everything)
    yield Kind(f"find {afi.name}, as they come", find, everything, question)


def _near(chosen: random.Random, keys: Sequence[int]) -> bytes:
    """Return an IPv6 address in or close to a registered network: others are all in one hole."""
    key = chosen.choice(keys)
    bits = 128 - (key.bit_length() - 1)
    network = (key << bits) - (1 << 128) ^ chosen.getrandbits(bits + 2)
    return (network & (1 << 128) - 1).to_bytes(16, "big")


def _kind(found: Found) -> str:
    if found.kind is FoundKind.NO_SITE:
        return "hole without a site"
    if found.hit is None:
        return "hole in a site"
    if found.more_specifics:
        return "listed hit"
    return "part of a hit" if found.eid.length != found.hit.length else "hit"


def _timed(kinds: Sequence[Kind], when: str, echo_time: float | None) -> Iterator[Row]:
    """Time all kinds in turn, so that what else happens on the machine hits them alike."""
    clock = time.perf_counter_ns
    batches = [
        (kind, kind.addresses[first : first + _BATCH])
        for kind in kinds
        for first in range(0, len(kind.addresses) - _BATCH + 1, _BATCH)
    ]
    random.Random(6).shuffle(batches)
    taken: dict[str, list[float]] = {kind.name: [] for kind in kinds}
    for kind, batch in batches:
        made, function = batch if kind.make is None else list(map(kind.make, batch)), kind.function
        begin = clock()
        for each in made:
            function(each)
        taken[kind.name].append((clock() - begin) / _BATCH)
    for name, times in taken.items():
        if times:
            value, lowest = statistics.median(times), sorted(times)[len(times) // 10]
            ratio = value / echo_time if echo_time else None
            yield Row(name + when, "ns", value, lowest, ratio)


def _table(rows: Sequence[Row]) -> Table:
    table = Table(title="one core")
    table.add_column("what")
    for heading in ("median", "lowest", "unit", "to echo"):
        table.add_column(heading, justify="right")
    for row in rows:
        lowest = "" if row.lowest is None else f"{row.lowest:,.0f}"
        ratio = "" if row.to_echo is None else f"{row.to_echo:.2f}"
        table.add_row(row.name, f"{row.value:,.0f}", lowest, row.unit, ratio)
    return table


if __name__ == "__main__":
    sys.exit(main())
