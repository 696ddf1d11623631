"""LISP-SEC of an ITR: a Map-Request with a One-Time Key, and what of its Map-Reply may be believed
(RFC 9303 §6.4, §6.9).
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass, replace

from lispmsrt.control.eid_nesting import common_part
from lispmsrt.control.one_time_keys import (
    derive_key,
    has_right_mac,
    knows_kdf,
    mac_octets,
    wrap_key,
)
from lispmsrt.wire.addresses import EidPrefix
from lispmsrt.wire.authentication import Key
from lispmsrt.wire.errors import WireError
from lispmsrt.wire.lisp_sec import (
    ONE_TIME_KEY_OCTETS,
    EidAuthentication,
    HmacId,
    KdfId,
    ReplySecurity,
    RequestSecurity,
    WrappingId,
    decode_eid_authentication,
    decode_reply_security,
    encode_kdf_only,
    encode_request_security,
)
from lispmsrt.wire.map_reply import MapReply, decode_map_reply
from lispmsrt.wire.packing import check_octets

__all__ = ["ReplyFault", "SecuredRequest", "VerifiedReply"]


class ReplyFault(enum.Enum):
    """Why a Map-Reply is discarded. The value is what is counted."""

    MALFORMED = "Map-Replies malformed"
    WRONG_NONCE = "Map-Replies with another nonce"
    UNSECURED = "Map-Replies without LISP-SEC to a secured Map-Request"
    OTHER_ALGORITHM = "Map-Replies with LISP-SEC algorithms that were not asked for"
    EIDS_NOT_AUTHENTIC = "Map-Replies with a wrong EID HMAC"
    NOT_AUTHENTIC = "Map-Replies with a wrong packet HMAC"
    NOT_AUTHORIZED = "Map-Replies about EID-prefixes that no Map-Server vouched for"
    ANSWERED = "Map-Replies to what was answered already"


@dataclass(frozen=True, slots=True)
class VerifiedReply:
    """A Map-Reply that can be believed."""

    reply: MapReply
    """It has only records that a Map-Server vouched for, cut down to the EID-prefixes that it did
    vouch for.
    """

    etr_cannot_sign: bool
    """E: some ETR of the EID-prefix does without LISP-SEC. Whether to ask that one without, and so
    without protection, is policy; nobody but the Map-Server can have set it.
    """


class SecuredRequest:
    """A One-Time Key (ITR-OTK) and the Map-Request it goes with; forgotten with its answer."""

    __slots__ = ("_hmac_id", "_is_answered", "_itr_otk", "_kdf_id", "_nonce", "security")

    def __init__(
        self,
        nonce: int,
        one_time_key: bytes,
        key: Key,
        hmac_id: int = HmacId.HMAC_SHA_256_128,
        kdf_id: int = KdfId.HKDF_SHA256,
    ) -> None:
        """Wrap 16 random octets, never used before, for the Map-Resolver that shares ``key``.

        HMAC and KDF IDs of 0 leave the choice to who answers.
        """
        self._nonce = nonce
        self._itr_otk = check_octets(one_time_key, ONE_TIME_KEY_OCTETS, "One-Time Key")
        self._hmac_id = hmac_id
        self._kdf_id = kdf_id
        self._is_answered = False
        self.security = encode_request_security(
            RequestSecurity(
                hmac_id,
                key.key_id,
                WrappingId.AES_KEY_WRAP_128_HKDF_SHA256,
                wrap_key(key, nonce, one_time_key),
                encode_kdf_only(kdf_id),
            )
        )
        "what the ECM around the Map-Request carries"

    def verify(self, data: bytes) -> VerifiedReply | ReplyFault:
        """Return what may be believed of a Map-Reply, or why nothing; the first one counts.

        After a fault the request stays open: whoever sent the false one must not keep the true one
        from being heard.
        """
        try:
            reply = decode_map_reply(data)
            if reply.nonce != self._nonce:
                return ReplyFault.WRONG_NONCE
            # RFC 9303 §6.9: no reply but a secured one answers a secured Map-Request. Else who can
            # send one in time would have us do without all of this.
            if not reply.security:
                return ReplyFault.UNSECURED
            security = decode_reply_security(reply.security)
            eids = decode_eid_authentication(security.eid_data)
        except WireError:
            return ReplyFault.MALFORMED
        fault = self._fault(data, security, eids)
        if fault is not None:
            return fault
        records = tuple(
            replace(record, eid=eid)
            for record in reply.records
            for eid in _authorized(record.eid, eids.eids)
        )
        if not records:
            return ReplyFault.NOT_AUTHORIZED
        self._is_answered = True
        return VerifiedReply(replace(reply, records=records), eids.etr_cannot_sign)

    def _fault(
        self, data: bytes, security: ReplySecurity, eids: EidAuthentication
    ) -> ReplyFault | None:
        if self._is_answered:
            return ReplyFault.ANSWERED
        asked = (self._hmac_id, self._hmac_id, self._kdf_id)
        used = (eids.hmac_id, security.hmac_id, eids.kdf_id)
        if any(id_asked not in (0, id_used) for id_asked, id_used in zip(asked, used, strict=True)):
            return ReplyFault.OTHER_ALGORITHM
        if not (mac_octets(eids.hmac_id) and mac_octets(security.hmac_id)):
            return ReplyFault.OTHER_ALGORITHM
        if not knows_kdf(eids.kdf_id):
            return ReplyFault.OTHER_ALGORITHM
        if not has_right_mac(eids.hmac_id, self._itr_otk, security.eid_data, eids.mac):
            return ReplyFault.EIDS_NOT_AUTHENTIC
        ms_otk = derive_key(eids.kdf_id, self._itr_otk)
        if not has_right_mac(security.hmac_id, ms_otk, data, security.mac):
            return ReplyFault.NOT_AUTHENTIC
        return None


def _authorized(eid: EidPrefix, vouched: Iterable[EidPrefix]) -> tuple[EidPrefix, ...]:
    """Return the widest part of ``eid`` that lies inside one of the others, or nothing."""
    # RFC 9303 §6.9: an ETR that claims more than it registered gets no more than that.
    parts = [part for other in vouched if (part := common_part(eid, other)) is not None]
    return (min(parts, key=lambda part: part.length),) if parts else ()
