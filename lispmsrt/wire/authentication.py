"""Authentication data of Map-Register, Map-Notify and -Ack (RFC 9301 §5.6 to 5.8, §9, §12.5).

Keys, algorithm IDs 0 to 3 and the key derivation of ID 3. Which key belongs to which site is
policy, not here.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
from collections.abc import Callable
from hmac import compare_digest
from typing import TYPE_CHECKING

from lispmsrt.compiled import twin

if TYPE_CHECKING:
    from lispmsrt.wire._keyed_hash import KeyedHash

__all__ = [
    "ALGORITHM_NAMES",
    "AUTHENTICATION_OFFSET",
    "AlgorithmId",
    "Coverage",
    "Key",
    "Purpose",
    "algorithm_name",
]

AUTHENTICATION_OFFSET = 16
"""Where the authentication data begins, in octets from the start of the message."""

_NONCE = slice(4, 12)
_OTK_KEY_WRAP = b"OTK-Key-Wrap"


class AlgorithmId(enum.IntEnum):
    """LISP Algorithm ID Numbers (RFC 9301 §12.5)."""

    NONE = 0
    HMAC_SHA_1_96 = 1
    HMAC_SHA_256_128 = 2
    HMAC_SHA256_128_HKDF_SHA256 = 3


ALGORITHM_NAMES = {
    AlgorithmId.NONE: "none",
    AlgorithmId.HMAC_SHA_1_96: "hmac-sha-1-96",
    AlgorithmId.HMAC_SHA_256_128: "hmac-sha-256-128",
    AlgorithmId.HMAC_SHA256_128_HKDF_SHA256: "hmac-sha256-128+hkdf-sha256",
}
"""As a configuration writes them."""


def algorithm_name(algorithm_id: int) -> str:
    """Return what a configuration calls an algorithm."""
    known = algorithm_id in AlgorithmId.__members__.values()
    return ALGORITHM_NAMES[AlgorithmId(algorithm_id)] if known else f"algorithm {algorithm_id}"


class Purpose(enum.Enum):
    """What separates derived keys of one message type from another's (RFC 9301 §5.6 to 5.8)."""

    MAP_REGISTER = b"Map-Register Authentication"
    MAP_NOTIFY = b"Map-Notify Authentication"
    MAP_NOTIFY_ACK = b"Map-Notify-Ack Authentication"


class Coverage(enum.IntEnum):
    """How far the MAC reaches.

    RFC 9301 §5.6 ends it after the last RLOC record; deployed code hashes everything.
    """

    WHOLE_MESSAGE = 1
    RECORDS = 2


# Looking a member up in its enum costs more than everything done to a message but hashing.
_WHOLE_MESSAGE = Coverage.WHOLE_MESSAGE
_RECORDS = Coverage.RECORDS

_HASHES = {
    AlgorithmId.HMAC_SHA_1_96: "sha1",
    AlgorithmId.HMAC_SHA_256_128: "sha256",
    AlgorithmId.HMAC_SHA256_128_HKDF_SHA256: "sha256",
}

# The names promise truncation to 96 and 128 bits, yet every known implementation sends whole
# digests: both are read.
_LENGTHS: dict[AlgorithmId, tuple[int, ...]] = {
    AlgorithmId.NONE: (0,),
    AlgorithmId.HMAC_SHA_1_96: (12, 20),
    AlgorithmId.HMAC_SHA_256_128: (16, 32),
    AlgorithmId.HMAC_SHA256_128_HKDF_SHA256: (16, 32),
}

_keyed_hash = twin("lispmsrt.wire._keyed_hash")

_ZEROS = {length: bytes(length) for lengths in _LENGTHS.values() for length in lengths}


class Key:
    """A pre-shared key under its key ID, bound to one algorithm. Never shows its secret."""

    __slots__ = (
        "_derives",
        "_inner",
        "_lengths",
        "_outer",
        "_secret",
        "algorithm_id",
        "default_coverage",
        "digest_size",
        "fingerprint",
        "is_plain",
        "key_id",
        "keyed_hash",
        "mac",
        "sent_length",
    )

    def __init__(
        self,
        key_id: int,
        algorithm_id: AlgorithmId,
        secret: bytes,
        *,
        coverage: Coverage | None = None,
        is_truncated: bool = False,
    ) -> None:
        if not 0 <= key_id <= 255:
            raise ValueError("a key ID is a number from 0 to 255")
        self.key_id = key_id
        self.fingerprint = hashlib.sha256(b"lispmsrt nonces" + secret).digest()[:8]
        """Tells keys under one key ID apart, without a word on the secret."""
        self.algorithm_id = algorithm_id
        self._secret = secret
        self.default_coverage = coverage or (
            Coverage.RECORDS
            if algorithm_id is AlgorithmId.HMAC_SHA256_128_HKDF_SHA256
            else Coverage.WHOLE_MESSAGE
        )
        """What is signed when nobody says otherwise."""
        # Both halves of HMAC (RFC 2104) with the key already absorbed: copying them for each
        # message costs half of starting anew.
        name = _HASHES.get(algorithm_id, "sha256")
        self._derives = algorithm_id is AlgorithmId.HMAC_SHA256_128_HKDF_SHA256
        self._lengths = _LENGTHS[algorithm_id]
        self.is_plain = algorithm_id is not AlgorithmId.NONE and not self._derives
        """Whether the MAC is an HMAC with the key itself."""
        self.digest_size = self._lengths[-1]
        """Octets of a whole digest."""
        self.sent_length = self._lengths[0 if is_truncated else -1]
        """Octets of authentication data that are sent: a whole digest unless it is truncated."""
        short = secret if len(secret) <= 64 else hashlib.new(name, secret).digest()
        padded = short.ljust(64, b"\0")
        self._inner = hashlib.new(name, bytes(octet ^ 0x36 for octet in padded))
        self._outer = hashlib.new(name, bytes(octet ^ 0x5C for octet in padded))
        self.keyed_hash: KeyedHash | None = (
            _keyed_hash.KeyedHash(name, secret) if _keyed_hash else None
        )
        "the same, compiled; for compiled modules"
        self.mac: Callable[[bytes], bytes] = (
            self.keyed_hash.digest if self.keyed_hash else self._mac
        )
        "Returns the whole HMAC of octets with the key itself (where :attr:`is_plain`)."

    def __repr__(self) -> str:
        return f"<Key {self.key_id} {self.algorithm_id.name}>"

    def has_same_secret(self, other: Key) -> bool:
        """Tell whether both keys make and accept the same authentication data."""
        same_ids = (self.key_id, self.algorithm_id) == (other.key_id, other.algorithm_id)
        return same_ids and compare_digest(self._secret, other._secret)

    def accepts_length(self, length: int) -> bool:
        """Whether authentication data of this many octets is valid for the algorithm."""
        return length in self._lengths

    def digest(self, head: bytes, tail: bytes, length: int, purpose: Purpose) -> bytes:
        """Return ``length`` octets of authentication data.

        ``head`` is the message up to the authentication data, ``tail`` what the MAC covers behind.
        """
        if not length:
            return b""
        covered = head + _ZEROS[length] + tail
        if self._derives:
            derived = _hkdf_sha256(head[_NONCE] + self._secret, purpose.value)
            return hmac.digest(derived, covered, "sha256")[:length]
        return self.mac(covered)[:length]

    def _mac(self, covered: bytes) -> bytes:
        inner = self._inner.copy()
        inner.update(covered)
        outer = self._outer.copy()
        outer.update(inner.digest())
        return outer.digest()

    def wrapping_key(self, nonce: int) -> bytes:
        """Return the 128-bit key that wraps the One-Time Key of the Map-Request with this nonce
        (RFC 9303 §6.5).
        """
        return _hkdf_sha256(nonce.to_bytes(8, "big") + _OTK_KEY_WRAP + self._secret, b"")[:16]

    def verify(
        self, data: bytes, start: int, records_end: int, end: int, length: int, purpose: Purpose
    ) -> Coverage | None:
        """Check the message ``data[start:end]``, whose last record ends at ``records_end``.

        Returns what the MAC was found to cover, or None when it is wrong. ``length`` is the
        message's own Authentication Data Length.
        """
        if length not in self._lengths:
            return None
        at = start + AUTHENTICATION_OFFSET
        after = at + length
        head = data[start:at]
        received = data[at:after]
        if compare_digest(self.digest(head, data[after:end], length, purpose), received):
            return _WHOLE_MESSAGE
        if records_end != end and compare_digest(
            self.digest(head, data[after:records_end], length, purpose), received
        ):
            return _RECORDS
        return None


def _hkdf_sha256(input_key: bytes, salt: bytes) -> bytes:
    # RFC 5869 with empty info and one block of output. RFC 9301 pins neither the split into salt
    # and info nor the length: docs/draft.rst has the reading taken here.
    return hmac.digest(hmac.digest(salt, input_key, "sha256"), b"\x01", "sha256")
