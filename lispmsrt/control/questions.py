"""Map-Requests as they come, plain or in an ECM, read as far as an answer needs (RFC 9301 §5.2,
§5.3, §5.8).

Whatever is no question for a Map-Server or Map-Resolver is dropped and counted here, and so is what
comes too fast. What the answer is, others decide.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lispmsrt.control.arming import normalised
from lispmsrt.control.request_limits import RequestLimits
from lispmsrt.control.unicast import is_loopback, is_unicast
from lispmsrt.mapping.database import Endpoint
from lispmsrt.wire.addresses import NO_ADDRESS, Address, Afi, EidPrefix, Lcaf, plain_addresses
from lispmsrt.wire.encapsulated import (
    EncapsulatedControlMessage,
    EncapsulatedFlag,
    decode_encapsulated,
    walk_encapsulated,
)
from lispmsrt.wire.errors import WireError
from lispmsrt.wire.map_request import (
    MapRequest,
    RequestFlag,
    decode_map_request,
    walk_map_request,
)
from lispmsrt.wire.messages import ControlType

__all__ = [
    "LISP_CONTROL_PORT",
    "MAX_QUESTION",
    "Drop",
    "Endpoint",
    "Question",
    "Questions",
    "read_question",
]

LISP_CONTROL_PORT = 4342

MAX_QUESTION = 4096
"""Octets of a datagram with a Map-Request: several times the largest that makes sense, and few
enough that the worst (hundreds of records, addresses nested in LCAFs) is read in a few ms.
"""

_MAP_REQUEST, _ENCAPSULATED = int(ControlType.MAP_REQUEST), int(ControlType.ENCAPSULATED)
_TO_ETR, _TO_MAP_SERVER, _DDT, _SECURITY = (
    EncapsulatedFlag.TO_ETR,
    EncapsulatedFlag.TO_MAP_SERVER,
    EncapsulatedFlag.DDT,
    EncapsulatedFlag.SECURITY,
)
_NOT_ASKED = RequestFlag.PROBE | RequestFlag.SMR | RequestFlag.DONT_MAP_REPLY
_FAMILIES = {4: int(Afi.IPV4), 16: int(Afi.IPV6)}


class Drop(enum.Enum):
    """Why a datagram is not answered; the value is what is counted."""

    TOO_LARGE = "Map-Requests dropped: too large"
    MALFORMED = "Map-Requests dropped: malformed"
    NOT_A_MAP_REQUEST = "dropped: no Map-Request"
    NESTED = "dropped: ECM in ECM"
    INNER_PORT = "dropped: ECM not to port 4342"
    LOOP = "Map-Requests dropped: loop"
    PROBE = "Map-Requests dropped: RLOC-probe"
    SMR = "Map-Requests dropped: SMR"
    NO_MAP_REPLY = "Map-Requests dropped: no Map-Reply wanted"
    NO_EID = "Map-Requests dropped: no EID that can be looked up"
    NO_ITR_RLOC = "Map-Requests dropped: no ITR-RLOC to send to"
    RATE = "Map-Requests dropped: rate limit"


@dataclass(slots=True, eq=False)
class Question:
    """A Map-Request as it came. Values of the whole messages are made when somebody asks."""

    data: bytes
    "the whole datagram"
    source: Endpoint
    "outer source, where the datagram came from"
    flags: int
    "first word of the ECM (EncapsulatedFlag), 0 for a plain Map-Request"
    inner_at: int
    "where the Map-Request begins, which goes on to the end"
    bits: int
    "first word of the Map-Request (RequestFlag)"
    nonce: int
    eids: tuple[EidPrefix, ...]
    "what is asked for and can be looked up, in order; never empty"
    itr_rlocs: Sequence[bytes]
    "every IPv4 and IPv6 address (packed) among the ITR-RLOCs, usable or not"
    reply_to: Endpoint | None
    "the ITR-RLOC chosen and the port for a Map-Reply; None only for who cancels a subscription"
    subscribes: bool = False
    "whether the I bit and the N bit of a record are set (RFC 9437 §5)"
    used_up: int = 0
    "of :attr:`octets`, what another answer has used up already"
    _request: MapRequest | None = None
    _encapsulated: EncapsulatedControlMessage | None = None

    @property
    def octets(self) -> int:
        """Octets that an answer may be measured by, without outer IP and UDP headers: who asked has
        sent no fewer.
        """
        # A Map-Resolver may have got a plain Map-Request, and the ECM is of its making: then 32
        # octets would pay for 64. LISP-SEC data are the ITR's, and so was an ECM around them.
        is_added = self.flags & _TO_MAP_SERVER and not self.flags & _SECURITY
        return len(self.data) - (self.inner_at if is_added else 0) - self.used_up

    @property
    def inner(self) -> bytes:
        """The Map-Request as received."""
        return self.data[self.inner_at :]

    @property
    def request(self) -> MapRequest:
        """The Map-Request as a value."""
        if self._request is None:
            self._request = decode_map_request(self.inner)
        return self._request

    @property
    def encapsulated(self) -> EncapsulatedControlMessage | None:
        """The ECM as a value; None for a plain Map-Request."""
        if self._encapsulated is None and self.flags:
            self._encapsulated = decode_encapsulated(self.data)
        return self._encapsulated

    @property
    def is_for_ddt(self) -> bool:
        """Whether a Map-Referral is wanted (RFC 8111)."""
        return bool(self.flags & _DDT)

    @property
    def is_secured(self) -> bool:
        """Whether there are LISP-SEC data (RFC 9303)."""
        return bool(self.flags & _SECURITY)


class Questions:
    """Read questions; drop, and count, what is none or comes too fast."""

    def __init__(self, limits: RequestLimits, can_reach: Callable[[int], bool]) -> None:
        """``can_reach``: whether anything can be sent to addresses of this family (Afi)."""
        self.counters: Counter[str] = Counter()
        self.limits = limits
        self.can_reach = can_reach

    def read(self, data: bytes, source: Endpoint, now: float) -> Question | None:
        """Return the question in a datagram; None when there is nothing to answer."""
        try:
            question = read_question(data, source, self.can_reach)
        except WireError:
            question = Drop.MALFORMED
        if isinstance(question, Question):
            rloc = question.reply_to[0] if question.reply_to is not None else b""
            if self.limits.admits(source[0], rloc, now):
                self.counters["Map-Requests in"] += 1
                return question
            question = Drop.RATE
        self.counters[question.value] += 1
        return None


def read_question(
    data: bytes, source: Endpoint, can_reach: Callable[[int], bool]
) -> Question | Drop:
    """Read a datagram, or say why there is nothing to answer. Raises WireError."""
    if len(data) > MAX_QUESTION:
        return Drop.TOO_LARGE
    if not data or data[0] >> 4 != _ENCAPSULATED:
        return _read_map_request(data, 0, 0, source, source, can_reach)
    flags, _, inner_source, _, port, to_port, _, at = walk_encapsulated(data)
    if at < len(data) and data[at] >> 4 == _ENCAPSULATED:
        return Drop.NESTED
    if to_port != LISP_CONTROL_PORT:
        return Drop.INNER_PORT
    if flags & _TO_ETR:
        return Drop.LOOP
    return _read_map_request(data, at, flags, source, (inner_source, port), can_reach)


def _read_map_request(
    data: bytes,
    at: int,
    flags: int,
    source: Endpoint,
    asked_from: Endpoint,
    can_reach: Callable[[int], bool],
) -> Question | Drop:
    """Read the Map-Request from ``at`` on; ``asked_from`` is its own source."""
    if at >= len(data) or data[at] >> 4 != _MAP_REQUEST:
        return Drop.NOT_A_MAP_REQUEST
    request: MapRequest | None = None
    subscribes = False
    span = walk_map_request(data, at)
    if span is not None:
        bits, nonce, itr_rlocs, eid = span
        eids: tuple[EidPrefix, ...] = (eid,)
    else:
        request = decode_map_request(data[at:])
        bits, nonce = int.from_bytes(data[at : at + 4], "big"), request.nonce
        itr_rlocs, eids = _ip_addresses(request.itr_rlocs), _known_eids(request)
        subscribes = request.xtr_id is not None and any(one.subscribe for one in request.records)
    if bits & _NOT_ASKED:
        return _why_not_asked(bits)
    if not eids:
        return Drop.NO_EID
    reply_to = _choose(itr_rlocs, asked_from, source[0], can_reach)
    # RFC 9437 §5: who cancels its subscription has a single ITR-RLOC of AFI 0.
    if reply_to is None and not (subscribes and request and request.itr_rlocs == (NO_ADDRESS,)):
        return Drop.NO_ITR_RLOC
    return Question(
        data,
        source,
        flags,
        at,
        bits,
        nonce,
        eids,
        itr_rlocs,
        reply_to,
        subscribes,
        _request=request,
    )


def _why_not_asked(bits: int) -> Drop:
    # RFC 9301 §8.4: probes go to RLOCs, SMRs to ITRs; neither is a Map-Resolver's business.
    if bits & RequestFlag.PROBE:
        return Drop.PROBE
    return Drop.SMR if bits & RequestFlag.SMR else Drop.NO_MAP_REPLY


def _ip_addresses(rlocs: Sequence[Address | Lcaf]) -> list[bytes]:
    return [
        address.packed
        for rloc in rlocs
        for address in plain_addresses(rloc) or ()
        if len(address.packed) in _FAMILIES and address.afi == _FAMILIES[len(address.packed)]
    ]


def _known_eids(request: MapRequest) -> tuple[EidPrefix, ...]:
    """Return those that can be looked up, each once: of no LCAF is known what it matches."""
    eids = dict.fromkeys(asked.eid for asked in request.records)
    return tuple(
        eid for eid in eids if isinstance(eid.address, Address) and eid.address.afi != Afi.NONE
    )


def _choose(
    itr_rlocs: Sequence[bytes], asked_from: Endpoint, outer: bytes, can_reach: Callable[[int], bool]
) -> Endpoint | None:
    """Return where the Map-Reply goes: to the ITR-RLOC that the ITR used itself, if any, else the
    first that can be reached.
    """
    inner, port = asked_from
    if not port:
        return None
    outer = normalised(outer)
    # A question from this very host may name the host's own loopback address.
    loopback = is_loopback(outer)
    first = None
    for rloc in itr_rlocs:
        if is_unicast(rloc, loopback=loopback) and can_reach(_FAMILIES[len(rloc)]):
            if rloc in (inner, outer) or len(itr_rlocs) == 1:
                return rloc, port
            first = first or rloc
    return (first, port) if first is not None else None
