"""Which EID-prefix lies inside which, and what is left beside others."""

from __future__ import annotations

from collections.abc import Sequence

from lispmsrt.mapping.lookup import Hit
from lispmsrt.mapping.sites import eid_key
from lispmsrt.wire.addresses import Address, Afi, EidPrefix

__all__ = ["common_part", "covers", "first_hole", "hole_beside"]


def covers(outer: EidPrefix, inner: EidPrefix) -> bool:
    """Whether ``inner`` lies inside ``outer`` or is the same. An LCAF covers only itself."""
    if not (isinstance(outer.address, Address) and isinstance(inner.address, Address)):
        return outer == inner
    instance_id, afi, length, key = eid_key(outer)
    *family, inner_length, inner_key = eid_key(inner)
    if family != [instance_id, afi] or inner_length < length:
        return False
    if afi == Afi.NAME and inner_length != length:
        return False  # RFC 9735: names match whole
    return inner_key >> inner_length - length == key


def common_part(one: EidPrefix, other: EidPrefix) -> EidPrefix | None:
    """Return the EIDs that are in both, which is the longer prefix or nothing."""
    if covers(other, one):
        return one
    return other if covers(one, other) else None


def hole_beside(eid: EidPrefix, hits: Sequence[Hit]) -> EidPrefix | None:
    """Return the widest prefix around an EID-prefix that touches none of these registrations, of
    which there is one at least and none covers it; None where one of them lies inside.
    """
    network, width = _network(eid)
    length = 1 + max(width - (_first(hit, width) ^ network).bit_length() for hit in hits)
    return _prefix(eid, network, length) if length <= eid.length else None


def first_hole(eid: EidPrefix, hits: Sequence[Hit]) -> EidPrefix | None:
    """Return the first prefix inside an EID-prefix, as wide as can be, that touches none of these
    registrations; None where nothing is left between them. They are given in order.
    """
    network, width = _network(eid)
    free = network
    for hit in hits:
        end = _first(hit, width) + (1 << width - hit.length)
        if _first(hit, width) <= free < end:
            free = end
    if free >= network + (1 << width - eid.length):
        return None
    return hole_beside(_prefix(eid, free, width), hits)


def _network(eid: EidPrefix) -> tuple[int, int]:
    """Return the network address as a number, and how many bits it has."""
    address = eid.address
    assert isinstance(address, Address), "nothing lies inside an LCAF"
    return int.from_bytes(address.packed, "big"), 8 * len(address.packed)


def _first(hit: Hit, width: int) -> int:
    return (hit.key ^ 1 << hit.length) << width - hit.length


def _prefix(eid: EidPrefix, network: int, length: int) -> EidPrefix:
    """Return the prefix of this length around an address, written as ``eid`` is."""
    assert isinstance(eid.address, Address)
    octets = len(eid.address.packed)
    host_bits = 8 * octets - length
    packed = (network >> host_bits << host_bits).to_bytes(octets, "big")
    address = Address(eid.address.afi, packed)
    return EidPrefix(eid.instance_id, address, length, eid.explicit_instance)
