"""What ``make bench`` measures, one function each.

To measure something else, add a function to :func:`experiments` and its rows to ``ROWS``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.generator import LoadRole
from benchmarks.load import LoadError, Session, exchange, registers, registrations
from benchmarks.processes import Child, Role
from benchmarks.questions import (
    Asker,
    IsRight,
    Questions,
    is_hole,
    is_mapping,
    of_holes,
    of_mappings,
)
from benchmarks.roles import EchoRole, EtrsRole, MapServerRole
from lispmsrt.cli.demo_transports import LoopbackTransport, loopback_transports

__all__ = [
    "ECHO",
    "ECHO_OCTETS",
    "FEW",
    "ROWS",
    "SESSION",
    "Bench",
    "Experiment",
    "Measured",
    "Row",
    "asked",
    "experiments",
]

ECHO_OCTETS = 88

FEW = 1000
"""Mappings to look up: what fits any cache."""

_PORTION = 100_000
"""Registrations built at a time, where they are sent only once."""

_FIRST_QUESTIONS = 100
"""Asked before any is counted: the first has the Map-Server make the index."""

_TRANSPORTS = ("TCP", "TLS", "TCP-MD5", "QUIC", "SCTP", "user-space SCTP")

Usage = Mapping[str, float]
"""What a server says of itself: resident octets and CPU seconds."""


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table."""

    name: str
    unit: str
    is_rate: bool = True
    "whether its ratio to the echo means anything"


ECHO = Row("Twisted UDP echo", "/CPU s")
_SESSIONS = {name: Row(f"Registrations over {name}", "/CPU s") for name in _TRANSPORTS}
SESSION = _SESSIONS["TCP"]
UDP = Row("Map-Registers over UDP", "/CPU s")
_MAPPED = {size: Row(f"Map-Requests, {size} mappings", "/CPU s") for size in ("few", "many")}
_HOLES = {
    size: Row(f"Map-Requests for holes, {size} mappings", "/CPU s") for size in ("few", "many")
}
MEMORY = Row("memory of a mapping", "octets", is_rate=False)
_COLD_STARTS = {name: Row(f"cold start over {name}", "ms", is_rate=False) for name in _TRANSPORTS}
_REQUESTS = (*_MAPPED.values(), *_HOLES.values())
ROWS = (ECHO, *_SESSIONS.values(), UDP, *_REQUESTS, MEMORY, *_COLD_STARTS.values())


class Measured(NamedTuple):
    """A value of one round."""

    row: Row
    value: float
    by_the_clock: float | None = None
    "of a rate: per second of real time instead of per second of the server's CPU"


class Bench:
    """Sizes, cores, transports, and the load, which is built once."""

    def __init__(self, registrations: int, datagrams: int, eids: int, directory: Path) -> None:
        """``directory`` is for certificates and keys."""
        self.registrations = registrations
        self.datagrams = datagrams
        self.eids = eids
        "of a cold start"
        cores = sorted(os.sched_getaffinity(0))
        self.server_core = cores[0]
        self.is_alone = len(cores) > 1
        "whether the server has a core of its own"
        os.sched_setaffinity(0, cores[1:] or cores)
        self.transports = _transports(directory)
        self.missing: dict[Row, str] = {}
        "why a row can't be measured on this machine"

    @contextmanager
    def server(self, make: Callable[..., Role], *arguments: Any) -> Iterator[Child]:
        """Run a server on its core."""
        with _running(Child(make.__name__, make, *arguments, cpu=self.server_core)) as child:
            yield child

    @contextmanager
    def generator(self) -> Iterator[Child]:
        """Run the generator of what plain sockets can't do, and ask it what the machine lacks."""
        with _running(Child("the load generator", LoadRole, self.registrations)) as child:
            for transport in self.transports:
                reason = child.ask("missing", transport)
                if reason:
                    for rows in (_SESSIONS, _COLD_STARTS):
                        self.missing[rows[transport.name]] = reason
            yield child

    @cached_property
    def stream(self) -> list[bytes]:
        """Registrations, framed."""
        return registrations(self.registrations)

    @cached_property
    def map_registers(self) -> list[bytes]:
        """Map-Registers of one record each."""
        return registers(self.datagrams)


Experiment = Callable[[Bench], list[Measured]]


@contextmanager
def _running(child: Child) -> Iterator[Child]:
    try:
        child.receive()
        yield child
    finally:
        child.stop()


def _transports(directory: Path) -> Sequence[LoopbackTransport]:
    key = directory / "tcp-md5.key"
    key.write_text("benchmark key\n")
    md5 = f":key={key}"
    signed = LoopbackTransport("TCP-MD5", f"tcpmd5:0:interface=127.0.0.1{md5}", "tcpmd5", md5)
    found = {each.name: each for each in (*loopback_transports(directory), signed)}
    return [found[name] for name in _TRANSPORTS]


def experiments(bench: Bench, generator: Child) -> list[Experiment]:
    """Return what is measured in a round, but for what the machine lacks."""
    tcp, *others = [each for each in bench.transports if _SESSIONS[each.name] not in bench.missing]
    return [
        echo,
        session,
        *(partial(session_over, transport=each, generator=generator) for each in others),
        udp,
        *(partial(cold_start, transport=each) for each in (tcp, *others)),
    ]


def echo(bench: Bench) -> list[Measured]:
    """Measure what Twisted and the kernel take for a datagram and its answer."""
    datagrams = [bytes(ECHO_OCTETS)] * bench.datagrams
    with bench.server(EchoRole) as server:
        (port,) = server.ask("ports")
        before = server.ask("usage")
        seconds = exchange(port, datagrams)
        after = server.ask("usage")
    return _outcome(ECHO, bench.datagrams, seconds, before, after)


def session(bench: Bench) -> list[Measured]:
    """Measure a stream of Registrations over TCP, and what the mappings take."""
    stream, count = bench.stream, bench.registrations
    with bench.server(MapServerRole) as server, Session(*server.ask("ports")) as etr:
        before = server.ask("usage")
        seconds = etr.register(stream, count)
        after = server.ask("usage")
        _check_count(server, count + 1)
    growth = after["resident"] - before["resident"]
    return [
        *_outcome(SESSION, count, seconds, before, after),
        Measured(MEMORY, growth / count),
    ]


def session_over(bench: Bench, *, transport: LoopbackTransport, generator: Child) -> list[Measured]:
    """Measure the same stream of Registrations over another transport."""
    count = bench.registrations
    with bench.server(MapServerRole, transport.server) as server:
        udp_port, port = server.ask("ports")
        generator.ask("connect", udp_port, transport.client(port))
        before = server.ask("usage")
        seconds = generator.ask("register")
        after = server.ask("usage")
        _check_count(server, count + 1)
        generator.ask("close")
    return _outcome(_SESSIONS[transport.name], count, seconds, before, after)


def udp(bench: Bench) -> list[Measured]:
    """Measure Map-Registers that want a Map-Notify and don't ask for a session."""
    datagrams = bench.map_registers
    with bench.server(MapServerRole) as server:
        port, _tcp_port = server.ask("ports")
        before = server.ask("usage")
        seconds = exchange(port, datagrams)
        after = server.ask("usage")
        _check_count(server, len(datagrams))
    return _outcome(UDP, len(datagrams), seconds, before, after)


def cold_start(bench: Bench, *, transport: LoopbackTransport) -> list[Measured]:
    """Measure a real ETR from its first Map-Register over UDP to its last ACK."""
    prefixes = [f"10.{number >> 8}.{number & 255}.0/24" for number in range(bench.eids)]
    with bench.server(MapServerRole, transport.server) as server:
        udp_port, port = server.ask("ports")
        with _running(Child("the ETR", EtrsRole, udp_port, transport.client(port))) as etr:
            etr.ask("add", 0, prefixes)
            seconds = etr.ask("seconds to register")
            if etr.ask("stable") != bench.eids:
                raise LoadError("the ETR counts what the Map-Server has not acknowledged")
            _check_count(server, bench.eids)
    return [Measured(_COLD_STARTS[transport.name], 1000 * seconds)]


# Map-Requests


@contextmanager
def asked(bench: Bench, many: int) -> Iterator[list[Experiment]]:
    """Yield what is measured of Map-Requests in a round; ``many`` mappings are the larger number.

    The Map-Servers stay for all rounds: registering a million in each would take most of the time.
    """
    with ExitStack() as stack:
        asker = stack.enter_context(Asker())
        holes = asker.prepare(of_holes(bench.datagrams))
        found: list[Experiment] = []
        for size, mappings in (("few", FEW), ("many", many)):
            hits = asker.prepare(of_mappings(bench.datagrams, mappings))
            server = stack.enter_context(_registered(bench, mappings))
            for row, questions, is_right in (
                (_MAPPED[size], hits, is_mapping),
                (_HOLES[size], holes, is_hole),
            ):
                found.append(partial(_ask, row, server, asker, questions, is_right))
        yield found


@contextmanager
def _registered(bench: Bench, mappings: int) -> Iterator[Child]:
    """Run a Map-Server where so many mappings are registered over a session, which stays."""
    with bench.server(MapServerRole) as server, Session(*server.ask("ports")) as etr:
        for first in range(0, mappings, _PORTION):
            count = min(_PORTION, mappings - first)
            etr.register(registrations(count, first), count)
        _check_count(server, mappings + 1)
        yield server


def _ask(
    row: Row, server: Child, asker: Asker, questions: Questions, is_right: IsRight, bench: Bench
) -> list[Measured]:
    """Measure Map-Replies from the Map-Server itself, to Map-Requests in ECMs."""
    port, _tcp_port = server.ask("ports")
    asker.ask(port, questions.first(_FIRST_QUESTIONS), is_right)
    before = server.ask("usage")
    seconds = asker.ask(port, questions, is_right)
    after = server.ask("usage")
    return _outcome(row, bench.datagrams, seconds, before, after)


def _outcome(row: Row, count: int, seconds: float, before: Usage, after: Usage) -> list[Measured]:
    cpu = after["cpu"] - before["cpu from now on"]
    return [Measured(row, count / cpu, count / seconds)]


def _check_count(server: Child, count: int) -> None:
    held = server.ask("count")
    if held != count:
        raise LoadError(f"the Map-Server holds {held:,} of {count:,} mappings")
