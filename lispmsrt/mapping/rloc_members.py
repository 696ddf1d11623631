"""Which RLOCs the xTRs of an EID family use, gleaned from what they register
(draft-kouvelas-lisp-rloc-membership-01).

A family is an EID address family of one instance ID. The Map-Server's side of the mapping: it is
fed with changes and read by subscriptions. What is said on a session, and in which words, is
:mod:`lispmsrt.session.membership_publisher`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal

from lispmsrt.mapping.database import Database, Registration, Xtr
from lispmsrt.mapping.family_members import Family, FamilyMembers, Subscription
from lispmsrt.mapping.merging import parts_of
from lispmsrt.mapping.sites import Sites
from lispmsrt.mapping.verdicts import Change
from lispmsrt.wire.addresses import Address, Afi, decode_locator_address, plain_addresses
from lispmsrt.wire.errors import WireError
from lispmsrt.wire.membership import NackError
from lispmsrt.wire.reader import Reader

__all__ = ["Enabled", "RlocMembers"]

Enabled = frozenset[Family] | Literal["all"]
"""The families whose members are distributed."""

_KNOWN_LOCATORS = 4096
"""RLOC-sets, by Site-ID, whose members are remembered: the registrations of one xTR share theirs. A
peer that sends ever new ones empties the memory, nothing more.
"""

_KNOWN_OCTETS = 256
"""Larger RLOC-sets are read each time: few have them, and they would fill the memory."""

_NO_SITE_ID = bytes(8)
_LOCATOR_FIXED_OCTETS = 6  # priorities, weights and flags before the address
_EID_AFI_OFFSET, _EID_OFFSET = 10, 12
_LCAF_LENGTH_OFFSET, _LCAF_OFFSET = 16, 18
_SIZES = {int(Afi.NONE): 0, int(Afi.IPV4): 4, int(Afi.IPV6): 16, int(Afi.MAC): 6}


class RlocMembers:
    """The members of every family for which that is switched on."""

    def __init__(self, enabled: Enabled, sites: Callable[[], Sites]) -> None:
        """``sites`` returns the configuration in force: what it names is known to the Map-Server.

        Nothing may be registered yet, or :meth:`reconfigure` has to be told of it.
        """
        self.counters: Counter[str] = Counter()
        self._enabled = enabled
        self._sites = sites
        self._families: dict[Family, FamilyMembers] = {}
        self._names: dict[bytes, tuple[bytes, ...]] = {}
        self._gleaning: list[tuple[FamilyMembers, list[Registration]]] = []
        self._seen_sites: Sites | None = None
        self._known: frozenset[Family] = frozenset()

    # What is registered

    def changed(self, changes: Sequence[Change]) -> None:
        """Take in changes of the mapping database; wakes the subscriptions for which that is
        news.
        """
        table = family = None
        for change in changes:
            if change[0] is not table:
                table = change[0]
                family = self._family((table.instance_id, table.afi))
            if family is not None:
                self._change(family, change[3], change[4])

    def members(self, instance_id: int, afi: int) -> Iterator[bytes]:
        """Yield every member of a family: Site-ID, AFI and address, as they travel. The database
        must not change meanwhile.
        """
        family = self._families.get((instance_id, afi))
        if family is not None:
            yield from family.members()

    @property
    def families(self) -> Mapping[Family, FamilyMembers]:
        """The families whose members are distributed and of which any was known, to be read
        only.
        """
        return self._families

    def _family(self, at: Family) -> FamilyMembers | None:
        family = self._families.get(at)
        if family is None and self._is_enabled(at):
            family = self._families[at] = FamilyMembers(self.counters)
        return family

    def _is_enabled(self, at: Family) -> bool:
        return self._enabled == "all" or at in self._enabled

    def _change(
        self, family: FamilyMembers, before: Registration | None, after: Registration | None
    ) -> None:
        added, removed = parts_of(after), parts_of(before)
        if len(added) > 1 or len(removed) > 1:
            # Of a merged registration one part has changed.
            same = set(added) & set(removed)
            added = [part for part in added if part not in same]
            removed = [part for part in removed if part not in same]
        # What is new first: a member that is in both never goes.
        for part in added:
            xtr = part.lease.xtr
            family.add(xtr, self._names_of(part.record, xtr))
        for part in removed:
            xtr = part.lease.xtr
            family.remove(xtr, self._names_of(part.record, xtr))

    def _names_of(self, record: bytes, xtr: Xtr) -> tuple[bytes, ...]:
        locators = record[_locators_at(record) :]
        site_id = xtr.ids[-8:] or _NO_SITE_ID
        key = site_id + locators
        names = self._names.get(key)
        if names is None:
            if len(self._names) >= _KNOWN_LOCATORS:
                self._names.clear()
            names = tuple(dict.fromkeys(site_id + rloc for rloc in _rlocs(locators)))
            if len(key) <= _KNOWN_OCTETS:
                self._names[key] = names
        return names

    # Who wants to hear of it

    def subscribe(
        self,
        instance_id: int,
        afi: int,
        xtr: Xtr | None,
        wake: Callable[[], None],
        is_slow: Callable[[], bool],
    ) -> Subscription | NackError:
        """Let an xTR hear of every change from now on, or say why not.

        ``wake`` is called when there is news after there was none; ``is_slow`` says whether the
        peer has left unread what was written to it.
        """
        refusal = self.refusal(instance_id, afi, xtr)
        if refusal is not None or xtr is None:
            return refusal or NackError.NOT_REGISTERED
        return self._families[instance_id, afi].subscribe(xtr, wake, is_slow)

    def refusal(self, instance_id: int, afi: int, xtr: Xtr | None) -> NackError | None:
        """Say why an xTR may not subscribe; None is an xTR that has not registered at all."""
        at = (instance_id, afi)
        family = self._families.get(at)
        if family is not None and family.is_complete and xtr in family.registered:
            return None
        if at not in self._configured() and (family is None or not family.registered):
            return NackError.UNKNOWN_INSTANCE
        if not self._is_enabled(at) or (family is not None and not family.is_complete):
            return NackError.NOT_ENABLED
        return NackError.NOT_REGISTERED

    def _configured(self) -> frozenset[Family]:
        sites = self._sites()
        if sites is not self._seen_sites:
            self._seen_sites = sites
            self._known = frozenset((one.instance_id, one.afi) for one in sites.prefixes)
        return self._known

    # When the configuration changes

    def reconfigure(self, enabled: Enabled, database: Database) -> None:
        """Distribute the members of these families from now on, and cancel all other
        subscriptions.

        What is registered already in a family that is new here is for :meth:`glean` to take in;
        until that is done nobody may subscribe to it.
        """
        self._enabled = enabled
        for at, family in list(self._families.items()):
            if not self._is_enabled(at):
                del self._families[at]
                family.close()
        self._gleaning = [one for one in self._gleaning if not one[0].is_closed]
        for at, table in database.tables.items():
            if table.entries and at not in self._families and self._is_enabled(at):
                family = self._families[at] = FamilyMembers(self.counters, is_complete=False)
                # As they are now: what becomes of them comes as a change.
                self._gleaning.append((family, list(table.entries.values())))

    def glean(self, batch: int = 1000) -> bool:
        """Take in so many of what was registered before :meth:`reconfigure`; tell whether there is
        more.

        Once there is not, a Registration Refresh makes xTRs subscribe that were refused.
        """
        if self._gleaning:
            family, registrations = self._gleaning[-1]
            for registration in registrations[-batch:]:
                self._change(family, None, registration)
            del registrations[-batch:]
            if not registrations:
                self._gleaning.pop()
                family.is_complete = True
        return bool(self._gleaning)


def _locators_at(record: bytes) -> int:
    """Return where the RLOC-records of a well-formed mapping record begin."""
    afi = int.from_bytes(record[_EID_AFI_OFFSET:_EID_OFFSET], "big")
    if afi == Afi.LCAF:
        length = record[_LCAF_LENGTH_OFFSET:_LCAF_OFFSET]
        return _LCAF_OFFSET + int.from_bytes(length, "big")
    if afi == Afi.NAME:
        return record.index(0, _EID_OFFSET) + 1
    return _EID_OFFSET + _SIZES[afi]


def _rlocs(locators: bytes) -> Iterator[bytes]:
    """Yield AFI and address of every RLOC that packets can come from."""
    at, end = 0, len(locators)
    while at < end:
        at += _LOCATOR_FIXED_OCTETS
        size = _SIZES.get(int.from_bytes(locators[at : at + 2], "big"))
        if size is not None:
            after = at + 2 + size
            rlocs = [locators[at:after]]
        else:
            reader = Reader(locators, at)
            try:
                address = decode_locator_address(reader)
            except WireError:
                # A name that is too long: no RLOC, and there is no telling what follows.
                return
            plain: Sequence[Address] = plain_addresses(address) or ()
            rlocs = [one.encode() for one in plain]
            after = reader.offset
        yield from filter(_is_usable, rlocs)
        at = after


def _is_usable(rloc: bytes) -> bool:
    """Whether it is the IPv4 or IPv6 address of a host."""
    if rloc[:2] == b"\0\1":
        return 0 < rloc[2] < 224 or 240 <= rloc[2] < 255
    return rloc[:2] == b"\0\2" and rloc[2] != 0xFF and any(rloc[2:])
