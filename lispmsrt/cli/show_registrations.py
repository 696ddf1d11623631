"""`show registrations` and `show eid EID`; what is said of one registration everywhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lispmsrt.cli.api_client import path_of
from lispmsrt.cli.blocks import Block, Column, Facts, Line, Table, Text, Tone
from lispmsrt.cli.durations import age
from lispmsrt.cli.show_options import (
    EID,
    EID_FILTER,
    INSTANCE_ID,
    INSTANCE_ID_FILTER,
    SINCE,
    SITE,
    TRANSPORT,
    Option,
)
from lispmsrt.cli.show_rows import (
    eid_text,
    hex_words,
    left_out,
    number_of,
    rlocs_of,
    state_cell,
    ttl_of,
    yes,
)
from lispmsrt.cli.show_view import Look, View
from lispmsrt.views.values.eids import Answered, EidView
from lispmsrt.views.values.registrations import (
    LocatorView,
    PartView,
    RecordView,
    RegistrationView,
)

__all__ = ["EID_VIEW", "REGISTRATIONS", "registration_blocks"]

_XTR_ID = Option("xtr_id", "by this xTR: 32 hexadecimal digits", "ID", "xtr_id")
_ITR = Option("itr", "what this ITR would be answered", "RLOC", "itr")

_COLUMNS = (
    Column("Inst ID", is_right=True),
    Column("EID Prefix"),
    Column("Site", spare=4),
    Column("Last Register"),
    Column("Expires", spare=3),
    Column("Proto", spare=2),
    Column("Who Last Registered", spare=1),
    Column("RLOCs"),
)

_LOCATORS = (
    Column("Locator"),
    Column("Local"),
    Column("State"),
    Column("Pri/Wgt", is_right=True),
    Column("Multicast", is_right=True, spare=1),
)


def _registrations(look: Look) -> Iterator[Block]:
    yield Line("* = the locator is down, # = registered by reliable transport", Tone.FAINT)
    listing = look.items(RegistrationView)
    yield Table(_COLUMNS, _rows(listing, look))
    yield from left_out(listing)


def _rows(listing: Iterable[RegistrationView], look: Look) -> Iterator[tuple[Text, ...]]:
    for each in listing:
        yield (
            str(each.instance_id),
            each.eid_prefix,
            each.site,
            look.age(each.since),
            age(each.expires_in) if each.expires_in is not None else "",
            f"{each.transport}{'#' if each.reliable else ''}{' restored' if each.restored else ''}",
            each.last_registered_by,
            rlocs_of(each.record.locators),
        )


def _eid(look: Look) -> Iterator[Block]:
    found = look.get(look.path, EidView, **look.parameters())
    yield Line(f"EID {eid_text(found.eid, found.instance_id)}", Tone.HEADING)
    yield Facts(list(_found(found)), indent=2)
    yield from _answer(found.answer)
    if found.registration is not None:
        yield Line()
        yield from registration_blocks(found.registration, look)


def _found(found: EidView) -> Iterator[tuple[str, Text]]:
    yield "Found", state_cell(found.found)
    yield "The answer covers", found.covered
    yield "Site", found.site
    more = ", accepting more specifics" if found.accept_more_specifics else ""
    yield "Configured EID-prefix", f"{found.configured_prefix}{more}"
    if found.covering:
        yield "Covered by", ", ".join(found.covering)
    if found.more_specifics:
        yield "More specifics", ", ".join(found.more_specifics)
    if found.other_instances:
        yield "In other instances", ", ".join(map(str, found.other_instances))


def _answer(answer: Answered) -> Iterator[Block]:
    yield Line()
    yield Line("A Map-Request now", Tone.HEADING)
    facts: list[tuple[str, Text]] = [
        ("Answer", state_cell(answer.kind)),
        ("Because", answer.reason),
    ]
    if answer.forwarded_to:
        facts.append(("Forwarded to", ", ".join(answer.forwarded_to)))
    yield Facts(facts, indent=2)
    for record in answer.records:
        yield Line(
            f"{record.eid_prefix}, TTL {ttl_of(record)}, {_authority(record)}{_version(record)}",
            indent=2,
        )
        yield from _locators(record.locators, record.action)


def registration_blocks(found: RegistrationView, look: Look) -> Iterator[Block]:
    """Yield one registration: what stands there, and each xTR's part in it."""
    yield Line(f"EID-prefix {eid_text(found.eid_prefix, found.instance_id)}", Tone.HEADING)
    yield Facts(
        (
            ("Site", found.site),
            ("Origin", f"configuration, {found.configured_prefix or 'no longer'}"),
            ("Last registered", f"{look.age(found.since)}, at {look.moment(found.since)}"),
            ("Expires in", age(found.expires_in) if found.expires_in is not None else "never"),
            ("Merge active", yes(found.merged)),
            ("Proxy reply", yes(found.proxy_reply)),
            ("TTL", ttl_of(found.record)),
            ("Registered by", number_of(len(found.parts), "xTR")),
        ),
        indent=2,
    )
    if found.merged:
        yield Line("Merged locators", indent=2)
        yield from _locators(found.record.locators, found.record.action)
    # The newest stands last.
    for part in reversed(found.parts):
        yield from _part(part, look)


def _part(part: PartView, look: Look) -> Iterator[Block]:
    """Yield what one xTR has registered."""
    flags = "".join(f", {flag}" for flag in part.flags if flag != "merge")
    merge = "merge" if "merge" in part.flags else "no merge"
    expiry = f", expires in {age(part.expires_in)}" if part.expires_in is not None else ""
    state = f", {part.state}" if part.state != part.transport else ""
    if part.session is not None:
        state = f", session {part.session}"
    yield Line(f"ETR {part.source}, last registered {look.age(part.since)}{flags}", indent=2)
    lines = [
        f"TTL {ttl_of(part.record)}, {merge}{_version(part.record)}",
        f"xTR-ID {hex_words(part.xtr_id) or 'unspecified'}",
        f"site-ID {part.site_id or 'unspecified'}",
        f"key {part.key or 'not known'}",
        f"sourced by {part.transport}{state}{expiry}",
    ]
    for line in lines:
        yield Line(line, indent=4)
    yield from _locators(part.record.locators, part.record.action)


def _locators(locators: Iterable[LocatorView], action: str) -> Iterator[Block]:
    rows = [
        (
            each.rloc,
            yes(each.local),
            state_cell(each.state),
            f"{each.priority}/{each.weight}",
            f"{each.multicast_priority}/{each.multicast_weight}",
        )
        for each in locators
    ]
    if rows:
        yield Table(_LOCATORS, rows, indent=4)
    else:
        yield Line(f"no locators: {action}", indent=4)


def _authority(record: RecordView) -> str:
    return "authoritative" if record.authoritative else "not authoritative"


def _version(record: RecordView) -> str:
    return f", map version {record.map_version}" if record.map_version else ""


REGISTRATIONS = View(
    name="registrations",
    summary="what is registered",
    path=lambda _arguments: path_of("registrations"),
    draw=_registrations,
    options=(SITE, INSTANCE_ID_FILTER, TRANSPORT, EID_FILTER, SINCE, _XTR_ID),
    is_list=True,
)

EID_VIEW = View(
    name="eid",
    summary="one EID: who has registered it, and what a Map-Request is answered",
    path=lambda _arguments: path_of("eid"),
    draw=_eid,
    options=(EID, INSTANCE_ID, _ITR),
)
