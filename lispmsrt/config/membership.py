"""[[...rloc-membership]]: which RLOC membership is distributed over sessions, or asked for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import Field

from lispmsrt.config.section import Section
from lispmsrt.config.values import InstanceId
from lispmsrt.wire.addresses import Afi

__all__ = ["RlocMembershipConfig", "membership_families"]

_FAMILIES = {"ipv4": Afi.IPV4, "ipv6": Afi.IPV6, "mac": Afi.MAC}


class RlocMembershipConfig(Section):
    """The RLOCs of one instance (draft-kouvelas-lisp-rloc-membership-01)."""

    instance_id: InstanceId = 0
    families: tuple[Literal["ipv4", "ipv6", "mac"], ...] = Field(
        default=("ipv4", "ipv6"), min_length=1
    )
    "of the EIDs, not of the RLOCs"


def membership_families(tables: Iterable[RlocMembershipConfig]) -> frozenset[tuple[int, int]]:
    """Return every (instance ID, EID family) that is named."""
    return frozenset(
        (table.instance_id, int(_FAMILIES[family])) for table in tables for family in table.families
    )
