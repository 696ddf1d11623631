"""The EID-prefixes of a swarm: consecutive ones inside the given prefixes, each with a number.

The ETRs share every given prefix evenly; what one ETR has of it is consecutive.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lispmsrt.wire.addresses import Address, Afi, EidPrefix
from lispmsrt.wire.reliable_transport import eid_wire_form

__all__ = ["MAX_EIDS", "Block", "EidSpace", "EidSpaceError", "Span"]

MAX_EIDS = 20_000_000
"""Ten octets are kept of each: 200 MB."""


class EidSpaceError(ValueError):
    """These prefixes can't have so many EIDs; the text is one sentence."""


@dataclass(frozen=True, slots=True)
class Block:
    """The EID-prefixes of one given prefix."""

    head: bytes
    "EID wire form up to the address: mask length, AFI, perhaps LCAF"
    base: int
    "the first address, as a number"
    octets: int
    "of an address"
    shift: int
    "bits of an address behind the EID-prefix"
    first: int
    "number of the first EID"
    each: int
    "EIDs of each ETR"
    count: int
    instance_id: int

    def address(self, number: int) -> bytes:
        """Return the address of an EID, packed."""
        return (self.base + (number - self.first << self.shift)).to_bytes(self.octets, "big")

    def number(self, address: bytes) -> int | None:
        """Return the number of the EID with this address, None where it is none of these."""
        offset, rest = divmod(int.from_bytes(address, "big") - self.base, 1 << self.shift)
        return None if rest or not 0 <= offset < self.count else self.first + offset


Span = tuple[Block, int, int]
"""EIDs from one number up to, not with, another."""


class EidSpace:
    """All EID-prefixes."""

    def __init__(
        self,
        prefixes: Sequence[EidPrefix],
        *,
        etrs: int,
        eids: int,
        length: int | None = None,
    ) -> None:
        """``eids`` is what each ETR has; ``length`` their prefix length, by default all bits."""
        if etrs * eids > MAX_EIDS:
            raise EidSpaceError(f"{etrs * eids:,} EIDs are more than the {MAX_EIDS:,} of a swarm")
        _check_apart(prefixes)
        self.count = 0
        blocks: list[Block] = []
        for number, prefix in enumerate(prefixes):
            each = eids // len(prefixes) + (number < eids % len(prefixes))
            block = _block(prefix, length, self.count, each, etrs)
            self.count += block.count
            blocks.append(block)
        self.blocks = tuple(block for block in blocks if block.count)

    def of_etr(self, number: int) -> Iterator[Span]:
        """Yield what an ETR has."""
        for block in self.blocks:
            first = block.first + number * block.each
            yield block, first, first + block.each

    def block_of(self, number: int) -> Block:
        """Return the block that an EID is in."""
        for block in self.blocks:
            if number < block.first + block.count:
                return block
        raise IndexError(f"there is no EID {number}")

    def eid(self, number: int) -> EidPrefix:
        """Return an EID-prefix."""
        block = self.block_of(number)
        address = Address(Afi.IPV4 if block.octets == 4 else Afi.IPV6, block.address(number))
        return EidPrefix(block.instance_id, address, 8 * block.octets - block.shift)

    def number(self, wire_form: bytes) -> int | None:
        """Return the number of an EID-prefix, None where it is none of these."""
        for block in self.blocks:
            size = len(block.head)
            if len(wire_form) == size + block.octets and wire_form.startswith(block.head):
                number = block.number(wire_form[size:])
                if number is not None:
                    return number
        return None


def _block(prefix: EidPrefix, length: int | None, first: int, each: int, etrs: int) -> Block:
    address = prefix.address
    if not isinstance(address, Address) or address.afi not in (Afi.IPV4, Afi.IPV6):
        raise EidSpaceError(f"{prefix} is no IPv4 or IPv6 prefix to take EIDs from")
    length = address.width if length is None else length
    if not prefix.length <= length <= address.width:
        raise EidSpaceError(f"{prefix} has no EID-prefixes of length {length}")
    room = 1 << length - prefix.length
    if each * etrs > room:
        raise EidSpaceError(
            f"{prefix} has {room:,} EID-prefixes of length {length} where {each * etrs:,} are"
            " needed: give a shorter prefix, or another one besides"
        )
    one = EidPrefix(prefix.instance_id, address, length)
    octets = len(address.packed)
    base = int.from_bytes(address.packed, "big")
    head = eid_wire_form(one)[:-octets]
    shift = address.width - length
    return Block(head, base, octets, shift, first, each, each * etrs, prefix.instance_id)


def _check_apart(prefixes: Sequence[EidPrefix]) -> None:
    if not prefixes:
        raise EidSpaceError("no prefix is given to take EIDs from")
    for number, one in enumerate(prefixes):
        for other in prefixes[:number]:
            if _overlap(one, other):
                raise EidSpaceError(f"{one} and {other} overlap: take one of them")


def _overlap(one: EidPrefix, other: EidPrefix) -> bool:
    a, b = one.address, other.address
    if not isinstance(a, Address) or not isinstance(b, Address) or a.afi != b.afi:
        return False
    rest = a.width - min(one.length, other.length)
    difference = int.from_bytes(a.packed, "big") ^ int.from_bytes(b.packed, "big")
    return one.instance_id == other.instance_id and not difference >> rest
