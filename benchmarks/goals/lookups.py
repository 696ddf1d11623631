"""Goal 3: Map-Requests in ECMs, answered by the Map-Server itself. Goal 4: memory of a mapping."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import cycle

from benchmarks.figures import Aim, Measured, Row
from benchmarks.goals.routed_internet import Internet, load_internet, registered
from benchmarks.ground import Bench, Spent, check_count
from benchmarks.judge import random_addresses
from benchmarks.load import Exchanged, LoadError, Session, exchange, nonce_of, open_clients
from benchmarks.messages import ADDRESS, host_records, registrations
from benchmarks.processes import Child
from benchmarks.questions import (
    Asker,
    check,
    host_of,
    is_hole,
    is_mapping,
    map_request,
    nonce_in_ecm,
    of_holes,
    of_mappings,
)
from benchmarks.replies import Record
from lispmsrt import Address, EidPrefix
from lispmsrt.wire.map_reply import decode_map_reply

__all__ = ["measure", "measure_memory", "registered_hosts"]

_ITRS = 100
"""Who ask from an address each: no two answers in a row are for one destination."""

INTERNET = Row(3, "lookups, routed Internet registered", "/CPU s", Aim(1.5, True, True))
FEWER = Row(3, "lookups among fewer mappings", "/CPU s", Aim(1.4, True, True))
MANY = Row(3, "lookups among many mappings", "/CPU s", Aim(1.2, True, True))
STRANGERS = Row(3, f"lookups among many mappings, {_ITRS} ITRs", "/CPU s")
HOLES = Row(3, "lookups of what nobody registers, many mappings", "/CPU s")
MEMORY = Row(4, "memory of a mapping, routed Internet registered", "octets", Aim(250))

_PORTION = 100_000
"""Registrations built at a time, where they are sent only once."""

_FIRST = 100
"""Asked before any is counted: the first has the Map-Server make the index."""

_LOOKED_AT = 50
"""One answer in so many is judged."""

Ask = Callable[[], Exchanged]


def measure(bench: Bench, rounds: int) -> Iterator[Measured]:
    """Ask among fewer mappings, among many, and with the routed Internet registered."""
    for row, mappings in ((FEWER, bench.sizes.fewer), (MANY, bench.sizes.mappings)):
        yield from _among_hosts(bench, rounds, row, mappings)
    internet = load_internet(bench)
    with registered(bench, internet) as (server, empty), Asker() as asker:
        ask = _internet_questions(bench, internet, server, asker)
        yield _memory(server, empty, internet)
        yield from _rounds(bench, rounds, server, {INTERNET: ask})


def measure_memory(bench: Bench, rounds: int) -> Iterator[Measured]:
    """Register the routed Internet, and ask a little, so that there are indexes."""
    internet = load_internet(bench)
    with registered(bench, internet) as (server, empty), Asker() as asker:
        _internet_questions(bench, internet, server, asker)
        yield _memory(server, empty, internet)


def _memory(server: Child, empty: float, internet: Internet) -> Measured:
    count, growth = len(internet.networks), server.ask("usage")["resident"] - empty
    details = {"networks": count, "source": internet.source, "resident octets": growth}
    return Measured(MEMORY, growth / count, details=details)


def _among_hosts(bench: Bench, rounds: int, row: Row, mappings: int) -> Iterator[Measured]:
    with (
        Asker() as asker,
        open_clients(_ITRS) as clients,
        registered_hosts(bench, mappings) as server,
    ):
        port, _tcp_port = server.ask("ports")
        count = bench.sizes.datagrams
        hits = asker.prepare(of_mappings(count, mappings))
        asks: dict[Row, Ask] = {row: partial(asker.ask_and_check, port, hits, is_mapping)}
        if row is MANY:
            holes = asker.prepare(of_holes(count))
            asks[HOLES] = partial(asker.ask_and_check, port, holes, is_hole)
            asker.ask_and_check(port, holes.first(_FIRST), is_hole)
            asks[STRANGERS] = _of_strangers(port, hits.addresses, clients)
        asker.ask_and_check(port, hits.first(_FIRST), is_mapping)
        yield from _rounds(bench, rounds, server, asks)


def _of_strangers(port: int, addresses: Sequence[int], clients: Sequence[socket.socket]) -> Ask:
    """Build the same questions as asked by many."""
    names = [client.getsockname() for client in clients]
    sources = cycle([(Address.from_text(host), port) for host, port in names])
    questions = [
        map_request(nonce, host_of(address), *source)
        for nonce, (address, source) in enumerate(zip(addresses, sources, strict=False))
    ]

    def ask() -> Exchanged:
        done = exchange(port, questions, question_nonce=nonce_in_ecm, clients=clients)
        check(done.answers, addresses, is_mapping)
        return done

    return ask


def _rounds(bench: Bench, rounds: int, server: Child, asks: dict[Row, Ask]) -> Iterator[Measured]:
    for _round in range(rounds):
        echo = bench.echo()
        for row, ask in asks.items():
            count, spent = bench.sizes.datagrams, Spent.by(server, ask)
            details = {"sent again": spent.repeated}
            yield Measured(row, count / spent.cpu, count / spent.seconds, echo, details)


@contextmanager
def registered_hosts(bench: Bench, mappings: int) -> Iterator[Child]:
    """Run a Map-Server where so many /32s are registered over a session, which stays."""
    with bench.server() as server, Session(*server.ask("ports")) as etr:
        for first in range(0, mappings, _PORTION):
            count = min(_PORTION, mappings - first)
            etr.register(registrations(host_records(count, first)), count)
        check_count(server, mappings + 1)
        yield server


# The routed Internet


def _internet_questions(bench: Bench, internet: Internet, server: Child, asker: Asker) -> Ask:
    """Build questions about addresses in networks, beside them and anywhere, and judge some
    answers: these questions have the Map-Server make its indexes.
    """
    addresses = random_addresses(internet.networks, bench.sizes.datagrams)
    source = Address.from_text(ADDRESS)
    questions = [
        map_request(nonce, _host(address), source, asker.port)
        for nonce, address in enumerate(addresses)
    ]
    port, _tcp_port = server.ask("ports")
    _judge(asker.ask(port, questions[::_LOOKED_AT]), addresses, internet)

    def ask() -> Exchanged:
        return asker.ask(port, questions)

    return ask


def _host(text: str) -> EidPrefix:
    address = Address.from_text(text)
    return EidPrefix(0, address, address.width)


def _judge(done: Exchanged, addresses: Sequence[str], internet: Internet) -> None:
    replies = internet.judge()
    asked = [addresses[int.from_bytes(nonce_of(answer), "big")] for answer in done.answers]
    verdicts = internet.verdicts(asked)
    for address, verdict, answer in zip(asked, verdicts, done.answers, strict=True):
        records = [
            Record(str(record.eid), tuple(str(locator.rloc) for locator in record.locators))
            for record in decode_map_reply(answer).records
        ]
        if mistake := replies.mistake(address, verdict, records):
            raise LoadError(f"asked for {address}: {mistake}")
