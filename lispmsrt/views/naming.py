"""What families, EID-prefixes, xTRs, keys and flags are called in views."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

from lispmsrt.mapping.database import EidTable, Endpoint, Lease
from lispmsrt.mapping.eid_index import WIDTHS
from lispmsrt.mapping.publisher import eid_of_key
from lispmsrt.mapping.sites import RlocPrefix, SitePrefix
from lispmsrt.wire.addresses import Address, Afi, EidPrefix
from lispmsrt.wire.authentication import Key, algorithm_name
from lispmsrt.wire.map_register import RegisterFlag

__all__ = [
    "afi_text",
    "counted",
    "eid_text",
    "endpoint_text",
    "flag_texts",
    "key_text",
    "lease_key_text",
    "prefix_text",
    "rloc_prefix_text",
    "site_id_text",
    "site_prefix_text",
    "xtr_id_text",
]

_AFIS: dict[int, str] = {Afi.IPV4: "IPv4", Afi.IPV6: "IPv6", Afi.MAC: "MAC", Afi.NAME: "name"}

_FLAGS = (
    (RegisterFlag.PROXY_REPLY, "proxy-reply"),
    (RegisterFlag.MERGE, "merge"),
    (RegisterFlag.USE_TTL, "use-ttl"),
    (RegisterFlag.WANT_MAP_NOTIFY, "map-notify"),
    (RegisterFlag.SECURITY, "security"),
    (RegisterFlag.EID_NOTIFY, "eid-notify"),
)


def afi_text(afi: int) -> str:
    """Return how an EID family is called."""
    return _AFIS.get(afi, f"AFI {afi}")


def prefix_text(eid: EidPrefix) -> str:
    """Return an EID-prefix without its instance ID."""
    text = str(eid)
    return text.partition("] ")[2] if eid.instance_id else text


def eid_text(table: EidTable, key: int) -> str:
    """Return the EID-prefix of a prefix key without its instance ID."""
    return prefix_text(eid_of_key(table, key))


def site_prefix_text(prefix: SitePrefix | None) -> str:
    """Return a site's EID-prefix without its instance ID; nothing for none."""
    return "" if prefix is None else _text_of(prefix.afi, prefix.length, prefix.key)


def rloc_prefix_text(prefix: RlocPrefix) -> str:
    """Return a range of RLOCs."""
    return _text_of(prefix.afi, prefix.length, prefix.key)


# Most registrations of a page are below the same few EID-prefixes of sites.
@lru_cache(maxsize=4096)
def _text_of(afi: int, length: int, key: int) -> str:
    width = WIDTHS.get(afi, length)
    packed = ((key ^ 1 << length) << width - length).to_bytes(width // 8, "big")
    return prefix_text(EidPrefix(0, Address(afi, packed), length))


def endpoint_text(endpoint: Endpoint) -> str:
    """Return an address and port."""
    address = ipaddress.ip_address(endpoint[0])
    return f"{address}:{endpoint[1]}" if address.version == 4 else f"[{address}]:{endpoint[1]}"


def xtr_id_text(ids: bytes) -> str:
    """Return the xTR-ID of xTR-ID and Site-ID; nothing where there are none."""
    return ids[:16].hex()


def site_id_text(ids: bytes) -> str:
    """Return the Site-ID of xTR-ID and Site-ID, decimal; nothing where there are none."""
    return str(int.from_bytes(ids[16:], "big")) if ids else ""


def key_text(key: Key) -> str:
    """Return key ID and algorithm; never the key."""
    return f"ID {key.key_id}, {algorithm_name(key.algorithm_id)}"


def lease_key_text(lease: Lease | None) -> str:
    """Return which key an xTR used last; nothing where that is not known."""
    key = lease.key if lease is not None else None
    return key_text(key) if key is not None else ""


def counted(count: int, singular: str, ending: str = "s") -> str:
    """Return a number and what it counts; ``ending`` makes the plural."""
    return f"{count} {singular}{'' if count == 1 else ending}"


def flag_texts(flags: int) -> tuple[str, ...]:
    """Return what a Map-Register asked for by its flags."""
    return tuple(text for flag, text in _FLAGS if flags & flag)
