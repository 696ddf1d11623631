"""The RLOC members that a Map-Server has told an ETR of, kept from one session to the next
(draft-kouvelas-lisp-rloc-membership-01).

For filters: who may be the source of an encapsulated packet. How they are learnt on a session is
:mod:`lispmsrt.session.membership_subscriber`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import NamedTuple

from lispmsrt.mapping.family_members import Family
from lispmsrt.wire.addresses import Address

__all__ = ["MAX_LEARNT", "LearntMembers", "Member"]

MAX_LEARNT = 262_144
"""Members that one Map-Server may tell of, some 100 MB: it must not exhaust the ETR."""


class Member(NamedTuple):
    """One RLOC of one site."""

    site_id: bytes
    "8 octets, zeros where the xTR has told none"
    rloc: Address


class LearntMembers:
    """The members of the families that are followed at one Map-Server.

    When a session ends they stay as they are, and are told to be out of date, until another session
    has told of all that there is.
    """

    def __init__(
        self,
        families: Iterable[Family],
        *,
        on_change: Callable[[int, int], None] = lambda instance_id, afi: None,
        limit: int = MAX_LEARNT,
    ) -> None:
        """``on_change`` is called with a family's instance ID and AFI, once for all the changes
        that came together.
        """
        self.families = tuple(sorted(families))
        self.counters: Counter[str] = Counter()
        self._on_change = on_change
        self._limit = limit
        self._count = 0
        self._round = 0
        self._members: dict[Family, dict[Member, int]] = {at: {} for at in self.families}
        "to the number of the round in which it was told last"
        self._rlocs: Counter[tuple[int, Address]] = Counter()
        "by instance ID and RLOC: how many members have it"
        self._rounds: dict[Family, int] = dict.fromkeys(self.families, 0)
        self._current: set[Family] = set()
        self._incomplete: set[Family] = set()
        self._changed: dict[Family, None] = {}

    # For those who use them

    def members(self, instance_id: int, afi: int) -> frozenset[Member]:
        """Return the members of a family as a copy."""
        return frozenset(self._members.get((instance_id, afi), ()))

    def covers(self, rloc: Address, instance_id: int | None = None) -> bool:
        """Whether an RLOC is that of a member, of one instance or of any that is followed."""
        if instance_id is not None:
            return (instance_id, rloc) in self._rlocs
        return any((instance, rloc) in self._rlocs for instance, _afi in self.families)

    def is_current(self, instance_id: int, afi: int) -> bool:
        """Whether they are all, and just those, of which the Map-Server knows: a filter should let
        everything pass where they are not.
        """
        at = (instance_id, afi)
        return at in self._current and at not in self._incomplete

    # For the session

    def begin_round(self, at: Family) -> None:
        """The Map-Server is going to tell of every member anew."""
        self._round += 1
        self._rounds[at] = self._round
        self._incomplete.discard(at)

    def add(self, at: Family, member: Member) -> None:
        """The Map-Server has told of a member."""
        members = self._members[at]
        if member not in members:
            if self._count >= self._limit:
                self.counters["members beyond the limit"] += 1
                self._incomplete.add(at)
                return
            self._count += 1
            self._rlocs[at[0], member.rloc] += 1
            self._changed[at] = None
        members[member] = self._rounds[at]

    def discard(self, at: Family, member: Member) -> None:
        """It is none any more, if it was one."""
        if self._members[at].pop(member, None) is not None:
            self._count -= 1
            self._changed[at] = None
            rloc = at[0], member.rloc
            self._rlocs[rloc] -= 1
            if not self._rlocs[rloc]:
                del self._rlocs[rloc]

    def end_round(self, at: Family) -> None:
        """Every member has been told: those that were not are none."""
        this_round = self._rounds[at]
        outdated = [one for one, told in self._members[at].items() if told != this_round]
        for member in outdated:
            self.discard(at, member)
        if at not in self._current:
            self._current.add(at)
            self._changed[at] = None

    def outdated(self, at: Family) -> None:
        """The Map-Server tells of changes no longer."""
        if at in self._current:
            self._current.discard(at)
            self._changed[at] = None

    def tell(self) -> None:
        """Call back for what has changed since the last time."""
        while self._changed:
            (instance_id, afi), _ = self._changed.popitem()
            self._on_change(instance_id, afi)
