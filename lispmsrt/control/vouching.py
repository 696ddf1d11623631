"""Which EID-prefixes a Map-Server vouches for with LISP-SEC (EID-AD, RFC 9303 §6.7): no more than
the answer is about, for whoever signs that may say anything about them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lispmsrt.control.eid_nesting import covers, first_hole, hole_beside
from lispmsrt.mapping.database import Registration, Xtr
from lispmsrt.mapping.lookup import Found
from lispmsrt.mapping.merging import parts_of
from lispmsrt.wire.addresses import EidPrefix, decode_eid, encode_eid
from lispmsrt.wire.reader import Reader
from lispmsrt.wire.record_walk import EID_OFFSET

__all__ = ["covered_by", "signature_octets", "vouched_to_etr"]

_LENGTH_AT = 5
_SIGNATURE_OCTETS = 96
"""What LISP-SEC adds to a Map-Reply at most (RFC 9303 §6.2), without the EID-prefixes."""


def signature_octets(eids: Sequence[EidPrefix]) -> int:
    """Return how many octets LISP-SEC may add to a Map-Reply about these EID-prefixes."""
    return sum(4 + len(encode_eid(eid)) for eid in eids) + _SIGNATURE_OCTETS if eids else 0


def covered_by(records: Iterable[bytes]) -> list[EidPrefix]:
    """Return the EID-prefixes of records in wire form, without those inside of others."""
    eids: list[EidPrefix] = []
    for record in records:
        eid = decode_eid(Reader(record, EID_OFFSET), record[_LENGTH_AT])
        if not any(covers(other, eid) for other in eids):
            eids = [*(other for other in eids if not covers(eid, other)), eid]
    return eids


def vouched_to_etr(asked: EidPrefix, found: Found, xtr: Xtr) -> EidPrefix | None:
    """Return what an ETR may speak for when one EID was asked for: what it registered, without what
    others registered inside of that. None where it has no say.
    """
    if found.hit is None or not _is_of(found.hit.registration, xtr):
        return None
    others = [hit for hit in found.more_specifics if not _is_of(hit.registration, xtr)]
    if not others:
        return found.eid
    # RFC 9303 §6.7.1: it could draw to itself what is for them.
    return hole_beside(asked, others) or first_hole(asked, others)


def _is_of(registration: Registration, xtr: Xtr) -> bool:
    """Whether an xTR registered it, alone or with others."""
    return any(part.lease.xtr == xtr for part in parts_of(registration))
