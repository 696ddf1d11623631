"""Registrations over each transport, and an ETR's cold start over each: to compare transports with
one another.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.etrs import EtrsRole, Registered
from benchmarks.figures import Measured, Row
from benchmarks.generator import LoadRole
from benchmarks.ground import Bench, Spent, check_count, running
from benchmarks.load import LoadError
from benchmarks.processes import Child
from benchmarks.roles import MapServerRole
from lispmsrt.cli.demo_transports import LoopbackTransport, loopback_transports

__all__ = ["COLD_STARTS", "SESSIONS", "measure"]

_TRANSPORTS = ("TCP", "TLS", "TCP-MD5", "QUIC", "SCTP", "user-space SCTP")

SESSIONS = {
    name: Row(0, f"Registrations over {name}, our client", "/CPU s") for name in _TRANSPORTS
}
COLD_STARTS = {name: Row(0, f"cold start over {name}", "ms") for name in _TRANSPORTS}


def measure(bench: Bench, rounds: int) -> Iterator[Measured]:
    """Measure every transport that this machine has, and say what it lacks of the others."""
    count = bench.sizes.registrations
    with running(Child("the load generator", LoadRole, count)) as generator:
        present = []
        for transport in _transports(bench):
            if reason := generator.ask("missing", transport):
                bench.missing[transport.name] = reason
                bench.say(f"  no {transport.name}: {reason}")
            else:
                present.append(transport)
        for _round in range(rounds):
            echo = bench.echo()
            for transport in present:
                yield _session(bench, transport, generator, echo)
                yield _cold_start(bench, transport)


def _transports(bench: Bench) -> list[LoopbackTransport]:
    key = bench.directory / "tcp-md5.key"
    key.touch(0o600)
    key.write_text("benchmark key\n")
    md5 = f":key={key}"
    signed = LoopbackTransport("TCP-MD5", f"tcpmd5:0:interface=127.0.0.1{md5}", "tcpmd5", md5)
    found = {each.name: each for each in (*loopback_transports(bench.directory), signed)}
    return [found[name] for name in _TRANSPORTS]


def _session(bench: Bench, transport: LoopbackTransport, generator: Child, echo: float) -> Measured:
    """Measure a stream of Registrations."""
    count = bench.sizes.registrations
    with bench.server(MapServerRole, transport.server) as server:
        udp_port, port = server.ask("ports")
        generator.ask("connect", udp_port, transport.client(port))
        spent = Spent.by(server, lambda: float(generator.ask("register")))
        check_count(server, count + 1)
        generator.ask("close")
    return Measured(SESSIONS[transport.name], count / spent.cpu, count / spent.seconds, echo)


def _cold_start(bench: Bench, transport: LoopbackTransport) -> Measured:
    """Measure a real ETR from its first Map-Register over UDP to its last ACK."""
    count = bench.sizes.cold_start
    prefixes = [f"10.{number >> 8}.{number & 255}.0/24" for number in range(count)]
    with _etr(bench, transport) as (server, etr):
        etr.ask("add", 0, prefixes)
        done: Registered = etr.ask("register")
        if etr.ask("stable") != count:
            raise LoadError("the ETR counts what the Map-Server has not acknowledged")
        check_count(server, count)
    return Measured(COLD_STARTS[transport.name], 1000 * done.seconds)


@contextmanager
def _etr(bench: Bench, transport: LoopbackTransport) -> Iterator[tuple[Child, Child]]:
    with bench.server(MapServerRole, transport.server) as server:
        udp_port, port = server.ask("ports")
        with running(Child("the ETR", EtrsRole, udp_port, transport.client(port))) as etr:
            yield server, etr
