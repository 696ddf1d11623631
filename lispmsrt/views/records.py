"""Mapping records as values (RFC 9301 §5.4)."""

from __future__ import annotations

from functools import lru_cache

from lispmsrt.views.naming import prefix_text
from lispmsrt.views.values import LocatorView, RecordView
from lispmsrt.wire.errors import WireError
from lispmsrt.wire.reader import Reader
from lispmsrt.wire.records import (
    RECORD_LAYOUT,
    UNUSABLE_PRIORITY,
    Action,
    Locator,
    MappingRecord,
    decode_record,
)

__all__ = ["UNREADABLE", "action_text", "is_usable", "record_view", "view_of"]

UNREADABLE = "RLOCs that can't be read"
"""Stands for the locators of a record that is kept as it came and can't be taken apart."""

_ACTIONS: dict[int, str] = {
    Action.NO_ACTION: "no-action",
    Action.NATIVELY_FORWARD: "natively-forward",
    Action.SEND_MAP_REQUEST: "send-map-request",
    Action.DROP: "drop/no-reason",
    Action.DROP_POLICY_DENIED: "drop/policy-denied",
    Action.DROP_AUTH_FAILURE: "drop/authentication-failure",
}


def action_text(action: int) -> str:
    """Return how the action of a record without locators is called (RFC 9301 §12.3)."""
    return _ACTIONS.get(action) or f"action {action}"


def view_of(data: bytes, eid_prefix: str, instance_id: int) -> RecordView:
    """Return a registered record in wire form, of this EID-prefix, as a value."""
    try:
        return record_view(decode_record(Reader(data)), eid_prefix, instance_id)
    except WireError:
        ttl, _count, _length, bits, version = RECORD_LAYOUT.unpack_from(data)
        unreadable = LocatorView(UNREADABLE, "down", UNUSABLE_PRIORITY, 0, 255, 0, False, False)
        action, is_authoritative = action_text(bits >> 13), bool(bits & 0x1000)
        return RecordView(
            eid_prefix,
            instance_id,
            ttl,
            action,
            is_authoritative,
            version & 0xFFF,
            (unreadable,),
        )


def record_view(record: MappingRecord, eid_prefix: str = "", instance_id: int = -1) -> RecordView:
    """Return a record as a value; its own EID-prefix where none is given."""
    return RecordView(
        eid_prefix or prefix_text(record.eid),
        record.eid.instance_id if instance_id < 0 else instance_id,
        record.ttl,
        action_text(record.action),
        record.authoritative,
        record.map_version,
        tuple(map(_locator_view, record.locators)),
    )


def is_usable(locator: LocatorView) -> bool:
    """Whether packets may be sent there."""
    return locator.state == "up" and locator.priority != UNUSABLE_PRIORITY


# The registrations of one xTR share their locators.
@lru_cache(maxsize=4096)
def _locator_view(locator: Locator) -> LocatorView:
    return LocatorView(
        str(locator.rloc),
        "up" if locator.reachable else "down",
        locator.priority,
        locator.weight,
        locator.multicast_priority,
        locator.multicast_weight,
        locator.local,
        locator.probe,
    )
