"""LISP-SEC of a Map-Server, a Map-Resolver and an ETR (RFC 9303 §6.6 to §6.8).

A Map-Server takes the One-Time Key (ITR-OTK) out of a secured Map-Request. With it it vouches for
the EID-prefixes (EID-AD), and with what it derives from it (MS-OTK) somebody signs the Map-Reply:
the Map-Server itself where it replies as a proxy, else the ETR. The ITR's half is in
:mod:`lispmsrt.control.secured_requests`.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterable, Sequence

from lispmsrt.control.one_time_keys import (
    FindKeys,
    choose_hmac,
    choose_kdf,
    derive_key,
    mac_octets,
    make_mac,
    unwrap_key,
    wrap_key,
)
from lispmsrt.mapping.database import Registration
from lispmsrt.mapping.merging import parts_of
from lispmsrt.wire.addresses import EidPrefix
from lispmsrt.wire.authentication import AlgorithmId, Key
from lispmsrt.wire.errors import WireError
from lispmsrt.wire.lisp_sec import (
    EidAuthentication,
    ReplySecurity,
    RequestSecurity,
    WrappingId,
    decode_eid_authentication,
    decode_request_security,
    encode_eid_authentication,
    encode_kdf_only,
    encode_reply_security,
    encode_request_security,
    read_kdf_id,
    with_security,
)
from lispmsrt.wire.map_register import RegisterFlag

__all__ = [
    "EtrSecurity",
    "MapServerSecurity",
    "Refusal",
    "SecuredQuestion",
    "etr_signs",
    "etrs_that_sign",
    "key_of_etr",
]

_SECURITY = RegisterFlag.SECURITY


class Refusal(enum.Enum):
    """Why a secured Map-Request can't be answered as such. The value is what is counted."""

    NO_KEY = "LISP-SEC without a key in common"
    "answered like a Map-Request without LISP-SEC, as by who does not implement it"
    NOT_UNWRAPPED = "LISP-SEC One-Time Keys not unwrapped"
    "answered with ACT 5, Drop/Auth-Failure (RFC 9301 §5.4), and nothing about the EID"
    UNPROTECTED = "LISP-SEC One-Time Keys unprotected"
    "dropped"
    MALFORMED = "LISP-SEC data malformed"
    "dropped"


def etrs_that_sign(registration: Registration) -> list[Registration]:
    """Return what was registered by the ETRs that do LISP-SEC, as they say with the S bit.

    RFC 9303 §6.7: a secured Map-Request goes to one of them only; where there are others, E says
    so, and where there are only others, a signed negative Map-Reply is the answer.
    """
    return list(filter(etr_signs, parts_of(registration)))


def etr_signs(part: Registration) -> bool:
    """Whether the ETR that registered ``part`` does LISP-SEC."""
    return bool(part.flags & _SECURITY)


def key_of_etr(part: Registration, keys: Sequence[Key]) -> Key | None:
    """Return the secret shared with the ETR that registered ``part``, of a site with these keys.

    None where there is none, and so no way to hand it a One-Time Key.
    """
    path = part.lease.path
    usable = keys if path is None else (path.key,)
    return next((key for key in usable if key.algorithm_id is not AlgorithmId.NONE), None)


class MapServerSecurity:
    """The keys that a Map-Server or Map-Resolver shares with those who ask it."""

    def __init__(self, find_keys: FindKeys) -> None:
        self.counters: Counter[str] = Counter()
        self._find_keys = find_keys

    def unwrap(self, security: bytes, nonce: int) -> SecuredQuestion | Refusal:
        """Take the One-Time Key out of an ECM's authentication data; ``nonce`` is that of the
        Map-Request inside.
        """
        found = self._unwrap(security, nonce)
        self.counters[
            found.value if isinstance(found, Refusal) else "LISP-SEC Map-Requests unwrapped"
        ] += 1
        return found

    def _unwrap(self, data: bytes, nonce: int) -> SecuredQuestion | Refusal:
        try:
            security = decode_request_security(data)
        except WireError:
            return Refusal.MALFORMED
        if security.wrapping_id == WrappingId.NULL_KEY_WRAP_128:
            # RFC 9303 §6.5: such a key is for paths under DTLS, which nobody has here. Whoever
            # listened on the path could sign for us, and the ITR would believe it.
            return Refusal.UNPROTECTED
        keys = self._find_keys(security.key_id)
        if not keys:
            return Refusal.NO_KEY
        one_time_key = unwrap_key(keys, nonce, security)
        if one_time_key is None:
            return Refusal.NOT_UNWRAPPED
        return SecuredQuestion(one_time_key, nonce, security)


class SecuredQuestion:
    """One secured Map-Request: what it takes to answer it, or to have it answered."""

    __slots__ = ("_kdf_id", "_nonce", "_requested_hmac_id", "_requested_kdf_id", "one_time_key")

    def __init__(self, one_time_key: bytes, nonce: int, security: RequestSecurity) -> None:
        self.one_time_key = one_time_key
        "the ITR-OTK: who has it can vouch for any EID-prefix"
        self._nonce = nonce
        self._requested_hmac_id = security.requested_hmac_id
        self._requested_kdf_id = read_kdf_id(security.eid_data)
        self._kdf_id = choose_kdf(self._requested_kdf_id)

    def sign(self, reply: bytes, eids: Iterable[EidPrefix], etr_cannot_sign: bool = False) -> bytes:
        """Return our own Map-Reply, a proxy's or a negative one, with what the ITR verifies.

        ``eids`` cover all its records: the EID-prefixes that were matched, or the holes.
        """
        # RFC 9303 §6.7.2: a proxy signs as an ETR would.
        ms_otk = derive_key(self._kdf_id, self.one_time_key)
        eid_data = self._vouch_for(eids, etr_cannot_sign)
        return _signed(reply, eid_data, choose_hmac(self._requested_hmac_id), ms_otk)

    def for_etr(self, key: Key, eids: Iterable[EidPrefix], etr_cannot_sign: bool = False) -> bytes:
        """Return the authentication data of the ECM that goes on to an ETR, which shares ``key``.

        ``etr_cannot_sign`` says that other ETRs of these EID-prefixes do without LISP-SEC.
        """
        # RFC 9303 §6.7.1: the ETR must not learn the ITR-OTK, or it could vouch for any EID-prefix.
        ms_otk = derive_key(self._kdf_id, self.one_time_key)
        return self._wrapped(key, ms_otk, self._vouch_for(eids, etr_cannot_sign))

    def for_map_server(self, key: Key) -> bytes:
        """Return the authentication data of the ECM that a Map-Resolver sends on to a Map-Server,
        which shares ``key``.
        """
        return self._wrapped(key, self.one_time_key, encode_kdf_only(self._requested_kdf_id))

    def _wrapped(self, key: Key, one_time_key: bytes, eid_data: bytes) -> bytes:
        return encode_request_security(
            RequestSecurity(
                self._requested_hmac_id,
                key.key_id,
                WrappingId.AES_KEY_WRAP_128_HKDF_SHA256,
                wrap_key(key, self._nonce, one_time_key),
                eid_data,
            )
        )

    def _vouch_for(self, eids: Iterable[EidPrefix], etr_cannot_sign: bool) -> bytes:
        hmac_id = choose_hmac(self._requested_hmac_id)
        octets = mac_octets(hmac_id)
        once = tuple(dict.fromkeys(eids))
        unsigned = EidAuthentication(self._kdf_id, hmac_id, once, bytes(octets), etr_cannot_sign)
        covered = encode_eid_authentication(unsigned)[:-octets]
        return covered + make_mac(hmac_id, self.one_time_key, covered)


class EtrSecurity:
    """The keys that an ETR shares with its Map-Servers."""

    def __init__(self, find_keys: FindKeys) -> None:
        self.counters: Counter[str] = Counter()
        self._find_keys = find_keys

    def sign(self, security: bytes, nonce: int, reply: bytes) -> bytes | None:
        """Return the Map-Reply with what the ITR verifies, or None: nothing may be sent.

        ``security`` is what came with the ECM, ``nonce`` the Map-Request's and so the Map-Reply's.
        """
        try:
            request = decode_request_security(security)
            # An ITR could verify nothing with an EID-AD that no Map-Server completed.
            decode_eid_authentication(request.eid_data)
        except WireError:
            self.counters["LISP-SEC data malformed"] += 1
            return None
        keys: Sequence[Key] = self._find_keys(request.key_id)
        ms_otk = unwrap_key(keys, nonce, request)
        if ms_otk is None:
            # RFC 9303 §6.5: the whole message is discarded. An unsigned Map-Reply would be too.
            self.counters["LISP-SEC One-Time Keys not unwrapped"] += 1
            return None
        self.counters["LISP-SEC Map-Replies signed"] += 1
        return _signed(reply, request.eid_data, choose_hmac(request.requested_hmac_id), ms_otk)


def _signed(reply: bytes, eid_data: bytes, hmac_id: int, ms_otk: bytes) -> bytes:
    """Return the Map-Reply with EID-AD and PKT-AD."""
    octets = mac_octets(hmac_id)
    security = encode_reply_security(ReplySecurity(eid_data, hmac_id, bytes(octets)))
    covered = with_security(reply, security)[:-octets]
    return covered + make_mac(hmac_id, ms_otk, covered)
