"""Where runs of Map-Registers are entered that are like earlier ones: compiled, or not at all, for
what each of them means is :meth:`lispmsrt.mapping.registrar.Registrar.enter_over_udp`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from lispmsrt.compiled import twin
from lispmsrt.mapping.database import Database, Lease, Registration
from lispmsrt.mapping.new_mappings import Stretch
from lispmsrt.mapping.sites import Sites
from lispmsrt.mapping.soft_state import SoftState
from lispmsrt.wire.afi import Afi
from lispmsrt.wire.record_walk import RecordSpan

if TYPE_CHECKING:
    from lispmsrt.mapping._over_udp import LikeRecord, OverUdp

__all__ = ["EntersRuns", "like_record", "over_udp"]

_OCTETS = {int(Afi.IPV4): 4, int(Afi.IPV6): 16, int(Afi.MAC): 6}

_compiled = twin("lispmsrt.mapping._over_udp")


class EntersRuns(Protocol):
    """What a run asks of the registrar, and tells it."""

    accepted: int

    @property
    def sites(self) -> Sites:
        """The configured sites in force."""

    @property
    def room(self) -> int:
        """How many more registrations there may be."""

    def entered(self, stretches: Sequence[Stretch]) -> None:
        """Take note of new registrations of one lease, which stand among the entries already."""


def over_udp(registrar: EntersRuns, soft_state: SoftState) -> OverUdp | None:
    """Return what enters runs; None where nothing is compiled."""
    return _compiled.OverUdp(registrar, soft_state) if _compiled is not None else None


def like_record(
    sites: Sites, database: Database, lease: Lease, data: bytes, span: RecordSpan
) -> LikeRecord | None:
    """Return what the next records are to be compared with; None for a kind that always goes the
    long way.

    ``data`` has the record where ``span`` says, and it has just been registered.
    """
    start, ttl, instance_id, afi, length, key, locators, end = span
    octets = _OCTETS.get(afi)
    if _compiled is None or octets is None or not ttl:
        return None
    prefix = sites.match(instance_id, afi, length, key)
    table = database.table(instance_id, afi)
    current = table.entries.get(key)
    if prefix is None or type(current) is not Registration or current.lease is not lease:
        return None
    address_at = locators - start - octets
    record, flags = data[start:end], current.flags
    like: LikeRecord = _compiled.LikeRecord(
        sites, prefix, lease, table, flags, record, address_at, octets
    )
    return like
