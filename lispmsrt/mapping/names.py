"""EID-prefixes as keys of dicts that a peer can fill.

The hash of a number is no secret: it is the number modulo 2^61 - 1. So anybody finds as many IPv6
EID-prefixes of one hash as he likes, and a dict of them takes the longer for each the more there
are. That of octets is another one in every process.
"""

from __future__ import annotations

from lispmsrt.mapping.database import EidTable

__all__ = ["Name", "key_of", "name_of"]

Name = tuple[EidTable, bytes]
"""A table and the octets of a prefix key."""


def name_of(table: EidTable, key: int) -> Name:
    """Return the name of what stands at this prefix key."""
    return table, key.to_bytes(key.bit_length() + 7 >> 3, "big")


def key_of(name: Name) -> int:
    """Return the prefix key."""
    return int.from_bytes(name[1], "big")
