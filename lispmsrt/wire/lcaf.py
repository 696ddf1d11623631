"""AFI + address, LCAF included (RFC 8060 §3): the pair `encode_address` / `decode_address`.

The types are in :mod:`lispmsrt.wire.lcaf_single` and :mod:`lispmsrt.wire.lcaf_compound`; import
them from here. An unknown type is kept whole and survives byte for byte; in RLOC position so does
a body that does not parse, because a Map-Server only stores it.
"""

from __future__ import annotations

from functools import partial

from lispmsrt.wire.afi import AFI_LAYOUT, Address, Afi, decode_plain_address
from lispmsrt.wire.errors import WireError
from lispmsrt.wire.lcaf_base import LCAF_HEADER, Lcaf, UnknownLcaf
from lispmsrt.wire.lcaf_compound import (
    AfiList,
    ExplicitPath,
    Hop,
    KeyValue,
    MulticastInfo,
    NatTraversal,
    NullBody,
    OpaqueKey,
    ReplicationEntry,
    ReplicationList,
    SourceDestination,
    VendorSpecific,
)
from lispmsrt.wire.lcaf_single import (
    ApplicationData,
    AsNumber,
    Encapsulation,
    Geo,
    InstanceId,
    Json,
    NonceLocator,
    SecurityKey,
)
from lispmsrt.wire.reader import Reader

__all__ = [
    "MAX_LCAF_NESTING",
    "AfiList",
    "ApplicationData",
    "AsNumber",
    "Encapsulation",
    "ExplicitPath",
    "Geo",
    "Hop",
    "InstanceId",
    "Json",
    "KeyValue",
    "Lcaf",
    "MulticastInfo",
    "NatTraversal",
    "NonceLocator",
    "NullBody",
    "OpaqueKey",
    "ReplicationEntry",
    "ReplicationList",
    "SecurityKey",
    "SourceDestination",
    "UnknownLcaf",
    "VendorSpecific",
    "decode_address",
    "decode_locator_address",
    "encode_address",
    "plain_addresses",
]

MAX_LCAF_NESTING = 8
"""How many LCAFs may lie inside each other: a level costs the peer 8 octets, us stack frames."""

_TYPES: tuple[type[Lcaf], ...] = (
    AfiList,
    ExplicitPath,
    KeyValue,
    MulticastInfo,
    NatTraversal,
    NullBody,
    OpaqueKey,
    ReplicationList,
    SourceDestination,
    VendorSpecific,
    ApplicationData,
    AsNumber,
    Encapsulation,
    Geo,
    InstanceId,
    Json,
    NonceLocator,
    SecurityKey,
)
_BY_NUMBER = {lcaf.TYPE: lcaf for lcaf in _TYPES}


def encode_address(address: Address | Lcaf) -> bytes:
    """Return AFI and address."""
    return address.encode()


def decode_address(reader: Reader, depth: int = 0) -> Address | Lcaf:
    """Read AFI and address; ``depth`` counts the LCAFs around it."""
    (afi,) = reader.unpack(AFI_LAYOUT)
    if afi != Afi.LCAF:
        return decode_plain_address(reader, afi)
    if depth >= MAX_LCAF_NESTING:
        raise WireError(f"LCAFs are nested more than {MAX_LCAF_NESTING} deep")
    reserved1, flags, lcaf_type, reserved2, length = reader.unpack(LCAF_HEADER)
    with reader.restrict_to(length):
        known = _BY_NUMBER.get(lcaf_type)
        if known is None:
            lcaf: Lcaf = UnknownLcaf(lcaf_type, reader.read_remaining())
        else:
            lcaf = known.decode_body(reader, partial(decode_address, depth=depth + 1))
    return lcaf.with_header(reserved1, flags, reserved2)


def decode_locator_address(reader: Reader) -> Address | Lcaf:
    """Read AFI and address of an RLOC; an LCAF that does not parse becomes an `UnknownLcaf`.

    A Map-Server returns RLOCs as registered (RFC 9301 §5.4): what is in them concerns their users.
    """
    start = reader.offset
    (afi,) = reader.unpack(AFI_LAYOUT)
    if afi != Afi.LCAF:
        return decode_plain_address(reader, afi)
    reserved1, flags, lcaf_type, reserved2, length = reader.unpack(LCAF_HEADER)
    body = reader.read(length)
    try:
        return decode_address(Reader(reader.since(start)))
    except WireError:
        return UnknownLcaf(lcaf_type, body).with_header(reserved1, flags, reserved2)


def plain_addresses(address: Address | Lcaf) -> list[Address] | None:
    """Return every address that traffic could be sent to by using ``address`` as an RLOC.

    Names are labels, not destinations. None: the contents cannot be known.
    """
    if isinstance(address, Address):
        return [] if address.afi in (Afi.NONE, Afi.NAME) else [address]
    inside = address.destinations()
    if inside is None:
        return None
    found: list[Address] = []
    for item in inside:
        plain = plain_addresses(item)
        if plain is None:
            return None
        found += plain
    return found
