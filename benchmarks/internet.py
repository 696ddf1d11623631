"""``make internet``: register the routed Internet at one Map-Server, then look it up again.

The Map-Server runs in one process, the ETRs in a few others, and in one more who asks by
Map-Request. Each ETR authenticates over UDP and registers over its session. Exit code 0 only if
every Map-Reply agrees with ``location lookup`` (see :mod:`benchmarks.judge`), and says no more of
the addresses around than is right (:mod:`benchmarks.replies`).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.etrs import EtrsRole
from benchmarks.judge import Judge, random_addresses
from benchmarks.networks import Network, NetworksError, Summary, cut, deal, dump_networks
from benchmarks.processes import Child, ProcessError
from benchmarks.replies import Record, Replies, Verdict, longest_match
from benchmarks.roles import Asked, AskerRole, MapServerRole, etr_address

__all__ = ["main"]

_POLL_SECONDS = 0.25
_LINE_SECONDS = 5.0
_STALL_SECONDS = 120.0
"""Without a single acknowledgement for so long, nothing is going to come any more."""

_SHOWN_MISTAKES = 10

_FIRST_QUESTIONS = ["192.0.2.1", "2001:db8::1"]
"""One of each family, before any is counted: they have the Map-Server make its indexes."""

Report = Callable[[int, int], None]
"""Takes registrations acknowledged and sessions established."""


class RunError(Exception):
    """The run came out wrong; the text says how in one sentence."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; return the exit code."""
    options = _parse(arguments)
    console = Console(highlight=False)
    try:
        with ExitStack() as stack:
            figures = _run(options, console, stack)
    except (RunError, NetworksError, ProcessError) as failure:
        print(f"internet: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("internet: interrupted", file=sys.stderr)
        return 130
    if options.json is not None:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.internet", description=__doc__)
    parser.add_argument("--networks", type=_count, help="register so many only, evenly sampled")
    parser.add_argument("--etrs", type=_count, default=200, help="number of ETRs (%(default)s)")
    parser.add_argument("--lookups", type=_count, default=10_000, help="addresses (%(default)s)")
    parser.add_argument(
        "--processes", type=_count, default=3, help="processes that the ETRs share (%(default)s)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    return parser.parse_args(arguments)


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def _run(options: argparse.Namespace, console: Console, stack: ExitStack) -> dict[str, Any]:
    everything = dump_networks()
    networks = cut(everything, options.networks)
    if len(networks) < len(everything):
        console.print(f"a cut of {len(everything):,} networks", soft_wrap=True)
    del everything
    console.print(str(Summary.of(networks)), soft_wrap=True)
    owners = deal(networks, options.etrs)
    server = _start_server(stack)
    etrs = _start_etrs(options, server, stack)
    _hand_out(etrs, networks, owners, options.etrs)
    console.print(
        f"{options.etrs} ETRs in {len(etrs)} processes, one Map-Server, {os.cpu_count()} cores",
        soft_wrap=True,
    )
    figures = _register(server, etrs, len(networks), console)
    asker = _start_asker(server, stack)
    figures |= _make_indexes(server, asker, len(networks), console)
    addresses = random_addresses(networks, options.lookups)
    return figures | _look_up(server, asker, addresses, networks, owners, console)


# Processes


def _start_server(stack: ExitStack) -> Child:
    server = Child("the Map-Server", MapServerRole)
    stack.callback(server.stop)
    server.receive()
    return server


def _start_etrs(options: argparse.Namespace, server: Child, stack: ExitStack) -> list[Child]:
    udp_port, tcp_port = server.ask("ports")
    endpoint = f"tcp:127.0.0.1:{tcp_port}"
    etrs = []
    for number in range(min(options.processes, options.etrs)):
        etr = Child(f"ETR process {number + 1}", EtrsRole, udp_port, endpoint)
        stack.callback(etr.stop)
        etrs.append(etr)
    for etr in etrs:
        etr.receive()
    return etrs


def _start_asker(server: Child, stack: ExitStack) -> Child:
    udp_port, _tcp_port = server.ask("ports")
    asker = Child("who asks", AskerRole, udp_port)
    stack.callback(asker.stop)
    asker.receive()
    return asker


def _hand_out(
    etrs: list[Child], networks: Sequence[Network], owners: Sequence[int], count: int
) -> None:
    shares: list[list[str]] = [[] for _ in range(count)]
    for network, owner in zip(networks, owners, strict=True):
        shares[owner].append(network.prefix)
    for number, share in enumerate(shares):
        child = etrs[number % len(etrs)]
        # One unanswered request each: more could fill both directions of a pipe.
        if number >= len(etrs):
            child.receive()
        child.send("add", number, share)
    for etr in etrs:
        etr.receive()


# Registrations


def _register(server: Child, etrs: list[Child], count: int, console: Console) -> dict[str, Any]:
    before = server.ask("usage")
    began = time.monotonic()
    for etr in etrs:
        etr.send("start")
    for etr in etrs:
        etr.receive()
    with _progress(console, count, began) as report:
        state = _await_all(server, etrs, count, report)
    seconds = time.monotonic() - began
    after = server.ask("usage")
    _check_registered(server, etrs, count)
    figures = {
        "networks": count,
        "sessions": state["sessions"],
        "sessions lost": {"ETRs": state["lost"], "Map-Server": server.ask("ended")},
        "seconds": round(seconds, 3),
        "registrations a second": round(count / seconds),
        "server CPU seconds": round(after["cpu"] - before["cpu from now on"], 3),
        "server resident octets": after["resident"],
        "server octets a mapping": round((after["resident"] - before["resident"]) / count, 1),
        "Mapping Notifications": state["notifications"],
        "counters": server.ask("counters"),
    }
    _print_registered(figures, console)
    return figures


def _await_all(server: Child, etrs: list[Child], count: int, report: Report) -> dict[str, Any]:
    """Poll until every registration is acknowledged; return the last state."""
    best, moved = -1, time.monotonic()
    while True:
        server.check()
        states = [etr.ask("progress") for etr in etrs]
        state = {name: _total(states, name) for name in states[0]}
        report(state["acknowledged"], state["sessions"])
        if state["rejected"]:
            raise RunError(f"the Map-Server rejected {state['rejected'][0]}")
        if state["acknowledged"] >= count:
            return state
        if state["acknowledged"] > best:
            best, moved = state["acknowledged"], time.monotonic()
        elif time.monotonic() - moved > _STALL_SECONDS:
            raise RunError(
                f"stalled at {best:,} of {count:,} registrations with {state['sessions']} "
                f"sessions; lost before: {state['lost'][:3]}"
            )
        time.sleep(_POLL_SECONDS)


def _total(states: list[dict[str, Any]], name: str) -> Any:
    values = [state[name] for state in states]
    return sum(values, start=[] if isinstance(values[0], list) else 0)


def _check_registered(server: Child, etrs: list[Child], count: int) -> None:
    stable = sum(etr.ask("stable") for etr in etrs)
    held = server.ask("count")
    if (stable, held) != (count, count):
        raise RunError(
            f"of {count:,} networks the ETRs have {stable:,} acknowledged and the Map-Server "
            f"holds {held:,}"
        )


@contextmanager
def _progress(console: Console, count: int, began: float) -> Iterator[Report]:
    """Give a function that shows how far it is: a bar on a terminal, else now and then a line."""
    if not console.is_terminal:
        yield _lines(console, count, began)
        return
    columns = (
        TextColumn("registering"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=count, rate="")

        def report(acknowledged: int, sessions: int) -> None:
            rate = f"{acknowledged / (time.monotonic() - began):,.0f}/s, {sessions} sessions"
            progress.update(task, completed=acknowledged, rate=rate)

        yield report


def _lines(console: Console, count: int, began: float) -> Report:
    last = began

    def report(acknowledged: int, sessions: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _LINE_SECONDS:
            last = now
            console.print(
                f"{now - began:5.0f} s: {acknowledged:,} of {count:,} registered "
                f"({100 * acknowledged // count} %), {sessions} sessions",
                soft_wrap=True,
            )

    return report


def _print_registered(figures: dict[str, Any], console: Console) -> None:
    count, cpu = figures["networks"], figures["server CPU seconds"]
    counters = figures["counters"]
    for line in (
        f"registered {count:,} networks over {figures['sessions']} sessions in "
        f"{figures['seconds']:.1f} s: {figures['registrations a second']:,} a second",
        f"the Map-Server used {cpu:.1f} s of one core: {count / max(cpu, 0.001):,.0f} "
        "registrations a CPU second",
        f"its memory: {figures['server resident octets'] / 1e6:,.0f} MB resident, "
        f"{figures['server octets a mapping']:.0f} octets a mapping",
        f"beside them: {counters.get('Map-Registers in', 0):,} Map-Registers over UDP, "
        f"{figures['Mapping Notifications']:,} Mapping Notifications, "
        f"{_shown_losses(figures['sessions lost'])}",
    ):
        console.print(line, soft_wrap=True)


def _shown_losses(losses: dict[str, list[str]]) -> str:
    reasons = {reason: losses["Map-Server"].count(reason) for reason in losses["Map-Server"]}
    shown = "; ".join(f"{count} because {reason}" for reason, count in reasons.items())
    return f"{len(losses['ETRs'])} sessions lost" + (f" ({shown})" if shown else "")


# Lookups


def _make_indexes(server: Child, asker: Child, count: int, console: Console) -> dict[str, Any]:
    before = server.ask("usage")
    asked: Asked = asker.ask("ask", _FIRST_QUESTIONS)
    after = server.ask("usage")
    octets = after["resident"] - before["resident"]
    console.print(
        f"the first questions took {asked.seconds:.1f} s; the memory of the indexes that they "
        f"made: {octets / 1e6:,.0f} MB, {octets / count:.0f} octets a mapping",
        soft_wrap=True,
    )
    return {
        "first questions' seconds": round(asked.seconds, 3),
        "index octets": octets,
        "index octets a mapping": round(octets / count, 1),
    }


def _look_up(
    server: Child,
    asker: Child,
    addresses: Sequence[str],
    networks: Sequence[Network],
    owners: Sequence[int],
    console: Console,
) -> dict[str, Any]:
    before = server.ask("usage")
    asked: Asked = asker.ask("ask", addresses)
    cpu = server.ask("usage")["cpu"] - before["cpu from now on"]
    judge = Judge(networks, owners)
    verdicts = judge.verdicts(addresses)
    replies = Replies(networks, owners, etr_address)
    mistakes = [
        f"{address}: {mistake}"
        for address, verdict, records in zip(addresses, verdicts, asked.replies, strict=True)
        if (mistake := replies.mistake(address, verdict, records))
    ]
    for shown in mistakes[:_SHOWN_MISTAKES]:
        console.print(shown, soft_wrap=True)
    if mistakes:
        raise RunError(f"{len(mistakes):,} of {len(addresses):,} lookups disagree")
    figures = {
        "lookups": len(addresses),
        "lookups in a network": sum(verdict is not None for verdict in verdicts),
        "lookups with more-specifics": sum(len(records) > 1 for records in asked.replies),
        "lookups with a part of the network": _count_parts(addresses, verdicts, asked.replies),
        "lookups judged by location": judge.by_location,
        "lookups a second": round(len(addresses) / asked.seconds),
        "lookups a CPU second": round(len(addresses) / max(cpu, 0.001)),
        "Map-Requests repeated": asked.repeated,
    }
    _print_lookups(figures, console)
    return figures


def _count_parts(
    addresses: Sequence[str], verdicts: Sequence[Verdict], replies: Sequence[Sequence[Record]]
) -> int:
    """Count the answers about no more than a part of the network."""
    matches = map(longest_match, addresses, replies)
    return sum(
        verdict is not None and match is not None and match.prefix != verdict[0]
        for verdict, match in zip(verdicts, matches, strict=True)
    )


def _print_lookups(figures: dict[str, Any], console: Console) -> None:
    count, found = figures["lookups"], figures["lookups in a network"]
    by_location = figures["lookups judged by location"]
    for line in (
        f"looked up {count:,} random addresses ({found:,} in a network, {count - found:,} in none) "
        f"at {figures['lookups a second']:,} a second by Map-Request over UDP: all agree, network "
        f"and ETR; `location lookup` judged {by_location:,}, sorted ranges {count - by_location:,}",
        f"of the answers {figures['lookups with more-specifics']:,} listed the networks inside, "
        f"{figures['lookups with a part of the network']:,} were about a part without any",
        f"the Map-Server answered {figures['lookups a CPU second']:,} a CPU second; "
        f"{figures['Map-Requests repeated']:,} Map-Requests were sent again",
    ):
        console.print(line, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
