"""`show map-servers` and `show mappings`: the ETR's side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lispmsrt.cli.api_client import path_of
from lispmsrt.cli.blocks import Block, Column, Facts, Line, Table, Text, Tone
from lispmsrt.cli.durations import milliseconds
from lispmsrt.cli.find_daemon import ETR_FIRST
from lispmsrt.cli.show_options import EID_FILTER, INSTANCE_ID_FILTER, Option
from lispmsrt.cli.show_rows import hex_words, left_out, rlocs_of, state_cell, ttl_of, yes
from lispmsrt.cli.show_view import Look, View
from lispmsrt.views.values.etr import (
    EtrMappingState,
    EtrMappingView,
    EtrView,
    MapServerLinkView,
)

__all__ = ["MAPPINGS", "MAP_SERVERS"]

_STATE = Option(
    "state", "in this state", parameter="state", choices=[state.value for state in EtrMappingState]
)
_MAP_SERVER = Option("map_server", "at this Map-Server", "ADDRESS", "map_server")

_LINK_COLUMNS = (
    Column("Map-Server"),
    Column("Session"),
    Column("Up/Down"),
    Column("Transport"),
    Column("RTT(ms)", is_right=True, spare=3),
    Column("In/Out", is_right=True, spare=2),
    Column("Last Map-Notify", spare=1),
    Column("EID-prefixes"),
)

_TRANSPORT_COLUMNS = (
    Column("Map-Server"),
    Column("Endpoint"),
    Column("State"),
    Column("Failures", is_right=True),
    Column("Reason", wraps=True),
)

_MAPPING_COLUMNS = (
    Column("Inst ID", is_right=True),
    Column("EID Prefix"),
    Column("Map-Server"),
    Column("State"),
    Column("UDP", spare=1),
    Column("TTL", spare=2),
    Column("RLOCs", spare=3),
    Column("Reason", wraps=True),
)


def _map_servers(look: Look) -> Iterator[Block]:
    etr = look.get(look.path, EtrView)
    yield Line(f"ETR {etr.address}, {etr.mappings} mappings", Tone.HEADING)
    yield Facts(
        (
            ("xTR-ID", hex_words(etr.xtr_id)),
            ("Site-ID", etr.site_id),
            ("Answers Map-Requests", yes(etr.answers_map_requests)),
        ),
        indent=2,
    )
    yield Line()
    yield Table(_LINK_COLUMNS, [_link_row(link, look) for link in etr.map_servers])
    yield Line()
    for link in etr.map_servers:
        yield Line(_link_line(link, look))
    yield Line()
    yield Line("Transports", Tone.HEADING)
    yield Table(_TRANSPORT_COLUMNS, list(_transport_rows(etr.map_servers)))


def _link_line(link: MapServerLinkView, look: Look) -> str:
    """Say what is being done about a session, and what became of the last one."""
    said = [f"{link.map_server}: {link.phase}"]
    if link.retry_in is not None:
        said.append(f"next attempt in {link.retry_in:.0f} s")
    if link.last_end is not None:
        said.append(f"last session ended {look.age(link.last_end)} ago: {link.last_end_reason}")
    return "; ".join([*said, f"key {link.key}"])


def _link_row(link: MapServerLinkView, look: Look) -> tuple[Text, ...]:
    """Return the row of one Map-Server, with its session if there is one."""
    states = ", ".join(f"{count} {state}" for state, count in link.states.items() if count)
    notified = look.age(link.last_map_notify) if link.last_map_notify is not None else "never"
    session = link.session
    if session is None:
        since = look.age(link.last_end) if link.last_end is not None else "never"
        return link.map_server, state_cell("down"), since, "", "", "", notified, states
    return (
        link.map_server,
        state_cell(session.state),
        look.age(session.since),
        session.transport,
        milliseconds(session.rtt),
        f"{session.messages_in}/{session.messages_out}",
        notified,
        states,
    )


def _transport_rows(links: Iterable[MapServerLinkView]) -> Iterator[tuple[Text, ...]]:
    for link in links:
        for each in link.transports:
            state = state_cell(each.state)
            yield link.map_server, each.endpoint, state, str(each.failures), each.reason


def _mappings(look: Look) -> Iterator[Block]:
    listing = look.items(EtrMappingView)
    yield Table(_MAPPING_COLUMNS, _mapping_rows(listing))
    yield from left_out(listing)


def _mapping_rows(mappings: Iterable[EtrMappingView]) -> Iterator[tuple[Text, ...]]:
    for each in mappings:
        yield (
            str(each.instance_id),
            each.eid_prefix,
            each.map_server,
            state_cell(each.state.value),
            yes(each.over_udp),
            ttl_of(each.record),
            rlocs_of(each.record.locators) or each.record.action,
            each.reason,
        )


MAP_SERVERS = View(
    name="map-servers",
    summary="the Map-Servers of an ETR, its sessions and transports",
    path=lambda _arguments: path_of("etr"),
    draw=_map_servers,
    roles=ETR_FIRST,
)

MAPPINGS = View(
    name="mappings",
    summary="the mappings of an ETR, and how they stand at each Map-Server",
    path=lambda _arguments: path_of("etr", "mappings"),
    draw=_mappings,
    options=(_MAP_SERVER, INSTANCE_ID_FILTER, EID_FILTER, _STATE),
    roles=ETR_FIRST,
    is_list=True,
)
