"""`show sites`, `show site NAME`, `show membership` and `show subscriptions`."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable, Iterator
from typing import Any

from lispmsrt.cli.api_client import path_of
from lispmsrt.cli.blocks import Block, Cell, Column, Facts, Line, Table, Text, Tone
from lispmsrt.cli.show_options import Option, count, instance_id
from lispmsrt.cli.show_registrations import registration_blocks
from lispmsrt.cli.show_rows import abridged, hex_words, left_out, number_of, state_cell, yes
from lispmsrt.cli.show_view import Look, View
from lispmsrt.views.values.registrations import RegistrationView
from lispmsrt.views.values.system import (
    MembershipView,
    SitePrefixView,
    SiteView,
    SubscriptionView,
)

__all__ = ["MEMBERSHIP", "SITES", "SITE_VIEW", "SUBSCRIPTIONS"]

_SITE = Option("site", "of this site", "NAME")
_INSTANCE_ID = Option("instance_id", "of this instance ID", "N", type=instance_id)
_FEW_REGISTRATIONS = 10
"""Shown in full, where nobody says how many."""

_FEW_RLOCS = 4
_EMPTY = Cell("", Tone.PLAIN)

_COLUMNS = (
    Column("Site Name"),
    Column("Last Register"),
    Column("Up"),
    Column("Who Last Registered", spare=1),
    Column("Inst ID", is_right=True),
    Column("EID Prefix"),
    Column("EIDs", is_right=True, spare=2),
)


def _sites(look: Look) -> Iterator[Block]:
    yield Line("* = some locators are down", Tone.FAINT)
    yield Line("# = registered by reliable transport", Tone.FAINT)
    listing = look.items(SiteView)
    yield Table(_COLUMNS, _site_rows(listing, look))
    yield from left_out(listing)


def _site_rows(sites: Iterable[SiteView], look: Look) -> Iterator[tuple[Text, ...]]:
    for site in sites:
        if not site.eid_prefixes:
            yield site.name, "never", state_cell("no"), "", "", "", ""
        for prefix in site.eid_prefixes:
            where = (str(prefix.instance_id), prefix.eid_prefix, _count(prefix))
            yield site.name, *_registered(prefix, look), *where
        if more := _more_prefixes(site, look):
            yield site.name, *[_EMPTY] * 4, Cell(more, Tone.FAINT), _EMPTY


def _count(prefix: SitePrefixView) -> str:
    """Return how many EID-prefixes are registered below it, itself too."""
    return str(prefix.registrations) if prefix.registrations >= 0 else "many"


def _more_prefixes(site: SiteView, look: Look) -> str:
    """Say how many EID-prefixes the answer leaves out."""
    # Filtered ones are not counted.
    more = site.prefixes - len(site.eid_prefixes)
    return (
        f"and {more} more" if more and getattr(look.arguments, "instance_id", None) is None else ""
    )


def _registered(prefix: SitePrefixView, look: Look) -> tuple[Text, Text, Text]:
    """Return the cells for when, whether and by whom."""
    when = look.age(prefix.last_registered) if prefix.last_registered is not None else "never"
    return when, state_cell(prefix.up), prefix.who_last_registered


def _narrowed_site(site: dict[str, Any], arguments: Namespace) -> dict[str, Any] | None:
    if arguments.site is not None and site["name"] != arguments.site:
        return None
    if arguments.instance_id is None:
        return site
    prefixes = [p for p in site["eid_prefixes"] if p["instance_id"] == arguments.instance_id]
    return {**site, "eid_prefixes": prefixes} if prefixes else None


def _site(look: Look) -> Iterator[Block]:
    site = look.get(look.path, SiteView)
    yield Line(f"Site name: {site.name}", Tone.HEADING)
    yield Facts(
        (
            ("Keys", "; ".join(site.keys)),
            ("Allowed locators", ", ".join(site.allowed_rlocs) or "any"),
            ("Allowed ITRs", ", ".join(site.allowed_itrs) or "any"),
            ("Now", f"{number_of(site.xtrs, 'xTR')}, {number_of(site.sessions, 'session')}"),
            ("Registrations", str(site.registrations)),
            ("Rejections", Cell(str(site.rejections), Tone.BAD if site.rejections else Tone.PLAIN)),
        ),
        indent=2,
    )
    yield Line()
    yield Line("Allowed EID-prefixes", Tone.HEADING)
    columns = (
        Column("Inst ID", is_right=True),
        Column("EID Prefix"),
        Column("More Specifics", spare=2),
        Column("Last Register"),
        Column("Up"),
        Column("Who Last Registered", spare=1),
        Column("Registrations", is_right=True),
    )
    yield Table(columns, [_prefix_row(each, look) for each in site.eid_prefixes], indent=2)
    if more := _more_prefixes(site, look):
        yield Line(more, indent=2)
    limit = look.arguments.limit or _FEW_REGISTRATIONS
    listing = look.others("/registrations", RegistrationView, limit, {"site": site.name})
    for registration in listing:
        yield Line()
        yield from registration_blocks(registration, look)
    yield from left_out(listing)


def _prefix_row(prefix: SitePrefixView, look: Look) -> tuple[Text, ...]:
    return (
        str(prefix.instance_id),
        prefix.eid_prefix,
        yes(prefix.accept_more_specifics),
        *_registered(prefix, look),
        _count(prefix),
    )


def _membership(look: Look) -> Iterator[Block]:
    found = look.get(look.path, MembershipView)
    if not found.enabled:
        yield Line("RLOC membership is off: no [[map-server.rloc-membership]] names an instance.")
        return
    # All of them only where one instance is asked for.
    most = 1000 if look.arguments.instance_id is not None else _FEW_RLOCS
    columns = (
        Column("Inst ID", is_right=True),
        Column("AFI"),
        Column("Members", is_right=True),
        Column("Subscribers", is_right=True),
        Column("RLOCs"),
    )
    rows = [
        (
            str(each.instance_id),
            each.afi,
            str(each.members),
            str(each.subscribers),
            abridged(each.rlocs, most),
        )
        for each in found.families
    ]
    yield Table(columns, rows)


def _narrowed_membership(found: dict[str, Any], arguments: Namespace) -> dict[str, Any]:
    if arguments.instance_id is None:
        return found
    families = [f for f in found["families"] if f["instance_id"] == arguments.instance_id]
    return {**found, "families": families}


def _subscriptions(look: Look) -> Iterator[Block]:
    listing = look.items(SubscriptionView)
    columns = (
        Column("Inst ID", is_right=True),
        Column("EID Prefix"),
        Column("Site", spare=3),
        Column("State"),
        Column("Nonce", spare=1),
        Column("xTR-ID", spare=2),
        Column("RLOCs"),
    )
    yield Table(columns, _subscription_rows(listing))
    yield from left_out(listing)


def _subscription_rows(listing: Iterable[SubscriptionView]) -> Iterator[tuple[Text, ...]]:
    for each in listing:
        if each.is_acknowledged:
            state = Cell("acknowledged", Tone.GOOD)
        else:
            state = Cell(f"unanswered {each.unanswered}", Tone.WARNING)
        yield (
            str(each.instance_id),
            each.eid_prefix,
            each.site,
            state,
            each.nonce,
            hex_words(each.xtr_id),
            ", ".join(each.rlocs),
        )


def _narrowed_subscription(found: dict[str, Any], arguments: Namespace) -> dict[str, Any] | None:
    wanted = {"site": arguments.site, "instance_id": arguments.instance_id}
    is_wanted = all(value is None or found[name] == value for name, value in wanted.items())
    return found if is_wanted else None


SITES = View(
    name="sites",
    summary="the sites, and which of their EID-prefixes are registered",
    path=lambda _arguments: path_of("sites"),
    draw=_sites,
    options=(_SITE, _INSTANCE_ID),
    is_list=True,
    narrow=_narrowed_site,
)

SITE_VIEW = View(
    name="site",
    summary="one site, with its registrations",
    path=lambda arguments: path_of("sites", arguments.name),
    draw=_site,
    options=(
        Option("name", "as configured", "NAME", is_positional=True),
        Option("limit", f"registrations at most (default: {_FEW_REGISTRATIONS})", "N", type=count),
    ),
)

MEMBERSHIP = View(
    name="membership",
    summary="the RLOCs of each instance and EID family, and who is told of them",
    path=lambda _arguments: path_of("membership"),
    draw=_membership,
    options=(_INSTANCE_ID,),
    narrow=_narrowed_membership,
)

SUBSCRIPTIONS = View(
    name="subscriptions",
    summary="who has subscribed to which EID-prefix (RFC 9437)",
    path=lambda _arguments: path_of("subscriptions"),
    draw=_subscriptions,
    options=(_SITE, _INSTANCE_ID),
    is_list=True,
    narrow=_narrowed_subscription,
)
