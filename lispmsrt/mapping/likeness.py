"""What the Registrations of one session have in common, and how to check only the rest.

An ETR's Registrations differ in nonce, MAC, mask length and EID address; everything else is octet
for octet what was in the one before. Whatever agrees with a Registration that was accepted the long
way has passed the same checks, so that only MAC and EID-prefix remain. One of the few files that
look fast rather than plain: :meth:`lispmsrt.mapping.registrar.Registrar.register_run` is its only
user.
"""

from __future__ import annotations

from struct import Struct

from lispmsrt.mapping.database import EidTable
from lispmsrt.mapping.sites import SitePrefix, Sites
from lispmsrt.mapping.verdicts import Identity
from lispmsrt.wire.afi import Afi
from lispmsrt.wire.authentication import AUTHENTICATION_OFFSET, Coverage, Key
from lispmsrt.wire.map_register import MapRegisterSpan, RegisterFlag

__all__ = ["HEAD", "MASK_OCTET", "Likeness"]

HEAD = Struct("!IQI")  # first word, nonce, and key ID, algorithm ID and length of the MAC together

MASK_OCTET = 5
"""Where the mask length stands in a record."""

_WHOLE_MESSAGE = Coverage.WHOLE_MESSAGE
_USE_TTL = RegisterFlag.USE_TTL
_OCTETS = {int(Afi.IPV4): 4, int(Afi.IPV6): 16, int(Afi.MAC): 6}


class Likeness:
    """The octets that must agree, and what has been found out about them."""

    __slots__ = (
        "accept_more_specifics",
        "address_at",
        "address_end",
        "before_mask",
        "body_at",
        "flags",
        "from_mask",
        "keys",
        "prefix_key",
        "prefix_length",
        "record_size",
        "secret",
        "sites",
        "suffix",
        "table",
        "width",
        "word",
        "zeros",
    )

    @classmethod
    def of(
        cls,
        data: bytes,
        start: int,
        end: int,
        register: MapRegisterSpan,
        sites: Sites,
        identity: Identity,
        *,
        table: EidTable,
        flags: int,
    ) -> Likeness | None:
        """Remember an accepted Registration; None for a kind that always goes the long way."""
        _at, ttl, instance_id, afi, length, key, *_ = register[5][0]
        prefix = sites.match(instance_id, afi, length, key)
        if (
            prefix is None
            or not sites.is_leaf(prefix)
            or not ttl
            or afi not in _OCTETS
            or identity.coverage is not _WHOLE_MESSAGE
            or not identity.key.is_plain
            or register[4] != identity.key.digest_size
            or register[0] & _USE_TTL
        ):
            return None
        return cls(data, start, end, register, sites, prefix, identity.key, table, flags)

    def __init__(
        self,
        data: bytes,
        start: int,
        end: int,
        register: MapRegisterSpan,
        sites: Sites,
        prefix: SitePrefix,
        secret: Key,
        table: EidTable,
        flags: int,
    ) -> None:
        record_at, *_, locators_at, record_end = register[5][0]
        self.word, _nonce, self.keys = HEAD.unpack_from(data, start)
        self.body_at = record_at - start
        self.zeros = bytes(self.body_at - AUTHENTICATION_OFFSET)
        self.address_end = locators_at - record_at
        octets = _OCTETS[table.afi]
        self.address_at = self.address_end - octets
        self.width = 8 * octets
        self.before_mask = data[record_at : record_at + MASK_OCTET]
        self.from_mask = data[record_at + MASK_OCTET + 1 : record_at + self.address_at]
        self.suffix = data[locators_at:end]
        self.record_size = record_end - record_at
        self.sites = sites
        self.prefix_length = prefix.length
        self.prefix_key = prefix.key
        self.accept_more_specifics = prefix.accept_more_specifics
        self.secret = secret
        self.table = table
        self.flags = flags
