"""What an ETR signs with, over UDP and on sessions alike."""

from __future__ import annotations

from collections.abc import Callable

from lispmsrt.wire.authentication import Key
from lispmsrt.wire.map_register import write_map_register

__all__ = ["Credentials"]


class Credentials:
    """What an ETR signs its Map-Registers with: key, IDs and a nonce that only ever grows (RFC
    9301 §5.6).
    """

    __slots__ = ("flags", "ids", "key", "next_nonce")

    def __init__(self, key: Key, ids: bytes, flags: int, next_nonce: Callable[[], int]) -> None:
        self.key = key
        self.ids = ids
        "xTR-ID (16 octets) and Site-ID (8), or empty"
        self.flags = flags
        "bits of every Map-Register's first word (RegisterFlag)"
        self.next_nonce = next_nonce

    def map_register(self, records: list[bytes], flags: int = 0) -> tuple[int, bytes]:
        """Build a signed Map-Register from records in wire form; return its nonce too."""
        nonce = self.next_nonce()
        return nonce, write_map_register(self.flags | flags, nonce, records, self.ids, self.key)
