"""What the Registrations of one session have in common, and how to check only the rest.

An ETR's Registrations differ in nonce, MAC, mask length and EID address; everything else is octet
for octet what was in the one before. Whatever agrees with a Registration that was accepted the long
way has passed the same checks, so that only MAC and EID-prefix remain. One of the few files that
look fast rather than plain; what it finds is written by
:mod:`lispmsrt.mapping.runs`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hmac import compare_digest
from struct import Struct

from lispmsrt.mapping.database import EidTable
from lispmsrt.mapping.kept_flags import kept_flags
from lispmsrt.mapping.sites import SitePrefix, Sites
from lispmsrt.mapping.verdicts import Identity
from lispmsrt.wire.afi import Afi
from lispmsrt.wire.authentication import AUTHENTICATION_OFFSET, Coverage, Key
from lispmsrt.wire.framing import Frame
from lispmsrt.wire.map_register import MapRegisterSpan, RegisterFlag
from lispmsrt.wire.record_walk import EID_OFFSET

__all__ = ["MASK_OCTET", "MAX_LIKENESSES", "Likeness", "Likenesses"]

HEAD = Struct("!IQI")  # first word, nonce, and key ID, algorithm ID and length of the MAC together

MAX_LIKENESSES = 16
"""Kinds of Registration, by their size, that are remembered per session."""

MASK_OCTET = 5
"""Where the mask length stands in a record."""

_REGISTRATION = 17
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
        "pattern",
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
        table: EidTable,
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
        flags = kept_flags(register[0])
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
        self.pattern: object | None = None
        "what the compiled twin makes of it"


class Likenesses:
    """What accepted Registrations of one session looked like, by their size."""

    __slots__ = ("by_size",)

    def __init__(self) -> None:
        self.by_size: dict[int, Likeness] = {}
        "octets of a Registration to what it must be like; to be read only"

    def __len__(self) -> int:
        return len(self.by_size)

    def remember(self, size: int, like: Likeness) -> None:
        """Take ``like`` for Registrations of this many octets from now on."""
        if len(self.by_size) >= MAX_LIKENESSES:
            self.by_size.clear()
        self.by_size[size] = like

    def run(
        self, sites: Sites, data: bytes, frames: Sequence[Frame], first: int
    ) -> Iterator[tuple[Likeness, int, int, bytes, bytes]]:
        """Check the Registrations from ``frames[first]`` on, as long as each is like one before.

        Yields likeness, prefix length, prefix key, record and EID wire form of each. Ends at the
        first that differs in any way, or is not authentic.
        """
        unpack_head, from_bytes = HEAD.unpack_from, int.from_bytes
        size = -1
        for position in range(first, len(frames)):
            kind, _message_id, start, end = frames[position]
            if end - start != size:
                size = end - start
                found = self.by_size.get(size)
                if found is None or found.sites is not sites:
                    return
                like = found
                # Everything is hoisted: this loop is where a Map-Server spends its life.
                body_at, zeros, mac_of = like.body_at, like.zeros, like.secret.mac
                like_word, like_keys = like.word, like.keys
                before_mask, from_mask, suffix = like.before_mask, like.from_mask, like.suffix
                address_at, address_end, width = like.address_at, like.address_end, like.width
                prefix_length, prefix_key = like.prefix_length, like.prefix_key
                takes_more_specifics = like.accept_more_specifics
                record_size = like.record_size
            word, _nonce, keys = unpack_head(data, start)
            at = start + body_at
            body = data[at:end]
            if not (
                kind == _REGISTRATION
                and word == like_word
                and keys == like_keys
                and body.startswith(before_mask)
                and body.startswith(from_mask, 6)
                and body.endswith(suffix)
            ):
                return
            length = body[MASK_OCTET]
            above = length - prefix_length
            if length > width or above < 0 or (above and not takes_more_specifics):
                return
            address = from_bytes(body[address_at:address_end], "big")
            key = address >> width - length | 1 << length
            if key >> above != prefix_key:
                return
            mac_at = start + AUTHENTICATION_OFFSET
            if not compare_digest(mac_of(data[start:mac_at] + zeros + body), data[mac_at:at]):
                return
            eid = body[5:6] + body[EID_OFFSET:address_end]
            yield like, length, key, body[:record_size], eid
