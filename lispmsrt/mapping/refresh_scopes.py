"""What Registration Refreshes ask for (draft-kouvelas-lisp-map-server-reliable-transport-07
§6.1.4): several of them gathered, so that one walk over all EID-prefixes answers them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from lispmsrt.mapping.etr_records import plain_eid
from lispmsrt.mapping.etr_states import EtrEvent
from lispmsrt.mapping.sites import eid_key
from lispmsrt.wire.addresses import Address, EidPrefix
from lispmsrt.wire.record_walk import walk_records
from lispmsrt.wire.reliable_transport import RefreshScope, RegistrationRefresh, eid_wire_form

__all__ = ["MAX_SCOPES", "Refreshes"]

_Item = TypeVar("_Item")

MAX_SCOPES = 64
"""Narrow scopes that are told apart; with more it is one Refresh of everything. The widest chunk
holds thousands, and each of them makes every EID-prefix dearer to look at.
"""


class Refreshes:
    """Refreshes that are answered together."""

    __slots__ = ("_all", "_rejected_only", "named")

    def __init__(self, refreshes: Iterable[RegistrationRefresh] = ()) -> None:
        self._all = _Scopes()
        self._rejected_only = _Scopes()
        self.named: dict[bytes, bool] = {}
        """EID wire forms that are asked for one by one, and whether in whatever state: each is
        looked up, so that they cost nothing to all others"""
        for refresh in refreshes:
            self.add(refresh)

    @property
    def is_everything(self) -> bool:
        """Whether every EID-prefix is asked for, in whatever state."""
        return self._all.is_everything

    @property
    def is_wide(self) -> bool:
        """Whether anything is asked for besides :attr:`named`."""
        return self._all.is_wide or self._rejected_only.is_wide

    def add(self, refresh: RegistrationRefresh) -> None:
        """Have one more of them answered."""
        eid = refresh.eid
        if refresh.scope == RefreshScope.EXACT and eid is not None:
            if isinstance(eid.address, Address):  # nothing is registered for an LCAF
                wire = eid_wire_form(plain_eid(eid))
                self.named[wire] = self.named.get(wire, False) or not refresh.rejected_only
            return
        scopes = self._rejected_only if refresh.rejected_only else self._all
        scopes.add(refresh)

    def event_for(self, eid: bytes, record: bytes) -> EtrEvent | None:
        """Return what they are to an EID-prefix, which is given with its mapping record in wire
        form.
        """
        named = self.named.get(eid)
        if named or self._all.has(record):
            return EtrEvent.REFRESH
        is_rejected = named is not None or self._rejected_only.has(record)
        return EtrEvent.REFRESH_REJECTED if is_rejected else None


class _Scopes:
    """A union of scopes, which does not grow with how often they are asked for."""

    __slots__ = ("_covered", "_families", "_instances", "_narrow", "is_everything")

    def __init__(self) -> None:
        self.is_everything = False
        self._narrow = 0
        self._instances: set[int] = set()
        self._families: set[tuple[int, int]] = set()
        self._covered: dict[tuple[int, int], dict[int, set[int]]] = {}
        "by instance ID and family, then by prefix length: prefix keys"

    @property
    def is_wide(self) -> bool:
        return self.is_everything or bool(self._narrow)

    def add(self, refresh: RegistrationRefresh) -> None:
        if self.is_everything:
            return
        eid = refresh.eid
        if refresh.scope == RefreshScope.EVERYTHING or eid is None:
            self.is_everything = True
        elif self._add_narrow(refresh.scope, eid):
            self._narrow += 1
            self.is_everything = self._narrow > MAX_SCOPES

    def has(self, record: bytes) -> bool:
        if self.is_everything:
            return True
        if not self._narrow:
            return False
        _, _, instance_id, afi, length, key, _, _ = walk_records(record, 0, len(record), 1)[0]
        if instance_id in self._instances:
            return True
        family = (instance_id, afi)
        if family in self._families:
            return True
        covered = self._covered.get(family)
        return covered is not None and any(
            shorter <= length and key >> length - shorter in keys
            for shorter, keys in covered.items()
        )

    def _add_narrow(self, scope: int, eid: EidPrefix) -> bool:
        """Tell whether it asks for more than was asked for before."""
        instance_id = eid.instance_id
        if scope == RefreshScope.INSTANCE:
            return _is_new(instance_id, self._instances)
        if not isinstance(eid.address, Address):
            return False  # nothing is registered for an LCAF
        if scope == RefreshScope.FAMILY:
            return _is_new((instance_id, eid.address.afi), self._families)
        _, afi, length, key = eid_key(eid)
        covered = self._covered.setdefault((instance_id, afi), {})
        return _is_new(key, covered.setdefault(length, set()))


def _is_new(one: _Item, known: set[_Item]) -> bool:
    if one in known:
        return False
    known.add(one)
    return True
