"""Goal 1: Registrations over a TCP session. Goal 2: Map-Registers over UDP."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator, Sequence
from itertools import accumulate, zip_longest

from benchmarks.figures import Aim, Measured, Row
from benchmarks.ground import Bench, Spent, check_count
from benchmarks.load import Session, exchange, open_clients
from benchmarks.messages import host_records, map_registers, registrations, xtr_ids
from benchmarks.processes import Child
from benchmarks.roles import etr_address

__all__ = ["measure_datagrams", "measure_sessions"]

_RECORDS = 20
"""Of a Map-Register that has many."""

_ETRS = 100
"""Who register from an address each: nothing that they send or get is for one destination."""

SESSION = Row(1, "Registrations over a TCP session", "/CPU s", Aim(6.0, True, True))
ONE = Row(2, "Map-Registers over UDP, 1 record", "/CPU s", Aim(1.4, True, True))
MANY = Row(2, f"records over UDP, {_RECORDS} a Map-Register", "/CPU s", Aim(6.0, True, True))
STRANGERS = Row(2, f"Map-Registers over UDP, 1 record, {_ETRS} ETRs", "/CPU s")
REFRESH = Row(2, "refresh of all over UDP, random order", "/CPU s", Aim(1.1, True, True))


def measure_sessions(bench: Bench, rounds: int) -> Iterator[Measured]:
    """Register on one session: one record each, verified, policy on, acknowledged."""
    count = bench.sizes.registrations
    stream = registrations(host_records(count))
    for _round in range(rounds):
        echo = bench.echo()
        with bench.server() as server, Session(*server.ask("ports")) as etr:
            spent = Spent.by(server, lambda: etr.register(stream, count))
            check_count(server, count + 1)
        yield Measured(SESSION, count / spent.cpu, count / spent.seconds, echo)


def measure_datagrams(bench: Bench, rounds: int) -> Iterator[Measured]:
    """Register over UDP, want-map-notify: one record a message, many, and all again in random
    order.
    """
    few, all_of_them = bench.sizes.datagrams, bench.sizes.mappings
    ones = map_registers(host_records(few))
    many = map_registers(host_records(all_of_them), each=_RECORDS)
    records = list(host_records(all_of_them))
    random.Random(1).shuffle(records)
    refresh = map_registers(records)
    del records
    strangers = _of_strangers(few)
    for _round in range(rounds):
        echo = bench.echo()
        with bench.server() as server:
            yield _exchanged(server, ONE, ones, few, few, echo)
        with bench.server() as server, open_clients(_ETRS) as clients:
            yield _exchanged(server, STRANGERS, strangers, few, few, echo, clients)
        with bench.server() as server:
            yield _exchanged(server, MANY, many, all_of_them, all_of_them, echo)
            yield _exchanged(server, REFRESH, refresh, all_of_them, all_of_them, echo)


def _of_strangers(count: int) -> list[bytes]:
    """Build Map-Registers of as many ETRs in turn."""
    numbers = range(_ETRS)
    shares = [len(range(number, count, _ETRS)) for number in numbers]
    firsts = accumulate(shares, initial=0)
    built = [
        map_registers(host_records(share, first, etr_address(number)), ids=xtr_ids(number + 1))
        for number, share, first in zip(numbers, shares, firsts, strict=False)
    ]
    in_turn = zip_longest(*built)
    return [message for messages in in_turn for message in messages if message is not None]


def _exchanged(
    server: Child,
    row: Row,
    messages: list[bytes],
    records: int,
    held: int,
    echo: float,
    clients: Sequence[socket.socket] = (),
) -> Measured:
    port, _tcp_port = server.ask("ports")
    spent = Spent.by(server, lambda: exchange(port, messages, clients=clients))
    check_count(server, held)
    details = {"sent again": spent.repeated}
    return Measured(row, records / spent.cpu, records / spent.seconds, echo, details)
