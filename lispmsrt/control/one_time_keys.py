"""The cryptography of LISP-SEC: One-Time Keys wrapped, derived and signed with (RFC 9303 §6.5, §8).

It knows keys and octets, not messages. An OTK is good for one Map-Request and its Map-Reply.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence

from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from lispmsrt.wire.authentication import Key
from lispmsrt.wire.lisp_sec import (
    ONE_TIME_KEY_OCTETS,
    HmacId,
    KdfId,
    RequestSecurity,
    WrappingId,
)

__all__ = [
    "FindKeys",
    "choose_hmac",
    "choose_kdf",
    "derive_key",
    "has_right_mac",
    "knows_kdf",
    "mac_octets",
    "make_mac",
    "unwrap_key",
    "wrap_key",
]

FindKeys = Callable[[int], Sequence[Key]]
"""The pre-shared secrets under a key ID: several while one is being rotated, none if unknown."""

_MACS: dict[int, tuple[str, int]] = {
    # RFC 2104 §5, RFC 4868 §2.6: hash, and octets that are left of the digest.
    HmacId.HMAC_SHA_1_96: ("sha1", 12),
    HmacId.HMAC_SHA_256_128: ("sha256", 16),
}
_KDFS: dict[int, tuple[str, int]] = {
    # Hash, and octets of its digest, which an absent salt of HKDF has as zeros.
    KdfId.HKDF_SHA1_128: ("sha1", 20),
    KdfId.HKDF_SHA256: ("sha256", 32),
}


def choose_hmac(requested: int) -> int:
    """Return the HMAC ID that answers a requested one."""
    # RFC 9303 §6.7.1: who does not know the algorithm takes another and says so.
    return requested if requested in _MACS else HmacId.HMAC_SHA_256_128


def choose_kdf(requested: int) -> int:
    """Return the KDF ID that answers a requested one."""
    return requested if requested in _KDFS else KdfId.HKDF_SHA256


def knows_kdf(kdf_id: int) -> bool:
    """Whether an MS-OTK can be derived so."""
    return kdf_id in _KDFS


def mac_octets(hmac_id: int) -> int:
    """Return the octets of a MAC, or 0 of an unknown algorithm."""
    return _MACS[hmac_id][1] if hmac_id in _MACS else 0


def make_mac(hmac_id: int, one_time_key: bytes, covered: bytes) -> bytes:
    """Return the MAC of what ends with the MAC's own field.

    ``covered`` ends before that field, which counts as zeros.
    """
    name, octets = _MACS[hmac_id]
    return hmac.digest(one_time_key, covered + bytes(octets), name)[:octets]


def has_right_mac(hmac_id: int, one_time_key: bytes, signed: bytes, mac: bytes) -> bool:
    """Whether ``signed``, which ends with ``mac``, was signed with this One-Time Key.

    A MAC of another length than the algorithm's is a wrong one.
    """
    expected = make_mac(hmac_id, one_time_key, signed[: -len(mac)])
    return hmac.compare_digest(expected, mac)


def derive_key(kdf_id: int, one_time_key: bytes) -> bytes:
    """Return the MS-OTK of an ITR-OTK; the algorithm must be a known one."""
    # RFC 5869 without salt and info, for RFC 9303 names neither; one block of output is enough.
    name, octets = _KDFS[kdf_id]
    extracted = hmac.digest(bytes(octets), one_time_key, name)
    return hmac.digest(extracted, b"\x01", name)[:ONE_TIME_KEY_OCTETS]


def wrap_key(key: Key, nonce: int, one_time_key: bytes) -> bytes:
    """Return preamble and One-Time Key, wrapped for who shares ``key`` (RFC 9303 §6.5)."""
    return aes_key_wrap(key.wrapping_key(nonce), one_time_key)


def unwrap_key(keys: Sequence[Key], nonce: int, security: RequestSecurity) -> bytes | None:
    """Return the One-Time Key, or None where it was not wrapped with any of the keys."""
    if security.wrapping_id != WrappingId.AES_KEY_WRAP_128_HKDF_SHA256:
        return None
    for key in keys:
        try:
            return aes_key_unwrap(key.wrapping_key(nonce), security.wrapped_key)
        except InvalidUnwrap:
            continue
    return None
