"""What all Registrations of an ETR have in common, in wire form (RFC 9301 §5.6)."""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct

from lispmsrt.swarm.eids import Block
from lispmsrt.wire.addresses import Address
from lispmsrt.wire.authentication import Key
from lispmsrt.wire.map_register import RegisterFlag
from lispmsrt.wire.messages import ControlType
from lispmsrt.wire.records import Locator, encode_locators

__all__ = ["TTL", "VERSIONS", "EtrFace", "Template", "make_template"]

TTL = 1440
"""Minutes: a day, as deployed ETRs say."""

VERSIONS = 100
"""A mapping's locator has weight 1 and its version, so that each change can be told from the one
before.
"""

_FIXED = Struct("!IQBBH")  # first word, nonce, key ID, algorithm ID, authentication data length
_RECORD = Struct("!IBBHH")  # TTL, locators, mask length, ACT|A, map version
_AUTHORITATIVE = 0x1000
_WEIGHT = 1


@dataclass(frozen=True, slots=True)
class EtrFace:
    """What a Map-Server sees of an ETR."""

    number: int
    ids: bytes
    "xTR-ID and Site-ID"
    rloc: Address


@dataclass(frozen=True, slots=True)
class Template:
    """A Map-Register of one record in which nonce, MAC, address and weight are to be put."""

    etr: int
    block: Block
    head: bytes
    "16 octets, with the record count 0 and the nonce 0"
    record: bytes
    address_at: int
    weight_at: int
    "0 where there is no locator"
    ids: bytes
    leaves: bool
    "it withdraws"


def make_template(
    face: EtrFace, block: Block, key: Key, flags: int, *, leaves: bool = False
) -> Template:
    """Return the template of one ETR for one block; ``flags`` are bits of the first word."""
    word = ControlType.MAP_REGISTER << 28 | flags | (RegisterFlag.XTR_ID if face.ids else 0)
    head = _FIXED.pack(word, 0, key.key_id, key.algorithm_id, key.sent_length)
    locators = b"" if leaves else encode_locators((Locator(face.rloc),))
    ttl, count = (0, 0) if leaves else (TTL, 1)
    fixed = _RECORD.pack(ttl, count, block.head[0], _AUTHORITATIVE, 0) + block.head[1:]
    address_at = len(fixed)
    weight_at = 0 if leaves else address_at + block.octets + _WEIGHT
    record = fixed + bytes(block.octets) + locators
    return Template(face.number, block, head, record, address_at, weight_at, face.ids, leaves)
