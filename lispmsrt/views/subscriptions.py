"""Subscriptions (RFC 9437), page by page, in order of (instance ID, family, prefix, site, xTR)."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import islice

from lispmsrt.control.subscription_table import (
    SubscribedPrefixes,
    Subscriber,
    Subscription,
    SubscriptionTable,
)
from lispmsrt.views.cursors import BEGINNING, Position, at_most, no_cursor
from lispmsrt.views.naming import eid_text, endpoint_text, xtr_id_text
from lispmsrt.views.values import Page, SubscriptionView

__all__ = ["subscription_page"]

_FIRST = Subscriber("", b"")


def subscription_page(
    table: SubscriptionTable, cursor: str | None, limit: int
) -> Page[SubscriptionView]:
    """Return some subscriptions. Raises CursorError."""
    limit = at_most(limit)
    after, who = _read(cursor)
    found = list(islice(_following(table, after, who, limit + 1), limit + 1))
    items = tuple(map(_view, found[:limit]))
    return Page(items, len(table), _write(found[limit - 1]) if len(found) > limit else None)


def _following(
    table: SubscriptionTable, after: Position, who: Subscriber, limit: int
) -> Iterator[Subscription]:
    families = table.families()
    for at in sorted(families):
        if at < after[:2]:
            continue
        is_same = at == after[:2]
        family = families[at]
        if is_same and after.key in family.by_key:
            of_key = family.by_key[after.key]
            rest = (one for one in of_key if one > who)
            yield from (of_key[one] for one in heapq.nsmallest(limit, rest))
        for key in _keys(family, after.key if is_same else 0, limit):
            of_key = family.by_key[key]
            yield from (of_key[one] for one in heapq.nsmallest(limit, of_key))


def _keys(family: SubscribedPrefixes, after: int, limit: int) -> list[int]:
    if family.index is not None:
        return family.index.following(after, limit)
    # Names have no order of their own.
    return heapq.nsmallest(limit, (key for key in family.by_key if key > after))


def _view(one: Subscription) -> SubscriptionView:
    return SubscriptionView(
        eid_prefix=eid_text(one.table, one.key),
        instance_id=one.table.instance_id,
        site=one.who.site,
        xtr_id=xtr_id_text(one.who.ids),
        rlocs=tuple(map(endpoint_text, one.endpoints)),
        nonce=f"{one.nonce:016x}",
        is_acknowledged=one.sent_nonce is None,
        unanswered=one.unanswered,
    )


def _write(one: Subscription) -> str:
    position = Position(one.table.instance_id, one.table.afi, one.key)
    return f"{position}_{one.who.ids.hex()}_{one.who.site.encode().hex()}"


def _read(cursor: str | None) -> tuple[Position, Subscriber]:
    if cursor is None:
        return BEGINNING, _FIRST
    position, _, rest = cursor.partition("_")
    ids, _, site = rest.partition("_")
    try:
        who = Subscriber(bytes.fromhex(site).decode(), bytes.fromhex(ids))
    except ValueError:
        raise no_cursor(cursor) from None
    return Position.from_text(position), who
