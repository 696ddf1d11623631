"""The result of ``lispmsrt swarm`` as facts and tables."""

from __future__ import annotations

from collections.abc import Iterator

from lispmsrt.cli.blocks import Block, Cell, Column, Facts, Line, Table, Text, Tone
from lispmsrt.swarm.result import LatencyFigures, Result

__all__ = ["blocks_of"]

_NUMBER = Column("", is_right=True)


def blocks_of(result: Result) -> Iterator[Block]:
    """Yield what is to be drawn."""
    yield Facts(list(_facts(result)))
    yield Line()
    yield _latencies(result)
    if result.counters:
        yield Line()
        yield Table(
            (_NUMBER, Column("Counted")),
            [(f"{count:,}", name) for name, count in result.counters.items()],
        )
    if result.failures:
        yield Line()
        yield Table(
            (_NUMBER, Column("Why sessions failed or ended", wraps=True)),
            [(f"{count:,}", reason) for reason, count in result.failures.items()],
        )
    yield Line()
    yield from _verdict(result)


def _facts(result: Result) -> Iterator[tuple[str, Text]]:
    told = result.registrations
    yield "Map-Server", f"{result.map_server}, {result.transport}"
    yield (
        "ETRs",
        f"{result.etrs_started:,} of {result.etrs:,} started, {result.eids_per_etr:,} EIDs each",
    )
    if "session set-up" in result.latencies:
        yield "Sessions", f"{result.sessions_now:,} at the end, {result.sessions_opened:,} opened"
    yield (
        "EIDs",
        f"{told.registered:,} of {told.eids:,} registered, {told.rejected:,} refused,"
        f" {told.unanswered:,} unanswered, {told.withdrawn:,} withdrawn,"
        f" {told.not_offered:,} not offered",
    )
    if told.seconds:
        rate = told.eids / told.seconds
        yield "Registered in", f"{_seconds(told.seconds)}: {rate:,.0f} a second, ramp included"
    yield "Answers", f"{told.answers:,} in {_seconds(result.seconds)}"
    if result.lookups.asked:
        yield "Lookups", _lookups(result)
    yield "Swarm's own cost", _own(result)


def _lookups(result: Result) -> Text:
    told = result.lookups
    text = (
        f"{told.asked:,} asked, {told.right:,} right, {told.wrong:,} wrong,"
        f" {told.not_judged:,} changed meanwhile, {told.not_answered:,} not answered"
    )
    return Cell(text, Tone.BAD) if told.wrong else text


def _own(result: Result) -> str:
    own = result.own
    how = "compiled" if own.is_compiled else "plain Python"
    parts = [f"{own.cpu_seconds:.2f} s of CPU time ({how})"]
    if own.cpu_per_registration is not None:
        parts.append(f"{1e6 * own.cpu_per_registration:.2f} us for each registration")
    if own.busy is not None:
        parts.append(f"{100 * own.busy:.0f} % of a core while registering")
    return ", ".join(parts)


def _latencies(result: Result) -> Table:
    columns = (
        Column("Latency in ms"),
        *(
            Column(name, is_right=True)
            for name in ("count", "50 %", "90 %", "99 %", "99.9 %", "max")
        ),
    )
    return Table(columns, [_row(name, told) for name, told in result.latencies.items()])


def _row(name: str, told: LatencyFigures) -> tuple[str, ...]:
    shares = (told.p50, told.p90, told.p99, told.p999, told.max)
    return (name, f"{told.count:,}", *map(_milliseconds, shares))


def _milliseconds(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{1000 * seconds:.2f}" if seconds < 0.1 else f"{1000 * seconds:,.0f}"


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f} s"


def _verdict(result: Result) -> Iterator[Line]:
    if result.was_interrupted:
        yield Line("Interrupted: this is the result so far.", Tone.WARNING)
    if result.own.was_bottleneck:
        yield Line(
            "The swarm was busy all the time: it, and not the Map-Server, may be what limits.",
            Tone.WARNING,
        )
    arming = result.latencies.get("arming")
    if not result.registrations.answers and not (arming and arming.count):
        yield Line(
            "Nothing came back. A Map-Server is silent where key, key ID or algorithm is another"
            " one, or the EIDs are not of that site.",
            Tone.WARNING,
        )
    for rate in result.rates:
        if rate.missed:
            yield Line(
                f"{rate.missed:,} {rate.name} of {rate.asked:g} a second were left out: the swarm"
                " was late.",
                Tone.WARNING,
            )
    for example in result.lookups.examples:
        yield Line(f"Wrong: {example}.", Tone.BAD)
    for problem in result.problems:
        yield Line(f"Not done: {problem}.", Tone.BAD)
    if not result.problems:
        yield Line("All that was offered is acknowledged.", Tone.GOOD)
