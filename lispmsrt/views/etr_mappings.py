"""An ETR's mappings at its Map-Servers, a page at a time.

There may be a million of them, and nothing keeps them in the order of their EIDs: a call looks at
some, and its cursor says where the next one goes on.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from lispmsrt.config import SocketAddress
from lispmsrt.mapping.etr_registration import EtrRegistration
from lispmsrt.mapping.etr_states import EtrState
from lispmsrt.mapping.sites import eid_key
from lispmsrt.services.link import MapServerLink
from lispmsrt.views.cursors import CursorError, at_most, no_cursor
from lispmsrt.views.naming import prefix_text
from lispmsrt.views.records import view_of
from lispmsrt.views.values import EtrMappingState, EtrMappingView, MappingFilter, Page
from lispmsrt.wire.addresses import Address, Afi, EidPrefix
from lispmsrt.wire.reliable_transport import (
    decode_eid_wire_form,
    eid_wire_form,
    reason_text,
)

__all__ = ["MAX_COVERING", "MAX_SCANNED", "STATES", "MappingSearch"]

MAX_SCANNED = 5000
"""Mappings that one call looks at: some 5 ms where it has to look into each."""

MAX_COVERING = 2048
"""EID-prefixes that are looked up one by one because they would cover the EID: some 10 ms. Where
there are so many instances that it would be more, they are found by looking at all mappings.
"""

STATES = {
    EtrState.NO_STATE: EtrMappingState.WITHDRAWN,
    EtrState.PERIODIC: EtrMappingState.PERIODIC,
    EtrState.STABLE: EtrMappingState.STABLE,
    EtrState.ACK_WAIT: EtrMappingState.ACK_WAIT,
    EtrState.REJECTED: EtrMappingState.REJECTED,
    EtrState.ROAMED: EtrMappingState.ROAMED,
}

_AFIS = (Afi.IPV4, Afi.IPV6, Afi.MAC, Afi.NAME)

_LCAF = int(Afi.LCAF).to_bytes(2, "big")
_NAME = int(Afi.NAME).to_bytes(2, "big")

_Found = tuple[MapServerLink, EtrRegistration]

_CURSOR = re.compile(r"([0-9]{1,6})\.([0-9]{1,18})\.([0-9]{1,18})(i?)")


class _Place(NamedTuple):
    """Where a page ends."""

    link: int = 0
    epoch: int = 0
    position: int = 0
    is_inside_only: bool = False
    "whether what covers the EID was told on the first page"

    def __str__(self) -> str:
        return f"{self.link}.{self.epoch}.{self.position}{'i' if self.is_inside_only else ''}"

    @classmethod
    def from_text(cls, text: str) -> _Place:
        """Raises CursorError."""
        match = _CURSOR.fullmatch(text)
        if match is None:
            raise no_cursor(text)
        return cls(int(match[1]), int(match[2]), int(match[3]), bool(match[4]))


class MappingSearch:
    """One question for mappings."""

    def __init__(self, links: Sequence[MapServerLink], wanted: MappingFilter) -> None:
        """ValueError for a state that there is not."""
        self._links = [one for one in links if _is_called(one, wanted.map_server)]
        self._wanted = wanted
        self._state = _state_of(wanted.state)
        self._eid = eid_key(wanted.eid) if wanted.eid is not None else None
        has_sought = wanted.eid is not None or wanted.instance_id is not None
        self._sought = _Sought(wanted.instance_id, wanted.eid) if has_sought else None

    def page(self, cursor: str | None, limit: int) -> Page[EtrMappingView]:
        """Return the page that a cursor stands for. CursorError for what is none."""
        place = _Place() if cursor is None else _Place.from_text(cursor)
        limit = at_most(limit)
        found: list[_Found] = []
        if cursor is None and self._eid is not None:
            covering = self._covering()
            if covering is not None and len(covering) < limit:
                found = covering
                place = place._replace(is_inside_only=True)
        following = self._scan(place, limit, found)
        total = self._total()
        if total is None and cursor is None and following is None:
            total = len(found)
        items = tuple(_view(link, entry) for link, entry in found)
        return Page(items, total, None if following is None else str(following))

    def _total(self) -> int | None:
        """Return how many match, where that is known without looking at them."""
        if self._wanted.instance_id is not None or self._eid is not None:
            return None
        if self._state is None:
            return sum(len(link.registrations.entries) for link in self._links)
        return sum(link.registrations.listing.states[self._state] for link in self._links)

    # What covers an EID

    def _covering(self) -> list[_Found] | None:
        """Look up what covers the EID; None where that would be too much."""
        forms = self._covering_forms()
        if forms is None or len(forms) * len(self._links) > MAX_COVERING:
            return None
        entries = (
            (link, link.registrations.entries.get(form)) for form in forms for link in self._links
        )
        return [
            (link, entry)
            for link, entry in entries
            if entry is not None and self._state in (None, entry.state)
        ]

    def _covering_forms(self) -> list[bytes] | None:
        """Return the wire forms of all EID-prefixes that cover the EID, the longest first."""
        assert self._wanted.eid is not None
        address, length = self._wanted.eid.address, self._wanted.eid.length
        assert isinstance(address, Address)
        instances = self._instances(address.afi)
        lengths = range(length, -1, -1) if address.afi != Afi.NAME else (length,)
        if instances is None or len(instances) * len(lengths) > MAX_COVERING:
            return None
        return [
            eid_wire_form(EidPrefix(instance_id, _shortened(address, length), length))
            for instance_id in instances
            for length in lengths
        ]

    def _instances(self, afi: int) -> list[int] | None:
        """Return the instances in which EIDs of this family are registered; None where there are
        too many to tell.
        """
        if self._wanted.instance_id is not None:
            return [self._wanted.instance_id]
        families = [link.registrations.listing.families for link in self._links]
        if sum(map(len, families)) > MAX_COVERING:
            return None
        return sorted(
            {instance_id for one in families for instance_id, other in one if other == afi}
        )

    # What has to be looked at

    def _scan(self, place: _Place, limit: int, found: list[_Found]) -> _Place | None:
        """Add what matches, up to the limit; return where to go on, None at the end."""
        is_inside_only = place.is_inside_only and self._eid is not None
        if is_inside_only and self._is_host():
            return None
        left = MAX_SCANNED
        position = place.position
        for number in range(place.link, len(self._links)):
            link = self._links[number]
            listing = link.registrations.listing
            if position and place.epoch != listing.epoch:
                raise CursorError("most mappings have gone since; ask without a cursor")
            if self._may_have(link):
                entries = listing.look(position, left)
                for entry in entries:
                    if len(found) == limit:
                        return _Place(number, listing.epoch, position, is_inside_only)
                    position += 1
                    if self._matches(entry, is_inside_only) and not listing.is_gone(entry):
                        found.append((link, entry))
                left -= len(entries)
                if not left:
                    return _Place(number, listing.epoch, position, is_inside_only)
            position = 0
        return None

    def _is_host(self) -> bool:
        """Whether nothing can lie inside the EID-prefix that is asked for."""
        assert self._wanted.eid is not None
        address = self._wanted.eid.address
        return isinstance(address, Address) and self._wanted.eid.length == address.width

    def _may_have(self, link: MapServerLink) -> bool:
        """Whether it is worth to look at the mappings at a Map-Server."""
        listing = link.registrations.listing
        if self._state is not None and not listing.states[self._state]:
            return False
        if self._wanted.instance_id is None:
            return True
        afis = _AFIS if self._eid is None else (self._eid[1],)
        return any((self._wanted.instance_id, afi) in listing.families for afi in afis)

    def _matches(self, entry: EtrRegistration, is_inside_only: bool) -> bool:
        if self._state is not None and entry.state is not self._state:
            return False
        return self._sought is None or self._sought.matches(entry.eid, is_inside_only)


class _Sought:
    """An instance ID, an EID-prefix or both, to be compared with EID wire forms: a million of
    them are looked at, and to take each apart would take ten times as long.
    """

    def __init__(self, instance_id: int | None, eid: EidPrefix | None) -> None:
        self._instance_id = instance_id
        self._address = b""
        self._length = 0
        if eid is not None:
            plain = EidPrefix(0, eid.address, eid.length)
            self._length, self._address = plain.length, eid_wire_form(plain)[1:]
        self._is_name = self._address[:2] == _NAME
        self._number = int.from_bytes(self._address[2:], "big")
        self._width = 8 * len(self._address) - 16

    def matches(self, eid: bytes, is_inside_only: bool) -> bool:
        """Whether an EID wire form is of the instance, and covers the EID-prefix (unless
        ``is_inside_only``) or lies inside.
        """
        # What a lookup key is made of has no LCAF but that of type 2 around it.
        has_instance = eid[1:3] == _LCAF
        if self._instance_id is not None:
            instance_id = int.from_bytes(eid[9:13], "big") if has_instance else 0
            if instance_id != self._instance_id:
                return False
        if not self._address:
            return True
        address = eid[13:] if has_instance else eid[1:]
        if address[:2] != self._address[:2]:
            return False
        length = eid[0]
        if is_inside_only and length <= self._length:
            return False
        if self._is_name:
            return address == self._address  # RFC 9735: names match whole
        apart = int.from_bytes(address[2:], "big") ^ self._number
        return not apart >> self._width - min(length, self._length)


def _view(link: MapServerLink, entry: EtrRegistration) -> EtrMappingView:
    eid = decode_eid_wire_form(entry.eid)
    text = prefix_text(eid)
    is_rejected = entry.state is EtrState.REJECTED
    return EtrMappingView(
        eid_prefix=text,
        instance_id=eid.instance_id,
        map_server=link.name,
        state=STATES[entry.state],
        reason=reason_text(entry.reason) if is_rejected and entry.reason is not None else "",
        over_udp=entry.over_udp,
        record=view_of(entry.record, text, eid.instance_id),
    )


def _is_called(link: MapServerLink, text: str | None) -> bool:
    """Whether a Map-Server is meant by an address, or an address and port."""
    if text is None:
        return True
    try:
        meant = SocketAddress.from_text(text)
    except ValueError:
        return False
    own = link.config.address
    has_port = text not in (meant.host, f"[{meant.host}]")
    return own.packed == meant.packed and (own.port == meant.port or not has_port)


def _state_of(text: str | None) -> EtrState | None:
    if text is None:
        return None
    for state, called in STATES.items():
        if called.value == text.lower():
            return state
    known = ", ".join(called.value for called in STATES.values())
    raise ValueError(f"there is no state {text!r}; there are {known}")


def _shortened(address: Address, length: int) -> Address:
    """Return an address without the bits beyond a prefix length."""
    host_bits = address.width - length
    number = int.from_bytes(address.packed, "big") >> host_bits << host_bits
    return Address(address.afi, number.to_bytes(len(address.packed), "big"))
