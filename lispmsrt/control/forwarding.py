"""Map-Requests passed on in ECMs, to an ETR or to a Map-Server (RFC 9301 §5.8, §8.3, §8.4).

The Map-Request itself stays as it came, and so do the inner headers of one that came in an ECM.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace

from lispmsrt.control.arming import normalised
from lispmsrt.control.questions import LISP_CONTROL_PORT, Question
from lispmsrt.control.unicast import is_unicast
from lispmsrt.mapping.database import Endpoint, Registration
from lispmsrt.wire.addresses import Address, Afi, EidPrefix
from lispmsrt.wire.encapsulated import (
    EncapsulatedControlMessage,
    EncapsulatedFlag,
    encode_encapsulated,
    reflagged,
)
from lispmsrt.wire.map_request import encode_map_request
from lispmsrt.wire.served_records import local_rlocs

__all__ = ["EtrChoice", "asking_only", "forwarded_to_etr", "forwarded_to_map_server", "is_own"]

_FADING = 60.0
"""Seconds before its end from which a registration over UDP counts as that of an ETR which may be
gone: two of its Map-Registers are missing by then (RFC 9301 §8.2).
"""

_FAMILIES = {4: int(Afi.IPV4), 16: int(Afi.IPV6)}


class EtrChoice:
    """Choose the ETR that a Map-Request goes to."""

    def __init__(
        self,
        own_addresses: Collection[bytes],
        can_reach: Callable[[int], bool],
        counters: Counter[str],
    ) -> None:
        """``can_reach``: whether anything can be sent to addresses of this family (Afi)."""
        self._own_addresses = own_addresses
        self._can_reach = can_reach
        self._counters = counters
        self._turn = 0

    def choose(
        self, parts: Iterable[Registration], now: float, *, loopback: bool = False
    ) -> tuple[Registration, Endpoint] | None:
        """Return the ETR whose turn it is, by what it registered, and where it is sent to; None,
        and counted, when there is none to send to.

        ETRs that are there go before those that may be gone. Of several each has its turn, so that
        an ITR which asks again, because there was no answer, reaches another one. ``loopback``: our
        own host's loopback addresses count as RLOCs.
        """
        present: list[Registration] = []
        fading: list[Registration] = []
        for part in parts:
            (fading if _may_be_gone(part, now) else present).append(part)
        etrs = self._reached(present, loopback) or self._reached(fading, loopback)
        if not etrs:
            self._counters["Map-Requests dropped: no ETR to send to"] += 1
            return None
        self._turn += 1
        return etrs[self._turn % len(etrs)]

    def _reached(
        self, parts: Iterable[Registration], loopback: bool
    ) -> list[tuple[Registration, Endpoint]]:
        """Return those of these ETRs that can be sent to, without ourselves."""
        found = [
            (part, address) for part in parts for address in self._addresses_of(part, loopback)
        ]
        others = [
            (part, (address, LISP_CONTROL_PORT))
            for part, address in found
            if address not in self._own_addresses
        ]
        if len(others) < len(found):
            self._counters["ETRs that are ourselves passed over: loop"] += 1
        return others

    def _addresses_of(self, part: Registration, loopback: bool) -> Sequence[bytes]:
        """Return where an ETR is reached: at its own RLOCs of best priority, else where its
        Map-Registers come from.
        """
        rlocs = [
            (priority, packed)
            for priority, packed in local_rlocs(part.record)
            if is_unicast(packed, loopback=loopback) and self._can_reach(_FAMILIES[len(packed)])
        ]
        if rlocs:
            best = min(rlocs)[0]
            return [packed for priority, packed in rlocs if priority == best]
        path = part.lease.path
        address = normalised(path.endpoint[0]) if path is not None else b""
        if path is None or not self._can_reach(_FAMILIES[len(address)]):
            return ()
        return (address,)


def forwarded_to_etr(
    question: Question, etr: Endpoint, own_addresses: Collection[bytes], security: bytes
) -> bytes:
    """Return the ECM for an ETR, with these LISP-SEC data or none."""
    if question.flags:
        return reflagged(question.data, EncapsulatedFlag.TO_ETR, security)
    message = _encapsulated(question, etr, own_addresses)
    message.to_etr = True
    message.security = security
    return encode_encapsulated(message)


def forwarded_to_map_server(
    question: Question,
    map_server: Endpoint,
    own_addresses: Collection[bytes],
    security: bytes | None = None,
) -> bytes:
    """Return the ECM for a Map-Server, with its LISP-SEC data as they are or replaced."""
    if question.flags:
        return reflagged(question.data, EncapsulatedFlag.TO_MAP_SERVER, security)
    message = _encapsulated(question, map_server, own_addresses)
    message.to_map_server = True
    return encode_encapsulated(message)


def asking_only(question: Question, eids: Collection[EidPrefix]) -> Question:
    """Return a question for just these of its EIDs, where others have to answer the rest."""
    records = tuple(record for record in question.request.records if record.eid in eids)
    request = replace(question.request, records=records)
    payload = encode_map_request(request)
    data, at = payload, 0
    if question.encapsulated is not None:
        data = encode_encapsulated(replace(question.encapsulated, payload=payload))
        at = len(data) - len(payload)
    asked = tuple(eid for eid in question.eids if eid in eids)
    return replace(
        question, data=data, inner_at=at, eids=asked, _request=request, _encapsulated=None
    )


def is_own(endpoint: Endpoint, own_addresses: Collection[bytes]) -> bool:
    """Whether what is sent there comes back to us."""
    return endpoint[1] == LISP_CONTROL_PORT and endpoint[0] in own_addresses


def _encapsulated(
    question: Question, target: Endpoint, own_addresses: Collection[bytes]
) -> EncapsulatedControlMessage:
    """Put a plain Map-Request into an ECM, as its ITR would have."""
    source, port = normalised(question.source[0]), question.source[1]
    eid = question.eids[0].address
    # RFC 9301 §5.8: to the EID; both inner addresses are of one family, so where that is another
    # one, to the host that it goes to, or to ourselves.
    candidates = [eid.packed] if isinstance(eid, Address) and eid.afi in _FAMILIES.values() else []
    candidates += [target[0], *own_addresses, source]
    destination = next(packed for packed in candidates if len(packed) == len(source))
    afi = _FAMILIES[len(source)]
    return EncapsulatedControlMessage(
        Address(afi, source),
        Address(afi, destination),
        port,
        LISP_CONTROL_PORT,
        question.inner,
    )


def _may_be_gone(part: Registration, now: float) -> bool:
    """Whether the ETR's session was lost, or its Map-Registers stay away."""
    if part.lease.path is None or part.deadline is None:
        return not part.lease.is_live
    return part.deadline - now < _FADING
