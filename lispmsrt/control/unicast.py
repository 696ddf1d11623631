"""Which addresses a datagram may be sent to: nobody shall make us send to a group, or to ourselves.

RLOCs come from strangers: the ITR-RLOCs of Map-Requests (RFC 9301 §5.2), the locators of ETRs.
"""

from __future__ import annotations

__all__ = ["is_loopback", "is_unicast"]

_IPV6_LOOPBACK = bytes(15) + b"\1"
_NOT_ROUTED = (bytes(10), b"\xff", b"\xfe\x80")
"""Beginnings of IPv6 addresses: unspecified, loopback and IPv4 in disguise; multicast; link-local
without a link.
"""


def is_loopback(packed: bytes) -> bool:
    """Whether the host itself is meant."""
    return packed[0] == 127 if len(packed) == 4 else packed == _IPV6_LOOPBACK


def is_unicast(packed: bytes, *, loopback: bool = False) -> bool:
    """Whether this packed IPv4 or IPv6 address is one host's; ``loopback``: or our own host's."""
    if len(packed) == 4:
        # 0 is "this network", 224 and above are groups, reserved, and broadcast.
        first = packed[0]
        return 0 < first < 224 and (first != 127 or loopback)
    if packed == _IPV6_LOOPBACK:
        return loopback
    return not packed.startswith(_NOT_ROUTED)
