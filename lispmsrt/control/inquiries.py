"""Asking for mappings: Map-Requests out, each until its Map-Reply comes (RFC 9301 §5.2 to §5.5).

Many may be outstanding at a time. Nothing is cached, and a negative answer is an answer. With a key
for LISP-SEC only Map-Replies that verify are answers (RFC 9303).
"""

from __future__ import annotations

import enum
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from lispmsrt.control.secured_requests import ReplyFault, SecuredRequest
from lispmsrt.mapping.sites import eid_key
from lispmsrt.wire.addresses import Address, Afi, EidPrefix
from lispmsrt.wire.authentication import Key
from lispmsrt.wire.encapsulated import EncapsulatedControlMessage, encode_encapsulated
from lispmsrt.wire.errors import WireError
from lispmsrt.wire.lisp_sec import ONE_TIME_KEY_OCTETS
from lispmsrt.wire.map_reply import MapReply, decode_map_reply
from lispmsrt.wire.map_request import MapRequest, RequestedEid, encode_map_request
from lispmsrt.wire.messages import ControlType, message_type
from lispmsrt.wire.records import MappingRecord

__all__ = [
    "Answer",
    "Endpoint",
    "Form",
    "Inquiries",
    "Inquiry",
    "Pace",
    "TooManyInquiriesError",
    "covers",
    "to_map_resolver",
]

LISP_CONTROL_PORT = 4342

Endpoint = tuple[bytes, int]
"""A packed address and a UDP port."""


class Form(enum.Enum):
    """How a Map-Request travels."""

    ENCAPSULATED = "encapsulated"
    "in an ECM, as a Map-Resolver expects it"
    PLAIN = "plain"
    "as it is: to an ETR, or a Map-Server that takes it so"
    PROBE = "probe"
    "an RLOC-probe, to the ETR whose RLOC it goes to"


@dataclass(frozen=True, slots=True)
class Pace:
    """How long to wait, and how much to wait for."""

    interval: float = 1.0
    "seconds between tries (RFC 9301 §5.3: at most one a second for an EID-prefix)"
    tries: int = 3
    max_outstanding: int = 65_536
    "a mapping service that is away must not fill the memory of who goes on asking"


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of an inquiry that was answered."""

    reply: MapReply
    record: MappingRecord
    "the one of the Map-Reply's that matches the EID best"
    source: Endpoint
    "who answered"
    rtt: float
    "seconds since the Map-Request with the same nonce"
    tries: int
    "Map-Requests sent"
    is_secured: bool = False
    "whether LISP-SEC has verified it; ``reply`` has only what can be believed then"
    etr_cannot_sign: bool = False
    "E of LISP-SEC: some ETR of the EID-prefix does without"

    @property
    def is_negative(self) -> bool:
        """Whether there are no locators, but an action."""
        return not self.record.locators


class TooManyInquiriesError(Exception):
    """As many inquiries as are allowed wait for their answers."""


class Inquiry:
    """One EID that somebody asked for. Written by :class:`Inquiries` only."""

    __slots__ = ("destination", "due", "eid", "fault", "form", "on_end", "secured", "sent")

    def __init__(
        self, eid: EidPrefix, destination: Endpoint, form: Form, on_end: Callable[..., object]
    ) -> None:
        self.eid = eid
        self.destination = destination
        self.form = form
        self.on_end: Callable[[Answer | None], object] = on_end
        self.due = 0.0
        self.sent: dict[int, float] = {}
        "nonce to when it was sent"
        self.secured: dict[int, SecuredRequest] = {}
        "nonce to the One-Time Key that went with it; empty without LISP-SEC"
        self.fault: ReplyFault | None = None
        "why the last Map-Reply was not believed, if one was not"


class Inquiries:
    """Everything that is asked from one socket."""

    def __init__(
        self,
        source: Endpoint,
        random: Random,
        pace: Pace | None = None,
        *,
        secured_by: Key | None = None,
    ) -> None:
        """``source`` is the socket's own address and port, and so the ITR-RLOC of every
        Map-Request; ``random`` makes nonces and One-Time Keys that nobody must guess;
        ``secured_by`` is what the Map-Resolver shares for LISP-SEC, which all is asked with then.
        """
        self.counters: Counter[str] = Counter()
        self._source = source
        self._random = random
        self._pace = pace or Pace()
        self._key = secured_by
        self._output: list[tuple[bytes, Endpoint]] = []
        self._by_nonce: dict[int, Inquiry] = {}
        # By due time, as each waits equally long. OrderedDict: a plain dict walks over all that it
        # has lost to find its first.
        self._waiting: OrderedDict[Inquiry, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._waiting)

    def ask(
        self,
        eid: EidPrefix,
        destination: Endpoint,
        now: float,
        on_end: Callable[[Answer | None], object],
        form: Form = Form.ENCAPSULATED,
    ) -> Inquiry:
        """Ask; ``on_end`` hears the answer, or None after the last try. Queues output.

        ValueError for an EID that can't be looked up, and for LISP-SEC without an ECM, which has
        its data; TooManyInquiriesError at the limit.
        """
        eid_key(eid)
        if self._key is not None and form is not Form.ENCAPSULATED:
            raise ValueError("LISP-SEC needs an ECM")
        if len(self._waiting) >= self._pace.max_outstanding:
            raise TooManyInquiriesError(f"{len(self._waiting)} inquiries wait for an answer")
        inquiry = Inquiry(eid, destination, form, on_end)
        self._send(inquiry, now)
        return inquiry

    def cancel(self, inquiry: Inquiry) -> None:
        """Forget it: ``on_end`` is not called any more."""
        self._waiting.pop(inquiry, None)
        for nonce in inquiry.sent:
            self._by_nonce.pop(nonce, None)

    def receive_datagram(self, data: bytes, source: Endpoint, now: float) -> None:
        """Take one datagram. May call ``on_end``."""
        try:
            kind = message_type(data)
            if kind == ControlType.MAP_REPLY:
                self._on_map_reply(data, source, now)
            else:
                self.counters[f"type {kind} not handled"] += 1
        except WireError:
            self.counters["malformed datagrams"] += 1

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, Endpoint]]:
        """Return what is due now. May call ``on_end``."""
        while self._waiting:
            inquiry = next(iter(self._waiting))
            if inquiry.due > now:
                break
            if len(inquiry.sent) < self._pace.tries:
                self._send(inquiry, now)
            else:
                self.cancel(inquiry)
                self.counters["without an answer"] += 1
                inquiry.on_end(None)
        output, self._output = self._output, []
        return output

    def next_timeout(self) -> float | None:
        """When :meth:`datagrams_to_send` will have something."""
        return next(iter(self._waiting)).due if self._waiting else None

    def _send(self, inquiry: Inquiry, now: float) -> None:
        """Queues output."""
        # A nonce of its own for each try: else the answer to the first would be timed from the
        # last.
        nonce = self._random.getrandbits(64)
        inquiry.sent[nonce] = now
        inquiry.due = now + self._pace.interval
        self._by_nonce[nonce] = inquiry
        self._waiting[inquiry] = None
        self._waiting.move_to_end(inquiry)
        self.counters["Map-Requests out"] += 1
        request = MapRequest(
            nonce,
            (_address(self._source[0]),),
            (RequestedEid(inquiry.eid),),
            probe=inquiry.form is Form.PROBE,
        )
        data = encode_map_request(request)
        if inquiry.form is Form.ENCAPSULATED:
            security = self._secure(inquiry, nonce)
            data = to_map_resolver(data, inquiry.eid, self._source, inquiry.destination, security)
        self._output.append((data, inquiry.destination))

    def _secure(self, inquiry: Inquiry, nonce: int) -> bytes:
        """Return the LISP-SEC data of an ECM, or none."""
        if self._key is None:
            return b""
        one_time_key = self._random.randbytes(ONE_TIME_KEY_OCTETS)
        secured = inquiry.secured[nonce] = SecuredRequest(nonce, one_time_key, self._key)
        return secured.security

    def _on_map_reply(self, data: bytes, source: Endpoint, now: float) -> None:
        self.counters["Map-Replies in"] += 1
        reply = decode_map_reply(data)
        # Whoever has the mapping answers, from any of its addresses: the nonce alone tells that it
        # was asked.
        inquiry = self._by_nonce.get(reply.nonce)
        if inquiry is None:
            self.counters["Map-Replies to no inquiry"] += 1
            return
        secured = inquiry.secured.get(reply.nonce)
        etr_cannot_sign = False
        if secured is not None:
            verified = secured.verify(data)
            if isinstance(verified, ReplyFault):
                # Whoever sent it: the true one may still come.
                inquiry.fault = verified
                self.counters[verified.value] += 1
                return
            reply, etr_cannot_sign = verified.reply, verified.etr_cannot_sign
        record = _best_match(reply, inquiry.eid)
        if record is None:
            self.counters["Map-Replies about another EID-prefix"] += 1
            return
        rtt = now - inquiry.sent[reply.nonce]
        self.cancel(inquiry)
        tries, is_secured = len(inquiry.sent), secured is not None
        inquiry.on_end(Answer(reply, record, source, rtt, tries, is_secured, etr_cannot_sign))


def to_map_resolver(
    request: bytes,
    eid: EidPrefix,
    source: Endpoint,
    destination: Endpoint,
    security: bytes = b"",
) -> bytes:
    """Return a Map-Request in an ECM (RFC 9301 §5.8), with these LISP-SEC data or none; ``source``
    is where the answer is to go.
    """
    inner = _address(destination[0])
    # The inner destination is the EID, where that is an address of the ITR-RLOC's family.
    if isinstance(eid.address, Address) and eid.address.afi == inner.afi:
        inner = eid.address
    return encode_encapsulated(
        EncapsulatedControlMessage(
            _address(source[0]), inner, source[1], LISP_CONTROL_PORT, request, security=security
        )
    )


def _best_match(reply: MapReply, eid: EidPrefix) -> MappingRecord | None:
    """Return the longest match; for an EID-prefix without one, the first record inside it."""
    covering = [record for record in reply.records if covers(record.eid, eid)]
    if covering:
        return max(covering, key=lambda each: each.eid.length)
    return next((record for record in reply.records if covers(eid, record.eid)), None)


def covers(outer: EidPrefix, inner: EidPrefix) -> bool:
    """Whether ``inner`` lies inside ``outer`` or is the same. An LCAF covers nothing."""
    try:
        instance_id, afi, length, key = eid_key(outer)
        *family, inner_length, inner_key = eid_key(inner)
    except ValueError:
        return False
    if family != [instance_id, afi] or inner_length < length:
        return False
    if afi == Afi.NAME and inner_length != length:
        return False  # RFC 9735: names match whole
    return inner_key >> inner_length - length == key


def _address(packed: bytes) -> Address:
    return Address(Afi.IPV4 if len(packed) == 4 else Afi.IPV6, packed)
