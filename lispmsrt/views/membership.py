"""RLOC membership: who is a member, and how many follow."""

from __future__ import annotations

from itertools import islice

from lispmsrt.mapping.family_members import FamilyMembers
from lispmsrt.mapping.rloc_members import RlocMembers
from lispmsrt.views.naming import afi_text
from lispmsrt.views.values import MemberFamilyView, MembershipView
from lispmsrt.wire.addresses import Address

__all__ = ["MAX_FAMILIES", "MAX_RLOCS", "MAX_RLOCS_IN_ALL", "membership_view"]

MAX_FAMILIES = 1_000
"""Families that are told of."""

MAX_RLOCS = 1_000
"""RLOCs of one family that are named."""

MAX_RLOCS_IN_ALL = 5_000
"""RLOCs that are named at once: some 10 ms."""

_SITE_ID_OCTETS, _AFI_OCTETS = 8, 2


def membership_view(members: RlocMembers | None) -> MembershipView:
    """Return the members of every family, some by name."""
    if members is None:
        return MembershipView(False, ())
    left = MAX_RLOCS_IN_ALL
    found = []
    families = islice(members.families.items(), MAX_FAMILIES)
    for (instance_id, afi), family in sorted(families, key=lambda item: item[0]):
        rlocs = _rlocs(family, min(MAX_RLOCS, left))
        left -= len(rlocs)
        members_there = len(family.references)
        found.append(
            MemberFamilyView(instance_id, afi_text(afi), members_there, family.subscribers, rlocs)
        )
    return MembershipView(True, tuple(found))


def _rlocs(family: FamilyMembers, limit: int) -> tuple[str, ...]:
    """Return the RLOCs of members: several sites may have the same."""
    names = islice(family.members(), limit)
    return tuple(dict.fromkeys([_text(name) for name in names]))


def _text(member: bytes) -> str:
    at = _SITE_ID_OCTETS + _AFI_OCTETS
    afi = int.from_bytes(member[_SITE_ID_OCTETS:at], "big")
    return str(Address(afi, member[at:]))
