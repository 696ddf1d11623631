"""EID-prefixes, and the one door to addresses of every kind: import `Address` etc. from here.

An instance ID travels as LCAF type 2 around the address (RFC 8060 §4.1) and is unwrapped here, so
that everything above sees one key (instance, address, length) whichever form the peer chose.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from lispmsrt.wire.afi import NO_ADDRESS, Address, Afi
from lispmsrt.wire.errors import ErrorScope, WireError
from lispmsrt.wire.lcaf import (
    MAX_LCAF_NESTING,
    InstanceId,
    Lcaf,
    decode_address,
    decode_locator_address,
    encode_address,
    plain_addresses,
)
from lispmsrt.wire.reader import Reader

__all__ = [
    "MAX_LCAF_NESTING",
    "NO_ADDRESS",
    "Address",
    "Afi",
    "EidPrefix",
    "Lcaf",
    "decode_address",
    "decode_eid",
    "decode_locator_address",
    "encode_address",
    "encode_eid",
    "plain_addresses",
]


@dataclass(slots=True, unsafe_hash=True)
class EidPrefix:
    """What is registered and looked up. Host bits are zero."""

    instance_id: int
    address: Address | Lcaf
    """Never an LCAF of type 2 on its own: that is what `instance_id` says."""

    length: int
    """Prefix length in bits; of a name all its bits (at most 255)."""

    explicit_instance: bool = field(default=False, compare=False)
    """The wire form was LCAF type 2, and answers echo it. Instance ID 0 and none are the same."""

    @classmethod
    def from_text(cls, text: str, instance_id: int = 0, *, called: str = "EID-prefix") -> EidPrefix:
        """Parse ``address/length``, or ``name:`` and a name, which has no length. ValueError calls
        it as ``called`` says.
        """
        if not 0 <= instance_id < 1 << 32:
            raise ValueError(f"instance ID {instance_id} does not fit 32 bits")
        if text.startswith("name:"):
            name = Address.from_text(text)
            return cls(instance_id, name, name.width)
        address_text, slash, length_text = text.partition("/")
        if not slash or not (length_text.isascii() and length_text.isdigit()):
            raise ValueError(f"{called} {text!r} is not of the form address/length")
        address, length = Address.from_text(address_text), int(length_text)
        if length > address.width:
            raise ValueError(f"{called} {text!r} is longer than its {address.width}-bit address")
        if _without_host_bits(address, length) != address:
            raise ValueError(f"{called} {text!r} has host bits set")
        return cls(instance_id, address, length)

    @classmethod
    def from_eid_text(cls, text: str, instance_id: int = 0) -> EidPrefix:
        """Parse an EID-prefix, or an EID, which is one with all its bits. Raises ValueError."""
        if "/" not in text and not text.startswith("name:"):
            text = f"{text}/{Address.from_text(text).width}"
        return cls.from_text(text, instance_id)

    def __str__(self) -> str:
        text = str(self.address)
        if isinstance(self.address, Lcaf) or self.address.afi != Afi.NAME:
            text = f"{text}/{self.length}"
        return f"[{self.instance_id}] {text}" if self.instance_id else text


def encode_eid(eid: EidPrefix) -> bytes:
    """Return AFI and EID, as LCAF type 2 when there is an instance ID or the peer wrote it so."""
    if eid.instance_id or eid.explicit_instance:
        return encode_address(InstanceId(eid.instance_id, eid.address))
    return encode_address(eid.address)


def decode_eid(reader: Reader, length: int) -> EidPrefix:
    """Read AFI and EID; ``length`` is the prefix length, which every message puts in front."""
    address = decode_address(reader)
    if isinstance(address, InstanceId):
        inner = address.address
        return EidPrefix(address.instance_id, _canonical(inner, length), length, True)
    return EidPrefix(0, _canonical(address, length), length)


def _canonical(address: Address | Lcaf, length: int) -> Address | Lcaf:
    """Check the prefix length against the family and clear the host bits."""
    if isinstance(address, Lcaf):
        return address
    if length > address.width:
        reason = f"prefix length {length} exceeds the {address.width} bits of the EID"
        raise WireError(reason, ErrorScope.RECORD)
    if address.afi == Afi.NAME and length < address.width:
        # RFC 9735 leaves prefixes of names to the operator; we match names whole.
        raise WireError("a name does not have its full prefix length", ErrorScope.RECORD)
    return _without_host_bits(address, length)


def _without_host_bits(address: Address, length: int) -> Address:
    """RFC 9301 §5.4: bits beyond the mask are ignored, so equality must not depend on them."""
    host_bits = address.width - length
    if not host_bits:
        return address
    packed = address.packed
    network = int.from_bytes(packed, "big") >> host_bits << host_bits
    return Address(address.afi, network.to_bytes(len(packed), "big"))
